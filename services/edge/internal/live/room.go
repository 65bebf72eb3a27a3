package live

import (
	"math/rand/v2"
	"runtime"
	"sync"
	"sync/atomic"

	"github.com/sluice-flags/sluice/services/edge/internal/follower"
)

// chunk is how many connections a core takes at a time: enough to make the
// counter cheap, few enough that all cores end together.
const chunk = 32

// A room is the connections of one scope.
type room struct {
	hub     *Hub
	scope   *follower.Scope
	unwatch func()

	sweeping atomic.Bool
	full     fullMessage // rules mode: the newest full frame, shared

	mu    sync.Mutex
	conns []*conn // in no order; conn.place is the index
}

func newRoom(h *Hub, scope *follower.Scope) *room {
	r := &room{hub: h, scope: scope}
	r.unwatch = scope.Watch(r.notify)
	return r
}

func (r *room) add(c *conn) {
	r.mu.Lock()
	defer r.mu.Unlock()
	c.place = len(r.conns)
	r.conns = append(r.conns, c)
}

// remove takes c out and returns how many are left.
func (r *room) remove(c *conn) int {
	r.mu.Lock()
	defer r.mu.Unlock()
	last := len(r.conns) - 1
	r.conns[c.place] = r.conns[last]
	r.conns[c.place].place = c.place
	r.conns[last] = nil
	r.conns = r.conns[:last]
	return last
}

// notify starts a sweep unless one is running; the running one will see the new
// version itself. It does not block.
func (r *room) notify() {
	if r.sweeping.CompareAndSwap(false, true) {
		go r.sweep() // ends when everybody has been told of the newest version
	}
}

// sweep brings all connections to the newest version, again until there is no
// newer one.
func (r *room) sweep() {
	for {
		to := r.scope.Current()
		r.tell(to)
		r.sweeping.Store(false)
		if r.scope.Current().Gen == to.Gen || !r.sweeping.CompareAndSwap(false, true) {
			return
		}
	}
}

// tell brings all connections to a version, on every core. It begins at a random
// one, so that nobody is always last.
func (r *room) tell(to *follower.Version) {
	r.mu.Lock()
	conns := make([]*conn, len(r.conns))
	if len(conns) > 0 {
		n := copy(conns, r.conns[rand.N(len(conns)):])
		copy(conns[n:], r.conns)
	}
	r.mu.Unlock()

	var next atomic.Int64
	work := func() {
		s := newSweep(r.scope, to)
		for {
			end := int(next.Add(chunk))
			begin := end - chunk
			if begin >= len(conns) {
				return
			}
			for _, c := range conns[begin:min(end, len(conns))] {
				c.offer(s)
			}
		}
	}
	var others sync.WaitGroup
	for range min(runtime.GOMAXPROCS(0), (len(conns)+chunk-1)/chunk) - 1 {
		others.Go(work)
	}
	work()
	others.Wait()
}
