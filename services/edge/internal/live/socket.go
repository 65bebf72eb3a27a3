package live

import (
	"errors"
	"io"
	"net"
	"strconv"
	"time"

	"github.com/gorilla/websocket"

	wire "github.com/sluice-flags/sluice/pkg/events/live"
)

// A socket is a client's WebSocket.
type socket struct {
	ws   *websocket.Conn
	pipe *pipe

	// Of the reader alone.
	greeted bool
	second  int64 // in which frames are counted
	frames  int
}

var _ sink = (*socket)(nil)

func (s *socket) write(m *message) error { return s.ws.WritePreparedMessage(m.prepared) }

func (s *socket) ping() error {
	return s.ws.WriteControl(websocket.PingMessage, nil, time.Now().Add(time.Second))
}

func (s *socket) busy() bool { return s.pipe.Busy() }

func (s *socket) alive(until time.Time) { _ = s.ws.SetReadDeadline(until) } // fails on a closed one only

// end sends a close frame; the reader sees the client's answer, or none in time.
func (s *socket) end(code wire.CloseCode, reason string) {
	text := websocket.FormatCloseMessage(int(code), reason[:min(len(reason), 120)])
	_ = s.ws.WriteControl(websocket.CloseMessage, text, time.Now().Add(lingering)) // lost with the connection, if it is
	_ = s.ws.SetReadDeadline(time.Now().Add(lingering))
}

func (s *socket) cut() { _ = s.pipe.Close() }

// serve is the socket's goroutine until the hello, then another is: a hello needs
// a deep stack, and a goroutine would keep it for as long as the connection lasts.
func (s *socket) serve(c *conn) {
	err := s.receive(c)
	if err == nil {
		go s.serve(c) // ends with the connection
		return
	}
	defer c.hub.remove(c)
	var end closing
	if errors.As(err, &end) {
		c.close(end.code, end.reason)
	}
	c.leave()
	s.pipe.linger()
}

// listen sets what the library does by itself when control frames come.
func (s *socket) listen(c *conn) {
	s.ws.SetReadLimit(wire.MaxClientFrame)
	s.ws.SetPingHandler(func(text string) error {
		if s.flooding() {
			return errFlood
		}
		if !c.extend() {
			return errClosing
		}
		err := s.ws.WriteControl(websocket.PongMessage, []byte(text), time.Now().Add(time.Second))
		if errors.Is(err, websocket.ErrCloseSent) {
			return nil
		}
		return err
	})
	s.ws.SetPongHandler(func(string) error {
		if s.flooding() {
			return errFlood
		}
		if !c.extend() {
			return errClosing
		}
		return nil
	})
}

// receive reads frames: until the hello, after which it returns nil, and from
// then on until the connection ends, for the reason that it returns.
func (s *socket) receive(c *conn) error {
	for {
		kind, body, err := s.ws.NextReader()
		if err != nil {
			if timeout(err) && !s.greeted {
				return closef(wire.CloseUnauthorized, "no hello within %s", c.hub.options.HelloTimeout)
			}
			return ended(err)
		}
		// A frame must end; pieces without end would keep the reader for ever.
		_ = s.ws.SetReadDeadline(time.Now().Add(frameTime))
		text, err := io.ReadAll(body)
		if timeout(err) {
			return closef(wire.CloseTooBig, "a frame did not end within %s", frameTime)
		}
		if err != nil {
			return ended(err)
		}
		switch {
		case s.flooding():
			return errFlood
		case kind != websocket.TextMessage:
			return closef(wire.CloseBadFrame, "frames are text")
		}
		frame, err := wire.DecodeClient(text)
		if err != nil {
			return closef(wire.CloseBadFrame, "%s", clip(err.Error()))
		}
		switch f := frame.(type) {
		case wire.Hello:
			if s.greeted {
				return closef(wire.CloseBadFrame, "a second hello")
			}
			if err := c.hello(f); err != nil {
				return err
			}
			s.greeted = true
			if !c.extend() {
				return errClosing
			}
			return nil
		default:
			if !s.greeted {
				return closef(wire.CloseBadFrame, "the first frame must be a hello")
			}
			if err := c.handle(f); err != nil {
				return err
			}
		}
		if !c.extend() {
			return errClosing
		}
	}
}

// errClosing ends the reader of a connection that was closed by someone else and
// whose client goes on sending.
var errClosing = errors.New("the connection is being closed")

var errFlood = closing{wire.CloseFlood, "more than " + strconv.Itoa(maxFrames) + " frames in a second"}

// ended turns what the library says of a lost connection into our terms.
func ended(err error) error {
	if errors.Is(err, websocket.ErrReadLimit) {
		return closef(wire.CloseTooBig, "a frame is longer than %d bytes", wire.MaxClientFrame)
	}
	return err
}

func timeout(err error) bool {
	var ne net.Error
	return errors.As(err, &ne) && ne.Timeout()
}

// flooding counts a frame and reports whether it was one too many.
func (s *socket) flooding() bool {
	if now := time.Now().Unix(); now != s.second {
		s.second, s.frames = now, 0
	}
	s.frames++
	return s.frames > maxFrames
}
