// Package follower turns the state of a project into the rules of each key
// scope, and keeps them current.
//
// A key fixes what it may see: environments and target apps. All keys with the
// same scope share one [Scope], whose current [Version] is one atomic pointer:
// readers never wait and never see half a change. A change of the project is
// lowered to the specs that it touches, applied to the compiled rules, and
// swapped in; nothing else is recompiled.
//
// A Scope remembers its latest versions, so that whoever holds one of them can
// be told what differs, under the very rules that were in force then.
package follower

import (
	"log/slog"
	"maps"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/sluice-flags/sluice/pkg/eval"
	"github.com/sluice-flags/sluice/pkg/flags"
)

// Options are what evaluation needs from outside. The zero value works.
type Options struct {
	Country   eval.CountryLookup
	UserAgent eval.UserAgentParser
	Logger    *slog.Logger
}

// Rulesets holds the scopes of every project that was asked for. It learns of
// changes through [Rulesets.Changed].
type Rulesets struct {
	options eval.Options
	logger  *slog.Logger

	projects sync.Map // name → *project

	mu     sync.Mutex
	closed bool
}

// project is the scopes of one project.
type project struct {
	scopes atomic.Pointer[map[string]*Scope] // by id; another map when one is added

	mu    sync.Mutex // held while scopes are made or moved on
	state *flags.State
}

// known are the scopes that have been made; nobody changes the map.
func (p *project) known() map[string]*Scope {
	if m := p.scopes.Load(); m != nil {
		return *m
	}
	return nil
}

// add makes a scope known. The caller holds mu.
func (p *project) add(s *Scope) {
	m := maps.Clone(p.known())
	if m == nil {
		m = make(map[string]*Scope)
	}
	m[s.id] = s
	p.scopes.Store(&m)
}

// New returns rulesets without any scope.
func New(o Options) *Rulesets {
	logger := o.Logger
	if logger == nil {
		logger = slog.New(slog.DiscardHandler)
	}
	return &Rulesets{
		options: eval.Options{Country: o.Country, UserAgent: o.UserAgent},
		logger:  logger,
	}
}

// Scope returns the scope of a key. The first key of a scope waits while its
// rules are compiled from state; [Rulesets.Changed] keeps them current from
// there on.
func (r *Rulesets) Scope(state *flags.State, scope flags.Scope) *Scope {
	p := r.project(state.Project())
	id := appendScopeID(make([]byte, 0, 128), scope)
	if s, ok := p.known()[string(id)]; ok {
		return s
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if s, ok := p.known()[string(id)]; ok {
		return s
	}
	if p.state != nil {
		state = p.state // changes arrive in order: begin where they are
	}
	s := &Scope{id: string(id), scope: scope, options: r.options, logger: r.logger}
	s.restart(state)
	p.add(s)
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed {
		s.stop()
	}
	return s
}

// Changed moves the project's scopes on from one state to the next. Calls for
// one project must come in order, as a log's follower makes them.
func (r *Rulesets) Changed(before, after *flags.State, changed []flags.Ref) {
	p := r.project(after.Project())
	p.mu.Lock()
	defer p.mu.Unlock()
	p.state = after
	for _, s := range p.known() {
		s.advance(before, after, changed)
	}
}

// Close stops the clocks of all scopes. They go on answering.
func (r *Rulesets) Close() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.closed = true
	for _, p := range r.projects.Range {
		for _, s := range p.(*project).known() {
			s.stop()
		}
	}
}

func (r *Rulesets) project(name string) *project {
	p, ok := r.projects.Load(name)
	if !ok {
		p, _ = r.projects.LoadOrStore(name, new(project))
	}
	return p.(*project)
}

// scopeID is equal for scopes that see the same.
func scopeID(s flags.Scope) string { return string(appendScopeID(nil, s)) }

func appendScopeID(dst []byte, s flags.Scope) []byte {
	dst = append(dst, s.Kind...)
	for _, names := range [...][]string{s.Environments, s.TargetApps} {
		dst = append(dst, 1)
		if len(names) > 1 { // most keys are for one environment, and for one app or none
			names = slices.Compact(slices.Sorted(slices.Values(names)))
		}
		for i, name := range names {
			if i > 0 {
				dst = append(dst, 0)
			}
			dst = append(dst, name...)
		}
	}
	return dst
}
