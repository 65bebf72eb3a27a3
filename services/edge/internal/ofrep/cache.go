package ofrep

import (
	"crypto/sha256"
	"sync"

	"github.com/sluice-flags/sluice/services/edge/internal/follower"
)

// bulkID is everything that an evaluated set depends on.
type bulkID struct {
	scope      *follower.Scope
	epoch      string
	gen        uint64
	state      uint64 // sequence of the state that says what kind each name is
	set        string
	parameters bool
	user       [sha256.Size]byte
}

// maxBulkBytes bounds the evaluated sets that are kept, in two halves.
const maxBulkBytes = 32 << 20

// bulkCache remembers evaluated sets: those that were asked for lately are in
// the young half, and when that is full it becomes the old one, which is
// forgotten whole. What is asked for again moves back.
type bulkCache struct {
	mu         sync.Mutex
	young, old map[bulkID]*set
	size       int // bytes of young
}

func (c *bulkCache) get(id bulkID) *set {
	c.mu.Lock()
	defer c.mu.Unlock()
	if s := c.young[id]; s != nil {
		return s
	}
	s := c.old[id]
	if s != nil {
		c.add(id, s)
	}
	return s
}

func (c *bulkCache) put(id bulkID, s *set) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.add(id, s)
}

// entryOverhead is about what an entry costs beside its text.
const entryOverhead = 512

func (c *bulkCache) add(id bulkID, s *set) {
	if c.young == nil || c.size > maxBulkBytes/2 {
		c.old, c.young, c.size = c.young, make(map[bulkID]*set), 0
	}
	c.young[id] = s
	c.size += len(s.flags) + entryOverhead
}
