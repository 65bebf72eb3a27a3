// Package command decides what a request comes to.
//
// A decision is a function of the state and the command: it reads no clock and
// touches nothing, so that it can be taken again on a newer state when somebody
// else was first, or be thrown away when only its outcome was asked for. It is
// either drafts for the log, which hold whole documents that have been
// validated against everything else in the state, or a refusal that says all
// that is wrong.
package command

import (
	"bytes"
	"fmt"
	"time"

	"github.com/sluice-flags/sluice/pkg/events"
	"github.com/sluice-flags/sluice/pkg/flags"
)

// A Command is something that somebody wants to happen to the definitions of
// one project.
type Command interface {
	// Decide returns what the command comes to on s, or why it is refused: a
	// [Refusal] or [flags.Problems].
	Decide(s *flags.State, env Env) (Decision, error)
}

// Env is what a decision may know besides the state.
type Env struct {
	Now   time.Time
	NewID func(prefix string) string // unique, and sorted by time
}

// A Decision is what a command comes to. Without drafts everything already is as
// it was wanted.
type Decision struct {
	Ref     flags.Ref // the entity that the command is about
	Drafts  []events.Draft
	Current flags.Entity   // the entity before; zero if there was none
	After   flags.Document // the entity after; nil if it is deleted
}

// Noop reports whether there is nothing to do.
func (d Decision) Noop() bool { return len(d.Drafts) == 0 }

// Operations are what the drafts do to the entity that the command is about.
func (d Decision) Operations() []flags.Operation {
	for _, draft := range d.Drafts {
		if draft.Kind == d.Ref.Kind && draft.Entity == d.Ref.ID {
			return draft.Operations
		}
	}
	return []flags.Operation{}
}

// write is the decision that an entity becomes doc. It fills in what is the
// server's to choose, and validates the whole.
func write(s *flags.State, env Env, current flags.Entity, doc flags.Document) (Decision, error) {
	flags.Advance(s, doc, env.Now, env.NewID)
	if problems := append(flags.Validate(s, doc), checkScopes(doc)...); len(problems) > 0 {
		return Decision{}, problems
	}
	d := Decision{Ref: doc.Ref(), Current: current, After: doc}
	after, err := flags.Encode(doc)
	if err != nil {
		return Decision{}, err
	}
	if current.Doc != nil {
		before, err := flags.Encode(current.Doc)
		if err != nil {
			return Decision{}, err
		}
		if bytes.Equal(before, after) {
			return d, nil
		}
	}
	d.Drafts = []events.Draft{{
		Kind: d.Ref.Kind, Entity: d.Ref.ID, Name: doc.DocName(),
		EntityVersion: current.Version + 1, Created: current.Created,
		Operations: flags.Diff(current.Doc, doc), Document: after,
	}}
	return d, nil
}

// remove is the decision that an entity is no more.
func remove(current flags.Entity) Decision {
	return Decision{Ref: current.Ref, Current: current, Drafts: []events.Draft{{
		Kind: current.Ref.Kind, Entity: current.Ref.ID, Name: current.Name,
		EntityVersion: current.Version + 1, Created: current.Created,
		Operations: flags.Diff(current.Doc, nil),
	}}}
}

// A Reason says why a command is refused, in one word for programs.
type Reason string

// The reasons of refusals.
const (
	NotFound   Reason = "not_found"   // there is no such entity
	Exists     Reason = "exists"      // there is one, and there should not be
	Stale      Reason = "stale"       // it has changed since the caller read it
	Missing    Reason = "missing"     // the caller did not say which version it read
	WrongState Reason = "wrong_state" // its life has not come to this, or is past it
	Confirm    Reason = "confirm"     // the caller must repeat the name
	Warned     Reason = "warned"      // it is lawful and hardly meant
)

// A Refusal says why a command cannot be carried out on a state.
type Refusal struct {
	Reason  Reason
	Message string
	Current flags.Entity // the entity that is in the way, if any

	Conflicts []string       // JSON pointers of what is in the way
	Warnings  flags.Problems // that were to be heeded
}

// Error implements error.
func (r *Refusal) Error() string { return r.Message }

func refuse(reason Reason, current flags.Entity, format string, args ...any) error {
	return &Refusal{Reason: reason, Message: fmt.Sprintf(format, args...), Current: current}
}

// A Match says which version of an entity a command was made for. The zero
// Match names none, and is refused.
type Match struct {
	Any bool   // whichever it is now
	Seq uint64 // the sequence of its last change
}

func (m Match) check(e flags.Entity) error {
	switch {
	case m.Any || m.Seq == e.Seq && m.Seq != 0:
		return nil
	case m.Seq == 0:
		return refuse(Missing, e, "say which version this is for: send If-Match with the ETag that you read, now \"%d\"", e.Seq)
	}
	if m.Seq > e.Seq {
		return refuse(Stale, e, "%s %q has never been at sequence %d, it is at %d: is the ETag that of something else?", e.Ref.Kind, e.Name, m.Seq, e.Seq)
	}
	return refuse(Stale, e, "%s %q has changed: you read sequence %d, it is at %d", e.Ref.Kind, e.Name, m.Seq, e.Seq)
}
