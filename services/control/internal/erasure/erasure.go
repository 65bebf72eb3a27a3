// Package erasure brings the warehouse to what projects want kept: it deletes what
// is stored of units that were erased, and tells the warehouse for how long facts
// are kept.
//
// The wish is in the project's log, where a restart finds it; that it is done
// stands in the warehouse, beside the rows that are gone. So whatever ends this
// process, or takes the warehouse back to yesterday, the difference between the
// two is what is left to do.
//
//	wish in the log ─▶ loaders are told ─▶ what the stream had then is loaded ─▶ rows deleted ─▶ done
package erasure

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/sluice-flags/sluice/internal/bus"
	"github.com/sluice-flags/sluice/internal/bus/facts"
	"github.com/sluice-flags/sluice/internal/bus/pseudonym"
	"github.com/sluice-flags/sluice/internal/lifecycle"
	"github.com/sluice-flags/sluice/internal/warehouse"
	"github.com/sluice-flags/sluice/pkg/flags"
)

// Options adjust the service. The zero value works.
type Options struct {
	// Settle is how long after a wish facts may still reach the stream that were
	// received before it: 15 s.
	Settle time.Duration
	Logger *slog.Logger
}

// A Service erases.
type Service struct {
	conn *bus.Conn
	keys *pseudonym.Keys
	db   func() *warehouse.DB
	o    Options

	mu      sync.Mutex
	running map[flags.Ref]Progress
	seen    *warehouse.DB        // whose answers these are
	done    map[string]time.Time // by project and unit: up to when it is done
	kept    warehouse.Retention  // what the warehouse was told
	asked   time.Time
}

// Progress is how far an erasure has come.
type Progress struct {
	Done, Total int // steps: reaching the facts that are on their way, and each table
	Finished    bool
	Problem     string // why the last attempt ended; it is tried again
}

// New returns a service that does nothing before [Service.Reconcile]. db returns
// nil while there is no warehouse.
func New(conn *bus.Conn, db func() *warehouse.DB, o Options) *Service {
	o.Settle = cmp.Or(o.Settle, 15*time.Second)
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	return &Service{conn: conn, keys: pseudonym.NewKeys(conn), db: db, o: o, running: make(map[flags.Ref]Progress)}
}

// Key is the name of a unit in the facts of the state's project.
func (s *Service) Key(ctx context.Context, state *flags.State, unitType, unitID string) (uint64, error) {
	if state.Settings().HashUnitIDs {
		key, err := s.keys.Of(ctx, state.Project())
		if err != nil {
			return 0, err
		}
		unitID = key.Hash(unitID)
	}
	return warehouse.UnitKey(unitType, unitID), nil
}

// Of tells how far an erasure has come.
func (s *Service) Of(project string, e flags.Entity) Progress {
	doc, ok := e.Doc.(*flags.Erasure)
	if !ok {
		return Progress{Problem: "it is beyond this version"}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.done[name(project, doc)].Before(*doc.Before) {
		return Progress{Done: 1, Total: 1, Finished: true}
	}
	p := s.running[e.Ref]
	p.Total = max(p.Total, 1)
	return p
}

func name(project string, e *flags.Erasure) string { return project + "/" + e.Name }

// recheck is how often the warehouse is asked what it has on record.
const recheck = time.Minute

// Reconcile does what is left to do for a project, one erasure after another.
// Without a warehouse it does nothing: what waits is done when there is one.
func (s *Service) Reconcile(ctx context.Context, state *flags.State) error {
	db := s.db()
	if db == nil {
		return nil
	}
	if err := s.look(ctx, db); err != nil {
		return err
	}
	if err := s.keep(ctx, db, state); err != nil {
		return err
	}
	var errs []error
	for _, doc := range s.waiting(state) {
		err := s.erase(ctx, db, state.Project(), doc.Ref(), doc)
		s.note(doc.Ref(), func(p *Progress) {
			p.Problem = ""
			if err != nil {
				p.Problem = "the warehouse or the bus did not answer; it is tried again"
			}
		})
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// waiting are the erasures of a project that are not done, the oldest wish first.
func (s *Service) waiting(state *flags.State) (out []*flags.Erasure) {
	for e := range state.All(flags.KindErasure) {
		if doc, ok := e.Doc.(*flags.Erasure); ok && !s.Of(state.Project(), e).Finished {
			out = append(out, doc)
		}
	}
	slices.SortStableFunc(out, func(a, b *flags.Erasure) int { return a.Before.Compare(*b.Before) })
	return out
}

// look reads what the warehouse has on record.
func (s *Service) look(ctx context.Context, db *warehouse.DB) error {
	s.mu.Lock()
	fresh := s.seen == db && time.Since(s.asked) < recheck
	s.mu.Unlock()
	if fresh {
		return nil
	}
	all, err := db.ReadErasures(ctx)
	if err != nil {
		return err
	}
	kept, err := db.ReadRetention(ctx)
	if err != nil {
		return err
	}
	done := make(map[string]time.Time)
	for _, e := range all {
		if e.Done {
			done[fmt.Sprintf("%s/%016x", e.Project, e.UnitKey)] = e.Before
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.seen, s.asked, s.done, s.kept = db, time.Now(), done, kept
	return nil
}

// keep tells the warehouse for how long the facts of a project are kept.
func (s *Service) keep(ctx context.Context, db *warehouse.DB, state *flags.State) error {
	days := uint16(state.Settings().RetentionDays)
	s.mu.Lock()
	told := s.kept[state.Project()]
	s.mu.Unlock()
	if told == days {
		return nil
	}
	if err := db.SetRetention(ctx, state.Project(), days, time.Now()); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.kept[state.Project()] = days
	s.o.Logger.InfoContext(ctx, "facts are kept for another time", slog.String("project", state.Project()), slog.Int("days", int(days)))
	return nil
}

func (s *Service) erase(ctx context.Context, db *warehouse.DB, project string, ref flags.Ref, doc *flags.Erasure) error {
	key, err := strconv.ParseUint(doc.Name, 16, 64)
	if err != nil {
		return fmt.Errorf("erasure %s: %w", ref.ID, err)
	}
	e := warehouse.Erasure{Project: project, UnitType: doc.UnitType, UnitKey: key, Before: *doc.Before}
	if err := db.WriteErasure(ctx, e); err != nil {
		return err
	}
	if !lifecycle.Sleep(ctx, time.Until(doc.Before.Add(s.o.Settle))) {
		return ctx.Err()
	}
	if err := s.loaded(ctx, db); err != nil {
		return err
	}
	err = db.Erase(ctx, e, func(done, total int) {
		s.note(ref, func(p *Progress) { p.Done, p.Total = 1+done, 1+total })
	})
	if err != nil {
		return err
	}
	e.Done = true
	if err := db.WriteErasure(ctx, e); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.running, ref)
	s.done[name(project, doc)] = *doc.Before
	s.o.Logger.InfoContext(ctx, "a unit was erased", slog.String("project", project), slog.String("operation", ref.ID))
	return nil
}

func (s *Service) note(ref flags.Ref, change func(*Progress)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	p, ok := s.running[ref]
	if change(&p); ok || p != (Progress{}) {
		s.running[ref] = p
	}
}

// loadedEvery is how often it is looked whether facts have been loaded.
const loadedEvery = 250 * time.Millisecond

// loaded returns when everything that the stream of facts has now is in the
// tables: what is deleted then has nothing behind it that could come after.
func (s *Service) loaded(ctx context.Context, db *warehouse.DB) error {
	stream, err := s.conn.JetStream().Stream(ctx, bus.FactsStream)
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		return nil // no facts at all
	}
	if err != nil {
		return fmt.Errorf("stream %s: %w", bus.FactsStream, err)
	}
	upTo := stream.CachedInfo().State.LastSeq
	for partition := range bus.FactPartitions {
		reader, err := facts.NewReader(ctx, s.conn, partition)
		if err != nil {
			return err
		}
		for {
			at, err := db.ReadProgress(ctx, reader.StreamID(), uint32(partition))
			if err != nil {
				return err
			}
			next, err := reader.Oldest(ctx, at.Sequence)
			if err != nil {
				return err
			}
			if next.Seq == 0 || next.Seq > upTo {
				break
			}
			if !lifecycle.Sleep(ctx, loadedEvery) {
				return ctx.Err()
			}
		}
	}
	return nil
}
