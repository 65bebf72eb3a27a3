package live

import (
	"github.com/sluice-flags/sluice/pkg/eval"
	wire "github.com/sluice-flags/sluice/pkg/events/live"
	"github.com/sluice-flags/sluice/services/edge/internal/follower"
)

// offer brings the connection to the version of a sweep, unless it is there, or
// its last message is not through yet.
func (c *conn) offer(s *sweep) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.room == nil || c.closing || c.have == nil:
		return
	case c.have.Epoch == s.to.Epoch && c.have.Gen >= s.to.Gen:
		return
	case c.sink.busy():
		c.behind = true // drained, which waits for mu, will see it
		return
	}
	c.advance(s)
}

// drained is the sink's word that everything is through: what was left waiting
// goes out now.
func (c *conn) drained() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.room == nil || c.closing || c.sink.busy() {
		return // busy again: this will be called again
	}
	switch {
	case c.again:
		c.again, c.behind = false, false
		c.answer(wire.Position{})
	case c.behind:
		c.behind = false
		c.advance(newSweep(c.room.scope, c.room.scope.Current()))
	}
}

// advance sends what lies between the version that the client has and the one
// that is swept to. The caller holds mu.
func (c *conn) advance(s *sweep) {
	d := s.from(c.have)
	if !d.known {
		c.sendFull(s.to)
		return
	}
	m, err := c.difference(s, d, nil)
	if err != nil {
		c.fail(err)
		return
	}
	c.have = s.to
	if m != nil {
		c.told = s.to.Seq
		c.send(m, "change")
	}
}

func (c *conn) difference(s *sweep, d *difference, elapsed []eval.Ref) (*message, error) {
	if c.mode == wire.ModeRules {
		return s.specs(d)
	}
	return s.values(d, &c.user, c.client, c.told, elapsed), nil
}

// answer states what the client's position is worth and brings it up to date.
// The caller holds mu.
func (c *conn) answer(held wire.Position) {
	scope := c.room.scope
	to := scope.Current()
	from, ok := (*follower.Version)(nil), false
	if held.Context == c.context {
		from, ok = scope.Find(held.Epoch, held.Seq)
	}
	var elapsed []eval.Ref
	if ok && c.mode == wire.ModeValues {
		elapsed, ok = scope.Elapsed(from)
	}
	if ok {
		s := newSweep(scope, to)
		if d := s.from(from); d.known {
			c.told = held.Seq
			m, err := c.difference(s, d, elapsed)
			if err != nil {
				c.fail(err)
				return
			}
			c.have, c.told = to, to.Seq
			if m == nil {
				c.intent(wire.IntentNone, to)
				return
			}
			c.intent(wire.IntentChanges, to)
			c.send(m, "change")
			return
		}
	}
	c.intent(wire.IntentFull, to)
	c.sendFull(to)
}

func (c *conn) intent(i wire.Intent, to *follower.Version) {
	c.send(encode(wire.Answer{Intent: i, Position: c.position(to), Stale: c.stale()}), "intent")
}

func (c *conn) position(v *follower.Version) wire.Position {
	return wire.Position{Epoch: v.Epoch, Seq: v.Seq, Context: c.context}
}

func (c *conn) stale() bool {
	return c.hub.deps.Stale != nil && c.hub.deps.Stale(c.principal.Project)
}

// sendFull sends everything at a version. The caller holds mu.
func (c *conn) sendFull(to *follower.Version) {
	var m *message
	if c.mode == wire.ModeRules {
		var err error
		if m, err = c.room.full.of(to, c.context); err != nil {
			c.fail(err)
			return
		}
	} else {
		m = encode(wire.Full{
			Position: c.position(to), Time: to.Time,
			Payload: to.Rules.AppendClient(nil, &c.user, c.client),
		})
	}
	c.have, c.told = to, to.Seq
	c.send(m, "full")
}

// ping lets the client know that it is up to date, and the kernel that it is
// there. Messages holds the frames of this round.
func (c *conn) ping(messages map[wire.Ping]*message) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.room == nil || c.closing {
		return
	}
	if c.sink.busy() {
		return
	}
	if v := c.room.scope.Current(); v.Epoch == c.have.Epoch && v.Gen == c.have.Gen {
		c.have, c.told = v, v.Seq
	}
	frame := wire.Ping{Seq: c.told, Stale: c.stale()}
	m, ok := messages[frame]
	if !ok {
		m = encode(frame)
		messages[frame] = m
	}
	c.send(m, "ping")
	if err := c.sink.ping(); err != nil {
		c.fail(err)
	}
}

// send hands a message to the pipe. The caller holds mu.
func (c *conn) send(m *message, kind string) {
	if c.closing {
		return
	}
	if err := c.sink.write(m); err != nil {
		c.fail(err)
		return
	}
	c.hub.metrics.frames[kind].Inc()
}
