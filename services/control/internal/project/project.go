// Package project reads and writes the definitions of projects.
//
// A project is written by one command at a time in this process, and by any
// number of processes: each append says which head it was decided on, and a
// command that lost the race is decided again on the state that won. A refusal
// is only given on a state that was the newest when it was given. What was
// written here can be read here at once.
package project

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"sync/atomic"
	"time"

	"github.com/sluice-flags/sluice/pkg/events"
	"github.com/sluice-flags/sluice/pkg/flags"
	"github.com/sluice-flags/sluice/services/control/internal/command"
)

// A Follower keeps the state of a project current, whoever writes it.
type Follower interface {
	// State is the newest state known, nil while there is none.
	State() *flags.State
	// Wait returns when State has come to a sequence.
	Wait(ctx context.Context, seq uint64) error
}

// attempts is how often a command is decided before the caller is told to come
// back: enough for a handful of writers in step.
const attempts = 16

// A Project is one project's log and what it amounts to. It is safe for
// concurrent use.
type Project struct {
	id       string
	log      events.Log
	follower Follower
	turn     chan struct{} // holds one token: whoever has it writes
	own      atomic.Pointer[position]
	past     cache
	forget   func() // the log is another one by now: the next to ask opens it anew
}

// position is a state and the head that it was folded up to.
type position struct {
	state *flags.State
	head  events.Head
}

func newProject(id string, log events.Log, follower Follower) *Project {
	p := &Project{id: id, log: log, follower: follower, turn: make(chan struct{}, 1)}
	p.turn <- struct{}{}
	return p
}

// ID is the project's id.
func (p *Project) ID() string { return p.id }

// State is the newest state that is known here.
func (p *Project) State(ctx context.Context) (*flags.State, error) {
	own, followed := p.own.Load(), p.follower.State()
	switch {
	case own == nil && followed == nil:
		if err := p.take(ctx); err != nil {
			return nil, err
		}
		defer p.give()
		at, err := p.current(ctx)
		return at.state, err
	case own == nil:
		return followed, nil
	case followed == nil, followed.LogID() == own.state.LogID() && followed.Seq() < own.state.Seq():
		return own.state, nil
	}
	return followed, nil
}

// Newest is the state at the head of the log as of the call, for whoever names a
// position that has not arrived here.
func (p *Project) Newest(ctx context.Context) (*flags.State, error) {
	if err := p.take(ctx); err != nil {
		return nil, err
	}
	defer p.give()
	at, err := p.current(ctx)
	if err != nil {
		return nil, err
	}
	at, _, err = p.catchUp(ctx, at)
	return at.state, err
}

// A Request is a command and everything that is recorded with it.
type Request struct {
	ID      string // unique; the same for every repetition of the request
	Digest  string // of the request's content
	Repeat  bool   // the id may have been used before: look first
	Actor   events.Actor
	Reason  string
	Cause   string
	Command command.Command
}

// An Outcome is what a request came to.
type Outcome struct {
	Decision command.Decision // empty when Replayed
	Receipt  events.Receipt   // without envelopes when there was nothing to do
	State    *flags.State     // the state after it
}

// ErrReused says that a request's id belongs to another request.
var ErrReused = errors.New("the id was used for another request")

// Do decides a request and writes what it comes to. It returns when the change
// is durable and can be read here.
//
// Errors: those of the command's decision, [ErrReused], and those of
// [events.Log] but for a conflict that a new decision solves.
func (p *Project) Do(ctx context.Context, r Request) (Outcome, error) {
	out, err := p.write(ctx, r)
	if err != nil {
		return Outcome{}, err
	}
	// The change is durable whether or not the follower has seen it: the wait is
	// for those who use the follower's state next, a new key's holder first.
	waiting, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	_ = p.follower.Wait(waiting, out.Receipt.Last.Seq)
	return out, nil
}

func (p *Project) write(ctx context.Context, r Request) (Outcome, error) {
	if err := p.take(ctx); err != nil {
		return Outcome{}, err
	}
	defer p.give()
	if r.Repeat {
		receipt, found, err := p.log.Lookup(ctx, r.ID)
		if err != nil {
			return Outcome{}, fmt.Errorf("looking for command %s: %w", r.ID, err)
		}
		if found {
			return p.replay(ctx, r, receipt)
		}
	}
	at, err := p.current(ctx)
	if err != nil {
		return Outcome{}, err
	}
	for range attempts {
		decision, err := p.decide(at.state, r)
		if err != nil || decision.Noop() {
			// Somebody else may have changed the state that this was decided on.
			newer, moved, lerr := p.catchUp(ctx, at)
			if lerr != nil {
				return Outcome{}, lerr
			}
			if moved {
				at = newer
				continue
			}
			return Outcome{Decision: decision, Receipt: events.Receipt{First: at.head, Last: at.head}, State: at.state}, err
		}
		receipt, err := p.log.Append(ctx, at.head, events.Command{
			ID: r.ID, Request: r.Digest, Actor: r.Actor, Reason: r.Reason, Cause: r.Cause, Drafts: decision.Drafts,
		})
		switch {
		case errors.Is(err, events.ErrConflict):
			newer, _, lerr := p.catchUp(ctx, at)
			if lerr != nil {
				return Outcome{}, lerr
			}
			at = newer
		case err != nil:
			return Outcome{}, err
		case receipt.Replayed:
			return p.replay(ctx, r, receipt)
		default:
			next, err := apply(at, receipt.Envelopes)
			if err != nil {
				p.own.Store(nil) // what is stored stands; start from it again
				return Outcome{}, fmt.Errorf("folding what was written: %w", err)
			}
			p.own.Store(&next)
			return Outcome{Decision: decision, Receipt: receipt, State: next.state}, nil
		}
	}
	return Outcome{}, fmt.Errorf("deciding command %s %d times: %w", r.ID, attempts, events.ErrConflict)
}

// Try decides a command on the newest state and writes nothing.
func (p *Project) Try(ctx context.Context, c command.Command) (command.Decision, *flags.State, error) {
	if err := p.take(ctx); err != nil {
		return command.Decision{}, nil, err
	}
	defer p.give()
	at, err := p.current(ctx)
	if err != nil {
		return command.Decision{}, nil, err
	}
	if at, _, err = p.catchUp(ctx, at); err != nil {
		return command.Decision{}, nil, err
	}
	d, err := p.decide(at.state, Request{Command: c})
	return d, at.state, err
}

func (p *Project) decide(s *flags.State, r Request) (command.Decision, error) {
	return r.Command.Decide(s, command.Env{Now: time.Now(), NewID: flags.NewID})
}

// replay answers a request that was carried out before.
func (p *Project) replay(ctx context.Context, r Request, receipt events.Receipt) (Outcome, error) {
	receipt.Replayed = true
	if len(receipt.Envelopes) == 0 || receipt.Envelopes[0].Request != r.Digest {
		return Outcome{}, ErrReused
	}
	at, err := p.current(ctx)
	if err != nil {
		return Outcome{}, err
	}
	if at.head.Seq < receipt.Last.Seq {
		if at, _, err = p.catchUp(ctx, at); err != nil {
			return Outcome{}, err
		}
	}
	return Outcome{Receipt: receipt, State: at.state}, nil
}

// take waits for the turn to write.
func (p *Project) take(ctx context.Context) error {
	select {
	case <-p.turn:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

func (p *Project) give() { p.turn <- struct{}{} }

// current is the position that the next decision starts from. The caller has
// the turn.
func (p *Project) current(ctx context.Context) (position, error) {
	if at := p.own.Load(); at != nil {
		return *at, nil
	}
	boot, err := p.log.Boot(ctx)
	if err != nil {
		p.broken(err)
		return position{}, fmt.Errorf("reading project %s: %w", p.id, err)
	}
	state, err := events.Fold(p.id, boot)
	if err != nil {
		return position{}, fmt.Errorf("folding project %s: %w", p.id, err)
	}
	at := position{state: state, head: boot.Head}
	p.own.Store(&at)
	return at, nil
}

// catchUp reads what others have written behind at. The caller has the turn.
func (p *Project) catchUp(ctx context.Context, at position) (newer position, moved bool, err error) {
	var tail []events.Envelope
	for e, err := range p.log.Read(ctx, at.head.Seq+1) {
		if err != nil {
			p.broken(err)
			return at, false, fmt.Errorf("reading project %s behind %s: %w", p.id, at.head, err)
		}
		tail = append(tail, e)
	}
	if len(tail) == 0 {
		return at, false, nil
	}
	newer, err = apply(at, tail)
	if err != nil {
		p.own.Store(nil)
		return at, false, fmt.Errorf("folding project %s: %w", p.id, err)
	}
	p.own.Store(&newer)
	return newer, true, nil
}

// broken drops what was known of a log that cannot be read on.
func (p *Project) broken(err error) {
	p.own.Store(nil)
	if errors.Is(err, events.ErrEpoch) {
		p.forget()
	}
}

// apply folds envelopes that follow at.
func apply(at position, envelopes []events.Envelope) (position, error) {
	for _, e := range envelopes {
		if err := events.Verify(at.head, e); err != nil {
			return at, err
		}
		next, err := events.Apply(at.state, e)
		if err != nil {
			return at, err
		}
		at = position{state: next, head: e.Head()}
	}
	return at, nil
}

// History yields the envelopes of an entity, oldest first.
func (p *Project) History(ctx context.Context, ref flags.Ref) iter.Seq2[events.Envelope, error] {
	return p.log.History(ctx, ref)
}

// Versions yields an entity as each change left it, oldest first.
func (p *Project) Versions(ctx context.Context, ref flags.Ref) iter.Seq2[flags.Entity, error] {
	return func(yield func(flags.Entity, error) bool) {
		for e, err := range p.log.History(ctx, ref) {
			made := flags.Entity{}
			if err == nil {
				made, err = e.Made()
			}
			if !yield(made, err) {
				return
			}
		}
	}
}

// Read yields the envelopes of the log from a sequence to its head.
func (p *Project) Read(ctx context.Context, from uint64) iter.Seq2[events.Envelope, error] {
	return p.log.Read(ctx, from)
}

// Reach returns the newest state once it has come to a sequence.
func (p *Project) Reach(ctx context.Context, seq uint64) (*flags.State, error) {
	state, err := p.State(ctx)
	if err != nil || state.Seq() >= seq {
		return state, err
	}
	if err := p.follower.Wait(ctx, seq); err != nil {
		return nil, err
	}
	return p.State(ctx)
}

// AsOf is the state of the project as it was at a point of its log.
func (p *Project) AsOf(ctx context.Context, at events.Point) (*flags.State, error) {
	if at.Seq != 0 {
		if s := p.past.get(at.Seq); s != nil {
			return s, nil
		}
		if now, err := p.State(ctx); err == nil && now.Seq() == at.Seq {
			return now, nil
		}
	}
	boot, err := p.log.AsOf(ctx, at)
	if err != nil {
		return nil, fmt.Errorf("reading project %s as of %v: %w", p.id, at, err)
	}
	state, err := events.Fold(p.id, boot)
	if err != nil {
		return nil, fmt.Errorf("folding project %s: %w", p.id, err)
	}
	p.past.put(at.Seq, state)
	return state, nil
}
