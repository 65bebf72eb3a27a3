package web_test

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"reflect"
	"runtime"
	"strings"
	"testing"

	"github.com/andybalholm/brotli"
	"github.com/klauspost/compress/zstd"

	"github.com/sluice-flags/sluice/internal/web"
)

// order is a body with every kind of member.
type order struct {
	Name  string          `json:"name"`
	Count int             `json:"count"`
	Share float64         `json:"share"`
	On    bool            `json:"on"`
	Lines []line          `json:"lines"`
	Free  json.RawMessage `json:"free"`
	Tags  map[string]int  `json:"tags"`
	Any   any             `json:"any"`
	Day   day             `json:"day"`
	Best  *line           `json:"best"`
}

// day reads itself.
type day struct{ text string }

func (d *day) UnmarshalJSON(raw []byte) error { return json.Unmarshal(raw, &d.text) }

type line struct {
	ID string `json:"id"`
	On day    `json:"on"`
}

func post(body []byte, header ...string) *http.Request {
	r := httptest.NewRequest(http.MethodPost, "/", bytes.NewReader(body))
	r.Header.Set("Content-Type", "application/json")
	for i := 0; i+1 < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	return r
}

func TestABadBodyIsRefusedWithItsPlace(t *testing.T) {
	for _, c := range []struct {
		name, body    string
		pointer, code string
	}{
		{"nothing", ``, "", "required"},
		{"white space", " \n", "", "required"},
		{"malformed", `{"name":`, "", "syntax"},
		{"a missing comma in an array", `{"lines":[{} {}]}`, "", "syntax"},
		{"trailing data", `{"name":"a"} x`, "", "syntax"},
		{"two values", `{} {}`, "", "syntax"},
		{"NaN", `{"share":NaN}`, "", "syntax"},
		{"a byte order mark", "\xef\xbb\xbf{}", "", "syntax"},
		{"bad UTF-8", "{\"name\":\"\xff\"}", "", "encoding"},
		{"nesting beyond the limit", `{"free":` + strings.Repeat("[", 10_001) + strings.Repeat("]", 10_001) + `}`, "", "too_deep"},
		{"nesting that never closes", strings.Repeat(`{"a":`, 100_000), "", "too_deep"},
		{"a number beyond every range", `{"share":1e400}`, "/share", "out_of_range"},
		{"the same hidden in free JSON", `{"free":{"a":[1e400]}}`, "/free/a/0", "out_of_range"},
		{"an unknown member", `{"nmae":"a"}`, "/nmae", "unknown"},
		{"an unknown member deep down", `{"lines":[{"id":"1"},{"di":"2"}]}`, "/lines/1/di", "unknown"},
		{"a member in another case", `{"Name":"a"}`, "/Name", "unknown"},
		{"a duplicate member", `{"on":true,"on":false}`, "/on", "duplicate"},
		{"a duplicate member in free JSON", `{"free":{"a":1,"a":2}}`, "/free/a", "duplicate"},
		{"members that differ in case", `{"free":{"on":true,"On":false}}`, "/free/On", "duplicate"},
		{"members that differ in an exotic case", `{"free":{"k":1,"K":2}}`, "/free/K", "duplicate"},
		{"a string for a number", `{"count":"1"}`, "/count", "wrong_type"},
		{"a fraction for a whole number", `{"count":1.5}`, "/count", "wrong_type"},
		{"an object for an array", `{"lines":{}}`, "/lines", "wrong_type"},
		{"an array for an object", `[]`, "", "wrong_type"},
		{"a wrong type deep down", `{"lines":[{"id":1}]}`, "/lines/0/id", "wrong_type"},
		{"a wrong type in a map", `{"tags":{"a/b":"x"}}`, "/tags/a~1b", "wrong_type"},
		{"a wrong type for what reads itself", `{"name":"a","day":7}`, "/day", "wrong_type"},
		{"the same deep down", `{"best":{"on":{}}}`, "/best/on", "wrong_type"},
		{"a text that is too long", `{"name":"` + strings.Repeat("x", 64<<10+1) + `"}`, "/name", "too_long"},
		{"an array that is too long", `{"free":[` + strings.Repeat("0,", 10_000) + `0]}`, "/free", "too_long"},
	} {
		t.Run(c.name, func(t *testing.T) {
			var got order
			err := web.Decode(post([]byte(c.body)), &got, web.Limits{})
			e, ok := errors.AsType[*web.Error](err)
			if !ok || e.Code != web.CodeValidation || len(e.Problems) == 0 {
				t.Fatalf("Decode(%.80q) = %v, want a validation error with problems", c.body, err)
			}
			if p := e.Problems[0]; p.Pointer != c.pointer || p.Code != c.code {
				t.Errorf("Decode(%.80q) names %q %q (%s), want %q %q", c.body, p.Pointer, p.Code, p.Message, c.pointer, c.code)
			}
		})
	}
}

func TestEveryProblemIsReportedAtOnce(t *testing.T) {
	err := web.Decode(post([]byte(`{"nmae":"a","count":"x","lines":[{"x":1}],"on":true,"on":1}`)), &order{}, web.Limits{})
	e, ok := errors.AsType[*web.Error](err)
	if !ok {
		t.Fatalf("Decode() = %v, want an Error", err)
	}
	var got []string
	for _, p := range e.Problems {
		got = append(got, p.Pointer+" "+p.Code)
	}
	want := []string{"/nmae unknown", "/count wrong_type", "/lines/0/x unknown", "/on duplicate", "/on wrong_type"}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("Decode() problems = %q, want %q", got, want)
	}
}

func TestAGoodBodyIsReadWholly(t *testing.T) {
	body := `{"name":"n","count":3,"share":0.5,"on":true,"lines":[{"id":"1"}],"free":{"x":[null]},"tags":{"a":1},"any":[{"b":2}]}`
	encodings := map[string]func(io.Writer) io.WriteCloser{
		"gzip": func(w io.Writer) io.WriteCloser { return gzip.NewWriter(w) },
		"br":   func(w io.Writer) io.WriteCloser { return brotli.NewWriter(w) },
		"zstd": func(w io.Writer) io.WriteCloser { z, _ := zstd.NewWriter(w); return z },
	}
	requests := map[string]*http.Request{"plain": post([]byte(body))}
	for name, encoder := range encodings {
		requests[name] = post(compressed(t, encoder, []byte(body)), "Content-Encoding", name)
	}
	for name, r := range requests {
		t.Run(name, func(t *testing.T) {
			var got order
			if err := web.Decode(r, &got, web.Limits{}); err != nil {
				t.Fatalf("Decode() = %v, want nil", err)
			}
			if got.Name != "n" || got.Count != 3 || !got.On || len(got.Lines) != 1 || string(got.Free) != `{"x":[null]}` {
				t.Errorf("Decode() read %+v", got)
			}
		})
	}
}

func compressed(t testing.TB, encoder func(io.Writer) io.WriteCloser, body []byte) []byte {
	t.Helper()
	var buf bytes.Buffer
	w := encoder(&buf)
	if _, err := w.Write(body); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return buf.Bytes()
}

func TestDataMayUseNamesThatDifferInCaseWhereAsked(t *testing.T) {
	var got map[string]any
	err := web.DecodeJSON([]byte(`{"a":1,"A":2}`), &got, web.Limits{CaseVariants: true})
	if err != nil || len(got) != 2 {
		t.Errorf("DecodeJSON() = %v, %v; want both members", got, err)
	}
}

func TestABodyBeyondItsSizeIs413(t *testing.T) {
	member := compressed(t, func(w io.Writer) io.WriteCloser { return gzip.NewWriter(w) }, make([]byte, 1<<20))
	bomb := bytes.Repeat(member, 900) // gzip allows members in a row: 900 MiB of zeros in less than one
	brBomb := compressed(t, func(w io.Writer) io.WriteCloser { return brotli.NewWriterLevel(w, brotli.BestSpeed) }, make([]byte, 8<<20))
	zBomb := compressed(t, func(w io.Writer) io.WriteCloser { z, _ := zstd.NewWriter(w); return z }, make([]byte, 8<<20))
	for name, r := range map[string]*http.Request{
		"two mebibytes":   post(bytes.Repeat([]byte(" "), 2<<20)),
		"a gzip bomb":     post(bomb, "Content-Encoding", "gzip"),
		"a brotli bomb":   post(brBomb, "Content-Encoding", "br"),
		"a zstd bomb":     post(zBomb, "Content-Encoding", "zstd"),
		"a ratio too big": post(bytes.Repeat(member, 3), "Content-Encoding", "gzip"),
	} {
		t.Run(name, func(t *testing.T) {
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			_, err := web.ReadBody(r, web.Limits{})
			runtime.ReadMemStats(&after)
			if web.StatusOf(err) != http.StatusRequestEntityTooLarge {
				t.Fatalf("ReadBody() = %v, want 413", err)
			}
			if grown := after.TotalAlloc - before.TotalAlloc; grown > 32<<20 {
				t.Errorf("ReadBody() allocated %d bytes to refuse, want at most 32 MiB", grown)
			}
		})
	}
}

func TestEncodingsAndTypesThatAreNotReadAreRefused(t *testing.T) {
	for _, c := range []struct {
		name   string
		r      *http.Request
		status int
	}{
		{"an unknown encoding", post([]byte(`{}`), "Content-Encoding", "compress"), 415},
		{"a form", post([]byte(`a=b`), "Content-Type", "application/x-www-form-urlencoded"), 415},
		{"a type that does not parse", post([]byte(`{}`), "Content-Type", ";;"), 415},
		{"gzip that is none", post([]byte(`{}`), "Content-Encoding", "gzip"), 400},
		{"brotli that is none", post([]byte(`{}`), "Content-Encoding", "br"), 400},
		{"zstd that is none", post([]byte(`{}`), "Content-Encoding", "zstd"), 400},
		{"gzip that is cut", post(compressed(t, func(w io.Writer) io.WriteCloser { return gzip.NewWriter(w) }, []byte(`{"name":"a"}`))[:20], "Content-Encoding", "gzip"), 400},
	} {
		t.Run(c.name, func(t *testing.T) {
			if err := web.Decode(c.r, &order{}, web.Limits{}); web.StatusOf(err) != c.status {
				t.Errorf("Decode() = %v, want status %d", err, c.status)
			}
		})
	}
}

// FuzzDecode holds that no body panics or is blamed on us, and that what passes
// is what encoding/json reads.
func FuzzDecode(f *testing.F) {
	for _, seed := range []string{`{}`, `{"name":"a","lines":[{"id":"1"}]}`, `{"free":{"a":[1e400]}}`, `{"on":true,"On":1}`, `[[[[`, "\"\\", `{"tags":{"":1}}`, `null`, `{"any":{"__proto__":{}}}`} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		var got order
		err := web.DecodeJSON(body, &got, web.Limits{})
		if err != nil {
			if web.StatusOf(err) != http.StatusBadRequest {
				t.Errorf("DecodeJSON(%q) = %v, want a 400", body, err)
			}
			return
		}
		var plain order
		if err := json.Unmarshal(body, &plain); err != nil || !reflect.DeepEqual(got, plain) {
			t.Errorf("DecodeJSON(%q) = %+v; encoding/json reads %+v, %v", body, got, plain, err)
		}
	})
}
