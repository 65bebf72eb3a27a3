package eval_test

import (
	"encoding/json"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

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

// holds reports whether a condition on a user's value holds.
func holds(operator string, value, target any) bool {
	u := eval.User{UserID: "u", Custom: map[string]any{"v": value}}
	rules := compile(gate("g", "s", rule("r", 100, "true", condition("user_field", operator, "v", target))))
	return rules.Gate(&u, "g").Pass
}

// FuzzVersions: versions are ordered. Of two that are versions exactly one of
// less, equal and greater holds, the same from either side, and the other
// operators follow; of what is no version nothing holds.
func FuzzVersions(f *testing.F) {
	for _, seed := range [][2]string{
		{"1.2.3", "1.2"}, {"1.2.3-beta", "1.2.3"}, {"65535.65536", "65536"}, {"99999999999999999999.1", "1"}, {"1.2.3.4", "1.2.3.4.0"},
		{" 1 . 2 ", "1.2"}, {"1..2", "1"}, {"-1", ""}, {"1.x", "٣"}, {"00001", "1"}, {"1.0000", "1"},
	} {
		f.Add(seed[0], seed[1])
	}
	f.Fuzz(func(t *testing.T, a, b string) {
		if !utf8.ValidString(a) || !utf8.ValidString(b) {
			return // JSON would make others of them
		}
		less, equal, greater := holds("version_lt", a, b), holds("version_eq", a, b), holds("version_gt", a, b)
		n := 0
		for _, holds := range []bool{less, equal, greater} {
			if holds {
				n++
			}
		}
		if valid := holds("version_eq", a, a) && holds("version_eq", b, b); n > 1 || valid != (n == 1) {
			t.Errorf("%q and %q: less %v, equal %v, greater %v; want exactly one if both are versions (%v)", a, b, less, equal, greater, valid)
		}
		got := []bool{holds("version_gt", b, a), holds("version_eq", b, a), holds("version_neq", a, b), holds("version_lte", a, b), holds("version_gte", a, b)}
		want := []bool{less, equal, less || greater, less || equal, greater || equal}
		if !slices.Equal(got, want) {
			t.Errorf("%q and %q: reversed and derived operators are %v, want %v", a, b, got, want)
		}
	})
}

// FuzzDates: instants are ordered, whatever spells them, and days are
// symmetric; what is no date matches nothing.
func FuzzDates(f *testing.F) {
	for _, seed := range [][2]string{
		{"2020-09-13T12:26:40Z", "1600000000"}, {"1600000000", "1600000000000"}, {"2020-09-13 12:26:40", "2020-09-13T12:26:40.5+02:00"},
		{"-1", "0"}, {"9999999999", "10000000000"}, {"9223372036854775807", "-9223372036854775808"}, {"soon", ""}, {"2020-13-01T00:00:00Z", "+5"},
	} {
		f.Add(seed[0], seed[1])
	}
	f.Fuzz(func(t *testing.T, a, b string) {
		if !utf8.ValidString(a) || !utf8.ValidString(b) {
			return
		}
		before, after, same := holds("before", a, b), holds("after", a, b), holds("on", a, b)
		if before && after {
			t.Errorf("%q is before and after %q, want one at most", a, b)
		}
		if valid := holds("on", a, a) && holds("on", b, b); !valid && (before || after || same) {
			t.Errorf("%q and %q: before %v, after %v, on %v; want nothing of what is no date", a, b, before, after, same)
		}
		if holds("after", b, a) != before || holds("before", b, a) != after || holds("on", b, a) != same {
			t.Errorf("%q and %q answer otherwise from the other side", a, b)
		}
	})
}

// FuzzAddresses: an address is in a range or not in it, as the standard library
// has it.
func FuzzAddresses(f *testing.F) {
	for _, seed := range [][2]string{
		{"10.1.2.3", "10.0.0.0/8"}, {"::ffff:10.1.2.3", "10.0.0.0/8"}, {"2001:db8::1", "2001:db8::/32"}, {"fe80::1%eth0", "fe80::/10"},
		{"10.0.0.1", "10.0.0.1"}, {"1.2.3", "0.0.0.0/0"}, {"10.0.0.1", "10.0.0.0/33"}, {"", "::/0"}, {"010.0.0.1", "10.0.0.0/8"},
	} {
		f.Add(seed[0], seed[1])
	}
	f.Fuzz(func(t *testing.T, address, network string) {
		if !utf8.ValidString(address) || !utf8.ValidString(network) {
			return
		}
		in, out := holds("ip_in_range", address, []string{network}), holds("ip_not_in_range", address, []string{network})
		if in == out {
			t.Errorf("%q in %q: %v, not in: %v; want one of them", address, network, in, out)
		}
		a, badAddress := netip.ParseAddr(address)
		if badAddress != nil && in {
			t.Errorf("%q, which is no address, is in %q", address, network)
		}
		if p, err := netip.ParsePrefix(network); err == nil && badAddress == nil && len(address) <= 64 {
			if want := p.Masked().Contains(a.Unmap().WithZone("")); in != want {
				t.Errorf("%q in %q: %v, want %v", address, network, in, want)
			}
		}
	})
}
