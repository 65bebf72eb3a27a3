// Package ofrep serves OpenFeature clients over the remote evaluation protocol.
//
//	POST /ofrep/v1/evaluate/flags/{key}  one flag, for providers that ask per evaluation
//	POST /ofrep/v1/evaluate/flags        all flags of the key, for providers that keep them
//	GET  /ofrep/v1/stream?ticket=…       "ask again", as server-sent events
//
// It promises that a flag is worth the same here as at every other endpoint: one
// evaluator decides, and a flag alone and the same flag among all are made by
// the same code. A client that asks again gets 304 exactly while nothing that it
// would see differs, whatever else changed in the project or in its context. An
// event stream is never refused, and speaks only when something that its key
// sees has changed.
//
// A key of a flag is its name. Where kinds share one, gates come first, then
// experiments, configs and layers; kind:name is exact, and kind:name:parameter
// is one typed parameter of what answers with an object.
package ofrep

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"math"
	"math/rand/v2"
	"net/http"
	"path"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/sluice-flags/sluice/internal/auth"
	protocol "github.com/sluice-flags/sluice/internal/ofrep"
	"github.com/sluice-flags/sluice/internal/web"
	"github.com/sluice-flags/sluice/pkg/eval"
	"github.com/sluice-flags/sluice/pkg/flags"
	"github.com/sluice-flags/sluice/services/edge/internal/access"
	"github.com/sluice-flags/sluice/services/edge/internal/exposure"
	"github.com/sluice-flags/sluice/services/edge/internal/follower"
)

// sdk is how exposures of this protocol name their sender.
const sdk = "ofrep"

// A Recorder notes decisions; *exposure.Recorder has it.
type Recorder interface{ Record(exposure.Decision) }

// Deps are what the endpoints work with.
type Deps struct {
	Gate      *access.Gatekeeper
	Exposures Recorder // nil records nothing
	// State hands out what a project is now.
	State func(ctx context.Context, project string) (*flags.State, error)
}

// Options of the endpoints. The zero value works.
type Options struct {
	MaxStreams int           // event streams at once; more are let go at once; 50,000
	Spread     time.Duration // over which event streams end at a restart; at most 3 s, the default

	Logger     *slog.Logger
	Registerer prometheus.Registerer
}

// An API serves the protocol.
type API struct {
	gate      *access.Gatekeeper
	exposures Recorder
	public    public
	catalogs  sync.Map // *follower.Scope → *kept
	bulks     bulkCache
	room      chan struct{} // one token for each evaluation of a whole set
	streams   *hub
	logger    *slog.Logger
	metrics   *metrics
}

// New returns the protocol's endpoints.
func New(d Deps, o Options) *API {
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	a := &API{
		gate: d.Gate, exposures: d.Exposures, public: publicOf(d.Gate.PublicURL), logger: o.Logger,
		room:    make(chan struct{}, 2*runtime.GOMAXPROCS(0)),
		metrics: newMetrics(o.Registerer),
	}
	a.streams = newHub(a, d.State, o)
	return a
}

// pages is what clients in browsers send.
var pages = web.Pages{Headers: []string{"authorization", "content-type", "if-none-match", "x-api-key"}, Exposed: access.Exposed}

// Register mounts the endpoints.
func (a *API) Register(mux *http.ServeMux) {
	mux.Handle("POST "+protocol.PathFlags, pages.Allow(a.handle(a.bulk, "")))
	mux.Handle("POST "+protocol.PathFlags+"/{key...}", pages.Allow(a.handle(a.single, "key")))
	mux.Handle("GET "+protocol.PathStream, pages.Allow(http.HandlerFunc(a.streams.serve)))
	for _, at := range []string{protocol.PathFlags, protocol.PathFlags + "/{key...}", protocol.PathStream} {
		mux.Handle("OPTIONS "+at, pages.Preflight())
	}
}

// Literally stands before a router that leads callers from a path with empty or
// dotted steps to the one without: for a flag that would be another flag, and an
// answer that no client reads. Here what is asked for is what stands in the path,
// and there is no such flag.
func (a *API) Literally(next http.Handler) http.Handler {
	single := pages.Allow(a.handle(a.single, "key"))
	nowhere := web.Handle(func(http.ResponseWriter, *http.Request) error {
		return web.Errorf(web.CodeNotFound, "nothing is served at this path: take out its empty or dotted steps")
	})
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !strings.Contains(r.URL.Path, "//") && !strings.Contains(r.URL.Path, "/.") {
			next.ServeHTTP(w, r)
			return
		}
		stands := r.URL.EscapedPath()
		clean := path.Clean("/" + stands)
		if clean == strings.TrimSuffix(stands, "/") || !strings.HasPrefix(clean, "/ofrep/") {
			next.ServeHTTP(w, r)
			return
		}
		key, named := strings.CutPrefix(r.URL.Path, protocol.PathFlags+"/")
		if !named || r.Method != http.MethodPost {
			nowhere.ServeHTTP(w, r)
			return
		}
		r.SetPathValue("key", key)
		single.ServeHTTP(w, r)
	})
}

// Goodbye ends event streams, spread over a short time.
func (a *API) Goodbye() { a.streams.goodbye() }

// KeysChanged ends the hearing of streams whose key changed. The edge calls it
// with every change of a project's state.
func (a *API) KeysChanged(state *flags.State, changed []flags.Ref) {
	a.streams.keysChanged(state, changed)
}

// handle serves with f, whose errors become the protocol's. Key names the path's
// value that is a flag's key, which failures have to repeat.
func (a *API) handle(f web.HandlerFunc, key string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Cache-Control", "private, no-store")
		err := f(w, r)
		if err == nil {
			return
		}
		status, failure, wait := a.failure(r, err)
		if key != "" {
			name := r.PathValue(key)
			failure.Key = &name
		}
		if wait > 0 {
			h.Set("Retry-After", strconv.Itoa(int(math.Ceil(wait.Seconds())))) // at least 1: clients take 0 for none
		}
		h.Del("ETag")
		if err := web.Respond(w, status, failure); err != nil {
			a.logger.ErrorContext(r.Context(), "request not served", slog.Any("error", err))
		}
	}
}

// failure is the answer to a request that failed: status, body, and when to come
// back.
func (a *API) failure(r *http.Request, err error) (int, protocol.Failure, time.Duration) {
	if e, ok := errors.AsType[*protocol.Error](err); ok {
		status := http.StatusBadRequest
		if e.Code == protocol.FlagNotFound {
			status = http.StatusNotFound
		}
		return status, protocol.Failure{ErrorCode: e.Code, ErrorDetails: e.Details}, 0
	}
	if e, ok := errors.AsType[*web.Error](err); ok {
		details := cmp.Or(e.Message, "the request was refused")
		return e.Code.Status(), protocol.Failure{ErrorCode: protocol.General, ErrorDetails: details}, e.RetryAfter
	}
	a.logger.ErrorContext(r.Context(), "request not served", slog.Any("error", err))
	return http.StatusInternalServerError, protocol.Failure{ErrorCode: protocol.General, ErrorDetails: "the cause is in the server's log"}, 0
}

// A visit is a request that was let in, with everything that its answer depends
// on.
type visit struct {
	*access.Visit
	scope   *follower.Scope
	catalog *catalog
	user    eval.User
}

// enter lets a request in by either of the protocol's headers.
func (a *API) enter(w http.ResponseWriter, r *http.Request) (*visit, error) {
	entered, err := a.unlock(w, r)
	if err != nil {
		return nil, err
	}
	if entered.Key.Kind == flags.KeyClient && entered.State.Settings().OFREPServerKeysOnly {
		return nil, web.Errorf(web.CodeForbidden, "this project serves OpenFeature to server keys only")
	}
	return &visit{Visit: entered, scope: a.gate.Scope(entered.State, entered.Principal.Scope)}, nil
}

// unlock tries the keys that a request shows: both headers are of equal rank.
func (a *API) unlock(w http.ResponseWriter, r *http.Request) (*access.Visit, error) {
	keys := tokens(r)
	for _, key := range keys[:len(keys)-1] {
		v, err := a.gate.Enter(w, r, key)
		if e, ok := errors.AsType[*web.Error](err); !ok || e.Code != web.CodeUnauthenticated {
			return v, err
		}
	}
	return a.gate.Enter(w, r, keys[len(keys)-1])
}

// tokens are the keys that a request shows, at least one, which may be empty.
func tokens(r *http.Request) []string {
	out := []string{auth.Bearer(r), strings.TrimSpace(r.Header.Get("X-API-Key"))}
	out = slices.DeleteFunc(slices.Compact(out), func(token string) bool { return token == "" })
	if len(out) == 0 {
		return []string{""}
	}
	return out
}

// read reads whom the request is about, and binds it to the version of the rules
// that will decide.
func (v *visit) read(a *API, r *http.Request) error {
	c, err := protocol.ReadContext(r)
	if err != nil {
		return err
	}
	v.catalog = a.catalog(v.scope, v.Version, v.State, v.Key)
	names := protocol.Names{UnitType: v.catalog.unitType, Tiers: v.State.EnvironmentsOf(v.Key)}
	if v.user, err = c.User(names); err != nil {
		return err
	}
	v.Complete(&v.user)
	return nil
}

// flagSet names what the caller is served: project and environment.
func (v *visit) flagSet() string {
	environment := flags.EnvironmentOf(v.State.EnvironmentsOf(v.Key), v.user.StatsigEnvironment["tier"])
	return v.Project + "/" + environment
}

// jittered spreads those who come back.
func jittered() time.Duration { return time.Second + rand.N(4*time.Second) }
