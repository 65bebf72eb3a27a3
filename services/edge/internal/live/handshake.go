package live

import (
	"bufio"
	"context"
	"math/rand/v2"
	"net"
	"net/http"
	"time"

	"github.com/gorilla/websocket"

	"github.com/sluice-flags/sluice/internal/auth"
	"github.com/sluice-flags/sluice/internal/web"
	"github.com/sluice-flags/sluice/pkg/flags"
	"github.com/sluice-flags/sluice/services/edge/internal/caller"
)

// ServeHTTP upgrades a GET to a WebSocket, and answers a POST of a hello frame
// with an event stream. Whatever can be refused is refused before that, with a
// status that any client understands.
func (h *Hub) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Access-Control-Allow-Origin", "*") // keys, not cookies, let clients in
	if r.Method == http.MethodOptions {
		w.Header().Set("Access-Control-Allow-Methods", "GET, POST, OPTIONS")
		w.Header().Set("Access-Control-Allow-Headers", "authorization, content-type, statsig-api-key")
		w.Header().Set("Access-Control-Max-Age", "86400")
		w.WriteHeader(http.StatusNoContent)
		return
	}
	if err := h.serve(w, r); err != nil {
		web.Fail(w, r, err)
	}
}

func (h *Hub) serve(w http.ResponseWriter, r *http.Request) error {
	if err := noKeyInURL(r); err != nil {
		return err
	}
	upgrade := websocket.IsWebSocketUpgrade(r)
	if !upgrade && r.Method != http.MethodPost {
		w.Header().Set("Upgrade", "websocket")
		return web.Errorf(web.CodeValidation, "this path speaks WebSocket: send an upgrade request, or POST a hello frame for an event stream")
	}
	if h.draining.Load() {
		return h.refuse("draining", "this edge is going away")
	}
	if !h.admit.Allow() {
		return h.refuse("rate", "too many new connections")
	}
	if token := auth.Token(r); token != "" {
		p, err := h.deps.Resolve(r, token)
		if err != nil {
			return err
		}
		if p.Key.Kind == flags.KeyConsole {
			return web.Errorf(web.CodeForbidden, "console keys are not for evaluation")
		}
	}

	if !h.reserve() {
		return h.refuse("full", "this edge holds all the connections it can")
	}
	if !upgrade {
		return h.stream(w, r)
	}
	hj := &hijacker{ResponseWriter: w, stall: h.options.Stall}
	ws, err := h.upgrader.Upgrade(hj, r, nil) // answers by itself when it fails
	if err != nil {
		if hj.pipe != nil {
			_ = hj.pipe.Close()
		}
		h.release()
		return nil
	}
	s := &socket{ws: ws, pipe: hj.pipe}
	c := &conn{hub: h, origin: caller.Of(r), sink: s}
	s.pipe.drained, s.pipe.failed = c.drained, c.fail
	s.listen(c)
	// The request's context ends with this handler; the hello comes after it.
	c.request = r.WithContext(context.WithoutCancel(r.Context()))
	_ = ws.SetReadDeadline(time.Now().Add(h.options.HelloTimeout))
	// The handler returns, and with it go net/http's goroutine, its stack and its
	// buffers: they would be most of an idle connection's memory.
	if !h.add(c) {
		c.goodbye(rand.N(h.options.Spread), "restart")
	}
	go s.serve(c) // ends with the connection; Run waits for it
	return nil
}

// refuse answers 503 with a jittered Retry-After.
func (h *Hub) refuse(reason, message string) error {
	h.metrics.refused.WithLabelValues(reason).Inc()
	return &web.Error{Code: web.CodeUnavailable, Message: message, RetryAfter: time.Second + rand.N(5*time.Second)}
}

// noKeyInURL refuses keys where they would end up in logs.
func noKeyInURL(r *http.Request) error {
	for name := range r.URL.Query() {
		switch name {
		case "k", "key", "token", "apiKey", "sdkKey":
			return web.Invalid(name, "key_in_url", "a key must not stand in a URL: send it in a header or in the hello frame")
		}
	}
	return auth.KeyInURL(r, auth.Token(r))
}

// hijacker puts a pipe between the library and the socket.
type hijacker struct {
	http.ResponseWriter
	stall time.Duration
	pipe  *pipe
}

// Hijack implements [http.Hijacker].
func (h *hijacker) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	c, rw, err := http.NewResponseController(h.ResponseWriter).Hijack()
	if err != nil {
		return nil, nil, err
	}
	if tcp, ok := c.(*net.TCPConn); ok {
		// What a client may leave unread: enough for any burst, and a fraction of
		// the megabytes that the kernel would take by itself.
		_ = tcp.SetWriteBuffer(64 << 10)
	}
	h.pipe = newPipe(c, h.stall)
	return h.pipe, rw, nil
}
