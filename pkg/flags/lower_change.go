package flags

import (
	"cmp"
	"reflect"
	"slices"
	"strings"

	"github.com/sluice-flags/sluice/pkg/eval"
)

// LowerChange returns what differs for a scope between two states, given the
// entities that changed from one to the other. Applying it to what Lower made of
// the old state gives what Lower makes of the new one, at the cost of the
// entities concerned. A nil state is one without entities.
func LowerChange(before, after *State, changed []Ref, scope Scope) eval.Change {
	if before == nil {
		before = NewState(after.project)
	}
	was, is := newLowering(before, scope), newLowering(after, scope)
	out := eval.Change{Time: after.Time(), Sequence: after.Seq()}
	for ref := range concerned(before, after, changed) {
		was, is := was.ref(ref), is.ref(ref)
		for name, spec := range is {
			if old, ok := was[name]; !ok || !reflect.DeepEqual(old, spec) {
				out.Set = append(out.Set, spec)
			}
		}
		for name := range was {
			if _, ok := is[name]; !ok {
				out.Delete = append(out.Delete, name)
			}
		}
	}
	lowerLists(was, is, changed, &out)
	tidy(&out)
	for _, ref := range changed {
		if ref.Kind == KindLayer || ref.Kind == KindExperiment {
			if layers := is.layers(); !reflect.DeepEqual(layers, was.layers()) {
				out.Layers = layers
			}
			break
		}
	}
	return out
}

// ref lowers one entity, by the names of its specs.
func (l *lowering) ref(ref Ref) map[eval.Ref]eval.Spec {
	e, ok := l.state.Get(ref)
	if !ok {
		return nil
	}
	out := map[eval.Ref]eval.Spec{}
	for _, spec := range l.entity(e) {
		out[spec.Ref()] = spec
	}
	return out
}

// tidy puts a change in order and takes out deletions of names that something
// else got in the same change.
func tidy(c *eval.Change) {
	set := map[eval.Ref]bool{}
	for i := range c.Set {
		set[c.Set[i].Ref()] = true
	}
	c.Delete = slices.DeleteFunc(c.Delete, func(r eval.Ref) bool { return set[r] })
	slices.SortFunc(c.Delete, compareRefs)
	slices.SortFunc(c.Set, func(a, b eval.Spec) int { return compareRefs(a.Ref(), b.Ref()) })
}

func compareRefs(a, b eval.Ref) int {
	return cmp.Or(cmp.Compare(a.Section, b.Section), strings.Compare(a.Name, b.Name))
}

// concerned is what the changed entities can make lower differently: themselves,
// those that name them if the name changed, what they refer to (which may be
// in a scope for their sake only), and the rest of their layer.
func concerned(before, after *State, changed []Ref) map[Ref]bool {
	out := map[Ref]bool{}
	for _, ref := range changed {
		out[ref] = true
		old, _ := before.Get(ref)
		now, _ := after.Get(ref)
		for _, s := range []*State{before, after} {
			for _, r := range s.References(ref) {
				out[r] = true
			}
			if old.Name != now.Name {
				for _, r := range s.Dependents(ref) {
					out[r] = true
					for _, r := range s.layerOf(r) { // experiments have their layer's holdouts
						out[r] = true
					}
				}
			}
			for _, r := range s.layerOf(ref) {
				out[r] = true
			}
		}
	}
	return out
}

// layerOf lists a layer and its experiments, given any of them.
func (s *State) layerOf(ref Ref) []Ref {
	e, ok := s.Get(ref)
	if !ok {
		return nil
	}
	layer := ref
	if x, ok := e.Doc.(*Experiment); ok {
		found, ok := s.Find(KindLayer, x.Layer)
		if !ok {
			return nil
		}
		layer = found.Ref
	}
	if layer.Kind != KindLayer {
		return nil
	}
	return append(s.Dependents(layer), layer)
}
