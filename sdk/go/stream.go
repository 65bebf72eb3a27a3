package sluice

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"strings"
	"time"

	"github.com/gorilla/websocket"

	"github.com/sluice-flags/sluice/pkg/eval"
	"github.com/sluice-flags/sluice/pkg/events/live"
)

const (
	silence      = 45 * time.Second // an edge that says nothing for so long is gone
	writeTime    = 10 * time.Second
	connectTime  = 10 * time.Second
	answerTime   = 10 * time.Second // of the hello: some proxies let upgrades through and nothing after
	maxStateText = 256 << 20        // bytes of one frame or download
)

// errEdgeCutOff says that the edge answers but is itself behind.
var errEdgeCutOff = errors.New("the edge is cut off from the log")

// A stream is one connection, from hello to its end.
type stream struct {
	feed    *feed
	ws      *websocket.Conn
	since   time.Time     // of the edge's first answer
	goodbye time.Duration // when to come back, once the edge has said so
	asked   bool          // a position is on its way: its answer covers what comes before it
	gaps    int           // that were not mended yet
}

// connect holds one connection for as long as it lasts.
func (f *feed) connect(ctx context.Context) ending {
	ws, res, err := f.dial(ctx)
	if err != nil {
		end := ending{err: fmt.Errorf("connecting to %s: %w", live.Path, err)}
		if res != nil {
			_ = res.Body.Close() // the little that is read of it is in memory
			end.err = fmt.Errorf("%w: status %d", end.err, res.StatusCode)
			if end.verdict, end.after = refusal(res); end.verdict == giveUp {
				end.err = fmt.Errorf("%w: %w", ErrRefused, end.err)
			}
		}
		return end
	}
	left := make(chan struct{})
	stop := context.AfterFunc(ctx, func() { // Close was called
		defer close(left)
		bye := websocket.FormatCloseMessage(int(live.CloseNormal), "")
		_ = ws.WriteControl(websocket.CloseMessage, bye, time.Now().Add(time.Second)) // politeness
		_ = ws.Close()
	})
	defer func() {
		if !stop() {
			<-left
		}
		_ = ws.Close() // it is over
	}()

	s := &stream{feed: f, ws: ws}
	err = s.serve(ctx)
	end := ending{err: fmt.Errorf("live connection: %w", err), after: s.goodbye}
	if !s.since.IsZero() {
		end.lasted = time.Since(s.since)
	}
	if e, ok := errors.AsType[*websocket.CloseError](err); ok {
		switch code := live.CloseCode(e.Code); {
		case code == live.CloseUnauthorized || code == live.CloseForbidden:
			end.verdict, end.err = giveUp, fmt.Errorf("%w: %w", ErrRefused, end.err)
		case code == live.CloseFlood:
			end.after = backoffCap + rand.N(backoffCap)
		case code == live.CloseNormal: // not for us to hear: some proxy's way to end
		case !code.Reconnect():
			end.verdict = pollOnly
		}
	}
	return end
}

func (f *feed) dial(ctx context.Context) (*websocket.Conn, *http.Response, error) {
	t := f.client.transport
	dialer := websocket.Dialer{
		NetDialContext: t.DialContext, NetDialTLSContext: t.DialTLSContext, Proxy: t.Proxy,
		HandshakeTimeout: connectTime, EnableCompression: true,
	}
	if t.TLSClientConfig != nil {
		dialer.TLSClientConfig = t.TLSClientConfig.Clone()
	} else {
		dialer.TLSClientConfig = &tls.Config{}
	}
	dialer.TLSClientConfig.NextProtos = []string{"http/1.1"} // WebSockets upgrade from there
	at := *f.client.options.edge.JoinPath(live.Path)
	at.Scheme = strings.Replace(at.Scheme, "http", "ws", 1)
	return dialer.DialContext(ctx, at.String(), http.Header{"Statsig-Api-Key": {f.key}})
}

// serve says hello and handles frames until the connection ends.
func (s *stream) serve(ctx context.Context) error {
	s.ws.SetReadLimit(maxStateText)
	pong := s.ws.PingHandler()
	s.ws.SetPingHandler(func(data string) error {
		return errors.Join(s.ws.SetReadDeadline(time.Now().Add(silence)), pong(data))
	})
	if err := s.send(live.Hello{Protocol: live.Protocol, Mode: live.ModeRules, Position: s.feed.held.Position}); err != nil {
		return err
	}
	for {
		patience := silence
		if s.since.IsZero() {
			patience = answerTime
		}
		if err := s.ws.SetReadDeadline(time.Now().Add(patience)); err != nil {
			return err
		}
		_, text, err := s.ws.ReadMessage()
		if err != nil {
			return err
		}
		frame, err := live.DecodeServer(text)
		if errors.Is(err, live.ErrUnknownFrame) {
			continue // from a newer edge, and none of our business
		}
		if err == nil {
			err = s.handle(ctx, frame)
		}
		if err != nil {
			return err
		}
	}
}

func (s *stream) send(f live.Frame) error {
	text, err := live.Encode(f)
	if err != nil {
		return err
	}
	if err := s.ws.SetWriteDeadline(time.Now().Add(writeTime)); err != nil {
		return err
	}
	return s.ws.WriteMessage(websocket.TextMessage, text)
}

func (s *stream) handle(ctx context.Context, frame live.Frame) error {
	switch frame := frame.(type) {
	case live.Answer:
		return s.answer(ctx, frame)
	case live.Full:
		return s.full(ctx, frame)
	case live.Change:
		return s.change(ctx, frame)
	case live.Ping:
		s.ping(ctx, frame)
	case live.Goodbye:
		s.goodbye = time.Duration(frame.RetryMs) * time.Millisecond
	}
	return nil
}

func (s *stream) answer(ctx context.Context, a live.Answer) error {
	s.asked = false
	if s.since.IsZero() {
		s.since = time.Now()
	}
	if a.Intent != live.IntentNone {
		return nil // what follows brings us up to date
	}
	if s.feed.held.rules == nil {
		return s.ask(nowhere)
	}
	s.gaps = 0
	s.feed.held.Position = a.Position
	s.feed.mend(ctx)
	s.moved()
	s.current(a.Stale)
	return nil
}

func (s *stream) full(ctx context.Context, full live.Full) error {
	if s.feed.held.behind(full.Position) {
		s.current(true) // this edge lags: what we hold is newer than what it has
		return nil
	}
	d, err := s.feed.client.options.parse(full.Payload, full.Position, eval.SourceNetwork)
	if err != nil {
		return fmt.Errorf("full state at %d: %w", full.Seq, err)
	}
	s.gaps = 0
	d, _ = s.feed.join(ctx, d, full.Seq)
	s.feed.adopt(d, nil)
	if k := s.feed.client.keeper; k != nil {
		k.replace(full.Payload, full.Position, full.Time, true)
	}
	s.current(false)
	return nil
}

func (s *stream) change(ctx context.Context, c live.Change) error {
	if s.asked {
		return nil
	}
	next, changed, err := s.feed.held.change(c)
	switch {
	case errors.Is(err, errGap) && s.gaps == 0:
		s.gaps++
		return s.ask(s.feed.held.Position)
	case err != nil: // asking from where we are did not help
		return s.ask(nowhere)
	}
	s.gaps = 0
	if next.rules == s.feed.held.rules {
		return nil // it was in already
	}
	if len(c.IDLists) > 0 {
		joined, more := s.feed.join(ctx, next, c.Seq)
		next, changed = joined, union(changed, more)
	}
	s.feed.adopt(next, changed)
	if k := s.feed.client.keeper; k != nil {
		k.apply(c)
	}
	s.current(false)
	return nil
}

// nowhere is a position in no log: whoever claims to be there is sent everything.
var nowhere = live.Position{Epoch: "none"}

// ask tells the edge where the client is; what differs follows.
func (s *stream) ask(p live.Position) error {
	s.asked = true
	return s.send(p)
}

func (s *stream) ping(ctx context.Context, p live.Ping) {
	if s.asked || s.feed.held.rules == nil || s.since.IsZero() {
		return // what was asked for comes first
	}
	lags := p.Seq < s.feed.held.Seq
	if !lags {
		s.feed.held.Seq = p.Seq
		s.moved()
	}
	s.feed.mend(ctx)
	s.current(p.Stale || lags)
}

func (s *stream) moved() {
	s.feed.client.board.moved(s.feed.held.Seq, s.feed.held.time())
}

// current enters the state that the edge's word is good for.
func (s *stream) current(stale bool) {
	if stale {
		s.feed.client.board.enter(Stale, errEdgeCutOff)
	} else {
		s.feed.client.board.enter(Ready, nil)
	}
}
