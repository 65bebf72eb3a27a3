package warehouse

import (
	"hash/maphash"

	"github.com/sluice-flags/sluice/pkg/events"
)

// rowsByID finds the rows of a table by project and id. The ids stand in their
// column: a place has a part of an id's hash, so that few of them are looked up.
//
// A row that was undone stays in it. That does no harm, since what a place holds
// is always compared with the row that has this number now.
type rowsByID struct {
	places []place // a power of two of them, half of them free
	taken  int
}

type place struct {
	hash uint32
	row  uint32 // plus one, 0 if free
}

// fewestPlaces is what a block of a few thousand facts takes.
const fewestPlaces = 1 << 12

// add remembers that the next row of t has the project and id, unless there is
// such a row.
func (s *rowsByID) add(t *table, project uint32, id *events.FactID) bool {
	if 2*s.taken >= len(s.places) {
		s.grow(t)
	}
	hash := maphash.Bytes(seed, id[:])
	at := s.first(hash)
	for ; s.places[at].row != 0; at = s.next(at) {
		if p := s.places[at]; p.hash == uint32(hash>>32) && t.has(int(p.row-1), project, id) {
			return false
		}
	}
	s.places[at] = place{uint32(hash >> 32), uint32(t.rows) + 1}
	s.taken++
	return true
}

// has tells whether a row, if there is one, has a project and an id.
func (t *table) has(row int, project uint32, id *events.FactID) bool {
	return row < t.rows && t.project.keys[row] == project && t.id.uuidAt(row*t.id.width) == *id
}

// seed keeps senders, who choose ids, from choosing places.
var seed = maphash.MakeSeed()

// first is where the search for an id begins.
func (s *rowsByID) first(hash uint64) int { return int(hash) & (len(s.places) - 1) }

func (s *rowsByID) next(at int) int { return (at + 1) & (len(s.places) - 1) }

// grow makes room for as many again, from the rows that are there.
func (s *rowsByID) grow(t *table) {
	s.places, s.taken = make([]place, max(fewestPlaces, 2*len(s.places))), t.rows
	for row := range t.rows {
		id := t.id.uuidAt(row * t.id.width)
		hash := maphash.Bytes(seed, id[:])
		at := s.first(hash)
		for s.places[at].row != 0 {
			at = s.next(at)
		}
		s.places[at] = place{uint32(hash >> 32), uint32(row) + 1}
	}
}

func (s *rowsByID) reset() {
	clear(s.places)
	s.taken = 0
}
