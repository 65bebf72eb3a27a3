package facts

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"log/slog"
	"slices"
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
	js      jetstream.JetStream // of their own: facts do not wait behind claims that nobody answers
	logger  *slog.Logger
	name    string                   // in each claim: whose it is
	owed    map[events.FactID]uint64 // what is still to be given back, by its sequence; 0: nobody said
	renewed time.Time                // when the stream was last looked for
}

const (
	claimWait    = 5 * time.Second  // for the bus to say whose the ids of a batch are
	settleWait   = 2 * time.Second  // for the bus to take back what is owed
	lookForClaim = 30 * time.Second // between two looks for a stream that is not there
	maxOwed      = 100_000          // beyond, a claim goes with its hour
)

// NewClaims returns the claims that are on a bus. They are for one goroutine.
func NewClaims(conn *bus.Conn, logger *slog.Logger) *Claims {
	return &Claims{conn: conn, logger: logger, name: rand.Text()[:8], owed: make(map[events.FactID]uint64)}
}

// begin makes what claims are asked for by, once there is a connection.
func (c *Claims) begin() (err error) {
	if c.js == nil {
		c.js, err = jetstream.New(c.conn.NATS(), jetstream.WithPublishAsyncTimeout(claimWait))
	}
	return err
}

// Take claims ids, none of which may repeat, and says which are the caller's. Who
// cannot store one of these gives them back, and whoever finds one next records it.
func (c *Claims) Take(ctx context.Context, ids []events.FactID) (mine []bool, giveBack func(context.Context)) {
	ctx, cancel := context.WithTimeout(ctx, claimWait)
	defer cancel()
	if err := c.begin(); err != nil {
		c.logger.WarnContext(ctx, "claims cannot be asked for", slog.Any("error", err))
		return slices.Repeat([]bool{true}, len(ids)), func(context.Context) {}
	}
	c.settle(ctx)
	mine = make([]bool, len(ids))
	made := make(map[events.FactID]uint64) // as in owed
	pending := make([]jetstream.PubAckFuture, len(ids))
	for i, id := range ids {
		mine[i] = true
		if seq, ok := c.owed[id]; ok { // still this process's
			made[id] = seq
			delete(c.owed, id)
		} else if ctx.Err() == nil && c.conn.Connected() {
			pending[i], _ = c.js.PublishMsgAsync(c.message(id), first)
		}
	}
	absent := false
	for i, id := range ids {
		if pending[i] == nil {
			continue
		}
		select {
		case ack := <-pending[i].Ok():
			made[id] = ack.Sequence
		case err := <-pending[i].Err():
			mine[i] = !lostRace(err)
			absent = absent || errors.Is(err, jetstream.ErrNoStreamResponse)
			if !refusal(err) {
				made[id] = 0
			}
		case <-ctx.Done():
			made[id] = 0
		}
	}
	if absent && time.Since(c.renewed) > lookForClaim {
		c.renewed = time.Now()
		if err := bus.EnsureClaims(ctx, c.conn, bus.Limits{}); err != nil { // one copy will do
			c.logger.WarnContext(ctx, "decisions cannot be claimed: other edges may store the same, with one id, which counts once", slog.Any("error", err))
		}
	}
	return mine, func(ctx context.Context) {
		for id, seq := range made {
			if len(c.owed) < maxOwed {
				c.owed[id] = seq
			}
		}
		c.settle(ctx)
	}
}

// settle gives back what is owed: all of it, or what the bus takes in time. The
// rest waits for the next Take.
func (c *Claims) settle(ctx context.Context) {
	if len(c.owed) == 0 || !c.conn.Connected() {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, settleWait)
	defer cancel()
	stream, err := c.js.Stream(ctx, bus.ClaimsStream)
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		clear(c.owed) // they went with it
	}
	if err != nil {
		return
	}
	for id, seq := range c.owed {
		if seq == 0 {
			if seq, err = c.find(ctx, id); err != nil {
				return
			}
		}
		if seq != 0 {
			// A message that is gone already is as well.
			if err := stream.DeleteMsg(ctx, seq); err != nil && !errors.Is(err, jetstream.ErrMsgDeleteUnsuccessful) {
				return
			}
		}
		delete(c.owed, id)
	}
}

// find asks once more for a claim of which nobody said what became of it, and
// returns its sequence; 0 if it is not this process's. The new attempt stands in
// line behind the former, which is decided when this one is.
func (c *Claims) find(ctx context.Context, id events.FactID) (seq uint64, err error) {
	m := c.message(id)
	ack, err := c.js.PublishMsg(ctx, m, first)
	switch {
	case err == nil:
		return ack.Sequence, nil
	case !refusal(err):
		return 0, err
	case !lostRace(err):
		return 0, nil
	}
	last, err := c.conn.Last(ctx, bus.ClaimsStream, m.Subject)
	switch {
	case errors.Is(err, jetstream.ErrMsgNotFound):
		return 0, nil
	case err != nil:
		return 0, err
	case string(last.Data) != c.name:
		return 0, nil
	}
	return last.Seq, nil
}

// first is the condition of a claim: that there is none yet.
var first = jetstream.WithExpectLastSequencePerSubject(0)

func (c *Claims) message(id events.FactID) *nats.Msg {
	msg := nats.NewMsg(bus.ClaimSubject(base64.RawURLEncoding.EncodeToString(id[:])))
	msg.Data = []byte(c.name)
	return msg
}

// refusal tells that the bus has not stored a message, and will not.
func refusal(err error) bool {
	_, refused := errors.AsType[*jetstream.APIError](err)
	return refused || errors.Is(err, jetstream.ErrNoStreamResponse)
}
