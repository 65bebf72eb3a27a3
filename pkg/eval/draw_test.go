package eval_test

import (
	"encoding/json"
	"fmt"
	"time"

	"pgregory.net/rapid"

	"github.com/sluice-flags/sluice/pkg/eval"
)

// noon is when properties are tried, in milliseconds.
const noon = 1_700_000_000_000

var (
	someTexts = []any{"pro", "Free", "free", "ÉCOLE", "école", "a.b", "10", "1.2.3", "", "x@example.com", "DE", "true"}
	someItems = []any{"pro", "a", 1.0, 2.5, true, "1"}
	someDates = []any{1.6e12, 1.6e9, "1600000000", "2020-09-13T12:26:40Z", "2020-09-13 12:26:40", "soon", 0.0}
	versions  = []any{"1", "1.2", "1.2.3-beta", "10.0", "1.x", "70000.1", "1.2.3.4.5", " 1 . 2", "99999999999999999999.1"}
	someTimes = []any{
		noon, noon - 1, noon + 1, noon + 2, noon / 1000, noon - noon%86_400_000, noon - noon%86_400_000 + 86_400_000, "2023-11-14T22:13:20Z",
	}
	numbers = []any{1.0, 2.5, "10", ".5", "1e3", "Infinity", -3.0, "x", 9007199254740993.0}
)

func pick[T any](t *rapid.T, name string, from []T) T { return rapid.SampledFrom(from).Draw(t, name) }

func sublist(t *rapid.T, from []any) []any {
	return rapid.SliceOfN(rapid.SampledFrom(from), 0, 12).Draw(t, "list")
}

// drawUser draws a user with fields of every kind, some missing.
func drawUser(t *rapid.T) eval.User {
	u := eval.User{
		UserID:  fmt.Sprintf("user_%d", rapid.IntRange(0, 500).Draw(t, "userID")),
		Email:   pick(t, "email", []string{"", "Ann@Example.com", "bob@other.org"}),
		IP:      pick(t, "ip", []string{"", "10.1.2.3", "10.200.0.1", "2001:db8::1", "no"}),
		Country: pick(t, "country", []string{"", "DE", "us"}), AppVersion: pick(t, "appVersion", versions).(string),
		Custom: map[string]any{}, PrivateAttributes: map[string]any{},
		CustomIDs:          map[string]string{"companyID": fmt.Sprint("co", rapid.IntRange(0, 9).Draw(t, "company"))},
		StatsigEnvironment: map[string]string{"tier": pick(t, "tier", []string{"production", "staging"})},
	}
	for _, m := range []map[string]any{u.Custom, u.PrivateAttributes} {
		for _, field := range []string{"plan", "age", "tags", "since", "version", "flag"} {
			if rapid.Bool().Draw(t, "has "+field) {
				continue
			}
			m[field] = map[string]any{
				"plan": pick(t, field, someTexts), "age": pick(t, field, numbers), "tags": sublist(t, someItems),
				"since": pick(t, field, someDates), "version": pick(t, field, versions), "flag": rapid.Bool().Draw(t, field),
			}[field]
		}
	}
	return u
}

// drawCondition draws a condition; gates are the names that it may ask.
func drawCondition(t *rapid.T, gates []string) eval.Condition {
	idType := pick(t, "idType", []string{"userID", "companyID", "stableID"})
	c := func(typ, op, field string, target any) eval.Condition {
		out := condition(typ, op, field, target)
		out.IDType = idType
		return out
	}
	field := pick(t, "field", []string{"plan", "age", "tags", "since", "version", "flag", "email", "Country", "appVersion", "userID", "missing"})
	switch rapid.IntRange(0, 17).Draw(t, "condition") {
	case 0:
		return c("public", "", "", nil)
	case 1, 2:
		if len(gates) > 0 {
			return c(pick(t, "gate", []string{"pass_gate", "fail_gate"}), "", "", pick(t, "gate name", gates))
		}
		return c("public", "", "", nil)
	case 3, 4:
		op := pick(t, "op", []string{"any", "none", "any_case_sensitive", "none_case_sensitive", "str_starts_with_any", "str_ends_with_any", "str_contains_any", "str_contains_none"})
		return c("user_field", op, field, sublist(t, append(someItems, someTexts...)))
	case 5:
		return c("user_field", pick(t, "op", []string{"gt", "gte", "lt", "lte"}), field, pick(t, "target", numbers))
	case 6:
		op := "version_" + pick(t, "op", []string{"gt", "gte", "lt", "lte", "eq", "neq"})
		return c("user_field", op, field, pick(t, "target", versions))
	case 7:
		return c("user_field", pick(t, "op", []string{"before", "after", "on"}), field, pick(t, "target", someDates))
	case 8:
		return c("user_field", pick(t, "op", []string{"eq", "neq"}), field, pick(t, "target", append([]any{nil, true, []any{"a", 1.0}}, numbers...)))
	case 9:
		op := pick(t, "op", []string{"array_contains_any", "array_contains_none", "array_contains_all", "not_array_contains_all"})
		return c("user_field", op, "tags", sublist(t, someItems))
	case 10:
		return c("user_field", "str_matches", field, pick(t, "pattern", []string{"^p", "a+", "(?i)FREE", "[", "\\d"}))
	case 11:
		out := c("user_bucket", pick(t, "op", []string{"lt", "gte", "any", "none"}), "", rapid.OneOf(rapid.Float64Range(-5, 1005), rapid.Map(rapid.IntRange(-1, 1001), func(n int) float64 { return float64(n) })).Draw(t, "bucket"))
		if out.Operator == "any" || out.Operator == "none" {
			out.TargetValue = json.RawMessage("[1,2,3,500,501,502,503,504,505,506,507,508]")
		}
		out.AdditionalValues = map[string]any{"salt": pick(t, "salt", []string{"x", "y"})}
		return out
	case 12:
		return c("unit_id", pick(t, "op", []string{"any", "in_segment_list", "not_in_segment_list"}), "", pick(t, "target", []any{"vips", "nobody"}))
	case 13:
		return c("environment_field", "any", "tier", []any{"production"})
	case 14, 15:
		return c("current_time", pick(t, "op", []string{"before", "after", "on", "gt", "lte"}), "", pick(t, "time", someTimes))
	case 16:
		return c("target_app", pick(t, "op", []string{"any", "none"}), "", []any{pick(t, "app", []any{"app", "other"})})
	}
	if rapid.IntRange(0, 9).Draw(t, "odd") == 0 {
		return c("telepathy", "any", "x", nil)
	}
	return c("ip_based", "ip_in_range", "ip", []any{"10.0.0.0/9", "2001:db8::/32"})
}

func drawRule(t *rapid.T, id string, gates []string) eval.Rule {
	r := rule(id, pick(t, "percentage", []float64{0, 100, 50, 12.5, 99.99}), fmt.Sprintf(`{"from":%q,"n":1}`, id))
	r.IDType = pick(t, "unit", []string{"userID", "companyID"})
	r.GroupName = pick(t, "group", []string{"", "Test"})
	for range rapid.IntRange(0, 3).Draw(t, "conditions") {
		r.Conditions = append(r.Conditions, drawCondition(t, gates))
	}
	return r
}

// drawSpecs draws a project: gates that ask earlier gates or delegate to a config
// that asks none, configs, experiments within a layer, and layers that delegate.
func drawSpecs(t *rapid.T) eval.Specs {
	s := eval.Specs{Time: 1, AppID: "app", Layers: map[string][]string{"layer_0": {"config_0"}}}
	var gates []string
	rules := func(s *eval.Spec) {
		s.Enabled = rapid.IntRange(0, 7).Draw(t, "enabled") > 0
		for i := range rapid.IntRange(0, 4).Draw(t, "rules") {
			s.Rules = append(s.Rules, drawRule(t, fmt.Sprintf("%s_r%d", s.Name, i), gates))
		}
	}
	apart := experiment("apart", "apart-salt")
	rules(&apart)
	for i := range rapid.IntRange(1, 6).Draw(t, "gates") {
		name := fmt.Sprintf("gate_%d", i)
		if rapid.IntRange(0, 3).Draw(t, "segment") == 0 {
			name = "segment:" + name
		}
		g := gate(name, name+"-salt")
		rules(&g)
		for i := range g.Rules {
			g.Rules[i].ConfigDelegate = pick(t, "delegate", []string{"", "", "", "apart", "nothing"})
		}
		s.FeatureGates = append(s.FeatureGates, g)
		gates = append(gates, name, "unknown_gate")
	}
	for i := range rapid.IntRange(1, 3).Draw(t, "configs") {
		c := experiment(fmt.Sprintf("config_%d", i), fmt.Sprint("salt", i))
		c.DefaultValue = json.RawMessage(`{"n":0}`)
		c.HasSharedParams, c.ExplicitParameters = new(i == 0), []string{"n"}
		rules(&c)
		s.DynamicConfigs = append(s.DynamicConfigs, c)
	}
	s.DynamicConfigs = append(s.DynamicConfigs, apart)
	l := experiment("layer_0", "layer")
	l.Entity, l.DefaultValue = eval.EntityLayer, json.RawMessage(`{"n":-1,"color":"grey"}`)
	rules(&l)
	for i := range l.Rules {
		l.Rules[i].ConfigDelegate = pick(t, "delegate", []string{"", "config_0", "config_1", "nothing"})
	}
	s.LayerConfigs = append(s.LayerConfigs, l)
	return s
}

func options(now time.Time) eval.Options {
	return eval.Options{
		Now:     func() time.Time { return now },
		IDLists: map[string]*eval.IDList{"vips": eval.NewIDList([]string{eval.HashID("co1"), eval.HashID("user_1")})},
	}
}
