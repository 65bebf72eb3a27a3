package statsig

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/hex"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/sluice-flags/sluice/internal/auth"
	"github.com/sluice-flags/sluice/internal/bus"
	"github.com/sluice-flags/sluice/internal/web"
	"github.com/sluice-flags/sluice/pkg/flags"
	"github.com/sluice-flags/sluice/services/ingest/internal/body"
	"github.com/sluice-flags/sluice/services/ingest/internal/intake"
)

// taker takes every delivery that an SDK's key may send.
type taker struct{ entries int }

func (a *taker) Accept(_ context.Context, who auth.Principal, d intake.Delivery) (intake.Receipt, error) {
	if who.Key.Kind == flags.KeyConsole {
		return intake.Receipt{}, web.Errorf(web.CodeForbidden, "not with this key")
	}
	a.entries += len(d.Entries)
	return intake.Receipt{Facts: len(d.Entries)}, nil
}

func gzipped(text string) string {
	var out bytes.Buffer
	z := gzip.NewWriter(&out)
	_, _ = z.Write([]byte(text)) // to memory
	_ = z.Close()
	return out.String()
}

// keyed is a project with a key of each kind.
func keyed(t testing.TB) (states auth.States, key func(kind flags.KeyKind, edit ...func(*flags.Key)) string) {
	t.Helper()
	state := flags.NewState("shop")
	states = func(_ context.Context, project string) (*flags.State, error) {
		if project != "shop" {
			return nil, bus.ErrUnknownProject
		}
		return state, nil
	}
	return states, func(kind flags.KeyKind, edit ...func(*flags.Key)) string {
		token, hash := auth.Generate(kind, "shop")
		k := &flags.Key{ID: fmt.Sprintf("key_%d", state.Seq()), Name: fmt.Sprint(state.Seq()), Kind: kind, Hash: hex.EncodeToString(hash[:])}
		for _, f := range edit {
			f(k)
		}
		state = state.Put(flags.Entity{Ref: k.Ref(), Name: k.Name, Doc: k, Version: 1, Seq: state.Seq() + 1})
		state = state.With(flags.Position{LogID: "log", Seq: state.Seq() + 1, Time: time.Now().UnixMilli()})
		return token
	}
}

func TestEveryEndpointRefusesWhatIsWrong(t *testing.T) {
	states, key := keyed(t)
	server, client, console := key(flags.KeyServer), key(flags.KeyClient), key(flags.KeyConsole)
	past := time.Now().Add(-time.Second)
	expired := key(flags.KeyClient, func(k *flags.Key) { k.ExpiresAt = &past })
	revoked := key(flags.KeyClient, func(k *flags.Key) { k.Revoked = true })
	bound := key(flags.KeyClient, func(k *flags.Key) { k.Origins = []string{"https://shop.example"} })
	unknown, _ := auth.Generate(flags.KeyClient, "shop")
	elsewhere, _ := auth.Generate(flags.KeyClient, "nowhere")

	accepted := new(taker)
	mux := http.NewServeMux()
	New(auth.NewResolver(states, "test", nil), accepted, body.NewReader(), nil).Register(mux)
	mux.Handle("/", web.Unmatched(mux))
	handler := web.Middleware(slog.New(slog.DiscardHandler), mux)

	const zeros = 100 << 20
	const good = `{"events":[{"eventName":"e","user":{"userID":"u"},"time":1790000000000}],"exposures":[{"user":{"userID":"u"},"gateName":"g","passes":true}]}`
	asked := 0
	ask := func(method, path, key, text string, headers ...string) *httptest.ResponseRecorder {
		r := httptest.NewRequest(method, path, strings.NewReader(text))
		asked++
		r.RemoteAddr = fmt.Sprintf("10.0.%d.%d:1", asked/250, asked%250) // nobody shall be told to wait
		if key != "" {
			r.Header.Set("STATSIG-API-KEY", key)
		}
		for i := 0; i < len(headers); i += 2 {
			r.Header.Set(headers[i], headers[i+1])
		}
		w := httptest.NewRecorder()
		handler.ServeHTTP(w, r)
		return w
	}
	for _, path := range []string{"/v1/log_event", "/v1/rgstr", "/v1/log_event_beacon", "/v1/log_custom_exposure"} {
		t.Run(path, func(t *testing.T) {
			for _, tt := range []struct {
				name, method, query, key, body string
				headers                        []string
				want                           int
			}{
				{name: "a server key", key: server, want: 202},
				{name: "a client key", key: client, want: 202},
				{name: "a client key in the query", query: "?k=" + client, want: 202},
				{name: "a client key in its page", key: bound, headers: []string{"Origin", "https://shop.example"}, want: 202},
				{name: "gzip that nobody declared", key: client, body: gzipped(good), want: 202},
				{name: "no key", want: 401},
				{name: "half a key", key: "client-shop", want: 401},
				{name: "a key that nobody made", key: unknown, want: 401},
				{name: "a key of no project", key: elsewhere, want: 401},
				{name: "an expired key", key: expired, want: 401},
				{name: "a revoked key", key: revoked, want: 401},
				{name: "a console key", key: console, want: 403},
				{name: "a server key in a page", key: server, headers: []string{"Origin", "https://shop.example"}, want: 403},
				{name: "a client key in another's page", key: bound, headers: []string{"Origin", "https://evil.example"}, want: 403},
				{name: "another method", method: "PUT", key: client, want: 405},
				{name: "asking for it", method: "GET", key: client, want: 405},
				{name: "no JSON", key: client, body: "hello", want: 400},
				{name: "half of it", key: client, body: good[:40], want: 400},
				{name: "an array", key: client, body: "[]", want: 400},
				{name: "no list", key: client, body: "{}", want: 400},
				{name: "a list that is text", key: client, body: `{"events":"all","exposures":"all"}`, want: 400},
				{name: "something after the end", key: client, body: good + "x", want: 400},
				{name: "a byte order mark", key: client, body: "\xef\xbb\xbf" + good, want: 400},
				{name: "broken UTF-8", key: client, body: strings.Replace(good, `"u"`, "\"\xff\"", 1), want: 400},
				{name: "NaN", key: client, body: `{"events":[{"eventName":"e","value":NaN}],"exposures":[NaN]}`, want: 400},
				{name: "nested 10,001 times", key: client, body: `{"x":` + strings.Repeat("[", 10_001) + strings.Repeat("]", 10_001) + `}`, want: 400},
				{name: "too long", key: client, body: `{"x":"` + strings.Repeat("x", 2<<20) + `"}`, want: 413},
				{name: "a bomb", key: client, body: gzipped(strings.Repeat("\x00", zeros)), headers: []string{"Content-Encoding", "gzip"}, want: 413},
				{name: "half a gzip", key: client, body: gzipped(good)[:20], headers: []string{"Content-Encoding", "gzip"}, want: 400},
				{name: "gzip that is none", key: client, headers: []string{"Content-Encoding", "gzip"}, want: 400},
				{name: "gz=1 that is none", key: client, query: "?gz=1", want: 400},
				{name: "se=1 that is none", key: client, query: "?se=1", body: "!!", want: 400},
				{name: "an encoding that nobody knows", key: client, headers: []string{"Content-Encoding", "lzma"}, want: 415},
			} {
				if tt.method == "" {
					tt.method = "POST"
				}
				if tt.body == "" {
					tt.body = good
				}
				before := accepted.entries
				w := ask(tt.method, path+tt.query, tt.key, tt.body, tt.headers...)
				kind := "application/problem+json"
				if tt.want == 202 {
					kind = "application/json"
				}
				if w.Code != tt.want || w.Header().Get("Content-Type") != kind {
					t.Errorf("%s = %d %s %.200s, want %d with %s", tt.name, w.Code, w.Header().Get("Content-Type"), w.Body, tt.want, kind)
				}
				if tt.want == 202 && (accepted.entries != before+1 || strings.TrimSpace(w.Body.String()) != `{"success":true}`) {
					t.Errorf("%s: %d entries were taken and %s answered; want one and success", tt.name, accepted.entries-before, w.Body)
				}
				if tt.want != 202 && accepted.entries != before {
					t.Errorf("%s: entries of a refused request were taken", tt.name)
				}
			}
		})
	}
	for _, text := range []string{"", "hello", good, gzipped(strings.Repeat("\x00", zeros)), "\xff"} {
		w := ask("POST", "/v1/sdk_exception", "", text)
		if w.Code != 202 || strings.TrimSpace(w.Body.String()) != `{"success":true}` {
			t.Errorf("sdk_exception with %.20q = %d %s, want 202 with success", text, w.Code, w.Body)
		}
	}
}

func TestWhatSDKsSayOfThemselvesIsTakenAndNotStored(t *testing.T) {
	states, key := keyed(t)
	accepted := new(taker)
	mux := http.NewServeMux()
	New(auth.NewResolver(states, "test", nil), accepted, body.NewReader(), nil).Register(mux)
	body := `{"events":[
		{"eventName":"statsig::diagnostics","user":null,"value":null,"metadata":{"context":"initialize","markers":[{"key":"overall"}]}},
		{"eventName":"statsig::diagnostics","user":{},"metadata":{"context":"initialize","markers":"[{\"key\":\"overall\"}]"}},
		{"eventName":"statsig::non_exposed_checks","user":null,"metadata":{"checks":{"a":3}}},
		{"eventName":"statsig::log_line","metadata":{"status":"info"}}]}`
	r := httptest.NewRequest("POST", "/v1/log_event", strings.NewReader(body))
	r.Header.Set("STATSIG-API-KEY", key(flags.KeyServer))
	w := httptest.NewRecorder()
	mux.ServeHTTP(w, r)
	if w.Code != 202 || accepted.entries != 0 {
		t.Errorf("events of an SDK about itself = %d %s with %d entries, want 202 and none", w.Code, w.Body, accepted.entries)
	}
}
