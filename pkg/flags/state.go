package flags

import (
	"encoding/json"
	"iter"
	"slices"
	"strings"
)

// An Entity is one definition as the log has it: its document and where in the
// log it stands.
type Entity struct {
	Ref     Ref
	Name    string
	Doc     Document        // nil if deleted
	Raw     json.RawMessage // the document's bytes in the log; nil if deleted
	Version uint64          // how often the entity changed, from 1
	Seq     uint64          // position of its last change: its ETag
	Time    int64           // time of its last change in milliseconds
	Created int64           // time of its first
	Deleted bool            // only the name is left, which stays retired
}

// A Position is a place in a project's log.
type Position struct {
	LogID string
	Seq   uint64
	Time  int64 // milliseconds
}

// A State is all definitions of a project at one position of its log, with the
// indexes that deciding and lowering need. It is immutable: a change makes a new
// State that shares with the old one all that did not change.
type State struct {
	project string
	at      Position

	entities   table[Ref, Entity] // tombstones among them
	live       int
	names      table[nameKey, Ref]      // of live entities
	retired    table[nameKey, Ref]      // of deleted ones
	byName     map[Kind][]named         // live entities in the order of their names
	dependents table[mentionKey, []Ref] // who mentions a name or an id, in order
	keys       table[[32]byte, Ref]
	lists      table[string, *IDList] // by the id of the segment
}

// nameKey is a name within its name space, without its case.
type nameKey struct{ space, name string }

func nameOf(kind Kind, name string) nameKey { return nameKey{kind.space(), fold(name)} }

// fold takes the case out of a name; names are ASCII.
func fold(name string) string { return strings.ToLower(name) }

// mentionKey is what a document says to name another entity: an id, or a name
// without its case.
type mentionKey struct {
	kind Kind
	text string
}

// named is an entry of the order by name.
type named struct {
	name string // folded
	ref  Ref
}

func (n named) compare(o named) int {
	if c := strings.Compare(n.name, o.name); c != 0 {
		return c
	}
	return n.ref.compare(o.ref)
}

// NewState returns the empty state of a project.
func NewState(project string) *State { return &State{project: project} }

// Project is the project's id.
func (s *State) Project() string { return s.project }

// Position is where in the log the state stands.
func (s *State) Position() Position { return s.at }

// LogID names the log.
func (s *State) LogID() string { return s.at.LogID }

// Seq is the position of the last change; the project's version.
func (s *State) Seq() uint64 { return s.at.Seq }

// Time is the time of the last change in milliseconds. It rises with every
// change.
func (s *State) Time() int64 { return s.at.Time }

// Len is the number of live entities.
func (s *State) Len() int { return s.live }

// Count is the number of live entities of a kind.
func (s *State) Count(kind Kind) int { return len(s.byName[kind]) }

// Get returns a live entity by its reference.
func (s *State) Get(ref Ref) (Entity, bool) {
	e, ok := s.entities.get(ref)
	if !ok || e.Deleted {
		return Entity{}, false
	}
	return e, true
}

// Tombstone returns what is left of a deleted entity.
func (s *State) Tombstone(ref Ref) (Entity, bool) {
	e, ok := s.entities.get(ref)
	if !ok || !e.Deleted {
		return Entity{}, false
	}
	return e, true
}

// ByName returns the live entity of the kind that has the name, in any case.
func (s *State) ByName(kind Kind, name string) (Entity, bool) {
	ref, ok := s.names.get(nameOf(kind, name))
	if !ok || ref.Kind != kind {
		return Entity{}, false
	}
	return s.Get(ref)
}

// Find returns a live entity by its id or its name.
func (s *State) Find(kind Kind, idOrName string) (Entity, bool) {
	if e, ok := s.Get(Ref{kind, idOrName}); ok {
		return e, true
	}
	return s.ByName(kind, idOrName)
}

// All yields the live entities of a kind in the order of their names.
func (s *State) All(kind Kind) iter.Seq[Entity] {
	return func(yield func(Entity) bool) {
		for _, n := range s.byName[kind] {
			if e, ok := s.Get(n.ref); ok && !yield(e) {
				return
			}
		}
	}
}

// Entities yields every entity, tombstones among them, in the order of their
// last change.
func (s *State) Entities() iter.Seq[Entity] {
	return func(yield func(Entity) bool) {
		all := make([]Entity, 0, s.entities.size)
		for _, e := range s.entities.all {
			all = append(all, e)
		}
		slices.SortFunc(all, func(a, b Entity) int {
			if a.Seq != b.Seq {
				if a.Seq < b.Seq {
					return -1
				}
				return 1
			}
			return a.Ref.compare(b.Ref)
		})
		for _, e := range all {
			if !yield(e) {
				return
			}
		}
	}
}

// Retired reports whether the name belonged to a deleted entity of the kind, or
// of a kind that shares its name space.
func (s *State) Retired(kind Kind, name string) bool {
	_, ok := s.retired.get(nameOf(kind, name))
	return ok
}

// KeyByHash returns the key whose text has the SHA-256 hash.
func (s *State) KeyByHash(hash [32]byte) (*Key, bool) {
	ref, ok := s.keys.get(hash)
	if !ok {
		return nil, false
	}
	e, ok := s.Get(ref)
	if !ok {
		return nil, false
	}
	k, ok := e.Doc.(*Key)
	return k, ok
}

// References lists the live entities that the entity refers to.
func (s *State) References(ref Ref) []Ref {
	e, ok := s.Get(ref)
	if !ok {
		return nil
	}
	return s.mentioned(e.Doc, func(mention) bool { return true })
}

// mentioned resolves those mentions of a document that keep wants.
func (s *State) mentioned(d Document, keep func(mention) bool) []Ref {
	var out []Ref
	d.references(func(m mention) {
		if !keep(m) {
			return
		}
		if e, ok := s.Find(m.kind, m.name); ok {
			out = append(out, e.Ref)
		}
	})
	slices.SortFunc(out, Ref.compare)
	return slices.Compact(out)
}

// Dependents lists the live entities that refer to the entity, archived ones
// among them.
func (s *State) Dependents(ref Ref) []Ref {
	e, ok := s.Get(ref)
	if !ok {
		return nil
	}
	if ref.Kind == KindEnvironment {
		return s.environmentUsers(e)
	}
	byID, _ := s.dependents.get(mentionKey{ref.Kind, ref.ID})
	byName, _ := s.dependents.get(mentionKey{ref.Kind, fold(e.Name)})
	out := slices.Concat(byID, byName)
	slices.SortFunc(out, Ref.compare)
	return slices.Compact(out)
}

// environmentUsers looks through everything: nearly every entity mentions an
// environment, and whether one is still in use is hardly ever asked, so an index
// would cost each change more than it ever gave back.
func (s *State) environmentUsers(environment Entity) []Ref {
	var out []Ref
	for ref, e := range s.entities.all {
		if e.Deleted {
			continue
		}
		used := false
		e.Doc.references(func(m mention) {
			used = used || m.kind == KindEnvironment &&
				(m.name == environment.Ref.ID || fold(m.name) == fold(environment.Name))
		})
		if used {
			out = append(out, ref)
		}
	}
	slices.SortFunc(out, Ref.compare)
	return out
}
