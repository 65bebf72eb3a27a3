package flags_test

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/sluice-flags/sluice/pkg/eval"
	"github.com/sluice-flags/sluice/pkg/flags"
)

func TestLoweredConditionsMeanWhatTheySay(t *testing.T) {
	staff := &eval.User{
		UserID: "u1", Email: "Ann@Company.com", IP: "10.1.2.3", Country: "NZ", Locale: "en_NZ", AppVersion: "2.4.1",
		Custom: map[string]any{
			"plan": "gold", "seats": 12.0, "beta": true, "joined": 1735689600000.0, "roles": []any{"admin", "ops"},
			"url": "https://shop.test/cart", "deviceModel": "Pixel 9",
		},
		CustomIDs:          map[string]string{"stableID": "st-1", "companyID": "acme"},
		StatsigEnvironment: map[string]string{"tier": "staging"},
	}
	nobody := &eval.User{UserID: "u2"}
	for _, test := range []struct {
		condition     string
		staff, nobody bool
	}{
		{`{"type":"public"}`, true, true},
		{`{"type":"user_id","operator":"any","targetValue":["u1","u3"]}`, true, false},
		{`{"type":"user_id","operator":"none","targetValue":["u1"]}`, false, true},
		{`{"type":"email","operator":"str_ends_with_any","targetValue":["@company.com"]}`, true, false},
		{`{"type":"email","operator":"str_contains_none","targetValue":["@company.com"]}`, false, true},
		{`{"type":"email","operator":"str_matches","targetValue":"^[A-Z][a-z]+@"}`, true, false},
		{`{"type":"email","operator":"is_null"}`, false, true},
		{`{"type":"email","operator":"non_null"}`, true, false},
		{`{"type":"country","operator":"any","targetValue":["NZ","AU"]}`, true, false},
		{`{"type":"locale","operator":"str_starts_with_any","targetValue":["en"]}`, true, false},
		{`{"type":"ip_address","operator":"ip_in_range","targetValue":["10.0.0.0/8"]}`, true, false},
		{`{"type":"ip_address","operator":"ip_in_range","targetValue":["10.1.2.4/31"]}`, false, false},
		{`{"type":"app_version","operator":"version_gte","targetValue":"2.4"}`, true, false},
		{`{"type":"app_version","operator":"version_lt","targetValue":"2.4.1"}`, false, false},
		{`{"type":"custom_field","field":"plan","operator":"any","targetValue":["GOLD"]}`, true, false},
		{`{"type":"custom_field","field":"seats","operator":"gte","targetValue":12}`, true, false},
		{`{"type":"custom_field","field":"seats","operator":"any","targetValue":[12]}`, true, false},
		{`{"type":"custom_field","field":"beta","operator":"any","targetValue":[true]}`, true, false},
		{`{"type":"custom_field","field":"joined","operator":"after","targetValue":"2024-01-01"}`, true, false},
		{`{"type":"custom_field","field":"joined","operator":"before","targetValue":1767225600000}`, true, false},
		{`{"type":"custom_field","field":"joined","operator":"on","targetValue":"2025-01-01T10:00:00Z"}`, true, false},
		{`{"type":"custom_field","field":"roles","operator":"array_contains_any","targetValue":["ops"]}`, true, false},
		{`{"type":"custom_field","field":"roles","operator":"array_contains_all","targetValue":["ops","dev"]}`, false, false},
		{`{"type":"unit_id","customID":"companyID","operator":"any","targetValue":["acme"]}`, true, false},
		{`{"type":"unit_id","customID":"companyID","operator":"is_null"}`, false, true},
		{`{"type":"url","operator":"str_contains_any","targetValue":["/cart"]}`, true, false},
		{`{"type":"device_model","operator":"str_starts_with_any","targetValue":["Pixel"]}`, true, false},
		{`{"type":"environment_tier","operator":"any","targetValue":["staging"]}`, true, false},
		{`{"type":"time","operator":"after","targetValue":"2020-01-01"}`, true, true},
		{`{"type":"time","operator":"before","targetValue":"2020-01-01"}`, false, false},
		{`{"type":"passes_gate","targetValue":"gold"}`, true, false},
		{`{"type":"fails_gate","targetValue":"GOLD"}`, false, true},
		{`{"type":"passes_segment","targetValue":"nz"}`, true, false},
		{`{"type":"fails_segment","targetValue":"seg_nz"}`, false, true},
	} {
		p := newProject(t)
		p.put(flags.KindGate, when("gold", `{"type":"custom_field","field":"plan","operator":"any","targetValue":["gold"]}`))
		p.put(flags.KindSegment, `{"id":"seg_nz","name":"nz","rules":[{"id":"in","environments":null,"passPercentage":100,
			"conditions":[{"type":"country","operator":"any","targetValue":["NZ"]}]}]}`)
		p.put(flags.KindGate, when("checked", test.condition))
		r := p.rules()
		if q := r.Quarantined(); len(q) > 0 {
			t.Errorf("%s: quarantined: %v", test.condition, q)
		}
		if got := r.Gate(staff, "checked"); got.Pass != test.staff {
			t.Errorf("Gate(staff) with %s = %v by %q; want %v", test.condition, got.Pass, got.RuleID, test.staff)
		}
		if got := r.Gate(nobody, "checked"); got.Pass != test.nobody {
			t.Errorf("Gate(nobody) with %s = %v by %q; want %v", test.condition, got.Pass, got.RuleID, test.nobody)
		}
	}
}

func TestEveryConditionTypeAndOperatorLowersToSomethingEvaluable(t *testing.T) {
	targets := map[string]string{
		"is_null": "", "non_null": "", "str_matches": `"a+"`, "gt": "1", "gte": "1", "lt": "1", "lte": "1",
		"version_gt": `"1.2"`, "version_gte": `"1.2"`, "version_lt": `"1.2"`, "version_lte": `"1.2"`,
		"before": `"2027-01-01"`, "after": `"2027-01-01"`, "on": `"2027-01-01"`, "ip_in_range": `["10.0.0.0/8"]`,
	}
	for kind, operators := range flags.ConditionTypes() {
		if len(operators) == 0 {
			continue
		}
		for _, operator := range operators {
			target, ok := targets[operator]
			switch {
			case kind == "environment_tier":
				target = `["production"]`
			case !ok:
				target = `["a"]`
			}
			condition := fmt.Sprintf(`{"type":%q,"operator":%q`, kind, operator)
			if target != "" {
				condition += `,"targetValue":` + target
			}
			switch kind {
			case "custom_field":
				condition += `,"field":"f"`
			case "unit_id":
				condition += `,"customID":"stableID"`
			}
			p := newProject(t)
			p.put(flags.KindGate, when("g", condition+"}"))
			r := p.rules()
			if got := r.Gate(user("u"), "g"); got.Reason == eval.ReasonUnsupported || len(r.Quarantined()) > 0 {
				t.Errorf("%s %s: Gate() = %+v, quarantined %v; want it supported", kind, operator, got, r.Quarantined())
			}
		}
	}
}

func TestLoweredSpecsKeepToWhatAllSDKsAgreeOn(t *testing.T) {
	p := newProject(t)
	p.put(flags.KindSegment, `{"name":"s","rules":[{"environments":["staging"],"passPercentage":50,"conditions":[{"type":"public"}]}]}`)
	p.put(flags.KindHoldout, `{"name":"h","share":5}`)
	p.put(flags.KindGate, `{"name":"g","offIn":["staging"],"holdouts":["h"],
		"overrides":{"userID":{"pass":["a"],"fail":["b"],"environments":{"production":{"pass":["c"]}}}},
		"rules":[{"environments":null,"passPercentage":12.5,"conditions":[
			{"type":"custom_field","field":"seen","operator":"before","targetValue":"2027-01-01T00:00:00Z"},
			{"type":"email","operator":"is_null"},{"type":"passes_segment","targetValue":"s"}]}]}`)
	p.put(flags.KindGate, `{"name":"off","status":"disabled","rules":[{"environments":null,"passPercentage":50,"conditions":[{"type":"public"}]}]}`)
	p.put(flags.KindConfig, `{"name":"c","defaultValue":{"a":1},"rules":[{"environments":null,"passPercentage":50,"value":{"a":2},"conditions":[{"type":"public"}]}]}`)
	p.put(flags.KindLayer, `{"name":"l","parameters":{"p":1}}`)
	p.put(flags.KindExperiment, experiment("e", `"layer":"l","status":"running"`))

	body, err := json.Marshal(flags.Lower(p.state, flags.Scope{Kind: flags.KeyServer}))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := eval.ParseSpecs(body); err != nil {
		t.Errorf("ParseSpecs(what Lower wrote) = %v", err)
	}
	specs := flags.Lower(p.state, flags.Scope{Kind: flags.KeyServer})
	for _, spec := range slices.Concat(specs.FeatureGates, specs.DynamicConfigs, specs.LayerConfigs) {
		if spec.Salt == "" || spec.IDType == "" || spec.Entity == "" || spec.Rules == nil {
			t.Errorf("%s: salt %q, idType %q, entity %q, rules %v; want all of them set", spec.Name, spec.Salt, spec.IDType, spec.Entity, spec.Rules)
		}
		if !spec.Enabled && len(spec.Rules) > 0 {
			t.Errorf("%s is disabled and has %d rules; want none", spec.Name, len(spec.Rules))
		}
		gate := spec.Type == "feature_gate"
		if gate && string(spec.DefaultValue) != "false" {
			t.Errorf("gate %s defaults to %s; want false", spec.Name, spec.DefaultValue)
		}
		for _, r := range spec.Rules {
			if r.Salt == nil || *r.Salt == "" || r.IDType == "" || r.ID == "" {
				t.Errorf("%s: rule %+v; want id, salt and idType", spec.Name, r)
			}
			if gate && string(r.ReturnValue) != "true" {
				t.Errorf("gate %s returns %s; want true", spec.Name, r.ReturnValue)
			}
			present := map[string]bool{}
			for _, c := range r.Conditions {
				if c.IDType == "" || c.Operator != strings.ToLower(c.Operator) || c.Type != strings.ToLower(c.Type) {
					t.Errorf("%s: condition %+v; want idType and lower case", spec.Name, c)
				}
				if c.Operator == "neq" && string(c.TargetValue) == "null" {
					present[c.Field] = true
				}
				if c.Operator == "before" && c.Type != "current_time" && !present[c.Field] {
					t.Errorf("%s: %q is compared without being known to be there", spec.Name, c.Field)
				}
				if c.Operator == "before" {
					if ms := 0; json.Unmarshal(c.TargetValue, &ms) != nil || ms != 1798761600000 {
						t.Errorf("%s: date %s; want 1798761600000", spec.Name, c.TargetValue)
					}
				}
				for key, value := range c.AdditionalValues {
					if _, ok := value.(string); !ok {
						t.Errorf("%s: additional value %s = %v; want a string", spec.Name, key, value)
					}
				}
			}
		}
	}
}

func TestRulesTravelOnlyToTheirEnvironments(t *testing.T) {
	p := newProject(t)
	p.put(flags.KindGate, `{"name":"g","rules":[
		{"id":"dev","environments":["development"],"passPercentage":100,"conditions":[{"type":"public"}]},
		{"id":"two","environments":["env_staging","Production"],"passPercentage":100,"conditions":[{"type":"email","operator":"any","targetValue":["e"]}]}]}`)
	in := func(tier string) *eval.User {
		return &eval.User{UserID: "u", StatsigEnvironment: map[string]string{"tier": tier}}
	}
	for _, test := range []struct {
		scope []string
		tier  string
		rules int
		pass  bool
	}{
		{[]string{"development"}, "", 1, true}, // the key says where it is
		{[]string{"development"}, "production", 1, true},
		{[]string{"production"}, "development", 1, false},
		{[]string{"env_staging"}, "", 1, false},
		{nil, "development", 2, true},
		{nil, "", 2, false},
		{[]string{"development", "staging"}, "development", 2, true},
		{[]string{"development", "staging"}, "staging", 2, false},
	} {
		specs := flags.Lower(p.state, flags.Scope{Kind: flags.KeyServer, Environments: test.scope})
		if got := len(specs.FeatureGates[0].Rules); got != test.rules {
			t.Errorf("Lower(%v) has %d rules; want %d", test.scope, got, test.rules)
		}
		if got := eval.Compile(specs, eval.Options{}).Gate(in(test.tier), "g"); got.Pass != test.pass {
			t.Errorf("Gate(tier %q) for %v = %v by %q; want %v", test.tier, test.scope, got.Pass, got.RuleID, test.pass)
		}
	}
}

func TestAKilledGateIsOffThereAndNowhereElse(t *testing.T) {
	p := newProject(t)
	p.put(flags.KindGate, `{"name":"g","offIn":["production"],"overrides":{"userID":{"pass":["u"]}},"rules":[]}`)
	at := func(tier string) *eval.User {
		return &eval.User{UserID: "u", StatsigEnvironment: map[string]string{"tier": tier}}
	}
	for _, test := range []struct {
		scope []string
		tier  string
		rule  string
	}{
		{[]string{"production"}, "", "disabled"},
		{[]string{"staging"}, "", "gate_0001:override"},
		{nil, "production", "disabled"},
		{nil, "staging", "gate_0001:override"},
	} {
		got := p.rules(test.scope...).Gate(at(test.tier), "g")
		if got.RuleID != test.rule || got.Pass != (test.rule != "disabled") {
			t.Errorf("Gate(tier %q) for %v = %v by %q; want rule %q", test.tier, test.scope, got.Pass, got.RuleID, test.rule)
		}
	}
}

func TestStatusOfAGateDecidesForEveryone(t *testing.T) {
	for status, want := range map[string]struct {
		found, pass bool
		rule        string
	}{
		"inProgress": {true, false, "default"},
		"launched":   {true, true, "launched"},
		"disabled":   {true, false, "disabled"},
		"archived":   {false, false, ""},
	} {
		p := newProject(t)
		p.put(flags.KindGate, fmt.Sprintf(`{"name":"g","status":%q,"rules":[]}`, status))
		got := p.rules().Gate(user("u"), "g")
		if got.Found != want.found || got.Pass != want.pass || got.RuleID != want.rule {
			t.Errorf("Gate() of a gate that is %s = %v, %v by %q; want %+v", status, got.Found, got.Pass, got.RuleID, want)
		}
	}
}

func TestOverridesComeFirstAndTheEnvironmentsOwnBeforeTheGeneral(t *testing.T) {
	p := newProject(t)
	p.put(flags.KindGate, `{"name":"g","overrides":{
		"userid":{"pass":["in","Case"],"fail":["out"],"environments":{"staging":{"fail":["in"]}}},
		"stableID":{"pass":["device"]}},
		"rules":[{"environments":null,"passPercentage":100,"conditions":[{"type":"email","operator":"non_null"}]}]}`)
	for _, test := range []struct {
		environment string
		user        eval.User
		pass        bool
	}{
		{"production", eval.User{UserID: "in"}, true},
		{"staging", eval.User{UserID: "in"}, false},
		{"production", eval.User{UserID: "out", Email: "e"}, false},
		{"production", eval.User{UserID: "case"}, false}, // ids are exact
		{"production", eval.User{UserID: "x", CustomIDs: map[string]string{"stableID": "device"}}, true},
		{"production", eval.User{UserID: "x", Email: "e"}, true},
	} {
		if got := p.rules(test.environment).Gate(&test.user, "g"); got.Pass != test.pass {
			t.Errorf("Gate(%+v) in %s = %v by %q; want %v", test.user, test.environment, got.Pass, got.RuleID, test.pass)
		}
	}
}

func TestRaisingAPercentageKeepsEveryoneWhoIsIn(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		low := float64(rapid.IntRange(0, 10000).Draw(t, "low")) / 100
		high := float64(rapid.IntRange(int(low*100), 10000).Draw(t, "high")) / 100
		p := newProject(t)
		p.put(flags.KindGate, everyone("g", low))
		before := p.rules()
		gate, _ := p.state.ByName(flags.KindGate, "g")
		next := flags.Clone(gate.Doc).(*flags.Gate)
		next.Rules[0].PassPercentage = high
		flags.Advance(p.state, next, testTime, p.newID)
		p.write(next)
		after := p.rules()
		for i := range 300 {
			u := user(fmt.Sprint("u", i))
			was, is := before.Gate(u, "g"), after.Gate(u, "g")
			if was.Pass && !is.Pass {
				t.Fatalf("from %v to %v %%: %s was in by %q and is out by %q", low, high, u.UserID, was.RuleID, is.RuleID)
			}
			want := fmt.Sprintf("all:%.2f:%d", high, map[bool]int{true: 1, false: 2}[low == high])
			if is.RuleID != want {
				t.Fatalf("from %v to %v %%: rule id %q; want %q", low, high, is.RuleID, want)
			}
		}
	})
}

func TestHoldoutsKeepTheirUnitsAtTheDefault(t *testing.T) {
	p := newProject(t)
	p.put(flags.KindHoldout, `{"id":"hold_q1","name":"q1","share":30}`)
	p.put(flags.KindGate, `{"name":"g","holdouts":["q1"],"rules":[{"environments":null,"passPercentage":100,"conditions":[{"type":"public"}]}]}`)
	p.put(flags.KindConfig, `{"name":"c","holdouts":["hold_q1"],"defaultValue":{"v":0},"rules":[{"environments":null,"passPercentage":100,"value":{"v":1},"conditions":[{"type":"public"}]}]}`)
	p.put(flags.KindExperiment, experiment("e", `"holdouts":["q1"],"status":"running"`))
	r := p.rules()
	held := 0
	for i := range 2000 {
		u := user(fmt.Sprint("u", i))
		out := r.Gate(u, "q1").Pass
		if out {
			held++
		}
		if got := r.Gate(u, "g"); got.Pass == out {
			t.Fatalf("Gate(%s) = %v by %q with held out = %v", u.UserID, got.Pass, got.RuleID, out)
		}
		if got := r.Config(u, "c"); (string(got.Value) == `{"v":0}`) != out {
			t.Fatalf("Config(%s) = %s with held out = %v", u.UserID, got.Value, out)
		}
		if got := r.Config(u, "e"); got.InExperiment == out {
			t.Fatalf("Config(%s) of the experiment is in group %q with held out = %v", u.UserID, got.GroupName, out)
		}
	}
	if held < 500 || held > 700 {
		t.Errorf("%d of 2000 units are held out; want about 600", held)
	}
}

func TestRangesOfAddressesMatchExactlyTheirAddresses(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		address := func(label string) netip.Addr {
			b := rapid.SliceOfN(rapid.Byte(), 4, 4).Draw(t, label)
			return netip.AddrFrom4([4]byte(b))
		}
		prefix := netip.PrefixFrom(address("network"), rapid.IntRange(0, 32).Draw(t, "bits"))
		p := newProject(t)
		p.put(flags.KindGate, when("g", fmt.Sprintf(`{"type":"ip_address","operator":"ip_in_range","targetValue":[%q]}`, prefix)))
		r := p.rules()
		probe := address("probe")
		candidates := []netip.Addr{probe, prefix.Addr(), prefix.Masked().Addr(), prefix.Masked().Addr().Prev()}
		last := prefix.Masked().Addr().As4()
		for bit := prefix.Bits(); bit < 32; bit++ {
			last[bit/8] |= 1 << (7 - bit%8)
		}
		candidates = append(candidates, netip.AddrFrom4(last), netip.AddrFrom4(last).Next())
		for _, a := range candidates {
			if !a.IsValid() {
				continue
			}
			if got := r.Gate(&eval.User{UserID: "u", IP: a.String()}, "g").Pass; got != prefix.Contains(a) {
				t.Fatalf("%s in %s = %v; want %v", a, prefix, got, prefix.Contains(a))
			}
		}
	})
}

func TestEveryOctetRangeMatchesItsNumbersOnly(t *testing.T) {
	for bits := 1; bits <= 8; bits++ {
		for first := 0; first < 256; first += 1 << (8 - bits) {
			prefix := netip.PrefixFrom(netip.AddrFrom4([4]byte{byte(first)}), bits)
			p := newProject(t)
			p.put(flags.KindGate, when("g", fmt.Sprintf(`{"type":"ip_address","operator":"ip_in_range","targetValue":[%q]}`, prefix)))
			r := p.rules()
			for octet := range 256 {
				a := netip.AddrFrom4([4]byte{byte(octet), 7, 8, 9})
				if got := r.Gate(&eval.User{UserID: "u", IP: a.String()}, "g").Pass; got != prefix.Contains(a) {
					t.Fatalf("%s in %s = %v; want %v", a, prefix, got, prefix.Contains(a))
				}
			}
		}
	}
}

func TestClientsAreNotToldOfWhatIsHiddenFromThem(t *testing.T) {
	p := newProject(t)
	p.put(flags.KindGate, `{"name":"inner","clientVisible":false,"rules":[{"environments":null,"passPercentage":100,"conditions":[{"type":"public"}]}]}`)
	p.put(flags.KindGate, when("outer", `{"type":"passes_gate","targetValue":"inner"}`))
	p.put(flags.KindConfig, `{"name":"secret","clientVisible":false,"defaultValue":{},"rules":[]}`)
	for _, kind := range []flags.KeyKind{flags.KeyClient, flags.KeyServer} {
		r := eval.Compile(flags.Lower(p.state, flags.Scope{Kind: kind}), eval.Options{})
		body := string(r.AppendClient(nil, user("u"), eval.ClientOptions{}))
		if strings.Contains(body, `"inner":`) || kind == flags.KeyClient && strings.Contains(body, `"secret"`) {
			t.Errorf("%s key: AppendClient() = %s; want it without what is hidden", kind, body)
		}
		if !r.Gate(user("u"), "outer").Pass {
			t.Errorf("%s key: outer does not pass; want it to ask inner all the same", kind)
		}
		if server := kind == flags.KeyServer; r.Config(user("u"), "secret").Found != server {
			t.Errorf("%s key: config secret found = %v; want %v", kind, !server, server)
		}
	}
}

func TestAScopeForAnAppSeesThatAppAndWhatItNeeds(t *testing.T) {
	p := newProject(t)
	gate := func(name, apps, conditions string) {
		p.put(flags.KindGate, fmt.Sprintf(`{"name":%q,"targetApps":%s,"rules":[{"environments":null,"passPercentage":100,"conditions":[%s]}]}`, name, apps, conditions))
	}
	gate("shared", `["web"]`, `{"type":"public"}`)
	gate("web", `["web"]`, `{"type":"public"}`)
	gate("ios", `["ios"]`, `{"type":"passes_gate","targetValue":"shared"}`)
	gate("all", `[]`, `{"type":"public"}`)
	var names []string
	for _, spec := range flags.Lower(p.state, flags.Scope{Kind: flags.KeyServer, TargetApps: []string{"ios"}}).FeatureGates {
		names = append(names, spec.Name)
	}
	if want := []string{"all", "ios", "shared"}; !slices.Equal(names, want) {
		t.Errorf("Lower(app ios) has %v; want %v", names, want)
	}
}
