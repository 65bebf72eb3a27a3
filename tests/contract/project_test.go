package contract

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"strings"

	"github.com/sluice-flags/sluice/pkg/eval"
)

// How large one random project is. Each of its entities is asked for each of its
// users.
const (
	probes      = 200 // gates of a single condition
	gates       = 40
	configs     = 20
	experiments = 16
	layers      = 12
	usersEach   = 35
)

// A project is random specs and users, of every shape that the protocol knows.
//
// Each condition that appears anywhere in it is also alone in a gate, its probe.
// When an answer differs for a user, the probes tell which condition is to blame.
type project struct {
	r     *rand.Rand
	calm  bool // without what makes the Go SDK give up on whole payloads
	specs eval.Specs
	users []eval.User
	lists map[string][]string // members of id lists

	pool  []eval.Condition
	probe map[string]string // condition, as JSON → name of its probe
}

func newProject(seed uint64, number int) *project {
	p := &project{r: rand.New(rand.NewPCG(seed, uint64(number))), calm: number%2 == 0, probe: map[string]string{}}
	p.specs = eval.Specs{
		HasUpdates: true, Time: 1_700_000_000_000 + int64(number), AppID: "web",
		Layers: map[string][]string{}, IDLists: map[string]bool{"vips": true},
		SDKKeysToAppIDs:         map[string]string{"client-web": "web", "client-both": "nobody's"},
		HashedSDKKeysToAppIDs:   map[string]string{djb2("client-ios"): "ios", djb2("client-both"): "ios"},
		HashedSDKKeysToEntities: map[string]eval.KeyEntities{djb2("client-few"): {Gates: []string{"gate_00", "probe_003", "gate_07"}, Configs: []string{"config_01", "experiment_02"}}},
	}
	p.lists = map[string][]string{"vips": {"user_1", "user_5", "acme", "user_77"}, "nobody": nil}
	for len(p.pool) < probes {
		p.addProbe(fmt.Sprintf("probe_%03d", len(p.pool)), p.condition())
	}
	p.addGates()
	p.addConfigs()
	p.addLayers()
	for i := range usersEach {
		p.users = append(p.users, p.user(i))
	}
	return p
}

func (p *project) chance(percent int) bool { return p.r.IntN(100) < percent }

func one[T any](p *project, from ...T) T { return from[p.r.IntN(len(from))] }

func some[T any](p *project, from ...T) []T {
	out := make([]T, 1+p.r.IntN(4))
	for i := range out {
		out[i] = one(p, from...)
	}
	return out
}

func djb2(name string) string { return eval.HashName(eval.HashDJB2, name) }

func encoded(v any) json.RawMessage {
	text, err := json.Marshal(v)
	if err != nil {
		panic(err) // the generator's own values
	}
	return text
}

// What fields, targets and users draw from: the same pools, so that they meet.
var (
	texts = []any{
		"pro", "Free", "FREE", "a.b", "10", "1.2.3", "true", "user_1", "acme", "École", "éCOLE",
		"ſtraße", "STRASSE", "\u212aelvin", "ΌΔΟΣ", "όδος", "İstanbul", "a,b", "1,2.5",
		"", " ", "日本語", "e\u0301", "é", "ǅ", "ǆ", "😀", "a\tb", "null", "[]", strings.Repeat("long", 30),
	}
	numbers = []any{
		0.0, 1.0, -3.0, 2.5, 10.0, 41.0, 1e6, 1e21, "10", "2.50", "1e1", ".5", "-3", "Infinity", "inf", "NaN", "0x10", " 10", "ten", "",
		1e-7, 0.0, 1e300, 9007199254740993.0, 12345678901234567890.0, "9007199254740993", "-Infinity", "+5", "5.", "1e400", "1_000", "-.5e-3",
	}
	versions = []any{
		"1", "1.2", "1.2.3", "1.2.3-beta", "1.10", "2.0.0", "01.2", "1.2.3.4.5", "70000.1",
		"1.x", "1..2", "", "-1", " 1.2", "+1.2", "99999999999999999999.1",
		"0", "1.2.3.4", "1.2.3.4.0", "1.2.3.5-rc.1", "1.2.0", "65535.65536", "10000.9999", "9999.10000", "v1.2", "1.2-", "1.2+build", "1.-2", "1.2.3-4-5",
	}
	dates = []any{
		1.6e9, 1_600_000_000_000.0, 1_600_000_000_500.0, 1_900_000_000_000.0, 0.0, 5e9, "1600000000", "1600000000000",
		"2020-09-13T12:26:40Z", "2020-09-13T23:30:00-05:00", "2033-05-18T03:33:20.25Z", "2020-09-13 12:26:40", "2020-09-13", "soon", "",
		"2020-09-13t12:26:40z", "2020-09-13 12:26:40Z", "2020-09-13T14:26:40+02:00", "2020-02-30T00:00:00Z", "1600000000.5", "+1600000000",
		-1.0, -1.6e12, 9_999_999_999.0, 1e10, 1_600_000_000.75, "-1", "99999999999999999999", "2038-01-19T03:14:07Z",
	}
	items     = []any{"a", "b", "A", "1", 1.0, 2.5, true, "true", "x y"}
	addresses = []string{"8.8.8.8", "1.1.1.1", "2.125.160.216", "10.1.2.3", "999.1.1.1", "2001:db8::1", "1.2.3", "no", "::ffff:8.8.8.8", "8.8.8.8 ", "115.240.90.163", "0.0.0.0", "255.255.255.255"}
	agents    = []string{
		"Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/120.0.6099.109 Safari/537.36",
		"Mozilla/5.0 (iPhone; CPU iPhone OS 17_2 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/17.2 Mobile/15E148 Safari/604.1",
		"Mozilla/5.0 (Macintosh; Intel Mac OS X 10.15; rv:121.0) Gecko/20100101 Firefox/121.0",
		"Mozilla/5.0 (Linux; Android 13; Pixel 7) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/119.0.0.0 Mobile Safari/537.36",
		"curl/8.4.0", "something else",
		"Mozilla/5.0 (X11; Linux x86_64) Firefox/121.0 " + strings.Repeat("-", 1000),
	}
	patterns = []any{"^p", "a+", "(?i)free", "^$", "[", `\d`, "user_[15]$", "(?=x)", "x*", "true|10", `\p{Greek}`, "(a", "a{2,1}", `(a)\1`, "(?P<n>a)", "x{1001}", "[[:upper:]]{2}", "(a*)*$", "."}
	fields   = []string{
		"plan", "age", "on", "tags", "since", "build", "note", "Plan", "missing", "secret",
		"userID", "email", "country", "locale", "appVersion", "userAgent", "ip", "UserID", "user_id", "app_version", "ipAddress",
	}
)

// condition draws one condition on the user or the surroundings.
func (p *project) condition() eval.Condition {
	c := eval.Condition{Type: "user_field", Field: one(p, fields...), IDType: "userID"}
	ask := func(operators []string, target any) eval.Condition {
		c.Operator, c.TargetValue = one(p, operators...), encoded(target)
		return c
	}
	switch p.r.IntN(22) {
	case 21:
		c.Field = one(p, "ip", "ipAddress", "ip_address")
		return ask(listOperators, some(p, "8.8.8.8", "1.", "10.1.2.3", "2001:DB8::1", "no"))
	case 20:
		c.Field = "plan"
		return ask(listOperators, some(p, "STRASSE", "kelvin", "όδοσ", "i\u0307stanbul", "istanbul", "ΌΔΟΣ"))
	case 0, 1:
		return ask(listOperators, some(p, append(texts, items...)...))
	case 2:
		c.Field = one(p, "tags", "note")
		return ask(listOperators, some(p, "a", "a,b", "1", "1000000", "1000000,true", "1e+06", "pro", ","))
	case 3:
		c.Field = one(p, "age", "plan", "tags", "note", "missing", "build")
		return ask(orderOperators, one(p, numbers...))
	case 4, 5:
		c.Field = one(p, "appVersion", "build", "app_version", "age", "missing")
		return ask(versionOperators, one(p, versions...))
	case 6, 7:
		c.Field = one(p, "since", "since", "since", "age", "missing")
		return ask(timeOperators, one(p, dates...))
	case 8:
		c.Field = one(p, "age", "age", "tags", "on", "note", "email", "locale")
		return ask(equalOperators, one[any](p, nil, "", 10.0, 2.5, "10", "true", true, []any{"a", "1"}))
	case 9:
		return ask(equalOperators, one(p, append([]any{nil, true, false, []any{"a", 1.0}, []any{"1"}}, append(texts, numbers...)...)...))
	case 10:
		c.Field = one(p, "tags", "tags", "tags", "plan", "missing")
		return ask(arrayOperators, some(p, append(items, "", nil)...))
	case 11:
		c.Field = one(p, "note", "note", "plan", "age", "email")
		return ask([]string{"str_matches"}, one(p, patterns...))
	case 12:
		c.Type, c.Field, c.IDType = "user_bucket", "", one(p, "userID", "companyID", "stableID")
		c.AdditionalValues = map[string]any{"salt": one(p, "bucket-a", "bucket-b")}
		if p.chance(10) {
			c.AdditionalValues = nil
		}
		if p.chance(40) {
			list := make([]int, p.r.IntN(400))
			for i := range list {
				list[i] = p.r.IntN(1000)
			}
			return ask([]string{"any", "none"}, list)
		}
		return ask(orderOperators, one[any](p, p.r.IntN(1001), float64(p.r.IntN(1000))+0.5, -1, "500", 1000))
	case 13:
		c.Type, c.Field, c.IDType = "unit_id", "", one(p, "userID", "companyID", "CompanyID", "stableID", "")
		if p.chance(50) {
			return ask([]string{"in_segment_list", "not_in_segment_list"}, one(p, "vips", "nobody", "unheard_of"))
		}
		return ask([]string{"any", "none", "any_case_sensitive", "str_starts_with_any", "eq", "neq"}, some(p, "user_1", "acme", "USER_5"))
	case 14:
		c.Type, c.Field = "environment_field", one(p, "tier", "Tier", "region")
		return ask([]string{"any", "none", "any_case_sensitive"}, some(p, "production", "Staging", "eu"))
	case 15:
		c.Type, c.Field = "ip_based", one(p, "country", "country", "Country", "ip")
		if p.chance(15) {
			return ask([]string{"ip_in_range", "ip_not_in_range"}, some(p, "10.0.0.0/8", "2001:db8::/32", "8.8.8.8"))
		}
		return ask([]string{"any", "none"}, some(p, "US", "GB", "AU", "DE", "8.8.8.8"))
	case 16, 17:
		c.Type, c.Field = "ua_based", one(p, "browser_name", "browserName", "os_name", "browser_version", "os_version", "device_model")
		if strings.HasSuffix(c.Field, "version") {
			return ask(versionOperators, one(p, "100", "17.1", "10.15", "120.0.6099"))
		}
		return ask([]string{"any", "none", "str_contains_any"}, some(p, "Chrome", "Chrome Mobile", "Mobile Safari", "Firefox", "Windows", "iOS", "Mac OS X", "Other"))
	case 18:
		c.Type, c.Field = "current_time", ""
		if p.chance(25) {
			return ask(orderOperators, one(p, 1.6e9, 1.6e12, 4e9, 4e12))
		}
		return ask(timeOperators, one(p, 1_600_000_000_000, 4_000_000_000_000))
	}
	switch c.Field = ""; p.r.IntN(4) {
	case 0:
		c.Type = "target_app"
		return ask([]string{"any", "none"}, some(p, "web", "ios"))
	case 1:
		c.Type = one(p, "telepathy", "multi_pass_gate")
		return ask([]string{"any"}, []string{"x"})
	case 2:
		c.Field = one(p, "userID", "plan", "missing")
		if p.calm {
			c.Type, c.Field, c.IDType = "unit_id", "", one(p, "userID", "companyID")
		}
		return ask([]string{"in_segment_list", "not_in_segment_list", "sounds_like"}, "vips")
	}
	c.Type, c.Operator = one(p, "public", "PUBLIC"), ""
	return c
}

var (
	listOperators = []string{
		"any", "none", "any_case_sensitive", "none_case_sensitive",
		"str_starts_with_any", "str_ends_with_any", "str_contains_any", "str_contains_none", "ANY",
	}
	orderOperators   = []string{"gt", "gte", "lt", "lte"}
	versionOperators = []string{"version_gt", "version_gte", "version_lt", "version_lte", "version_eq", "version_neq"}
	timeOperators    = []string{"before", "after", "on"}
	equalOperators   = []string{"eq", "neq"}
	arrayOperators   = []string{"array_contains_any", "array_contains_none", "array_contains_all", "not_array_contains_all"}
)

// spec begins a definition.
func (p *project) spec(name, typ, entity string, value string) eval.Spec {
	s := eval.Spec{
		Name: name, Type: typ, Entity: entity, Salt: name + "-salt", Enabled: !p.chance(8),
		DefaultValue: json.RawMessage(value), IDType: one(p, "userID", "companyID", "stableID"), Version: int64(p.r.IntN(4)),
	}
	if p.chance(60) {
		s.TargetAppIDs = some(p, "web", "ios")
	}
	return s
}

func (p *project) addProbe(name string, c eval.Condition) {
	if _, known := p.probe[string(encoded(c))]; known {
		return
	}
	p.pool = append(p.pool, c)
	p.probe[string(encoded(c))] = name
	s := p.spec(name, "feature_gate", eval.EntityGate, "false")
	s.Enabled = true
	s.Rules = []eval.Rule{{Name: "r", ID: "r", PassPercentage: 100, Conditions: []eval.Condition{c}, ReturnValue: json.RawMessage("true"), IDType: "userID"}}
	p.specs.FeatureGates = append(p.specs.FeatureGates, s)
}

// rules draws the rules of a definition, which may ask the gates named.
func (p *project) rules(name, value string, gates []string) (out []eval.Rule) {
	for i := range p.r.IntN(5) {
		id := fmt.Sprintf("%s_r%d", name, i)
		r := eval.Rule{
			Name: id, ID: id, PassPercentage: one(p, 100.0, 100, 100, 50, 12.5, 99.99, 0, 0.01, 150, -5),
			ReturnValue: json.RawMessage(strings.ReplaceAll(value, "#", fmt.Sprint(i))),
			IDType:      one(p, "userID", "companyID", "stableID", "USERID", ""), Conditions: []eval.Condition{},
		}
		if p.chance(60) {
			r.GroupName = one(p, "Control", "Test")
		}
		if p.chance(60) {
			r.Salt = new(id + "-salt")
		}
		if p.chance(40) {
			r.IsExperimentGroup = new(p.chance(70))
		}
		for range p.r.IntN(4) {
			if len(gates) > 0 && p.chance(35) {
				r.Conditions = append(r.Conditions, eval.Condition{
					Type: one(p, "pass_gate", "pass_gate", "fail_gate"), TargetValue: encoded(one(p, gates...)), IDType: "userID",
				})
			} else {
				r.Conditions = append(r.Conditions, one(p, p.pool...))
			}
		}
		out = append(out, r)
	}
	return out
}

func (p *project) addGates() {
	known := []string{"unknown_gate", "segment:unknown", "probe_000", "probe_001"}
	for i := range gates {
		name, entity := fmt.Sprintf("gate_%02d", i), eval.EntityGate
		switch p.r.IntN(5) {
		case 0:
			name, entity = "segment:"+name, eval.EntitySegment
		case 1:
			entity = eval.EntityHoldout
		}
		s := p.spec(name, "feature_gate", entity, "false")
		s.Rules = p.rules(name, "true", known)
		p.specs.FeatureGates = append(p.specs.FeatureGates, s)
		known = append(known, name)
	}
}

func (p *project) gateNames() (out []string) {
	for _, s := range p.specs.FeatureGates {
		out = append(out, s.Name)
	}
	return append(out, "unknown_gate")
}

func (p *project) addConfigs() {
	names := p.gateNames()
	for i := range configs + experiments {
		name, entity := fmt.Sprintf("config_%02d", i), eval.EntityConfig
		if i >= configs {
			name, entity = fmt.Sprintf("experiment_%02d", i-configs), eval.EntityExperiment
		}
		s := p.spec(name, "dynamic_config", entity, `{"from":"default","size":-1.5}`)
		s.Rules = p.rules(name, `{"from":"rule #","size":#,"list":[#,"x",null],"nested":{"a":true}}`, names)
		if entity == eval.EntityExperiment {
			s.IsActive = new(p.chance(80))
			s.ExplicitParameters = some(p, "from", "size", "list")
			s.Rules = append(p.leading(name), s.Rules...)
			if p.chance(50) { // three arms, as a control plane writes them
				salt := name + "-bucket"
				for j, bound := range []int{333, 667, 1000} {
					id := fmt.Sprintf("%s_arm%d", name, j)
					c := eval.Condition{
						Type: "user_bucket", Operator: "lt", IDType: s.IDType, TargetValue: encoded(bound),
						AdditionalValues: map[string]any{"salt": salt},
					}
					s.Rules = append(s.Rules, eval.Rule{
						Name: id, ID: id, GroupName: fmt.Sprint("Arm ", j), PassPercentage: 100, IDType: s.IDType, IsExperimentGroup: new(true),
						ReturnValue: json.RawMessage(fmt.Sprintf(`{"from":"arm %d"}`, j)), Conditions: []eval.Condition{c},
					})
				}
			}
		}
		p.specs.DynamicConfigs = append(p.specs.DynamicConfigs, s)
	}
}

// leading draws what comes first in an experiment: who is overridden, and who is
// held out. Both are probed, as any condition.
func (p *project) leading(name string) (out []eval.Rule) {
	ids := eval.Condition{Type: "unit_id", Operator: "any_case_sensitive", TargetValue: encoded([]string{"user_3", "user_4"}), IDType: "userID"}
	if p.chance(50) {
		out = append(out, eval.Rule{
			Name: name + ":userID:id_override", ID: name + ":userID:id_override", GroupName: "Test", PassPercentage: 100, IDType: "userID",
			ReturnValue: json.RawMessage(`{"from":"override"}`), IsExperimentGroup: new(true), Conditions: []eval.Condition{ids},
		})
	}
	if p.chance(50) {
		holdout := eval.Condition{Type: "pass_gate", TargetValue: encoded(fmt.Sprintf("gate_%02d", p.r.IntN(gates))), IDType: "userID"}
		out = append(out, eval.Rule{
			Name: "held", ID: "held", PassPercentage: 100, IDType: "userID",
			ReturnValue: json.RawMessage(`{"from":"holdout"}`), Conditions: []eval.Condition{holdout},
		})
	}
	return out
}

func (p *project) addLayers() {
	names := p.gateNames()
	for i := range layers {
		name := fmt.Sprintf("layer_%d", i)
		s := p.spec(name, "dynamic_config", eval.EntityLayer, `{"from":"layer","size":0}`)
		s.Rules = p.rules(name, `{"from":"layer rule #"}`, names)
		for j := range s.Rules {
			if p.chance(70) {
				experiment := fmt.Sprintf("experiment_%02d", p.r.IntN(experiments+1)) // the last is unknown
				s.Rules[j].ConfigDelegate = experiment
			}
		}
		p.specs.LayerConfigs = append(p.specs.LayerConfigs, s)
		p.specs.Layers[name] = []string{}
	}
	for i := range p.specs.DynamicConfigs { // some live in a layer, one of them in one that is unknown
		if s := &p.specs.DynamicConfigs[i]; s.Entity == eval.EntityExperiment && p.chance(60) {
			layer := fmt.Sprintf("layer_%d", p.r.IntN(layers+1))
			s.HasSharedParams = new(p.chance(80))
			p.specs.Layers[layer] = append(p.specs.Layers[layer], s.Name)
		}
	}
}

// user draws a user, with some of everything missing.
func (p *project) user(i int) eval.User {
	maybe := func(s string) string {
		if p.chance(35) {
			return ""
		}
		return s
	}
	u := eval.User{
		UserID: one(p, "user", "user", "user", "ユーザー", "User") + fmt.Sprintf("_%d", i), Email: maybe(one(p, "Ann@Example.com", "bob@other.org", "é@École.fr")),
		IP: maybe(one(p, addresses...)), UserAgent: maybe(one(p, agents...)), Country: maybe(one(p, "DE", "us")),
		Locale: maybe("en-US"), AppVersion: maybe(one(p, versions...).(string)),
		Custom: map[string]any{}, PrivateAttributes: map[string]any{},
	}
	set := func(key string, percent int, values ...any) {
		if p.chance(percent) {
			u.Custom[key] = one(p, values...)
		} else if p.chance(25) {
			u.PrivateAttributes[key] = one(p, values...)
		}
	}
	set("plan", 60, texts...)
	set("age", 60, numbers...)
	set("on", 50, true, false, "true")
	set("since", 70, dates...)
	set("build", 60, versions...)
	set("tags", 60, []any{}, []any{"a"}, []any{"a", "b"}, []any{1.0, 2.5}, []any{"a", 1.0}, []any{1e6, true}, []any{"a", nil}, []any{"x y", []any{"a"}}, []any{[]any{}, []any{[]any{"b"}}}, []any{"", "A"}, []any{"😀", 9007199254740993.0}, "a")
	set("note", 70, nil, nil, "", "pro", 10.0, map[string]any{"k": "v"}, strings.Repeat("pa", 600))
	set("secret", 0, "pro", "10", 1.0)
	if u.Custom["note"] == nil && p.chance(60) {
		u.PrivateAttributes["note"] = "pro"
	}
	if p.chance(10) {
		u.Custom["ip"] = "8.8.8.8"
	}
	if p.chance(15) { // empty, so that a lookup may speak
		u.Custom[one(p, "country", "browser_name", "os_version")] = ""
	}
	if p.chance(60) {
		u.CustomIDs = map[string]string{"companyID": one(p, "acme", "umbrella", "")}
		if p.chance(50) {
			u.CustomIDs[one(p, "stableID", "stableid")] = fmt.Sprint("s", i)
		}
		if p.chance(20) {
			u.UserID = ""
		}
	}
	if p.chance(60) {
		u.StatsigEnvironment = map[string]string{one(p, "tier", "Tier"): one(p, "production", "staging", ""), "region": "eu"}
	}
	return u
}
