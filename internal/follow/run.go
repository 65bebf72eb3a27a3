package follow

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"github.com/sluice-flags/sluice/internal/lifecycle"
	"github.com/sluice-flags/sluice/pkg/events"
	"github.com/sluice-flags/sluice/pkg/flags"
)

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

// start gives a follower its first state, before Run: the disk's, or else the
// log's.
func (f *Follower) start(ctx context.Context) error {
	if f.opts.Snapshots != nil {
		f.loadSnapshot(ctx)
	}
	if f.view.Load() != nil {
		return nil
	}
	log, err := f.open(ctx)
	if err != nil {
		return err
	}
	f.opened = log
	f.log.Store(&log)
	return f.boot(ctx, log)
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
		if !lifecycle.Sleep(ctx, rand.N(min(backoffMost, backoffFirst<<min(attempt, 10)))) { //nolint:gosec // jitter
			return nil
		}
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
