package eval_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/sluice-flags/sluice/pkg/eval"
)

// FuzzParseSpecs: any bytes make specs or an error; what they make compiles,
// decides and becomes a payload that is JSON. What ParseSpecs takes, encoding/json
// takes for JSON too.
func FuzzParseSpecs(f *testing.F) {
	body, err := json.Marshal(workloadSpecs(6))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(body)
	f.Add([]byte(`{"feature_gates":{"g":{"rules":[{"conditions":["1"]}]}},"condition_map":{"1":{"type":"public"}},"experiment_to_layer":{"e":"l"}}`))
	f.Add([]byte(`{"dynamic_configs":[{"name":"c","entity":"experiment","enabled":true,"hasSharedParams":true,"defaultValue":{"a":[1,{"b":null}]}}],"layers":{"l":["c"]},"layer_configs":[{"name":"l","entity":"layer","enabled":true,"defaultValue":{"\u00e9":-1.5e3},"rules":[{"id":"r","passPercentage":1e2,"conditions":[],"configDelegate":"c","returnValue":{}}]}]}`))
	f.Add([]byte(`{"feature_gates":[{"name":"a","enabled":true,"rules":[{"id":"r","passPercentage":50,"salt":null,"conditions":[{"type":"pass_gate","targetValue":"a"}]}]}]}`))
	u := eval.User{UserID: "u", Email: "a@b.c", Custom: map[string]any{"plan": "pro", "n": 1.5, "l": []any{"x"}}}
	f.Fuzz(func(t *testing.T, body []byte) {
		specs, err := eval.ParseSpecs(body)
		if err != nil {
			return
		}
		if !json.Valid(body) {
			t.Fatalf("ParseSpecs took %q, which is not JSON", body)
		}
		rules := eval.Compile(specs, eval.Options{})
		if payload := rules.AppendClient(nil, &u, eval.ClientOptions{}); !json.Valid(payload) {
			t.Fatalf("AppendClient = %q, want JSON", payload)
		}
		for _, s := range [...]eval.Section{eval.Gates, eval.Configs, eval.Layers} {
			for name := range rules.Names(s) {
				if _, trace := rules.Trace(&u, eval.Ref{Section: s, Name: name}); trace == nil {
					t.Fatalf("Trace(%q) = nil", name)
				}
			}
		}
	})
}

// FuzzUser: any bytes make a user or an error, and every user is echoed as JSON.
func FuzzUser(f *testing.F) {
	f.Add([]byte(`{"userID":1,"custom":{"a":[1,"b",null,{"c":true}]},"customIDs":{"x":2},"privateAttributes":{"p":"hidden"}}`))
	f.Add([]byte(`{"userID":"\ud800","email":null,"statsigEnvironment":{"tier":"x"}}`))
	rules := workloadRuleset(20)
	f.Fuzz(func(t *testing.T, body []byte) {
		var u eval.User
		if json.Unmarshal(body, &u) != nil {
			return
		}
		if payload := rules.AppendClient(nil, &u, eval.ClientOptions{}); !json.Valid(payload) {
			t.Fatalf("AppendClient = %q, want JSON", payload)
		}
	})
}

// FuzzConditions: no value and no target makes any operator panic, and
// explained and plain evaluation say the same of them.
func FuzzConditions(f *testing.F) {
	operators := []string{
		"any", "none", "str_contains_any", "str_ends_with_any", "any_case_sensitive", "gt", "lte", "version_gt", "version_eq", "before", "on",
		"eq", "neq", "array_contains_any", "not_array_contains_all", "in_segment_list", "str_matches", "ip_in_range",
	}
	for i, seed := range [][2]string{
		{`"1.2.3"`, `"1.2.3-beta"`}, {`"2023-01-01T00:00:00Z"`, `1672531200000`}, {`["a",1]`, `["a","1"]`}, {`"10.0.0.1"`, `["10.0.0.0/8"]`},
		{`"ΌΔΟΣ"`, `["όδος"]`}, {`1e21`, `"1e21"`}, {`" 1 . 2 "`, `"1..2"`}, {`"99999999999999999999"`, `"1.0"`}, {`"::ffff:1.2.3.4"`, `["::/0"]`},
	} {
		f.Add(seed[0], seed[1], uint8(i))
	}
	f.Fuzz(func(t *testing.T, input, target string, op uint8) {
		var v any
		if json.Unmarshal([]byte(input), &v) != nil || !json.Valid([]byte(target)) {
			return
		}
		c := condition("user_field", operators[int(op)%len(operators)], "v", nil)
		c.TargetValue = json.RawMessage(target)
		rules := compile(gate("g", "s", rule("r", 100, "true", c)))
		u := eval.User{UserID: "u", Custom: map[string]any{"v": v}}
		res, trace := rules.Trace(&u, eval.Ref{Name: "g"})
		if trace.Pass != res.Pass {
			t.Fatalf("%s %s %s: Trace says %v, Gate says %v", input, c.Operator, target, trace.Pass, res.Pass)
		}
	})
}

// FuzzUserAgentsAndAddresses: what parsers are handed is bounded, and what is no
// IPv4 address is never looked up.
func FuzzUserAgentsAndAddresses(f *testing.F) {
	f.Add("Mozilla/5.0 (X11; Linux x86_64)", "8.8.8.8")
	f.Add(strings.Repeat("a", 1001), "999.1.1.1")
	f.Add("", "::1")
	specs := eval.Specs{FeatureGates: []eval.Spec{gate("g", "s", rule("r", 100, "true",
		condition("ua_based", "any", "browser_name", []string{"x"}), condition("ip_based", "any", "country", []string{"US"})),
		rule("r2", 100, "true", condition("ip_based", "any", "country", []string{"US"})))}}
	f.Fuzz(func(t *testing.T, agent, ip string) {
		rules := eval.Compile(specs, eval.Options{Country: strictCountries{t}, UserAgent: strictAgents{t}})
		rules.Gate(&eval.User{UserID: "u", UserAgent: agent, IP: ip}, "g")
	})
}

type strictCountries struct{ t *testing.T }

func (s strictCountries) Country(ip string) (string, bool) {
	var parts []string
	for part := range strings.SplitSeq(ip, ".") {
		parts = append(parts, strings.TrimLeft(part, "0123456789"))
		if len(part) == 0 || len(part) > 3 || len(part) == 3 && part > "255" {
			s.t.Fatalf("Country(%q) was asked, want IPv4 addresses only", ip)
		}
	}
	if !cmp.Equal(parts, []string{"", "", "", ""}) {
		s.t.Fatalf("Country(%q) was asked, want IPv4 addresses only", ip)
	}
	return "US", true
}

type strictAgents struct{ t *testing.T }

func (s strictAgents) ParseUserAgent(agent string) eval.UserAgent {
	if agent == "" || len(agent) > 1000 {
		s.t.Fatalf("ParseUserAgent of %d bytes was asked, want 1 to 1,000", len(agent))
	}
	return eval.UserAgent{Browser: "x"}
}
