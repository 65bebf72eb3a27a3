package flags

import (
	"iter"
	"slices"

	"github.com/sluice-flags/sluice/pkg/eval"
)

// IDLists returns the id lists that a key of the scope evaluates, by the names
// that rules have for them.
func IDLists(s *State, scope Scope) map[string]*IDList {
	out := map[string]*IDList{}
	for name, list := range newLowering(s, scope).lists() {
		out[name] = list
	}
	return out
}

// lists yields the id lists of the scope: of every segment that lowers to a spec.
func (l *lowering) lists() iter.Seq2[string, *IDList] {
	return func(yield func(string, *IDList) bool) {
		for e := range l.state.All(KindSegment) {
			if list := l.list(e.Ref); list != nil && !yield(list.Name(), list) {
				return
			}
		}
	}
}

// list is the id list of a segment that has one and lowers to a spec.
func (l *lowering) list(segment Ref) *IDList {
	e, ok := l.state.Get(segment)
	if !ok || e.Doc.header().archived || !l.visible(e) {
		return nil
	}
	list, _ := l.state.IDList(segment)
	return list
}

// lowerLists adds to a change the id lists that differ. A list that nobody touched
// is the same in both states, not merely equal.
func lowerLists(was, is *lowering, changed []Ref, out *eval.Change) {
	for _, ref := range changed {
		switch ref.Kind {
		case KindIDs:
			segment, _, _ := splitBatch(ref.ID)
			ref = Ref{KindSegment, segment}
		case KindSegment:
		default:
			continue
		}
		before, after := was.list(ref), is.list(ref)
		switch {
		case after == nil && before != nil:
			out.DeleteIDLists = append(out.DeleteIDLists, before.Name())
		case after != nil && (before == nil || before.Seq() != after.Seq()):
			if out.IDLists == nil {
				out.IDLists = map[string]*eval.IDList{}
			}
			out.IDLists[after.Name()] = after.Members()
		}
	}
	slices.Sort(out.DeleteIDLists)
	out.DeleteIDLists = slices.Compact(out.DeleteIDLists)
}
