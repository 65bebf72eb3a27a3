package warehouse

import (
	"hash/maphash"

	"github.com/sluice-flags/sluice/pkg/events"
)

// rowsByID finds the rows of a table by project and id. The ids stand in their
// column: a place has a part of an id's hash, so that few of them are looked up.
// Places are looked at in no order, and what that takes is waiting for memory; so
// one is as small as can be.
//
// A row that was undone stays in it. That does no harm, since what a place holds
// is always compared with the row that has this number now.
type rowsByID struct {
	// places are a power of two, half of them free. One is a row plus one, in as
	// many bits as tell places apart, and the part of the hash above; or 0 if free.
	places []uint32
	taken  int
}

// fewestPlaces is what a block of a few thousand facts takes.
const fewestPlaces = 1 << 12

// add remembers that the next row of t has the project and id, unless there is
// such a row.
func (s *rowsByID) add(t *table, project uint32, id *events.FactID) bool {
	if 2*s.taken >= len(s.places) {
		s.grow(t)
	}
	at, part := s.first(id)
	for ; s.places[at] != 0; at = s.next(at) {
		if p := s.places[at]; p&^s.mask() == part && t.has(int(p&s.mask())-1, project, id) {
			return false
		}
	}
	s.places[at] = part | uint32(t.rows+1)
	s.taken++
	return true
}

// has tells whether a row, if there is one, has a project and an id.
func (t *table) has(row int, project uint32, id *events.FactID) bool {
	return row < t.rows && t.project.keys[row] == project && t.id.uuidAt(row*t.id.width) == *id
}

// seed keeps senders, who choose ids, from choosing places.
var seed = maphash.MakeSeed()

// first is where the search for an id begins, and the part of its hash that stands
// in its place.
func (s *rowsByID) first(id *events.FactID) (at, part uint32) {
	hash := maphash.Bytes(seed, id[:])
	return uint32(hash) & s.mask(), uint32(hash>>32) &^ s.mask()
}

func (s *rowsByID) next(at uint32) uint32 { return (at + 1) & s.mask() }

// mask has the bits that tell places apart.
func (s *rowsByID) mask() uint32 { return uint32(len(s.places) - 1) }

// grow makes room for as many again, from the rows that are there.
func (s *rowsByID) grow(t *table) {
	s.places, s.taken = make([]uint32, max(fewestPlaces, 2*len(s.places))), t.rows
	for row := range t.rows {
		id := t.id.uuidAt(row * t.id.width)
		at, part := s.first(&id)
		for s.places[at] != 0 {
			at = s.next(at)
		}
		s.places[at] = part | uint32(row+1)
	}
}

func (s *rowsByID) reset() {
	clear(s.places)
	s.taken = 0
}
