package flags

import (
	"iter"
	"slices"
	"strings"

	"github.com/sluice-flags/sluice/pkg/eval"
)

// Limits of an id list. All batches of a list, and its segment, fit into one
// commit, so that a list can be replaced and a segment deleted at once.
const (
	MaxIDs     = 2_000_000 // members of one list
	maxUnitID  = maxValue  // bytes of one id
	maxBatches = 900       // of one list
	openBatch  = 1000      // a batch with fewer changes takes more: adding one id writes a few kilobytes
	slack      = 10_000    // changes that a file may have beyond twice its members
)

// IDChanges are additions to and removals from an id list, in order. The zero
// value has none; it holds nine bytes for each.
type IDChanges struct{ text strings.Builder }

// Add puts an id in.
func (c *IDChanges) Add(id string) { c.append('+', eval.HashID(id)) }

// Remove takes an id out.
func (c *IDChanges) Remove(id string) { c.append('-', eval.HashID(id)) }

func (c *IDChanges) append(sign byte, hashed string) {
	c.text.WriteByte(sign)
	c.text.WriteString(hashed)
}

// Len is the number of changes.
func (c *IDChanges) Len() int { return c.text.Len() / changeWidth }

// ValidUnitID reports whether an id can be a member of a list: not empty, and up to
// 1,024 bytes.
func ValidUnitID(id string) bool { return id != "" && len(id) <= maxUnitID }

// An IDEdit is what a change of an id list comes to.
type IDEdit struct {
	Batches        []*IDBatch // those that are written
	Added, Removed int        // members that came and went
	Count          int        // members after it
	Rewritten      bool       // the list begins another file
}

// Edit returns what changes make of the list: what is so already is passed over,
// and of several changes of one id the last one counts. Now is in milliseconds.
func (l *IDList) Edit(c *IDChanges, now int64) (IDEdit, Problems) {
	return l.append(l.effective(c.text.String()), now)
}

// Replace returns what it takes for the list to have the added ids of c as its
// members, and no others. What is nearly the same is changed, all else rewritten.
func (l *IDList) Replace(c *IDChanges, now int64) (IDEdit, Problems) {
	members := l.Members()
	want := new(eval.IDList).Edit(c.Len(), changesIn(c.text.String()))
	var text strings.Builder
	removed := 0
	for _, hashed := range sortedIDs(members) {
		if !want.Has(hashed) {
			text.WriteString("-" + hashed)
			removed++
		}
	}
	added := l.effective(c.text.String())
	text.WriteString(added)
	if changes := text.Len() / changeWidth; changes == 0 || changes < want.Len() {
		return l.append(text.String(), now)
	}
	return l.rewrite(want, len(added)/changeWidth, removed, now)
}

// effective is the changes that make a difference to the members, each id once.
func (l *IDList) effective(text string) string {
	members := l.Members()
	last := make(map[string]int, len(text)/changeWidth) // id → where its last change ends
	at := 0
	for hashed := range changesIn(text) {
		at += changeWidth
		last[hashed] = at
	}
	var out strings.Builder
	at = 0
	for hashed, in := range changesIn(text) {
		at += changeWidth
		if last[hashed] == at && members.Has(hashed) != in {
			out.WriteString(text[at-changeWidth : at])
		}
	}
	return out.String()
}

// append is the edit that puts changes at the end of the file, or rewrites it when
// it would be mostly history.
func (l *IDList) append(text string, now int64) (IDEdit, Problems) {
	edit := IDEdit{Count: l.Members().Len()}
	if text == "" {
		return edit, nil
	}
	for _, in := range changesIn(text) {
		if in {
			edit.Added++
		} else {
			edit.Removed++
		}
	}
	edit.Count += edit.Added - edit.Removed
	if edit.Count > MaxIDs {
		return IDEdit{}, tooManyIDs(edit.Count)
	}
	number, begin := l.Batches(), ""
	if number > 0 && len(l.batches[number-1]) < openBatch*changeWidth {
		number--
		begin = l.batches[number]
	}
	changes := l.changes() + len(text)/changeWidth
	batches := number + (len(begin)+len(text))/(maxBatch*changeWidth) + 1
	if changes > 2*edit.Count+slack || batches > maxBatches {
		after := l.Members().Edit(len(text)/changeWidth, changesIn(text))
		return l.rewrite(after, edit.Added, edit.Removed, now)
	}
	edit.Batches = l.cut(l.file, number, begin+text)
	return edit, nil
}

// rewrite is the edit that begins another file with the given members.
func (l *IDList) rewrite(members *eval.IDList, added, removed int, now int64) (IDEdit, Problems) {
	if members.Len() > MaxIDs {
		return IDEdit{}, tooManyIDs(members.Len())
	}
	var text strings.Builder
	for _, hashed := range sortedIDs(members) {
		text.WriteString("+" + hashed)
	}
	edit := IDEdit{Added: added, Removed: removed, Count: members.Len(), Rewritten: true}
	file := max(now, l.file+1)
	edit.Batches = l.cut(file, 0, text.String())
	for number := len(edit.Batches); number < l.Batches(); number++ {
		edit.Batches = append(edit.Batches, &IDBatch{ID: batchID(l.segment, number), File: file})
	}
	return edit, nil
}

// cut makes batches of changes.
func (l *IDList) cut(file int64, number int, text string) []*IDBatch {
	var out []*IDBatch
	for text != "" {
		n := min(len(text), maxBatch*changeWidth)
		out = append(out, &IDBatch{ID: batchID(l.segment, number), File: file, Changes: text[:n]})
		text = text[n:]
		number++
	}
	return out
}

func sortedIDs(l *eval.IDList) []string {
	return slices.Sorted(iter.Seq[string](l.All))
}

func tooManyIDs(n int) Problems {
	var p Problems
	p.add("", CodeTooLarge, "the list would have %d ids; at most %d", n, MaxIDs)
	return p
}

// BatchRefs names the batches that belong to a segment, those of older files among
// them: what goes when the segment goes.
func (s *State) BatchRefs(segment Ref) []Ref {
	var out []Ref
	for number := 0; ; number++ {
		ref := Ref{KindIDs, batchID(segment.ID, number)}
		if _, ok := s.Get(ref); !ok {
			return out // numbers are dense
		}
		out = append(out, ref)
	}
}
