package follow

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/sluice-flags/sluice/internal/bus"
	"github.com/sluice-flags/sluice/pkg/events"
	"github.com/sluice-flags/sluice/pkg/flags"
)

const (
	// unknownFor is how long a project that was not there is taken not to be
	// there without asking again.
	unknownFor = 5 * time.Second
	// awayFor is the same for a log that could not be asked.
	awayFor = time.Second
	// mostRefusals bounds what strangers' requests can make us remember.
	mostRefusals = 10_000
	// catchUpWithin bounds how long the disk's state is held back in the hope of the
	// log's: without the log, a restart is to serve within two seconds.
	catchUpWithin = 1500 * time.Millisecond
	// startWithin bounds how long the first request for a project may take.
	startWithin = 10 * time.Second
)

// SetOptions adjust a set. Open is required.
type SetOptions struct {
	// Open opens the log of a project. It says [bus.ErrUnknownProject] if
	// there is none. See the type [Open].
	Open func(ctx context.Context, project string) (events.Log, error)
	// Follower is for each follower. Its OnChange is not used: see [Set.Watch].
	Follower Options
}

// A Watcher hears of each commit of each project, as [Options.OnChange] does.
// Calls for one project do not overlap; those for several may.
type Watcher func(project string, before, after *flags.State, changed []flags.Ref)

// A Set keeps a follower for each project that somebody asked for.
type Set struct {
	opts SetOptions
	ctx  context.Context // of all followers; ends with Run
	stop context.CancelFunc
	work sync.WaitGroup

	watchers []Watcher // fixed before the first Get

	mu       sync.Mutex
	closed   bool
	entries  map[string]*entry
	refusals map[string]refusal
}

// An entry is a project that is followed, or about to be.
type entry struct {
	follower *Follower
	started  chan struct{} // closed when it is known whether there is such a project
	err      error         // why not; set before started is closed
}

// A refusal is a project that could not be followed a moment ago.
type refusal struct {
	err   error
	until time.Time
}

// NewSet returns a set that follows nothing yet.
func NewSet(o SetOptions) *Set {
	ctx, stop := context.WithCancel(context.Background())
	return &Set{
		opts:     o,
		ctx:      ctx,
		stop:     stop,
		entries:  map[string]*entry{},
		refusals: map[string]refusal{},
	}
}

// Watch adds a watcher. It must come before the first [Set.Get]; watchers are
// called in the order in which they came.
func (s *Set) Watch(w Watcher) { s.watchers = append(s.watchers, w) }

// Run keeps the set until ctx is done, then stops all its followers.
func (s *Set) Run(ctx context.Context) error {
	<-ctx.Done()
	s.mu.Lock()
	s.closed = true
	s.mu.Unlock()
	s.stop()
	s.work.Wait()
	return nil
}

// Get returns the follower of a project, which has a state: the newest, or the
// disk's last if the log is away. The first to ask waits for it to start, and so
// do all others who ask meanwhile.
//
// Errors: [bus.ErrUnknownProject], [events.ErrUnavailable], what is wrong with the
// log, and the context's error.
func (s *Set) Get(ctx context.Context, project string) (*Follower, error) {
	if !bus.ValidProject(project) {
		return nil, fmt.Errorf("%w: %.40q", bus.ErrUnknownProject, project)
	}
	e, err := s.entry(project)
	if err != nil {
		return nil, err
	}
	select {
	case <-ctx.Done():
		return nil, fmt.Errorf("project %s: %w", project, context.Cause(ctx))
	case <-e.started:
		return e.follower, e.err
	}
}

func (s *Set) entry(project string) (*entry, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if e := s.entries[project]; e != nil {
		return e, nil
	}
	if s.closed {
		return nil, fmt.Errorf("%w: shutting down", events.ErrUnavailable)
	}
	if r, ok := s.refusals[project]; ok && time.Now().Before(r.until) {
		return nil, r.err
	}
	delete(s.refusals, project)

	o := s.opts.Follower
	o.OnChange = func(before, after *flags.State, changed []flags.Ref) {
		for _, watch := range s.watchers {
			watch(project, before, after, changed)
		}
	}
	e := &entry{started: make(chan struct{})}
	e.follower = New(project, func(ctx context.Context) (events.Log, error) { return s.opts.Open(ctx, project) }, o)
	s.entries[project] = e
	s.work.Go(func() { s.keep(project, e) }) // ends with Run, or when there is no such project
	return e, nil
}

// keep starts a follower and runs it.
func (s *Set) keep(project string, e *entry) {
	ctx, cancel := context.WithTimeout(s.ctx, startWithin)
	e.err = e.follower.start(ctx)
	cancel()
	if e.err != nil {
		e.err = fmt.Errorf("project %s: %w", project, e.err)
		s.refuse(project, e.err)
		e.follower = nil
	}
	if e.err == nil {
		from := e.follower.Status()
		s.work.Go(func() { _ = e.follower.Run(s.ctx) }) // returns nil, by its promise, when Run ends
		e.follower.catchUp(s.ctx, from)
	}
	close(e.started)
}

// catchUp returns when the state is the log's newest, or when it is known that it
// cannot be had; from is the status at the start. The disk's state alone may lack what was acknowledged just before
// a crash, such as a key, and a key that is missing is an answer.
func (f *Follower) catchUp(ctx context.Context, from Status) {
	ctx, cancel := context.WithTimeout(ctx, catchUpWithin)
	defer cancel()
	for {
		changed := f.Changed()
		if s := f.Status(); s.Phase != Stale || s.Reason != from.Reason {
			return
		}
		select {
		case <-ctx.Done():
			return
		case <-changed:
		}
	}
}

// refuse forgets an entry and remembers why for a while.
func (s *Set) refuse(project string, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.entries, project)
	now := time.Now()
	if len(s.refusals) >= mostRefusals {
		for name, r := range s.refusals {
			if now.After(r.until) {
				delete(s.refusals, name)
			}
		}
	}
	if len(s.refusals) >= mostRefusals {
		clear(s.refusals)
	}
	hold := awayFor
	if errors.Is(err, bus.ErrUnknownProject) {
		hold = unknownFor
	}
	s.refusals[project] = refusal{err: err, until: now.Add(hold)}
}

// Expect forgets that a project was not there: it has just been made.
func (s *Set) Expect(project string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.refusals, project)
}

// All lists the followers that have started, by project.
func (s *Set) All() []*Follower {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := make([]*Follower, 0, len(s.entries))
	for _, e := range s.entries {
		select {
		case <-e.started:
			if e.err == nil {
				out = append(out, e.follower)
			}
		default:
		}
	}
	slices.SortFunc(out, func(a, b *Follower) int { return strings.Compare(a.project, b.project) })
	return out
}
