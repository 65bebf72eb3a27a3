package ofrep

import (
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/sluice-flags/sluice/internal/auth"
	"github.com/sluice-flags/sluice/internal/bus"
	protocol "github.com/sluice-flags/sluice/internal/ofrep"
	"github.com/sluice-flags/sluice/internal/web"
	"github.com/sluice-flags/sluice/pkg/flags"
	"github.com/sluice-flags/sluice/services/edge/internal/access"
	"github.com/sluice-flags/sluice/services/edge/internal/edgetest"
	"github.com/sluice-flags/sluice/services/edge/internal/exposure"
	"github.com/sluice-flags/sluice/services/edge/internal/follower"
)

// A world is the protocol over projects that the test writes.
type world struct {
	*edgetest.Project
	t        testing.TB
	api      *API
	mux      *http.ServeMux
	rulesets *follower.Rulesets
	projects map[string]*edgetest.Project
	down     atomic.Bool // projects cannot be asked for

	mu       sync.Mutex
	recorded []exposure.Decision
}

func newWorld(t testing.TB, more ...string) *world {
	t.Helper()
	w := &world{t: t, mux: http.NewServeMux(), rulesets: follower.New(follower.Options{}), projects: map[string]*edgetest.Project{}}
	t.Cleanup(w.rulesets.Close)
	state := func(_ context.Context, project string) (*flags.State, error) {
		if w.down.Load() {
			return nil, http.ErrServerClosed
		}
		if p := w.projects[project]; p != nil {
			return p.State(), nil
		}
		return nil, bus.ErrUnknownProject
	}
	resolver := auth.NewResolver(state, "", nil)
	gate := &access.Gatekeeper{Resolve: resolver.Request, Scope: w.rulesets.Scope, Holder: resolver.Holder}
	w.api = New(Deps{Gate: gate, Exposures: w, State: state}, Options{})
	t.Cleanup(w.api.Goodbye)
	for _, name := range append([]string{"shop"}, more...) {
		p := edgetest.New(t, name)
		p.OnChange(w.rulesets.Changed)
		p.OnChange(func(_, after *flags.State, changed []flags.Ref) { w.api.KeysChanged(after, changed) })
		w.projects[name] = p
	}
	w.Project = w.projects["shop"]
	w.api.Register(w.mux)
	w.mux.Handle("/", web.Unmatched(w.mux))
	return w
}

// Record implements [Recorder].
func (w *world) Record(d exposure.Decision) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.recorded = append(w.recorded, d)
}

// ask sends a request with a key as bearer; headers are name, value pairs.
func (w *world) ask(method, path, key, body string, header ...string) *httptest.ResponseRecorder {
	w.t.Helper()
	r := httptest.NewRequest(method, path, strings.NewReader(body))
	r.Header.Set("Content-Type", "application/json")
	if key != "" {
		r.Header.Set("Authorization", "Bearer "+key)
	}
	for i := 0; i+1 < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	out := httptest.NewRecorder()
	w.api.Literally(w.mux).ServeHTTP(out, r)
	return out
}

func decode[T any](t testing.TB, res *httptest.ResponseRecorder) (v T) {
	t.Helper()
	if err := json.Unmarshal(res.Body.Bytes(), &v); err != nil {
		t.Fatalf("answer %d %s: %v", res.Code, res.Body, err)
	}
	return v
}

// context is the body of a request.
func contextOf(members string) string { return `{"context":{` + members + `}}` }

// one evaluates a flag and wants 200.
func (w *world) one(key, flag, members string) protocol.Evaluation {
	w.t.Helper()
	res := w.ask("POST", protocol.PathFlags+"/"+flag, key, contextOf(members))
	if res.Code != http.StatusOK {
		w.t.Fatalf("evaluating %s for {%s} answered %d %s; want 200", flag, members, res.Code, res.Body)
	}
	return decode[protocol.Evaluation](w.t, res)
}

// A bulkAnswer is a bulk with its flags apart.
type bulkAnswer struct {
	Flags        []protocol.Evaluation
	Metadata     protocol.SetMetadata
	EventStreams []protocol.EventStream
}

// all evaluates everything and wants 200.
func (w *world) all(key, members string, header ...string) (bulkAnswer, string) {
	w.t.Helper()
	res := w.ask("POST", protocol.PathFlags, key, contextOf(members), header...)
	if res.Code != http.StatusOK {
		w.t.Fatalf("evaluating everything for {%s} answered %d %s; want 200", members, res.Code, res.Body)
	}
	return decode[bulkAnswer](w.t, res), res.Header().Get("ETag")
}

// keys lists the keys of a set.
func (b bulkAnswer) keys() []string {
	out := []string{}
	for _, f := range b.Flags {
		out = append(out, f.Key)
	}
	return out
}
