package project

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/sluice-flags/sluice/pkg/events"
	"github.com/sluice-flags/sluice/pkg/flags"
)

// ErrUnknown says that there is no such project.
var ErrUnknown = errors.New("unknown project")

// Source opens what a project is made of, or says [ErrUnknown].
type Source struct {
	Log      func(ctx context.Context, project string) (events.Log, error)
	Follower func(ctx context.Context, project string) (Follower, error)
	// Provision makes the stream of a new project; it is no error if it is there.
	Provision func(ctx context.Context, project string) error
}

// Projects opens each project once. It is safe for concurrent use.
type Projects struct {
	source Source

	mu   sync.Mutex
	open map[string]*opening
}

// opening is a project that somebody has opened or is about to.
type opening struct {
	done    chan struct{}
	project *Project
	err     error
}

// New returns the projects of a source.
func New(source Source) *Projects {
	return &Projects{source: source, open: map[string]*opening{}}
}

// Get returns a project, or [ErrUnknown].
func (ps *Projects) Get(ctx context.Context, id string) (*Project, error) {
	ps.mu.Lock()
	o, started := ps.open[id]
	if !started {
		o = &opening{done: make(chan struct{})}
		ps.open[id] = o
	}
	ps.mu.Unlock()

	if started {
		select {
		case <-o.done:
			return o.project, o.err
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
	o.project, o.err = ps.start(ctx, id)
	if o.err != nil {
		ps.mu.Lock()
		delete(ps.open, id) // the next one who asks tries again
		ps.mu.Unlock()
	}
	close(o.done)
	return o.project, o.err
}

func (ps *Projects) start(ctx context.Context, id string) (*Project, error) {
	follower, err := ps.source.Follower(ctx, id)
	if err != nil {
		return nil, fmt.Errorf("following project %s: %w", id, err)
	}
	log, err := ps.source.Log(ctx, id)
	if err != nil {
		return nil, fmt.Errorf("opening the log of project %s: %w", id, err)
	}
	p := newProject(id, log, follower)
	p.forget = func() {
		ps.mu.Lock()
		defer ps.mu.Unlock()
		delete(ps.open, id)
	}
	return p, nil
}

// Provision makes room for a new project.
func (ps *Projects) Provision(ctx context.Context, id string) error {
	return ps.source.Provision(ctx, id)
}

// cache keeps the last few past states, for whoever turns the pages of one.
type cache struct {
	mu     sync.Mutex
	states []*flags.State // newest first
}

const cached = 8

func (c *cache) get(seq uint64) *flags.State {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, s := range c.states {
		if s.Seq() == seq {
			return s
		}
	}
	return nil
}

// put keeps a state that was asked for by its own sequence: one within a commit
// comes back as an earlier one, and is not worth keeping.
func (c *cache) put(seq uint64, s *flags.State) {
	if s.Seq() != seq {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.states = append([]*flags.State{s}, c.states[:min(len(c.states), cached-1)]...)
}
