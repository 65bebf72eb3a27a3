package api_test

import (
	"fmt"
	"strings"
	"testing"
)

func TestReferencesGoBothWays(t *testing.T) {
	w := newWorld(t)
	before := w.must(w.do("POST", gates, w.shop, `{"name":"base","rules":[]}`), 201)
	w.must(w.do("POST", gates, w.shop, `{"name":"on top","rules":[{"passPercentage":100,"conditions":[{"type":"passes_gate","targetValue":"base"}]}]}`), 201)
	both := func(path string) string {
		a := w.must(w.do("GET", gates+path, w.shop, ``), 200)
		var out []string
		for _, side := range []string{"references", "dependents"} {
			out = append(out, side)
			for _, one := range a.body[side].([]any) {
				out = append(out, fmt.Sprint(one.(map[string]any)["kind"], " ", one.(map[string]any)["name"]))
			}
		}
		return strings.Join(out, ", ")
	}
	for path, want := range map[string]string{
		"/base/references":     "references, dependents, gate on top",
		"/on%20top/references": "references, gate base, dependents",
		"/base/references?asOf=" + fmt.Sprint(before.seq()): "references, dependents",
	} {
		if got := both(path); got != want {
			t.Errorf("GET %s = %q, want %q", path, got, want)
		}
	}
	if got := w.do("GET", gates+"/nope/references", w.shop, ``); got.status != 404 {
		t.Errorf("references of nothing = %v, want 404", got)
	}
}

func TestDiffLeadsFromOneVersionToAnother(t *testing.T) {
	w := newWorld(t)
	first := w.must(w.do("POST", gates, w.shop, `{"name":"g","description":"a","rules":[]}`), 201)
	second := w.must(w.do("PATCH", gates+"/g", w.shop, `{"description":"b"}`, "If-Match", "*"), 200)
	w.must(w.do("PATCH", gates+"/g", w.shop, `{"team":"x"}`, "If-Match", "*"), 200)
	w.must(w.do("DELETE", gates+"/g?confirm=g", w.shop, ``, "If-Match", "*"), 200)
	for query, want := range map[string]string{
		fmt.Sprintf("from=%d&to=%d", first.seq(), second.seq()):     "gate.setDescription",
		fmt.Sprintf("from=%d&to=%d", first.seq(), second.seq()+1):   "gate.setDescription gate.setTeam",
		fmt.Sprintf("from=%d&to=%d", second.seq(), first.seq()):     "gate.setDescription",
		fmt.Sprintf("from=%d&to=%d", first.seq(), first.seq()):      "",
		fmt.Sprintf("from=%d&to=%d", first.seq()-1, first.seq()):    "gate.create",
		fmt.Sprintf("from=%d", first.seq()):                         "gate.delete",
		fmt.Sprintf("from=2020-01-01T00:00:00Z&to=%d", first.seq()): "gate.create",
	} {
		got := w.must(w.do("GET", gates+"/g/diff?"+query, w.shop, ``), 200)
		var ops []string
		for _, one := range got.body["operations"].([]any) {
			ops = append(ops, one.(map[string]any)["op"].(string))
		}
		if strings.Join(ops, " ") != want {
			t.Errorf("diff?%s has operations %q, want %q", query, ops, want)
		}
	}
	for query, pointer := range map[string]string{"": "from", "from=0": "from", "from=1&to=x": "to", "from=1000": "from", "from=1&asOf=1": "asOf"} {
		if got := w.do("GET", gates+"/g/diff?"+query, w.shop, ``); got.status != 400 || got.pointers() != pointer {
			t.Errorf("diff?%s = %v, want 400 about %s", query, got, pointer)
		}
	}
	const keys = "/api/v1/projects/shop/keys"
	w.must(w.do("POST", keys, w.shop, `{"name":"k","kind":"server"}`), 201)
	if got := w.must(w.do("GET", keys+"/k/diff?from=1", w.shop, ``), 200); strings.Contains(string(got.raw), `"hash"`) {
		t.Errorf("the making of a key = %v, want nothing of its hash", got)
	}
}

func TestUnitsAreDrawnAnewWhenSomebodySaysSo(t *testing.T) {
	w := newWorld(t)
	const experiments = "/api/v1/projects/shop/experiments"
	w.must(w.do("POST", gates, w.shop, `{"name":"g","salt":"s","rules":[]}`), 201)
	one := w.must(w.do("POST", gates+"/g/resalt", w.shop, ``, "If-Match", "*"), 200).body["salt"]
	two := w.must(w.do("POST", gates+"/g/resalt", w.shop, ``, "If-Match", "*"), 200).body["salt"]
	if one == "s" || one == two || two == nil {
		t.Errorf("salts of two resalts = %v, %v; want new ones", one, two)
	}
	made := w.must(w.do("POST", experiments, w.shop, `{"name":"e","salt":"s","allocation":50,"groups":[{"name":"a","control":true,"share":50,"parameters":{}},{"name":"b","share":50,"parameters":{}}]}`), 201)
	if got := w.must(w.do("POST", experiments+"/e/reset", w.shop, ``, "If-Match", made.header.Get("ETag")), 200); got.body["noop"] != true {
		t.Errorf("reset of a draft = %v, want nothing to do", got)
	}
	w.must(w.do("POST", experiments+"/e/start", w.shop, ``, "If-Match", "*"), 200)
	if got := w.must(w.do("POST", experiments+"/e/allocation", w.shop, `{"allocation":75.5}`, "If-Match", "*"), 200); got.body["allocation"] != 75.5 || got.body["status"] != "running" {
		t.Errorf("allocation = %v, want 75.5 while it runs", got)
	}
	for _, bad := range []string{`{}`, `{"allocation":101}`, `{"allocation":"all"}`} {
		if got := w.do("POST", experiments+"/e/allocation", w.shop, bad, "If-Match", "*"); got.status != 400 || got.pointers() != "/allocation" {
			t.Errorf("allocation %s = %v, want 400 about /allocation", bad, got)
		}
	}
	w.must(w.do("POST", experiments+"/e/stop", w.shop, ``, "If-Match", "*"), 200)
	if got := w.do("POST", experiments+"/e/allocation", w.shop, `{"allocation":80}`, "If-Match", "*"); got.status != 409 || got.code() != "wrong_state" {
		t.Errorf("allocation of what has ended = %v, want 409 wrong_state", got)
	}
	got := w.must(w.do("POST", experiments+"/e/reset", w.shop, ``, "If-Match", "*"), 200)
	if got.body["status"] != "draft" || got.body["startedAt"] != nil || got.body["salt"] == "s" {
		t.Errorf("reset = %v, want a draft with another salt", got)
	}
	w.must(w.do("POST", experiments+"/e/start", w.shop, ``, "If-Match", "*"), 200)
}
