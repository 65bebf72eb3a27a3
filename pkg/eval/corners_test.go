package eval_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/sluice-flags/sluice/pkg/eval"
)

// Corners of the protocol in which the published SDKs agree and a plausible
// evaluator would not.

// oneCountry and oneAgent know one answer.
type (
	oneCountry string
	oneAgent   eval.UserAgent
)

func (c oneCountry) Country(string) (string, bool)      { return string(c), true }
func (a oneAgent) ParseUserAgent(string) eval.UserAgent { return eval.UserAgent(a) }

func TestLookupsAreAskedForWhatTheUserLeavesEmpty(t *testing.T) {
	facets := oneAgent{Browser: "Firefox", BrowserVersion: "121.0", OS: "Linux", OSVersion: "6.1"}
	for field, want := range map[string]string{
		"country": "SE", "browser_name": "Firefox", "browserVersion": "121.0", "OSName": "Linux", "os_version": "6.1",
	} {
		typ := "ua_based"
		if field == "country" {
			typ = "ip_based"
		}
		rules := eval.Compile(
			eval.Specs{FeatureGates: []eval.Spec{gate("g", "s", rule("r", 100, "true", condition(typ, "any", field, []string{want})))}},
			eval.Options{Country: oneCountry("SE"), UserAgent: facets})
		for given, pass := range map[string]bool{"nothing": true, `""`: true, `"x"`: false, fmt.Sprintf("%q", want): true} {
			u := eval.User{UserID: "u", IP: "1.2.3.4", UserAgent: "agent", Custom: map[string]any{}}
			if given != "nothing" {
				u.Custom[field] = decode(json.RawMessage(given))
			}
			if got := rules.Gate(&u, "g").Pass; got != pass {
				t.Errorf("%s any [%q] for a user who gives %s: %v, want %v", field, want, given, got, pass)
			}
		}
	}
}

func TestOnlyBucketsTakeAnObjectForAList(t *testing.T) {
	object := map[string]bool{"pro": true}
	for _, test := range []struct {
		operator string
		want     bool
	}{{"any", false}, {"none", true}, {"str_contains_any", false}, {"str_contains_none", true}, {"array_contains_any", false}, {"array_contains_none", false}} {
		if got := holds(test.operator, "pro", object); got != test.want {
			t.Errorf("%q %s %v = %v, want %v as of any target that is no list", "pro", test.operator, object, got, test.want)
		}
	}
	all := map[string]bool{}
	for i := range 1000 {
		all[fmt.Sprint(i)] = true
	}
	for operator, want := range map[string]bool{"any": true, "none": false} {
		c := condition("user_bucket", operator, "", all)
		c.AdditionalValues = map[string]any{"salt": "s"}
		if got := compile(gate("g", "s", rule("r", 100, "true", c))).Gate(&eval.User{UserID: "u"}, "g").Pass; got != want {
			t.Errorf("user_bucket %s of all buckets as an object = %v, want %v", operator, got, want)
		}
	}
}

// Letters beyond ASCII matter where an element could be, however they begin or
// end there, and whatever their number of bytes is in the other case.
func TestCaseIsIgnoredBeyondASCIIAtEitherEnd(t *testing.T) {
	const kelvin, dottedI, sharpS = "\u212a", "\u0130", "\u1e9e"
	for _, test := range []struct {
		operator, value string
		elements        []string
		want            bool
	}{
		{"str_ends_with_any", "person@EXAMPLE.com", []string{"@example.COM"}, true},
		{"str_ends_with_any", "person@example.org", []string{"@example.com", "org.example"}, false},
		{"str_ends_with_any", "é@example.com", []string{"@other.org"}, false},
		{"str_ends_with_any", "100" + kelvin, []string{"k"}, true},
		{"str_ends_with_any", "100" + kelvin + "m", []string{"km"}, true},
		{"str_ends_with_any", "100" + kelvin + "m", []string{"m", "zz"}, true},
		{"str_ends_with_any", kelvin, []string{"xk"}, false},
		{"str_ends_with_any", "x" + dottedI, []string{"\u0307"}, true},
		{"str_ends_with_any", "grü" + sharpS, []string{"ss", "ß"}, true},
		{"str_ends_with_any", "ΟΔΟΣ", []string{"ς"}, true},
		{"str_ends_with_any", "ΟΔΟΣ", []string{"σ"}, false},
		{"str_starts_with_any", kelvin + "m", []string{"k"}, true},
		{"str_starts_with_any", dottedI + "zmir", []string{"i"}, true},
		{"str_starts_with_any", "abc" + kelvin, []string{"abd"}, false},
		{"str_starts_with_any", "abc" + kelvin, []string{"ABCK"}, true},
		{"str_contains_any", "abc" + kelvin + "def", []string{"CKD"}, true},
		{"any", kelvin, []string{"k"}, true},
		{"any", "k", []string{kelvin}, true},
		{"any_case_sensitive", kelvin, []string{"k"}, false},
		{"none", "É", []string{"é"}, false},
		{"str_ends_with_any", "x", []string{""}, true},
	} {
		if got := holds(test.operator, test.value, test.elements); got != test.want {
			t.Errorf("%q %s %q = %v, want %v", test.value, test.operator, test.elements, got, test.want)
		}
	}
}

// What was read for one rule is not taken for another's.
func TestRulesMayAskForTheVersionsOfSeveralFields(t *testing.T) {
	u := eval.User{AppVersion: "3.14.2", Locale: "1.0", Country: "odd"}
	ask := func(id, operator, field, target string) eval.Rule {
		return rule(id, 100, "true", condition("user_field", operator, field, target))
	}
	for want, rules := range map[string][]eval.Rule{
		"two of one field":  {ask("a", "version_lt", "appVersion", "3.14"), ask("two of one field", "version_gt", "appVersion", "3.14")},
		"another field":     {ask("a", "version_lt", "appVersion", "3.14"), ask("another field", "version_lt", "locale", "3.14")},
		"beyond a word":     {ask("a", "version_lt", "appVersion", "3.14"), ask("beyond a word", "version_lt", "appVersion", "3.14.2.0.70000")},
		"after what is odd": {ask("a", "version_neq", "country", "1"), ask("after what is odd", "version_eq", "locale", "1")},
		"once more":         {ask("a", "version_lt", "appVersion", "3"), ask("b", "version_lt", "locale", "1"), ask("once more", "version_gte", "appVersion", "3.14.2")},
	} {
		if got := compile(gate("g", "s", rules...)).Gate(&u, "g").RuleID; got != want {
			t.Errorf("rule %q decided, want %q", got, want)
		}
	}
}

// A condition that fails passes over the rules that ask the same, and only those.
func TestRulesAfterAFailedConditionAreAskedInOrder(t *testing.T) {
	no, yes := condition("user_field", "any", "email", []string{"x"}), condition("user_field", "any", "userID", []string{"u"})
	asksGate := condition("pass_gate", "", "", "other")
	rules := compile(
		gate("other", "s", rule("o", 100, "true", yes)),
		gate("g", "s", rule("1", 100, "true", no), rule("2", 100, "true", yes, no), rule("3", 100, "true", asksGate, no),
			rule("4", 100, "true", no), rule("5", 100, "true", yes), rule("6", 100, "true", no)))
	res := rules.Gate(&eval.User{UserID: "u"}, "g")
	want := []eval.SecondaryExposure{{Gate: "other", GateValue: "true", RuleID: "o"}}
	if diff := cmp.Diff(want, res.SecondaryExposures()); res.RuleID != "5" || diff != "" {
		t.Errorf("rule %q decided, want 5; exposures (-want +got):\n%s", res.RuleID, diff)
	}
	unsupported := condition("multi_pass_gate", "", "", "other")
	rules = compile(gate("g", "s", rule("1", 100, "true", no), rule("2", 100, "true", no, unsupported), rule("3", 100, "true", yes)))
	if got := rules.Gate(&eval.User{UserID: "u"}, "g").Reason; got != eval.ReasonUnsupported {
		t.Errorf("a gate whose second rule nobody can answer is %v, want Unsupported", got)
	}
}

func TestPatternsSearchAThousandCharactersOfAnyWidth(t *testing.T) {
	for _, test := range []struct {
		name, subject string
		want          bool
	}{
		{"a thousand letters", strings.Repeat("a", 1000), true},
		{"one more", strings.Repeat("a", 1001), false},
		{"a thousand letters of two bytes", strings.Repeat("é", 999) + "a", true},
		{"one more of two bytes", strings.Repeat("é", 1000) + "a", false},
	} {
		if got := holds("str_matches", test.subject, "a$"); got != test.want {
			t.Errorf("%s: str_matches = %v, want %v", test.name, got, test.want)
		}
	}
}

func TestIDsThatAreBigNumbersStayApart(t *testing.T) {
	for text, want := range map[string]string{
		"9007199254740993": "9007199254740993", "12345678901234567891": "12345678901234567891", "-5": "-5", "1.50": "1.5", "1e3": "1000", `"01"`: "01",
	} {
		var u eval.User
		if err := json.Unmarshal([]byte(`{"userID":`+text+`,"customIDs":{"companyID":`+text+`}}`), &u); err != nil {
			t.Fatal(err)
		}
		if u.UserID != want || u.CustomIDs["companyID"] != want {
			t.Errorf("ids of %s = %q, %q; want %q", text, u.UserID, u.CustomIDs["companyID"], want)
		}
	}
}

func TestWhatNoDecisionNeedsCostsNobodyTheEntity(t *testing.T) {
	for _, odd := range []string{`"7.1"`, `null`, `[7]`, `{"a":1}`, `1.5`, `true`} {
		specs, err := eval.ParseSpecs([]byte(`{"feature_gates":[{"name":"g","enabled":true,"version":` + odd + `,"rules":[{"id":"r","passPercentage":100,"samplingRate":` + odd + `,"conditions":[]}]}]}`))
		if err != nil || len(specs.Unreadable) > 0 {
			t.Errorf("ParseSpecs of version %s = %v, %v; want it passed over", odd, specs.Unreadable, err)
		} else if !eval.Compile(specs, eval.Options{}).Gate(&eval.User{}, "g").Pass {
			t.Errorf("Gate(g) with version %s does not pass, want it to", odd)
		}
	}
}

// Clients are shown a layer's defaults for what its experiment leaves out, also
// if that cannot be decided. Nothing else is completed so.
func TestExperimentsInALayerShowItsDefaults(t *testing.T) {
	layer := experiment("layer", "s")
	layer.Entity, layer.DefaultValue = eval.EntityLayer, json.RawMessage(`{"a":1,"b":2}`)
	inside, unsupported := experiment("inside", "s", rule("r", 100, `{"b":3}`)), experiment("unsupported", "s", rule("r", 100, `{"b":3}`, condition("telepathy", "any", "", nil)))
	autotune, outside := experiment("autotune", "s", rule("r", 100, `{"b":3}`)), experiment("outside", "s", rule("r", 100, `{"b":3}`))
	autotune.Entity = eval.EntityAutotune
	names := []string{}
	for _, s := range []*eval.Spec{&inside, &unsupported, &autotune} {
		s.HasSharedParams = new(true)
		names = append(names, s.Name)
	}
	rules := eval.Compile(eval.Specs{
		DynamicConfigs: []eval.Spec{inside, unsupported, autotune, outside}, LayerConfigs: []eval.Spec{layer},
		Layers: map[string][]string{"layer": names},
	}, eval.Options{})
	changed := layer
	changed.DefaultValue = json.RawMessage(`{"a":4}`)
	next := rules.Apply(eval.Change{Set: []eval.Spec{changed}})
	for name, want := range map[string][2]string{
		"inside": {`{"a":1,"b":3}`, `{"a":4,"b":3}`}, "unsupported": {`{"a":1,"b":2}`, `{"a":4}`},
		"autotune": {`{"b":3}`, `{"b":3}`}, "outside": {`{"b":3}`, `{"b":3}`},
	} {
		for i, r := range []*eval.Ruleset{rules, next} {
			var entry struct{ Value json.RawMessage }
			body, _, _ := r.AppendClientEntry(nil, &eval.User{UserID: "u"}, eval.Ref{Section: eval.Configs, Name: name}, eval.ClientOptions{})
			if err := json.Unmarshal(body, &entry); err != nil || string(entry.Value) != want[i] {
				t.Errorf("value of %s = %s, %v; want %s", name, entry.Value, err, want[i])
			}
		}
	}
}

// An experiment that delegates in turn decides, but the layer's own delegate is
// the one that is allocated.
func TestTheLayersOwnDelegateIsAllocated(t *testing.T) {
	inner := experiment("inner", "s", rule("arm", 100, `{"v":2}`))
	inner.Version, inner.ExplicitParameters = 9, []string{"w"}
	outer := experiment("outer", "s", rule("on", 100, `{"v":1}`, condition("pass_gate", "", "", "second")))
	outer.Rules[0].ConfigDelegate, outer.ExplicitParameters, outer.IsActive = "inner", []string{"v"}, new(false)
	layer := experiment("layer", "s", rule("to", 100, `{"v":0}`, condition("pass_gate", "", "", "first")))
	layer.Entity, layer.Rules[0].ConfigDelegate = eval.EntityLayer, "outer"
	rules := compile(inner, outer, layer, gate("first", "s", rule("r", 100, "true")), gate("second", "s", rule("r", 100, "true")))

	u := eval.User{UserID: "u"}
	res := rules.Layer(&u, "layer")
	type answer struct {
		Rule, Allocated string
		Version         int64
		Explicit        []string
		Active          bool
		All, Own        int
	}
	got := answer{res.RuleID, res.AllocatedExperiment, res.Version, res.ExplicitParameters, res.ExperimentActive, len(res.SecondaryExposures()), len(res.UndelegatedSecondaryExposures())}
	want := answer{"arm", "outer", 9, []string{"v"}, false, 2, 1}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("Layer(layer) differs (-want +got):\n%s", diff)
	}
	entry, _, _ := rules.AppendClientEntry(nil, &u, eval.Ref{Section: eval.Layers, Name: "layer"}, eval.ClientOptions{Hash: eval.HashNone})
	for _, member := range []string{`"allocated_experiment_name":"outer"`, `"explicit_parameters":["v"]`, `"is_experiment_active":false`, `"rule_id":"arm"`} {
		if !strings.Contains(string(entry), member) {
			t.Errorf("AppendClientEntry(layer) = %s, want it to have %s", entry, member)
		}
	}
}

// Who was delegated to is known even if it can decide for nobody.
func TestALayerNamesTheDelegateThatCannotDecide(t *testing.T) {
	broken := experiment("broken", "s", rule("r", 100, `{"v":1}`, condition("pass_gate", "", "", "second"), condition("telepathy", "any", "", nil)))
	broken.ExplicitParameters, broken.IsActive = []string{"v"}, new(true)
	layer := experiment("layer", "s", rule("to", 100, `{"v":0}`, condition("pass_gate", "", "", "first")))
	layer.Entity, layer.Rules[0].ConfigDelegate = eval.EntityLayer, "broken"
	through, outer := layer, experiment("outer", "s", rule("to", 100, `{"v":0}`, condition("pass_gate", "", "", "third")))
	through.Name, outer.Rules[0].ConfigDelegate = "through", "broken"
	through.Rules = []eval.Rule{layer.Rules[0]}
	through.Rules[0].ConfigDelegate = "outer"
	own := experiment("own", "s", rule("r", 100, `{"v":0}`))
	own.Entity, own.ExplicitParameters = eval.EntityLayer, []string{"w"}
	passing := rule("r", 100, "true")
	rules := compile(broken, layer, outer, through, own, gate("first", "s", passing), gate("second", "s", passing), gate("third", "s", passing))

	u := eval.User{UserID: "u"}
	if x := rules.Layer(&u, "through").SecondaryExposures(); len(x) != 2 || x[0].Gate != "first" || x[1].Gate != "third" {
		t.Errorf("Layer(through) exposes %v; want the gates of all that delegated, first and third", x)
	}
	res := rules.Layer(&u, "layer")
	first := []eval.SecondaryExposure{{Gate: "first", GateValue: "true", RuleID: "r"}}
	if res.Reason != eval.ReasonUnsupported || res.AllocatedExperiment != "broken" || !res.ExperimentActive || string(res.Value) != "{}" ||
		!cmp.Equal(res.SecondaryExposures(), first) || !cmp.Equal(res.UndelegatedSecondaryExposures(), first) {
		t.Errorf("Layer(layer) = %+v; want it Unsupported, with the experiment broken and the gate first", res)
	}
	for name, want := range map[string][]string{
		"layer": {`"allocated_experiment_name":"broken"`, `"is_experiment_active":true`, `"is_user_in_experiment":false`, `"explicit_parameters":["v"]`},
		"own":   {`"explicit_parameters":["w"]`},
	} {
		entry, _, _ := rules.AppendClientEntry(nil, &u, eval.Ref{Section: eval.Layers, Name: name}, eval.ClientOptions{Hash: eval.HashNone})
		for _, member := range want {
			if !strings.Contains(string(entry), member) {
				t.Errorf("AppendClientEntry(%s) = %s, want it to have %s", name, entry, member)
			}
		}
		if name == "own" && strings.Contains(string(entry), "allocated") {
			t.Errorf("AppendClientEntry(own) = %s, want no experiment", entry)
		}
	}
}

// A config decides for a gate that delegates to it, by its own percentage; whoever
// consulted the gate exposes the gate, by the config's rule.
func TestAGateThatDelegatesIsDecidedByAConfig(t *testing.T) {
	to := func(name, config string, percentage float64) eval.Spec {
		g := gate(name, "s", rule("to", percentage, "true", condition("pass_gate", "", "", "first")))
		g.Rules[0].ConfigDelegate = config
		return g
	}
	off := experiment("off", "s")
	off.Enabled = false
	rules := compile(
		experiment("arms", "s", rule("arm", 100, `{"v":1}`, condition("pass_gate", "", "", "second"))), off,
		experiment("odd", "s", rule("r", 100, `{}`, condition("pass_gate", "", "", "second"), condition("telepathy", "any", "", nil))),
		gate("first", "s", rule("r", 100, "true")), gate("second", "s", rule("r", 100, "true")),
		to("to arms", "arms", 0), to("to off", "off", 100), to("to odd", "odd", 100), to("to nothing", "nothing", 100),
		gate("asks", "s", rule("r", 100, "true", condition("pass_gate", "", "", "to arms"), condition("pass_gate", "", "", "to arms"))),
		gate("asks odd", "s", rule("r", 100, "true", condition("pass_gate", "", "", "to odd"))),
	)
	u := eval.User{UserID: "u"}
	type answer struct {
		Pass   bool
		Rule   string
		Reason eval.Reason
		Gates  []string
	}
	for name, want := range map[string]answer{
		"to arms":    {true, "arm", eval.ReasonRule, []string{"first r", "second r"}},
		"to off":     {false, "disabled", eval.ReasonDisabled, []string{"first r"}},
		"to odd":     {false, "", eval.ReasonUnsupported, []string{"first r"}},
		"to nothing": {true, "to", eval.ReasonRule, []string{"first r"}},
		"asks":       {true, "r", eval.ReasonRule, []string{"first r", "second r", "to arms arm"}},
		"asks odd":   {false, "", eval.ReasonUnsupported, nil},
	} {
		res := rules.Gate(&u, name)
		got := answer{Pass: res.Pass, Rule: res.RuleID, Reason: res.Reason}
		for _, x := range res.SecondaryExposures() {
			got.Gates = append(got.Gates, x.Gate+" "+x.RuleID)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("Gate(%s) differs (-want +got):\n%s", name, diff)
		}
		if traced, _ := rules.Trace(&u, eval.Ref{Section: eval.Gates, Name: name}); traced.Pass != want.Pass || traced.RuleID != want.Rule {
			t.Errorf("Trace(%s) = %v by %q; want %v by %q", name, traced.Pass, traced.RuleID, want.Pass, want.Rule)
		}
		entry, _, _ := rules.AppendClientEntry(nil, &u, eval.Ref{Section: eval.Gates, Name: name}, eval.ClientOptions{Hash: eval.HashNone})
		var sent struct {
			Value  bool
			RuleID string `json:"rule_id"`
		}
		if err := json.Unmarshal(entry, &sent); err != nil || sent.Value != want.Pass || sent.RuleID != want.Rule {
			t.Errorf("AppendClientEntry(%s) = %s, %v; want %v by %q", name, entry, err, want.Pass, want.Rule)
		}
	}
}
