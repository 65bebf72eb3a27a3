package follow

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/sluice-flags/sluice/internal/lifecycle"
	"github.com/sluice-flags/sluice/pkg/events"
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

// Status says how the follower is.
func (f *Follower) Status() Status {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.status
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
			f.metrics.mismatches.Inc()
			end(fmt.Errorf("%w: at %s, the log has %s", events.ErrFork, before, head))
			return
		case head.Seq <= f.Head().Seq:
			since = time.Now()
			f.confirm()
		case time.Since(since) > stuckAfter:
			end(fmt.Errorf("%w: no progress at %s, the log is at %s", events.ErrUnavailable, before, head))
			return
		}
		if !lifecycle.Sleep(ctx, checkEvery) {
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
