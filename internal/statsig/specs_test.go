package statsig_test

import (
	"encoding/json"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/sluice-flags/sluice/internal/statsig"
	"github.com/sluice-flags/sluice/pkg/eval"
)

func body(t *testing.T, encode func(eval.Specs) ([]byte, error), s eval.Specs) map[string]any {
	t.Helper()
	text, err := encode(s)
	if err != nil {
		t.Fatal(err)
	}
	var got map[string]any
	if err := json.Unmarshal(text, &got); err != nil {
		t.Fatal(err)
	}
	return got
}

func sample() eval.Specs {
	public := eval.Condition{Type: "public", IDType: "userID"}
	rule := func(id string, conditions ...eval.Condition) eval.Rule {
		return eval.Rule{Name: id, ID: id, PassPercentage: 100, Conditions: conditions,
			ReturnValue: json.RawMessage(`true`), IDType: "userID"}
	}
	gate := func(name string, enabled bool, rules ...eval.Rule) eval.Spec {
		return eval.Spec{Name: name, Type: "feature_gate", Entity: eval.EntityGate, Salt: name, Enabled: enabled,
			DefaultValue: json.RawMessage(`false`), IDType: "userID", Rules: rules}
	}
	return eval.Specs{
		Time: 42,
		FeatureGates: []eval.Spec{
			gate("a", true, rule("r1", public), rule("r2", eval.Condition{Type: "user_bucket", Operator: "lt",
				TargetValue: json.RawMessage("500"), AdditionalValues: map[string]any{"salt": 7.0}, IDType: "userID"})),
			gate("b", true, rule("r3", public)),
			gate("off", false, rule("r4", public)),
		},
		Layers: map[string][]string{"home": {"x", "y"}},
	}
}

func TestEmptySpecsAreStillACompleteBody(t *testing.T) {
	got := body(t, statsig.EncodeV1, eval.Specs{Time: 1})
	want := map[string]any{"has_updates": true, "time": 1.0, "feature_gates": []any{}, "dynamic_configs": []any{},
		"layer_configs": []any{}, "layers": map[string]any{}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("EncodeV1(empty) (-want +got):\n%s", diff)
	}
	got = body(t, statsig.EncodeV2, eval.Specs{Time: 1})
	want = map[string]any{"has_updates": true, "time": 1.0, "feature_gates": map[string]any{}, "dynamic_configs": map[string]any{},
		"layer_configs": map[string]any{}, "condition_map": map[string]any{}, "experiment_to_layer": map[string]any{},
		"response_format": "dcs-v2", "company_id": ""}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("EncodeV2(empty) (-want +got):\n%s", diff)
	}
}

func TestDisabledSpecsTravelWithoutRules(t *testing.T) {
	got := body(t, statsig.EncodeV1, sample())
	off := got["feature_gates"].([]any)[2].(map[string]any)
	if rules, ok := off["rules"].([]any); !ok || len(rules) != 0 {
		t.Errorf("rules of a disabled gate = %v, want an empty list", off["rules"])
	}
}

func TestAdditionalValuesAreText(t *testing.T) {
	s := sample()
	got := body(t, statsig.EncodeV1, s)
	condition := got["feature_gates"].([]any)[0].(map[string]any)["rules"].([]any)[1].(map[string]any)["conditions"].([]any)[0].(map[string]any)
	if diff := cmp.Diff(map[string]any{"salt": "7"}, condition["additionalValues"]); diff != "" {
		t.Errorf("additionalValues (-want +got):\n%s", diff)
	}
	if v := s.FeatureGates[0].Rules[1].Conditions[0].AdditionalValues["salt"]; v != 7.0 {
		t.Errorf("encoding changed its input: salt is now %v", v)
	}
}

func TestV2NamesEachConditionOnce(t *testing.T) {
	got := body(t, statsig.EncodeV2, sample())
	conditions := got["condition_map"].(map[string]any)
	if len(conditions) != 2 {
		t.Errorf("condition_map has %d entries, want 2: public is shared", len(conditions))
	}
	gates := got["feature_gates"].(map[string]any)
	for name, spec := range gates {
		if _, named := spec.(map[string]any)["name"]; named {
			t.Errorf("gate %q repeats its name", name)
		}
		for _, rule := range spec.(map[string]any)["rules"].([]any) {
			for _, c := range rule.(map[string]any)["conditions"].([]any) {
				if _, ok := conditions[c.(string)]; !ok {
					t.Errorf("gate %q names condition %v, which is not in condition_map", name, c)
				}
			}
		}
	}
	if diff := cmp.Diff(map[string]any{"x": "home", "y": "home"}, got["experiment_to_layer"]); diff != "" {
		t.Errorf("experiment_to_layer (-want +got):\n%s", diff)
	}
}

func TestStableIDBesideTheUserIsCopiedIntoIt(t *testing.T) {
	tests := []struct{ name, body, want string }{
		{"only beside", `{"user":{"userID":"u"},"statsigMetadata":{"stableID":"s"}}`, "s"},
		{"in both", `{"user":{"customIDs":{"stableID":"own"}},"statsigMetadata":{"stableID":"s"}}`, "own"},
		{"no user at all", `{"statsigMetadata":{"stableID":"s"}}`, "s"},
		{"nowhere", `{"user":{"userID":"u"}}`, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var r statsig.InitializeRequest
			if err := json.Unmarshal([]byte(tt.body), &r); err != nil {
				t.Fatal(err)
			}
			if got := r.Metadata.Subject(r.User); got.CustomIDs["stableID"] != tt.want {
				t.Errorf("Subject() of %s has stableID %q, want %q", tt.body, got.CustomIDs["stableID"], tt.want)
			}
		})
	}
}

func TestAnswersSayNullWhereNothingDecided(t *testing.T) {
	for _, tt := range []struct {
		answer any
		want   string
	}{
		{statsig.NewGateAnswer(eval.Result{Name: "g"}), `{"name":"g","value":false,"rule_id":null,"group_name":null}`},
		{statsig.NewGateAnswer(eval.Result{Name: "g", Pass: true, RuleID: "r", GroupName: "n"}), `{"name":"g","value":true,"rule_id":"r","group_name":"n"}`},
		{statsig.NewConfigAnswer(eval.Result{Name: "c"}), `{"name":"c","value":{},"group":"","rule_id":null,"group_name":null}`},
		{statsig.NewLayerAnswer(eval.Result{Name: "l", Value: json.RawMessage(`{"a":1}`), RuleID: "r", AllocatedExperiment: "x"}),
			`{"name":"l","value":{"a":1},"ruleID":"r","allocatedExperimentName":"x"}`},
	} {
		if got, _ := json.Marshal(tt.answer); string(got) != tt.want {
			t.Errorf("answer = %s, want %s", got, tt.want)
		}
	}
}

func TestAGateAnswerIsWrittenAsEncodingJSONWrites(t *testing.T) {
	texts := []string{"", "checkout", `a "b" \ c`, "<b>&", "tab\t", "\x00", "\x7f", "Grün", "\u2028", "\xff", "😀"}
	for i, text := range texts {
		res := eval.Result{Name: text, Pass: i%2 == 0, RuleID: text, GroupName: texts[(i+1)%len(texts)]}
		want, err := json.Marshal(statsig.NewGateAnswer(res))
		if err != nil {
			t.Fatal(err)
		}
		if got := statsig.AppendGateAnswer([]byte("before "), res); string(got) != "before "+string(want) {
			t.Errorf("AppendGateAnswer() of %q = %s, want %s", text, got, want)
		}
	}
}
