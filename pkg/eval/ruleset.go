package eval

import (
	"iter"
	"slices"
	"strings"
	"time"
)

// Options are what evaluation needs from outside. The zero value works: rules on
// a country or browser that the user does not name do not match then.
type Options struct {
	Country   CountryLookup
	UserAgent UserAgentParser
	Now       func() time.Time   // time.Now if nil
	IDLists   map[string]*IDList // members of the id lists
	Sequence  uint64             // position in the log that the specs stand for
	Source    Source             // where the specs came from
}

// A Ruleset is a compiled, immutable set of specs, safe for any number of
// concurrent evaluations. A change makes a new Ruleset; see [Ruleset.Apply].
type Ruleset struct {
	time     int64
	sequence uint64
	options  Options
	apps     AppIDs

	sections   [sections]section
	listSlots  names
	lists      table[*IDList]
	layers     map[string][]string
	layerOf    map[string]string   // experiment → layer
	allow      map[string]*allowed // by hashed client key
	quarantine map[Ref]string
	boundaries []boundary // by time
}

// A section holds the specs of one name space. A name keeps its slot for ever, so
// that references between specs are numbers, and a changed spec takes effect for
// all that refer to it by being put into its slot.
type section struct {
	names names
	specs table[*spec]
	users table[[]node] // who refers to the slot's spec
	order []int32       // slots of the known specs, by name
}

// names maps names to slots. New names go into a small map that is copied per
// change, and are folded into the big one when they have become many.
type names struct{ base, recent map[string]int32 }

const maxRecentNames = 512

func (n *names) slot(name string) (int32, bool) {
	if i, ok := n.base[name]; ok {
		return i, true
	}
	i, ok := n.recent[name]
	return i, ok
}

// A Quarantine is an entity that could not be read or compiled, and why. It
// evaluates as unsupported; everything else is unaffected.
type Quarantine struct {
	Ref    Ref
	Reason string
}

// A boundary is an instant, in milliseconds, at which a spec may answer
// differently without having changed.
type boundary struct {
	at  int64
	ref Ref
}

// Time returns when the specs last changed, in milliseconds.
func (r *Ruleset) Time() int64 { return r.time }

// Sequence returns the position in the log that the ruleset stands for.
func (r *Ruleset) Sequence() uint64 { return r.sequence }

// Quarantined lists what could not be compiled.
func (r *Ruleset) Quarantined() []Quarantine {
	out := make([]Quarantine, 0, len(r.quarantine))
	for ref, reason := range r.quarantine {
		out = append(out, Quarantine{ref, reason})
	}
	slices.SortFunc(out, func(a, b Quarantine) int { return compareRefs(a.Ref, b.Ref) })
	return out
}

func compareRefs(a, b Ref) int {
	if a.Section != b.Section {
		return int(a.Section) - int(b.Section)
	}
	return strings.Compare(a.Name, b.Name)
}

// Names yields the names of a section in order.
func (r *Ruleset) Names(s Section) iter.Seq[string] {
	return func(yield func(string) bool) {
		if s >= sections {
			return
		}
		for _, slot := range r.sections[s].order {
			if !yield(r.sections[s].specs.at(slot).name) {
				return
			}
		}
	}
}

// find returns the spec of a name, nil if nothing defines or mentions it.
func (r *Ruleset) find(s Section, name string) *spec {
	sec := &r.sections[s]
	if i, ok := sec.names.slot(name); ok {
		return sec.specs.at(i)
	}
	return nil
}

// Dependents returns refs and everything whose answer or payload entry may differ
// when they change, each once.
func (r *Ruleset) Dependents(refs ...Ref) []Ref {
	var queue []node
	for _, ref := range refs {
		if ref.Section >= sections {
			continue
		}
		if i, ok := r.sections[ref.Section].names.slot(ref.Name); ok {
			queue = append(queue, node{ref.Section, i})
		}
		if ref.Section == Layers { // its defaults are in its experiments' entries
			for _, experiment := range r.layers[ref.Name] {
				if i, ok := r.sections[Configs].names.slot(experiment); ok {
					queue = append(queue, node{Configs, i})
				}
			}
		}
	}
	return r.closure(queue)
}

// IDListDependents returns everything whose answer may differ when the members of
// the named id lists change.
func (r *Ruleset) IDListDependents(lists ...string) []Ref {
	var queue []node
	for _, name := range lists {
		slot, ok := r.listSlots.slot(name)
		if !ok {
			continue
		}
		for section := range r.sections {
			specs := &r.sections[section].specs
			for i := range specs.n {
				if slices.Contains(specs.at(i).lists, slot) {
					queue = append(queue, node{Section(section), i})
				}
			}
		}
	}
	return r.closure(queue)
}

// closure adds to the nodes everything that refers to them, however far away.
func (r *Ruleset) closure(queue []node) []Ref {
	var seen [sections][]uint64 // slots, as bits
	for i := range seen {
		seen[i] = make([]uint64, r.sections[i].specs.n/64+1)
	}
	out := make([]Ref, 0, len(queue))
	for len(queue) > 0 {
		n := queue[0]
		queue = queue[1:]
		word, bit := &seen[n.section][n.slot/64], uint64(1)<<(n.slot%64)
		if *word&bit != 0 {
			continue
		}
		*word |= bit
		sec := &r.sections[n.section]
		out = append(out, sec.specs.at(n.slot).ref)
		queue = append(queue, sec.users.at(n.slot)...)
	}
	return out
}

// NextBoundary returns the first instant after the given one at which a condition
// on the current time changes its answer, and the specs that hold such
// conditions; a zero time if there is none. What depends on those specs is the
// business of [Ruleset.Dependents].
func (r *Ruleset) NextBoundary(after time.Time) (at time.Time, refs []Ref) {
	ms := after.UnixMilli()
	i, _ := slices.BinarySearchFunc(r.boundaries, ms+1, func(b boundary, ms int64) int {
		return int(compare(b.at, ms)) - int(equal)
	})
	if i == len(r.boundaries) {
		return time.Time{}, nil
	}
	first := r.boundaries[i].at
	for ; i < len(r.boundaries) && r.boundaries[i].at == first; i++ {
		refs = append(refs, r.boundaries[i].ref)
	}
	return time.UnixMilli(first), refs
}

// boundaries returns the instants at which the condition changes its answer.
func (c *condition) boundaries() []int64 {
	if c.source != fromClock {
		return nil
	}
	switch t := c.test.(type) {
	case timeTest:
		return []int64{firstDifferent(t.target, t.want)}
	case dayTest:
		return []int64{t.day * millisPerDay, (t.day + 1) * millisPerDay}
	case numberTest:
		if ms, ok := truncate(t.target); ok {
			return []int64{firstDifferent(ms, t.want)}
		}
	}
	return nil
}

// firstDifferent returns the first millisecond at which a comparison with target
// has its final answer.
func firstDifferent(target int64, want order) int64 {
	if want == greater || want == less|equal {
		return target + 1
	}
	return target
}
