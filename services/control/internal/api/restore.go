package api

import (
	"encoding/json"

	"github.com/sluice-flags/sluice/internal/web"
	"github.com/sluice-flags/sluice/pkg/events"
	"github.com/sluice-flags/sluice/pkg/flags"
	"github.com/sluice-flags/sluice/services/control/internal/command"
)

// restore serves POST of …/restore: the document becomes what it was when the log
// had come to a sequence.
func (a *API) restore(kind flags.Kind) func(*call) error {
	return func(c *call) error { return c.rewrite(kind, c.restoring) }
}

// undo serves POST of …/undo: one change is taken back, and later ones stay.
func (a *API) undo(kind flags.Kind) func(*call) error {
	return func(c *call) error { return c.rewrite(kind, c.undoing) }
}

// rewrite carries out the edit that comes of an entity and the sequence that the
// body says.
func (c *call) rewrite(kind flags.Kind, editing func(flags.Entity, uint64) (command.Edit, error)) error {
	name, match, w, err := c.readAimed(true)
	if err != nil {
		return err
	}
	if err := onlyMembers(w.body, "sequence"); err != nil {
		return err
	}
	s, err := c.project.Newest(c.ctx)
	if err != nil {
		return err
	}
	var sequence uint64
	if json.Unmarshal(w.body["sequence"], &sequence) != nil || sequence == 0 || sequence > s.Seq() {
		return web.Invalid("/sequence", "invalid", "want a sequence of the log, 1 to %d", s.Seq())
	}
	change := command.Change{Kind: kind, Name: name, Match: match}
	// What stands in the way is for the decision to say: a request that is repeated
	// is answered as it was, even if its entity is gone or has another name by now.
	e, err := find(s, kind, name)
	if err == nil {
		change.Name = e.Ref.ID
		change.Edit, err = editing(e, sequence)
	}
	if err != nil {
		change.Edit = func(flags.Document, command.Env) (flags.Document, error) { return nil, err }
	}
	return c.carryOut(w, change)
}

func (c *call) restoring(e flags.Entity, sequence uint64) (command.Edit, error) {
	then, err := c.project.AsOf(c.ctx, events.Point{Seq: sequence})
	if err != nil {
		return nil, err
	}
	was, ok := then.Get(e.Ref)
	if !ok {
		return nil, web.Errorf(web.CodeNotFound, "there was no %s %q yet at sequence %d", e.Ref.Kind, e.Name, sequence)
	}
	return func(flags.Document, command.Env) (flags.Document, error) { return flags.Clone(was.Doc), nil }, nil
}

func (c *call) undoing(e flags.Entity, sequence uint64) (command.Edit, error) {
	var before, after flags.Entity
	for version, err := range c.project.Versions(c.ctx, e.Ref) {
		if err != nil {
			return nil, err
		}
		before, after = after, version
		if version.Seq >= sequence {
			break
		}
	}
	switch {
	case after.Seq != sequence:
		return nil, web.Errorf(web.CodeNotFound, "sequence %d is no change of the %s %q: its history lists them", sequence, e.Ref.Kind, e.Name)
	case before.Doc == nil:
		return nil, web.Errorf(web.CodeWrongState, "sequence %d made the %s %q: archive or delete it instead", sequence, e.Ref.Kind, e.Name)
	}
	return command.Undo(before.Doc, after.Doc), nil
}
