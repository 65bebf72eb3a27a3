package api

import (
	"encoding/json"

	"github.com/sluice-flags/sluice/internal/web"
	"github.com/sluice-flags/sluice/pkg/events"
	"github.com/sluice-flags/sluice/pkg/flags"
	"github.com/sluice-flags/sluice/services/control/internal/command"
)

// pastWrite is a write that names a sequence of the log.
type pastWrite struct {
	write
	match    command.Match
	entity   flags.Entity // as it is now
	sequence uint64
}

func (c *call) readPastWrite(kind flags.Kind) (p pastWrite, err error) {
	name, err := c.name()
	if err != nil {
		return p, err
	}
	if p.match, err = c.match(); err != nil {
		return p, err
	}
	if p.write, err = c.readWrite(true); err != nil {
		return p, err
	}
	if err := onlyMembers(p.body, "sequence"); err != nil {
		return p, err
	}
	s, err := c.project.Newest(c.ctx)
	if err != nil {
		return p, err
	}
	if json.Unmarshal(p.body["sequence"], &p.sequence) != nil || p.sequence == 0 || p.sequence > s.Seq() {
		return p, web.Invalid("/sequence", "invalid", "want a sequence of the log, 1 to %d", s.Seq())
	}
	var ok bool
	if p.entity, ok = s.Find(kind, name); !ok {
		return p, web.Errorf(web.CodeNotFound, "there is no %s %q", kind, name)
	}
	return p, nil
}

// change is the command that makes the entity into what edit makes of it.
func (p pastWrite) change(edit func(flags.Document, command.Env) (flags.Document, error)) command.Change {
	return command.Change{Kind: p.entity.Ref.Kind, Name: p.entity.Ref.ID, Match: p.match, Edit: edit}
}

// restore serves POST of …/restore: the document becomes what it was when the log
// had come to a sequence.
func (a *API) restore(kind flags.Kind) func(*call) error {
	return func(c *call) error {
		p, err := c.readPastWrite(kind)
		if err != nil {
			return err
		}
		then, err := c.project.AsOf(c.ctx, events.Point{Seq: p.sequence})
		if err != nil {
			return err
		}
		was, ok := then.Get(p.entity.Ref)
		if !ok || was.Deleted {
			return web.Errorf(web.CodeNotFound, "there was no %s %q yet at sequence %d", kind, p.entity.Name, p.sequence)
		}
		return c.carryOut(p.write, p.change(func(flags.Document, command.Env) (flags.Document, error) { return flags.Clone(was.Doc), nil }))
	}
}

// undo serves POST of …/undo: one change is taken back, and later ones stay.
func (a *API) undo(kind flags.Kind) func(*call) error {
	return func(c *call) error {
		p, err := c.readPastWrite(kind)
		if err != nil {
			return err
		}
		var before, after flags.Entity
		for e, err := range c.project.Versions(c.ctx, p.entity.Ref) {
			if err != nil {
				return err
			}
			before, after = after, e
			if e.Seq >= p.sequence {
				break
			}
		}
		switch {
		case after.Seq != p.sequence:
			return web.Errorf(web.CodeNotFound, "sequence %d is no change of the %s %q: its history lists them", p.sequence, kind, p.entity.Name)
		case before.Doc == nil:
			return web.Errorf(web.CodeWrongState, "sequence %d made the %s %q: archive or delete it instead", p.sequence, kind, p.entity.Name)
		}
		return c.carryOut(p.write, p.change(command.Undo(before.Doc, after.Doc)))
	}
}
