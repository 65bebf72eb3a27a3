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
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/sluice-flags/sluice/pkg/events"
	"github.com/sluice-flags/sluice/pkg/flags"
)

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
