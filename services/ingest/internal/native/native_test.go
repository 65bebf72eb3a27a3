package native

import (
	"bytes"
	"cmp"
	"compress/gzip"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/sluice-flags/sluice/internal/auth"
	"github.com/sluice-flags/sluice/internal/bus"
	"github.com/sluice-flags/sluice/internal/bus/facts"
	"github.com/sluice-flags/sluice/internal/web"
	"github.com/sluice-flags/sluice/pkg/events"
	"github.com/sluice-flags/sluice/pkg/flags"
	"github.com/sluice-flags/sluice/services/ingest/internal/body"
	"github.com/sluice-flags/sluice/services/ingest/internal/intake"
)

// shelf is a store in memory, or a failure.
type shelf struct {
	stored int
	err    error
}

func (s *shelf) Publish(_ context.Context, b events.Batch) (int, error) {
	if s.err == nil {
		s.stored += b.Len()
	}
	return 0, s.err
}

// door is the endpoint before a shelf, and keys of every kind for it.
type door struct {
	shelf
	handler                        http.Handler
	server, client, console, bound string
	asked                          int
}

func newDoor(t testing.TB) *door {
	t.Helper()
	d := new(door)
	state := flags.NewState("shop")
	states := func(_ context.Context, project string) (*flags.State, error) {
		if project != "shop" {
			return nil, bus.ErrUnknownProject
		}
		return state, nil
	}
	key := func(name string, kind flags.KeyKind, origins ...string) string {
		token, hash := auth.Generate(kind, "shop")
		k := &flags.Key{ID: "key_" + name, Name: name, Kind: kind, Hash: hex.EncodeToString(hash[:]), Origins: origins}
		state = state.Put(flags.Entity{Ref: k.Ref(), Name: k.Name, Doc: k, Version: 1, Seq: state.Seq() + 1})
		state = state.With(flags.Position{LogID: "log", Seq: state.Seq() + 1, Time: time.Now().UnixMilli()})
		return token
	}
	d.server, d.client, d.console = key("s", flags.KeyServer), key("c", flags.KeyClient), key("p", flags.KeyConsole)
	d.bound = key("b", flags.KeyClient, "https://shop.example")
	mux := http.NewServeMux()
	New(auth.NewResolver(states, "test", nil), intake.New(&d.shelf, states, nil, nil), body.NewReader(), prometheus.NewRegistry()).Register(mux)
	mux.Handle("/", web.Unmatched(mux))
	d.handler = web.Middleware(slog.New(slog.DiscardHandler), mux)
	return d
}

// ask sends a body; header holds names and values.
func (d *door) ask(method, query, key, text string, header ...string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(method, "/v1/events"+query, strings.NewReader(text))
	d.asked++
	r.RemoteAddr = fmt.Sprintf("10.0.%d.%d:1", d.asked/250, d.asked%250) // nobody shall be told to wait
	if key != "" {
		r.Header.Set("Authorization", "Bearer "+key)
	}
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	w := httptest.NewRecorder()
	d.handler.ServeHTTP(w, r)
	return w
}

func gzipped(text []byte) string {
	var out bytes.Buffer
	z := gzip.NewWriter(&out)
	_, _ = z.Write(text) // to memory
	_ = z.Close()
	return out.String()
}

// gigabyte is about a gigabyte of zeros in less than a megabyte of gzip, which may have members in
// a row.
func gigabyte() string { return strings.Repeat(gzipped(make([]byte, 1<<20)), 950) }

const good = `{"events":[{"eventName":"e","user":{"userID":"u"}}]}`

// S-31, and what else may be wrong with a request. A million nothings are three
// megabytes: too large, by bytes before anything is read and by elements if they
// were fewer, which 413 says as S-30 has it; all else that is wrong is 400.
func TestWhatIsWrongIsRefusedWithItsStatus(t *testing.T) {
	d := newDoor(t)
	for _, tt := range []struct {
		name, method, query, key, body string
		header                         []string
		want                           int
	}{
		{name: "a server key", key: d.server, want: 202},
		{name: "a client key", key: d.client, want: 202},
		{name: "a client key in its page", key: d.bound, header: []string{"Origin", "https://shop.example"}, want: 202},
		{name: "text from a beacon", key: d.client, header: []string{"Content-Type", "text/plain;charset=UTF-8"}, want: 202},
		{name: "a line", key: d.client, body: `{"eventName":"e"}`, header: []string{"Content-Type", "application/x-ndjson; charset=utf-8"}, want: 202},
		{name: "no key", want: 401},
		{name: "half a key", key: "client-shop", want: 401},
		{name: "a console key", key: d.console, want: 403},
		{name: "a server key in a page", key: d.server, header: []string{"Origin", "https://shop.example"}, want: 403},
		{name: "a client key in another's page", key: d.bound, header: []string{"Origin", "https://evil.example"}, want: 403},
		{name: "a key in the query", query: "?k=" + d.client, key: d.client, want: 400},
		{name: "another method", method: "PUT", key: d.client, want: 405},
		{name: "a form", key: d.client, header: []string{"Content-Type", "application/x-www-form-urlencoded"}, want: 415},
		{name: "an encoding that nobody knows", key: d.client, header: []string{"Content-Encoding", "lzma"}, want: 415},
		{name: "gzip that is none", key: d.client, header: []string{"Content-Encoding", "gzip"}, want: 400},
		{name: "half a gzip", key: d.client, body: gzipped([]byte(good))[:20], header: []string{"Content-Encoding", "gzip"}, want: 400},
		{name: "no JSON", key: d.client, body: "hello", want: 400},
		{name: "half of it", key: d.client, body: good[:40], want: 400},
		{name: "an array", key: d.client, body: "[]", want: 400},
		{name: "no list", key: d.client, body: "{}", want: 400},
		{name: "lines as one text", key: d.client, body: "{\"eventName\":\"e\"}\n{\"eventName\":\"e\"}", want: 400},
		{name: "one text as lines", key: d.client, body: "{\n\"events\":[\n]\n}", header: []string{"Content-Type", "application/x-ndjson"}, want: 400},
		{name: "a batch without a UUID", key: d.client, body: `{"batch_id":"1","events":[]}`, want: 400},
		{name: "something after the end", key: d.client, body: good + "x", want: 400},
		{name: "a byte order mark", key: d.client, body: "\xef\xbb\xbf" + good, want: 400},
		{name: "broken UTF-8", key: d.client, body: strings.Replace(good, `"u"`, "\"\xff\"", 1), want: 400},
		{name: "NaN", key: d.client, body: strings.Replace(good, `"u"`, "NaN", 1), want: 400},
		{name: "1e400", key: d.client, body: strings.Replace(good, `"u"`, "1e400", 1), want: 400},
		{name: "a list twice, in two cases", key: d.client, body: `{"events":[],"Events":[]}`, want: 400},
		{name: "nested 10,001 times", key: d.client, body: `{"events":[` + strings.Repeat("[", 10_001) + strings.Repeat("]", 10_001) + `]}`, want: 400},
		{name: "a million nothings", key: d.client, body: `{"events":[` + strings.Repeat("{},", 1_000_000) + `{}]}`, want: 413},
		{name: "a third of a million nothings", key: d.client, body: `{"events":[` + strings.Repeat("{},", 349_000) + `{}]}`, want: 413},
		{name: "too long", key: d.client, body: `{"x":"` + strings.Repeat("x", 2<<20) + `"}`, want: 413},
		{name: "a gigabyte of zeros", key: d.client, body: gigabyte(), header: []string{"Content-Encoding", "gzip"}, want: 413},
	} {
		before := d.stored
		w := d.ask(cmp.Or(tt.method, "POST"), tt.query, tt.key, cmp.Or(tt.body, good), tt.header...)
		kind := "application/problem+json"
		if tt.want == 202 {
			kind = "application/json"
		}
		if w.Code != tt.want || w.Header().Get("Content-Type") != kind || w.Header().Get("Access-Control-Allow-Origin") != "*" && tt.want != 405 {
			t.Errorf("%s = %d %v %.200s, want %d with %s, for pages to read", tt.name, w.Code, w.Header(), w.Body, tt.want, kind)
		}
		if stored := d.stored - before; (stored == 1) != (tt.want == 202) {
			t.Errorf("%s = %d, and %d facts were stored", tt.name, w.Code, stored)
		}
	}
}

// S-30, and S-31 for what a body of nothings costs.
func TestABombCostsLittle(t *testing.T) {
	d := newDoor(t)
	bomb, nothings := gigabyte(), `{"events":[`+strings.Repeat("{},", 349_000)+`{}]}`
	for name, send := range map[string]func() *httptest.ResponseRecorder{
		"a gigabyte of zeros": func() *httptest.ResponseRecorder {
			return d.ask("POST", "", d.client, bomb, "Content-Encoding", "gzip")
		},
		"nothings": func() *httptest.ResponseRecorder { return d.ask("POST", "", d.client, nothings) },
		"lines of nothing": func() *httptest.ResponseRecorder {
			return d.ask("POST", "", d.client, strings.Repeat("{}\n", 349_000), "Content-Type", "application/x-ndjson")
		},
	} {
		// What was allocated in all bounds what was held at a time, and the work that
		// was done: a busy machine changes neither.
		var before, after runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&before)
		w := send()
		runtime.ReadMemStats(&after)
		if spent := after.TotalAlloc - before.TotalAlloc; w.Code != http.StatusRequestEntityTooLarge || spent > 32<<20 {
			t.Errorf("%s = %d %.200s after %d KiB; want 413 within 32 MiB in all", name, w.Code, w.Body, spent>>10)
		}
		t.Logf("%s: %d KiB in all", name, (after.TotalAlloc-before.TotalAlloc)>>10)
	}
}

func TestPressureIsARetry(t *testing.T) {
	d := newDoor(t)
	for _, err := range []error{facts.ErrBusy, facts.ErrAway, errors.New("unforeseen")} {
		d.err = err
		if w := d.ask("POST", "", d.client, good); w.Code != http.StatusServiceUnavailable || w.Header().Get("Retry-After") == "" {
			t.Errorf("with a store that says %v: %d %v, want 503 with Retry-After", err, w.Code, w.Header())
		}
	}
}
