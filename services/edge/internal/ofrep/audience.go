package ofrep

import (
	"context"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sluice-flags/sluice/pkg/eval"
	"github.com/sluice-flags/sluice/pkg/flags"
	"github.com/sluice-flags/sluice/services/edge/internal/follower"
)

// An audience is the open streams of one scope. Its keys see the same flags, so
// whether a change is worth an event is found out once for all of them.
type audience struct {
	hub     *hub
	scope   *follower.Scope
	project string
	key     *flags.Key // any of the scope's: they see the same
	unwatch func()

	last atomic.Pointer[change]

	// Of the one sweep that may be under way.
	sweeping atomic.Bool
	at       *follower.Version // that last is about
	shown    map[eval.Ref]bool // flags at that version

	mu      sync.Mutex
	members map[*stream]struct{}
}

// A change is the newest that the audience's keys can see.
type change struct {
	seq   uint64
	at    time.Time
	clock bool // time passed a moment that a rule names: the sequence is that of before
}

func newAudience(h *hub, scope *follower.Scope, state *flags.State, key *flags.Key) *audience {
	a := &audience{hub: h, scope: scope, project: state.Project(), key: key, members: make(map[*stream]struct{})}
	a.at = scope.Current()
	a.shown = a.flagsAt(a.at, state)
	a.last.Store(a.lastVisible(state))
	a.unwatch = scope.Watch(a.notify)
	a.notify() // for what happened meanwhile
	return a
}

// flagsAt are the flags that the audience's keys can ask for.
func (a *audience) flagsAt(v *follower.Version, state *flags.State) map[eval.Ref]bool {
	c := a.hub.api.catalog(a.scope, v, state, a.key)
	shown := make(map[eval.Ref]bool, len(c.refs))
	for ref := range c.refs {
		shown[ref] = true
	}
	return shown
}

// lastVisible finds the newest change that concerns a flag of the audience: of
// the flag, or of anything that it depends on.
func (a *audience) lastVisible(state *flags.State) *change {
	found := &change{}
	entities := slices.Collect(state.Entities())
	for _, e := range slices.Backward(entities) {
		if a.concerned(state, e) {
			found = &change{seq: e.Seq, at: time.UnixMilli(e.Time)}
			break
		}
	}
	// Rules on time change answers without a commit.
	for at := found.at; ; {
		boundary, refs := a.at.Rules.NextBoundary(at)
		if boundary.IsZero() || boundary.After(time.Now()) {
			return found
		}
		if a.visible(a.at, refs) {
			found = &change{seq: found.seq, at: boundary, clock: true}
		}
		at = boundary
	}
}

// concerned reports whether the last change of an entity may concern a flag of
// the audience. What is gone concerns whoever could have seen it.
func (a *audience) concerned(state *flags.State, e flags.Entity) bool {
	if segment, _, ok := strings.Cut(e.Ref.ID, "."); ok && e.Ref.Kind == flags.KindIDs {
		e, _ = state.Get(flags.Ref{Kind: flags.KindSegment, ID: segment}) // whose members it lists
	}
	ref, ok := flags.WireRef(e.Ref.Kind, e.Name)
	if !ok {
		return false
	}
	if a.visible(a.at, []eval.Ref{ref}) {
		return true
	}
	public := true
	switch d := e.Doc.(type) {
	case *flags.Gate:
		ok, public = d.Status == flags.StatusArchived, d.ClientVisible == nil || *d.ClientVisible
	case *flags.Config:
		ok, public = d.Status == flags.StatusArchived, d.ClientVisible == nil || *d.ClientVisible
	case *flags.Experiment:
		ok = d.Status == flags.ExperimentArchived
	case *flags.Layer:
		ok = d.Status == flags.StatusArchived
	default: // deleted, or no flag ever
		ok = slices.Contains(precedence, e.Ref.Kind)
	}
	return ok && (public || a.key.Kind != flags.KeyClient)
}

// visible reports whether a flag of the audience is among the refs, or depends
// on one of them.
func (a *audience) visible(v *follower.Version, refs []eval.Ref) bool {
	return slices.ContainsFunc(v.Rules.Dependents(refs...), func(ref eval.Ref) bool { return a.shown[ref] })
}

// notify starts a look at what is new, unless one is under way, which will see
// it. It does not block.
func (a *audience) notify() {
	if a.sweeping.CompareAndSwap(false, true) {
		go a.sweep() // ends when there is nothing newer
	}
}

func (a *audience) sweep() {
	for {
		to := a.scope.Current()
		a.advance(to)
		a.sweeping.Store(false)
		if a.scope.Current().Gen == to.Gen || !a.sweeping.CompareAndSwap(false, true) {
			return
		}
	}
}

// advance takes the audience to a version, and wakes the streams if one of their
// flags may differ. One sweep at a time calls it.
func (a *audience) advance(to *follower.Version) {
	from := a.at
	if from.Gen == to.Gen && from.Epoch == to.Epoch {
		return
	}
	d, known := a.scope.Between(from, to)
	shown := a.shown
	if len(d.Set)+len(d.Delete) > 0 || !known { // the state was swapped before the rules were
		if state, err := a.hub.state(context.Background(), a.project); err == nil {
			shown = a.flagsAt(to, state)
		}
	}
	concerns := !known
	for _, ref := range d.Refs { // what depended or depends on a change is among them
		concerns = concerns || a.shown[ref] || shown[ref]
	}
	a.at, a.shown = to, shown
	if !concerns {
		return
	}
	c := &change{seq: to.Seq, at: time.Now(), clock: known && len(d.Set)+len(d.Delete) == 0}
	if !c.clock {
		c.at = time.UnixMilli(to.Time)
	}
	a.last.Store(c)
	a.wake(func(*stream) bool { return true })
}

func (a *audience) add(s *stream) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.members[s] = struct{}{}
}

// remove takes a stream out and returns how many are left.
func (a *audience) remove(s *stream) int {
	a.mu.Lock()
	defer a.mu.Unlock()
	delete(a.members, s)
	return len(a.members)
}

// wake nudges those streams that want it.
func (a *audience) wake(wants func(*stream) bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for s := range a.members {
		if wants(s) {
			s.nudge()
		}
	}
}
