// Package control is the write side of Sluice and the interface of the people
// who use it: definitions are created, changed, looked up in any past state and
// accounted for here.
//
// A control process holds nothing that a log does not: any number can run side
// by side, and compare-and-set on the log keeps them honest. What it has
// answered with success is on the disk.
package control

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"iter"
	"log/slog"
	"net/http"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/sluice-flags/sluice/internal/auth"
	"github.com/sluice-flags/sluice/internal/bus"
	"github.com/sluice-flags/sluice/internal/bus/natslog"
	"github.com/sluice-flags/sluice/internal/follow"
	"github.com/sluice-flags/sluice/internal/lifecycle"
	"github.com/sluice-flags/sluice/internal/warehouse"
	"github.com/sluice-flags/sluice/pkg/events"
	"github.com/sluice-flags/sluice/pkg/flags"
	"github.com/sluice-flags/sluice/services/control/internal/api"
	"github.com/sluice-flags/sluice/services/control/internal/command"
	"github.com/sluice-flags/sluice/services/control/internal/erasure"
	"github.com/sluice-flags/sluice/services/control/internal/project"
	"github.com/sluice-flags/sluice/services/control/internal/results"
)

// Deps is what the service stands on. Bus and Followers are required.
type Deps struct {
	Bus        *bus.Conn
	Followers  *follow.Set
	Warehouse  func() *warehouse.DB  // returns nil while there is none; nil: there never is
	Logger     *slog.Logger          // nil discards
	Registerer prometheus.Registerer // nil registers nothing
}

// Options adjust the service. The zero value works.
type Options struct {
	// HeadDir is a folder where the head of each log is kept outside the bus, so
	// that a bus that lost data is noticed. Empty: the bus keeps its own record.
	HeadDir string
	// Limits are the settings of streams for new projects.
	Limits bus.Limits
	// FixedProjects refuses to make projects: their streams are made by somebody
	// with other credentials.
	FixedProjects bool
	// Settle is how long after a unit's erasure was asked for facts may reach the
	// stream that were received before: 15 s.
	Settle time.Duration
}

// A Service is the control service.
type Service struct {
	deps     Deps
	opts     Options
	projects *project.Projects
	health   *bus.Health
	results  *results.Gates
	erasures *erasure.Service
	api      *api.API
}

// New returns the service. It opens nothing yet.
func New(deps Deps, opts Options) (*Service, error) {
	if deps.Bus == nil || deps.Followers == nil {
		return nil, errors.New("control needs a bus and followers")
	}
	if deps.Logger == nil {
		deps.Logger = slog.New(slog.DiscardHandler)
	}
	if deps.Warehouse == nil {
		deps.Warehouse = func() *warehouse.DB { return nil }
	}
	s := &Service{deps: deps, opts: opts}
	s.projects = project.New(project.Source{Log: s.openLog, Follower: s.follower, Provision: s.provision})
	s.health = bus.NewHealth(deps.Bus, bus.HealthOptions{
		Door: "control", Streams: []string{bus.FlagsStreams, bus.HeadsStream}, Registerer: deps.Registerer,
	})
	measured := results.New(deps.Warehouse)
	measured.Share(s.claim)
	s.results = results.NewGates(measured, s.versions)
	s.api = api.New(s.projects, auth.NewResolver(s.state, "control", deps.Registerer), s.results)
	s.erasures = erasure.New(deps.Bus, deps.Warehouse, erasure.Options{Settle: opts.Settle, Logger: deps.Logger})
	s.api.Erase(s.erasures)
	return s, nil
}

// Register puts the service's routes on mux.
func (s *Service) Register(mux *http.ServeMux) { mux.Handle(api.Prefix, s.api) }

// mirrorEvery is how far the warehouse's copy of the definitions may be behind.
const mirrorEvery = time.Second

// Run keeps the organisation's state at hand, for its keys open every door, and
// keeps the warehouse's copy of experiments and metrics current, for those who
// ask it in SQL. What could not be dropped there while it was away it drops when it
// is back. It ends with ctx.
func (s *Service) Run(ctx context.Context) error {
	var work sync.WaitGroup
	defer work.Wait()
	work.Go(func() { s.erase(ctx) })
	work.Go(func() { _ = s.health.Run(ctx) }) // ends with ctx, and never otherwise
	work.Go(func() { s.refresh(ctx) })
	tick := time.NewTicker(mirrorEvery)
	defer tick.Stop()
	for {
		if err := s.mirror(ctx); err != nil && ctx.Err() == nil {
			s.deps.Logger.DebugContext(ctx, "definitions not mirrored", slog.Any("error", err))
		}
		if err := s.results.DropLeftovers(ctx); err != nil && ctx.Err() == nil {
			s.deps.Logger.DebugContext(ctx, "leftovers of rollups not dropped", slog.Any("error", err))
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

// mirror brings the definitions of all projects to the warehouse. What is there
// already costs a comparison.
func (s *Service) mirror(ctx context.Context) error {
	return s.eachProject(ctx, s.results.Mirror)
}

// eachProject does something with the state of every project, once there is a
// warehouse.
func (s *Service) eachProject(ctx context.Context, do func(context.Context, *flags.State) error) error {
	org, err := s.state(ctx, bus.OrgProject)
	if err != nil || s.deps.Warehouse() == nil {
		return err
	}
	var errs []error
	for e := range org.All(flags.KindProject) {
		state, err := s.state(ctx, e.Name)
		if err == nil {
			err = do(ctx, state)
		}
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// refreshEvery is how often it is looked whether facts have come that analysts
// do not see yet.
const refreshEvery = 5 * time.Second

// refresh keeps what analysts see of experiments current until ctx is done.
func (s *Service) refresh(ctx context.Context) {
	for lifecycle.Sleep(ctx, refreshEvery); ctx.Err() == nil; lifecycle.Sleep(ctx, refreshEvery) {
		err := s.eachProject(ctx, s.results.Refresh)
		if err != nil && ctx.Err() == nil {
			s.deps.Logger.DebugContext(ctx, "results not refreshed", slog.Any("error", err))
		}
	}
}

// claim takes a piece of work for this process. Where the broker cannot say, the
// work is done: twice is dearer, and no less right.
func (s *Service) claim(ctx context.Context, work string, lasting time.Duration) (release func(), ok bool) {
	giveBack, err := s.deps.Bus.Claim(ctx, work, lasting)
	switch {
	case errors.Is(err, bus.ErrClaimed):
		return nil, false
	case err != nil:
		return func() {}, true
	}
	return func() { giveBack(ctx) }, true
}

// Ready is nil when the service can answer and what it is told to change is
// stored, and otherwise says why not. It answers readers all the same while
// nothing is stored.
func (s *Service) Ready() error {
	for _, f := range s.deps.Followers.All() {
		if f.Project() == bus.OrgProject && f.State() != nil {
			return s.health.Stores()
		}
	}
	return errors.New("the organisation's log has not been read yet")
}

// NewAdminKey makes a key of the organisation, for [Service.EnsureAdmin].
func NewAdminKey() string {
	token, _ := auth.Generate(flags.KeyConsole, bus.OrgProject)
	return token
}

// EnsureAdmin sees to it that somebody can come in. With a token, its key is let
// in from now on. Without one, the first call of an installation makes a key and
// returns it, the only time that it is shown; later calls return "".
func (s *Service) EnsureAdmin(ctx context.Context, token string) (made string, err error) {
	if err := s.provision(ctx, bus.OrgProject); err != nil {
		return "", fmt.Errorf("making the organisation's log: %w", err)
	}
	org, err := s.projects.Get(ctx, bus.OrgProject)
	if err != nil {
		return "", err
	}
	admit := command.Admit{OnlyFirst: token == ""}
	name, hash := "admin", auth.Hash(token)
	if token == "" {
		made, hash = auth.Generate(flags.KeyConsole, bus.OrgProject)
		token = made
	} else {
		parsed, err := auth.Parse(token)
		if err != nil || parsed.Project != bus.OrgProject || parsed.Kind != flags.KeyConsole {
			return "", errors.New("the admin key is not one of the organisation: it looks like console-_org-<52 characters>")
		}
		name = "admin " + hex.EncodeToString(hash[:4])
	}
	admit.Key = &flags.Key{Name: name, Kind: flags.KeyConsole, Hash: hex.EncodeToString(hash[:]), Hint: auth.Hint(token)}
	out, err := org.Do(ctx, project.Request{
		ID: flags.NewID("cmd_"), Actor: events.Actor{Kind: "system", ID: "control"}, Cause: "start", Command: admit,
	})
	if err != nil {
		return "", fmt.Errorf("making the organisation's key: %w", err)
	}
	if out.Decision.Noop() {
		return "", nil
	}
	return made, nil
}

// openLog opens a project's log for writing.
func (s *Service) openLog(ctx context.Context, id string) (events.Log, error) {
	log, err := natslog.Open(ctx, s.deps.Bus, id, natslog.Options{
		HeadDir: s.opts.HeadDir, Logger: s.deps.Logger, Registerer: s.deps.Registerer,
	})
	return log, known(err)
}

// versions yields what each change made of an entity.
func (s *Service) versions(ctx context.Context, id string, ref flags.Ref) iter.Seq2[flags.Entity, error] {
	return func(yield func(flags.Entity, error) bool) {
		p, err := s.projects.Get(ctx, id)
		if err != nil {
			yield(flags.Entity{}, err)
			return
		}
		p.Versions(ctx, ref)(yield)
	}
}

func (s *Service) follower(ctx context.Context, id string) (project.Follower, error) {
	f, err := s.deps.Followers.Get(ctx, id)
	if err != nil {
		return nil, known(err)
	}
	return f, nil
}

// known adds our word for a project that is not there to the bus's, which those
// who look up keys know.
func known(err error) error {
	if errors.Is(err, bus.ErrUnknownProject) {
		return fmt.Errorf("%w: %w", project.ErrUnknown, err)
	}
	return err
}

// provision makes the log of a new project.
func (s *Service) provision(ctx context.Context, id string) error {
	if s.opts.FixedProjects {
		if _, err := s.deps.Followers.Get(ctx, id); err != nil {
			return fmt.Errorf("the log of %s has to be made by an operator first: %w", id, err)
		}
		return nil
	}
	if _, err := bus.EnsureProject(ctx, s.deps.Bus, id, s.opts.Limits); err != nil {
		return fmt.Errorf("%w: %w", events.ErrUnavailable, err)
	}
	s.deps.Followers.Expect(id)
	return nil
}

// state is what keys are looked up in: what was written here counts at once.
func (s *Service) state(ctx context.Context, id string) (*flags.State, error) {
	p, err := s.projects.Get(ctx, id)
	if err != nil {
		return nil, err
	}
	return p.State(ctx)
}
