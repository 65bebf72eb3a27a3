package ofrep

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"strconv"
	"sync"
	"time"

	"github.com/sluice-flags/sluice/internal/auth"
	protocol "github.com/sluice-flags/sluice/internal/ofrep"
	"github.com/sluice-flags/sluice/pkg/flags"
	"github.com/sluice-flags/sluice/services/edge/internal/caller"
	"github.com/sluice-flags/sluice/services/edge/internal/follower"
)

// What the streams keep to.
const (
	heartbeat = 20 * time.Second       // between two signs of life
	coalesce  = 250 * time.Millisecond // between two events of one stream
	recent    = 30 * time.Second       // a change that a client may have missed between asking and listening
	retry     = 3 * time.Second        // after which clients come back
	stall     = 10 * time.Second       // how long a client may take to read

	quietEach = 20    // quiet streams of one address
	quietAll  = 1_000 // and of all
)

// A hub holds the event streams. What a stream costs is its connection; whether
// a change is worth an event is found out once per audience.
type hub struct {
	api     *API
	state   func(ctx context.Context, project string) (*flags.State, error)
	max     int
	spread  time.Duration
	closing chan struct{} // closed by goodbye
	once    sync.Once

	mu        sync.Mutex
	audiences map[*follower.Scope]*audience
	open      int
	quiet     int
	quietOf   map[string]int // by address
}

func newHub(a *API, state func(context.Context, string) (*flags.State, error), o Options) *hub {
	h := &hub{
		api: a, state: state, max: o.MaxStreams, spread: o.Spread,
		closing: make(chan struct{}), audiences: make(map[*follower.Scope]*audience), quietOf: make(map[string]int),
	}
	if h.max <= 0 {
		h.max = 50_000
	}
	if h.spread <= 0 || h.spread > 3*time.Second {
		h.spread = 3 * time.Second
	}
	return h
}

// A stream is one client that listens.
type stream struct {
	wake chan struct{} // capacity 1

	claim    claim
	key      flags.Ref
	audience *audience // nil while the stream is quiet
	sent     *change   // the newest that the client was told
}

// nudge says that something is new. It does not block.
func (s *stream) nudge() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// serve holds a stream until the client leaves. It refuses nobody: a client that
// was refused would ask for everything again at once, and so on for ever. Whose
// ticket is worth nothing gets a stream that stays quiet, and whoever is too
// many is let go with a word on when to come back.
func (h *hub) serve(w http.ResponseWriter, r *http.Request) {
	header := w.Header()
	header.Set("Content-Type", "text/event-stream")
	header.Set("Cache-Control", "no-store")
	header.Set("X-Accel-Buffering", "no") // proxies that gather would delay every change
	out := &writer{w: w, out: http.NewResponseController(w)}
	if out.begin() != nil || !h.enter() {
		return
	}
	defer h.leave()

	s := &stream{wake: make(chan struct{}, 1)}
	claimed := false
	s.claim, claimed = parseTicket(r.URL.Query().Get("ticket"))
	if claimed {
		h.admit(r.Context(), s)
	}
	if s.audience == nil {
		address := caller.Of(r).IP
		if !h.enterQuiet(address) {
			return
		}
		defer h.leaveQuiet(address)
	} else {
		h.api.metrics.hearing.Inc()
		defer h.api.metrics.hearing.Dec()
		s.missed(r)
	}
	defer func() { h.silence(s) }()
	h.hold(r.Context(), out, s, claimed)
}

// hold writes what is new, and signs of life, until the client leaves or the
// edge does.
func (h *hub) hold(ctx context.Context, out *writer, s *stream, claimed bool) {
	alive := time.NewTicker(heartbeat)
	defer alive.Stop()
	var pause <-chan time.Time // while the last event is too young for another
	var end <-chan time.Time
	wake, closing := s.wake, h.closing
	for {
		select {
		case <-ctx.Done():
			return
		case <-closing:
			closing, end = nil, time.After(rand.N(h.spread))
		case <-end:
			return
		case <-alive.C:
			if out.write(": still here\n\n") != nil {
				return
			}
			if claimed && s.audience == nil { // its project could not be asked, or its key is new
				h.admit(ctx, s)
				if s.audience != nil {
					s.nudge()
				}
			}
		case <-pause:
			wake, pause = s.wake, nil
		case <-wake:
			if !h.tell(ctx, out, s) {
				return
			}
			wake, pause = nil, time.After(coalesce)
		}
	}
}

// tell sends the newest change, if the client does not know it and its key is
// still good. It reports whether the client is there.
func (h *hub) tell(ctx context.Context, out *writer, s *stream) bool {
	if s.audience == nil {
		return true
	}
	c := s.audience.last.Load()
	p, err := h.holder(ctx, s.claim)
	switch {
	case err != nil && p.Key != nil:
		// The key is good and sees something else than it did: that is a change,
		// and whoever asks again is told of another stream.
		h.silence(s)
		c = &change{seq: p.State.Seq(), at: time.Now()}
	case err != nil:
		h.silence(s)
		return true
	case c == s.sent:
		return true
	}
	s.sent = c
	if out.event(c) != nil {
		return false
	}
	h.api.metrics.events.Inc()
	return true
}

// missed finds out whether the client may have missed a change before it came.
func (s *stream) missed(r *http.Request) {
	c := s.audience.last.Load()
	seen, err := strconv.ParseUint(r.Header.Get("Last-Event-ID"), 10, 64)
	switch {
	case err != nil && time.Since(c.at) >= recent: // it has asked for everything just now
	case err == nil && seen >= c.seq && !c.clock: // no sequence tells on which side of a moment it was
	default:
		s.nudge()
		return
	}
	s.sent = c
}

// admit lets a stream hear what the key of its ticket sees, if there is such a
// key.
func (h *hub) admit(ctx context.Context, s *stream) {
	var p auth.Principal
	var scope *follower.Scope
	for {
		var err error
		if p, err = h.holder(ctx, s.claim); err != nil {
			return
		}
		scope = h.api.gate.Scope(p.State, p.Scope)
		if scope.Current().Seq <= p.State.Seq() {
			break
		}
		// A change came in between: the state to begin from is one that has it,
		// or nobody would tell of it.
	}
	s.key = p.Key.Ref()
	h.mu.Lock()
	defer h.mu.Unlock()
	a := h.audiences[scope]
	if a == nil {
		a = newAudience(h, scope, p.State, p.Key)
		h.audiences[scope] = a
	}
	a.add(s)
	s.audience = a
}

// silence ends a stream's hearing; the last to go takes the audience along.
func (h *hub) silence(s *stream) {
	a := s.audience
	if a == nil {
		return
	}
	s.audience = nil
	h.mu.Lock()
	defer h.mu.Unlock()
	if a.remove(s) == 0 {
		delete(h.audiences, a.scope)
		a.unwatch()
	}
}

// errTicket reports a ticket that its key did not get.
var errTicket = errors.New("not the ticket of this key")

// holder finds whom a ticket lets in: with a key that exists, is good, and may
// use the protocol. With [errTicket] it returns whom another ticket would.
func (h *hub) holder(ctx context.Context, c claim) (auth.Principal, error) {
	bounded, cancel := context.WithTimeout(ctx, lookWithin)
	defer cancel()
	p, err := h.api.gate.Holder(bounded, c.project, c.key)
	switch {
	case err != nil:
		return auth.Principal{}, err
	case p.Key.Kind == flags.KeyConsole, p.Key.Kind == flags.KeyClient && p.State.Settings().OFREPServerKeysOnly:
		return auth.Principal{}, errTicket
	case !c.provenBy(p.Key):
		return p, errTicket
	}
	return p, nil
}

// lookWithin bounds the wait for a project that this edge does not follow yet.
const lookWithin = 2 * time.Second

// keysChanged wakes the streams of keys that changed, for which the ticket may
// be worth nothing now, or the project may have closed the protocol to them.
func (h *hub) keysChanged(state *flags.State, changed []flags.Ref) {
	keys := make(map[flags.Ref]bool)
	for _, ref := range changed {
		if ref.Kind == flags.KindKey {
			keys[ref] = true
		}
	}
	if len(keys) == 0 {
		return
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, a := range h.audiences {
		if a.project == state.Project() {
			a.wake(func(s *stream) bool { return keys[s.key] })
		}
	}
}

// enter makes room for a stream.
func (h *hub) enter() bool {
	select {
	case <-h.closing:
		return false
	default:
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.open >= h.max {
		return false
	}
	h.open++
	return true
}

func (h *hub) leave() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.open--
}

// enterQuiet makes room for a stream that hears nothing.
func (h *hub) enterQuiet(address string) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.quiet >= quietAll || h.quietOf[address] >= quietEach {
		return false
	}
	h.quiet++
	h.quietOf[address]++
	h.api.metrics.quiet.Inc()
	return true
}

func (h *hub) leaveQuiet(address string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.quiet--
	if h.quietOf[address]--; h.quietOf[address] == 0 {
		delete(h.quietOf, address)
	}
	h.api.metrics.quiet.Dec()
}

// goodbye ends every stream within the spread, and admits none any more.
func (h *hub) goodbye() { h.once.Do(func() { close(h.closing) }) }

// A writer writes one stream, with a deadline for everything.
type writer struct {
	w   http.ResponseWriter
	out *http.ResponseController
}

// begin answers the request, and says when to come back.
func (o *writer) begin() error {
	// The server's own deadlines are for requests that end.
	if err := o.out.SetReadDeadline(time.Time{}); err != nil && !errors.Is(err, http.ErrNotSupported) {
		return err
	}
	return o.write(fmt.Sprintf("retry: %d\n\n", retry.Milliseconds()))
}

// event asks the client to ask again.
func (o *writer) event(c *change) error {
	data, err := json.Marshal(protocol.Refetch{
		Type: protocol.TypeRefetch, ETag: "c" + strconv.FormatUint(c.seq, 10), LastModified: c.at.Unix(),
	})
	if err != nil {
		return err
	}
	return o.write(fmt.Sprintf("id: %d\nevent: message\ndata: %s\n\n", c.seq, data))
}

func (o *writer) write(text string) error {
	if err := o.out.SetWriteDeadline(time.Now().Add(stall)); err != nil && !errors.Is(err, http.ErrNotSupported) {
		return err
	}
	if _, err := o.w.Write([]byte(text)); err != nil {
		return err
	}
	return o.out.Flush()
}
