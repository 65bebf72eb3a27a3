package command

import (
	"errors"

	"github.com/sluice-flags/sluice/pkg/flags"
)

// Merge returns what a command that was made for an entity as it was at base comes
// to where the entity has changed since, or the places that both touch.
func Merge(s *flags.State, env Env, c Command, base flags.Entity) (merged flags.Document, conflicts []string) {
	current, ok := s.Get(base.Ref)
	if !ok {
		return nil, []string{""}
	}
	// To learn what its author meant, it is decided on what its author saw.
	seen, err := c.Decide(s.With(s.Position(), base), env)
	if err != nil || seen.After == nil {
		return nil, []string{""} // not even then, or all of it goes: everything is in question
	}
	return flags.Merge(base.Doc, seen.After, current.Doc)
}

// Merging carries a command out although the entity has changed since the version
// that it was made for, as long as the changes since touch nothing that it does.
type Merging struct {
	Command
	Base flags.Entity // that version
}

// Decide implements [Command].
func (c Merging) Decide(s *flags.State, env Env) (Decision, error) {
	d, err := c.Command.Decide(s, env)
	stale, ok := errors.AsType[*Refusal](err)
	if !ok || stale.Reason != Stale {
		return d, err
	}
	merged, conflicts := Merge(s, env, c.Command, c.Base)
	if len(conflicts) > 0 {
		return Decision{}, stale
	}
	if err := keepFixed(stale.Current.Doc, merged); err != nil {
		return Decision{}, err
	}
	return write(s, env, stale.Current, merged)
}

// Undo returns an edit that takes back the change from before to after, and keeps
// what came later.
func Undo(before, after flags.Document) Edit {
	return func(current flags.Document, _ Env) (flags.Document, error) {
		merged, conflicts := flags.Merge(after, before, current)
		if len(conflicts) > 0 {
			return nil, &Refusal{Reason: WrongState, Message: "later changes touch what that one did: take those back first, or restore", Conflicts: conflicts}
		}
		return merged, nil
	}
}
