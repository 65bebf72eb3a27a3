package api_test

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/sluice-flags/sluice/pkg/eval"
	"github.com/sluice-flags/sluice/pkg/flags"
)

const (
	ndjson = "application/x-ndjson"
	csv    = "text/csv"
)

// listed is a world with the id list vips in project shop.
func listed(t *testing.T) (w *world, path string) {
	t.Helper()
	w = newWorld(t)
	w.must(w.do("POST", "/api/v1/projects/shop/segments", w.shop, `{"name":"vips","type":"idList","rules":[]}`), http.StatusCreated)
	return w, "/api/v1/projects/shop/segments/vips/ids"
}

// tag is the list's version.
func (w *world) tag(path string) string {
	w.t.Helper()
	return w.must(w.do("GET", path, w.shop, ""), http.StatusOK).header.Get("ETag")
}

func (w *world) member(path, id string) bool {
	w.t.Helper()
	a := w.must(w.do("GET", path+"?id="+url.QueryEscape(id), w.shop, ""), http.StatusOK)
	return a.body["member"] == true && a.body["id"] == id
}

func count(a answer) int {
	n, _ := a.body["count"].(float64)
	return int(n)
}

func TestIDsComeAndGoInEveryFormat(t *testing.T) {
	w, path := listed(t)
	for _, tt := range []struct {
		method, media, body string
		count               int
		in, out             string
	}{
		{"PATCH", "application/json", `{"add":["a","b","c"],"remove":["c","never"],"reason":"first"}`, 2, "a", "c"},
		{"PATCH", ndjson, "{\"add\":\"é\"}\n\n{\"remove\":\"a\"}\r\n{\"add\":\" spaced \"}", 3, " spaced ", "a"},
		{"PATCH", csv, "user_id,action\nd\n\"quoted, \"\"id\"\"\",add\nb,remove\n", 4, `quoted, "id"`, "b"},
		{"PUT", csv, "\ufeffid\nx\ny\n", 2, "x", "d"},
		{"PUT", ndjson, "\"y\"\n{\"add\":\"z\"}\n", 2, "z", "x"},
		{"PUT", "application/json", `{"ids":["k","l","m"]}`, 3, "k", "y"},
		{"PUT", "application/json", `["k"]`, 1, "k", "l"},
		{"PUT", "application/json", `{"ids":[]}`, 0, "", "k"},
	} {
		a := w.must(w.do(tt.method, path, w.shop, tt.body, "Content-Type", tt.media, "If-Match", w.tag(path)), http.StatusOK)
		if count(a) != tt.count {
			t.Errorf("%s %s %q leaves %d ids, want %d", tt.method, tt.media, tt.body, count(a), tt.count)
		}
		if got := count(w.do("GET", path, w.shop, "")); got != tt.count || a.header.Get("ETag") != w.tag(path) {
			t.Errorf("after %s %q there are %d ids at %s, want %d at %s", tt.method, tt.body, got, w.tag(path), tt.count, a.header.Get("ETag"))
		}
		if tt.in != "" && !w.member(path, tt.in) || w.member(path, tt.out) {
			t.Errorf("after %s %q: %q is in: %v, %q is in: %v; want true, false", tt.method, tt.body, tt.in, tt.in == "" || w.member(path, tt.in), tt.out, w.member(path, tt.out))
		}
	}
}

func TestIDsAreInTheLogByHashAlone(t *testing.T) {
	w, path := listed(t)
	a := w.must(w.do("PATCH", path, w.shop, `{"add":["somebody@example.com"]}`, "If-Match", w.tag(path)), http.StatusOK)
	change := w.must(w.do("GET", fmt.Sprintf("/api/v1/projects/shop/changes/%d", a.seq()), w.shop, ""), http.StatusOK)
	if bytes.Contains(change.raw, []byte("somebody")) || !bytes.Contains(change.raw, []byte("+"+eval.HashID("somebody@example.com"))) {
		t.Errorf("the log has %s, want the hash of the id and not the id", change.raw)
	}
}

func TestMistakesInIDsAreToldByLine(t *testing.T) {
	w, path := listed(t)
	tag := w.tag(path)
	for _, tt := range []struct {
		method, media, body string
		status              int
		pointers            string
	}{
		{"PATCH", ndjson, "{\"add\":\"a\"}\n{\"add\":\"\"}\nnonsense\n{\"add\":\"b\",\"remove\":\"c\"}\n{\"take\":\"d\"}\n{\"add\":7}\n[]", 400, "line 2 line 3 line 4 line 5 line 6 line 7"},
		{"PATCH", ndjson, "{\"add\":\"\xff\"}", 400, "line 1"},
		{"PATCH", ndjson, "{\"add\":\"" + strings.Repeat("x", 1025) + "\"}", 400, "line 1"},
		{"PATCH", ndjson, "{\"add\":\"a\"}\n{\"add\":\"" + strings.Repeat("x", 20<<10) + "\"}", 400, "line 2"},
		{"PATCH", csv, "a\n\"open\nb,perhaps\n", 400, "line 2 line 3"},
		{"PUT", csv, "a\nb,remove\n", 400, "line 2"},
		{"PUT", ndjson, "{\"remove\":\"a\"}", 400, "line 1"},
		{"PATCH", "application/json", `{"add":["a",""],"remove":[""]}`, 400, "/add/1 /remove/0"},
		{"PATCH", "application/json", `{"ids":["a"]}`, 400, "/ids"},
		{"PUT", "application/json", `{"add":["a"]}`, 400, "/ids"},
		{"PUT", "application/json", `{}`, 400, "/ids"},
		{"PUT", "application/json", `{"ids":["a"],"more":1}`, 400, "/more"},
		{"PUT", "application/json", `7`, 400, ""},
		{"PATCH", "application/xml", "<a/>", 415, ""},
		{"PATCH", csv, "\n\n", 200, ""},
	} {
		a := w.do(tt.method, path, w.shop, tt.body, "Content-Type", tt.media, "If-Match", tag)
		if a.status != tt.status || a.pointers() != tt.pointers {
			t.Errorf("%s %s %.60q = %v at %q; want %d at %q", tt.method, tt.media, tt.body, a, a.pointers(), tt.status, tt.pointers)
		}
	}
	many := w.do("PATCH", path, w.shop, strings.Repeat("x\n", 500), "Content-Type", ndjson, "If-Match", tag)
	if list, _ := many.body["errors"].([]any); len(list) != 100 || !strings.Contains(string(many.raw), "500 of the ids") {
		t.Errorf("500 mistakes are told as %d: %.200s; want 100, and their number", len(list), many.raw)
	}
	if w.tag(path) != tag {
		t.Error("a body with mistakes changed the list")
	}
}

func TestWritesOfIDsAreLikeAllWrites(t *testing.T) {
	w, path := listed(t)
	first := w.tag(path)
	if a := w.do("PATCH", path, w.shop, `{"add":["a"]}`); a.status != http.StatusPreconditionRequired {
		t.Errorf("without If-Match: %v, want 428", a)
	}
	tried := w.must(w.do("PATCH", path+"?dryRun=true", w.shop, `{"add":["a","b"]}`, "If-Match", first), http.StatusOK)
	if diff, _ := tried.body["diff"].(map[string]any); tried.body["wouldCommit"] != true || diff["after"].(map[string]any)["count"] != 2.0 || w.tag(path) != first {
		t.Errorf("dry run = %v, want two ids to come and nothing written", tried)
	}
	done := w.must(w.do("PATCH", path, w.shop, `{"add":["a","b"]}`, "If-Match", first, "Idempotency-Key", "k"), http.StatusOK)
	if done.body["added"] != 2.0 || done.body["removed"] != 0.0 {
		t.Errorf("adding two = %v, want added 2, removed 0", done)
	}
	again := w.must(w.do("PATCH", path, w.shop, `{"add":["a","b"]}`, "If-Match", first, "Idempotency-Key", "k"), http.StatusOK)
	if again.header.Get("Idempotency-Replayed") != "true" || !bytes.Equal(again.raw, done.raw) {
		t.Errorf("the repetition = %v, want %v, replayed", again, done)
	}
	if a := w.do("PATCH", path, w.shop, `{"add":["c"]}`, "If-Match", first, "Idempotency-Key", "k"); a.code() != "idempotency_conflict" {
		t.Errorf("another body under the same key = %v, want idempotency_conflict", a)
	}
	stale := w.must(w.do("PATCH", path, w.shop, `{"add":["c"]}`, "If-Match", first), http.StatusPreconditionFailed)
	current, _ := stale.body["current"].(map[string]any)
	since, _ := stale.body["changesSince"].([]any)
	if current["count"] != 2.0 || len(since) != 1 {
		t.Errorf("stale = %v, want the current count 2 and one change since", stale)
	}
	if a := w.must(w.do("PATCH", path, w.shop, `{"add":["a"]}`, "If-Match", w.tag(path)), http.StatusOK); a.body["noop"] != true {
		t.Errorf("adding a member = %v, want noop", a)
	}
	before := w.must(w.do("GET", path+"?asOf="+strings.Trim(first, `"`)+"&id=a", w.shop, ""), http.StatusOK)
	if count(before) != 0 || before.body["member"] != false {
		t.Errorf("as of the beginning = %v, want nobody", before)
	}
	if a := w.do("GET", path, w.shop, "", "If-None-Match", w.tag(path)); a.status != http.StatusNotModified {
		t.Errorf("GET of what is known = %v, want 304", a)
	}
	for name, key := range map[string]string{"reader": w.key("shop", flagsConsole, "reader", "read"), "server": w.key("shop", flagsServer, "server")} {
		if a := w.do("PATCH", path, key, `{"add":["c"]}`, "If-Match", w.tag(path)); a.status != http.StatusForbidden {
			t.Errorf("PATCH by the %s = %v, want 403", name, a)
		}
	}
}

func TestASegmentOfRulesHasNoIDs(t *testing.T) {
	w, path := listed(t)
	w.must(w.do("POST", "/api/v1/projects/shop/segments", w.shop, `{"name":"staff","rules":[]}`), http.StatusCreated)
	staff := strings.Replace(path, "vips", "staff", 1)
	for _, a := range []answer{w.do("GET", staff, w.shop, ""), w.do("PUT", staff, w.shop, `["a"]`, "If-Match", `"1"`)} {
		if a.status != http.StatusConflict || a.code() != "wrong_state" {
			t.Errorf("ids of a segment of rules = %v, want 409 wrong_state", a)
		}
	}
	if a := w.do("GET", strings.Replace(path, "vips", "nobody", 1), w.shop, ""); a.status != http.StatusNotFound {
		t.Errorf("ids of no segment = %v, want 404", a)
	}
}

func TestAListGoesWithItsSegmentAndNotWhileUsed(t *testing.T) {
	w, path := listed(t)
	w.must(w.do("PATCH", path, w.shop, `{"add":["a"]}`, "If-Match", w.tag(path)), http.StatusOK)
	segment := strings.TrimSuffix(path, "/ids")
	made := w.must(w.do("POST", "/api/v1/projects/shop/gates", w.shop,
		`{"name":"g","rules":[{"passPercentage":100,"conditions":[{"type":"passes_segment","targetValue":"vips"}]}]}`), http.StatusCreated)
	tag := w.do("GET", segment, w.shop, "").header.Get("ETag")
	if a := w.do("DELETE", segment+"?confirm=vips", w.shop, "", "If-Match", tag); a.code() != "in_use" {
		t.Errorf("DELETE while used = %v, want in_use", a)
	}
	w.must(w.do("DELETE", "/api/v1/projects/shop/gates/g?confirm=g", w.shop, "", "If-Match", made.header.Get("ETag")), http.StatusOK)
	w.must(w.do("DELETE", segment+"?confirm=vips", w.shop, "", "If-Match", tag), http.StatusOK)
	changes := w.must(w.do("GET", "/api/v1/projects/shop/changes?kind=ids", w.shop, ""), http.StatusOK)
	items, _ := changes.body["items"].([]any)
	if len(items) != 2 || items[1].(map[string]any)["deleted"] != true {
		t.Errorf("changes of ids = %v, want the batch made and deleted", changes)
	}
}

func TestAManyTimesLargerBodyThanOthersIsTaken(t *testing.T) {
	w, path := listed(t)
	var body bytes.Buffer
	z := gzip.NewWriter(&body)
	for i := range 200_000 {
		fmt.Fprintf(z, "{\"add\":\"user-%d\"}\n", i)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	a := w.must(w.do("PUT", path, w.shop, body.String(), "Content-Type", ndjson, "Content-Encoding", "gzip", "If-Match", w.tag(path)), http.StatusOK)
	if count(a) != 200_000 || a.body["batches"] != 40.0 || !w.member(path, "user-199999") || w.member(path, "user-200000") {
		t.Errorf("200,000 ids = %v, want them all in 40 batches", a)
	}
	one := w.must(w.do("PATCH", path, w.shop, `{"add":["one more"]}`, "If-Match", w.tag(path)), http.StatusOK)
	if change := w.must(w.do("GET", fmt.Sprintf("/api/v1/projects/shop/changes/%d", one.seq()), w.shop, ""), http.StatusOK); len(change.raw) > 2000 {
		t.Errorf("one more id costs a change of %d bytes, want few", len(change.raw))
	}
	if a := w.do("PUT", path, w.shop, "not gzip", "Content-Type", ndjson, "Content-Encoding", "gzip", "If-Match", w.tag(path)); a.status != http.StatusBadRequest {
		t.Errorf("what is no gzip = %v, want 400", a)
	}
}

func TestABodyOfMoreLinesThanAListTakesIsNotReadToItsEnd(t *testing.T) {
	w, path := listed(t)
	var body bytes.Buffer
	z := gzip.NewWriter(&body)
	for range 2*flags.MaxIDs/1000 + 1 {
		_, _ = z.Write(bytes.Repeat([]byte("\n"), 1000)) // to memory
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	for _, media := range []string{ndjson, csv} {
		a := w.do("PATCH", path, w.shop, body.String(), "Content-Type", media, "Content-Encoding", "gzip", "If-Match", w.tag(path))
		if a.status != http.StatusRequestEntityTooLarge {
			t.Errorf("four million lines of %s in %d bytes = %v, want 413", media, body.Len(), a)
		}
	}
}
