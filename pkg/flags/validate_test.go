package flags_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/sluice-flags/sluice/pkg/flags"
)

// rule is a gate with one rule whose member or condition is under test.
func ruleWith(members string) string {
	return `{"name":"g","rules":[{"environments":null,"passPercentage":50,"conditions":[{"type":"public"}],` + members + `}]}`
}

func TestValidateRefusesWhatSDKsWouldNotAgreeOn(t *testing.T) {
	const target = "/rules/0/conditions/0/targetValue"
	list := func(n int) string { return `["` + strings.Repeat(`a","`, n-1) + `a"]` }
	for _, test := range []struct {
		condition string
		want      string // the one mark, "" for none
	}{
		{`{"type":"email","operator":"any","targetValue":["a"]}`, ""},
		{`{"type":"mail","operator":"any","targetValue":["a"]}`, "/rules/0/conditions/0/type unknown"},
		{`{"type":"Email","operator":"any","targetValue":["a"]}`, "/rules/0/conditions/0/type unknown"},
		{`{"type":"email","targetValue":["a"]}`, "/rules/0/conditions/0/operator required"},
		{`{"type":"email","operator":"gt","targetValue":1}`, "/rules/0/conditions/0/operator unknown"},
		{`{"type":"email","operator":"ANY","targetValue":["a"]}`, "/rules/0/conditions/0/operator unknown"},
		{`{"type":"public","operator":"none"}`, "/rules/0/conditions/0/operator unknown"},
		{`{"type":"public","targetValue":["a"]}`, target + " unknown"},
		{`{"type":"email","operator":"is_null","targetValue":["a"]}`, target + " unknown"},
		{`{"type":"email","operator":"is_null","targetValue":null}`, ""},
		{`{"type":"email","operator":"any"}`, target + " required"},
		{`{"type":"email","operator":"any","targetValue":null}`, target + " required"},
		{`{"type":"email","operator":"any","targetValue":"a"}`, target + " type"},
		{`{"type":"email","operator":"any","targetValue":[]}`, target + " required"},
		{`{"type":"email","operator":"any","targetValue":[""]}`, target + "/0 invalid"},
		{`{"type":"email","operator":"any","targetValue":["a",null]}`, target + "/1 type"},
		{`{"type":"email","operator":"any","targetValue":[["a"]]}`, target + "/0 type"},
		{`{"type":"email","operator":"any","targetValue":[true]}`, target + "/0 type"},
		{`{"type":"custom_field","field":"f","operator":"any","targetValue":[true,1,"x"]}`, ""},
		{`{"type":"email","operator":"any","targetValue":` + list(1000) + `}`, ""},
		{`{"type":"email","operator":"any","targetValue":` + list(1001) + `}`, target + " too-large"},
		{`{"type":"email","operator":"any","targetValue":["` + strings.Repeat("a", 1025) + `"]}`, target + "/0 too-large"},
		{`{"type":"custom_field","operator":"any","targetValue":["a"]}`, "/rules/0/conditions/0/field required"},
		{`{"type":"email","field":"f","operator":"any","targetValue":["a"]}`, "/rules/0/conditions/0/field unknown"},
		{`{"type":"unit_id","operator":"any","targetValue":["a"]}`, "/rules/0/conditions/0/customID required"},
		{`{"type":"unit_id","customID":"no space","operator":"any","targetValue":["a"]}`, "/rules/0/conditions/0/customID invalid"},
		{`{"type":"custom_field","field":"f","operator":"gt","targetValue":"1"}`, target + " type"},
		{`{"type":"app_version","operator":"version_gt","targetValue":1.2}`, target + " type"},
		{`{"type":"app_version","operator":"version_gt","targetValue":"1..2"}`, target + " invalid"},
		{`{"type":"app_version","operator":"version_gt","targetValue":"v1.2"}`, target + " invalid"},
		{`{"type":"app_version","operator":"version_gt","targetValue":"1.2.3-rc.1"}`, ""},
		{`{"type":"time","operator":"after","targetValue":"tomorrow"}`, target + " invalid"},
		{`{"type":"time","operator":"after","targetValue":"2027-02-30"}`, target + " invalid"},
		{`{"type":"time","operator":"after","targetValue":1798761600}`, target + " invalid"}, // seconds
		{`{"type":"time","operator":"after","targetValue":1798761600000.5}`, target + " invalid"},
		{`{"type":"time","operator":"gt","targetValue":1798761600000}`, "/rules/0/conditions/0/operator unknown"},
		{`{"type":"email","operator":"str_matches","targetValue":"("}`, target + " invalid"},
		{`{"type":"email","operator":"str_matches","targetValue":""}`, target + " type"},
		{`{"type":"email","operator":"str_matches","targetValue":"` + strings.Repeat("a", 256) + `"}`, ""},
		{`{"type":"email","operator":"str_matches","targetValue":"` + strings.Repeat("a", 257) + `"}`, target + " too-large"},
		{`{"type":"email","operator":"str_matches","targetValue":"(?=a)"}`, target + " invalid"},
		{`{"type":"email","operator":"str_matches","targetValue":"(?i)a"}`, target + " invalid"},
		{`{"type":"email","operator":"str_matches","targetValue":"^(a+)+$"}`, target + " invalid"},
		{`{"type":"email","operator":"str_matches","targetValue":"(?:a|(b*c))*?d"}`, target + " invalid"},
		{`{"type":"email","operator":"str_matches","targetValue":"(a{1,9}){20}"}`, target + " invalid"},
		{`{"type":"email","operator":"str_matches","targetValue":"(ab?){2,3}|[(+*]+[^^\\](+]*[])](a+)?(\\(b+\\)){x}(\\d{3}-)+"}`, ""},
		{`{"type":"email","operator":"str_matches","targetValue":"(?P<x>a)"}`, target + " invalid"},
		{`{"type":"email","operator":"str_matches","targetValue":"\\p{L}"}`, target + " invalid"},
		{`{"type":"email","operator":"str_matches","targetValue":"[[:alpha:]]"}`, target + " invalid"},
		{`{"type":"email","operator":"str_matches","targetValue":"\\Aa\\z"}`, target + " invalid"},
		{`{"type":"email","operator":"str_matches","targetValue":"^(?:a|b)\\.\\d+\\\\p$"}`, ""},
		{`{"type":"ip_address","operator":"ip_in_range","targetValue":["10.0.0.0/33"]}`, target + "/0 invalid"},
		{`{"type":"ip_address","operator":"ip_in_range","targetValue":["::1/64"]}`, target + "/0 invalid"},
		{`{"type":"passes_gate","targetValue":["other"]}`, target + " type"},
		{`{"type":"passes_gate","targetValue":"nobody"}`, target + " missing"},
		{`{"type":"passes_segment","targetValue":"other"}`, target + " missing"}, // a gate is no segment
		{`{"type":"passes_gate","targetValue":"old"}`, target + " archived"},
		{`{"type":"passes_gate","targetValue":"G"}`, target + " cycle"},
		{`{"type":"environment_tier","operator":"any","targetValue":["moon"]}`, target + "/0 missing"},
	} {
		p := newProject(t)
		p.put(flags.KindGate, everyone("other", 1))
		p.put(flags.KindGate, `{"name":"old","status":"archived","rules":[]}`)
		_, problems := p.try(flags.KindGate, when("g", test.condition))
		var want []string
		if test.want != "" {
			want = []string{test.want}
		}
		if diff := cmp.Diff(want, marks(problems)); diff != "" {
			t.Errorf("Validate(%.200s) = %v (-want +got):\n%s", test.condition, problems, diff)
		}
	}
}

func TestValidateHoldsTheLimitsOfAGate(t *testing.T) {
	rules := func(n int) string {
		one := `{"environments":null,"passPercentage":1,"conditions":[{"type":"public"}]}`
		return `{"name":"g","rules":[` + strings.Repeat(one+",", n-1) + one + `]}`
	}
	for _, test := range []struct {
		document string
		want     []string
	}{
		{rules(200), nil},
		{rules(201), []string{"/rules too-large"}},
		{ruleWith(`"passPercentage":100.01`), []string{"/rules/0/passPercentage duplicate"}},
		{`{"name":"g","rules":[{"environments":null,"passPercentage":100.01,"conditions":[{"type":"public"}]}]}`, []string{"/rules/0/passPercentage invalid"}},
		{`{"name":"g","rules":[{"environments":null,"passPercentage":-1,"conditions":[{"type":"public"}]}]}`, []string{"/rules/0/passPercentage invalid"}},
		{`{"name":"g","rules":[{"environments":null,"passPercentage":0.001,"conditions":[{"type":"public"}]}]}`, []string{"/rules/0/passPercentage invalid"}},
		{`{"name":"g","rules":[{"environments":null,"passPercentage":33.33,"conditions":[]}]}`, []string{"/rules/0/conditions required"}},
		{`{"name":"g","rules":[{"environments":[],"passPercentage":1,"conditions":[{"type":"public"}]}]}`, []string{"/rules/0/environments required"}},
		{`{"name":"g","rules":[{"environments":["moon","moon"],"passPercentage":1,"conditions":[{"type":"public"}]}]}`,
			[]string{"/rules/0/environments/0 missing", "/rules/0/environments/1 duplicate", "/rules/0/environments/1 missing"}},
		{ruleWith(`"id":"a:b"`), []string{"/rules/0/id invalid"}},
		{ruleWith(`"id":"Default"`), []string{"/rules/0/id invalid"}},
		{ruleWith(`"value":{}`), []string{"/rules/0/value unknown"}},
		{`{"name":"g","status":"on","type":"forever","unitType":"no space","rules":[]}`, []string{"/status invalid", "/type invalid", "/unitType invalid"}},
		{`{"name":"g","rules":[],"overrides":{"userID":{"pass":["a","b",""],"fail":["b"]}}}`, []string{"/overrides/userID/fail/0 duplicate", "/overrides/userID/pass/2 required"}},
		{`{"name":"g","rules":[],"overrides":{"userID":{"environments":{"moon":{"pass":["a"]}}}}}`, []string{"/overrides/userID/environments/moon missing"}},
		{`{"name":"g","rules":[],"overrides":{"userID":{},"user_id":{}}}`, []string{"/overrides/user_id duplicate"}},
		{`{"name":"g","rules":[],"offIn":["moon"],"holdouts":["x"]}`, []string{"/holdouts/0 missing", "/offIn/0 missing"}},
		{`{"name":"g","rules":[],"metadata":[1]}`, []string{"/metadata type"}},
		{`{"name":"g","rules":[],"description":"` + strings.Repeat("a", 10_001) + `"}`, []string{"/description too-large"}},
		{`{"name":"g","rules":[],"metadata":{"x":"` + strings.Repeat("a", 64<<10) + `"}}`, []string{"too-large"}},
		{`{"id":"exp_1","name":"g","rules":[]}`, []string{"/id invalid"}},
		{`{"id":"gate_A.b","name":"g","rules":[]}`, []string{"/id invalid"}},
	} {
		_, problems := newProject(t).try(flags.KindGate, test.document)
		if diff := cmp.Diff(test.want, marks(problems)); diff != "" {
			t.Errorf("Validate(%.120s) = %.300v (-want +got):\n%s", test.document, problems, diff)
		}
	}
}

func TestNamesAreASCIIUniqueAndNeverUsedAgain(t *testing.T) {
	p := newProject(t)
	p.put(flags.KindGate, everyone("Taken", 1))
	p.put(flags.KindConfig, `{"name":"limits","defaultValue":{},"rules":[]}`)
	gone := p.put(flags.KindGate, everyone("gone", 1))
	p.remove(gone.Ref())
	for _, test := range []struct {
		kind flags.Kind
		name string
		want []string
	}{
		{flags.KindGate, "a.b:c-d e_F9", nil},
		{flags.KindGate, strings.Repeat("a", 100), nil},
		{flags.KindGate, strings.Repeat("a", 101), []string{"/name name"}},
		{flags.KindGate, "", []string{"/name name"}},
		{flags.KindGate, " a", []string{"/name name"}},
		{flags.KindGate, "::internal", []string{"/name name"}},
		{flags.KindGate, "a/b", []string{"/name name"}},
		{flags.KindGate, "a*", []string{"/name name"}},
		{flags.KindGate, "a>", []string{"/name name"}},
		{flags.KindGate, "a\\nb", []string{"/name name"}},
		{flags.KindGate, "größe", []string{"/name name"}},
		{flags.KindGate, "Segment:x", []string{"/name name"}},
		{flags.KindGate, "tAKEN", []string{"/name name-taken"}},
		{flags.KindHoldout, "taken", []string{"/name name-taken"}},
		{flags.KindSegment, "taken", nil},
		{flags.KindExperiment, "Limits", []string{"/name name-taken"}},
		{flags.KindLayer, "limits", nil},
		{flags.KindGate, "GONE", []string{"/name retired"}},
		{flags.KindGate, "gate_0001", []string{"/name name-taken"}}, // an id is found before a name
	} {
		document := fmt.Sprintf(`{"name":"%s"`, test.name)
		switch test.kind {
		case flags.KindExperiment:
			document = strings.TrimSuffix(experiment(test.name, ""), "}")
		case flags.KindHoldout:
			document += `,"share":1`
		case flags.KindLayer:
			document += `,"parameters":{}`
		default:
			document += `,"rules":[]`
		}
		_, problems := p.try(test.kind, document+"}")
		if diff := cmp.Diff(test.want, marks(problems)); diff != "" {
			t.Errorf("%s %q: %v (-want +got):\n%s", test.kind, test.name, problems, diff)
		}
	}
	if _, problems := p.try(flags.KindGate, fmt.Sprintf(`{"id":%q,"name":"new","rules":[]}`, gone.Ref().ID)); !cmp.Equal(marks(problems), []string{"/id retired"}) {
		t.Errorf("a deleted entity's id came back: %v", problems)
	}
}

func TestReferencesFormNoCycleAndNoLongChain(t *testing.T) {
	p := newProject(t)
	p.put(flags.KindGate, everyone("g0", 1))
	asks := func(name string) string { return fmt.Sprintf(`{"type":"passes_gate","targetValue":%q}`, name) }
	for i := 1; i < 10; i++ {
		p.put(flags.KindGate, when(fmt.Sprint("g", i), asks(fmt.Sprint("g", i-1))))
	}
	if _, problems := p.try(flags.KindGate, when("g10", asks("g9"))); !cmp.Equal(marks(problems), []string{"too-large"}) {
		t.Errorf("a chain of eleven gates: %v; want it refused", problems)
	}
	// The same from below: the last of a chain gets another behind it.
	p.put(flags.KindSegment, `{"name":"s","rules":[]}`)
	g0, _ := p.state.ByName(flags.KindGate, "g0")
	longer := strings.Replace(when("g0", `{"type":"passes_segment","targetValue":"s"}`), "{", fmt.Sprintf(`{"id":%q,`, g0.Ref.ID), 1)
	if _, problems := p.try(flags.KindGate, longer); !cmp.Equal(marks(problems), []string{"too-large"}) {
		t.Errorf("a chain that grows below: %v; want it refused", problems)
	}
	cycle := strings.Replace(when("g0", asks("g5")), "{", fmt.Sprintf(`{"id":%q,`, g0.Ref.ID), 1)
	_, problems := p.try(flags.KindGate, cycle)
	if !cmp.Equal(marks(problems), []string{"/rules/0/conditions/0/targetValue cycle"}) || !strings.Contains(problems.Error(), "gate g1") {
		t.Errorf("a cycle of six gates: %v; want it refused, naming the way", problems)
	}
}

func TestWhatIsInUseStays(t *testing.T) {
	p := newProject(t)
	p.put(flags.KindGate, `{"id":"gate_used","name":"used","rules":[]}`)
	p.put(flags.KindGate, strings.Replace(when("user", `{"type":"passes_gate","targetValue":"used"}`), "{", `{"id":"gate_user",`, 1))
	used := flags.Ref{Kind: flags.KindGate, ID: "gate_used"}

	if problems := flags.ValidateDelete(p.state, used); !cmp.Equal(marks(problems), []string{"in-use"}) || !strings.Contains(problems.Error(), "user") {
		t.Errorf("ValidateDelete(used) = %v; want it in use by user", problems)
	}
	if _, problems := p.try(flags.KindGate, `{"id":"gate_used","name":"used","status":"archived","rules":[]}`); !cmp.Equal(marks(problems), []string{"/status in-use"}) {
		t.Errorf("archiving: %v; want it in use", problems)
	}
	if _, problems := p.try(flags.KindGate, `{"id":"gate_used","name":"renamed","rules":[]}`); !cmp.Equal(marks(problems), []string{"/name in-use"}) {
		t.Errorf("renaming what is referred to by name: %v; want it in use", problems)
	}
	p.put(flags.KindGate, strings.Replace(when("user", `{"type":"passes_gate","targetValue":"gate_used"}`), "{", `{"id":"gate_user",`, 1))
	p.put(flags.KindGate, `{"id":"gate_used","name":"renamed","rules":[]}`)
	if got := p.rules().Gate(user("u"), "user"); !got.Found || len(got.SecondaryExposures()) != 1 || got.SecondaryExposures()[0].Gate != "renamed" {
		t.Errorf("after the rename user asks %v; want renamed", got.SecondaryExposures())
	}
	p.put(flags.KindGate, `{"id":"gate_user","name":"user","status":"archived","rules":[{"environments":null,"passPercentage":1,"conditions":[{"type":"passes_gate","targetValue":"gate_used"}]}]}`)
	if problems := flags.ValidateDelete(p.state, used); len(problems) > 0 {
		t.Errorf("ValidateDelete() with an archived user = %v; want it allowed", problems)
	}
	if problems := flags.ValidateDelete(p.state, flags.Ref{Kind: flags.KindEnvironment, ID: "env_staging"}); len(problems) > 0 {
		t.Errorf("deleting an unused environment: %v", problems)
	}
	p.put(flags.KindGate, `{"name":"staged","offIn":["Staging"],"rules":[]}`)
	if problems := flags.ValidateDelete(p.state, flags.Ref{Kind: flags.KindEnvironment, ID: "env_staging"}); !cmp.Equal(marks(problems), []string{"in-use"}) {
		t.Errorf("deleting a used environment: %v; want it in use", problems)
	}
	if _, problems := p.try(flags.KindEnvironment, `{"id":"env_staging","name":"stage"}`); !cmp.Equal(marks(problems), []string{"/name immutable"}) {
		t.Errorf("renaming an environment: %v; want it refused", problems)
	}
}

func TestCrossoversAreExcludedOrStayWhereTheyWereFirst(t *testing.T) {
	p := newProject(t)
	for given, want := range map[string]flags.CrossoverPolicy{"exclude": flags.CrossoversExcluded, "": flags.CrossoversExcluded, "first": flags.CrossoversKeepFirst, "last": ""} {
		doc, problems := p.try(flags.KindExperiment, fmt.Sprintf(`{"name":"x","allocation":100,"crossovers":%q,"groups":[{"name":"a","share":50,"parameters":{}},{"name":"b","share":50,"parameters":{}}]}`, given))
		if given == "last" {
			if got := marks(problems); !slices.Contains(got, "/crossovers invalid") {
				t.Errorf("crossovers %q: %v; want it refused", given, problems)
			}
			continue
		}
		if got := doc.(*flags.Experiment).Crossovers; len(problems) > 0 || got != want {
			t.Errorf("crossovers %q = %q, %v; want %q", given, got, problems, want)
		}
	}
}

func TestExperimentsAreCheckedAgainstTheirLayerAndTheirPast(t *testing.T) {
	p := newProject(t)
	p.put(flags.KindLayer, `{"id":"lay_1","name":"l","parameters":{"p":1,"title":"x"}}`)
	groups := func(a, b string) string {
		return `"groups":[{"id":"a","name":"A","share":50,"parameters":` + a + `},{"id":"b","name":"B","share":50,"parameters":` + b + `}]`
	}
	for _, test := range []struct {
		document string
		want     []string
	}{
		{`"allocation":10,"groups":[]`, []string{"/groups required"}},
		{`"allocation":100.5,` + groups(`{}`, `{}`), []string{"/allocation invalid"}},
		{`"allocation":10.55,` + groups(`{}`, `{}`), []string{"/allocation invalid"}},
		{`"allocation":10,"groups":[{"name":"A","share":60,"parameters":{}},{"name":"a","share":60.05,"parameters":[]}]`,
			[]string{"/groups invalid", "/groups/1/name duplicate", "/groups/1/parameters type", "/groups/1/share invalid"}},
		{`"allocation":10,` + groups(`{"p":1}`, `{"p":"1"}`), []string{"/groups/1/parameters/p type"}},
		{`"allocation":10,"layer":"l",` + groups(`{"p":1}`, `{"q":1}`), []string{"/groups/1/parameters/q missing"}},
		{`"allocation":10,"layer":"l",` + groups(`{"p":true}`, `{"p":false}`), []string{"/groups/0/parameters/p type", "/groups/1/parameters/p type"}},
		{`"allocation":10,"layer":"l","unitType":"stableID",` + groups(`{}`, `{}`), []string{"/unitType invalid"}},
		{`"allocation":10,"layer":"x","metrics":["m"],` + groups(`{}`, `{}`), []string{"/layer missing", "/metrics/0 missing"}},
		{`"allocation":10,"overrides":{"userID":{"c":["u"]}},` + groups(`{}`, `{}`), []string{"/overrides/userID/c missing"}},
		{`"allocation":10,"overrides":{"userID":{"a":["u"],"b":["u"]}},` + groups(`{}`, `{}`), []string{"/overrides/userID/b/0 duplicate"}},
		{`"allocation":10,"status":"decided",` + groups(`{}`, `{}`), []string{"/decision required", "/startedAt required", "/status invalid"}},
		{`"allocation":10,"decision":{"group":"z"},` + groups(`{}`, `{}`), []string{"/decision unknown", "/decision/group missing"}},
		{`"allocation":10,"targetingRules":[{"environments":null,"passPercentage":1,"conditions":[]}],` + groups(`{}`, `{}`), []string{"/targetingRules/0/conditions required"}},
	} {
		_, problems := p.try(flags.KindExperiment, `{"name":"e",`+test.document+`}`)
		if diff := cmp.Diff(test.want, marks(problems)); diff != "" {
			t.Errorf("Validate(%s) = %v (-want +got):\n%s", test.document, problems, diff)
		}
	}

	p.put(flags.KindExperiment, `{"name":"e","layer":"l","allocation":60,`+groups(`{"p":1}`, `{"p":2}`)+`}`)
	if problems := p.edit("e", func(x *flags.Experiment) { x.Groups[0].Share, x.Groups[1].Share = 40, 60 }); len(problems) > 0 {
		t.Errorf("a draft may change its groups: %v", problems)
	}
	if problems := p.edit("e", func(x *flags.Experiment) { x.Status = flags.ExperimentRunning }); len(problems) > 0 {
		t.Fatal(problems)
	}
	e, _ := p.state.ByName(flags.KindExperiment, "e")
	if x := e.Doc.(*flags.Experiment); x.StartedAt == nil || !x.StartedAt.Equal(testTime) || !cmp.Equal(x.Buckets, [][2]int{{0, 600}}) {
		t.Errorf("started: %v with buckets %v; want %v with 0 to 600", x.StartedAt, x.Buckets, testTime)
	}
	for _, test := range []struct {
		name   string
		change func(*flags.Experiment)
		want   []string
	}{
		{"share", func(x *flags.Experiment) { x.Groups[0].Share = 10 }, []string{"/groups/0 immutable"}},
		{"order", func(x *flags.Experiment) { x.Groups[0], x.Groups[1] = x.Groups[1], x.Groups[0] }, []string{"/groups/0 immutable", "/groups/1 immutable"}},
		{"fewer", func(x *flags.Experiment) { x.Groups = x.Groups[:1] }, []string{"/groups immutable", "/groups required"}},
		{"name", func(x *flags.Experiment) { x.Name = "other" }, []string{"/name immutable"}},
		{"salt", func(x *flags.Experiment) { x.Salt = "other" }, []string{"/salt immutable"}},
		{"layer", func(x *flags.Experiment) { x.Layer = "" }, []string{"/layer immutable"}},
		{"life", func(x *flags.Experiment) { x.Status = flags.ExperimentArchived }, []string{"/status invalid"}},
		{"again", func(x *flags.Experiment) { x.Status = flags.ExperimentDraft }, []string{"/salt required"}},
		{"note", func(x *flags.Experiment) { x.Description = "still going" }, nil},
		{"rename a group", func(x *flags.Experiment) { x.Groups[1].Name = "Better" }, nil},
	} {
		if diff := cmp.Diff(test.want, marks(p.edit("e", test.change))); diff != "" {
			t.Errorf("%s after the start (-want +got):\n%s", test.name, diff)
		}
	}
	for _, test := range []struct {
		document string
		want     []string
	}{
		{`"parameters":{"title":"y"}`, []string{"/parameters/p in-use"}},
		{`"parameters":{"p":"1","title":"y"}`, []string{"/parameters/p in-use"}},
		{`"parameters":{"p":1},"unitType":"stableID","salt":"other"`, []string{"/salt immutable", "/unitType immutable"}},
		{`"parameters":{"p":1},"status":"archived"`, []string{"/status in-use"}},
		{`"parameters":{"p":7,"more":[]}`, nil},
	} {
		_, problems := p.try(flags.KindLayer, `{"id":"lay_1","name":"l",`+test.document+`}`)
		if diff := cmp.Diff(test.want, marks(problems)); diff != "" {
			t.Errorf("layer %s: %v (-want +got):\n%s", test.document, problems, diff)
		}
	}
	if problems := p.edit("e", func(x *flags.Experiment) { x.Status, x.Salt = flags.ExperimentDraft, "again" }); len(problems) > 0 {
		t.Errorf("starting over with another salt: %v", problems)
	}
	e, _ = p.state.ByName(flags.KindExperiment, "e")
	if x := e.Doc.(*flags.Experiment); x.StartedAt != nil || x.Buckets != nil {
		t.Errorf("starting over keeps start %v and buckets %v; want neither", x.StartedAt, x.Buckets)
	}
}

func TestKeysAndMetricsAreChecked(t *testing.T) {
	p := newProject(t)
	hash := strings.Repeat("ab", 32)
	p.put(flags.KindKey, `{"id":"key_1","name":"k","kind":"server","hash":"`+hash+`"}`)
	for _, test := range []struct {
		kind     flags.Kind
		document string
		want     []string
	}{
		{flags.KindKey, `{"name":"a","kind":"root","hash":"x","environments":["moon"]}`, []string{"/environments/0 missing", "/hash invalid", "/kind invalid"}},
		{flags.KindKey, `{"name":"a","kind":"client","hash":"` + strings.ToUpper(hash) + `"}`, []string{"/hash invalid"}},
		{flags.KindKey, `{"name":"a","kind":"client","hash":"` + hash + `"}`, []string{"/hash name-taken"}},
		{flags.KindKey, `{"id":"key_1","name":"k","kind":"client","hash":"` + strings.Repeat("cd", 32) + `"}`, []string{"/hash immutable", "/kind immutable"}},
		{flags.KindMetric, `{"name":"m","type":"share","event":""}`, []string{"/event required", "/type invalid"}},
		{flags.KindMetric, `{"name":"m","type":"sum","event":"e","valueFrom":"body.x"}`, []string{"/valueFrom invalid"}},
		{flags.KindMetric, `{"name":"m","type":"event_user","event":"e","valueFrom":"value"}`, []string{"/valueFrom unknown"}},
		{flags.KindMetric, `{"name":"m","type":"mean","event":"e","direction":"up","windowHours":-1,"filters":[{"metadata":"x","operator":"like","values":[]}]}`,
			[]string{"/direction invalid", "/filters/0/operator invalid", "/filters/0/values required", "/windowHours invalid"}},
		{flags.KindEnvironment, `{"name":"qa","color":"red"}`, []string{"/color invalid"}},
		{flags.KindConfig, `{"name":"c","defaultValue":[1],"rules":[{"environments":null,"passPercentage":1,"conditions":[{"type":"public"}]}]}`, []string{"/defaultValue type", "/rules/0/value required"}},
		{flags.KindSegment, `{"name":"s","type":"ids","rules":[]}`, []string{"/type invalid"}},
		{flags.KindHoldout, `{"name":"h","share":101}`, []string{"/share invalid"}},
	} {
		_, problems := p.try(test.kind, test.document)
		if diff := cmp.Diff(test.want, marks(problems)); diff != "" {
			t.Errorf("%s %s: %v (-want +got):\n%s", test.kind, test.document, problems, diff)
		}
	}
	if _, problems := p.try(flags.KindKey, `{"id":"key_1","name":"k","kind":"server","hash":"`+hash+`","revoked":true}`); len(problems) > 0 {
		t.Fatalf("revoking: %v", problems)
	}
	p.put(flags.KindKey, `{"id":"key_1","name":"k","kind":"server","hash":"`+hash+`","revoked":true}`)
	if _, problems := p.try(flags.KindKey, `{"id":"key_1","name":"k","kind":"server","hash":"`+hash+`"}`); !cmp.Equal(marks(problems), []string{"/revoked immutable"}) {
		t.Errorf("un-revoking: %v; want it refused", problems)
	}
}

func TestATimeZoneIsNamedAsEverybodyNamesIt(t *testing.T) {
	p := newProject(t)
	for _, test := range []struct {
		zone string
		want string // of the zone that days are in; empty where it is refused
	}{
		{"", "UTC"}, {"UTC", "UTC"}, {"Europe/Berlin", "Europe/Berlin"}, {"America/Argentina/Buenos_Aires", "America/Argentina/Buenos_Aires"},
		{"America/Port-au-Prince", "America/Port-au-Prince"}, {"Etc/GMT+5", "Etc/GMT+5"}, {"Japan", "Japan"},
		{"Local", ""}, {"Europe/Atlantis", ""}, {"europe/berlin", ""}, {"Europe", ""}, {"+02:00", ""}, {"../../etc/passwd", ""}, {"posix/Europe/Berlin", ""},
	} {
		_, problems := p.try(flags.KindProject, `{"name":"shop","timeZone":"`+test.zone+`"}`)
		if refused := cmp.Equal(marks(problems), []string{"/timeZone invalid"}); refused != (test.want == "") || !refused && len(problems) > 0 {
			t.Errorf("time zone %q: %v; want it refused: %t", test.zone, problems, test.want == "")
		}
		if got := (&flags.Project{TimeZone: test.zone}).Zone().String(); test.want != "" && got != test.want || test.want == "" && got != "UTC" {
			t.Errorf("days with time zone %q are those of %s; want %s", test.zone, got, test.want)
		}
	}
}

func TestTheOriginsOfAKeyAreWrittenAsBrowsersWriteThem(t *testing.T) {
	key := func(kind flags.KeyKind, origins ...string) flags.Problems {
		return flags.Validate(flags.NewState("shop"), &flags.Key{
			ID: "key_1", Name: "k", Kind: kind, Hash: strings.Repeat("0f", 32), Origins: origins,
		})
	}
	for _, origin := range []string{"https://shop.example", "http://localhost:3000", "https://[::1]:8443", "capacitor://localhost", "http://10.0.0.1:443"} {
		if got := key(flags.KeyClient, origin); len(got) > 0 {
			t.Errorf("the origin %q has problems: %v", origin, got)
		}
	}
	for _, origin := range []string{
		"", "*", "null", "shop.example", "https://", "https://shop.example/", "https://shop.example/path", "https://Shop.example",
		"HTTPS://shop.example", "https://shop.example:443", "http://shop.example:80", "https://shop.example:", "https://u@shop.example",
		"https://shop.example?q", "https://shop.example#f", "https://a b", "//shop.example", "mailto:a@b.example", "https://\x00",
	} {
		if got := key(flags.KeyClient, origin); len(got) != 1 && origin != "" || len(got) == 0 {
			t.Errorf("the origin %q has the problems %v, want one", origin, got)
		}
	}
	if got := key(flags.KeyServer, "https://shop.example"); len(got) != 1 || got[0].Pointer != "/origins" {
		t.Errorf("origins of a server key have the problems %v, want one at /origins", got)
	}
}
