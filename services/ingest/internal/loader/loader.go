// Package loader moves facts from the stream into ClickHouse, each exactly once.
//
//	follow the stream ─▶ gather ─▶ freeze: record which messages ─▶ insert under
//	        ▲                      make the batch, compare-and-set   the batch's token
//	        └──────────────── next ◀── write the position beside the rows ◀──┘
//
// Nothing else is remembered. The position is where the rows are, so a warehouse
// that lost its last hours is filled again from there, in the very same batches,
// as long as the stream keeps them. A batch that may have been inserted already
// is inserted again: the engine knows its token and drops the repetition, and
// where a power cut took the token, the rows themselves are asked for. So there
// is no moment at which a kill -9, of any process, loses or doubles rows,
// and two loaders of one partition, which [facts.Share] keeps apart, would do no
// harm but to each other's patience.
package loader

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/errgroup"

	"github.com/sluice-flags/sluice/internal/bus"
	"github.com/sluice-flags/sluice/internal/bus/facts"
	"github.com/sluice-flags/sluice/internal/lifecycle"
	"github.com/sluice-flags/sluice/internal/warehouse"
)

// Options of a [Loader]. The zero value works.
type Options struct {
	// Partition of the stream of facts that is loaded: 0.
	Partition int
	// Linger is how long the first message of a batch waits for others: 250 ms.
	// It bounds the inserts a second, which the engine likes few.
	Linger time.Duration
	// MaxRows and MaxBytes end a batch early: 200,000 rows of a table, 16 MiB.
	// Few large blocks are less work for the engine than many, above all later,
	// when it merges what they became.
	MaxRows  int
	MaxBytes int
	// InsertWait is how long one insert may take: 30 s.
	InsertWait time.Duration

	Logger     *slog.Logger
	Registerer prometheus.Registerer
}

func (o Options) withDefaults() Options {
	o.Linger = cmp.Or(o.Linger, 250*time.Millisecond)
	o.MaxRows = cmp.Or(o.MaxRows, 200_000)
	o.MaxBytes = cmp.Or(o.MaxBytes, 16<<20)
	o.InsertWait = cmp.Or(o.InsertWait, 30*time.Second)
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	return o
}

// A Loader loads one partition.
type Loader struct {
	conn      *bus.Conn
	warehouse func() *warehouse.DB
	o         Options
	metrics   metrics

	spare [warehouse.InsertsAtOnce + 1]*batch // those that [Loader.stream] fills in turn

	// checkpoint is called at the points where a crash would hurt most; tests
	// end the process there.
	checkpoint func(name string)

	failing atomic.Pointer[string] // why the last round ended, nil while it goes well
	done    uint64                 // the last sequence that is known to be loaded
	lag     atomic.Pointer[lag]
	density density
}

// New returns a loader from conn's stream into the warehouse that the function
// returns; nil means that there is none yet.
func New(conn *bus.Conn, db func() *warehouse.DB, o Options) *Loader {
	l := &Loader{conn: conn, warehouse: db, o: o.withDefaults(), checkpoint: func(string) {}}
	for i := range l.spare {
		l.spare[i] = newBatch()
	}
	l.lag.Store(new(lag))
	l.metrics = newMetrics(l)
	return l
}

// Ready is nil while facts reach the warehouse.
func (l *Loader) Ready() error {
	if why := l.failing.Load(); why != nil {
		return fmt.Errorf("facts are kept but not loaded: %s", *why)
	}
	return nil
}

const slowest = 5 * time.Second // between two tries

// Run loads until ctx is done. While the bus or the warehouse is away it tries
// again; what was acknowledged waits in the stream. It may be called again once
// it has returned.
func (l *Loader) Run(ctx context.Context) {
	defer l.idle()
	for failures := 0; ; {
		began := time.Now()
		err := l.round(ctx)
		if ctx.Err() != nil {
			return
		}
		if time.Since(began) > time.Minute {
			failures = 0 // it went well for long
		}
		if errors.Is(err, facts.ErrTaken) {
			// Another loader was first. What it planned is most likely loaded
			// when we look; if not, it is loaded by both, and stored once.
			if !lifecycle.Sleep(ctx, 2*l.o.Linger) {
				return
			}
			continue
		}
		why := err.Error()
		l.failing.Store(&why)
		l.metrics.failures.Inc()
		l.o.Logger.WarnContext(ctx, "loading facts failed, trying again", slog.Int("partition", l.o.Partition), slog.Any("error", err))
		l.look(ctx)
		wait := min(slowest, 50*time.Millisecond<<min(failures, 10))
		failures++
		if !lifecycle.Sleep(ctx, wait/2+rand.N(wait/2+1)) { //nolint:gosec // jitter
			return
		}
	}
}

// idle says nothing any longer of a partition that is somebody else's now.
func (l *Loader) idle() {
	l.failing.Store(nil)
	l.done = 0
	l.lag.Store(new(lag))
}

var errNoWarehouse = errors.New("there is no warehouse yet")

// round loads from the recorded position until something fails.
func (l *Loader) round(ctx context.Context) error {
	db := l.warehouse()
	if db == nil {
		return errNoWarehouse
	}
	reader, err := facts.NewReader(ctx, l.conn, l.o.Partition)
	if err != nil {
		return err
	}
	plans, err := facts.OpenPlans(ctx, l.conn, reader)
	if err != nil {
		return err
	}
	done, err := db.ReadProgress(ctx, reader.StreamID(), uint32(l.o.Partition))
	if err != nil {
		return err
	}
	l.done = done.Sequence
	planned, end, err := plans.After(ctx, done.Plan, done.Sequence)
	if err != nil {
		return err
	}
	if len(planned) > 0 {
		l.o.Logger.InfoContext(ctx, "loading batches that were planned before", slog.Int("partition", l.o.Partition), slog.Int("batches", len(planned)))
	}

	first, err := reader.First(ctx)
	if err != nil {
		return err
	}

	policy, err := readPolicy(ctx, db)
	if err != nil {
		return err
	}
	g := l.follow(ctx, reader, done.Sequence)
	defer g.stop()
	for _, plan := range planned {
		if plan.Last < first {
			continue // its facts are gone, by age or to make room
		}
		policy.of(l.spare[0])
		if err := l.again(ctx, db, g, plan, l.spare[0]); err != nil {
			return err
		}
	}
	l.failing.Store(nil)
	return l.stream(ctx, db, g, plans, end)
}

// again loads, in b, a batch that was planned before: it may be stored, in part or
// whole, and its token forgotten.
func (l *Loader) again(ctx context.Context, db *warehouse.DB, g *gatherer, plan facts.Plan, b *batch) error {
	messages, err := g.exactly(ctx, plan)
	if err != nil {
		return err
	}
	b.refill(plan, messages)
	stored, err := db.FindStored(ctx, b.rows)
	if err != nil {
		return err
	}
	if stored.Any() {
		b.rows.Skip(stored)
		b.refill(plan, messages)
		b.rows.Skip(warehouse.Stored{})
	}
	l.loading(b)
	if err := l.insert(ctx, db, b); err != nil {
		return err
	}
	l.loaded(b)
	return l.note(ctx, db, plan)
}

// A policy is what projects want of facts that are stored: for how long they are
// kept, and of whom they are not.
type policy struct {
	retention warehouse.Retention
	erasures  warehouse.Erasures
	asked     time.Time
}

// policyAge is how old a policy may be that a loader goes by.
const policyAge = time.Minute

func readPolicy(ctx context.Context, db *warehouse.DB) (p policy, err error) {
	p.asked = time.Now()
	if p.retention, err = db.ReadRetention(ctx); err != nil {
		return p, err
	}
	erasures, err := db.ReadErasures(ctx)
	p.erasures = warehouse.ByUnit(erasures)
	return p, err
}

func (p policy) of(b *batch) {
	b.rows.Keep(p.retention)
	b.rows.Forget(p.erasures)
}

// stream gathers, freezes and loads until something fails.
//
//	gather, freeze ── frozen ──▶ insert, two at once ── stored ──▶ settle ── loaded ──▶ write the position
//	     ▲  └────────────────────── in order ───────────────────────▶│
//	     └─────────────────────────── spare ─────────────────────────┘
//
// While the engine stores two batches the next is made, all of them taking turns,
// and the position of one before is written. Batches may overtake one another on
// their way into the tables, positions do not: one that is written says that all
// batches up to it are stored, and one that is late costs a repetition after a
// crash, and no more.
func (l *Loader) stream(ctx context.Context, db *warehouse.DB, g *gatherer, plans *facts.Plans, end facts.Cursor) error {
	spare, frozen, inOrder := make(chan *batch, len(l.spare)), make(chan *batch), make(chan *batch, len(l.spare))
	loaded := make(chan facts.Plan, 1)
	for _, b := range l.spare {
		spare <- b
	}
	work, ctx := errgroup.WithContext(ctx)
	work.Go(func() error {
		var current policy
		for {
			b, err := receive(ctx, spare)
			if err != nil {
				return err
			}
			if time.Since(current.asked) > policyAge {
				if current, err = readPolicy(ctx, db); err != nil {
					return err
				}
			}
			current.of(b)
			if err := g.some(ctx, b); err != nil {
				return err
			}
			if end, err = plans.Record(ctx, end, b.last); err != nil {
				return err
			}
			b.plan, b.stored = end.Plan, make(chan struct{})
			l.checkpoint("planned")
			inOrder <- b // has room for all there are
			if err := send(ctx, frozen, b); err != nil {
				return err
			}
		}
	})
	for range warehouse.InsertsAtOnce {
		work.Go(func() error {
			for {
				b, err := receive(ctx, frozen)
				if err != nil {
					return err
				}
				if err := l.insert(ctx, db, b); err != nil {
					return err
				}
				close(b.stored)
			}
		})
	}
	work.Go(func() error {
		for {
			b, err := receive(ctx, inOrder)
			if err != nil {
				return err
			}
			l.loading(b)
			if _, err := receive(ctx, b.stored); err != nil {
				return err
			}
			l.loaded(b)
			plan := b.plan
			spare <- b
			if err := send(ctx, loaded, plan); err != nil {
				return err
			}
		}
	})
	work.Go(func() error {
		for {
			plan, err := receive(ctx, loaded)
			if err != nil {
				return err
			}
			if err := l.note(ctx, db, plan); err != nil {
				return err
			}
		}
	})
	return work.Wait()
}

func send[T any](ctx context.Context, to chan<- T, v T) error {
	select {
	case to <- v:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func receive[T any](ctx context.Context, from <-chan T) (v T, err error) {
	select {
	case v = <-from:
		return v, nil
	case <-ctx.Done():
		return v, ctx.Err()
	}
}

// note writes that a batch is loaded, beside its rows.
func (l *Loader) note(ctx context.Context, db *warehouse.DB, plan facts.Plan) error {
	ctx, cancel := context.WithTimeout(ctx, l.o.InsertWait)
	defer cancel()
	err := db.WriteProgress(ctx, warehouse.Progress{
		Stream: plan.Stream, Partition: uint32(plan.Partition), Plan: plan.Number, Sequence: plan.Last,
	})
	if err != nil {
		return err
	}
	l.checkpoint("done")
	return nil
}

// loading says that b is the first batch that is not loaded.
func (l *Loader) loading(b *batch) {
	l.density = density{facts: b.facts(), messages: b.messages}
	l.lag.Store(&lag{messages: b.pending + uint64(b.messages), facts: uint64(b.facts()) + l.density.of(b.pending), oldest: b.oldest})
}

// loaded says that b is loaded, and all before it.
func (l *Loader) loaded(b *batch) {
	l.done = b.plan.Last
	l.metrics.loaded(b)
	l.lag.Store(&lag{messages: b.pending, facts: l.density.of(b.pending), oldest: b.newest}) // the next one is younger
}

// insert writes the rows of a batch to each table.
func (l *Loader) insert(ctx context.Context, db *warehouse.DB, b *batch) error {
	ctx, cancel := context.WithTimeout(ctx, l.o.InsertWait)
	defer cancel()
	token := b.plan.Token()
	began := time.Now()
	if err := l.setAside(ctx, b); err != nil {
		return err
	}
	if err := db.InsertExposures(ctx, token, b.rows); err != nil {
		return err
	}
	l.checkpoint("exposures")
	if err := db.InsertEvents(ctx, token, b.rows); err != nil {
		return err
	}
	if err := db.InsertDeadLetters(ctx, token, b.rows); err != nil {
		return err
	}
	l.metrics.seconds.Observe(time.Since(began).Seconds())
	l.checkpoint("inserted")
	return nil
}
