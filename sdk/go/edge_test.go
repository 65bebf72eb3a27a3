package sluice

import (
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gorilla/websocket"
	"go.uber.org/goleak"

	"github.com/sluice-flags/sluice/pkg/events/live"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const testKey = "secret-shop-0123456789"

// An edge speaks the live protocol and the HTTP endpoints as a real one does,
// over pipes in memory, so that tests run by synctest's clock. What it says is
// up to each test; tests/sdk has the real one.
type edge struct {
	t     *testing.T
	conns chan net.Conn
	serve sync.WaitGroup // connections of the live protocol

	mu      sync.Mutex
	down    bool
	live    func(*peer)                                  // one connection, after the upgrade
	upgrade func(http.ResponseWriter) bool               // false: refused
	specs   func(w http.ResponseWriter, r *http.Request) // polls
	log     func(n int) int                              // status for the nth log request, from 0
	dials   []time.Time
	bodies  [][]byte // of log requests, as they came
}

func newEdge(t *testing.T) *edge {
	t.Helper()
	e := &edge{t: t, conns: make(chan net.Conn)}
	mux := http.NewServeMux()
	mux.HandleFunc("GET "+live.Path, e.serveLive)
	mux.HandleFunc("GET "+specsPath, func(w http.ResponseWriter, r *http.Request) {
		e.mu.Lock()
		specs := e.specs
		e.mu.Unlock()
		if specs == nil {
			w.WriteHeader(http.StatusServiceUnavailable)
			return
		}
		specs(w, r)
	})
	mux.HandleFunc("POST "+logPath, func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		e.mu.Lock()
		n := len(e.bodies)
		e.bodies = append(e.bodies, body)
		status := http.StatusAccepted
		if e.log != nil {
			status = e.log(n)
		}
		e.mu.Unlock()
		w.WriteHeader(status)
		fmt.Fprint(w, `{"success":true}`)
	})
	s := &http.Server{Handler: mux}
	served := make(chan struct{})
	go func() { _ = s.Serve(e); close(served) }() // ends with the test
	t.Cleanup(func() { _ = s.Close(); <-served; e.serve.Wait() })
	return e
}

// Accept, Close and Addr make the edge its own listener.
func (e *edge) Accept() (net.Conn, error) {
	c, ok := <-e.conns
	if !ok {
		return nil, net.ErrClosed
	}
	return c, nil
}
func (e *edge) Close() error   { close(e.conns); return nil }
func (e *edge) Addr() net.Addr { return &net.UnixAddr{Name: "edge", Net: "pipe"} }

func (e *edge) dial(ctx context.Context, _, _ string) (net.Conn, error) {
	e.mu.Lock()
	down := e.down
	e.mu.Unlock()
	if down {
		return nil, errors.New("connection refused")
	}
	ours, theirs := net.Pipe()
	select {
	case e.conns <- theirs:
		return ours, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (e *edge) set(f func(e *edge)) {
	e.mu.Lock()
	defer e.mu.Unlock()
	f(e)
}

// attempts returns when connections were tried.
func (e *edge) attempts() []time.Time {
	e.mu.Lock()
	defer e.mu.Unlock()
	return append([]time.Time(nil), e.dials...)
}

func (e *edge) serveLive(w http.ResponseWriter, r *http.Request) {
	e.serve.Add(1)
	defer e.serve.Done()
	e.mu.Lock()
	e.dials = append(e.dials, time.Now())
	script, upgrade := e.live, e.upgrade
	e.mu.Unlock()
	if got := r.Header.Get("Statsig-Api-Key"); got != testKey {
		e.t.Errorf("the handshake carries key %q; want %q", got, testKey)
	}
	if upgrade != nil && !upgrade(w) {
		return
	}
	ws, err := (&websocket.Upgrader{}).Upgrade(w, r, nil)
	if err != nil {
		return
	}
	defer ws.Close()
	p := &peer{t: e.t, ws: ws}
	frame, err := p.read()
	if err != nil {
		return
	}
	p.hello = frame.(live.Hello)
	if script != nil {
		script(p)
	}
}

// A peer is the edge's end of one connection.
type peer struct {
	t     *testing.T
	ws    *websocket.Conn
	hello live.Hello
}

func (p *peer) read() (live.Frame, error) {
	_, text, err := p.ws.ReadMessage()
	if err != nil {
		return nil, err
	}
	f, err := live.DecodeClient(text)
	if err != nil {
		p.t.Errorf("the client sent %s: %v", text, err)
	}
	return f, err
}

func (p *peer) send(frames ...live.Frame) {
	for _, f := range frames {
		text, err := live.Encode(f)
		if err != nil {
			p.t.Errorf("encoding %s: %v", f.Type(), err)
			return
		}
		_ = p.ws.WriteMessage(websocket.TextMessage, text) // a client that has gone is the test's business
	}
}

// full brings the client to a whole state, as the answer to its last frame.
func (p *peer) full(at live.Position, time int64, gates ...string) {
	p.send(live.Answer{Intent: live.IntentFull, Position: at}, live.Full{Position: at, Time: time, Payload: download1(time, gates...)})
}

// end closes with a code and waits until the client has gone.
func (p *peer) end(code live.CloseCode) {
	_ = p.ws.WriteControl(websocket.CloseMessage, websocket.FormatCloseMessage(int(code), ""), time.Now().Add(time.Second))
	p.drain()
}

// drain reads until the client has gone.
func (p *peer) drain() {
	for {
		if _, _, err := p.ws.ReadMessage(); err != nil {
			return
		}
	}
}

// position returns a place in the one log of these tests.
func position(seq uint64) live.Position {
	return live.Position{Epoch: "e1", Seq: seq, Context: "c1"}
}

// gate returns the spec of a gate that passes everybody or nobody.
func gate(name string, on bool) string {
	percentage := 0
	if on {
		percentage = 100
	}
	return fmt.Sprintf(`{"name":%q,"type":"feature_gate","entity":"feature_gate","salt":"s","enabled":true,"defaultValue":false,"idType":"userID",
		"rules":[{"name":"everyone","id":"everyone:%d","passPercentage":%d,"returnValue":true,"idType":"userID","conditions":[{"type":"public","idType":"userID"}]}]}`,
		name, percentage, percentage)
}

// follower returns the spec of a gate that passes those who pass another.
func follower(name, other string) string {
	return strings.Replace(strings.Replace(gate(name, true), `"type":"public"`, fmt.Sprintf(`"type":"pass_gate","targetValue":%q`, other), 1), "everyone:", "follows:", 1)
}

func download1(time int64, gates ...string) json.RawMessage {
	return fmt.Appendf(nil, `{"has_updates":true,"time":%d,"feature_gates":[%s],"dynamic_configs":[],"layer_configs":[],"layers":{}}`, time, strings.Join(gates, ","))
}

func change(prev, seq uint64, time int64, name, spec string) live.Change {
	return live.Change{Prev: prev, Seq: seq, Time: time, Entries: []live.Entry{{Section: live.SectionGates, Name: name, Value: json.RawMessage(spec)}}}
}

// client returns a client of the edge, closed with the test.
func (e *edge) client(opts ...Option) *Client {
	e.t.Helper()
	c, err := New(testKey, append([]Option{WithURL("http://edge"), WithTransport(&http.Transport{DialContext: e.dial})}, opts...)...)
	if err != nil {
		e.t.Fatal(err)
	}
	e.t.Cleanup(func() { _ = c.Close(context.Background()) }) // tests that care close it themselves
	return c
}

// ready waits for a client that has to become ready.
func ready(t *testing.T, c *Client) {
	t.Helper()
	if err := c.Ready(t.Context()); err != nil {
		t.Fatalf("Ready() = %v; want nil", err)
	}
}

// logged returns the events that arrived, and each request's session.
func (e *edge) logged() (events []map[string]any, sessions []string) {
	e.t.Helper()
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, raw := range e.bodies {
		z, err := gzip.NewReader(strings.NewReader(string(raw)))
		if err != nil {
			e.t.Fatal(err)
		}
		var body struct {
			Events          []map[string]any `json:"events"`
			StatsigMetadata struct{ SessionID string }
		}
		if err := json.NewDecoder(z).Decode(&body); err != nil {
			e.t.Fatal(err)
		}
		events = append(events, body.Events...)
		sessions = append(sessions, body.StatsigMetadata.SessionID)
	}
	return events, sessions
}
