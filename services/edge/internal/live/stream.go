package live

import (
	"errors"
	"math/rand/v2"
	"net/http"
	"sync"
	"time"

	"github.com/sluice-flags/sluice/internal/web"
	wire "github.com/sluice-flags/sluice/pkg/events/live"
	"github.com/sluice-flags/sluice/services/edge/internal/caller"
)

// A stream is a client that cannot have a WebSocket: it posts its hello and reads
// the edge's frames as server-sent events. What else a client could say needs
// another request, with the position that it holds.
type stream struct {
	wake chan struct{} // capacity 1: something is to be written, or the end has come
	done chan struct{} // closed when the request is over

	mu      sync.Mutex
	queue   []*message
	writing bool
	ended   bool
	once    sync.Once
}

var _ sink = (*stream)(nil)

func newStream() *stream {
	return &stream{wake: make(chan struct{}, 1), done: make(chan struct{})}
}

func (s *stream) write(m *message) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ended {
		return http.ErrAbortHandler
	}
	s.queue = append(s.queue, m) // no more than an answer: state waits while busy
	s.nudge()
	return nil
}

func (s *stream) nudge() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

func (s *stream) ping() error     { return nil } // the ping frame is all that a stream has
func (s *stream) alive(time.Time) {}             // a stream has no word from its client
func (s *stream) busy() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.writing || len(s.queue) > 0
}

// end lets what is queued leave first.
func (s *stream) end(code wire.CloseCode, reason string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.queue = append(s.queue, encode(wire.Closed{Code: code, Reason: reason}))
	s.ended = true
	s.nudge()
}

func (s *stream) cut() { s.once.Do(func() { close(s.done) }) }

// next takes what is to be written; more is false when that is the last.
func (s *stream) next() (messages []*message, more bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	messages, s.queue = s.queue, nil
	s.writing = len(messages) > 0
	return messages, !s.ended
}

func (s *stream) written() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.writing = false
}

// limits of a hello.
var helloLimits = web.Limits{Raw: wire.MaxClientFrame, Inflated: wire.MaxClientFrame, CaseVariants: true, Unknown: true}

// stream serves the protocol as server-sent events, until the client leaves.
func (h *Hub) stream(w http.ResponseWriter, r *http.Request) error {
	defer h.release()
	body, err := web.ReadBody(r, helloLimits)
	if err != nil {
		return err
	}
	frame, err := wire.DecodeClient(body)
	if err != nil {
		return web.Errorf(web.CodeValidation, "%s", clip(err.Error()))
	}
	hello, ok := frame.(wire.Hello)
	if !ok {
		return web.Errorf(web.CodeValidation, "post a hello frame")
	}
	s := newStream()
	c := &conn{hub: h, origin: caller.Of(r), sink: s, request: r}
	stays := h.add(c) // first, so that a key that is revoked meanwhile finds it
	defer h.drop(c)
	defer c.leave()
	if err := c.hello(hello); err != nil {
		return status(err)
	}
	if !stays {
		c.goodbye(rand.N(h.options.Spread), "restart")
	}

	w.Header().Set("Content-Type", "text/event-stream")
	w.Header().Set("X-Accel-Buffering", "no") // proxies that gather would delay every change
	out := http.NewResponseController(w)
	// The server's own deadline is for requests that end.
	if err := out.SetReadDeadline(time.Time{}); err != nil && !errors.Is(err, http.ErrNotSupported) {
		return nil
	}
	for {
		select {
		case <-r.Context().Done():
			return nil
		case <-s.done:
			return nil
		case <-s.wake:
		}
		messages, more := s.next()
		if err := out.SetWriteDeadline(time.Now().Add(h.options.Stall)); err != nil && !errors.Is(err, http.ErrNotSupported) {
			return nil
		}
		for _, m := range messages {
			for _, part := range [][]byte{[]byte("data: "), m.text, []byte("\n\n")} {
				if _, err := w.Write(part); err != nil {
					h.metrics.slow.Inc()
					return nil // the client has gone, or does not read
				}
			}
		}
		if out.Flush() != nil || !more {
			return nil
		}
		s.written()
		c.drained()
	}
}

// status turns a close code into the status that says the same.
func status(err error) error {
	end, ok := errors.AsType[closing](err)
	if !ok {
		return err
	}
	code := web.CodeValidation
	switch end.code {
	case wire.CloseUnauthorized:
		code = web.CodeUnauthenticated
	case wire.CloseForbidden:
		code = web.CodeForbidden
	case wire.CloseFlood:
		code = web.CodeRateLimited
	case wire.CloseTryLater:
		code = web.CodeUnavailable
	}
	return web.Errorf(code, "%s", end.reason)
}
