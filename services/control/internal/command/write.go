package command

import (
	"strings"

	"github.com/sluice-flags/sluice/pkg/flags"
)

// Create makes a new entity.
type Create struct {
	Doc flags.Document
}

// Decide implements [Command].
func (c Create) Decide(s *flags.State, env Env) (Decision, error) {
	if c.Doc.Ref().ID != "" {
		return Decision{}, flags.Problems{{Pointer: "/id", Code: flags.CodeImmutable, Message: "an id is given by the server: leave it out"}}
	}
	return write(s, env, flags.Entity{}, flags.Clone(c.Doc)) // deciding again must start from what was asked for
}

// CreateOnly makes a new entity, and is stale when there is one of its name: the
// caller said that it had seen none.
type CreateOnly struct{ Create }

// Decide implements [Command].
func (c CreateOnly) Decide(s *flags.State, env Env) (Decision, error) {
	if e, ok := s.ByName(c.Doc.Ref().Kind, c.Doc.DocName()); ok {
		return Decision{}, refuse(Stale, e, "there is a %s %q already", e.Ref.Kind, e.Name)
	}
	return c.Create.Decide(s, env)
}

// Change makes an entity into what Edit makes of it.
type Change struct {
	Kind  flags.Kind
	Name  string // its name or its id
	Match Match
	Edit  Edit
}

// An Edit returns the document that an entity should become. It gets a copy of the
// current one that is its own.
type Edit func(current flags.Document, env Env) (flags.Document, error)

// Decide implements [Command].
func (c Change) Decide(s *flags.State, env Env) (Decision, error) {
	current, err := find(s, c.Kind, c.Name)
	if err != nil {
		return Decision{}, err
	}
	if err := c.Match.check(current); err != nil {
		return Decision{}, err
	}
	doc, err := c.Edit(flags.Clone(current.Doc), env)
	if err != nil {
		return Decision{}, err
	}
	if doc.Ref() != current.Ref {
		return Decision{}, flags.Problems{{Pointer: "/id", Code: flags.CodeImmutable, Message: "an id never changes: leave it out"}}
	}
	if err := keepFixed(current.Doc, doc); err != nil {
		return Decision{}, err
	}
	return write(s, env, current, doc)
}

// Delete removes an entity for ever; its name is retired.
type Delete struct {
	Kind    flags.Kind
	Name    string
	Match   Match
	Confirm string // the entity's name, again: a tombstone cannot be taken back
}

// Decide implements [Command].
func (c Delete) Decide(s *flags.State, _ Env) (Decision, error) {
	current, err := find(s, c.Kind, c.Name)
	if err != nil {
		return Decision{}, err
	}
	if err := c.Match.check(current); err != nil {
		return Decision{}, err
	}
	if !strings.EqualFold(c.Confirm, current.Name) {
		return Decision{}, refuse(Confirm, current, "deleting retires the name for ever: repeat it as confirm=%s, or archive instead", current.Name)
	}
	if problems := flags.ValidateDelete(s, current.Ref); len(problems) > 0 {
		return Decision{}, problems
	}
	d := remove(current)
	for _, batch := range s.BatchRefs(current.Ref) {
		e, _ := s.Get(batch)
		d.Drafts = append(d.Drafts, remove(e).Drafts...)
	}
	return d, nil
}

func find(s *flags.State, kind flags.Kind, name string) (flags.Entity, error) {
	e, ok := s.Find(kind, name)
	if !ok {
		return flags.Entity{}, refuse(NotFound, flags.Entity{}, "there is no %s %q", kind, name)
	}
	return e, nil
}

// keepFixed holds what may never change about an entity once it is there.
func keepFixed(before, after flags.Document) error {
	if before.Ref().Kind == flags.KindProject && before.DocName() != after.DocName() {
		return flags.Problems{{Pointer: "/name", Code: flags.CodeImmutable, Message: "a project keeps its name: keys and streams carry it"}}
	}
	was, ok := before.(*flags.Key)
	if !ok {
		return nil
	}
	is := after.(*flags.Key)
	if is.Hash == "" {
		is.Hash, is.Hint = was.Hash, was.Hint
	}
	var problems flags.Problems
	fixed := func(pointer, was, is string) {
		if was != is {
			problems = append(problems, flags.Problem{Pointer: pointer, Code: flags.CodeImmutable, Message: "a key's kind and secret never change: make another key"})
		}
	}
	fixed("/kind", string(was.Kind), string(is.Kind))
	fixed("/hash", was.Hash, is.Hash)
	fixed("/hint", was.Hint, is.Hint)
	if was.Revoked && !is.Revoked {
		problems = append(problems, flags.Problem{Pointer: "/revoked", Code: flags.CodeImmutable, Message: "a revoked key stays revoked: make another key"})
	}
	if len(problems) > 0 {
		return problems
	}
	return nil
}
