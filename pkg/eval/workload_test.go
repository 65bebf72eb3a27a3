package eval_test

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"

	"github.com/sluice-flags/sluice/pkg/eval"
)

// The workloads are those by which the evaluator is compared with others: the
// same work as in docs/performance.md, over users in rotation.

const (
	workloadUsers = 256
	segmentSize   = 100_000
	emailDomain   = "@example.com"
)

func workloadUserList() []eval.User {
	r := rand.New(rand.NewPCG(42, 42))
	users := make([]eval.User, workloadUsers)
	for i := range users {
		n, domain := r.IntN(segmentSize), "other.org"
		if r.IntN(2) == 0 {
			n += segmentSize // not in the segment
		}
		if r.IntN(2) == 0 {
			domain = "example.com"
		}
		users[i] = eval.User{
			UserID: fmt.Sprintf("user_%07d", n), Email: fmt.Sprintf("person.%d@%s", n, domain),
			Country: "DE", AppVersion: "3.14.2", Custom: map[string]any{"plan": "pro"},
		}
	}
	return users
}

func segmentIDs() []string {
	ids := make([]string, segmentSize)
	for i := range ids {
		ids[i] = fmt.Sprintf("user_%07d", i)
	}
	return ids
}

func condition(typ, operator, field string, target any) eval.Condition {
	raw, err := json.Marshal(target)
	if err != nil {
		panic(err)
	}
	return eval.Condition{Type: typ, Operator: operator, Field: field, TargetValue: raw, IDType: "userID"}
}

func rule(id string, percentage float64, value string, conditions ...eval.Condition) eval.Rule {
	return eval.Rule{
		Name: id, ID: id, GroupName: id, Salt: &id, PassPercentage: percentage,
		Conditions: conditions, ReturnValue: json.RawMessage(value), IDType: "userID",
	}
}

func gate(name, salt string, rules ...eval.Rule) eval.Spec {
	return eval.Spec{
		Name: name, Type: "feature_gate", Entity: eval.EntityGate, Salt: salt, Enabled: true,
		DefaultValue: json.RawMessage("false"), Rules: rules, IDType: "userID", Version: 3,
	}
}

func experiment(name, salt string, rules ...eval.Rule) eval.Spec {
	s := gate(name, salt, rules...)
	s.Type, s.Entity = "dynamic_config", eval.EntityExperiment
	s.DefaultValue, s.IsActive = json.RawMessage("{}"), new(true)
	return s
}

// tenRules are rules of which the ninth is the first whose conditions hold: 1–3
// fail on country, 4–6 on plan, 7–8 on version.
func tenRules() (rules []eval.Rule) {
	for i := 1; i <= 10; i++ {
		countries, plan, version := []string{"FR", "US", "DE"}, "pro", "3.10.0"
		switch {
		case i <= 3, i == 10:
			countries[2] = "JP"
		case i <= 6:
			plan = "enterprise"
		case i <= 8:
			version = "4.0.1"
		}
		rules = append(rules, rule(fmt.Sprintf("rule_%02d_abcdef", i), 50, "true",
			condition("user_field", "any", "country", countries),
			condition("user_field", "any", "plan", []string{plan}),
			condition("user_field", "version_gte", "appVersion", version)))
	}
	return rules
}

// variants are equal thirds of a small configuration.
func variants(salt string) (rules []eval.Rule) {
	for i, color := range []string{"red", "green", "blue"} {
		c := condition("user_bucket", "lt", "", []int{333, 667, 1000}[i])
		c.AdditionalValues = map[string]any{"salt": salt}
		r := rule(fmt.Sprintf("group_%d_abcdef", i), 100, fmt.Sprintf(
			`{"color":%q,"enabled":%v,"limits":[1,2,%d],"size":%d,"title":"checkout button"}`, color, i != 0, i, 10+i), c)
		r.IsExperimentGroup = new(true)
		rules = append(rules, r)
	}
	return rules
}

// workloadSpec returns the flag of a kind, W1 to W6.
func workloadSpec(kind int, name, salt string) eval.Spec {
	switch kind {
	case 1:
		return gate(name, salt, rule("rule_00_everyone", 100, "true", eval.Condition{Type: "public", IDType: "userID"}))
	case 2:
		return gate(name, salt, rule("rule_00_email", 100, "true", condition("user_field", "str_ends_with_any", "email", []string{emailDomain})))
	case 3:
		return gate(name, salt, tenRules()...)
	case 4:
		return gate(name, salt, rule("rule_00_seg", 100, "true", condition("unit_id", "in_segment_list", "", "big")))
	case 5:
		return experiment(name, salt, variants(salt)...)
	}
	return gate(name, salt, rule("rule_00_nested", 100, "true", condition("pass_gate", "", "", "w6_gate_b")))
}

// mixedKind is the kind of the i-th flag of a mixed project: 40 % W1, 20 % W2,
// 15 % W3, 5 % W4, 15 % W5, 5 % W6.
func mixedKind(i int) int {
	switch m := i % 20; {
	case m < 8:
		return 1
	case m < 12:
		return 2
	case m < 15:
		return 3
	case m < 16:
		return 4
	case m < 19:
		return 5
	}
	return 6
}

var workloadNames = [...]string{1: "w1_onoff", "w2_email", "w3_tenrules", "w4_segment", "w5_experiment", "w6_gate_a"}

// workloadSpecs returns a mixed project of n flags, or with 0 one flag of each kind.
func workloadSpecs(n int) eval.Specs {
	segment := gate("segment:emp", "seg", rule("rule_seg", 100, "true",
		condition("user_field", "str_ends_with_any", "email", []string{emailDomain})))
	segment.Entity = eval.EntitySegment
	middle := gate("w6_gate_b", "mid", rule("rule_mid", 100, "true", condition("pass_gate", "", "", "segment:emp")))
	middle.Entity = eval.EntityHoldout
	s := eval.Specs{HasUpdates: true, Time: 1_700_000_000_000, FeatureGates: []eval.Spec{segment, middle}}
	add := func(spec eval.Spec) {
		if spec.Section() == eval.Gates {
			s.FeatureGates = append(s.FeatureGates, spec)
		} else {
			s.DynamicConfigs = append(s.DynamicConfigs, spec)
		}
	}
	if n == 0 {
		for kind := 1; kind <= 6; kind++ {
			add(workloadSpec(kind, workloadNames[kind], fmt.Sprintf("salt%08d", kind-1)))
		}
	}
	for i := range n {
		add(workloadSpec(mixedKind(i), fmt.Sprintf("flag_%05d_checkout", i), fmt.Sprintf("salt%08d", i)))
	}
	return s
}

func workloadRuleset(n int) *eval.Ruleset {
	return eval.Compile(workloadSpecs(n), eval.Options{IDLists: map[string]*eval.IDList{"big": eval.NewIDListOf(segmentIDs())}})
}
