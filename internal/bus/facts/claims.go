package facts

import (
	"context"
	"encoding/base64"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/sluice-flags/sluice/internal/bus"
	"github.com/sluice-flags/sluice/pkg/events"
)

// Claims divide among processes what only one of them is to record: facts that
// several find by themselves and give the same id. They are kept by the bus, in
// memory, for an hour. Where it cannot be asked, or has no room, everything is
// whoever's asks: a fact too many is one row more with an id that counts once, and
// a fact too few is lost.
type Claims struct {
	conn    *bus.Conn
	renewed time.Time // when the stream was last looked for
}

// NewClaims returns the claims that are on a bus. They are for one goroutine.
func NewClaims(conn *bus.Conn) *Claims { return &Claims{conn: conn} }

// A Claim is what [Claims.Take] found out about one id.
type Claim struct {
	Mine    bool
	id      events.FactID
	seq     uint64 // of the claim in the stream, 0 if it could not be made
	pending jetstream.PubAckFuture
}

const (
	claimWait    = 5 * time.Second  // for the bus to say whose the ids of a batch are
	returnedFor  = time.Second      // the shortest time after which a server forgets
	lookForClaim = 30 * time.Second // between two looks for a stream that is not there
)

// Take claims ids, none of which may repeat, and says which are the caller's.
func (c *Claims) Take(ctx context.Context, ids []events.FactID) []Claim {
	ctx, cancel := context.WithTimeout(ctx, claimWait)
	defer cancel()
	out := make([]Claim, len(ids))
	connected := c.conn.Connected()
	for i, id := range ids {
		out[i] = Claim{Mine: true, id: id}
		if !connected {
			continue
		}
		if pending, err := c.say(id, 0); err == nil {
			out[i].pending = pending
		}
	}
	absent := false
	for i := range out {
		claim := &out[i]
		if claim.pending == nil {
			continue
		}
		select {
		case ack := <-claim.pending.Ok():
			claim.seq = ack.Sequence
		case err := <-claim.pending.Err():
			claim.Mine = !lostRace(err)
			absent = absent || claim.Mine
		case <-ctx.Done():
		}
		claim.pending = nil
	}
	if absent && time.Since(c.renewed) > lookForClaim {
		c.renewed = time.Now()
		_ = bus.EnsureClaims(ctx, c.conn) // or it is full, or not for us to make: then there are no claims
	}
	return out
}

// Return gives back claims whose facts could not be stored, so that whoever finds
// one of them next records it.
func (c *Claims) Return(claims []Claim) {
	for i := range claims {
		if claim := &claims[i]; claim.Mine && claim.seq != 0 {
			_, _ = c.say(claim.id, claim.seq, jetstream.WithMsgTTL(returnedFor)) // else it goes with its hour
		}
	}
}

// say begins to write a claim after the one of a sequence; 0 if there is none.
func (c *Claims) say(id events.FactID, after uint64, o ...jetstream.PublishOpt) (jetstream.PubAckFuture, error) {
	msg := nats.NewMsg(bus.ClaimSubject(base64.RawURLEncoding.EncodeToString(id[:])))
	return c.conn.JetStream().PublishMsgAsync(msg, append(o, jetstream.WithExpectLastSequencePerSubject(after))...)
}
