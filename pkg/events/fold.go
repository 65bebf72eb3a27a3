package events

import (
	"errors"
	"fmt"

	"github.com/sluice-flags/sluice/pkg/flags"
)

// ErrUnreadable says that the envelope is whole and in its place, but that what
// it tells about its entity is beyond this version: a kind or a document that it
// cannot read.
// Readers that must go on keep that one entity as it was ([Skip]) and say so.
var ErrUnreadable = errors.New("unreadable change")

// Apply folds one envelope into s and returns the next state; s is not changed.
//
// Apply is pure, so that replaying a log yields the same state on every
// machine. An envelope that is in s already changes nothing; one beyond the
// next is [ErrGap], one of another log is [ErrEpoch]. A kind or a document that
// this version cannot read is [ErrUnreadable] and never skipped in silence.
//
// Apply trusts the chain: callers that read a log use [Verify] first.
func Apply(s *flags.State, e Envelope) (*flags.State, error) {
	switch {
	case s.LogID() != "" && e.LogID != s.LogID():
		return s, fmt.Errorf("%w: state of %s, envelope of %s", ErrEpoch, s.LogID(), e.LogID)
	case e.Seq <= s.Seq():
		return s, nil // redelivered: already folded in
	case e.Seq > s.Seq()+1:
		return s, fmt.Errorf("%w: at %d, got %d", ErrGap, s.Seq(), e.Seq)
	}
	entity, err := e.entity()
	if err != nil {
		return s, err
	}
	return s.With(e.position(), entity), nil
}

// Skip is the state behind e that leaves e's entity as it was.
func Skip(s *flags.State, e Envelope) *flags.State { return s.With(e.position()) }

// Fold gives the state of a project at the head of a [Boot]. It equals the
// state that applying every envelope in turn gives.
//
// Errors: [ErrUnreadable], [ErrEpoch].
func Fold(project string, b Boot) (*flags.State, error) {
	entities := make([]flags.Entity, len(b.Entities))
	for i, e := range b.Entities {
		if e.LogID != b.Head.LogID {
			return nil, fmt.Errorf("%w: boot of %s, envelope of %s", ErrEpoch, b.Head.LogID, e.LogID)
		}
		var err error
		if entities[i], err = e.entity(); err != nil {
			return nil, err
		}
	}
	at := flags.Position{LogID: b.Head.LogID, Seq: b.Head.Seq, Time: b.Head.Time}
	return flags.NewState(project).With(at, entities...), nil
}

// Readable reports whether this version can read what e says: nil or
// [ErrUnreadable].
func (e Envelope) Readable() error {
	_, err := e.entity()
	return err
}

// Made is the entity as e made it; deleted, if it did that. It fails with
// [ErrUnreadable].
func (e Envelope) Made() (flags.Entity, error) { return e.entity() }

func (e Envelope) position() flags.Position {
	return flags.Position{LogID: e.LogID, Seq: e.Seq, Time: e.Time}
}

// entity is what e made of the entity that it is about.
func (e Envelope) entity() (flags.Entity, error) {
	entity := flags.Entity{
		Ref:     e.Ref(),
		Version: e.EntityVersion,
		Seq:     e.Seq,
		Time:    e.Time,
		Created: e.Created,
		Deleted: e.Deleted(),
	}
	if !e.Kind.Known() {
		return flags.Entity{}, fmt.Errorf("%w: envelope %d: no fold for kind %q", ErrUnreadable, e.Seq, e.Kind)
	}
	if entity.Deleted {
		entity.Name = e.Name
		return entity, nil
	}
	doc, err := flags.Load(e.Kind, e.Document)
	if err != nil {
		return flags.Entity{}, fmt.Errorf("%w: envelope %d: %s: %w", ErrUnreadable, e.Seq, e.Ref(), err)
	}
	entity.Doc, entity.Raw = doc, e.Document
	entity.Name = doc.DocName()
	return entity, nil
}
