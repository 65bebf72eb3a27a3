// Package live pushes changes to whoever holds a connection.
//
// The hub promises that a change reaches every client in the time that the
// kernel needs to send to each, that the memory for a client does not depend on
// how slow it is, and that no client waits for another. Per client it keeps who
// it is, its user, and the version it was last told about; what a client is sent
// is the difference between that version and the newest one, so that a client
// who was slow for a thousand changes gets one.
//
//	follower ── new generation ──▶ room ──▶ sweep on every core ──▶ conn ──▶ pipe
//	                              (one per key scope)                │
//	                                     socket ──▶ reader ──────────┘
//
// A room runs at most one sweep at a time and always sweeps to the newest
// version. A sweep never waits: a conn whose last message the kernel has not
// taken yet is left out, and catches up when its pipe is free.
package live

import (
	"context"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gorilla/websocket"
	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/time/rate"

	"github.com/sluice-flags/sluice/internal/auth"
	wire "github.com/sluice-flags/sluice/pkg/events/live"
	"github.com/sluice-flags/sluice/pkg/flags"
	"github.com/sluice-flags/sluice/services/edge/internal/follower"
)

// Deps are what a hub needs.
type Deps struct {
	// Resolve finds who is behind a token that came with the request.
	Resolve func(r *http.Request, token string) (auth.Principal, error)
	// Scope returns what a key may see.
	Scope func(state *flags.State, scope flags.Scope) *follower.Scope
	// Stale reports whether a project is cut off from its log.
	Stale func(project string) bool
}

// Options bound what connections may cost. The zero value works.
type Options struct {
	MaxConnections int           // beyond it, 503; default 50,000
	Handshakes     int           // new connections a second; default 500
	HelloTimeout   time.Duration // default 5 s
	Ping           time.Duration // between two pings of one connection; default 20 s
	Stall          time.Duration // how long a message may stay unread; default 10 s
	Spread         time.Duration // over which clients come back after a drain; default 30 s

	Logger     *slog.Logger
	Registerer prometheus.Registerer
}

func (o Options) withDefaults() Options {
	if o.MaxConnections <= 0 {
		o.MaxConnections = 50_000
	}
	if o.Handshakes <= 0 {
		o.Handshakes = 500
	}
	set := func(d *time.Duration, def time.Duration) {
		if *d <= 0 {
			*d = def
		}
	}
	set(&o.HelloTimeout, 5*time.Second)
	set(&o.Ping, 20*time.Second)
	set(&o.Stall, 10*time.Second)
	set(&o.Spread, 30*time.Second)
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	return o
}

// pingSlots is into how many parts a ping period is cut; a connection belongs to
// one of them, so that pings are spread and need no timer each.
const pingSlots = 20

// A Hub serves the live protocol. Create it with [New], mount [Hub.ServeHTTP]
// at [wire.Path], and run [Hub.Run].
type Hub struct {
	deps     Deps
	options  Options
	upgrader websocket.Upgrader
	admit    *rate.Limiter
	metrics  *metrics

	draining atomic.Bool
	readers  sync.WaitGroup // one for each connection

	mu    sync.Mutex
	rooms map[*follower.Scope]*room
	slots [pingSlots]map[*conn]struct{}
	count int
}

// New returns a hub that serves nobody yet.
func New(d Deps, o Options) *Hub {
	o = o.withDefaults()
	h := &Hub{
		deps: d, options: o,
		// The upgrade takes over small buffers, and a pool for writing: 4 KB of
		// net/http's for each idle connection would be most of its memory.
		upgrader: websocket.Upgrader{
			ReadBufferSize: 512, WriteBufferSize: 1024, WriteBufferPool: new(sync.Pool),
			HandshakeTimeout: o.HelloTimeout,
			CheckOrigin:      func(*http.Request) bool { return true }, // keys, not cookies, let clients in
		},
		admit:   rate.NewLimiter(rate.Limit(o.Handshakes), o.Handshakes),
		metrics: newMetrics(o.Registerer),
		rooms:   make(map[*follower.Scope]*room),
	}
	for i := range h.slots {
		h.slots[i] = make(map[*conn]struct{})
	}
	return h
}

// Run pings until ctx is done, then says goodbye to everybody and returns when
// the last connection has ended.
func (h *Hub) Run(ctx context.Context) error {
	ticker := time.NewTicker(h.options.Ping / pingSlots)
	defer ticker.Stop()
	for slot := 0; ; slot = (slot + 1) % pingSlots {
		select {
		case <-ctx.Done():
			h.drain()
			return nil
		case <-ticker.C:
			h.ping(slot)
		}
	}
}

// ping lets every connection of a slot know that it is alive and up to date.
func (h *Hub) ping(slot int) {
	h.mu.Lock()
	conns := make([]*conn, 0, len(h.slots[slot]))
	for c := range h.slots[slot] {
		conns = append(conns, c)
	}
	h.mu.Unlock()
	messages := make(map[wire.Ping]*message)
	for _, c := range conns {
		c.ping(messages)
	}
}

// Goodbye admits nobody any more and tells every client when to come back,
// spread over time. It does not wait for them to go.
func (h *Hub) Goodbye() {
	h.mu.Lock()
	h.draining.Store(true) // under mu: who was admitted before is found below
	h.mu.Unlock()
	for _, c := range h.all() {
		c.goodbye(rand.N(h.options.Spread), "restart")
	}
}

// drain says goodbye and waits until everybody has gone.
func (h *Hub) drain() {
	h.Goodbye()
	done := make(chan struct{})
	go func() { // ends with the last reader; their deadlines see to that
		h.readers.Wait()
		close(done)
	}()
	select {
	case <-done:
	case <-time.After(2 * lingering):
		for _, c := range h.all() {
			c.sink.cut() // it had its time
		}
		<-done
	}
}

func (h *Hub) all() []*conn {
	h.mu.Lock()
	defer h.mu.Unlock()
	conns := make([]*conn, 0, h.count)
	for _, slot := range h.slots {
		for c := range slot {
			conns = append(conns, c)
		}
	}
	return conns
}

// KeysChanged closes the connections whose key may no longer do what they do.
// The edge calls it with every change of a project's state.
func (h *Hub) KeysChanged(state *flags.State, changed []flags.Ref) {
	var keys map[flags.Ref]bool
	for _, ref := range changed {
		if ref.Kind == flags.KindKey {
			if keys == nil {
				keys = make(map[flags.Ref]bool)
			}
			keys[ref] = true
		}
	}
	if keys == nil {
		return
	}
	for _, c := range h.all() {
		c.keysChanged(state, keys)
	}
}

// Connections returns how many connections are open.
func (h *Hub) Connections() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.count
}

// reserve makes sure that there is room for a connection, and that Run waits for
// it. Each success needs one release.
func (h *Hub) reserve() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.count >= h.options.MaxConnections || h.draining.Load() {
		return false
	}
	h.count++
	h.readers.Add(1)
	h.metrics.connections.Inc()
	return true
}

func (h *Hub) release() {
	h.mu.Lock()
	h.count--
	h.mu.Unlock()
	h.metrics.connections.Dec()
	h.readers.Done()
}

// add puts an upgraded connection on the ping wheel, where everybody finds it,
// and reports whether it may stay.
func (h *Hub) add(c *conn) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	c.slot = rand.N(pingSlots)
	h.slots[c.slot][c] = struct{}{}
	return !h.draining.Load()
}

// drop takes a connection off the ping wheel.
func (h *Hub) drop(c *conn) {
	h.mu.Lock()
	delete(h.slots[c.slot], c)
	h.mu.Unlock()
}

// remove is drop and release: the end of a socket.
func (h *Hub) remove(c *conn) {
	h.drop(c)
	h.release()
}

// enter puts a connection into the room of its scope.
func (h *Hub) enter(c *conn, scope *follower.Scope) *room {
	h.mu.Lock()
	defer h.mu.Unlock()
	r, ok := h.rooms[scope]
	if !ok {
		r = newRoom(h, scope)
		h.rooms[scope] = r
	}
	r.add(c)
	return r
}

// leave takes a connection out of its room, and the room down when it is empty.
func (h *Hub) leave(c *conn, r *room) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if r.remove(c) == 0 {
		delete(h.rooms, r.scope)
		r.unwatch()
	}
}
