package statsig_test

import (
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"github.com/sluice-flags/sluice/internal/auth"
	"github.com/sluice-flags/sluice/internal/bus"
	"github.com/sluice-flags/sluice/internal/web"
	"github.com/sluice-flags/sluice/pkg/flags"
	"github.com/sluice-flags/sluice/services/edge/internal/access"
	"github.com/sluice-flags/sluice/services/edge/internal/edgetest"
	"github.com/sluice-flags/sluice/services/edge/internal/exposure"
	"github.com/sluice-flags/sluice/services/edge/internal/features"
	"github.com/sluice-flags/sluice/services/edge/internal/follower"
	"github.com/sluice-flags/sluice/services/edge/internal/statsig"
)

// world is the endpoints in front of a project in memory.
type world struct {
	*edgetest.Project
	handler http.Handler

	mu       sync.Mutex
	recorded []exposure.Decision
}

func (w *world) Record(d exposure.Decision) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.recorded = append(w.recorded, d)
}

func newWorld(t testing.TB, proxies web.Proxies) *world {
	t.Helper()
	w := &world{Project: edgetest.New(t, "shop")}
	rulesets := follower.New(follower.Options{})
	t.Cleanup(rulesets.Close)
	w.OnChange(rulesets.Changed)
	resolver := auth.NewResolver(func(_ context.Context, project string) (*flags.State, error) {
		if project != "shop" {
			return nil, bus.ErrUnknownProject
		}
		return w.State(), nil
	}, "test", nil)
	gate := &access.Gatekeeper{Resolve: resolver.Request, Scope: rulesets.Scope}
	mux := http.NewServeMux()
	statsig.New(gate, w).Register(mux)
	features.New(gate, w, nil).Register(mux)
	mux.Handle("/", web.Unmatched(mux))
	w.handler = web.Middleware(slog.New(slog.DiscardHandler), proxies.Handler(mux))
	return w
}

// a request, and an edit of it.
type edit func(*http.Request)

func header(name, value string) edit { return func(r *http.Request) { r.Header.Set(name, value) } }

func body(text string) edit {
	return func(r *http.Request) {
		r.Body, r.ContentLength = io.NopCloser(strings.NewReader(text)), int64(len(text))
	}
}

// query adds to the query.
func query(text string) edit {
	return func(r *http.Request) {
		if r.URL.RawQuery != "" {
			text = r.URL.RawQuery + "&" + text
		}
		r.URL.RawQuery = text
	}
}

// ask sends a request with a key in the header that SDKs use.
func (w *world) ask(method, target, key string, edits ...edit) *httptest.ResponseRecorder {
	r := httptest.NewRequest(method, target, nil)
	if key != "" {
		r.Header.Set("STATSIG-API-KEY", key)
	}
	for _, e := range edits {
		e(r)
	}
	answer := httptest.NewRecorder()
	w.handler.ServeHTTP(answer, r)
	return answer
}

// decode reads an answer that has to be a success.
func decode[T any](t *testing.T, a *httptest.ResponseRecorder) (out T) {
	t.Helper()
	if a.Code != http.StatusOK {
		t.Fatalf("answer = %d %s, want 200", a.Code, a.Body)
	}
	if err := json.Unmarshal(a.Body.Bytes(), &out); err != nil {
		t.Fatalf("answer %s: %v", a.Body, err)
	}
	return out
}
