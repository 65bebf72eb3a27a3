package api_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// gets are the results of an answer, each as kind, name, value and rule.
func gets(a answer) (out []string) {
	list, _ := a.body["results"].([]any)
	for _, one := range list {
		r := one.(map[string]any)
		value, _ := json.Marshal(r["value"])
		rule, _, _ := strings.Cut(fmt.Sprint(r["ruleId"]), ":")
		out = append(out, fmt.Sprint(r["kind"], " ", r["name"], " ", string(value), " ", rule))
	}
	return out
}

func TestSomebodyCanAskWhatAUserGetsNowAndThen(t *testing.T) {
	w := newWorld(t)
	const project = "/api/v1/projects/shop"
	ask := func(body string) answer { return w.do("POST", project+"/evaluate", w.shop, body) }
	gate := w.must(w.do("POST", gates, w.shop, `{"name":"checkout","rules":[{"id":"rule_s","environments":["staging"],"passPercentage":100,"conditions":[{"type":"public"}]},
		{"id":"rule_f","passPercentage":100,"conditions":[{"type":"browser_name","operator":"any","targetValue":["Firefox"]}]}]}`), 201)
	w.must(w.do("POST", project+"/segments", w.shop, `{"name":"testers","type":"rules","rules":[{"id":"rule_t","passPercentage":100,"conditions":[{"type":"email","operator":"str_ends_with_any","targetValue":["@shop.test"]}]}]}`), 201)
	w.must(w.do("POST", project+"/configs", w.shop, `{"name":"prices","defaultValue":{"pro":50},"rules":[{"id":"rule_p","passPercentage":100,"value":{"pro":45},"conditions":[{"type":"passes_segment","targetValue":"testers"}]}]}`), 201)

	all := w.must(ask(`{"user":{"userID":"ann","email":"ann@shop.test"}}`), 200)
	if diff := cmp.Diff([]string{`gate checkout false default`, `config prices {"pro":45} rule_p`, `segment testers true rule_t`}, gets(all)); diff != "" {
		t.Errorf("what ann gets (-want +got):\n%s", diff)
	}
	for body, want := range map[string]string{
		`{"user":{"userID":"bob"},"names":["prices"]}`:                                                                                    `config prices {"pro":50} default`,
		`{"user":{"userID":"bob"},"names":["CHECKOUT"],"environment":"staging"}`:                                                          `gate checkout true rule_s`,
		`{"user":{"userID":7,"userAgent":"Mozilla/5.0 (X11; Linux x86_64; rv:130.0) Gecko/20100101 Firefox/130.0"},"names":["checkout"]}`: `gate checkout true rule_f`,
	} {
		if got := w.must(ask(body), 200); len(gets(got)) != 1 || gets(got)[0] != want {
			t.Errorf("evaluate %s = %q, want %q", body, gets(got), want)
		}
	}
	traced := w.must(ask(`{"user":{"userID":"bob","privateAttributes":{"email":"hidden@shop.test"}},"names":["prices"],"trace":true}`), 200)
	if !strings.Contains(string(traced.raw), `"conditions":[{`) || strings.Contains(string(traced.raw), "hidden") {
		t.Errorf("trace = %v, want the conditions that were asked, and no private attribute", traced)
	}

	w.must(w.do("POST", gates+"/checkout/launch", w.shop, ``, "If-Match", "*"), 200)
	if got := gets(w.must(ask(`{"user":{"userID":"bob"},"names":["checkout"]}`), 200)); !strings.HasPrefix(got[0], `gate checkout true`) {
		t.Errorf("what bob gets of a launched gate = %q, want true", got)
	}
	for _, asOf := range []string{fmt.Sprint(gate.seq()), fmt.Sprintf(`"%d"`, gate.seq())} {
		then := w.must(ask(`{"user":{"userID":"bob"},"names":["checkout"],"asOf":`+asOf+`}`), 200)
		if got := gets(then); got[0] != `gate checkout false default` || then.body["sequence"] != float64(gate.seq()) {
			t.Errorf("as of %s = %v, want the gate before it was launched", asOf, then)
		}
	}
	for body, pointers := range map[string]string{
		`{}`: "/user", `{"user":{"userID":"a"},"environment":"moon"}`: "/environment",
		`{"user":{"userID":"a"},"asOf":"soon"}`: "asOf", `{"user":{"userID":"a"},"asOf":100000}`: "asOf", `{"user":{"userID":"a"},"who":1}`: "/who", `{"user":[]}`: "/user",
	} {
		if got := ask(body); got.status != 400 || got.pointers() != pointers {
			t.Errorf("evaluate %s = %v, want 400 about %s", body, got, pointers)
		}
	}
	if got := w.do("POST", "/api/v1/projects/shop/evaluate", w.shop, "user=bob", "Content-Type", "application/x-www-form-urlencoded"); got.status != 415 {
		t.Errorf("evaluate of a form = %v, want 415", got)
	}
	if got := ask(`{"user":{"userID":"a"},"names":["nope"]}`); got.status != 404 || got.pointers() != "/names/0" {
		t.Errorf("evaluate of nothing = %v, want 404 about /names/0", got)
	}
}

func TestWhatIsAskedTwiceIsAnsweredOnceAndExplanationsHaveAnEnd(t *testing.T) {
	w := newWorld(t)
	ask := func(body string) answer { return w.do("POST", "/api/v1/projects/shop/evaluate", w.shop, body) }
	long := strings.Repeat(`"`+strings.Repeat("x", 1000)+`",`, 50)
	w.must(w.do("POST", gates, w.shop, `{"name":"wide","rules":[{"passPercentage":100,"conditions":[{"type":"email","operator":"any","targetValue":[`+strings.TrimSuffix(long, ",")+`]}]}]}`), 201)
	rule := `{"passPercentage":100,"conditions":[{"type":"passes_gate","targetValue":"wide"}]},`
	rules := strings.TrimSuffix(strings.Repeat(rule, 190), ",")
	for _, name := range []string{"a", "b"} {
		w.must(w.do("POST", gates, w.shop, `{"name":"`+name+`","rules":[`+rules+`]}`), 201)
	}
	if got := gets(w.must(ask(`{"user":{"userID":"u"},"names":["a","A","a"],"trace":true}`), 200)); !cmp.Equal(got, []string{"gate a false default"}) {
		t.Errorf("evaluate of a, three times = %q, want it once", got)
	}
	if got := ask(`{"user":{"userID":"u"},"names":["a","b"],"trace":true}`); got.status != 400 || got.pointers() != "/trace" {
		t.Errorf("a trace of 19 MB = %.300s, want 400 about /trace", got)
	}
	w.must(ask(`{"user":{"userID":"u"}}`), 200)
}
