package exposure

import (
	"sync"

	"github.com/sluice-flags/sluice/pkg/events"
)

// shards are the parts of a recent; requests that decide different things seldom
// meet in one.
const shards = 32

// A recent remembers the facts of the current hour by their ids, of which the
// first byte tells the shard. It is safe for concurrent use.
type recent struct {
	limit  int // of one shard
	shards [shards]struct {
		mu   sync.Mutex
		hour int64
		seen map[events.FactID]struct{}
	}
}

func newRecent(limit int) *recent { return &recent{limit: max(limit/shards, 1)} }

// add reports whether a fact of an hour is new, and remembers it. Memory is
// bounded by forgetting: then a fact may be sent again, and still counts once.
func (r *recent) add(id events.FactID, hour int64) bool {
	s := &r.shards[id[0]%shards]
	s.mu.Lock()
	defer s.mu.Unlock()
	if hour > s.hour || len(s.seen) >= r.limit {
		s.hour = max(hour, s.hour)
		clear(s.seen)
	}
	if _, ok := s.seen[id]; ok {
		return false
	}
	if s.seen == nil {
		s.seen = make(map[events.FactID]struct{})
	}
	s.seen[id] = struct{}{}
	return true
}

// forget lets the next decision of the kind be new again.
func (r *recent) forget(id events.FactID) {
	s := &r.shards[id[0]%shards]
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.seen, id)
}
