package api

import (
	"time"

	"github.com/sluice-flags/sluice/internal/web"
	"github.com/sluice-flags/sluice/pkg/events"
	"github.com/sluice-flags/sluice/pkg/flags"
	"github.com/sluice-flags/sluice/services/control/internal/command"
)

// maxNews bounds what a stale write is told of the changes it missed.
const maxNews = 50

// stale answers a write that was based on an old version with what it needs to
// go on: the current version, what happened since, and where that collides with
// what was asked.
func (c *call) stale(cmd command.Command, r *command.Refusal) error {
	current, err := represent(r.Current)
	if err != nil {
		return err
	}
	_, _, match := aimOf(cmd)
	read := match.Seq
	var base *events.Envelope
	var since []events.Envelope
	for e, err := range c.project.History(c.ctx, r.Current.Ref) {
		if err != nil {
			return explain(err)
		}
		if e.Seq <= read {
			base = &e
		} else {
			since = append(since, e)
		}
	}
	extra := map[string]any{"current": current, "changesSince": changesOf(since[max(0, len(since)-maxNews):])}
	if base != nil && base.Seq == read && !base.Deleted() {
		extra["conflicts"] = c.conflicts(cmd, *base)
	}
	c.sequence(r.Current.Seq)
	return &web.Error{Code: web.CodeStale, Message: r.Message, Extra: extra}
}

// aimOf is the entity that a command is about, and the version that it was made for.
func aimOf(cmd command.Command) (kind flags.Kind, name string, match command.Match) {
	switch cmd := cmd.(type) {
	case command.Change:
		return cmd.Kind, cmd.Name, cmd.Match
	case command.Delete:
		return cmd.Kind, cmd.Name, cmd.Match
	case command.Act:
		return cmd.Kind, cmd.Name, cmd.Match
	}
	return "", "", command.Match{}
}

// conflicts lists the places that both the command and the changes since its
// base touch.
func (c *call) conflicts(cmd command.Command, base events.Envelope) []string {
	everything := []string{""}
	entity, err := entityOf(base)
	if err != nil {
		return everything
	}
	s, err := c.project.State(c.ctx)
	if err != nil {
		return everything
	}
	if _, conflicts := command.Merge(s, command.Env{Now: time.Now(), NewID: flags.NewID}, cmd, entity); len(conflicts) > 0 {
		return conflicts
	}
	return []string{}
}

// merging is the command that merges what cmd does with what has changed since
// the version that it was made for. Where there is none it is cmd.
func (c *call) merging(cmd command.Command) (command.Command, error) {
	kind, name, match := aimOf(cmd)
	s, err := c.project.Newest(c.ctx)
	if err != nil {
		return nil, err
	}
	e, ok := s.Find(kind, name)
	switch {
	case !ok || match.Seq == 0 || match.Seq > e.Seq:
		return cmd, nil
	case match.Seq == e.Seq: // until somebody is faster
		return command.Merging{Command: cmd, Base: e}, nil
	}
	then, err := c.project.AsOf(c.ctx, events.Point{Seq: match.Seq})
	if err != nil {
		return nil, err
	}
	if base, ok := then.Get(e.Ref); ok && base.Seq == match.Seq {
		return command.Merging{Command: cmd, Base: base}, nil
	}
	return cmd, nil
}
