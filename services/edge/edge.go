// Package edge answers what a flag is, and tells everybody who listens when it
// changes.
//
//	log ─▶ follow ─▶ follower (lower, compile, swap) ─┬─▶ statsig, features, ofrep: one answer
//	                                                  ├─▶ live: what differs, pushed
//	                                                  └─▶ forwardproxy: whole bodies, pushed
//	                                        decisions ─▶ exposure ─▶ facts stream
//
// An answer comes from memory and needs nobody: while NATS is away the edge goes
// on as it was and marks its answers stale, and after a restart it serves what
// its disk has. It never answers from anything but a state that the log had.
package edge

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/errgroup"

	"github.com/sluice-flags/sluice/internal/auth"
	"github.com/sluice-flags/sluice/internal/bus"
	"github.com/sluice-flags/sluice/internal/bus/facts"
	"github.com/sluice-flags/sluice/internal/bus/pseudonym"
	"github.com/sluice-flags/sluice/internal/follow"
	"github.com/sluice-flags/sluice/internal/lookup"
	"github.com/sluice-flags/sluice/internal/web"
	"github.com/sluice-flags/sluice/pkg/eval"
	wire "github.com/sluice-flags/sluice/pkg/events/live"
	"github.com/sluice-flags/sluice/pkg/flags"
	"github.com/sluice-flags/sluice/services/edge/internal/access"
	"github.com/sluice-flags/sluice/services/edge/internal/exposure"
	"github.com/sluice-flags/sluice/services/edge/internal/features"
	"github.com/sluice-flags/sluice/services/edge/internal/follower"
	"github.com/sluice-flags/sluice/services/edge/internal/forwardproxy"
	"github.com/sluice-flags/sluice/services/edge/internal/live"
	"github.com/sluice-flags/sluice/services/edge/internal/ofrep"
	"github.com/sluice-flags/sluice/services/edge/internal/statsig"
)

// Deps are what the service works with. It closes none of them.
type Deps struct {
	Bus        *bus.Conn
	Followers  *follow.Set
	Country    eval.CountryLookup    // nil: rules see the country that users state
	Logger     *slog.Logger          // nil discards
	Registerer prometheus.Registerer // nil registers nothing
}

// Options of the service. The zero value works.
type Options struct {
	// MaxConnections bounds live connections: 50,000.
	MaxConnections int
	// Handshakes bounds new live connections a second: 500.
	Handshakes int
	// Spread is the time over which live clients come back after a restart: 30 s.
	Spread time.Duration
	// PublicURL is the address under which SDKs reach the edge, with the path that a
	// proxy takes away; empty for the one that their requests name.
	PublicURL string
	// MaxStreams bounds streams of rules over gRPC: 10,000.
	MaxStreams int
}

// A Service is the edge.
type Service struct {
	deps      Deps
	agents    *lookup.Agents
	resolver  *auth.Resolver
	rulesets  *follower.Rulesets
	hub       *live.Hub
	streams   *forwardproxy.Server
	statsig   *statsig.API
	features  *features.API
	ofrep     *ofrep.API
	publisher *facts.Publisher
	exposures *exposure.Recorder

	followed sync.Map // project → *follow.Follower, of those that were asked for
}

// New returns the service; it opens nothing before [Service.Run].
func New(d Deps, o Options) (*Service, error) {
	switch {
	case d.Bus == nil:
		return nil, errors.New("edge needs a bus")
	case d.Followers == nil:
		return nil, errors.New("edge needs the definitions of projects")
	}
	public, err := parsePublicURL(o.PublicURL)
	if err != nil {
		return nil, err
	}
	if d.Logger == nil {
		d.Logger = slog.New(slog.DiscardHandler)
	}
	s := &Service{deps: d, agents: lookup.NewAgents()}
	s.rulesets = follower.New(follower.Options{Country: d.Country, UserAgent: s.agents, Logger: d.Logger})
	s.resolver = auth.NewResolver(s.state, "edge", d.Registerer)
	s.publisher = facts.NewPublisher(d.Bus, facts.Options{Door: "edge", Logger: d.Logger, Registerer: d.Registerer})
	s.exposures = exposure.New(s.publisher, pseudonym.NewKeys(d.Bus), exposure.Options{
		Claims: facts.NewClaims(d.Bus, d.Logger), Logger: d.Logger, Registerer: d.Registerer,
	})

	gate := &access.Gatekeeper{
		Resolve: s.resolver.Request, Scope: s.rulesets.Scope, Stale: s.stale,
		Holder: s.resolver.Holder, PublicURL: public,
	}
	s.statsig = statsig.New(gate, s.exposures)
	s.features = features.New(gate, s.exposures, d.Registerer)
	s.ofrep = ofrep.New(
		ofrep.Deps{Gate: gate, Exposures: s.exposures, State: s.state},
		ofrep.Options{MaxStreams: o.MaxConnections, Spread: o.Spread, Logger: d.Logger, Registerer: d.Registerer})
	s.hub = live.New(
		live.Deps{Resolve: s.resolver.Request, Scope: s.rulesets.Scope, Stale: s.stale},
		live.Options{
			MaxConnections: o.MaxConnections, Handshakes: o.Handshakes, Spread: o.Spread,
			Logger: d.Logger, Registerer: d.Registerer,
		})
	s.streams = forwardproxy.New(
		forwardproxy.Deps{Resolve: s.resolver.Request, Scope: s.rulesets.Scope},
		forwardproxy.Options{MaxStreams: o.MaxStreams, Logger: d.Logger, Registerer: d.Registerer})
	d.Followers.Watch(s.changed)
	if d.Registerer != nil {
		d.Registerer.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "edge_state_age_seconds",
			Help: "Longest time for which a project's state could not be shown to be the newest.",
		}, s.age))
	}
	return s, nil
}

// Register puts the service's endpoints on mux.
func (s *Service) Register(mux *http.ServeMux) {
	s.statsig.Register(mux)
	s.features.Register(mux)
	s.ofrep.Register(mux)
	mux.Handle("GET /openapi/edge.yaml", web.Describe("edge.yaml"))
	for _, method := range []string{"GET ", "POST ", "OPTIONS "} {
		mux.Handle(method+wire.Path, s.hub)
	}
}

// Literally stands before the router that Register was given: routers lead from
// unclean paths to clean ones, and the path of a flag is its name.
func (s *Service) Literally(router http.Handler) http.Handler { return s.ofrep.Literally(router) }

// Goodbye tells live clients when to come back. Call it when the listener begins
// to drain (OnShutdown of the web server): a listener waits for requests to
// end, and event streams end with this. Run does it at the latest.
func (s *Service) Goodbye() {
	s.ofrep.Goodbye()
	s.hub.Goodbye()
}

// changed takes a change of a project's state.
func (s *Service) changed(_ string, before, after *flags.State, changed []flags.Ref) {
	s.rulesets.Changed(before, after, changed)
	s.hub.KeysChanged(after, changed)
	s.ofrep.KeysChanged(after, changed)
	s.streams.KeysChanged(after, changed)
}

// Run works until ctx is done. The listener in front of it should stop first;
// live clients are then told when to come back.
//
//	Run ─┬─ hub: pings, and says goodbye
//	     ├─ recorder: decisions → facts
//	     ├─ publisher: facts → stream
//	     └─ warm: compiles what the first request would wait for
func (s *Service) Run(ctx context.Context) error {
	defer s.rulesets.Close()
	defer s.ofrep.Goodbye()
	if s.deps.Country == nil {
		s.deps.Logger.InfoContext(ctx, "no country table: rules see only the country that users state")
	}
	// The publisher outlives the recorder, whose last facts it takes.
	publishing, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	var g errgroup.Group
	g.Go(func() error { return s.publisher.Run(publishing) })
	g.Go(func() error {
		defer stop()
		return s.exposures.Run(ctx)
	})
	g.Go(func() error { return s.hub.Run(ctx) })
	g.Go(s.agents.Warm)
	return g.Wait()
}

// Ready is nil when the service can answer, and otherwise says why it cannot. It
// can while NATS is away, from the states that it has.
func (s *Service) Ready() error {
	for _, f := range s.deps.Followers.All() {
		if f.State() != nil {
			return nil
		}
	}
	if err := s.deps.Bus.Status(); err != nil {
		return fmt.Errorf("no project is known yet: %w", err)
	}
	return nil
}

// state hands out what a project is now.
func (s *Service) state(ctx context.Context, project string) (*flags.State, error) {
	known, ok := s.followed.Load(project)
	if !ok {
		f, err := s.deps.Followers.Get(ctx, project)
		if err != nil {
			return nil, err
		}
		known, _ = s.followed.LoadOrStore(project, f)
	}
	return known.(*follow.Follower).State(), nil // never nil: what Get returns has one
}

// stale reports whether a project is cut off from its log.
func (s *Service) stale(project string) bool {
	f, ok := s.followed.Load(project)
	return ok && f.(*follow.Follower).Status().Phase != follow.Ready
}

// age is how long the project that is worst off has been cut off.
func (s *Service) age() float64 {
	worst := 0.0
	for _, f := range s.deps.Followers.All() {
		if status := f.Status(); status.Phase != follow.Ready {
			worst = max(worst, time.Since(status.Since).Seconds())
		}
	}
	return worst
}
