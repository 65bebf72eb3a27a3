//go:build !race

// Under the race detector the standard library's hash allocates when it shows its
// state, so that make test runs these tests without it.

package eval_test

import (
	"testing"

	"github.com/sluice-flags/sluice/pkg/eval"
)

// Decisions do not allocate: not for plain text, numbers, versions, dates,
// regular expressions, id lists, buckets, nested gates or layers.
func TestDecisionsDoNotAllocate(t *testing.T) {
	rules, users := workloadRuleset(0), workloadUserList()
	for kind := 1; kind <= 6; kind++ {
		name := workloadNames[kind]
		decide := rules.Gate
		if kind == 5 {
			decide = rules.Config
		}
		i := 0
		if n := testing.AllocsPerRun(500, func() { decide(&users[i%workloadUsers], name); i++ }); n != 0 {
			t.Errorf("%s allocates %v times, want 0", name, n)
		}
	}

	u := eval.User{
		UserID: "User_1", Email: "Ann@Example.COM", IP: "10.1.2.3", AppVersion: "1.2.70000",
		Custom:             map[string]any{"age": 41.5, "on": true, "since": "2020-01-02T03:04:05Z", "tags": []any{"a", 1.0}, "lower": "x"},
		CustomIDs:          map[string]string{"companyID": "co"},
		StatsigEnvironment: map[string]string{"tier": "production"},
	}
	many := []string{"a", "b", "c", "d", "e", "f", "g", "h", "i", "user_1"}
	for name, c := range map[string]eval.Condition{
		"text in a long list":     condition("user_field", "any", "userID", many),
		"text contained":          condition("user_field", "str_contains_any", "email", []string{"zzz", "@example"}),
		"number among texts":      condition("user_field", "any", "age", []string{"41.5"}),
		"boolean equality":        condition("user_field", "eq", "on", true),
		"number order":            condition("user_field", "gt", "age", 18),
		"a version beyond a word": condition("user_field", "version_gt", "appVersion", "1.2.3"),
		"a date":                  condition("user_field", "after", "since", 1_000_000_000_000),
		"a list":                  condition("user_field", "array_contains_all", "tags", []any{"a", 1}),
		"a pattern":               condition("user_field", "str_matches", "email", "^Ann@"),
		"an address":              condition("ip_based", "ip_in_range", "ip", []string{"10.0.0.0/8"}),
		"an environment":          condition("environment_field", "any", "tier", []string{"production"}),
		"a missing field":         condition("user_field", "none", "missing", []string{"x"}),
		"the time":                condition("current_time", "after", "", 1_000_000_000_000),
	} {
		ruleset := compile(gate("g", "s", rule("r", 50, "true", c)))
		if res := ruleset.Gate(&u, "g"); res.RuleID != "r" {
			t.Errorf("%s: Gate = %s, want the rule to match", name, res.RuleID)
		}
		if n := testing.AllocsPerRun(200, func() { ruleset.Gate(&u, "g") }); n != 0 {
			t.Errorf("%s: Gate allocates %v times, want 0", name, n)
		}
	}
}

func TestPayloadsAllocateNothingIntoABufferThatIsLargeEnough(t *testing.T) {
	rules, users := workloadRuleset(1000), workloadUserList()
	buffer := make([]byte, 0, 1<<20)
	i := 0
	if n := testing.AllocsPerRun(20, func() {
		rules.AppendClient(buffer, &users[i%workloadUsers], eval.ClientOptions{Hash: eval.HashDJB2})
		i++
	}); n != 0 {
		t.Errorf("AppendClient allocates %v times, want 0", n)
	}
	ref := eval.Ref{Section: eval.Gates, Name: "flag_00012_checkout"}
	if n := testing.AllocsPerRun(100, func() {
		rules.AppendClientEntry(buffer, &users[0], ref, eval.ClientOptions{})
	}); n != 0 {
		t.Errorf("AppendClientEntry allocates %v times, want 0", n)
	}
}
