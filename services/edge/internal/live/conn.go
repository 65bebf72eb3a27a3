package live

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/sluice-flags/sluice/internal/auth"
	"github.com/sluice-flags/sluice/internal/web"
	"github.com/sluice-flags/sluice/pkg/eval"
	wire "github.com/sluice-flags/sluice/pkg/events/live"
	"github.com/sluice-flags/sluice/pkg/flags"
	"github.com/sluice-flags/sluice/services/edge/internal/caller"
	"github.com/sluice-flags/sluice/services/edge/internal/follower"
)

const (
	// maxFrames is how many frames a client may send in one second.
	maxFrames = 100
	// frameTime is how long one frame may take to arrive.
	frameTime = 5 * time.Second
	// lingering is how long a closed connection waits for the client to read the
	// close frame before the socket goes.
	lingering = time.Second
)

// A sink is how frames reach a client. Its methods do not wait, but for end.
type sink interface {
	write(m *message) error
	ping() error
	// busy reports whether something is still on its way; conn.drained is called
	// when it has gone.
	busy() bool
	// alive is called when the client gave a sign of life, or is expected to.
	alive(until time.Time)
	// end tells the client why, and brings the connection to its end soon.
	end(code wire.CloseCode, reason string)
	// cut ends the connection at once.
	cut()
}

// A conn is one client. A goroutine handles what the client sends; what it is
// sent is written under mu by whoever has news.
type conn struct {
	hub     *Hub
	sink    sink
	origin  caller.Origin
	request *http.Request // until the hello, whose key it may carry

	slot  int // of the ping wheel
	place int // in room.conns; guarded by room.mu

	mu        sync.Mutex
	principal auth.Principal
	expiry    *time.Timer // of a key that has an end
	room      *room       // nil before the hello
	mode      wire.Mode
	user      eval.User
	client    eval.ClientOptions
	context   string // digest of all that values depend on besides the log
	have      *follower.Version
	told      uint64 // the sequence that the client holds
	behind    bool   // something is new, and the pipe was busy
	again     bool   // the client asked, and the pipe was busy: answer in full
	closing   bool
}

// A closing ends a connection with a code and a reason.
type closing struct {
	code   wire.CloseCode
	reason string
}

func (c closing) Error() string { return c.reason }

func closef(code wire.CloseCode, format string, args ...any) error {
	return closing{code, fmt.Sprintf(format, args...)}
}

// leave takes the connection out of its room; nothing is sent any more.
func (c *conn) leave() {
	c.mu.Lock()
	room := c.room
	c.room, c.closing = nil, true
	if c.expiry != nil {
		c.expiry.Stop()
	}
	c.mu.Unlock()
	if room != nil {
		c.hub.leave(c, room)
	}
}

// extend lets the client be silent for a while, a little over two pings, and
// reports whether the connection goes on.
func (c *conn) extend() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closing {
		return false
	}
	if c.room != nil {
		c.sink.alive(time.Now().Add(2*c.hub.options.Ping + frameTime))
	}
	return true
}

// hello lets the client in and brings it to the newest version.
func (c *conn) hello(h wire.Hello) error {
	if h.Protocol != wire.Protocol {
		return closef(wire.CloseUpgrade, "this edge speaks protocol %d", wire.Protocol)
	}
	token := h.Key
	if token == "" {
		token = auth.Token(c.request)
	}
	p, err := c.hub.deps.Resolve(c.request, token)
	if err != nil {
		return refusal(err)
	}
	if h.Mode == "" {
		h.Mode = wire.ModeValues
		if p.Key.Kind == flags.KeyServer {
			h.Mode = wire.ModeRules
		}
	}
	if err := allowed(p.Key, &h); err != nil {
		return err
	}
	seen := p.Scope
	if h.Mode == wire.ModeValues {
		seen.Kind = flags.KeyClient // a server that asks for values asks for those of a client
	}
	scope := c.hub.deps.Scope(p.State, seen)

	c.mu.Lock()
	c.principal, c.mode = p, h.Mode
	c.principal.State = nil // a connection must not keep an old state alive
	c.client = eval.ClientOptions{Hash: eval.HashNone, TargetApp: h.TargetApp, Discreet: true}
	if h.Hash != "" {
		c.client.Hash = eval.ParseHashMode(h.Hash)
	}
	if err := c.setUser(h.User, scope); err != nil {
		c.mu.Unlock()
		return err
	}
	c.room = c.hub.enter(c, scope) // from here on sweeps wait for mu
	c.endWith(p.Key)
	c.answer(h.Position)
	c.mu.Unlock()

	// A key that was revoked while it was being let in is seen here, or by
	// KeysChanged, which finds the connection from now on.
	_, err = c.hub.deps.Resolve(c.request, token)
	c.request = nil
	if err != nil {
		return refusal(err)
	}
	return nil
}

// endWith closes the connection when the key ends, if it does. The caller holds
// mu.
func (c *conn) endWith(key *flags.Key) {
	if c.expiry != nil {
		c.expiry.Stop()
		c.expiry = nil
	}
	if key.ExpiresAt != nil && !c.closing {
		c.expiry = time.AfterFunc(time.Until(*key.ExpiresAt), func() {
			c.close(wire.CloseUnauthorized, "the key has expired")
		})
	}
}

// allowed checks what the client asks for against its key, and settles the
// target app.
func allowed(key *flags.Key, h *wire.Hello) error {
	switch {
	case key.Kind == flags.KeyConsole:
		return closef(wire.CloseForbidden, "console keys are not for evaluation")
	case key.Kind == flags.KeyClient && h.Mode == wire.ModeRules:
		return closef(wire.CloseForbidden, "client keys get values, not rules")
	case len(key.TargetApps) == 0:
		return nil
	case h.TargetApp == "" && len(key.TargetApps) == 1:
		h.TargetApp = key.TargetApps[0]
	case h.TargetApp != "" && !slices.Contains(key.TargetApps, h.TargetApp):
		return closef(wire.CloseForbidden, "the key is not for this target app")
	}
	return nil
}

// refusal turns what the resolver says into a close code.
func refusal(err error) error {
	switch web.StatusOf(err) {
	case http.StatusUnauthorized:
		return closef(wire.CloseUnauthorized, "the key is not known, or no longer valid")
	case http.StatusForbidden:
		return closef(wire.CloseForbidden, "the key may not be used like this")
	case http.StatusTooManyRequests:
		return closef(wire.CloseFlood, "too many unknown keys from this address")
	}
	return closef(wire.CloseTryLater, "keys cannot be checked now")
}

// setUser takes the user to evaluate for. The caller holds mu.
func (c *conn) setUser(raw json.RawMessage, scope *follower.Scope) error {
	c.user = eval.User{}
	if c.mode == wire.ModeValues {
		if len(raw) > 0 {
			if err := json.Unmarshal(raw, &c.user); err != nil {
				return closef(wire.CloseBadFrame, "%s", clip(err.Error()))
			}
		}
		c.origin.Complete(&c.user, c.principal.Key.Kind)
	}
	digest := sha256.New()
	for _, part := range []any{scope.ID(), c.mode, c.client.Hash.String(), c.client.TargetApp, c.user} {
		text, err := json.Marshal(part)
		if err != nil {
			return closef(wire.CloseBadFrame, "user: %s", clip(err.Error()))
		}
		digest.Write(append(text, '\n'))
	}
	c.context = hex.EncodeToString(digest.Sum(nil)[:8])
	return nil
}

// handle answers a frame after the hello.
func (c *conn) handle(f wire.Frame) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	var held wire.Position
	switch f := f.(type) {
	case wire.User:
		if c.mode != wire.ModeValues {
			return closef(wire.CloseBadFrame, "rules do not depend on a user")
		}
		if err := c.setUser(f.User, c.room.scope); err != nil {
			return err
		}
	case wire.Position:
		held = f
	}
	if c.sink.busy() {
		c.again = true // one answer, with the newest of everything, when there is room
		return nil
	}
	c.answer(held)
	return nil
}

// close sends a close frame. The reader sees the end and cleans up.
func (c *conn) close(code wire.CloseCode, reason string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.closeLocked(code, reason)
}

func (c *conn) closeLocked(code wire.CloseCode, reason string) {
	if c.closing {
		return
	}
	c.closing = true
	c.hub.metrics.closed.WithLabelValues(strconv.Itoa(int(code))).Inc()
	c.sink.end(code, reason)
}

// goodbye closes a connection that should come back after a while.
func (c *conn) goodbye(retry time.Duration, reason string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closing {
		return
	}
	if c.room != nil {
		c.send(encode(wire.Goodbye{RetryMs: retry.Milliseconds(), Reason: reason}), "goodbye")
	}
	c.closeLocked(wire.CloseRestart, reason)
}

// keysChanged closes the connection if its key lost what it was let in with.
func (c *conn) keysChanged(state *flags.State, keys map[flags.Ref]bool) {
	c.mu.Lock()
	project, key := c.principal.Project, c.principal.Key
	c.mu.Unlock()
	if key == nil || project != state.Project() || !keys[key.Ref()] {
		return
	}
	now, err := auth.Again(state, key)
	switch {
	case errors.Is(err, auth.ErrKeyMoved):
		c.goodbye(0, "the key is for something else now")
	case err != nil:
		c.close(wire.CloseUnauthorized, "the key is no longer valid")
	default:
		c.mu.Lock()
		defer c.mu.Unlock()
		c.principal.Key = now
		c.endWith(now)
	}
}

// fail ends a connection that cannot be written to; the reader cleans up.
func (c *conn) fail(err error) {
	if errors.Is(err, errSlow) || timeout(err) {
		c.hub.metrics.slow.Inc()
	}
	c.sink.cut()
}

func clip(s string) string { return s[:min(len(s), 100)] }
