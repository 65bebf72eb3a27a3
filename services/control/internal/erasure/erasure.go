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

	work sync.WaitGroup
	turn chan struct{} // taken by who deletes: one at a time, and nobody while he waits

	mu      sync.Mutex
	busy    map[string]bool // projects of which something is being erased
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
	Problem     string // why the last attempt ended, which is tried again, or what this one waits for
}

// New returns a service that does nothing before [Service.Reconcile]. db returns
// nil while there is no warehouse.
func New(conn *bus.Conn, db func() *warehouse.DB, o Options) *Service {
	o.Settle = cmp.Or(o.Settle, 15*time.Second)
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	return &Service{conn: conn, keys: pseudonym.NewKeys(conn), db: db, o: o, turn: make(chan struct{}, 1), busy: make(map[string]bool), running: make(map[flags.Ref]Progress)}
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

// Reconcile tells the warehouse for how long the facts of a project are kept, and
// begins to do what is left to erase of it, one erasure after another, unless that
// is under way: what one project waits for holds up no other. It goes on until ctx
// is done; [Service.Wait] waits for its end. Without a warehouse it does nothing:
// what waits is done when there is one.
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
	project, left := state.Project(), s.waiting(state)
	if len(left) == 0 || !s.begin(project) {
		return nil
	}
	s.work.Go(func() { // ends with ctx
		defer s.end(project)
		for _, doc := range left {
			err := s.erase(ctx, db, project, doc.Ref(), doc)
			if err == nil || ctx.Err() != nil {
				continue
			}
			s.note(doc.Ref(), func(p *Progress) { p.Problem = "the warehouse or the bus did not answer; it is tried again" })
			s.o.Logger.WarnContext(ctx, "a unit is not erased yet", slog.String("project", project), slog.String("operation", doc.ID), slog.Any("error", err))
		}
	})
	return nil
}

// Wait returns when nothing is being erased, once the contexts of all calls of
// [Service.Reconcile] are done.
func (s *Service) Wait() { s.work.Wait() }

func (s *Service) begin(project string) (ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	ok = !s.busy[project]
	s.busy[project] = true
	return ok
}

func (s *Service) end(project string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.busy, project)
}

// take takes the turn of who deletes, if it comes before ctx is done.
func (s *Service) take(ctx context.Context) bool {
	select {
	case s.turn <- struct{}{}:
		return true
	case <-ctx.Done():
		return false
	}
}

func (s *Service) give() { <-s.turn }

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
	if err := s.loaded(ctx, db, ref); err != nil {
		return err
	}
	mine := s.take(ctx)
	err = db.Erase(ctx, e, func(done, total int, waits string) {
		s.note(ref, func(p *Progress) { *p = Progress{Done: 1 + done, Total: 1 + total, Problem: waitsFor(waits)} })
		if idle := waits != ""; idle && mine {
			s.give()
			mine = false
		} else if !idle && !mine {
			mine = s.take(ctx)
		}
	})
	if mine {
		s.give()
	}
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

// waitsFor says what an attempt waits for; nothing if that is nothing.
func waitsFor(what string) string {
	if what == "" {
		return ""
	}
	return "it waits for " + what
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
func (s *Service) loaded(ctx context.Context, db *warehouse.DB, ref flags.Ref) error {
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
			s.note(ref, func(p *Progress) { p.Problem = waitsFor("facts that are still to be loaded") })
			if !lifecycle.Sleep(ctx, loadedEvery) {
				return ctx.Err()
			}
		}
	}
	return nil
}
