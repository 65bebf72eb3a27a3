package eval_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/sluice-flags/sluice/pkg/eval"
	"github.com/sluice-flags/sluice/pkg/eval/evaltest"
)

func TestTraceExplainsEveryRuleAndCondition(t *testing.T) {
	salt := "s"
	specs := eval.Specs{FeatureGates: []eval.Spec{
		gate("staff", "a", rule("staff", 100, "true", condition("user_field", "str_ends_with_any", "email", []string{"@example.com"}))),
		gate("checkout", "b",
			eval.Rule{ID: "beta", PassPercentage: 100, IDType: "userID", Conditions: []eval.Condition{
				condition("pass_gate", "", "", "staff"), condition("user_field", "any", "plan", []string{"pro"}),
			}},
			eval.Rule{ID: "everyone", Salt: &salt, PassPercentage: 25, IDType: "userID", Conditions: []eval.Condition{{Type: "public"}}},
		),
	}}
	u := eval.User{UserID: "u1", Email: "ann@example.com", PrivateAttributes: map[string]any{"plan": "secret plan"}}
	rules := eval.Compile(specs, eval.Options{})
	res, trace := rules.Trace(&u, eval.Ref{Section: eval.Gates, Name: "checkout"})

	if trace.RuleID != "everyone" || trace.Pass != res.Pass || trace.Reason != "Rule" {
		t.Errorf("Trace(checkout) decided %s, %v by %s; want what Gate decided: %+v", trace.RuleID, trace.Pass, trace.Reason, res)
	}
	if len(trace.Rules) != 2 {
		t.Fatalf("Trace(checkout) has %d rules, want both that were asked", len(trace.Rules))
	}
	first := trace.Rules[0]
	if g := first.Conditions[0].Gate; first.Matched || g == nil || g.Name != "staff" || !g.Pass {
		t.Errorf("first rule = %+v, want it not matched, after asking gate staff, which passes", first)
	}
	want := eval.ConditionTrace{
		Type: "user_field", Operator: "any", Field: "plan", IDType: "userID",
		Input: "[private]", Expected: json.RawMessage(`["pro"]`),
	}
	if diff := cmp.Diff(want, first.Conditions[1]); diff != "" {
		t.Errorf("condition on a private attribute differs (-want +got):\n%s", diff)
	}
	rollout := trace.Rules[1].Rollout
	if rollout == nil || rollout.Threshold != 2500 || rollout.UnitID != "u1" || res.Pass != (float64(rollout.Bucket) < rollout.Threshold) {
		t.Errorf("rollout = %+v of a gate that answers %v, want bucket and threshold that say so", rollout, res.Pass)
	}
	if first.Percentage != 100 || trace.Rules[1].Percentage != 25 {
		t.Errorf("percentages = %v and %v, want 100 and 25", first.Percentage, trace.Rules[1].Percentage)
	}
	if body, err := json.Marshal(trace); err != nil || strings.Contains(string(body), "secret plan") {
		t.Errorf("json.Marshal(trace) = %s, %v; want text without private attributes", body, err)
	}
}

func TestTraceOfAnUnknownNameSaysSo(t *testing.T) {
	res, trace := eval.Compile(eval.Specs{}, eval.Options{}).Trace(&eval.User{}, eval.Ref{Section: eval.Layers, Name: "nope"})
	if res.Found || trace.Found || trace.Reason != "Unrecognized" {
		t.Errorf("Trace(nope) = %+v, %+v; want unrecognized", res, trace)
	}
}

// Traces take another way through the rules than evaluation; on every vector
// both must arrive at the same place.
func TestTracesAgreeWithEvaluation(t *testing.T) {
	for _, path := range evaltest.Paths(t, vectors) {
		f := evaltest.Read(t, path)
		rules := f.Compile(t, evaltest.Options{Country: &vectorLookups{}, UserAgent: &vectorLookups{}})["v1"]
		for _, row := range f.Expect {
			ref, err := row.Ref()
			if err != nil {
				t.Fatal(err)
			}
			res, trace := rules.Trace(&f.Users[row.User], ref)
			if trace.RuleID != res.RuleID || trace.Pass != res.Pass || trace.Reason != res.Reason.String() || trace.Found != res.Found {
				t.Fatalf("%s: Trace(%s) = %+v, evaluation says %+v", f.Name, row.Name, trace, res)
			}
		}
	}
}
