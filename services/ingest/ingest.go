// Package ingest accepts what happened and loads it into ClickHouse, once.
//
//	SDK ─────▶ statsig ─┬▶ intake ─▶ facts stream ─▶ 202
//	program ─▶ native ──┘               └─▶ loader ─▶ ClickHouse
//
// A fact is acknowledged when the stream has it on disk. From there on it is
// counted exactly once, whatever crashes; while ClickHouse is away it waits.
// The service keeps nothing of its own, so any number of it can run.
package ingest

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
	"github.com/sluice-flags/sluice/internal/lifecycle"
	"github.com/sluice-flags/sluice/internal/warehouse"
	"github.com/sluice-flags/sluice/internal/web"
	"github.com/sluice-flags/sluice/services/ingest/internal/body"
	"github.com/sluice-flags/sluice/services/ingest/internal/intake"
	"github.com/sluice-flags/sluice/services/ingest/internal/loader"
	"github.com/sluice-flags/sluice/services/ingest/internal/native"
	"github.com/sluice-flags/sluice/services/ingest/internal/statsig"
)

// Deps are what the service works with. It closes none of them.
type Deps struct {
	Bus       *bus.Conn
	Followers *follow.Set
	// Warehouse returns the database, migrated, or nil while there is none yet.
	Warehouse  func() *warehouse.DB
	Logger     *slog.Logger
	Registerer prometheus.Registerer
}

// Options of the service. The zero value works.
type Options struct {
	// Limits of the streams, where they have to be made; its window holds for the
	// service itself, too.
	Limits bus.Limits
	// Partitions over which facts spread, and loaders: 1. It may be raised later
	// and must not be lowered, or what lies in the others is not loaded.
	Partitions int
	// LoadLinger is how long a batch for ClickHouse gathers: 250 ms.
	LoadLinger time.Duration
	// Replay is for how long facts stay in their stream after they were loaded,
	// however full it is: 15 minutes. Negative: none leaves before its age.
	Replay time.Duration
	// AcceptOnly leaves loading to other processes.
	AcceptOnly bool
}

// A Service is ingest.
type Service struct {
	bus       *bus.Conn
	options   Options
	logger    *slog.Logger
	publisher *facts.Publisher
	health    *bus.Health
	share     *facts.Share
	loaders   []*loader.Loader
	room      *facts.Room // nil: facts stay for their age
	doubles   *loader.Doubles
	statsig   *statsig.API
	native    *native.API
}

// New returns the service; it opens nothing before [Service.Run].
func New(d Deps, o Options) (*Service, error) {
	switch {
	case d.Bus == nil:
		return nil, errors.New("ingest needs a bus")
	case d.Followers == nil:
		return nil, errors.New("ingest needs the definitions of projects")
	case d.Warehouse == nil && !o.AcceptOnly:
		return nil, errors.New("ingest needs a warehouse to load into")
	case o.Partitions < 0 || o.Partitions > bus.FactPartitions:
		return nil, fmt.Errorf("%d partitions: there can be 1 to %d", o.Partitions, bus.FactPartitions)
	}
	o.Partitions = max(o.Partitions, 1)
	if d.Logger == nil {
		d.Logger = slog.New(slog.DiscardHandler)
	}

	s := &Service{bus: d.Bus, options: o, logger: d.Logger}
	s.publisher = facts.NewPublisher(d.Bus, facts.Options{
		Partitions: o.Partitions, Window: facts.NewWindow(o.Limits.FactsWindow, 0), Door: "ingest", Logger: d.Logger, Registerer: d.Registerer,
	})
	s.health = bus.NewHealth(d.Bus, bus.HealthOptions{
		Door: "ingest", Canary: bus.FactsCanary, Streams: []string{bus.FactsStream, bus.PlansStream, bus.DeadFactsStream}, Registerer: d.Registerer,
	})
	states := auth.Followed(d.Followers)
	keys, bodies := auth.NewResolver(states, "ingest", d.Registerer), body.NewReader()
	in := intake.New(s.publisher, states, pseudonym.NewKeys(d.Bus), d.Registerer)
	s.statsig = statsig.New(keys, in, bodies, d.Registerer)
	s.native = native.New(keys, in, bodies, d.Registerer)
	if o.AcceptOnly {
		return s, nil
	}
	s.share = facts.NewShare(d.Bus, facts.ShareOptions{Partitions: o.Partitions, Limits: o.Limits, Logger: d.Logger, Registerer: d.Registerer})
	for partition := range o.Partitions {
		s.loaders = append(s.loaders, loader.New(d.Bus, d.Warehouse, loader.Options{
			Partition: partition, Linger: o.LoadLinger, Logger: d.Logger, Registerer: d.Registerer,
		}))
	}
	s.doubles = loader.NewDoubles(d.Warehouse, d.Logger, d.Registerer)
	if o.Replay >= 0 {
		s.room = facts.NewRoom(d.Bus, positions(d.Warehouse), facts.RoomOptions{Replay: o.Replay, Logger: d.Logger, Registerer: d.Registerer})
	}
	return s, nil
}

// positions asks the warehouse, if there is one, how far loading is.
func positions(db func() *warehouse.DB) func(context.Context, string) (map[int]uint64, error) {
	return func(ctx context.Context, stream string) (map[int]uint64, error) {
		if db := db(); db != nil {
			return db.ReadPositions(ctx, stream)
		}
		return nil, errors.New("there is no warehouse yet")
	}
}

// Register puts the service's endpoints on mux.
func (s *Service) Register(mux *http.ServeMux) {
	s.statsig.Register(mux)
	s.native.Register(mux)
	mux.Handle("GET /openapi/ingest.yaml", web.Describe("ingest.yaml"))
}

// Run works until ctx is done. The listener in front of it should stop first,
// so that who waits for an answer still gets one.
//
//	Run ─┬─ publisher: flushes what requests bring
//	     ├─ health: shows that the stream stores
//	     └─ share ─┬─ loader, one for each partition that is this process's
//	               └─ with the first partition: room, which lets go of what was
//	                  loaded, and doubles, which looks for facts that are stored twice
func (s *Service) Run(ctx context.Context) error {
	if err := s.streams(ctx); err != nil {
		return err
	}
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return s.publisher.Run(ctx) })
	g.Go(func() error { return s.health.Run(ctx) })
	if s.share != nil {
		g.Go(func() error {
			return s.share.Run(ctx, s.load)
		})
	}
	return g.Wait()
}

// load works on a partition while it is this process's. Who has the first one
// does what is to be done once for all of them.
func (s *Service) load(ctx context.Context, partition int) {
	var work sync.WaitGroup
	defer work.Wait()
	if partition == 0 {
		work.Go(func() { s.doubles.Run(ctx) })
		if s.room != nil {
			work.Go(func() { s.room.Run(ctx) })
		}
	}
	s.loaders[partition].Run(ctx)
}

// streams makes the streams that facts travel on, as soon as the bus is there, and
// the one by which edges divide what they record, if it can be.
func (s *Service) streams(ctx context.Context) error {
	for {
		err := bus.EnsureShared(ctx, s.bus, s.options.Limits)
		if err == nil {
			if err := bus.EnsureClaims(ctx, s.bus, s.options.Limits); err != nil {
				s.logger.WarnContext(ctx, "edges cannot claim decisions: several may store one, with one id, which counts once", slog.Any("error", err))
			}
			return nil
		}
		if wrong, ok := errors.AsType[*bus.SettingsError](err); ok {
			return wrong // trying again would not change it
		}
		if errors.Is(err, bus.ErrNoRoom) {
			return err
		}
		if ctx.Err() != nil {
			return nil
		}
		s.logger.WarnContext(ctx, "the streams of facts are not there yet", slog.Any("error", err))
		if !lifecycle.Sleep(ctx, time.Second) {
			return nil
		}
	}
}

// Ready is nil while the service takes facts: while the stream stores what it is
// sent, and has room. It takes them, and keeps them safe, without a warehouse too.
func (s *Service) Ready() error {
	if err := s.publisher.Ready(); err != nil {
		return err
	}
	if err := s.health.Stores(); err != nil {
		return err
	}
	return s.health.Room(bus.FactsStream)
}

// Degraded says what does not work although the service is ready: facts that
// wait for the warehouse. Nobody who sends should go elsewhere for that.
func (s *Service) Degraded() error {
	var errs []error
	for _, l := range s.loaders {
		errs = append(errs, l.Ready())
	}
	return errors.Join(errs...)
}
