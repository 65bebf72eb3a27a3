package api

import (
	"slices"
	"strings"
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
	read := matchOf(cmd).Seq
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
		extra["conflicts"] = c.conflicts(cmd, *base, since)
	}
	c.sequence(r.Current.Seq)
	return &web.Error{Code: web.CodeStale, Message: r.Message, Extra: extra}
}

// matchOf is the version that a command was made for.
func matchOf(cmd command.Command) command.Match {
	switch cmd := cmd.(type) {
	case command.Change:
		return cmd.Match
	case command.Delete:
		return cmd.Match
	case command.Act:
		return cmd.Match
	}
	return command.Match{}
}

// conflicts lists the places that both the command and the changes since its
// base touch. To learn what the command would have done, it is decided again on
// a state in which the entity is as its author saw it.
func (c *call) conflicts(cmd command.Command, base events.Envelope, since []events.Envelope) []string {
	entity, err := entityOf(base)
	if err != nil {
		return []string{""}
	}
	s, err := c.project.State(c.ctx)
	if err != nil {
		return []string{""}
	}
	d, err := cmd.Decide(s.With(s.Position(), entity), command.Env{Now: time.Now(), NewID: flags.NewID})
	if err != nil {
		return []string{""} // not even then: all of it is in question
	}
	out := []string{}
	for _, mine := range d.Operations() {
		if slices.ContainsFunc(since, func(e events.Envelope) bool {
			return slices.ContainsFunc(e.Operations, func(theirs flags.Operation) bool { return overlap(mine.Path, theirs.Path) })
		}) {
			out = append(out, mine.Path)
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// overlap reports whether one JSON pointer is the other, or inside it.
func overlap(a, b string) bool {
	return a == b || strings.HasPrefix(a, b+"/") || strings.HasPrefix(b, a+"/")
}
