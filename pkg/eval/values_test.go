package eval_test

import (
	"encoding/json"
	"testing"

	"github.com/sluice-flags/sluice/pkg/eval"
)

// Values of which a plausible evaluator would make something else than the
// published SDKs agree on.

func TestListsWithinListsEqualOnlyTheirLike(t *testing.T) {
	nested, deeper := []any{"b"}, []any{[]any{"b"}}
	for _, test := range []struct {
		value, target []any
		all, equal    bool
	}{
		{[]any{"b"}, []any{"b"}, true, true},
		{[]any{1.0, true}, []any{"1", "true"}, true, true},
		{[]any{nested}, []any{"b"}, false, false},
		{[]any{deeper}, []any{"b"}, false, false},
		{[]any{nested}, []any{nested}, true, true},
		{[]any{deeper}, []any{nested}, false, false},
		{[]any{nested}, []any{`["b"]`}, false, false},
		{[]any{"a"}, []any{"a", nil}, false, false},
		{[]any{"a", nil}, []any{"a", nil}, true, true},
		{[]any{nil}, []any{"null"}, false, false},
		{[]any{map[string]any{"k": "v"}}, []any{nil}, false, false},
		{[]any{"a", "b"}, []any{"b", "a"}, true, false},
		{[]any{"a"}, []any{}, true, false},
	} {
		for operator, want := range map[string]bool{
			"array_contains_all": test.all, "not_array_contains_all": !test.all, "eq": test.equal, "neq": !test.equal,
		} {
			if got := holds(operator, test.value, test.target); got != want {
				t.Errorf("%v %s %v = %v, want %v", test.value, operator, test.target, got, want)
			}
		}
	}
}

func TestDatesAreReadInEveryForm(t *testing.T) {
	const noon = "2023-01-01T12:00:00Z"
	for _, same := range []any{
		1672574400, 1672574400000, 1672574400.0004, "1672574400", "1672574400000", "+1672574400",
		"2023-01-01T12:00:00Z", "2023-01-01T12:00:00.000Z", "2023-01-01T14:00:00+02:00", "2023-01-01t12:00:00z",
		"2023-01-01 12:00:00", "2023-01-01 12:00:00Z", "2023-01-01 07:00:00-05:00", "2023-01-01 12:00:00.000z",
	} {
		if holds("before", same, noon) || holds("after", same, noon) || !holds("on", same, noon) {
			t.Errorf("%v is not the instant %s", same, noon)
		}
		if holds("before", noon, same) || holds("after", noon, same) || !holds("on", noon, same) {
			t.Errorf("%s is not the instant of the target %v", noon, same)
		}
	}
	for _, none := range []any{nil, "", "soon", "2023-01-01", "2023-01-01T12:00:00", "2023-13-01T12:00:00Z", "2023-01-01_12:00:00", "Jan 1, 2023", true, []any{1672574400}, "1672574400.5", "2023-01-01T12:00:00,5Z", "2023-01-02T12:00:00+24:00"} {
		for _, op := range []string{"before", "after", "on"} {
			if holds(op, none, noon) || holds(op, noon, none) {
				t.Errorf("%v %s %s holds, want nothing of what is no date", none, op, noon)
			}
		}
	}
}

func TestFractionsOfASecondCount(t *testing.T) {
	for _, at := range []any{1672574400.5, 1672574400500, "2023-01-01T12:00:00.5Z"} {
		if !holds("after", at, 1672574400499) || !holds("before", at, 1672574400501) || !holds("before", 1672574400.25, at) {
			t.Errorf("%v is not half a second after noon", at)
		}
	}
}

func TestAPlusBeforeAPartOfAVersionIsForgiven(t *testing.T) {
	for _, same := range []string{"1.2", "+1.2", "1.+2", "+1.+2.+0", "1.2-+rc"} {
		if !holds("version_eq", same, "1.2") || !holds("version_eq", "1.2", same) || !holds("version_lt", same, "1.+3") {
			t.Errorf("%s is not the version 1.2", same)
		}
	}
	for _, none := range []string{"+", "1.+", "++1", "1+", "1.2+build", "+ 1"} {
		if holds("version_eq", none, "1") || holds("version_neq", none, "1") || holds("version_neq", "1", none) {
			t.Errorf("%q is taken for a version", none)
		}
	}
}

func TestObjectsAreNeitherAbsentNorTheirText(t *testing.T) {
	object := map[string]any{"k": "v", "n": 1.0}
	for _, test := range []struct {
		operator      string
		value, target any
		want          bool
	}{
		{"eq", object, nil, false},
		{"neq", object, nil, true},
		{"eq", object, map[string]any{"n": 1, "k": "v"}, true},
		{"neq", object, map[string]any{"n": 2, "k": "v"}, true},
		{"eq", map[string]string{"k": "v"}, map[string]any{"k": "v"}, true},
		{"eq", object, `{"k":"v","n":1}`, false},
		{"any", object, []string{`{"k":"v","n":1}`}, false},
		{"none", object, []string{""}, true},
		{"str_contains_any", object, []string{""}, true},
		{"str_matches", object, "k", false},
		{"array_contains_none", object, []string{"k"}, false},
		{"array_contains_all", []any{object}, []any{object}, true},
		{"array_contains_any", []any{object}, []any{"[object Object]", map[string]any{}}, false},
	} {
		if got := holds(test.operator, test.value, test.target); got != test.want {
			t.Errorf("%v %s %v = %v, want %v", test.value, test.operator, test.target, got, test.want)
		}
	}
}

// Lists are compared as JavaScript joins them, and searched as JSON.
func TestListsHaveTheTextThatSDKsGiveThem(t *testing.T) {
	for _, test := range []struct {
		operator string
		value    []any
		target   any
		want     bool
	}{
		{"any", []any{1e20, 1e-6, 2.5}, []string{"100000000000000000000,0.000001,2.5"}, true},
		{"any", []any{1e21, -1.5e-7, 0.0}, []string{"1e+21,-1.5e-7,0"}, true},
		{"any", []any{nil, []any{"a", nil}, map[string]any{}}, []string{",a,,[object Object]"}, true},
		{"str_matches", []any{"pro"}, "^p", false},
		{"str_matches", []any{"pro", 1.0, "<b>"}, `^\["pro",1,"<b>"\]$`, true},
	} {
		if got := holds(test.operator, test.value, test.target); got != test.want {
			t.Errorf("%v %s %v = %v, want %v", test.value, test.operator, test.target, got, test.want)
		}
	}
}

func TestAValueThatIsNoObjectIsAnEmptyOne(t *testing.T) {
	for _, odd := range []string{"null", "[1]", `"x"`, "5", "true"} {
		s := experiment("e", "s", rule("out", 0, odd, condition("user_field", "any", "userID", []string{"out"})), rule("in", 100, odd))
		s.DefaultValue = json.RawMessage(odd)
		for user, want := range map[string]string{"in": "in", "out": "out"} {
			if res := compile(s).Config(&eval.User{UserID: user}, "e"); string(res.Value) != "{}" || res.RuleID != want || res.Pass != (want == "in") {
				t.Errorf("Config(e) with the value %s for %s = %s by %q, want {} by %s", odd, user, res.Value, res.RuleID, want)
			}
		}
	}
}

// Null says that there is nothing, wherever else something of the name may be.
func TestNullHidesAPrivateAttribute(t *testing.T) {
	rules := compile(gate("absent", "s", rule("r", 100, "true", condition("user_field", "eq", "Plan", nil))))
	for _, test := range []struct {
		custom, private map[string]any
		want            bool
	}{
		{map[string]any{"Plan": nil, "plan": "pro"}, map[string]any{"Plan": "pro"}, true},
		{map[string]any{"plan": nil}, map[string]any{"Plan": "pro"}, true},
		{map[string]any{"PLAN": nil}, map[string]any{"Plan": "pro"}, false},
		{nil, map[string]any{"Plan": nil, "plan": "pro"}, true},
	} {
		if got := rules.Gate(&eval.User{UserID: "u", Custom: test.custom, PrivateAttributes: test.private}, "absent").Pass; got != test.want {
			t.Errorf("Plan of custom %v and private %v is absent: %v, want %v", test.custom, test.private, got, test.want)
		}
	}
}

func TestAnEmptyTierIsText(t *testing.T) {
	rules := compile(gate("empty", "s", rule("r", 100, "true", condition("environment_field", "str_matches", "tier", "^$"))))
	for tier, want := range map[string]bool{"": true, "staging": false} {
		if got := rules.Gate(&eval.User{StatsigEnvironment: map[string]string{"tier": tier}}, "empty").Pass; got != want {
			t.Errorf("tier %q is empty text: %v, want %v", tier, got, want)
		}
	}
	if rules.Gate(&eval.User{}, "empty").Pass {
		t.Error("a user without a tier has an empty one, want none")
	}
}
