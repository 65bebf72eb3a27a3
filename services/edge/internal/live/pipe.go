package live

import (
	"errors"
	"io"
	"net"
	"sync"
	"time"

	wire "github.com/sluice-flags/sluice/pkg/events/live"
)

// errSlow ends a connection that does not take what it is sent.
var errSlow = errors.New("the peer does not read")

// While a peer is slow only control frames are added to what it has not taken
// yet: pings, pongs, a close. State waits, because only the newest counts.
const (
	controlFrame = 256      // no control frame is longer
	maxControl   = 16 << 10 // of them a slow peer gets no more than this
)

// A pipe is a connection whose Write never waits. What the kernel does not take
// at once is kept and pushed by a goroutine of the pipe's own; until it is gone
// the pipe is busy. So one peer that stops reading delays nobody else, and costs
// one message of memory until its time is up.
type pipe struct {
	net.Conn
	try     func(p []byte) (n int, err error) // writes what fits; nil: always push
	stall   time.Duration                     // how long a peer may take
	drained func()                            // called when the pipe is free again
	failed  func(error)                       // called once when it never will be

	mu      sync.Mutex
	rest    []byte // what is still to be pushed
	busy    bool
	control int // bytes of control frames since it is busy
	err     error
}

func newPipe(c net.Conn, stall time.Duration) *pipe {
	return &pipe{Conn: c, try: immediate(c), stall: stall}
}

// Write implements [net.Conn]. It returns at once: p is in the kernel, or kept.
func (p *pipe) Write(b []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.err != nil {
		return 0, p.err
	}
	if p.busy {
		if len(b) <= controlFrame {
			if p.control += len(b); p.control > maxControl {
				return 0, errSlow
			}
		}
		p.rest = append(p.rest, b...)
		return len(b), nil
	}
	n := 0
	if p.try != nil {
		var err error
		if n, err = p.try(b); err != nil {
			p.err = err
			return n, err
		}
	}
	if n < len(b) {
		p.rest = append([]byte(nil), b[n:]...)
		p.busy, p.control = true, 0
		go p.push() // ends when the peer has taken everything, or its time is up
	}
	return len(b), nil
}

// push writes the rest, waiting for the peer.
func (p *pipe) push() {
	_ = p.Conn.SetWriteDeadline(time.Now().Add(p.stall)) // fails on a closed connection, as the write below
	for {
		p.mu.Lock()
		chunk := p.rest
		p.rest = nil
		if len(chunk) == 0 {
			p.busy = false
			_ = p.Conn.SetWriteDeadline(time.Time{})
			p.mu.Unlock()
			if p.drained != nil {
				p.drained()
			}
			return
		}
		p.mu.Unlock()
		if _, err := p.Conn.Write(chunk); err != nil {
			p.mu.Lock()
			p.err = err
			p.mu.Unlock()
			if p.failed != nil {
				p.failed(err)
			}
			return
		}
	}
}

// Busy reports whether the peer has not yet taken what it was sent.
func (p *pipe) Busy() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.busy
}

// SetWriteDeadline does nothing: a Write does not wait, and a push has its own
// deadline.
func (p *pipe) SetWriteDeadline(time.Time) error { return nil }

// SetDeadline sets the read deadline only; see [pipe.SetWriteDeadline].
func (p *pipe) SetDeadline(t time.Time) error { return p.Conn.SetReadDeadline(t) }

// linger closes the socket after the client had a chance to read the last frame:
// closing with unread bytes would reset the connection and lose it.
func (p *pipe) linger() {
	defer p.Close()
	if p.Busy() {
		return
	}
	if half, ok := p.Conn.(interface{ CloseWrite() error }); ok && half.CloseWrite() != nil {
		return
	}
	_ = p.Conn.SetReadDeadline(time.Now().Add(lingering))
	_, _ = io.CopyN(io.Discard, p.Conn, 16*wire.MaxClientFrame)
}
