package flagstest

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"strings"

	"github.com/sluice-flags/sluice/pkg/eval"
	"github.com/sluice-flags/sluice/pkg/flags"
)

// dice draws.
type dice struct{ *rand.Rand }

func (d dice) percent(n int) bool { return d.IntN(100) < n }

func one[T any](d dice, from ...T) T { return from[d.IntN(len(from))] }

// some draws one to four, each once.
func some[T comparable](d dice, from ...T) []T {
	seen, out := map[T]bool{}, []T{}
	for range 1 + d.IntN(4) {
		if v := one(d, from...); !seen[v] {
			seen[v] = true
			out = append(out, v)
		}
	}
	return out
}

// shuffled returns a list in another order.
func (d dice) shuffled(list []string) []string {
	d.Shuffle(len(list), func(i, j int) { list[i], list[j] = list[j], list[i] })
	return list
}

// idsOf returns a few ids of a unit type, which some users have.
func idsOf(unitType string) []string {
	switch unitType {
	case "companyID":
		return []string{"acme", "umbrella", "42", "globex"}
	case "stableID":
		return []string{"s1", "s2", "s3", "s4", "s5"}
	}
	return []string{"user-1", "user-2", "user-3", "7", "ユーザー-5", "user-6", "User-1"}
}

// What conditions compare with and users have: the same, so that they meet.
var (
	plans    = []string{"pro", "Free", "a.b", "École", "日本語", "a,b", "10", "true"}
	emails   = []string{"Ann@Example.com", "bob@other.org", "é@École.fr"}
	versions = []string{"1", "1.2", "1.2.3", "1.10", "2.0.0", "1.2.3-beta", "10.0.0.1"}
	dates    = []any{1_600_000_000, 1_600_000_000_000, "1600000000000", "2020-09-13T12:26:40Z", 1_900_000_000_000, "2033-05-18T03:33:20Z"}
	numbers  = []any{0, -3, 2.5, 41, 1e6, "10", "2.50", -0.125}
	browsers = []string{
		"Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/120.0.6099.109 Safari/537.36",
		"Mozilla/5.0 (iPhone; CPU iPhone OS 17_2 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/17.2 Mobile/15E148 Safari/604.1",
		"Mozilla/5.0 (Macintosh; Intel Mac OS X 10.15; rv:121.0) Gecko/20100101 Firefox/121.0",
		"something else",
	}
	addresses = []string{"8.8.8.8", "10.1.2.3", "192.168.0.77", "2001:db8::1"}
)

var (
	whole      = []string{"any", "none"}
	parts      = []string{"any", "none", "str_contains_any", "str_contains_none", "str_starts_with_any", "str_ends_with_any"}
	presence   = []string{"is_null", "non_null"}
	comparing  = []string{"version_gt", "version_gte", "version_lt", "version_lte"}
	containing = []string{"array_contains_any", "array_contains_none", "array_contains_all"}
)

// condition draws a condition of any type that people can choose.
func (p *Project) condition() (c flags.Condition) {
	ask := func(typ string, operators []string, target any) flags.Condition {
		c.Type, c.Operator = typ, one(p.dice, operators...)
		if target != nil {
			c.TargetValue = encoded(target)
		}
		return c
	}
	custom := func(field string, operators []string, target any) flags.Condition {
		c.Field = field
		return ask("custom_field", operators, target)
	}
	switch p.IntN(26) {
	case 0:
		return ask("user_id", parts, some(p.dice, "user-", "user-1", "7", "ユーザー"))
	case 1:
		return ask("email", parts, some(p.dice, "@example.com", "bob", "Ann@Example.com", "École"))
	case 2:
		return ask("email", []string{"str_matches"}, one(p.dice, `^[a-z]+@`, `\.(com|fr)$`, "é"))
	case 3:
		return ask("country", whole, some(p.dice, "DE", "us", "FR"))
	case 4:
		return ask("ip_address", []string{"ip_in_range"}, some(p.dice, "10.0.0.0/8", "192.168.0.64/26", "8.8.8.8"))
	case 5:
		return ask("locale", parts, some(p.dice, "en", "en-US", "DE"))
	case 6:
		return ask("app_version", comparing, one(p.dice, versions[:5]...))
	case 7:
		return ask("os_name", whole, some(p.dice, "Windows", "iOS", "Mac OS X", "Other"))
	case 8:
		return ask("browser_name", parts, some(p.dice, "Chrome", "firefox", "Mobile Safari"))
	case 9:
		return ask(one(p.dice, "os_version", "browser_version"), comparing, one(p.dice, "10", "17.1", "120.0.6099", "121"))
	case 10:
		return ask(one(p.dice, "device_model", "url"), parts, some(p.dice, "Pixel", "https://shop.example/", "iPhone"))
	case 11:
		return custom("plan", parts, some(p.dice, plans...))
	case 12:
		return custom("age", []string{"gt", "gte", "lt", "lte"}, one[any](p.dice, 0, 2.5, 10, 41, 1e6, -3.5))
	case 13:
		return custom("age", whole, some[any](p.dice, "41", 2.5, 1e6, "10"))
	case 14:
		return custom("since", []string{"before", "after", "on"}, one[any](p.dice, 1_600_000_000_000, "2020-09-13", "2026-01-01T00:00:00Z", 1_900_000_000_000))
	case 15:
		return custom("build", comparing, one(p.dice, versions[:5]...))
	case 16:
		return custom("tags", containing, some[any](p.dice, "a", "b", 1, "x y"))
	case 17:
		return custom("on", whole, some[any](p.dice, true, "true", false))
	case 18:
		return custom(one(p.dice, "plan", "age", "missing"), presence, nil)
	case 19:
		c.CustomID = one(p.dice, "companyID", "stableID", "userID")
		return ask("unit_id", parts, some(p.dice, "acme", "s", "user-1", "42", "umb"))
	case 20:
		return ask("environment_tier", whole, some(p.dice, "production", "staging"))
	case 21:
		return ask("target_app", whole, some(p.dice, "web", "ios"))
	case 22:
		return ask("time", []string{"before", "after"}, one[any](p.dice, 1_600_000_000_000, "2100-01-01T00:00:00Z"))
	case 23, 24:
		if len(p.gates) > 0 {
			return ask(one(p.dice, "passes_gate", "fails_gate"), []string{""}, p.refer(one(p.dice, p.gates...)))
		}
		fallthrough
	case 25:
		if len(p.segments) == segments { // segments themselves ask none
			return ask(one(p.dice, "passes_segment", "fails_segment"), []string{""}, p.refer(one(p.dice, p.segments...)))
		}
	}
	return flags.Condition{Type: "public"}
}

// User draws a user. Most have an id of their own, by their number; some have one
// that the project names, or none.
func (p *Project) User(number int) eval.User {
	maybe := func(percent int, from ...string) string {
		if !p.percent(percent) {
			return ""
		}
		return one(p.dice, from...)
	}
	u := eval.User{
		UserID: fmt.Sprintf("%s-%d", one(p.dice, "user", "user", "User", "ユーザー"), number),
		Email:  maybe(70, emails...), IP: maybe(60, addresses...), UserAgent: maybe(60, browsers...), Country: maybe(60, "DE", "us"),
		Locale: maybe(60, "en-US", "de"), AppVersion: maybe(60, versions...),
		Custom: map[string]any{}, PrivateAttributes: map[string]any{}, CustomIDs: map[string]string{},
	}
	switch p.IntN(8) {
	case 0:
		u.UserID = ""
	case 1:
		u.UserID = one(p.dice, idsOf("userID")...)
	}
	for _, unitType := range []string{"companyID", "stableID"} {
		if p.percent(60) {
			u.CustomIDs[unitType] = one(p.dice, append(idsOf(unitType), fmt.Sprint(unitType, number))...)
		}
	}
	set := func(name string, from ...any) {
		switch {
		case p.percent(60):
			u.Custom[name] = asDecoded(one(p.dice, from...))
		case p.percent(40):
			u.PrivateAttributes[name] = asDecoded(one(p.dice, from...))
		}
	}
	set("plan", anys(plans)...)
	set("age", numbers...)
	set("since", dates...)
	set("build", anys(versions)...)
	set("tags", []any{"a"}, []any{"b", "a"}, []any{}, []any{1, "x y"})
	set("on", true, false, "true")
	set("deviceModel", "Pixel 8", "iPhone15,2")
	set("url", "https://shop.example/cart?x=<1>&y")
	if p.percent(70) {
		u.StatsigEnvironment = map[string]string{"tier": one(p.dice, "production", "staging", "development")}
	}
	return u
}

func anys(list []string) []any {
	out := make([]any, len(list))
	for i, s := range list {
		out[i] = s
	}
	return out
}

// asDecoded is a value as encoding/json would have decoded it.
func asDecoded(v any) (out any) {
	if err := json.NewDecoder(strings.NewReader(string(encoded(v)))).Decode(&out); err != nil {
		panic(err) // it was encoded just now
	}
	return out
}
