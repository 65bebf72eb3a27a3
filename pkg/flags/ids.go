package flags

import (
	"io"
	"iter"
	"regexp"
	"sort"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/sluice-flags/sluice/pkg/eval"
)

// An IDBatch is a piece of a segment's id list: changes of its members, in the
// order in which they were made.
//
// The batches of a list, one after the other by number, are its file: the text
// that SDKs download and that only grows. When a list is rewritten it gets
// another file, and batches of older files mean nothing any more.
//
// Ids are in the log by their hashes alone ([eval.HashID]), as they travel: whoever
// reads the log can ask whether an id is a member, and cannot list members.
type IDBatch struct {
	ID string `json:"id" flags:"required"` // "<segment>.<number>"
	// File is when the list's file was begun, in milliseconds. It rises when the
	// list is rewritten.
	File int64 `json:"file" flags:"required"`
	// Changes has nine characters for each: '+' or '-', then the hashed id.
	Changes string `json:"changes" flags:"required"`
}

// Widths of a change, in a batch and as a line of the file.
const (
	changeWidth = 9
	lineWidth   = changeWidth + 1
)

// Ref implements [Document].
func (b *IDBatch) Ref() Ref { return Ref{KindIDs, b.ID} }

// DocName implements [Document]. A batch has no name but its id.
func (b *IDBatch) DocName() string { return b.ID }

func (b *IDBatch) header() header { return header{id: &b.ID, name: &b.ID, about: new(About)} }

func (b *IDBatch) normalize() {}

func (b *IDBatch) validate(v *validation) {
	if b.File < 0 {
		v.add("/file", CodeInvalid, "%d is no time", b.File)
	}
	if !validChanges(b.Changes) {
		v.add("/changes", CodeInvalid, "want + or - and a hashed id of eight characters, as often as there are changes")
	}
	if len(b.Changes) > maxBatch*changeWidth {
		v.add("/changes", CodeTooLarge, "the batch has %d changes; at most %d", len(b.Changes)/changeWidth, maxBatch)
	}
	segment, _, _ := splitBatch(b.ID)
	if e, ok := v.state.Get(Ref{KindSegment, segment}); !ok || e.Doc.(*Segment).Type != SegmentIDList {
		v.add("/id", CodeMissing, "there is no segment %q that is an id list", segment)
	}
}

func (b *IDBatch) references(func(mention)) {}

var batchRest = regexp.MustCompile(`^(0|[1-9][0-9]{0,4})$`)

// validChanges reports whether text is changes and nothing else.
func validChanges(text string) bool {
	for i := range len(text) {
		c := text[i]
		switch {
		case i%changeWidth == 0 && c != '+' && c != '-':
			return false
		case i%changeWidth != 0 && c != '+' && (c < '/' || c > '9') && (c < 'A' || c > 'Z') && (c < 'a' || c > 'z'):
			return false
		}
	}
	return len(text)%changeWidth == 0
}

// batchID is the id of a segment's batch.
func batchID(segment string, number int) string { return segment + "." + strconv.Itoa(number) }

// splitBatch is the inverse of batchID.
func splitBatch(id string) (segment string, number int, ok bool) {
	segment, rest, _ := strings.Cut(id, ".")
	if !KindSegment.ValidID(segment) || !batchRest.MatchString(rest) {
		return segment, 0, false
	}
	number, err := strconv.Atoi(rest)
	return segment, number, err == nil
}

// changesIn yields the changes of a batch: which hashed id, and whether it is in
// from then on.
func changesIn(text string) iter.Seq2[string, bool] {
	return func(yield func(string, bool) bool) {
		for len(text) >= changeWidth {
			if !yield(text[1:changeWidth], text[0] == '+') {
				return
			}
			text = text[changeWidth:]
		}
	}
}

// An IDList is a segment's id list as one state has it. It is immutable and safe
// for concurrent use; states share it until it changes.
type IDList struct {
	segment string
	file    int64
	seq     uint64   // of its last change; 0 if there was none
	batches []string // the changes of each batch of the file
	ends    []int    // how many changes there are up to the end of each batch

	// base has the members after the first changes of the same file, so that a
	// change is added to what is known already. Nil: none are known.
	base  *eval.IDList
	known int

	once    sync.Once
	members atomic.Pointer[eval.IDList]
}

// IDList returns the id list of a live segment that is one.
func (s *State) IDList(segment Ref) (*IDList, bool) {
	e, ok := s.Get(segment)
	if !ok {
		return nil, false
	}
	if d, ok := e.Doc.(*Segment); !ok || d.Type != SegmentIDList {
		return nil, false
	}
	if l, ok := s.lists.get(segment.ID); ok {
		return l, true
	}
	return &IDList{segment: segment.ID, file: e.Created}, true // nothing was ever put in
}

// Name is what rules and SDKs call the list: the segment's id, so that renaming
// the segment changes no answer anywhere.
func (l *IDList) Name() string { return l.segment }

// Seq is the position of the list's last change, 0 if there was none.
func (l *IDList) Seq() uint64 { return l.seq }

// Created is when the list's file was begun, in milliseconds. It never falls.
func (l *IDList) Created() int64 { return l.file }

// FileID names the file for ever: files of one id only grow.
func (l *IDList) FileID() string { return l.segment + "." + strconv.FormatInt(l.file, 10) }

// Size is the size of the file in bytes.
func (l *IDList) Size() int64 { return int64(l.changes()) * lineWidth }

// Batches is how many batches hold the list.
func (l *IDList) Batches() int {
	n := len(l.batches)
	for n > 0 && l.batches[n-1] == "" {
		n--
	}
	return n
}

func (l *IDList) changes() int {
	if len(l.ends) == 0 {
		return 0
	}
	return l.ends[len(l.ends)-1]
}

// Has reports whether an id, in clear, is a member.
func (l *IDList) Has(id string) bool { return l.Members().Has(eval.HashID(id)) }

// Members is the set of members. It is worked out when first asked for, from
// what the list was before if that is known.
func (l *IDList) Members() *eval.IDList {
	l.once.Do(func() {
		base := l.base
		if base == nil {
			base = new(eval.IDList)
		}
		l.members.Store(base.Edit(l.changes()-l.known, l.changesFrom(l.known)))
	})
	return l.members.Load()
}

// changesFrom yields all changes of the file but the first.
func (l *IDList) changesFrom(first int) iter.Seq2[string, bool] {
	return func(yield func(string, bool) bool) {
		for i := sort.SearchInts(l.ends, first+1); i < len(l.batches); i++ {
			text := l.batches[i]
			if begin := l.ends[i] - len(text)/changeWidth; begin < first {
				text = text[(first-begin)*changeWidth:]
			}
			for hashed, in := range changesIn(text) {
				if !yield(hashed, in) {
					return
				}
			}
		}
	}
}

// ReadAt implements [io.ReaderAt] on the file: a line for each change, such as
// "+ungWv48B\n".
func (l *IDList) ReadAt(p []byte, off int64) (n int, err error) {
	if off < 0 {
		return 0, io.EOF
	}
	for i := sort.SearchInts(l.ends, int(off/lineWidth)+1); i < len(l.batches) && n < len(p); i++ {
		text := l.batches[i]
		begin := int64(l.ends[i]-len(text)/changeWidth) * lineWidth
		at := int(off + int64(n) - begin)
		text, at = text[at/lineWidth*changeWidth:], at%lineWidth
		for len(text) >= changeWidth && n < len(p) {
			if at < changeWidth {
				n += copy(p[n:], text[at:changeWidth])
				if n == len(p) {
					break
				}
			}
			p[n] = '\n'
			n++
			text, at = text[changeWidth:], 0
		}
	}
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

// with is the list after a batch was written. Batches of a younger file put an
// end to those of an older one, in whichever order they come.
func (l *IDList) with(e Entity, b *IDBatch, number int) *IDList {
	segment, _, _ := splitBatch(b.ID)
	if l == nil {
		l = &IDList{segment: segment, file: b.File}
	}
	next := &IDList{segment: l.segment, file: l.file, seq: max(l.seq, e.Seq), batches: l.batches}
	switch {
	case b.File < l.file:
		next.ends, next.base, next.known = l.ends, l.base, l.known
		return next
	case b.File > l.file:
		next.file, next.batches = b.File, nil
	default:
		next.base, next.known = l.base, l.known
		if m := l.members.Load(); m != nil {
			next.base, next.known = m, l.changes()
		}
	}
	before := ""
	if number < len(next.batches) {
		before = next.batches[number]
	}
	begin := 0
	if number > 0 && len(l.ends) >= number && b.File == l.file {
		begin = l.ends[number-1]
	}
	if !strings.HasPrefix(b.Changes, before) || begin+len(before)/changeWidth < next.known {
		next.base, next.known = nil, 0 // not at the end: what was known is of no use
	}
	batches := make([]string, max(len(next.batches), number+1))
	copy(batches, next.batches)
	batches[number] = b.Changes
	next.batches, next.ends = batches, make([]int, len(batches))
	sum := 0
	for i, text := range batches {
		sum += len(text) / changeWidth
		next.ends[i] = sum
	}
	return next
}
