package api_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/sluice-flags/sluice/pkg/events"
)

func TestAWriteNamesTheVersionItIsBasedOn(t *testing.T) {
	w := newWorld(t)
	first := w.must(w.do("POST", gates, w.shop, `{"name":"g","description":"a","rules":[]}`), 201)
	tag := first.header.Get("ETag")

	if got := w.do("PUT", gates+"/g", w.shop, `{"rules":[]}`); got.status != 428 || got.code() != "precondition_required" {
		t.Errorf("PUT without If-Match = %v, want 428", got)
	}
	w.must(w.do("PATCH", gates+"/g", w.shop, `{"description":"b","reason":"better"}`, "If-Match", tag), 200)
	w.must(w.do("PATCH", gates+"/g", w.shop, `{"owner":"u_1"}`, "If-Match", `"`+strconv.FormatUint(w.head("shop"), 10)+`"`), 200)
	before := w.head("shop")

	collides := w.do("PATCH", gates+"/g", w.shop, `{"description":"c"}`, "If-Match", tag)
	if collides.status != 412 || collides.code() != "stale" {
		t.Fatalf("PATCH of an old version = %v, want 412 stale", collides)
	}
	if current := collides.body["current"].(map[string]any); current["description"] != "b" || current["owner"] != "u_1" {
		t.Errorf("current = %v, want what the gate is now", current)
	}
	since := collides.body["changesSince"].([]any)
	if len(since) != 2 || since[0].(map[string]any)["reason"] != "better" || len(since[0].(map[string]any)["operations"].([]any)) == 0 {
		t.Errorf("changesSince = %v, want both changes, the first with its reason and operations", since)
	}
	for _, change := range since {
		if name := change.(map[string]any)["name"]; name != "g" {
			t.Errorf("a change is about %q, want g", name)
		}
	}
	if diff := cmp.Diff([]any{"/description"}, collides.body["conflicts"]); diff != "" {
		t.Errorf("conflicts (-want +got):\n%s", diff)
	}
	elsewhere := w.do("PATCH", gates+"/g", w.shop, `{"team":"growth"}`, "If-Match", tag)
	if diff := cmp.Diff([]any{}, elsewhere.body["conflicts"]); elsewhere.status != 412 || diff != "" {
		t.Errorf("PATCH elsewhere = %v, want 412 without conflicts", elsewhere)
	}
	for _, c := range []struct{ method, path, body string }{
		{"PUT", "/g", `{"rules":[]}`}, {"DELETE", "/g?confirm=g", ``}, {"POST", "/g/launch", ``},
	} {
		if got := w.do(c.method, gates+c.path, w.shop, c.body, "If-Match", tag); got.status != 412 {
			t.Errorf("%s %s of an old version = %v, want 412", c.method, c.path, got)
		}
	}
	if got := w.do("PATCH", gates+"/g", w.shop, `{"description":"c"}`, "If-Match", `"1000"`); got.status != 412 || !strings.Contains(got.String(), "never") {
		t.Errorf("PATCH of a version that never was = %v, want 412 that says so", got)
	}
	for _, bad := range []string{"41", `W/"41"`, `"041"`, `"0"`, `"41", "42"`, `""`, `"x"`, "é"} {
		if got := w.do("PATCH", gates+"/g", w.shop, `{"team":"x"}`, "If-Match", bad); got.status != 400 || got.pointers() != "If-Match" {
			t.Errorf("If-Match: %s = %v, want 400 about If-Match", bad, got)
		}
	}
	if w.head("shop") != before {
		t.Errorf("refused writes moved the log from %d to %d", before, w.head("shop"))
	}
	w.must(w.do("PATCH", gates+"/g", w.shop, `{"team":"x"}`, "If-Match", "*"), 200)
	limited := w.key("shop", flagsConsole, "limited", "read", "write")
	if got := w.do("PATCH", gates+"/g", limited, `{"team":"y"}`, "If-Match", "*"); got.status != 403 || got.body["missing"] != "force" {
		t.Errorf("If-Match: * without the scope force = %v, want 403", got)
	}
}

func TestPutCreatesOnlyWhereNothingIs(t *testing.T) {
	w := newWorld(t)
	made := w.must(w.do("PUT", gates+"/g%20one", w.shop, `{"rules":[]}`, "If-None-Match", "*"), 201)
	if made.body["name"] != "g one" {
		t.Errorf("PUT = %v, want the name of the path", made)
	}
	if got := w.do("PUT", gates+"/g%20one", w.shop, `{"rules":[]}`, "If-None-Match", "*"); got.status != 412 {
		t.Errorf("PUT with If-None-Match: * where something is = %v, want 412", got)
	}
	if got := w.do("PUT", gates+"/two", w.shop, `{"name":"three","rules":[]}`, "If-None-Match", "*"); got.status != 400 || got.pointers() != "/name" {
		t.Errorf("PUT whose body has another name = %v, want 400 about /name", got)
	}
	if got := w.do("PUT", gates+"/two", w.shop, `{"rules":[]}`, "If-Match", `"3"`); got.status != 404 {
		t.Errorf("PUT with If-Match where nothing is = %v, want 404", got)
	}
	if got := w.do("PUT", gates+"/two", w.shop, `{"rules":[]}`, "If-None-Match", `"3"`); got.status != 400 {
		t.Errorf("PUT with a tag in If-None-Match = %v, want 400", got)
	}
}

func TestARepeatedRequestHappensOnce(t *testing.T) {
	w := newWorld(t)
	const body = `{"name":"g","rules":[]}`
	first := w.must(w.do("POST", gates, w.shop, body, "Idempotency-Key", "k1"), 201)
	patch := w.must(w.do("PATCH", gates+"/g", w.shop, `{"team":"a"}`, "If-Match", first.header.Get("ETag"), "Idempotency-Key", "k2"), 200)
	w.must(w.do("PATCH", gates+"/g", w.shop, `{"team":"b"}`, "If-Match", patch.header.Get("ETag")), 200)
	gone := w.must(w.do("DELETE", gates+"/g?confirm=g", w.shop, "", "If-Match", "*", "Idempotency-Key", "k3"), 200)
	before := w.head("shop")

	// Every repetition gets the first answer, whatever happened since, and from
	// a process that knows of nothing but the log.
	elsewhere := w.serve(w.node())
	for name, handler := range map[string]http.Handler{"here": w.handler, "on another node": elsewhere} {
		t.Run(name, func(t *testing.T) {
			for _, c := range []struct {
				method, path, body, key string
				want                    answer
			}{
				{"POST", gates, body, "k1", first},
				{"PATCH", gates + "/g", `{"team":"a"}`, "k2", patch},
				{"DELETE", gates + "/g?confirm=g", "", "k3", gone},
			} {
				got := w.on(handler, c.method, c.path, w.shop, c.body, "Idempotency-Key", c.key, "If-Match", first.header.Get("ETag"))
				if got.status != c.want.status || string(got.raw) != string(c.want.raw) || got.header.Get("Idempotency-Replayed") != "true" {
					t.Errorf("%s again = %v, want %v marked as replayed", c.method, got, c.want)
				}
			}
		})
	}
	for name, c := range map[string]struct{ method, path, body string }{
		"another body":  {"POST", gates, `{"name":"h","rules":[]}`},
		"another route": {"POST", "/api/v1/projects/shop/segments", body},
	} {
		if got := w.do(c.method, c.path, w.shop, c.body, "Idempotency-Key", "k1"); got.status != 422 || got.code() != "idempotency_conflict" {
			t.Errorf("%s under the same key = %v, want 422", name, got)
		}
	}
	if w.head("shop") != before {
		t.Errorf("repetitions moved the log from %d to %d", before, w.head("shop"))
	}
	// Another caller's key of the same text is another key.
	w.must(w.do("POST", gates, w.admin, `{"name":"h","rules":[]}`, "Idempotency-Key", "k1"), 201)
	for _, bad := range []string{strings.Repeat("k", 129), "a\x7f", "é"} {
		if got := w.do("POST", gates, w.shop, `{"name":"i","rules":[]}`, "Idempotency-Key", bad); got.status != 400 {
			t.Errorf("Idempotency-Key %q = %v, want 400", bad, got)
		}
	}
}

func TestRepetitionsAtTheSameTimeHappenOnce(t *testing.T) {
	w := newWorld(t)
	before := w.head("shop")
	nodes := []http.Handler{w.handler, w.serve(w.node()), w.serve(w.node())}
	answers := make([]answer, 24)
	var wg sync.WaitGroup
	for i := range answers {
		wg.Go(func() {
			answers[i] = w.on(nodes[i%len(nodes)], "POST", gates, w.shop, `{"name":"g","rules":[]}`, "Idempotency-Key", "once")
		})
	}
	wg.Wait()
	for i, a := range answers {
		if a.status != 201 || string(a.raw) != string(answers[0].raw) {
			t.Errorf("answer %d = %v, want the same as the first: %v", i, a, answers[0])
		}
	}
	if got := w.head("shop") - before; got != 1 {
		t.Errorf("one request sent 24 times made %d changes, want 1", got)
	}
}

func TestWritersThatRaceLoseNoUpdate(t *testing.T) {
	w := newWorld(t)
	w.must(w.do("POST", gates, w.shop, `{"name":"g","description":"0","rules":[]}`), 201)
	before := w.head("shop")
	const writers, each = 8, 25
	var acked, stale atomic.Int64
	var wg sync.WaitGroup
	for i := range writers {
		handler := w.handler
		if i%2 == 1 {
			handler = w.serve(w.node()) // half of them in processes of their own
		}
		wg.Go(func() {
			for n := 0; n < each; {
				read := w.on(handler, "GET", gates+"/g", w.shop, "")
				count, err := strconv.Atoi(fmt.Sprint(read.body["description"]))
				if err != nil {
					t.Errorf("GET = %v, want a count", read)
					return
				}
				got := w.on(handler, "PATCH", gates+"/g", w.shop, fmt.Sprintf(`{"description":"%d"}`, count+1), "If-Match", read.header.Get("ETag"))
				switch got.status {
				case 200:
					acked.Add(1)
					n++
				case 412:
					stale.Add(1)
				default:
					t.Errorf("PATCH = %v, want 200 or 412", got)
					return
				}
			}
		})
	}
	wg.Wait()
	final := w.do("GET", gates+"/g", w.shop, "", "Min-Sequence", strconv.FormatUint(w.head("shop"), 10))
	if final.body["description"] != strconv.Itoa(writers*each) || final.body["version"] != float64(writers*each+1) || w.head("shop") != before+writers*each {
		t.Errorf("after %d acknowledged increments the gate is %v at %d; want each counted once, gapless from %d", acked.Load(), final, w.head("shop"), before)
	}
	t.Logf("%d acknowledged, %d stale", acked.Load(), stale.Load())
}

func TestADryRunChangesNothingAndForetellsTheDiff(t *testing.T) {
	w := newWorld(t)
	made := w.must(w.do("POST", gates, w.shop, `{"name":"g","type":"temporary","rules":`+rules+`}`), 201)
	before := w.head("shop")
	edited := strings.Replace(string(made.raw), `"passPercentage":10,`, `"passPercentage":50,`, 1)
	dry := w.must(w.do("PUT", gates+"/g?dryRun=true", w.shop, edited, "If-Match", made.header.Get("ETag")), 200)
	if dry.body["wouldCommit"] != true || w.head("shop") != before {
		t.Fatalf("dry run = %v and moved the log from %d to %d; want wouldCommit and no move", dry, before, w.head("shop"))
	}
	if warnings := dry.body["warnings"].([]any); len(warnings) != 1 || warnings[0].(map[string]any)["pointer"] != "/expiresAt" {
		t.Errorf("warnings = %v, want one about the missing end", dry.body["warnings"])
	}
	real := w.must(w.do("PUT", gates+"/g", w.shop, edited, "If-Match", made.header.Get("ETag")), 200)
	after := dry.body["diff"].(map[string]any)["after"].(map[string]any)
	if diff := cmp.Diff(real.body["rules"], after["rules"]); diff != "" {
		t.Errorf("rules as committed and as foretold (-committed +foretold):\n%s", diff)
	}
	change := w.must(w.do("GET", fmt.Sprintf("/api/v1/projects/shop/changes/%d", real.seq()), w.shop, ""), 200)
	if diff := cmp.Diff(change.body["operations"], dry.body["operations"]); diff != "" {
		t.Errorf("operations as committed and as foretold (-committed +foretold):\n%s", diff)
	}
	same := w.must(w.do("PUT", gates+"/g?dryRun=true", w.shop, string(real.raw), "If-Match", real.header.Get("ETag")), 200)
	if same.body["wouldCommit"] != false || len(same.body["operations"].([]any)) != 0 {
		t.Errorf("dry run of what is there = %v, want nothing to commit", same)
	}
	w.must(w.do("POST", gates+"?dryRun=true", w.shop, `{"name":"new","rules":[]}`), 200)
	w.must(w.do("DELETE", gates+"/g?dryRun=true&confirm=g", w.shop, "", "If-Match", "*"), 200)
	w.must(w.do("POST", "/api/v1/projects?dryRun=true", w.admin, `{"name":"new"}`), 200)
	if got := w.do("POST", gates+"?dryRun=true", w.shop, `{"name":"g","rules":[]}`); got.status != 409 {
		t.Errorf("dry run of a taken name = %v, want 409", got)
	}
	if got := w.do("POST", gates+"?dryRun=maybe", w.shop, `{"name":"new","rules":[]}`); got.status != 400 {
		t.Errorf("dryRun=maybe = %v, want 400", got)
	}
	w.must(w.do("GET", gates+"/new", w.shop, ""), 404)
	w.must(w.do("GET", "/api/v1/projects/new", w.admin, ""), 404)
}

func TestAsOfEveryPastSequenceIsTheStateRecordedThen(t *testing.T) {
	w := newWorld(t)
	recorded := map[uint64]map[string]string{} // sequence → path → body
	paths := []string{gates + "/a", gates + "/b", gates + "?limit=200", "/api/v1/projects/shop/segments"}
	record := func() {
		at := map[string]string{}
		for _, path := range paths {
			at[path] = w.do("GET", path, w.shop, "").String()
		}
		recorded[w.head("shop")] = at
	}
	tag := func(path string) string { return w.do("GET", path, w.shop, "").header.Get("ETag") }
	for _, step := range []struct{ method, path, body string }{
		{"POST", gates, `{"name":"a","rules":[]}`},
		{"POST", gates, `{"name":"b","rules":` + rules + `}`},
		{"PATCH", gates + "/a", `{"team":"x"}`},
		{"POST", "/api/v1/projects/shop/segments", `{"name":"s","rules":[]}`},
		{"PATCH", gates + "/b", `{"name":"c"}`},
		{"POST", gates + "/a/kill", ``},
		{"DELETE", gates + "/a?confirm=a", ``},
		{"POST", gates, `{"name":"b","rules":[]}`},
	} {
		var header []string
		if step.method != "POST" {
			header = []string{"If-Match", tag(strings.Split(step.path, "?")[0])}
		}
		if a := w.do(step.method, step.path, w.shop, step.body, header...); a.status >= 300 {
			t.Fatalf("%s %s = %v", step.method, step.path, a)
		}
		record()
	}
	other := w.serve(w.node())
	for seq, at := range recorded {
		for path, want := range at {
			with := path + "?asOf=" + strconv.FormatUint(seq, 10)
			if strings.Contains(path, "?") {
				with = path + "&asOf=" + strconv.FormatUint(seq, 10)
			}
			for _, handler := range []http.Handler{w.handler, other} {
				got := w.on(handler, "GET", with, w.shop, "", "X-Request-Id", "r")
				if withoutID(got.String()) != withoutID(want) {
					t.Errorf("GET %s = %v, want what was read then: %s", with, got, want)
				}
				if got.header.Get("Log-Sequence") != strconv.FormatUint(seq, 10) || !strings.Contains(got.header.Get("Content-Location"), "asOf="+strconv.FormatUint(seq, 10)) {
					t.Errorf("GET %s: Log-Sequence %q, Content-Location %q; want both to name %d", with, got.header.Get("Log-Sequence"), got.header.Get("Content-Location"), seq)
				}
			}
		}
	}
	// A time means the state as of that time.
	made := w.must(w.do("GET", gates+"/b/history", w.shop, ""), 200).body["items"].([]any)
	created := made[len(made)-1].(map[string]any)
	got := w.must(w.do("GET", gates+"/b?asOf="+created["time"].(string), w.shop, ""), 200)
	if got.header.Get("Log-Sequence") != fmt.Sprint(created["sequence"]) {
		t.Errorf("asOf=%v read sequence %s, want %v", created["time"], got.header.Get("Log-Sequence"), created["sequence"])
	}
	for _, bad := range []string{"0", "-1", "1.5", "yesterday", "99999", "2027-02-30T00:00:00Z"} {
		if got := w.do("GET", gates+"?asOf="+bad, w.shop, ""); got.status != 400 || got.pointers() != "asOf" {
			t.Errorf("asOf=%s = %v, want 400 about asOf", bad, got)
		}
	}
	if got := w.do("POST", gates+"?asOf=3", w.shop, `{"name":"x","rules":[]}`); got.status != 400 {
		t.Errorf("a write with asOf = %v, want 400", got)
	}
}

// withoutID drops the request id of a problem document.
func withoutID(text string) string {
	i := strings.Index(text, `"instance":"`)
	if i < 0 {
		return text
	}
	j := strings.Index(text[i+12:], `"`)
	return text[:i] + text[i+12+j:]
}

func TestAListIsReadWholeWhileOthersWrite(t *testing.T) {
	w := newWorld(t)
	for i := range 23 {
		w.must(w.do("POST", gates, w.shop, fmt.Sprintf(`{"name":"g%02d","tags":["t%d"],"rules":[]}`, i, i%2)), 201)
	}
	var got []string
	path := gates + "?limit=5&total=true"
	for pages := 0; path != ""; pages++ {
		a := w.must(w.do("GET", path, w.shop, ""), 200)
		for _, item := range a.body["items"].([]any) {
			got = append(got, item.(map[string]any)["name"].(string))
		}
		if a.body["total"] != 23.0 {
			t.Errorf("total = %v, want 23 as of the first page", a.body["total"])
		}
		path, _, _ = strings.Cut(strings.TrimPrefix(a.header.Get("Link"), "<"), ">")
		w.must(w.do("POST", gates, w.shop, fmt.Sprintf(`{"name":"aa%d","rules":[]}`, pages)), 201)
		w.must(w.do("PATCH", fmt.Sprintf("%s/g%02d", gates, pages), w.shop, fmt.Sprintf(`{"name":"z%02d"}`, pages), "If-Match", "*"), 200)
	}
	var want []string
	for i := range 23 {
		want = append(want, fmt.Sprintf("g%02d", i))
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("names over all pages (-want +got):\n%s", diff)
	}
	for query, want := range map[string]int{"tag=t0": 12, "tag=t0&tag=t1": 23, "q=G1": 10, "status=archived": 0, "status=inProgress&q=aa": 5, "owner=me": 0} {
		a := w.must(w.do("GET", gates+"?limit=200&"+query, w.shop, ""), 200)
		if n := len(a.body["items"].([]any)); n != want {
			t.Errorf("GET ?%s has %d items, want %d", query, n, want)
		}
	}
	newest := w.must(w.do("GET", gates+"?sort=-lastModified&limit=1", w.shop, ""), 200).body["items"].([]any)[0].(map[string]any)
	if newest["sequence"] != float64(w.head("shop")) {
		t.Errorf("newest first = %v, want the last change", newest)
	}
	for _, bad := range []string{"limit=0", "limit=201", "limit=x", "cursor=x", "cursor=e30", "sort=color", "total=1", "asof=3", "%zz"} {
		if got := w.do("GET", gates+"?"+bad, w.shop, ""); got.status != 400 {
			t.Errorf("GET ?%s = %v, want 400", bad, got)
		}
	}
}

func TestTheLogIsReadFromAnySequence(t *testing.T) {
	w := newWorld(t)
	for i := range 7 {
		w.must(w.do("POST", gates, w.shop, fmt.Sprintf(`{"name":"g%d","rules":[]}`, i)), 201)
	}
	var seqs []float64
	var hashes, prevs []string
	path := "/api/v1/projects/shop/changes?limit=4"
	for path != "" {
		a := w.must(w.do("GET", path, w.shop, ""), 200)
		for _, item := range a.body["items"].([]any) {
			seqs = append(seqs, item.(map[string]any)["sequence"].(float64))
		}
		path, _, _ = strings.Cut(strings.TrimPrefix(a.header.Get("Link"), "<"), ">")
	}
	for seq := uint64(1); seq <= w.head("shop"); seq++ {
		a := w.must(w.do("GET", fmt.Sprintf("/api/v1/projects/shop/changes/%d", seq), w.shop, ""), 200)
		hashes, prevs = append(hashes, a.body["hash"].(string)), append(prevs, a.body["prev"].(string))
		if seqs[seq-1] != float64(seq) {
			t.Fatalf("change %d of the list has sequence %v", seq, seqs[seq-1])
		}
	}
	if !slices.Equal(hashes[:len(hashes)-1], prevs[1:]) {
		t.Errorf("the chain does not hold: hashes %v, prevs %v", hashes, prevs)
	}
	w.must(w.do("GET", "/api/v1/projects/shop/changes?kind=gate&since=5", w.shop, ""), 200)
	for path, want := range map[string]int{"/changes/999": 404, "/changes/0": 400, "/changes/x": 400, "/changes/01": 400, "/changes?kind=cake": 400, "/changes?since=-1": 400} {
		if got := w.do("GET", "/api/v1/projects/shop"+path, w.shop, ""); got.status != want {
			t.Errorf("GET %s = %v, want %d", path, got, want)
		}
	}
}

func TestAReaderCanWaitForItsOwnWrite(t *testing.T) {
	w := newWorld(t)
	other := w.serve(w.node())
	for i := range 20 {
		made := w.must(w.do("POST", gates, w.shop, fmt.Sprintf(`{"name":"g%d","rules":[]}`, i)), 201)
		w.must(w.on(other, "GET", fmt.Sprintf("%s/g%d", gates, i), w.shop, "", "Min-Sequence", made.header.Get("Log-Sequence")), 200)
	}
	if got := w.do("GET", gates, w.shop, "", "Min-Sequence", "soon"); got.status != 400 {
		t.Errorf("Min-Sequence: soon = %v, want 400", got)
	}
}

func TestWhatTheLogAnswersBecomesItsStatus(t *testing.T) {
	for _, c := range []struct {
		name   string
		err    error
		status int
		code   string
	}{
		{"others are always first", events.ErrConflict, 503, "unavailable"},
		{"nobody knows", &events.OutcomeUnknownError{CommandID: "cmd_1", Err: errors.New("no answer")}, 503, "outcome_unknown"},
		{"the log is another one", events.ErrDiverged, 503, "log_diverged"},
		{"the log is full", events.ErrFull, 503, "unavailable"},
		{"the log is away", events.ErrUnavailable, 503, "unavailable"},
		{"the change is too large", events.ErrTooLarge, 413, "too_large"},
		{"something unforeseen", errors.New("disk on fire"), 500, "internal"},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t)
			w.refuse("shop", c.err)
			got := w.do("POST", gates, w.shop, `{"name":"g","rules":[]}`)
			if got.status != c.status || got.code() != c.code || strings.Contains(string(got.raw), "disk on fire") {
				t.Errorf("POST = %v, want %d %s", got, c.status, c.code)
			}
			if c.status == 503 && got.header.Get("Retry-After") == "" {
				t.Errorf("POST = %v without Retry-After", got)
			}
			if c.code == "outcome_unknown" {
				key, _ := got.body["idempotencyKey"].(string)
				if got.body["commandId"] == nil || key == "" {
					t.Fatalf("POST = %v, want the command's id and a key to repeat it with", got)
				}
				w.refuse("shop", nil)
				w.must(w.do("POST", gates, w.shop, `{"name":"g","rules":[]}`, "Idempotency-Key", key), 201)
			}
		})
	}
}

func TestBadInputIsRefusedAndReachesNoLog(t *testing.T) {
	w := newWorld(t)
	w.must(w.do("POST", gates, w.shop, `{"name":"live","rules":[]}`), 201)
	w.must(w.do("POST", gates, w.shop, `{"name":"b","rules":[{"passPercentage":100,"conditions":[{"type":"passes_gate","targetValue":"live"}]}]}`), 201)
	before, projects := w.head("shop"), w.head("_org")
	gate := func(members string) string { return `{"name":"g","rules":[]` + members + `}` }
	for _, c := range []struct {
		name, path, body string
		status           int
		pointer          string
		header           []string
	}{
		{"malformed JSON", gates, `{"name":`, 400, "", nil},
		{"no body", gates, ``, 400, "", nil},
		{"an array", gates, `[]`, 400, "", nil},
		{"null", gates, `null`, 400, "", nil},
		{"an unknown member", gates, gate(`,"colour":1`), 400, "/colour", nil},
		{"a member in another case", gates, `{"Name":"g","name":"g","rules":[]}`, 400, "/Name", nil},
		{"a duplicate member", gates, gate(`,"name":"h"`), 400, "/name", nil},
		{"a wrong type", gates, `{"name":7,"rules":[]}`, 400, "/name", nil},
		{"a wrong type inside", gates, `{"name":"g","rules":[{"passPercentage":"10","conditions":[]}]}`, 400, "/rules/0/passPercentage", nil},
		{"a percentage beyond 100", gates, `{"name":"g","rules":[{"passPercentage":101,"conditions":[{"type":"public"}]}]}`, 400, "/rules/0/passPercentage", nil},
		{"an unknown condition", gates, `{"name":"g","rules":[{"passPercentage":1,"conditions":[{"type":"moon"}]}]}`, 400, "/rules/0/conditions/0/type", nil},
		{"an id of one's own", gates, gate(`,"id":"gate_1"`), 400, "/id", nil},
		{"a reason that is no text", gates, gate(`,"reason":[]`), 400, "/reason", nil},
		{"a reason that is a book", gates, gate(`,"reason":"` + strings.Repeat("x", 1001) + `"`), 400, "/reason", nil},
		{"two mebibytes", gates, gate(`,"description":"` + strings.Repeat("x", 2<<20) + `"`), 413, "", nil},
		{"a long text", gates, gate(`,"description":"` + strings.Repeat("x", 70_000) + `"`), 400, "/description", nil},
		{"depth", gates, gate(`,"metadata":` + strings.Repeat(`{"a":`, 10_000) + `1` + strings.Repeat(`}`, 10_000)), 400, "", nil},
		{"a form", gates, `name=g`, 415, "", []string{"Content-Type", "application/x-www-form-urlencoded"}},
		{"an odd encoding", gates, gate(``), 415, "", []string{"Content-Encoding", "lzw"}},
		{"gzip that is none", gates, gate(``), 400, "", []string{"Content-Encoding", "gzip"}},
		{"a gate that asks itself", gates, `{"name":"g","rules":[{"passPercentage":1,"conditions":[{"type":"passes_gate","targetValue":"g"}]}]}`, 422, "/rules/0/conditions/0/targetValue", nil},
		{"a gate that asks nobody", gates, `{"name":"g","rules":[{"passPercentage":1,"conditions":[{"type":"passes_gate","targetValue":"nobody"}]}]}`, 400, "/rules/0/conditions/0/targetValue", nil},
		{"a taken name", gates, `{"name":"LIVE","rules":[]}`, 409, "/name", nil},
		{"a project that says too much", "/api/v1/projects", `{"name":"x","secret":1}`, 400, "/secret", nil},
		{"an action with a member that it does not know", gates + "/live/kill", `{"group":"x"}`, 400, "/group", nil},
		{"an action with a wrong type", gates + "/live/kill", `{"environments":"production"}`, 400, "/environments", nil},
		{"killing in a place that is not there", gates + "/live/kill", `{"environments":["mars"]}`, 400, "/offIn/0", nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := w.do("POST", c.path, map[bool]string{true: w.admin, false: w.shop}[c.path == "/api/v1/projects"], c.body, c.header...)
			if got.status != c.status || !strings.HasPrefix(got.header.Get("Content-Type"), "application/problem+json") {
				t.Fatalf("POST = %.300s, want a problem with status %d", got, c.status)
			}
			if !slices.Contains(strings.Split(got.pointers(), " "), c.pointer) {
				t.Errorf("POST = %.300s, names %q; want %q named", got, got.pointers(), c.pointer)
			}
		})
	}
	for _, name := range []string{"a*b", "a>b", "a/b", "../x", "a\r\nb", "a\x00b", "ä", "аbc", " a", ".a", "::x", strings.Repeat("a", 101), ""} {
		quoted, err := json.Marshal(name)
		if err != nil {
			t.Fatal(err)
		}
		if got := w.do("POST", gates, w.shop, `{"name":`+string(quoted)+`,"rules":[]}`); got.status != 400 || got.pointers() != "/name" {
			t.Errorf("POST of name %q = %.300s, want 400 about /name", name, got)
		}
	}
	for _, name := range []string{"a*b", "%3E", "a%2Fb", "%2e%2e%2fx", "a%0D%0Ab", "%00", "%C3%A4", "%D0%B0bc", "%20a", strings.Repeat("a", 101)} {
		for _, method := range []string{"GET", "PUT", "PATCH", "DELETE"} {
			if got := w.do(method, gates+"/"+name, w.shop, `{}`, "If-Match", "*"); got.status != 400 || got.pointers() != "name" {
				t.Errorf("%s of name %s = %.300s, want 400 about name", method, name, got)
			}
		}
	}
	live := w.do("GET", gates+"/live", w.shop, "")
	cycle := strings.Replace(string(live.raw), `"rules":[]`, `"rules":[{"passPercentage":1,"conditions":[{"type":"passes_gate","targetValue":"b"}]}]`, 1)
	if got := w.do("PUT", gates+"/live", w.shop, cycle, "If-Match", live.header.Get("ETag")); got.status != 422 || got.code() != "cycle" {
		t.Errorf("PUT that closes a cycle = %v, want 422 cycle", got)
	}
	if got := w.do("DELETE", gates+"/live?confirm=live", w.shop, "", "If-Match", live.header.Get("ETag")); got.status != 409 || got.code() != "in_use" {
		t.Errorf("DELETE of what is used = %v, want 409 in_use", got)
	}
	if w.head("shop") != before || w.head("_org") != projects {
		t.Errorf("bad input moved the logs from %d and %d to %d and %d", before, projects, w.head("shop"), w.head("_org"))
	}
	if w.errors.Len() > 0 {
		t.Errorf("bad input was logged as the server's fault: %s", w.errors)
	}
}

// FuzzBodies holds that no body gets a status that is not documented, and that
// what is refused reaches no log.
func FuzzBodies(f *testing.F) {
	for _, seed := range []string{
		`{"name":"g","rules":[]}`, `{"name":"g","rules":` + rules + `}`, `{"rules":null}`, `{"name":"x","overrides":{"userID":{"pass":["a"],"fail":["a"]}}}`,
		`{"name":"e","allocation":1e308,"groups":[{}]}`, `{"metadata":{"":[[[]]]}}`, `{"team":"\ud800"}`, `null`, `{"reason":1}`, "{\"name\":\"\xff\"}",
	} {
		for kind := range 10 {
			f.Add(seed, byte(kind))
		}
	}
	w := newWorld(f)
	target := gates + "/" + w.must(w.do("POST", gates, w.shop, `{"name":"target","rules":[]}`), 201).body["id"].(string)
	targets := []struct{ method, path string }{{"PUT", target}, {"PATCH", target}, {"POST", target + "/kill"}}
	for _, noun := range []string{"gates", "configs", "experiments", "layers", "segments", "holdouts", "metrics", "environments", "keys"} {
		targets = append(targets, struct{ method, path string }{"POST", "/api/v1/projects/shop/" + noun})
	}
	documented := []int{200, 201, 400, 409, 413, 415, 422}
	f.Fuzz(func(t *testing.T, body string, which byte) {
		w.t = t
		target := targets[int(which)%len(targets)]
		before := w.head("shop")
		w.errors.Reset()
		got := w.do(target.method, target.path, w.shop, body, "If-Match", "*")
		if !slices.Contains(documented, got.status) {
			t.Errorf("%s %s %q = %v; logged %s", target.method, target.path, body, got, w.errors)
		}
		if got.status >= 300 && w.head("shop") != before {
			t.Errorf("%s %s %q = %v and yet moved the log", target.method, target.path, body, got)
		}
	})
}

func TestAMetricIsVouchedForByVerify(t *testing.T) {
	w := newWorld(t)
	const metrics = "/api/v1/projects/shop/metrics"
	w.must(w.do("POST", metrics, w.shop, `{"name":"buyers","type":"event_user","event":"buy"}`), 201)
	if got := w.do("POST", metrics+"/buyers/verify", w.shop, ``); got.status != 428 {
		t.Errorf("verify without If-Match = %v, want 428", got)
	}
	got := w.must(w.do("POST", metrics+"/buyers/verify", w.shop, `{"reason":"agrees with the till"}`, "If-Match", "*"), 200)
	if got.body["verified"] != true {
		t.Errorf("verify = %v, want a verified metric", got)
	}
	if again := w.must(w.do("POST", metrics+"/buyers/verify", w.shop, ``, "If-Match", "*"), 200); again.body["noop"] != true {
		t.Errorf("verify again = %v, want that nothing was to do", again)
	}
	got = w.must(w.do("PATCH", metrics+"/buyers", w.shop, `{"event":"pay"}`, "If-Match", "*"), 200)
	if verified, said := got.body["verified"]; said {
		t.Errorf("with another event, verified = %v, want a metric that nobody has vouched for", verified)
	}
}
