package statsig_test

import (
	"bytes"
	"compress/gzip"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/andybalholm/brotli"
	"github.com/klauspost/compress/zstd"

	"github.com/sluice-flags/sluice/internal/auth"
	"github.com/sluice-flags/sluice/pkg/flags"
	"github.com/sluice-flags/sluice/services/edge/internal/edgetest"
)

// An endpoint, and a request of it that is answered.
type endpoint struct {
	method, path, body string
	rules              bool // shows rules: server keys only
	filed              bool // the path itself holds the key
}

var endpoints = []endpoint{
	{method: "GET", path: "/v1/download_config_specs", rules: true},
	{method: "GET", path: "/v2/download_config_specs", rules: true},
	{method: "GET", path: "/v1/download_config_specs/KEY.json", rules: true, filed: true},
	{method: "GET", path: "/v2/download_config_specs/KEY.json", rules: true, filed: true},
	{method: "POST", path: "/v1/initialize", body: `{"user":{"userID":"u1"}}`},
	{method: "POST", path: "/v1/check_gate", body: `{"gateName":"checkout","user":{"userID":"u1"}}`},
	{method: "POST", path: "/v1/get_config", body: `{"configName":"banner","user":{"userID":"u1"}}`},
	{method: "POST", path: "/v1/get_layer", body: `{"layerName":"page","user":{"userID":"u1"}}`},
	{method: "GET", path: "/features/gate/checkout?user_id=u1"},
	{method: "GET", path: "/features/config/banner?user_id=u1"},
}

func gzipped(text string) string {
	var out bytes.Buffer
	z := gzip.NewWriter(&out)
	_, _ = z.Write([]byte(text)) // to memory
	_ = z.Close()
	return out.String()
}

func brotlied(text string) string {
	var out bytes.Buffer
	z := brotli.NewWriter(&out)
	_, _ = z.Write([]byte(text)) // to memory
	_ = z.Close()
	return out.String()
}

func zstded(text string) string {
	z, _ := zstd.NewWriter(nil) // fails on options only
	defer z.Close()
	return string(z.EncodeAll([]byte(text), nil))
}

func reversed(text string) string {
	b := []byte(base64.StdEncoding.EncodeToString([]byte(text)))
	slices.Reverse(b)
	return string(b)
}

// badBodies are refused by every endpoint that reads a body.
var badBodies = []struct {
	name  string
	edits []edit
	want  int
}{
	{"nothing", []edit{body("")}, 400},
	{"blanks", []edit{body(" \n")}, 400},
	{"no JSON", []edit{body("hello")}, 400},
	{"half of it", []edit{body(`{"user":`)}, 400},
	{"an array", []edit{body(`[]`)}, 400},
	{"text", []edit{body(`"user"`)}, 400},
	{"a number", []edit{body(`1`)}, 400},
	{"something after the end", []edit{body(`{"user":{}} {}`)}, 400},
	{"a byte order mark", []edit{body("\xef\xbb\xbf{}")}, 400},
	{"broken UTF-8", []edit{body("{\"user\":{\"userID\":\"\xff\"}}")}, 400},
	{"NaN", []edit{body(`{"user":{"custom":{"n":NaN}}}`)}, 400},
	{"a number that no float holds", []edit{body(`{"user":{"custom":{"n":1e400}}}`)}, 400},
	{"nested 10,001 times", []edit{body(`{"user":{"custom":` + strings.Repeat("[", 10_001) + strings.Repeat("]", 10_001) + `}}`)}, 400},
	{"nested 10,001 times in members that nobody reads", []edit{body(`{"user":{},"x":` + strings.Repeat("[", 10_001) + strings.Repeat("]", 10_001) + `}`)}, 400},
	{"a million objects", []edit{body(`{"user":{},"x":[` + strings.Repeat("{},", 1_000_000) + `{}]}`)}, 413},
	{"a million objects, compressed", []edit{body(gzipped(`{"user":{},"x":[` + strings.Repeat("{},", 1_000_000) + `{}]}`)), header("Content-Encoding", "gzip")}, 413},
	{"more elements than anybody has", []edit{body(`{"user":{},"x":[` + strings.Repeat("0,", 20_000) + `0]}`)}, 400},
	{"a member twice", []edit{body(`{"user":{"userID":"a"},"user":{"userID":"b"}}`)}, 400},
	{"a member twice in another case", []edit{body(`{"user":{"userID":"a"},"User":{"userID":"b"}}`)}, 400},
	{"a member of the user twice", []edit{body(`{"user":{"userID":"a","userID":"b"}}`)}, 400},
	{"a user that is text", []edit{body(`{"user":"u1"}`)}, 400},
	{"a user that is a list", []edit{body(`{"user":["u1"]}`)}, 400},
	{"metadata that is text", []edit{body(`{"user":{},"statsigMetadata":"js"}`)}, 400},
	{"a long body", []edit{body(`{"user":{"userID":"` + strings.Repeat("x", 300<<10) + `"}}`)}, 413},
	{"a long text", []edit{body(`{"user":{"userID":"` + strings.Repeat("x", 100<<10) + `"}}`)}, 400},
	{"a length that is announced", []edit{body(`{}`), func(r *http.Request) { r.ContentLength = 1 << 40 }}, 413},
	{"a gigabyte of zeros", []edit{body(bomb()), header("Content-Encoding", "gzip")}, 413},
	{"a small bomb", []edit{body(gzipped(strings.Repeat("\x00", 100<<20))), header("Content-Encoding", "gzip")}, 413},
	{"a bomb that nobody declared", []edit{body(gzipped(strings.Repeat("\x00", 100<<20)))}, 413},
	{"a bomb in zstd", []edit{body(zstded(strings.Repeat("\x00", 100<<20))), header("Content-Encoding", "zstd")}, 413},
	{"a bomb in brotli", []edit{body(brotlied(strings.Repeat("\x00", 100<<20))), header("Content-Encoding", "br")}, 413},
	{"half a gzip", []edit{body(gzipped(`{"user":{}}`)[:15]), header("Content-Encoding", "gzip")}, 400},
	{"gzip that is none", []edit{body(`{"user":{}}`), header("Content-Encoding", "gzip")}, 400},
	{"gz=1 that is none", []edit{body(`{"user":{}}`), query("gz=1")}, 400},
	{"zstd that is none", []edit{body(`{"user":{}}`), header("Content-Encoding", "zstd")}, 400},
	{"brotli that is none", []edit{body("\xff\xff\xff\xff"), header("Content-Encoding", "br")}, 400},
	{"an encoding that nobody knows", []edit{body(`{"user":{}}`), header("Content-Encoding", "lzma")}, 415},
	{"two encodings", []edit{body(gzipped(gzipped(`{"user":{}}`))), header("Content-Encoding", "gzip, gzip")}, 415},
	{"se=1 that is none", []edit{body(`!!!`), query("se=1")}, 400},
	{"reversed base64 of no JSON", []edit{body(reversed("hello")), header("Statsig-Encoded", "1")}, 400},
}

// bomb is a gigabyte of zeros, as the wire has it: a thousand gzips of a megabyte
// behind one another are one gzip.
func bomb() string { return strings.Repeat(gzipped(strings.Repeat("\x00", 1<<20)), 1<<10) }

// refused fails the test unless the answer is a problem document of the status.
func refused(t *testing.T, what string, a *httptest.ResponseRecorder, want int) {
	t.Helper()
	if a.Code != want || a.Header().Get("Content-Type") != "application/problem+json" {
		t.Errorf("%s = %d %s %.200s, want %d and a problem document", what, a.Code, a.Header().Get("Content-Type"), a.Body, want)
	}
}

func TestEveryEndpointRefusesWhatIsWrong(t *testing.T) {
	w := newWorld(t, nil)
	w.Put(t, w.Gate("checkout", edgetest.Everyone()))
	w.Put(t, w.Config("banner", `{"text":"hi"}`))
	w.Put(t, &flags.Layer{Name: "page", UnitType: "userID", Parameters: json.RawMessage(`{"colour":"red"}`)})
	server, client, console := w.Key(t, flags.KeyServer), w.Key(t, flags.KeyClient), w.Key(t, flags.KeyConsole)
	elsewhere, _ := auth.Generate(flags.KeyServer, "nowhere")
	unknown, _ := auth.Generate(flags.KeyServer, "shop")
	bound := w.Key(t, flags.KeyClient, func(k *flags.Key) { k.Origins = []string{"https://shop.example"} })
	past := time.Now().Add(-time.Second)
	foreign := header("Origin", "https://evil.example")
	keys := []struct {
		name, key string
		edits     []edit
		want      int
		rules     int // where an endpoint shows rules, if that differs
	}{
		{name: "no key", want: 401},
		{name: "half a key", key: "secret-x", want: 401},
		{name: "a key that nobody made", key: unknown, want: 401},
		{name: "a key of no project", key: elsewhere, want: 401},
		{name: "a key with more behind it", key: server + "x", want: 401},
		{name: "an expired key", key: w.Key(t, flags.KeyServer, func(k *flags.Key) { k.ExpiresAt = &past }), want: 401},
		{name: "a revoked key", key: w.Key(t, flags.KeyServer, func(k *flags.Key) { k.Revoked = true }), want: 401},
		{name: "a console key", key: console, want: 403},
		{name: "a server key in a page", key: server, edits: []edit{foreign}, want: 403},
		{name: "a server key in the query", edits: []edit{query("k=" + server)}, want: 400},
		{name: "a server key in the query of a page", edits: []edit{query("k=" + server), foreign}, want: 403},
		{name: "a console key in the query", edits: []edit{query("k=" + console)}, want: 400},
		{name: "a client key in another's page", key: bound, edits: []edit{foreign}, want: 403},
		{name: "a client key", key: client, want: 200, rules: 403},
		{name: "a client key in its page", key: bound, edits: []edit{header("Origin", "https://shop.example")}, want: 200, rules: 403},
		{name: "a server key", key: server, want: 200},
	}
	asked := 0
	for _, e := range endpoints {
		t.Run(e.method+" "+e.path, func(t *testing.T) {
			send := func(method, key string, edits ...edit) *httptest.ResponseRecorder {
				// Each from its own address: nobody shall be told to wait.
				asked++
				edits = append([]edit{body(e.body), func(r *http.Request) { r.RemoteAddr = fmt.Sprintf("10.0.%d.%d:1", asked/250, asked%250) }}, edits...)
				path := strings.Replace(e.path, "KEY", key, 1)
				if e.filed {
					key = ""
				}
				return w.ask(method, path, key, edits...)
			}
			for _, k := range keys {
				want := k.want
				if e.rules && k.rules != 0 {
					want = k.rules
				}
				if strings.HasPrefix(e.path, "/features/") && strings.HasSuffix(k.name, " of a page") {
					want = 400 // no key is looked for there
				}
				if e.filed && strings.Contains(k.name, " in the query") {
					continue // the path has none then
				}
				if a := send(e.method, k.key, k.edits...); want == 200 {
					if a.Code != want {
						t.Errorf("%s = %d %s, want 200", k.name, a.Code, a.Body)
					}
				} else {
					refused(t, k.name, a, want)
				}
			}
			for _, method := range []string{"GET", "POST", "PUT", "PATCH", "DELETE", "TRACE"} {
				if method == e.method {
					continue
				}
				a := send(method, server)
				refused(t, method, a, http.StatusMethodNotAllowed)
				if allow := a.Header().Get("Allow"); !strings.Contains(allow, e.method) {
					t.Errorf("%s is answered with Allow: %s, want %s in it", method, allow, e.method)
				}
			}
			if e.body == "" {
				return
			}
			for _, b := range badBodies {
				refused(t, "a body that is "+b.name, send(e.method, client, b.edits...), b.want)
			}
		})
	}
}

// S-30 and S-31: what a body may cost that grows, or that holds nothing a million
// times. What is allocated in all bounds what is held at a time; zstd may look back
// over 8 MiB.
func TestABombCostsLittle(t *testing.T) {
	w := newWorld(t, nil)
	client := w.Key(t, flags.KeyClient)
	for _, b := range badBodies {
		if b.want != http.StatusRequestEntityTooLarge {
			continue
		}
		r := httptest.NewRequest("POST", "/v1/check_gate", nil)
		r.Header.Set("STATSIG-API-KEY", client)
		for _, e := range b.edits {
			e(r)
		}
		answer := httptest.NewRecorder()
		var before, after runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&before)
		w.handler.ServeHTTP(answer, r)
		runtime.ReadMemStats(&after)
		limit := uint64(10 << 20)
		if strings.Contains(b.name, "zstd") {
			limit += 8 << 20
		}
		if spent := after.TotalAlloc - before.TotalAlloc; answer.Code != b.want || spent > limit {
			t.Errorf("%s = %d after %d KiB; want %d within %d MiB in all", b.name, answer.Code, spent>>10, b.want, limit>>20)
		}
	}
}

func TestRequestsThatMakeNoSenseAreRefused(t *testing.T) {
	w := newWorld(t, nil)
	w.Put(t, w.Gate("checkout", edgetest.Everyone()))
	server := w.Key(t, flags.KeyServer)
	long := strings.Repeat("x", 101)
	for _, tt := range []struct {
		name, method, path, body string
		want                     int
	}{
		{"a file that is no key", "GET", "/v1/download_config_specs/specs", "", 404},
		{"a file of another format", "GET", "/v2/download_config_specs/" + server + ".yaml", "", 404},
		{"a file below a file", "GET", "/v1/download_config_specs/a/b.json", "", 404},
		{"no such version", "GET", "/v3/download_config_specs", "", 404},
		{"no gate", "POST", "/v1/check_gate", `{"user":{}}`, 400},
		{"no gates", "POST", "/v1/check_gate", `{"gateNames":[],"user":{}}`, 400},
		{"a gate of the wrong type", "POST", "/v1/check_gate", `{"gateName":1,"user":{}}`, 400},
		{"gates of the wrong type", "POST", "/v1/check_gate", `{"gateNames":"checkout","user":{}}`, 400},
		{"a gate that has no name", "POST", "/v1/check_gate", `{"gateNames":["checkout",""],"user":{}}`, 400},
		{"a gate with a long name", "POST", "/v1/check_gate", `{"gateName":"` + long + `","user":{}}`, 400},
		{"no user", "POST", "/v1/check_gate", `{"gateName":"checkout"}`, 400},
		{"a user that is null", "POST", "/v1/get_config", `{"configName":"checkout","user":null}`, 400},
		{"no config", "POST", "/v1/get_config", `{"user":{}}`, 400},
		{"no layer", "POST", "/v1/get_layer", `{"user":{}}`, 400},
		{"a layer that there is not", "POST", "/v1/get_layer", `{"layerName":"nothing","user":{}}`, 404},
		{"a hash that is a number", "POST", "/v1/initialize", `{"user":{},"hash":1}`, 400},
		{"no user of a feature", "GET", "/features/gate/checkout", "", 400},
		{"half a user of a feature", "GET", "/features/gate/checkout?user=%7B", "", 400},
		{"a user of a feature that is a list", "GET", "/features/gate/checkout?user=%5B%5D", "", 400},
		{"two users of a feature", "GET", "/features/gate/checkout?user_id=a&user=%7B%22userID%22%3A%22b%22%7D", "", 400},
		{"a key in the URL of a feature", "GET", "/features/gate/checkout?user_id=a&anything=" + server, "", 400},
		{"a name that is none", "GET", "/features/gate/a%2Fb?user_id=a", "", 400},
		{"a name with a line break", "GET", "/features/config/a%0Ab?user_id=a", "", 400},
		{"an exposure that is neither", "GET", "/features/gate/checkout?user_id=a&exposure=maybe", "", 400},
		{"a query that cannot be read", "GET", "/features/gate/checkout?user_id=%zz", "", 400},
		{"a feature of another kind", "GET", "/features/layer/checkout?user_id=a", "", 404},
	} {
		t.Run(tt.name, func(t *testing.T) {
			refused(t, tt.method+" "+tt.path, w.ask(tt.method, tt.path, server, body(tt.body)), tt.want)
		})
	}
}

func TestStrangeNamesOfAttributesAreData(t *testing.T) {
	w := newWorld(t, nil)
	rule := edgetest.Everyone()
	rule.Conditions = []flags.Condition{{Type: "custom_field", Field: "__proto__", Operator: "any", TargetValue: []byte(`["yes"]`)}}
	w.Put(t, w.Gate("checkout", rule))
	key := w.Key(t, flags.KeyClient)
	for user, want := range map[string]bool{
		`{"custom":{"__proto__":"yes","constructor":{"prototype":1},"toString":null,"hasOwnProperty":true,"":"empty"}}`: true,
		`{"custom":{"__proto__":"no"},"__proto__":"yes"}`:                                                               false,
		`{"custom":{"On":1,"on":2,"ON":3}}`:                                                                             false,
		`{"customIDs":{"__proto__":"yes"}}`:                                                                             false,
	} {
		got := decode[struct{ Value bool }](t, w.ask("POST", "/v1/check_gate", key, body(`{"gateName":"checkout","user":`+user+`}`)))
		if got.Value != want {
			t.Errorf("check_gate for %s = %v, want %v", user, got.Value, want)
		}
		if a := w.ask("POST", "/v1/initialize", key, body(`{"user":`+user+`}`)); a.Code != 200 {
			t.Errorf("initialize for %s = %d %s, want 200", user, a.Code, a.Body)
		}
	}
}

// FuzzRequests throws requests at every endpoint: whatever comes is answered,
// as a success or a refusal and never as a failure of ours, in JSON.
func FuzzRequests(f *testing.F) {
	w := newWorld(f, nil)
	w.Put(f, w.Gate("checkout", edgetest.Only("u1")))
	w.Put(f, w.Config("banner", `{"text":"hi"}`))
	server, client := w.Key(f, flags.KeyServer), w.Key(f, flags.KeyClient)
	for i, e := range endpoints {
		f.Add(i, i%2 == 0, "", "gzip", e.body)
	}
	for i, b := range badBodies {
		r := httptest.NewRequest("POST", "/", nil)
		for _, e := range b.edits {
			e(r)
		}
		text, err := io.ReadAll(r.Body)
		if err == nil && len(text) < 1<<12 {
			f.Add(i, true, r.URL.RawQuery, r.Header.Get("Content-Encoding"), string(text))
		}
	}
	f.Add(8, true, "user=%7B%22userID%22%3A1%7D", "br;q=0", "")
	f.Add(0, false, "sinceTime=99999999999999999999", "*;q=nan, identity", "")
	f.Fuzz(func(t *testing.T, which int, asServer bool, rawQuery, encoding, text string) {
		e := endpoints[uint(which)%uint(len(endpoints))]
		key := client
		if asServer {
			key = server
		}
		r, err := http.NewRequest(e.method, "http://edge"+strings.Replace(e.path, "KEY", key, 1), strings.NewReader(text))
		if err != nil {
			t.Skip("the fuzzer made no request of this")
		}
		query(strings.ToValidUTF8(rawQuery, ""))(r)
		r.Header.Set("STATSIG-API-KEY", key)
		r.Header.Set("Content-Encoding", encoding)
		r.Header.Set("Accept-Encoding", encoding)
		r.Header.Set("If-None-Match", rawQuery)
		a := httptest.NewRecorder()
		w.handler.ServeHTTP(a, r)
		if a.Code >= 500 {
			t.Errorf("%s %s with %q = %d %s", e.method, r.URL, text, a.Code, a.Body)
		}
		if kind := a.Header().Get("Content-Type"); a.Code != http.StatusNotModified && kind != "application/json" && kind != "application/problem+json" {
			t.Errorf("%s %s with %q answered %d with %q", e.method, r.URL, text, a.Code, kind)
		}
	})
}
