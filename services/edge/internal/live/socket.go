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

	// Of the reader alone: frames counted in one second.
	second int64
	frames int
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

// serve is the socket's goroutine. It ends when the connection does.
func (s *socket) serve(c *conn) {
	defer c.hub.remove(c)
	err := s.receive(c)
	var end closing
	if errors.As(err, &end) {
		c.close(end.code, end.reason)
	}
	c.leave()
	s.pipe.linger()
}

// receive reads frames until the connection ends, and says why it did.
func (s *socket) receive(c *conn) error {
	greeted := false
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
	for {
		kind, body, err := s.ws.NextReader()
		if err != nil {
			if timeout(err) && !greeted {
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
			if greeted {
				return closef(wire.CloseBadFrame, "a second hello")
			}
			if err := c.hello(f); err != nil {
				return err
			}
			greeted = true
		default:
			if !greeted {
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
