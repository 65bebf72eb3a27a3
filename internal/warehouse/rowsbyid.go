package warehouse

import (
	"encoding/binary"
	"hash/maphash"

	"github.com/sluice-flags/sluice/pkg/events"
)

// rowsByID finds the rows of a table by project and id. It holds numbers of rows
// and nothing else, four bytes each: the ids stand in their column.
//
// A row that was undone stays in it. That does no harm, since what a place holds
// is always compared with the row that has this number now.
type rowsByID struct {
	places []uint32 // row plus one, 0 if free; a power of two of them, half of them free
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
	high, low := binary.BigEndian.Uint64(id[:8]), binary.BigEndian.Uint64(id[8:])
	at := s.first(id)
	for ; s.places[at] != 0; at = s.next(at) {
		row := int(s.places[at] - 1)
		if row >= t.rows {
			continue
		}
		there := t.id.data[row*t.id.width:]
		if binary.LittleEndian.Uint64(there) == high && binary.LittleEndian.Uint64(there[8:]) == low && t.project.keys[row] == project {
			return false
		}
	}
	s.places[at] = uint32(t.rows) + 1
	s.taken++
	return true
}

// seed keeps senders, who choose ids, from choosing places.
var seed = maphash.MakeSeed()

// first is where the search for an id begins.
func (s *rowsByID) first(id *events.FactID) int {
	return int(maphash.Bytes(seed, id[:])) & (len(s.places) - 1)
}

func (s *rowsByID) next(at int) int { return (at + 1) & (len(s.places) - 1) }

// grow makes room for as many again, from the rows that are there.
func (s *rowsByID) grow(t *table) {
	s.places, s.taken = make([]uint32, max(fewestPlaces, 2*len(s.places))), t.rows
	for row := range t.rows {
		id := t.id.uuidAt(row * t.id.width)
		at := s.first(&id)
		for s.places[at] != 0 {
			at = s.next(at)
		}
		s.places[at] = uint32(row) + 1
	}
}

func (s *rowsByID) reset() {
	clear(s.places)
	s.taken = 0
}
