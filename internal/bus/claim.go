package bus

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/cespare/xxhash/v2"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// ErrClaimed is returned by [Conn.Claim] for what somebody else is at.
var ErrClaimed = errors.New("somebody else is at it")

// codes of the broker for a message that is not the first, or not the next, of
// its subject.
const (
	codeWrongLast        = 10071
	codeWrongLastSubject = 10164
)

// releaseAfter is how long what was given back stays claimed: the shortest time
// that a server can be told.
const releaseAfter = time.Second

// Claim takes a piece of work for this process, for so long at most, and returns
// what gives it back. It keeps processes out of each other's way and promises
// nothing: work that outlasts its claim may be done twice. Errors: [ErrClaimed],
// and those of a broker that is away.
func (c *Conn) Claim(ctx context.Context, work string, lasting time.Duration) (release func(context.Context), err error) {
	subject := "facts_loaders.claim." + strconv.FormatUint(xxhash.Sum64String(work), 16)
	say := func(ctx context.Context, after uint64, lasting time.Duration) (uint64, error) {
		msg := nats.NewMsg(subject)
		msg.Data = []byte(rand.Text())
		ack, err := c.JetStream().PublishMsg(ctx, msg, jetstream.WithExpectLastSequencePerSubject(after), jetstream.WithMsgTTL(max(lasting, releaseAfter)))
		if err != nil {
			return 0, err
		}
		return ack.Sequence, nil
	}
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	seq, err := say(ctx, 0, lasting)
	if api, ok := errors.AsType[*jetstream.APIError](err); ok && (api.ErrorCode == codeWrongLast || api.ErrorCode == codeWrongLastSubject) {
		return nil, ErrClaimed
	}
	if err != nil {
		return nil, fmt.Errorf("claiming %s: %w", work, err)
	}
	return func(ctx context.Context) {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), requestTimeout)
		defer cancel()
		_, _ = say(ctx, seq, releaseAfter) // it goes by itself, if later
	}, nil
}
