package eval_test

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"

	"github.com/sluice-flags/sluice/pkg/eval"
)

var (
	someTexts = []any{"pro", "Free", "free", "ÉCOLE", "école", "a.b", "10", "1.2.3", "", "x@example.com", "DE", "true"}
	someItems = []any{"pro", "a", 1.0, 2.5, true, "1"}
	someDates = []any{1.6e12, 1.6e9, "1600000000", "2020-09-13T12:26:40Z", "2020-09-13 12:26:40", "soon", 0.0}
	versions  = []any{"1", "1.2", "1.2.3-beta", "10.0", "1.x", "70000.1", "1.2.3.4.5", " 1 . 2", "99999999999999999999.1"}
	numbers   = []any{1.0, 2.5, "10", ".5", "1e3", "Infinity", -3.0, "x", 9007199254740993.0}
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
	switch rapid.IntRange(0, 14).Draw(t, "condition") {
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

// drawSpecs draws a project: gates that ask earlier gates, configs, experiments
// within a layer, and layers that delegate.
func drawSpecs(t *rapid.T) eval.Specs {
	s := eval.Specs{Time: 1, AppID: "app", Layers: map[string][]string{"layer_0": {"config_0"}}}
	var gates []string
	rules := func(s *eval.Spec) {
		s.Enabled = rapid.IntRange(0, 7).Draw(t, "enabled") > 0
		for i := range rapid.IntRange(0, 4).Draw(t, "rules") {
			s.Rules = append(s.Rules, drawRule(t, fmt.Sprintf("%s_r%d", s.Name, i), gates))
		}
	}
	for i := range rapid.IntRange(1, 6).Draw(t, "gates") {
		name := fmt.Sprintf("gate_%d", i)
		if rapid.IntRange(0, 3).Draw(t, "segment") == 0 {
			name = "segment:" + name
		}
		g := gate(name, name+"-salt")
		rules(&g)
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

func TestEvaluationEqualsTheReference(t *testing.T) {
	now := time.UnixMilli(1_700_000_000_000)
	rapid.Check(t, func(t *rapid.T) {
		specs := drawSpecs(t)
		rules := eval.Compile(specs, options(now))
		ref := reference{specs: specs, now: now, lists: map[string][]string{"vips": {eval.HashID("co1"), eval.HashID("user_1")}}}
		for range 5 {
			u := drawUser(t)
			for section, list := range [][]eval.Spec{specs.FeatureGates, specs.DynamicConfigs, specs.LayerConfigs} {
				for _, s := range list {
					want := ref.evaluate(list, s.Name, &u)
					decide := []func(*eval.User, string) eval.Result{rules.Gate, rules.Config, rules.Layer}[section]
					res := decide(&u, s.Name)
					got := refResult{
						RuleID: res.RuleID, Group: res.GroupName, Pass: res.Pass, Delegate: res.AllocatedExperiment,
						Unsupported: res.Reason == eval.ReasonUnsupported,
						Exposures:   res.SecondaryExposures(), Undelegated: res.UndelegatedSecondaryExposures(),
					}
					if section == int(eval.Gates) {
						want.Value = nil
					} else {
						got.Value = decode(res.Value)
					}
					if diff := cmp.Diff(want, got, cmpopts.EquateEmpty()); diff != "" {
						t.Fatalf("%s for %+v differs from the reference (-want +got):\n%s", s.Name, u, diff)
					}
				}
			}
		}
	})
}

// payload decodes what a client would receive.
func payload(t *rapid.T, rules *eval.Ruleset, u *eval.User, o eval.ClientOptions) map[string]map[string]any {
	var all map[string]json.RawMessage
	body := rules.AppendClient(nil, u, o)
	if err := json.Unmarshal(body, &all); err != nil {
		t.Fatalf("AppendClient = %s: %v", body, err)
	}
	out := map[string]map[string]any{}
	for _, section := range []eval.Section{eval.Gates, eval.Configs, eval.Layers} {
		out[section.String()] = decode(all[section.String()]).(map[string]any)
	}
	return out
}

func TestAppliedChangesEqualCompilingAnew(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		before, after := drawSpecs(t), drawSpecs(t)
		o := eval.ClientOptions{Hash: eval.HashMode(rapid.IntRange(0, 2).Draw(t, "hash"))}
		old := eval.Compile(before, options(time.Now()))
		want := eval.Compile(after, options(time.Now()))
		u := drawUser(t)
		oldPayload := payload(t, old, &u, o)

		change := eval.Change{Time: 2, Sequence: 7, Layers: after.Layers}
		var refs []eval.Ref
		names := map[eval.Ref]bool{}
		for _, list := range [][]eval.Spec{after.FeatureGates, after.DynamicConfigs, after.LayerConfigs} {
			for _, s := range list {
				change.Set = append(change.Set, s)
				names[s.Ref()] = true
				refs = append(refs, s.Ref())
			}
		}
		for _, list := range [][]eval.Spec{before.FeatureGates, before.DynamicConfigs, before.LayerConfigs} {
			for _, s := range list {
				if !names[s.Ref()] {
					change.Delete = append(change.Delete, s.Ref())
					refs = append(refs, s.Ref())
				}
			}
		}
		// In any order, and in two steps as well as in one.
		change.Set = rapid.Permutation(change.Set).Draw(t, "order")
		cut := rapid.IntRange(0, len(change.Set)).Draw(t, "cut")
		got := old.Apply(eval.Change{Time: 2, Set: change.Set[:cut], Layers: change.Layers}).
			Apply(eval.Change{Time: 2, Sequence: 7, Set: change.Set[cut:], Delete: change.Delete})

		if diff := cmp.Diff(payload(t, want, &u, o), payload(t, got, &u, o)); diff != "" {
			t.Fatalf("payload after Apply differs from that of Compile (-compiled +applied):\n%s", diff)
		}
		if diff := cmp.Diff(oldPayload, payload(t, old, &u, o)); diff != "" {
			t.Fatalf("Apply changed the ruleset that it was called on:\n%s", diff)
		}
		for _, section := range []eval.Section{eval.Gates, eval.Configs, eval.Layers} {
			if a, b := slices.Collect(want.Names(section)), slices.Collect(got.Names(section)); !slices.Equal(a, b) {
				t.Fatalf("Names(%s) = %q after Apply, want %q", section, b, a)
			}
		}
		// The difference that a live client gets, applied to what it has, is
		// what it would get anew.
		for _, ref := range got.Dependents(refs...) {
			entry, name, ok := got.AppendClientEntry(nil, &u, ref, o)
			if !ok {
				delete(oldPayload[ref.Section.String()], name)
				continue
			}
			oldPayload[ref.Section.String()][name] = decode(entry)
		}
		if diff := cmp.Diff(payload(t, got, &u, o), oldPayload); diff != "" {
			t.Fatalf("old payload with the difference applied (-want +got):\n%s", diff)
		}
	})
}

// with returns specs with one of them replaced.
func with(s eval.Specs, changed eval.Spec) eval.Specs {
	for _, list := range []*[]eval.Spec{&s.FeatureGates, &s.DynamicConfigs, &s.LayerConfigs} {
		*list = slices.Clone(*list)
		for i := range *list {
			if (*list)[i].Ref() == changed.Ref() {
				(*list)[i] = changed
			}
		}
	}
	return s
}

// One changed entity: what Dependents does not list must not have changed.
func TestDependentsCoverEverythingThatChanges(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		specs := drawSpecs(t)
		all := slices.Concat(specs.FeatureGates, specs.DynamicConfigs, specs.LayerConfigs)
		changed := pick(t, "changed", all)
		changed.Enabled = !changed.Enabled
		changed.DefaultValue = json.RawMessage(`{"n":42}`)
		old := eval.Compile(specs, options(time.Now()))
		next := old.Apply(eval.Change{Time: 2, Set: []eval.Spec{changed}})
		u := drawUser(t)
		dependents := next.Dependents(changed.Ref())
		anew := eval.Compile(with(specs, changed), options(time.Now()))
		before, after := payload(t, old, &u, eval.ClientOptions{Hash: eval.HashNone}), payload(t, next, &u, eval.ClientOptions{Hash: eval.HashNone})
		if diff := cmp.Diff(payload(t, anew, &u, eval.ClientOptions{Hash: eval.HashNone}), after); diff != "" {
			t.Fatalf("payload after Apply of %v differs from that of Compile (-compiled +applied):\n%s", changed.Ref(), diff)
		}
		for _, s := range all {
			ref := s.Ref()
			if slices.Contains(dependents, ref) {
				continue
			}
			if diff := cmp.Diff(before[ref.Section.String()][ref.Name], after[ref.Section.String()][ref.Name]); diff != "" {
				t.Fatalf("%v changed with %v and is not among its dependents %v:\n%s", ref, changed.Ref(), dependents, diff)
			}
		}
	})
}

func TestPayloadsAgreeWithSingleChecks(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		specs := drawSpecs(t)
		rules := eval.Compile(specs, options(time.Now()))
		u := drawUser(t)
		entries := payload(t, rules, &u, eval.ClientOptions{Hash: eval.HashNone})
		for name, entry := range entries["feature_gates"] {
			res := rules.Gate(&u, name)
			got := entry.(map[string]any)
			if got["value"] != res.Pass || got["rule_id"] != res.RuleID {
				t.Fatalf("payload says %v of gate %s, Gate says %+v", got, name, res)
			}
		}
		for name, entry := range entries["layer_configs"] {
			res := rules.Layer(&u, name)
			got := entry.(map[string]any)
			if !cmp.Equal(got["value"], decode(res.Value)) || got["rule_id"] != res.RuleID {
				t.Fatalf("payload says %v of layer %s, Layer says %+v", got, name, res)
			}
		}
	})
}

func TestRaisingAPercentageKeepsEverybodyWhoWasIn(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		low := rapid.Float64Range(0, 100).Draw(t, "low")
		high := rapid.Float64Range(low, 100).Draw(t, "high")
		salt := rapid.String().Draw(t, "salt")
		at := func(percentage float64) *eval.Ruleset {
			return eval.Compile(eval.Specs{FeatureGates: []eval.Spec{gate("g", salt, rule("r", percentage, "true"))}}, eval.Options{})
		}
		before, after := at(low), at(high)
		for i := range 200 {
			u := eval.User{UserID: fmt.Sprint("u", i)}
			if before.Gate(&u, "g").Pass && !after.Gate(&u, "g").Pass {
				t.Fatalf("unit %s passes at %v %% and not at %v %%", u.UserID, low, high)
			}
		}
	})
}

func TestSharesAreWithinBinomialBoundsAndResaltingReshuffles(t *testing.T) {
	const units = 20_000
	at := func(percentage float64, salt string) *eval.Ruleset {
		return eval.Compile(eval.Specs{FeatureGates: []eval.Spec{gate("g", salt, rule("r", percentage, "true"))}}, eval.Options{})
	}
	for _, percentage := range []float64{0.5, 10, 33.33, 50, 90} {
		a, b := at(percentage, "first"), at(percentage, "second")
		var inA, inB, both float64
		for i := range units {
			u := eval.User{UserID: fmt.Sprint("unit-", i)}
			passA, passB := a.Gate(&u, "g").Pass, b.Gate(&u, "g").Pass
			inA += boolToFloat(passA)
			inB += boolToFloat(passB)
			both += boolToFloat(passA && passB)
		}
		p := percentage / 100
		check := func(what string, got, share float64) {
			// Five standard deviations: the hash is fixed, so this cannot flake.
			if bound := 5 * math.Sqrt(units*share*(1-share)); math.Abs(got-units*share) > bound {
				t.Errorf("%s at %v %%: %v of %d units, want %v ± %v", what, percentage, got, units, units*share, bound)
			}
		}
		check("first salt", inA, p)
		check("second salt", inB, p)
		check("both salts", both, p*p)
	}
}

func boolToFloat(b bool) float64 {
	if b {
		return 1
	}
	return 0
}

func TestTheFirstMatchingRuleDecides(t *testing.T) {
	specs := eval.Specs{DynamicConfigs: []eval.Spec{experiment("c", "s",
		rule("de", 100, `{"v":1}`, condition("user_field", "any", "country", []string{"DE"})),
		rule("pro", 0, `{"v":2}`, condition("user_field", "any", "plan", []string{"pro"})),
		rule("all", 100, `{"v":3}`))}}
	rules := eval.Compile(specs, eval.Options{})
	for _, test := range []struct {
		name string
		user eval.User
		rule string
		pass bool
	}{
		{"the first rule wins over later ones", eval.User{Country: "de", Custom: map[string]any{"plan": "pro"}}, "de", true},
		{"a failed percentage ends evaluation", eval.User{Custom: map[string]any{"plan": "pro"}}, "pro", false},
		{"others go on to the next", eval.User{}, "all", true},
	} {
		if got := rules.Config(&test.user, "c"); got.RuleID != test.rule || got.Pass != test.pass {
			t.Errorf("%s: Config = %s, %v; want %s, %v", test.name, got.RuleID, got.Pass, test.rule, test.pass)
		}
	}
}

// The usual salts and ids are hashed from a buffer; longer ones count in full too.
func TestEveryLetterOfSaltAndIDCounts(t *testing.T) {
	for _, salt := range []int{0, 1, 54, 126, 127, 128, 129, 300} {
		for _, id := range []int{0, 1, 73, 127, 128, 500} {
			u := eval.User{UserID: strings.Repeat("i", id)}
			sum := sha256.Sum256([]byte(strings.Repeat("s", salt) + "." + u.UserID))
			bucket := int(binary.BigEndian.Uint64(sum[:]) % 1000)
			from, to := condition("user_bucket", "gte", "", bucket), condition("user_bucket", "lt", "", bucket+1)
			from.AdditionalValues = map[string]any{"salt": strings.Repeat("s", salt)}
			to.AdditionalValues = from.AdditionalValues
			if !compile(gate("g", "s", rule("r", 100, "true", from, to))).Gate(&u, "g").Pass {
				t.Errorf("a salt of %d letters and an id of %d are not in bucket %d", salt, id, bucket)
			}
		}
	}
}
