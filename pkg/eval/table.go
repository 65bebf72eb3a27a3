package eval

import "slices"

const (
	pageBits = 6
	pageSize = 1 << pageBits
)

// A table is an array in pages, of which a copy shares all that it does not
// write: changing one of 10,000 elements copies one page and the list of pages.
//
// A copied table must be forked before it is written; one that is no longer
// written may be read by anyone.
type table[T any] struct {
	pages []*[pageSize]T
	n     int32
	own   []bool // pages that are private copies; nil: not even the list of pages is
}

func (t *table[T]) at(i int32) T { return t.pages[i>>pageBits][i&(pageSize-1)] }

// fork gives up ownership, so that what is written next is copied first.
func (t *table[T]) fork() { t.own = nil }

// edit returns a place to write to.
func (t *table[T]) edit(i int32) *T {
	t.ownPages()
	p := i >> pageBits
	if !t.own[p] {
		page := *t.pages[p]
		t.pages[p], t.own[p] = &page, true
	}
	return &t.pages[p][i&(pageSize-1)]
}

// push appends an element and returns its index.
func (t *table[T]) push(v T) int32 {
	if t.n&(pageSize-1) == 0 {
		t.ownPages()
		t.pages = append(t.pages, new([pageSize]T))
		t.own = append(t.own, true)
	}
	t.n++
	*t.edit(t.n - 1) = v
	return t.n - 1
}

func (t *table[T]) ownPages() {
	if t.own == nil {
		t.pages = slices.Clone(t.pages)
		t.own = make([]bool, len(t.pages))
	}
}
