// Package follow keeps the state of projects current from their logs.
//
// A [Follower] boots from a log, follows it, folds what comes and swaps one
// pointer; a [Set] has a follower for each project that somebody asked for. Both
// keep serving the last good state whatever happens to the log: it has no
// expiry. What they serve is marked stale as soon as they cannot show that it is
// the newest, and it is never a guess. A hole, a second history or a damaged
// message stops the state where the proof ends; nothing jumps over it.
package follow

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/sluice-flags/sluice/pkg/events"
	"github.com/sluice-flags/sluice/pkg/flags"
)

// A Phase says how far a follower's state can be trusted to be the newest.
type Phase string

// The phases.
const (
	Loading Phase = "loading" // no state yet
	Ready   Phase = "ready"   // the log's head, as of a second ago
	Stale   Phase = "stale"   // the last good state; the log cannot be followed just now
)

// A Status is what a follower can say about itself.
type Status struct {
	Phase     Phase
	Since     time.Time // when the phase began
	Reason    string    // why it is not ready, for people; empty if it is
	LastEvent time.Time // when the state last changed; zero if it never did
	Confirmed time.Time // when it was last shown to be the newest; zero if never
}

// Options adjust a follower. The zero value works.
type Options struct {
	// Snapshots keeps the state on disk, so that a restart can serve while the
	// log is away. Nil: nothing is kept.
	Snapshots *SnapshotStore
	// OnChange is called after each commit, with the states before and after it
	// and the entities that differ; before is nil the first time. A commit of
	// several entities is one call, and so is a boot. Calls do not overlap, and
	// the next change waits for them.
	OnChange func(before, after *flags.State, changed []flags.Ref)
	// Logger receives what an operator should know. Nil discards it.
	Logger *slog.Logger
	// Registerer receives the metrics. May be nil.
	Registerer prometheus.Registerer
}

// Times of a follower. Variables of nobody: they are part of what Status means.
const (
	checkEvery    = time.Second
	checkWithin   = 2 * time.Second
	stuckAfter    = 10 * time.Second // without progress on a longer log
	backoffFirst  = 200 * time.Millisecond
	backoffMost   = 5 * time.Second
	healthyAfter  = time.Minute // then waits begin short again
	snapshotEvery = time.Second
)

// An Open opens the log of a follower's project. It is called again after each
// break, and must then look at the log anew.
type Open func(ctx context.Context) (events.Log, error)

// A Follower keeps the state of one project current. Its methods are safe for
// concurrent use; Run is called once.
type Follower struct {
	project string
	open    Open
	opts    Options
	metrics *metrics

	view   atomic.Pointer[view]
	log    atomic.Pointer[events.Log]
	opened events.Log // by start, for the first use in Run

	mu      sync.Mutex
	status  Status
	reached *view         // the newest that OnChange has seen
	moved   chan struct{} // closed, and replaced, when reached or status changes

	dirty chan struct{} // capacity 1: the snapshot is behind the view
}

// A view is a state and the position in the log that it is of.
type view struct {
	state *flags.State
	head  events.Head
}

// New returns a follower of a project's log. It does nothing until Run.
func New(project string, open Open, o Options) *Follower {
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	o.Logger = o.Logger.With(slog.String("project", project))
	return &Follower{
		project: project,
		open:    open,
		opts:    o,
		metrics: newMetrics(o.Registerer),
		status:  Status{Phase: Loading, Since: time.Now(), Reason: "starting"},
		moved:   make(chan struct{}),
		dirty:   make(chan struct{}, 1),
	}
}

// Project is the project's id.
func (f *Follower) Project() string { return f.project }

// State is the newest state, or nil until there is one.
func (f *Follower) State() *flags.State {
	if v := f.view.Load(); v != nil {
		return v.state
	}
	return nil
}

// Head is the position of the newest state, to append behind; zero until there
// is one.
func (f *Follower) Head() events.Head {
	if v := f.view.Load(); v != nil {
		return v.head
	}
	return events.Head{}
}

// View is the newest state with its position, both of one moment.
func (f *Follower) View() (*flags.State, events.Head) {
	if v := f.view.Load(); v != nil {
		return v.state, v.head
	}
	return nil, events.Head{}
}

// Log is the log that is being followed, or nil before it was opened.
func (f *Follower) Log() events.Log {
	if l := f.log.Load(); l != nil {
		return *l
	}
	return nil
}

// Status says how the follower is.
func (f *Follower) Status() Status {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.status
}

// Changed returns a channel that is closed when the state or the phase changes
// next. Take it before looking, and nothing is missed.
func (f *Follower) Changed() <-chan struct{} {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.moved
}

// Wait returns once the state has reached a sequence and OnChange has seen it,
// or with the context's error. Sequence 0 waits for any state at all.
func (f *Follower) Wait(ctx context.Context, seq uint64) error {
	for {
		f.mu.Lock()
		moved, reached := f.moved, f.reached
		f.mu.Unlock()
		if reached != nil && reached.head.Seq >= seq {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("waiting for sequence %d of project %s: %w", seq, f.project, context.Cause(ctx))
		case <-moved:
		}
	}
}

// Run follows until ctx is done, whatever happens to the log, and returns nil.
func (f *Follower) Run(ctx context.Context) error {
	var saving sync.WaitGroup
	defer saving.Wait()
	if f.opts.Snapshots != nil {
		saving.Go(func() { f.saveSnapshots(ctx) }) // ends with ctx
		if f.view.Load() == nil {
			f.loadSnapshot(ctx)
		}
	}
	for attempt := 0; ; attempt++ {
		began := time.Now()
		err := f.follow(ctx)
		if ctx.Err() != nil {
			return nil
		}
		if time.Since(began) > healthyAfter {
			attempt = 0
		}
		f.broken(ctx, err)
		if !sleep(ctx, rand.N(min(backoffMost, backoffFirst<<min(attempt, 10)))) { //nolint:gosec // jitter
			return nil
		}
	}
}

func sleep(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}

// follow opens the log, boots if there is no state yet or the log is another
// one, and follows until something breaks.
func (f *Follower) follow(ctx context.Context) error {
	log, err := f.reopen(ctx)
	if err != nil {
		return err
	}
	if f.view.Load() != nil {
		if err := f.tail(ctx, log); !errors.Is(err, events.ErrEpoch) {
			return err
		}
		f.metrics.epochs.Inc()
		if log, err = f.reopen(ctx); err != nil {
			return err
		}
	}
	if err := f.boot(ctx, log); err != nil {
		return err
	}
	return f.tail(ctx, log)
}

func (f *Follower) reopen(ctx context.Context) (events.Log, error) {
	log := f.opened
	f.opened = nil
	if log == nil {
		var err error
		if log, err = f.open(ctx); err != nil {
			return nil, err
		}
	}
	f.log.Store(&log)
	return log, nil
}

// boot reads the whole project.
func (f *Follower) boot(ctx context.Context, log events.Log) error {
	b, err := log.Boot(ctx)
	if err != nil {
		return err
	}
	for i, e := range b.Entities {
		if unreadable := e.Readable(); unreadable != nil {
			f.quarantine(ctx, e, unreadable)
			if b.Entities[i], err = lastReadable(ctx, log, e); err != nil {
				return err
			}
		}
	}
	b.Entities = dropZero(b.Entities)
	state, err := events.Fold(f.project, b)
	if err != nil {
		return err
	}
	changed := difference(f.State(), state)
	if before := f.view.Load(); before != nil {
		if err := guardShrink(before.state, state); err != nil {
			return err
		}
		f.opts.Logger.WarnContext(ctx, "another log in the place of the one known so far",
			slog.String("was", before.head.LogID), slog.String("is", b.Head.LogID))
	}
	f.swap(&view{state: state, head: b.Head}, changed)
	f.confirm()
	f.opts.Logger.InfoContext(ctx, "state loaded", slog.Uint64("seq", b.Head.Seq), slog.Int("entities", state.Len()))
	return nil
}

// lastReadable is the newest envelope of e's entity that this version can read;
// zero if there is none.
func lastReadable(ctx context.Context, log events.Log, e events.Envelope) (events.Envelope, error) {
	var last events.Envelope
	for old, err := range log.History(ctx, e.Ref()) {
		if err != nil {
			return events.Envelope{}, err
		}
		if old.Seq < e.Seq && old.Readable() == nil {
			last = old
		}
	}
	return last, nil
}

func dropZero(entities []events.Envelope) []events.Envelope {
	out := entities[:0]
	for _, e := range entities {
		if e.Seq > 0 {
			out = append(out, e)
		}
	}
	return out
}

// Limits of what another log may take away without anybody having said so.
const (
	shrinkShare    = 5 // a fifth
	shrinkEntities = 10
)

// guardShrink refuses a state that lost much of what was there. Nobody means
// that by making a log anew; an operator who does removes the snapshots.
func guardShrink(before, after *flags.State) error {
	missing := 0
	for e := range before.Entities() {
		if e.Deleted {
			continue
		}
		if now, ok := after.Get(e.Ref); !ok || now.Deleted {
			missing++
		}
	}
	emptied := before.Len() > 0 && after.Len() == 0
	if emptied || missing > shrinkEntities && missing*shrinkShare > before.Len() {
		return fmt.Errorf("%w: the new log lacks %d of %d entities; keeping the old state until an operator decides",
			events.ErrEpoch, missing, before.Len())
	}
	return nil
}

// tail follows the log from where the state is.
//
//	tail ── check (asks for the head once a second, says ready or stale, ends
//	               what got stuck or turns out to be another log)
func (f *Follower) tail(ctx context.Context, log events.Log) error {
	ctx, cancel := context.WithCancelCause(ctx)
	var checking sync.WaitGroup
	defer checking.Wait()
	defer cancel(nil)
	checking.Go(func() { f.check(ctx, log, cancel) })

	at := f.view.Load()
	var commit []events.Envelope
	for e, err := range log.Follow(ctx, at.head) {
		if err != nil {
			if cause := context.Cause(ctx); cause != nil {
				return cause
			}
			return err
		}
		commit = append(commit, e)
		if !e.Commit.Last() {
			continue
		}
		next, changed, err := f.apply(ctx, at, commit)
		if err != nil {
			return err
		}
		f.swap(next, changed)
		at, commit = next, nil
	}
	return fmt.Errorf("%w: following ended", events.ErrUnavailable)
}

// apply folds a commit.
func (f *Follower) apply(ctx context.Context, at *view, commit []events.Envelope) (next *view, changed []flags.Ref, err error) {
	state := at.state
	for _, e := range commit {
		after, err := events.Apply(state, e)
		switch {
		case errors.Is(err, events.ErrUnreadable):
			f.quarantine(ctx, e, err)
			after = events.Skip(state, e)
		case err != nil:
			return nil, nil, err
		case !slices.Contains(changed, e.Ref()):
			changed = append(changed, e.Ref())
		}
		state = after
	}
	return &view{state: state, head: commit[len(commit)-1].Head()}, changed, nil
}

// quarantine says that an entity stays as it was.
func (f *Follower) quarantine(ctx context.Context, e events.Envelope, why error) {
	f.metrics.quarantined.Inc()
	f.opts.Logger.ErrorContext(ctx, "change not readable, entity stays as it was",
		slog.String("entity", e.Ref().String()), slog.Uint64("seq", e.Seq), slog.Any("error", why))
}

// check compares the state with the log's head until ctx is done.
func (f *Follower) check(ctx context.Context, log events.Log, end context.CancelCauseFunc) {
	progress, since := f.Head().Seq, time.Now()
	for {
		before := f.Head()
		within, cancel := context.WithTimeout(ctx, checkWithin)
		head, err := log.Head(within)
		cancel()
		if ctx.Err() != nil {
			return
		}
		if before.Seq != progress {
			progress, since = before.Seq, time.Now()
		}
		switch {
		case broken(err):
			end(err)
			return
		case err != nil:
			f.stale("the log cannot be reached: " + err.Error())
		case head.LogID != before.LogID:
			end(fmt.Errorf("%w: following %s, the log is %s now", events.ErrEpoch, before.LogID, head.LogID))
			return
		case head.Seq < before.Seq:
			end(fmt.Errorf("%w: at %s, the log ends at %s", events.ErrFork, before, head))
			return
		case head.Seq == before.Seq && head.Hash != before.Hash:
			end(fmt.Errorf("%w: at %s, the log has %s", events.ErrFork, before, head))
			return
		case head.Seq <= f.Head().Seq:
			since = time.Now()
			f.confirm()
		case time.Since(since) > stuckAfter:
			end(fmt.Errorf("%w: no progress at %s, the log is at %s", events.ErrUnavailable, before, head))
			return
		}
		if !sleep(ctx, checkEvery) {
			return
		}
	}
}

// broken tells what is wrong with a log from a log that cannot be asked.
func broken(err error) bool {
	return errors.Is(err, events.ErrGap) || errors.Is(err, events.ErrFork) || errors.Is(err, events.ErrEpoch) ||
		errors.Is(err, events.ErrCorrupt) || errors.Is(err, events.ErrSchema)
}

// broken notes why following ended.
func (f *Follower) broken(ctx context.Context, err error) {
	switch {
	case errors.Is(err, events.ErrGap), errors.Is(err, events.ErrCorrupt):
		f.metrics.gaps.Inc()
	case errors.Is(err, events.ErrFork):
		f.metrics.forks.Inc()
	}
	if f.stale(err.Error()) {
		f.opts.Logger.WarnContext(ctx, "log not followed", slog.Any("error", err))
	}
}

// swap makes v the newest view and tells everybody.
func (f *Follower) swap(v *view, changed []flags.Ref) {
	before := f.State()
	f.view.Store(v)
	if f.opts.OnChange != nil {
		f.opts.OnChange(before, v.state, changed)
	}
	f.mu.Lock()
	f.reached = v
	f.status.LastEvent = time.Now()
	f.announce()
	f.mu.Unlock()
	select {
	case f.dirty <- struct{}{}:
	default:
	}
}

// confirm notes that the state is the newest.
func (f *Follower) confirm() {
	f.mu.Lock()
	defer f.mu.Unlock()
	now := time.Now()
	f.status.Confirmed = now
	if f.status.Phase != Ready {
		f.metrics.stale.Add(staleness(Ready) - staleness(f.status.Phase))
		f.status.Phase, f.status.Since, f.status.Reason = Ready, now, ""
		f.announce()
	}
}

// stale notes that the state cannot be shown to be the newest. It reports
// whether that is news.
func (f *Follower) stale(reason string) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	phase := Stale
	if f.view.Load() == nil {
		phase = Loading
	}
	news := f.status.Phase != phase || f.status.Reason != reason
	if f.status.Phase != phase {
		f.metrics.stale.Add(staleness(phase) - staleness(f.status.Phase))
		f.status.Phase, f.status.Since = phase, time.Now()
	}
	f.status.Reason = reason
	if news {
		f.announce()
	}
	return news
}

func staleness(p Phase) float64 {
	if p == Stale {
		return 1
	}
	return 0
}

// announce wakes who waits. The caller holds mu.
func (f *Follower) announce() {
	close(f.moved)
	f.moved = make(chan struct{})
}

// difference lists the entities that are not the same in two states. Before may
// be nil.
func difference(before, after *flags.State) []flags.Ref {
	old := map[flags.Ref]uint64{}
	if before != nil {
		for e := range before.Entities() {
			old[e.Ref] = e.Seq
		}
	}
	var changed []flags.Ref
	for e := range after.Entities() {
		seq, had := old[e.Ref]
		delete(old, e.Ref)
		if !had || seq != e.Seq || before.LogID() != after.LogID() {
			changed = append(changed, e.Ref)
		}
	}
	if before != nil {
		for e := range before.Entities() {
			if _, gone := old[e.Ref]; gone {
				changed = append(changed, e.Ref)
			}
		}
	}
	return changed
}
