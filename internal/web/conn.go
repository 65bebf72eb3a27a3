package web

import (
	"bytes"
	"context"
	"net"
)

// A conn is a connection on which a long answer may come in one piece.
//
// net/http gathers what it writes in a buffer of 4 KiB. An answer that is longer
// leaves in two writes: the head with the beginning of the text, and the rest. The
// first one wakes a caller who can do nothing with it yet, and that costs more than
// writing does. It is safe for the one goroutine that answers a request.
type conn struct {
	*net.TCPConn
	more bool   // another write follows at once
	held []byte // what waits for it
}

// Write implements [net.Conn].
func (c *conn) Write(p []byte) (int, error) {
	if c.more {
		c.more, c.held = false, bytes.Clone(p)
		return len(p), nil
	}
	if c.held == nil {
		return c.TCPConn.Write(p)
	}
	before, both := len(c.held), net.Buffers{c.held, p}
	c.held = nil
	n, err := both.WriteTo(c.TCPConn)
	return max(0, int(n)-before), err
}

// together makes the first write that f makes wait for the second.
func (c *conn) together(f func()) {
	c.more = true
	f()
	c.more = false
	if held := c.held; held != nil {
		c.held = nil
		_, _ = c.TCPConn.Write(held) // as in f: who has gone is told nothing, and the next write fails, too
	}
}

// conns are the connections of a listener.
type conns struct{ net.Listener }

// Accept implements [net.Listener].
func (l conns) Accept() (net.Conn, error) {
	accepted, err := l.Listener.Accept()
	if tcp, ok := accepted.(*net.TCPConn); ok {
		return &conn{TCPConn: tcp}, nil
	}
	return accepted, err
}

type connKey struct{}

// withConn lets [connOf] find the connection of a request.
func withConn(ctx context.Context, c net.Conn) context.Context {
	return context.WithValue(ctx, connKey{}, c)
}

// connOf is the connection on which a request came, nil if that is none of ours.
func connOf(ctx context.Context) *conn {
	c, _ := ctx.Value(connKey{}).(*conn)
	return c
}
