package eval_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/sluice-flags/sluice/pkg/eval"
)

// asking returns a ruleset of one gate of the given rules beside gates that they
// may ask.
func asking(t *testing.T, rules ...eval.Rule) *eval.Ruleset {
	t.Helper()
	gate := func(name string, rules ...eval.Rule) eval.Spec {
		return eval.Spec{Name: name, Type: "feature_gate", Entity: eval.EntityGate, Salt: name, Enabled: true,
			DefaultValue: json.RawMessage("false"), IDType: "userID", Rules: rules}
	}
	hidden := gate("hidden", rules...)
	hidden.Entity = eval.EntityHoldout
	off := gate("off", rules...)
	off.Enabled = false
	layer := eval.Spec{Name: "layer", Type: "dynamic_config", Entity: eval.EntityLayer, Enabled: true, DefaultValue: json.RawMessage("{}"), IDType: "userID"}
	for _, r := range rules {
		r.ConfigDelegate, r.ReturnValue = "experiment", json.RawMessage("{}")
		layer.Rules = append(layer.Rules, r)
	}
	experiment := eval.Spec{Name: "experiment", Type: "dynamic_config", Entity: eval.EntityExperiment, Enabled: true,
		DefaultValue: json.RawMessage("{}"), IDType: "userID"}
	return eval.Compile(eval.Specs{
		FeatureGates: []eval.Spec{gate("gate", rules...), gate("half", asked("half", 50, public)), hidden, off},
		LayerConfigs: []eval.Spec{layer}, DynamicConfigs: []eval.Spec{experiment},
	}, eval.Options{})
}

var public = eval.Condition{Type: "public"}

func asked(id string, percentage float64, conditions ...eval.Condition) eval.Rule {
	return eval.Rule{ID: id, PassPercentage: percentage, ReturnValue: json.RawMessage("true"), IDType: "userID", Conditions: conditions}
}

func unitIs(kind, operator, target string) eval.Condition {
	return eval.Condition{Type: kind, Operator: operator, TargetValue: json.RawMessage(target), IDType: "userID"}
}

func TestMissingUnitNamesWhatTheDecisionHungOn(t *testing.T) {
	company := asked("company", 10, public)
	company.IDType = "companyID"
	plan := eval.Condition{Type: "user_field", Operator: "any", Field: "plan", TargetValue: json.RawMessage(`["pro"]`)}
	user := eval.Condition{Type: "user_field", Operator: "any", Field: "userID", TargetValue: json.RawMessage(`["u1"]`)}
	bucket := unitIs("user_bucket", "lt", "500")
	bucket.AdditionalValues = map[string]any{"salt": "s"}
	for _, c := range []struct {
		name  string
		rules []eval.Rule
		user  eval.User
		want  string // "": the decision hung on none
	}{
		{"nothing to ask", nil, eval.User{}, ""},
		{"everybody", []eval.Rule{asked("a", 100, public)}, eval.User{}, ""},
		{"nobody", []eval.Rule{asked("a", 0, public)}, eval.User{}, ""},
		{"a percentage", []eval.Rule{asked("a", 50, public)}, eval.User{}, "userID"},
		{"a percentage of a unit that is there", []eval.Rule{asked("a", 50, public)}, eval.User{UserID: "u"}, ""},
		{"a percentage of another unit", []eval.Rule{company}, eval.User{UserID: "u"}, "companyID"},
		{"a percentage behind a condition that fails", []eval.Rule{asked("a", 50, plan), asked("b", 100, public)}, eval.User{}, ""},
		{"a percentage behind a rule that takes all", []eval.Rule{asked("a", 100, public), asked("b", 50, public)}, eval.User{}, ""},
		{"a percentage behind a condition that holds", []eval.Rule{asked("a", 50, plan)}, eval.User{Custom: map[string]any{"plan": "pro"}}, "userID"},
		{"an allocation", []eval.Rule{asked("a", 100, bucket)}, eval.User{}, "userID"},
		{"a list of units", []eval.Rule{asked("a", 100, unitIs("unit_id", "any", `["u1"]`))}, eval.User{}, "userID"},
		{"a list of user ids", []eval.Rule{asked("a", 100, user)}, eval.User{}, "userID"},
		{"a list of exceptions", []eval.Rule{asked("x:override", 100, unitIs("unit_id", "any", `["u1"]`)), asked("a", 0, public)}, eval.User{}, ""},
		{"a gate that splits", []eval.Rule{asked("a", 100, unitIs("pass_gate", "", `"half"`))}, eval.User{}, "userID"},
		{"a gate that does not", []eval.Rule{asked("a", 100, unitIs("pass_gate", "", `"off"`))}, eval.User{}, ""},
		{"what cannot be answered", []eval.Rule{asked("a", 50, unitIs("telepathy", "any", `[]`))}, eval.User{}, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			rules := asking(t, c.rules...)
			excepts := func(id string) bool { return strings.HasSuffix(id, ":override") }
			got, missing := rules.MissingUnit(&c.user, eval.Ref{Section: eval.Gates, Name: "gate"}, excepts)
			if got != c.want || missing != (c.want != "") {
				t.Errorf("MissingUnit() = %q, %v; want %q", got, missing, c.want)
			}
		})
	}
}

func TestAListThatHandsToAnExperimentIsOneOfExceptions(t *testing.T) {
	bucket := unitIs("user_bucket", "lt", "500")
	bucket.AdditionalValues = map[string]any{"salt": "s"}
	list := asked("a", 100, unitIs("unit_id", "any", `["u1"]`))
	ref := eval.Ref{Section: eval.Layers, Name: "layer"}
	if got, missing := asking(t, list).MissingUnit(nil, ref, nil); missing {
		t.Errorf("MissingUnit(of a list) = %q; want none", got)
	}
	if got, missing := asking(t, list, asked("b", 100, bucket)).MissingUnit(nil, ref, nil); got != "userID" || !missing {
		t.Errorf("MissingUnit(of a list, then buckets) = %q, %v; want userID", got, missing)
	}
}

func TestMissingUnitOfWhatIsNotThere(t *testing.T) {
	rules := asking(t)
	for _, ref := range []eval.Ref{{Section: eval.Gates, Name: "unheard"}, {Section: 9, Name: "gate"}} {
		if got, missing := rules.MissingUnit(nil, ref, nil); missing {
			t.Errorf("MissingUnit(%v) = %q; want none", ref, got)
		}
		if rules.Constant(ref) || rules.ClientSees(ref, eval.ClientOptions{}) {
			t.Errorf("Constant(%v) or ClientSees is true; want false", ref)
		}
	}
}

func TestConstantIsWhatEverybodyGets(t *testing.T) {
	gate := eval.Ref{Section: eval.Gates, Name: "gate"}
	if !asking(t, asked("a", 100, public)).Constant(gate) {
		t.Error("Constant(a gate for everyone) = false")
	}
	if asking(t, asked("a", 50, public)).Constant(gate) {
		t.Error("Constant(a gate for half) = true")
	}
	if !asking(t, asked("a", 50, public)).Constant(eval.Ref{Section: eval.Gates, Name: "off"}) {
		t.Error("Constant(a gate that is off) = false")
	}
}

func TestClientSeesWhatItsPayloadHas(t *testing.T) {
	rules := asking(t)
	if !rules.ClientSees(eval.Ref{Section: eval.Gates, Name: "gate"}, eval.ClientOptions{}) {
		t.Error("ClientSees(a gate) = false")
	}
	if rules.ClientSees(eval.Ref{Section: eval.Gates, Name: "hidden"}, eval.ClientOptions{}) {
		t.Error("ClientSees(a hidden gate) = true")
	}
	if rules.ClientSees(eval.Ref{Section: eval.Gates, Name: "gate"}, eval.ClientOptions{TargetApp: "web"}) {
		t.Error("ClientSees(a gate of no app, for an app) = true")
	}
}
