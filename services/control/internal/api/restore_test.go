package api_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// percentages are the rules of a gate, each with its percentage.
func percentages(a answer) string {
	var out []string
	list, _ := a.body["rules"].([]any)
	for _, one := range list {
		rule := one.(map[string]any)
		out = append(out, fmt.Sprint(rule["name"], " ", rule["passPercentage"]))
	}
	return strings.Join(out, ", ")
}

func TestAWriteOfAnOldVersionIsMergedWhereNobodyTouchedTheSame(t *testing.T) {
	w := newWorld(t)
	const public = `"conditions":[{"type":"public"}]}`
	rules := func(staff, everyone int) string {
		return fmt.Sprintf(`{"rules":[{"id":"rule_1","name":"Staff","passPercentage":%d,"environments":["staging"],%s,{"id":"rule_2","name":"Everyone","passPercentage":%d,%s]}`, staff, public, everyone, public)
	}
	made := w.must(w.do("POST", gates, w.shop, `{"name":"g",`+rules(10, 20)[1:]), 201)
	old := made.header.Get("ETag")
	w.must(w.do("PATCH", gates+"/g", w.shop, rules(10, 30), "If-Match", old), 200)

	if got := w.do("PATCH", gates+"/g?merge=auto", w.shop, rules(10, 40), "If-Match", old); got.status != 412 || fmt.Sprint(got.body["conflicts"]) != "[/rules/rule_2/passPercentage]" {
		t.Errorf("PATCH of what somebody else has changed = %v, want 412 with the conflict", got)
	}
	if got := w.do("PATCH", gates+"/g", w.shop, rules(50, 20), "If-Match", old); got.status != 412 || fmt.Sprint(got.body["conflicts"]) != "[]" {
		t.Errorf("PATCH of another rule = %v, want 412 without conflicts", got)
	}
	dry := w.must(w.do("PATCH", gates+"/g?merge=auto&dryRun=true", w.shop, rules(50, 20), "If-Match", old), 200)
	if n := len(dry.body["operations"].([]any)); n != 1 {
		t.Errorf("dry run = %v, want one operation", dry)
	}
	got := w.must(w.do("PATCH", gates+"/g?merge=auto", w.shop, rules(50, 20), "If-Match", old), 200)
	if diff := cmp.Diff("Staff 50, Everyone 30", percentages(got)); diff != "" {
		t.Errorf("merged rules (-want +got):\n%s", diff)
	}
	got = w.must(w.do("PUT", gates+"/g?merge=auto", w.shop, `{"name":"g","team":"growth",`+rules(10, 20)[1:], "If-Match", old), 200)
	if percentages(got) != "Staff 50, Everyone 30" || got.body["team"] != "growth" {
		t.Errorf("PUT of the old version with a team = %v, want that of the newest version with the team", got)
	}
	if got := w.must(w.do("POST", gates+"/g/launch?merge=auto", w.shop, ``, "If-Match", old), 200); got.body["status"] != "launched" {
		t.Errorf("launch of the old version = %v, want a launched gate", got)
	}
	if got := w.do("PATCH", gates+"/g?merge=auto", w.shop, `{"team":"x"}`); got.status != 428 {
		t.Errorf("merge without If-Match = %v, want 428", got)
	}
	if got := w.do("PATCH", gates+"/g?merge=auto", w.shop, `{"team":"x"}`, "If-Match", `"1"`); got.status != 412 {
		t.Errorf("merge of a version that never was = %v, want 412", got)
	}
	if got := w.do("PATCH", gates+"/g?merge=yes", w.shop, `{"team":"x"}`, "If-Match", old); got.status != 400 || got.pointers() != "merge" {
		t.Errorf("merge=yes = %v, want 400 about merge", got)
	}
}

func TestAWriteIsMergedWithWhatComesBetween(t *testing.T) {
	w := newWorld(t)
	made := w.must(w.do("POST", gates, w.shop, `{"name":"g","rules":[]}`), 201)
	elsewhere := w.serve(w.node())
	w.before("shop", func() {
		w.must(w.on(elsewhere, "PATCH", gates+"/g", w.shop, `{"owner":"u_1"}`, "If-Match", made.header.Get("ETag")), 200)
	})
	got := w.must(w.do("PATCH", gates+"/g?merge=auto", w.shop, `{"team":"x"}`, "If-Match", made.header.Get("ETag")), 200)
	if got.body["team"] != "x" || got.body["owner"] != "u_1" {
		t.Errorf("PATCH that somebody was faster than = %v, want what both did", got)
	}
}

func TestAnyPastDocumentCanBeRestored(t *testing.T) {
	w := newWorld(t)
	first := w.must(w.do("POST", gates, w.shop, `{"name":"g","description":"a","rules":[]}`), 201)
	w.must(w.do("PATCH", gates+"/g", w.shop, `{"description":"b","team":"x"}`, "If-Match", "*"), 200)
	w.must(w.do("POST", gates+"/g/launch", w.shop, ``, "If-Match", "*"), 200)
	body := fmt.Sprintf(`{"sequence":%d,"reason":"it was better"}`, first.seq())

	if got := w.do("POST", gates+"/g/restore", w.shop, body); got.status != 428 {
		t.Errorf("restore without If-Match = %v, want 428", got)
	}
	got := w.must(w.do("POST", gates+"/g/restore", w.shop, body, "If-Match", "*"), 200)
	if got.body["description"] != "a" || got.body["team"] != nil || got.body["status"] != "inProgress" || got.body["version"] != 4.0 {
		t.Errorf("restore = %v, want the first document as version 4", got)
	}
	if again := w.must(w.do("POST", gates+"/g/restore", w.shop, body, "If-Match", "*"), 200); again.body["noop"] != true {
		t.Errorf("restore again = %v, want that nothing was to do", again)
	}
	for _, tc := range []struct {
		name, path, body string
		status           int
		pointers         string
	}{
		{"before it was made", "/g/restore", fmt.Sprintf(`{"sequence":%d}`, first.seq()-1), 404, ""},
		{"beyond the log", "/g/restore", `{"sequence":1000}`, 400, "/sequence"},
		{"no sequence", "/g/restore", `{}`, 400, "/sequence"},
		{"something else", "/g/restore", `{"sequence":1,"asOf":2}`, 400, "/asOf"},
		{"nothing of the name", "/h/restore", `{"sequence":1}`, 404, ""},
	} {
		if got := w.do("POST", gates+tc.path, w.shop, tc.body, "If-Match", "*"); got.status != tc.status || got.pointers() != tc.pointers {
			t.Errorf("restore, %s = %v, want %d about %q", tc.name, got, tc.status, tc.pointers)
		}
	}
}

func TestARestoreThatIsRepeatedIsAnsweredAsItWas(t *testing.T) {
	w := newWorld(t)
	first := w.must(w.do("POST", gates, w.shop, `{"name":"old","rules":[]}`), 201)
	w.must(w.do("PATCH", gates+"/old", w.shop, `{"name":"new"}`, "If-Match", "*"), 200)
	restore := func() answer {
		return w.do("POST", gates+"/new/restore", w.shop, fmt.Sprintf(`{"sequence":%d}`, first.seq()), "If-Match", "*", "Idempotency-Key", "k")
	}
	got := w.must(restore(), 200)
	if got.body["name"] != "old" {
		t.Errorf("restore = %v, want the first name", got)
	}
	for _, since := range []string{"renamed", "deleted"} {
		if again := restore(); again.status != 200 || string(again.raw) != string(got.raw) || again.header.Get("Idempotency-Replayed") != "true" {
			t.Errorf("the same restore when the gate was %s = %v, want the first answer", since, again)
		}
		if since == "renamed" {
			w.must(w.do("DELETE", gates+"/old?confirm=old", w.shop, ``, "If-Match", "*"), 200)
		}
	}
	if got := w.do("POST", gates+"/new/restore", w.shop, `{"sequence":1}`, "If-Match", "*"); got.status != 404 {
		t.Errorf("restore of what is gone = %v, want 404", got)
	}
}

func TestOneChangeIsTakenBackAndLaterOnesStay(t *testing.T) {
	w := newWorld(t)
	made := w.must(w.do("POST", gates, w.shop, `{"name":"g","description":"a","rules":[]}`), 201)
	second := w.must(w.do("PATCH", gates+"/g", w.shop, `{"description":"b"}`, "If-Match", "*"), 200)
	third := w.must(w.do("PATCH", gates+"/g", w.shop, `{"team":"x"}`, "If-Match", "*"), 200)
	other := w.must(w.do("POST", gates, w.shop, `{"name":"h","rules":[]}`), 201)
	undo := func(sequence uint64) answer {
		return w.do("POST", gates+"/g/undo", w.shop, fmt.Sprintf(`{"sequence":%d}`, sequence), "If-Match", "*")
	}
	got := w.must(undo(second.seq()), 200)
	if got.body["description"] != "a" || got.body["team"] != "x" {
		t.Errorf("undo of the second change = %v, want the first description and the team of the third", got)
	}
	if again := w.must(undo(second.seq()), 200); again.body["noop"] != true {
		t.Errorf("undo again = %v, want that nothing was to do", again)
	}
	w.must(w.do("PATCH", gates+"/g", w.shop, `{"team":"y"}`, "If-Match", "*"), 200)
	if got := undo(third.seq()); got.status != 409 || fmt.Sprint(got.body["conflicts"]) != "[/team]" {
		t.Errorf("undo of what was changed again = %v, want 409 with the conflict", got)
	}
	if got := undo(made.seq()); got.status != 409 {
		t.Errorf("undo of what made the gate = %v, want 409", got)
	}
	if got := undo(other.seq()); got.status != 404 {
		t.Errorf("undo of another gate's change = %v, want 404", got)
	}
}

func TestStrictRefusesWhatHasWarnings(t *testing.T) {
	w := newWorld(t)
	const warned = `{"name":"g","type":"temporary","rules":[]}`
	if got := w.do("POST", gates+"?strict=true", w.shop, warned); got.status != 422 || got.code() != "warnings" || got.pointers() != "/expiresAt" {
		t.Errorf("strict POST of a gate with a warning = %v, want 422 about /expiresAt", got)
	}
	got := w.must(w.do("POST", gates, w.shop, warned, "Idempotency-Key", "k"), 201)
	if list, _ := got.body["warnings"].([]any); len(list) != 1 {
		t.Errorf("POST of a gate with a warning = %v, want the warning with it", got)
	}
	if again := w.must(w.do("POST", gates, w.shop, warned, "Idempotency-Key", "k"), 201); string(again.raw) != string(got.raw) {
		t.Errorf("POST again = %v, want %v", again, got)
	}
	if got := w.must(w.do("PATCH", gates+"/g?strict=true", w.shop, `{"expiresAt":"2027-02-01T00:00:00Z"}`, "If-Match", "*"), 200); got.body["warnings"] != nil {
		t.Errorf("strict PATCH that heeds the warning = %v, want no warnings", got)
	}
	w.must(w.do("PATCH", gates+"/g?strict=true&dryRun=true", w.shop, `{"expiresAt":null}`, "If-Match", "*"), 422)
}
