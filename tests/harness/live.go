package harness

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"github.com/sluice-flags/sluice/pkg/events/live"
)

// A LiveClient holds one connection of the live protocol.
type LiveClient struct {
	t    testing.TB
	conn *websocket.Conn
}

// Live opens a connection and says hello. It ends with the test.
func (p *Platform) Live(hello live.Hello) *LiveClient {
	p.T.Helper()
	conn, res, err := websocket.DefaultDialer.Dial("ws"+strings.TrimPrefix(p.HTTP, "http")+live.Path, nil)
	if err != nil {
		p.T.Fatalf("opening %s: %v (%v)", live.Path, err, res)
	}
	p.T.Cleanup(func() { conn.Close() })
	c := &LiveClient{t: p.T, conn: conn}
	hello.Protocol = live.Protocol
	c.Send(hello)
	return c
}

// Send sends one frame.
func (c *LiveClient) Send(f live.Frame) {
	c.t.Helper()
	text, err := live.Encode(f)
	if err == nil {
		err = c.conn.WriteMessage(websocket.TextMessage, text)
	}
	if err != nil {
		c.t.Fatalf("sending %s: %v", f.Type(), err)
	}
}

// Any returns the next frame. A ping, too, moves the position of who holds one.
func (c *LiveClient) Any() live.Frame {
	c.t.Helper()
	if err := c.conn.SetReadDeadline(time.Now().Add(30 * time.Second)); err != nil {
		c.t.Fatal(err)
	}
	_, text, err := c.conn.ReadMessage()
	if err != nil {
		c.t.Fatalf("waiting for a frame: %v", err)
	}
	frame, err := live.DecodeServer(text)
	if err != nil {
		c.t.Fatalf("frame %s: %v", text, err)
	}
	return frame
}

// Next returns the next frame that is not a ping.
func (c *LiveClient) Next() live.Frame {
	c.t.Helper()
	for {
		if frame := c.Any(); frame.Type() != (live.Ping{}).Type() {
			return frame
		}
	}
}

// NextFull waits for a full state.
func (c *LiveClient) NextFull() live.Full {
	c.t.Helper()
	for {
		if full, ok := c.Next().(live.Full); ok {
			return full
		}
	}
}

// NextValue waits for a change that sets the named entity, and returns its new
// value.
func (c *LiveClient) NextValue(section, name string) json.RawMessage {
	c.t.Helper()
	for {
		change, ok := c.Next().(live.Change)
		if !ok {
			continue
		}
		for _, e := range change.Entries {
			if e.Section != section || e.Name != name {
				continue
			}
			var entry struct {
				Value json.RawMessage `json:"value"`
			}
			if err := json.Unmarshal(e.Value, &entry); err != nil {
				c.t.Fatalf("entry %s: %v", e.Value, err)
			}
			return entry.Value
		}
	}
}
