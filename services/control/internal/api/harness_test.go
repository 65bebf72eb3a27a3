package api_test

import (
	"bytes"
	"context"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/sluice-flags/sluice/internal/auth"
	"github.com/sluice-flags/sluice/internal/bus"
	"github.com/sluice-flags/sluice/internal/warehouse"
	"github.com/sluice-flags/sluice/internal/web"
	"github.com/sluice-flags/sluice/pkg/events"
	"github.com/sluice-flags/sluice/pkg/events/memlog"
	"github.com/sluice-flags/sluice/pkg/flags"
	"github.com/sluice-flags/sluice/services/control/internal/api"
	"github.com/sluice-flags/sluice/services/control/internal/command"
	"github.com/sluice-flags/sluice/services/control/internal/project"
	"github.com/sluice-flags/sluice/services/control/internal/results"
)

// world is the interface over logs in memory, with one project and keys.
type world struct {
	t        testing.TB
	handler  http.Handler
	projects *project.Projects
	errors   *bytes.Buffer // what the server logged as its own fault

	mu   sync.Mutex
	logs map[string]*stubborn

	admin string // key of the organisation
	shop  string // console key of project shop
}

func newWorld(t testing.TB) *world {
	t.Helper()
	w := &world{t: t, logs: map[string]*stubborn{}, errors: new(bytes.Buffer)}
	w.projects = w.node()
	w.handler = w.serve(w.projects)
	if err := w.projects.Provision(t.Context(), bus.OrgProject); err != nil {
		t.Fatal(err)
	}
	w.admin = w.key(bus.OrgProject, flags.KeyConsole, "root")
	w.must(w.do("POST", "/api/v1/projects", w.admin, `{"name":"shop"}`), http.StatusCreated)
	w.shop = w.key("shop", flags.KeyConsole, "shop")
	return w
}

// node is another process that serves the same logs.
func (w *world) node() *project.Projects {
	return project.New(project.Source{
		Log: func(_ context.Context, id string) (events.Log, error) { return w.log(id) },
		Follower: func(_ context.Context, id string) (project.Follower, error) {
			log, err := w.log(id)
			if err != nil {
				return nil, err
			}
			return follow(w.t.Context(), id, log), nil
		},
		Provision: func(_ context.Context, id string) error {
			w.mu.Lock()
			defer w.mu.Unlock()
			if w.logs[id] == nil {
				w.logs[id] = &stubborn{Log: memlog.New("log-of-" + id)}
			}
			return nil
		},
	})
}

func (w *world) serve(projects *project.Projects) http.Handler {
	resolver := auth.NewResolver(func(ctx context.Context, id string) (*flags.State, error) {
		p, err := projects.Get(ctx, id)
		if err != nil {
			return nil, fmt.Errorf("%w: %w", bus.ErrUnknownProject, err)
		}
		return p.State(ctx)
	}, "test", nil)
	logger := slog.New(slog.NewTextHandler(&locked{w: w.errors}, &slog.HandlerOptions{Level: slog.LevelError}))
	return web.Middleware(logger, api.New(projects, resolver, results.NewGates(results.New(func() *warehouse.DB { return nil }), nil)))
}

// locked lets several requests log at once.
type locked struct {
	mu sync.Mutex
	w  io.Writer
}

func (l *locked) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.w.Write(p)
}

func (w *world) log(id string) (events.Log, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if log, ok := w.logs[id]; ok {
		return log, nil
	}
	return nil, project.ErrUnknown
}

// stubborn is a log that can be made to refuse what is appended, or to have
// something happen before.
type stubborn struct {
	events.Log
	refusal atomic.Pointer[error]
	before  atomic.Pointer[func()]
}

// Append implements [events.Log].
func (s *stubborn) Append(ctx context.Context, at events.Head, c events.Command) (events.Receipt, error) {
	if refusal := s.refusal.Load(); refusal != nil {
		return events.Receipt{}, *refusal
	}
	if do := s.before.Swap(nil); do != nil {
		(*do)()
	}
	return s.Log.Append(ctx, at, c)
}

// refuse makes a project's log answer appends with err; nil makes it good again.
func (w *world) refuse(id string, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if err == nil {
		w.logs[id].refusal.Store(nil)
		return
	}
	w.logs[id].refusal.Store(&err)
}

// before has do happen when the next append to a project's log is on its way.
func (w *world) before(id string, do func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.logs[id].before.Store(&do)
}

// key puts a key into a project behind the interface's back.
func (w *world) key(id string, kind flags.KeyKind, name string, scopes ...string) string {
	w.t.Helper()
	p, err := w.projects.Get(w.t.Context(), id)
	if err != nil {
		w.t.Fatal(err)
	}
	token, hash := auth.Generate(kind, id)
	key := &flags.Key{Name: name, Kind: kind, Hash: hex.EncodeToString(hash[:]), Scopes: scopes}
	if _, err := p.Do(w.t.Context(), project.Request{ID: "test-" + name, Command: command.Create{Doc: key}, Actor: events.Actor{Kind: "system", ID: "test"}}); err != nil {
		w.t.Fatal(err)
	}
	return token
}

// head is how long the log of a project is.
func (w *world) head(id string) uint64 {
	w.t.Helper()
	log, err := w.log(id)
	if err != nil {
		w.t.Fatal(err)
	}
	h, err := log.Head(w.t.Context())
	if err != nil {
		w.t.Fatal(err)
	}
	return h.Seq
}

// answer is what a request got.
type answer struct {
	status int
	header http.Header
	raw    []byte
	body   map[string]any
}

func (a answer) String() string { return fmt.Sprintf("%d %s", a.status, a.raw) }

func (a answer) code() string {
	code, _ := a.body["code"].(string)
	return code
}

// pointers are the places that a problem document names.
func (a answer) pointers() string {
	var out []string
	list, _ := a.body["errors"].([]any)
	for _, one := range list {
		out = append(out, fmt.Sprint(one.(map[string]any)["pointer"]))
	}
	return strings.Join(out, " ")
}

func (a answer) seq() uint64 {
	seq, _ := a.body["sequence"].(float64)
	return uint64(seq)
}

func (w *world) do(method, path, key, body string, header ...string) answer {
	return w.on(w.handler, method, path, key, body, header...)
}

func (w *world) on(handler http.Handler, method, path, key, body string, header ...string) answer {
	w.t.Helper()
	r := httptest.NewRequest(method, path, strings.NewReader(body))
	if key != "" {
		r.Header.Set("Authorization", "Bearer "+key)
	}
	if body != "" {
		r.Header.Set("Content-Type", "application/json")
	}
	for i := 0; i+1 < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	rec := httptest.NewRecorder()
	handler.ServeHTTP(rec, r)
	a := answer{status: rec.Code, header: rec.Header(), raw: rec.Body.Bytes()}
	if len(a.raw) > 0 && strings.Contains(rec.Header().Get("Content-Type"), "json") {
		if err := json.Unmarshal(a.raw, &a.body); err != nil {
			w.t.Errorf("%s %s answered what is no JSON object: %v: %s", method, path, err, a.raw)
		}
	}
	return a
}

func (w *world) must(a answer, status int) answer {
	w.t.Helper()
	if a.status != status {
		w.t.Fatalf("answer = %v, want status %d", a, status)
	}
	return a
}

// follower folds a log as it grows.
type follower struct {
	state atomic.Pointer[flags.State]
	mu    sync.Mutex
	grown chan struct{}
}

func follow(ctx context.Context, id string, log events.Log) *follower {
	f := &follower{grown: make(chan struct{})}
	boot, err := log.Boot(ctx)
	if err != nil {
		return f
	}
	state, err := events.Fold(id, boot)
	if err != nil {
		return f
	}
	f.state.Store(state)
	go func() { // ends with ctx
		for e, err := range log.Follow(ctx, boot.Head) {
			if err != nil {
				return
			}
			next, err := events.Apply(f.state.Load(), e)
			if err != nil {
				return
			}
			f.state.Store(next)
			f.mu.Lock()
			close(f.grown)
			f.grown = make(chan struct{})
			f.mu.Unlock()
		}
	}()
	return f
}

func (f *follower) State() *flags.State { return f.state.Load() }

func (f *follower) Wait(ctx context.Context, seq uint64) error {
	for {
		f.mu.Lock()
		grown := f.grown
		f.mu.Unlock()
		if f.state.Load().Seq() >= seq {
			return nil
		}
		select {
		case <-grown:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

const (
	flagsServer  = flags.KeyServer
	flagsClient  = flags.KeyClient
	flagsConsole = flags.KeyConsole
)
