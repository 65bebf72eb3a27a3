package eval_test

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/sluice-flags/sluice/pkg/eval"
)

func compile(specs ...eval.Spec) *eval.Ruleset {
	var s eval.Specs
	for _, spec := range specs {
		switch spec.Section() {
		case eval.Gates:
			s.FeatureGates = append(s.FeatureGates, spec)
		case eval.Configs:
			s.DynamicConfigs = append(s.DynamicConfigs, spec)
		case eval.Layers:
			s.LayerConfigs = append(s.LayerConfigs, spec)
		}
	}
	return eval.Compile(s, eval.Options{Now: func() time.Time { return time.UnixMilli(1_700_000_000_000) }})
}

func asks(name, other string) eval.Spec {
	return gate(name, name, rule("asks", 100, "true", condition("pass_gate", "", "", other)))
}

func TestABadEntityIsQuarantinedAlone(t *testing.T) {
	bad := experiment("bad value", "s", rule("r", 100, `{"a"}`))
	long := gate("bad pattern", "s", rule("r", 100, "true", condition("user_field", "str_matches", "email", strings.Repeat("a", 5000))))
	broken := gate("bad target", "s", rule("r", 100, "true", eval.Condition{Type: "user_field", Operator: "any", TargetValue: json.RawMessage(`[`)}))
	rules := compile(bad, long, broken, gate("good", "s", rule("r", 100, "true")), asks("dependent", "bad pattern"))

	var got []string
	for _, q := range rules.Quarantined() {
		got = append(got, q.Ref.Section.String()+" "+q.Ref.Name+": "+q.Reason)
	}
	want := []string{
		`feature_gates bad pattern: rule "r": condition user_field str_matches: pattern is longer than 4096 bytes`,
		`feature_gates bad target: rule "r": target of condition user_field: at byte 1: unexpected end of JSON text`,
		`dynamic_configs bad value: rule "r": returnValue: at byte 4: want ':' after a member's name`,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("Quarantined() differs (-want +got):\n%s", diff)
	}
	u := eval.User{UserID: "u"}
	if res := rules.Gate(&u, "good"); !res.Pass {
		t.Errorf("Gate(good) = %+v, want it to pass in bad company", res)
	}
	for _, name := range []string{"bad pattern", "dependent"} {
		if res := rules.Gate(&u, name); res.Pass || res.Reason != eval.ReasonUnsupported {
			t.Errorf("Gate(%s) = %+v, want unsupported", name, res)
		}
	}
	if res := rules.Config(&u, "bad value"); string(res.Value) != "{}" || res.Reason != eval.ReasonUnsupported {
		t.Errorf("Config(bad value) = %+v, want {} and unsupported", res)
	}
	repaired := rules.Apply(eval.Change{Set: []eval.Spec{gate("bad pattern", "s", rule("r", 100, "true"))}})
	if n := len(repaired.Quarantined()); n != 2 || !repaired.Gate(&u, "dependent").Pass {
		t.Errorf("after a repair %d in quarantine, dependent passes %v; want 2, true", n, repaired.Gate(&u, "dependent").Pass)
	}
}

func TestUnreadableEntitiesAreLeftOutAndListed(t *testing.T) {
	specs, err := eval.ParseSpecs([]byte(`{"has_updates":true,"time":5,"feature_gates":[
		{"name":"odd","type":"feature_gate","enabled":"yes","rules":[]},
		{"name":"fine","type":"feature_gate","entity":"feature_gate","enabled":true,"rules":[{"id":"r","passPercentage":100,"conditions":[]}]}
	],"dynamic_configs":null,"layer_configs":[]}`))
	if err != nil {
		t.Fatalf("ParseSpecs = %v", err)
	}
	want := []eval.Quarantine{{Ref: eval.Ref{Name: "odd"}, Reason: "enabled: want true or false"}}
	rules := eval.Compile(specs, eval.Options{})
	if diff := cmp.Diff(want, rules.Quarantined()); diff != "" {
		t.Errorf("Quarantined() differs (-want +got):\n%s", diff)
	}
	if !rules.Gate(&eval.User{}, "fine").Pass || rules.Gate(&eval.User{}, "odd").Reason != eval.ReasonUnsupported {
		t.Error("want gate fine to pass and gate odd to be unsupported")
	}
}

func TestParseSpecsSaysWhereABodyIsBroken(t *testing.T) {
	for body, want := range map[string]string{
		``:                                     "reading specs: at byte 0: want '{', got '\\x00'",
		`{"feature_gates":[}`:                  "want a value",
		`{"feature_gates":3}`:                  "reading specs: at byte 17: want a list of feature_gates",
		`{"time":"now"}`:                       "reading specs: at byte 14: time: want a number",
		`{} {}`:                                "reading specs: at byte 3: text after the value",
		`{"x":"\u12"}`:                         "invalid escape in string",
		`{"x":01}`:                             "want a value",
		strings.Repeat(`{"x":`, 300):           "nested deeper than 200",
		"{\"x\":\"a\nb\"}":                     "control character in string",
		`{"feature_gates":[{"name":"g"},]`:     "",
		`{"feature_gates":[{"rules":[{}]}]} ]`: "text after the value",
	} {
		if _, err := eval.ParseSpecs([]byte(body)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("ParseSpecs(%.40s) = %v, want an error with %q", body, err, want)
		}
	}
}

// encoding/json and ParseSpecs read the same v1 body alike.
func TestParseSpecsReadsWhatMarshalWrites(t *testing.T) {
	specs := workloadSpecs(40)
	specs.Layers = map[string][]string{"l": {"a", "b"}}
	specs.HashedSDKKeysToEntities = map[string]eval.KeyEntities{"1": {Gates: []string{"g"}, Configs: []string{"ü"}}}
	body, err := json.Marshal(specs)
	if err != nil {
		t.Fatal(err)
	}
	got, err := eval.ParseSpecs(body)
	if err != nil {
		t.Fatalf("ParseSpecs = %v", err)
	}
	again, err := json.Marshal(got)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(decode(body), decode(again)); diff != "" {
		t.Errorf("specs differ after a round trip (-want +got):\n%s", diff)
	}
}

func TestCyclesAndDeepNestingEndUnsupportedAndWideNestingEnds(t *testing.T) {
	chain := []eval.Spec{gate("chain_0", "s", rule("r", 100, "true"))}
	for i := 1; i < 400; i++ {
		chain = append(chain, asks(fmt.Sprint("chain_", i), fmt.Sprint("chain_", i-1)))
	}
	// Each gate asks the next twice: 2^60 paths.
	for i := range 60 {
		g := asks(fmt.Sprint("wide_", i), fmt.Sprint("wide_", i+1))
		g.Rules = append(g.Rules, rule("again", 100, "true", condition("fail_gate", "", "", fmt.Sprint("wide_", i+1)), condition("user_field", "any", "email", []string{"x"})))
		g.Rules[0].Conditions = append(g.Rules[0].Conditions, condition("user_field", "any", "email", []string{"x"}))
		chain = append(chain, g)
	}
	rules := compile(append(chain, asks("a", "b"), asks("b", "a"))...)
	u := eval.User{UserID: "u"}
	for name, want := range map[string]eval.Reason{
		"chain_200": eval.ReasonRule, "chain_399": eval.ReasonUnsupported, "a": eval.ReasonUnsupported, "wide_0": eval.ReasonDefault,
	} {
		if res := rules.Gate(&u, name); res.Reason != want || res.Pass != (want == eval.ReasonRule) {
			t.Errorf("Gate(%s) = %v by %v, want reason %v", name, res.Pass, res.Reason, want)
		}
	}
}

// Within one evaluation, a gate that is asked again is not always decided again.
func TestGatesThatAreAskedAgainAndAgainAnswerAsTheFirstTime(t *testing.T) {
	var specs eval.Specs
	for i := range 13 {
		name := fmt.Sprint([]string{"gate_", "segment:"}[i%4/3], i)
		r := rule(fmt.Sprint("r", i), 50, "true")
		for j := range specs.FeatureGates {
			typ := []string{"pass_gate", "fail_gate"}[(i+j)%2]
			r.Conditions = append(r.Conditions, condition(typ, "", "", specs.FeatureGates[j].Name))
		}
		last := rule(fmt.Sprint("last", i), 50, "true")
		specs.FeatureGates = append(specs.FeatureGates, gate(name, name, r, last))
	}
	rules, slow := eval.Compile(specs, eval.Options{}), reference{specs: specs}
	for i := range 20 {
		u := eval.User{UserID: fmt.Sprint("u", i)}
		for _, s := range specs.FeatureGates {
			got, want := rules.Gate(&u, s.Name), slow.evaluate(specs.FeatureGates, s.Name, &u)
			if got.Pass != want.Pass || got.RuleID != want.RuleID {
				t.Errorf("Gate(%s) for %s = %v by %s, want %v by %s", s.Name, u.UserID, got.Pass, got.RuleID, want.Pass, want.RuleID)
			}
			if diff := cmp.Diff(want.Exposures, got.SecondaryExposures(), cmpopts.EquateEmpty()); diff != "" {
				t.Errorf("Gate(%s) for %s exposes (-want +got):\n%s", s.Name, u.UserID, diff)
			}
		}
	}
}

func TestMoreThan64ConditionsAreAllAsked(t *testing.T) {
	var rules []eval.Rule
	for i := range 100 {
		rules = append(rules, rule(fmt.Sprint("r", i), 100, "true",
			condition("user_field", "any", "plan", []string{fmt.Sprint("plan", i)}),
			condition("user_field", "any", "email", []string{"x"})))
	}
	ruleset := compile(gate("g", "s", rules...))
	for _, i := range []int{0, 31, 32, 63, 64, 99} {
		u := eval.User{Email: "X", Custom: map[string]any{"plan": fmt.Sprint("plan", i)}}
		if res := ruleset.Gate(&u, "g"); res.RuleID != fmt.Sprint("r", i) {
			t.Errorf("Gate(g) for plan%d = %s, want r%d", i, res.RuleID, i)
		}
	}
}

func TestBoundariesAreTheInstantsAtWhichAnswersChange(t *testing.T) {
	const noon = 1_700_000_000_000
	timed := func(name, op string, at int64) eval.Spec {
		return gate(name, "s", rule("r", 100, "true", condition("current_time", op, "", at)))
	}
	specs := []eval.Spec{timed("before", "before", noon), timed("after", "after", noon), timed("on", "on", noon), asks("nested", "after")}
	for _, s := range specs[:3] {
		rules := compile(s)
		at, refs := rules.NextBoundary(time.UnixMilli(0))
		for !at.IsZero() {
			if diff := cmp.Diff([]eval.Ref{s.Ref()}, refs); diff != "" {
				t.Fatalf("NextBoundary names (-want +got):\n%s", diff)
			}
			answer := func(ms int64) bool {
				r := eval.Compile(eval.Specs{FeatureGates: []eval.Spec{s}}, eval.Options{Now: func() time.Time { return time.UnixMilli(ms) }})
				return r.Gate(&eval.User{}, s.Name).Pass
			}
			if ms := at.UnixMilli(); answer(ms-1) == answer(ms) {
				t.Errorf("%s answers %v before and at its boundary %v, want a change", s.Name, answer(ms), at)
			}
			at, refs = rules.NextBoundary(at)
		}
	}
	rules := compile(specs...)
	at, refs := rules.NextBoundary(time.UnixMilli(noon))
	if want := (eval.Ref{Name: "after"}); at.UnixMilli() != noon+1 || !slices.Contains(refs, want) {
		t.Errorf("NextBoundary(noon) = %v, %v; want one millisecond later, %v", at, refs, want)
	}
	if deps := rules.Dependents(refs...); !slices.Contains(deps, eval.Ref{Name: "nested"}) {
		t.Errorf("Dependents(%v) = %v, want the nested gate among them", refs, deps)
	}
	gone := rules.Apply(eval.Change{Delete: []eval.Ref{{Name: "before"}, {Name: "after"}, {Name: "on"}}})
	if at, refs := gone.NextBoundary(time.UnixMilli(0)); !at.IsZero() || refs != nil {
		t.Errorf("NextBoundary without timed gates = %v, %v; want none", at, refs)
	}
}

func TestIDListsChangeByCopy(t *testing.T) {
	hash := eval.HashID
	one := eval.NewIDList([]string{hash("a"), hash("b"), "not a hash", hash("a")})
	two := one.Add(hash("c")).Remove(hash("a"), hash("never"))
	if one.Len() != 2 || two.Len() != 2 {
		t.Errorf("Len() = %d and %d, want 2 and 2", one.Len(), two.Len())
	}
	member := gate("member", "s", rule("r", 100, "true", condition("unit_id", "in_segment_list", "", "list")))
	rules := eval.Compile(eval.Specs{FeatureGates: []eval.Spec{member, asks("asks", "member")}}, eval.Options{})
	check := func(r *eval.Ruleset, want string) {
		t.Helper()
		got := ""
		for _, id := range []string{"a", "b", "c", ""} {
			if r.Gate(&eval.User{UserID: id}, "asks").Pass {
				got += id
			}
		}
		if got != want {
			t.Errorf("members = %q, want %q", got, want)
		}
	}
	check(rules, "")
	with := func(l *eval.IDList) *eval.Ruleset {
		return rules.Apply(eval.Change{IDLists: map[string]*eval.IDList{"list": l}})
	}
	check(with(one), "ab")
	check(with(two), "bc")
	want := slices.Sorted(slices.Values([]string{hash("b"), hash("c")}))
	if diff := cmp.Diff(want, slices.Sorted(two.All)); diff != "" || !two.Has(hash("c")) || two.Has(hash("a")) {
		t.Errorf("All() differs (-want +got):\n%s; Has(c) = %v, Has(a) = %v, want true, false", diff, two.Has(hash("c")), two.Has(hash("a")))
	}
	check(with(eval.NewIDListOf([]string{"a", "c"})), "ac")
	check(with(eval.NewIDListOf([]string{"a", "c"}).Add(hash("b"))), "abc")
	check(with(one).Apply(eval.Change{DeleteIDLists: []string{"list"}}), "")
	refs := []eval.Ref{{Name: "member"}, {Name: "asks"}}
	if diff := cmp.Diff(refs, rules.IDListDependents("list", "unknown")); diff != "" {
		t.Errorf("IDListDependents(list) differs (-want +got):\n%s", diff)
	}
}

func TestClientsSeeTheirAppAndTheirListOnly(t *testing.T) {
	a, b, both := gate("a", "s"), gate("b", "s"), gate("any", "s")
	a.TargetAppIDs, b.TargetAppIDs, both.TargetAppIDs = []string{"app-a"}, []string{"app-b"}, []string{"app-a", "app-b"}
	segment := gate("segment:x", "s")
	segment.Entity = eval.EntitySegment
	rules := eval.Compile(eval.Specs{
		FeatureGates:            []eval.Spec{a, b, both, segment},
		SDKKeysToAppIDs:         map[string]string{"client-1": "app-a"},
		HashedSDKKeysToAppIDs:   map[string]string{eval.HashName(eval.HashDJB2, "client-2"): "app-b"},
		HashedSDKKeysToEntities: map[string]eval.KeyEntities{eval.HashName(eval.HashDJB2, "client-3"): {Gates: []string{"b"}}},
	}, eval.Options{})
	for _, test := range []struct {
		name    string
		options eval.ClientOptions
		want    []string
	}{
		{"without an app everything but segments", eval.ClientOptions{}, []string{"a", "any", "b"}},
		{"the key's app", eval.ClientOptions{ClientKey: "client-1"}, []string{"a", "any"}},
		{"the hashed key's app", eval.ClientOptions{ClientKey: "client-2"}, []string{"any", "b"}},
		{"an app that is named", eval.ClientOptions{TargetApp: "app-a", ClientKey: "client-2"}, []string{"a", "any"}},
		{"an app of nothing", eval.ClientOptions{TargetApp: "app-c"}, nil},
		{"the key's allow-list", eval.ClientOptions{ClientKey: "client-3"}, []string{"b"}},
	} {
		test.options.Hash = eval.HashNone
		var body struct {
			Gates map[string]any `json:"feature_gates"`
		}
		if err := json.Unmarshal(rules.AppendClient(nil, &eval.User{}, test.options), &body); err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, name := range []string{"a", "any", "b", "segment:x"} {
			_, inPayload := body.Gates[name]
			_, _, alone := rules.AppendClientEntry(nil, &eval.User{}, eval.Ref{Name: name}, test.options)
			if inPayload != alone {
				t.Errorf("%s: %s in the payload %v, as an entry %v", test.name, name, inPayload, alone)
			}
			if inPayload {
				got = append(got, name)
			}
		}
		if !slices.Equal(got, test.want) {
			t.Errorf("%s: clients see %q, want %q", test.name, got, test.want)
		}
	}
}

func TestNamesAreHashedAsBrowsersHashThem(t *testing.T) {
	for _, test := range []struct {
		mode       eval.HashMode
		name, want string
	}{
		{eval.HashNone, "a gate", "a gate"},
		{eval.HashDJB2, "", "0"},
		{eval.HashDJB2, "vip", "116765"},
		{eval.HashDJB2, "é😀", "1996812"},
		{eval.HashSHA256, "vip", "+VBac5qPuOhRlCw/lz1Luy1MR0OmtjMJCr8vK+A11XI="},
	} {
		if got := eval.HashName(test.mode, test.name); got != test.want {
			t.Errorf("HashName(%v, %q) = %s, want %s", test.mode, test.name, got, test.want)
		}
	}
}

func TestPayloadsEchoUsersWithoutPrivateAttributes(t *testing.T) {
	u := eval.User{
		UserID: "ü\"\x01", Email: "a@b", Custom: map[string]any{"b": 1.5, "a": []any{"x", nil, true}, "c": map[string]any{"d": "e"}},
		PrivateAttributes: map[string]any{"secret": "hidden"}, CustomIDs: map[string]string{"stableID": "s"},
	}
	body := compile().AppendClient(nil, &u, eval.ClientOptions{SDKType: "js", SDKVersion: "1"})
	var got struct {
		User eval.User         `json:"user"`
		Keys map[string]any    `json:"evaluated_keys"`
		Info map[string]string `json:"sdkInfo"`
	}
	if err := json.Unmarshal(body, &got); err != nil {
		t.Fatalf("AppendClient = %s: %v", body, err)
	}
	want := u
	want.PrivateAttributes = nil
	if diff := cmp.Diff(want, got.User); diff != "" {
		t.Errorf("echoed user differs (-want +got):\n%s", diff)
	}
	if strings.Contains(string(body), "hidden") || got.Info["sdkType"] != "js" || got.Keys["userID"] != u.UserID {
		t.Errorf("AppendClient = %s, want keys and SDK, and nothing private", body)
	}
}

func TestNoUserIsAnEmptyUser(t *testing.T) {
	rules := compile(gate("g", "s", rule("r", 50, "true", condition("user_field", "none", "email", []string{"x"}))))
	res, trace := rules.Trace(nil, eval.Ref{Name: "g"})
	if res.RuleID != "r" || trace.RuleID != "r" {
		t.Errorf("Trace(nil) = %s, %s; want rule r", res.RuleID, trace.RuleID)
	}
	got, want := rules.AppendClient(nil, nil, eval.ClientOptions{}), rules.AppendClient(nil, &eval.User{}, eval.ClientOptions{})
	if string(got) != string(want) {
		t.Errorf("AppendClient(nil) = %s, want %s", got, want)
	}
}

func TestResultsSayWhereTheSpecsCameFrom(t *testing.T) {
	specs := eval.Specs{FeatureGates: []eval.Spec{gate("g", "s", rule("r", 50, "true"))}}
	rules := eval.Compile(specs, eval.Options{Source: eval.SourceStore, Sequence: 3})
	for _, step := range []struct {
		change   eval.Change
		source   eval.Source
		sequence uint64
	}{
		{eval.Change{}, eval.SourceStore, 3},
		{eval.Change{Source: eval.SourceNetwork, Sequence: 4}, eval.SourceNetwork, 4},
		{eval.Change{Sequence: 5}, eval.SourceNetwork, 5},
	} {
		rules = rules.Apply(step.change)
		for _, name := range []string{"g", "unknown"} {
			if got := rules.Gate(&eval.User{UserID: "u"}, name); got.Source != step.source || got.Sequence != step.sequence {
				t.Errorf("Gate(%s) after %+v: %q at %d, want %q at %d", name, step.change, got.Source, got.Sequence, step.source, step.sequence)
			}
		}
	}
	if got := (eval.Result{}).Source.String(); got != "" {
		t.Errorf("the source that nobody named reads %q, want nothing", got)
	}
}

func TestUsersAreReadTolerantly(t *testing.T) {
	var got eval.User
	body := `{"userID":12345678901,"email":null,"appVersion":1.5,"custom":{"n":1},"customIDs":{"companyID":7},"statsigEnvironment":{"tier":true},"other":[1]}`
	if err := json.Unmarshal([]byte(body), &got); err != nil {
		t.Fatalf("Unmarshal = %v", err)
	}
	want := eval.User{
		UserID: "12345678901", AppVersion: "1.5", Custom: map[string]any{"n": 1.0},
		CustomIDs: map[string]string{"companyID": "7"}, StatsigEnvironment: map[string]string{"tier": "true"},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("user differs (-want +got):\n%s", diff)
	}
	empty := `{"userID":"u","custom":[],"privateAttributes":[ ],"customIDs":[],"statsigEnvironment":[]}`
	if err := json.Unmarshal([]byte(empty), &got); err != nil || !cmp.Equal(got, eval.User{UserID: "u"}) {
		t.Errorf("Unmarshal(%s) = %+v, %v; want the user u without members", empty, got, err)
	}
	for _, wrong := range []string{`{"custom":[1]}`, `{"customIDs":[[]]}`, `{"statsigEnvironment":"x"}`, `{"privateAttributes":0}`} {
		if json.Unmarshal([]byte(wrong), &got) == nil {
			t.Errorf("Unmarshal(%s) succeeds, want it to be refused", wrong)
		}
	}
	if err := json.Unmarshal([]byte(`{"userID":{}}`), &got); err == nil || !strings.Contains(err.Error(), "want text") {
		t.Errorf("Unmarshal of an object as id = %v, want an error that asks for text", err)
	}
}

func TestCustomValuesOfEveryGoKindAreUnderstood(t *testing.T) {
	type plan string
	rules := compile(gate("g", "s", rule("r", 100, "true", condition("user_field", "any", "v", []any{"pro", 7, true}))))
	seven := 7
	for _, v := range []any{"pro", plan("pro"), 7, int8(7), uint16(7), int64(7), float32(7), &seven, json.Number("7"), true} {
		if !rules.Gate(&eval.User{Custom: map[string]any{"v": v}}, "g").Pass {
			t.Errorf("Gate for a custom %T %v does not pass, want it to", v, v)
		}
	}
	lists := compile(gate("g", "s", rule("r", 100, "true", condition("user_field", "array_contains_any", "v", []any{"7"}))))
	for _, v := range []any{[]any{7.0}, []string{"7"}, []int{7}, [1]plan{"7"}} {
		if !lists.Gate(&eval.User{Custom: map[string]any{"v": v}}, "g").Pass {
			t.Errorf("Gate for a custom %T %v does not pass, want it to", v, v)
		}
	}
}

func TestReadersAreNotDisturbedByChanges(t *testing.T) {
	rules := workloadRuleset(200)
	u := workloadUserList()[0]
	want := string(rules.AppendClient(nil, &u, eval.ClientOptions{}))
	var readers sync.WaitGroup
	for range 4 {
		readers.Go(func() {
			for range 50 {
				if got := string(rules.AppendClient(nil, &u, eval.ClientOptions{})); got != want {
					t.Error("a ruleset's payload changed while others applied changes to it")
					return
				}
			}
		})
	}
	for i := range 200 {
		rules.Apply(eval.Change{Time: int64(i), Set: []eval.Spec{workloadSpec(1+i%3, fmt.Sprintf("flag_%05d_checkout", i%20), "x"), gate(fmt.Sprint("new", i), "s")}})
	}
	readers.Wait()
}

// Names beyond what one change's map holds are folded into the big one.
func TestManyNewNamesStayKnown(t *testing.T) {
	rules := compile()
	for i := range 1500 {
		rules = rules.Apply(eval.Change{Set: []eval.Spec{gate(fmt.Sprint("g", i), "s", rule("r", 100, "true"))}})
	}
	for i := range 1500 {
		if name := fmt.Sprint("g", i); !rules.Gate(&eval.User{}, name).Pass {
			t.Fatalf("Gate(%s) does not pass after 1,500 changes, want it to", name)
		}
	}
	names := slices.Collect(rules.Names(eval.Gates))
	if len(names) != 1500 || !slices.IsSorted(names) {
		t.Errorf("Names() yields %d names, sorted %v; want 1500 in order", len(names), slices.IsSorted(names))
	}
}
