package command

import (
	"github.com/sluice-flags/sluice/pkg/flags"
)

// environments are what a new project has.
var environments = []flags.Environment{
	{Name: "development", Order: 1, Color: "#2f9e6e"},
	{Name: "staging", Order: 2, Color: "#c98a1b"},
	{Name: "production", Order: 3, Color: "#c0473d", Protected: true},
}

// ProjectRef names the entity of a project's settings. Its id follows from the
// project's, so that two who make the same project at once make one.
func ProjectRef(project string) flags.Ref {
	return flags.Ref{Kind: flags.KindProject, ID: flags.KindProject.IDPrefix() + project}
}

// Enroll puts a project on the organisation's list.
type Enroll struct {
	Doc *flags.Project
}

// projectDoc is a copy of a project's settings under its id.
func projectDoc(settings *flags.Project) flags.Document {
	doc := flags.Clone(settings).(*flags.Project)
	doc.ID = ProjectRef(settings.Name).ID
	return doc
}

// Decide implements [Command] on the organisation's state.
func (c Enroll) Decide(s *flags.State, env Env) (Decision, error) {
	ref := ProjectRef(c.Doc.Name)
	if e, ok := s.Get(ref); ok {
		return Decision{}, refuse(Exists, e, "there is a project %q already", c.Doc.Name)
	}
	return write(s, env, flags.Entity{}, projectDoc(c.Doc))
}

// Found writes what a new project begins with, in one commit: its settings and
// its environments. On a project that has begun it does nothing.
type Found struct {
	Doc *flags.Project
}

// Decide implements [Command] on the project's own state.
func (c Found) Decide(s *flags.State, env Env) (Decision, error) {
	ref := ProjectRef(c.Doc.Name)
	if e, ok := s.Get(ref); ok {
		return Decision{Ref: ref, Current: e, After: e.Doc}, nil
	}
	all, err := write(s, env, flags.Entity{}, projectDoc(c.Doc))
	if err != nil {
		return Decision{}, err
	}
	for _, e := range environments {
		e.ID = flags.KindEnvironment.IDPrefix() + e.Name
		one, err := write(s, env, flags.Entity{}, flags.Clone(&e))
		if err != nil {
			return Decision{}, err
		}
		all.Drafts = append(all.Drafts, one.Drafts...)
	}
	return all, nil
}

// Admit makes a key unless there is one with its hash already.
type Admit struct {
	Key *flags.Key
	// OnlyFirst does nothing when any key of the kind lets somebody in.
	OnlyFirst bool
}

// Decide implements [Command].
func (c Admit) Decide(s *flags.State, env Env) (Decision, error) {
	for e := range s.All(flags.KindKey) {
		k := e.Doc.(*flags.Key)
		if k.Hash == c.Key.Hash || c.OnlyFirst && k.Kind == c.Key.Kind && k.Active(env.Now) {
			return Decision{Ref: e.Ref, Current: e, After: k}, nil
		}
	}
	return Create{Doc: c.Key}.Decide(s, env)
}
