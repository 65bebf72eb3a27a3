package facts

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/sluice-flags/sluice/internal/bus"
	"github.com/sluice-flags/sluice/internal/lifecycle"
	"github.com/sluice-flags/sluice/pkg/events"
)

// subjectKind is the kind of subject that batches travel on: one message holds
// facts of every kind, so that a request costs one sync.
const subjectKind = "batch"

// usuallyOf is how much less a message takes than its bound, since texts repeat.
const usuallyOf = 3

// send stores messages and sets the error of each that was refused. A message
// whose fate is unknown is sent again, under the same id, until it is known:
// were it left so, a sender's retry might be stored beside it. No other message has
// that id, though it may say the same: of two processes that are sent one batch at
// once, each counts what it has stored.
func (p *Publisher) send(ctx context.Context, messages []*message) {
	futures := make([]jetstream.PubAckFuture, len(messages))
	for i, m := range messages {
		body := events.AppendBatch(make([]byte, 0, m.size/usuallyOf), m.batch)
		p.sent++
		m.msg = nats.NewMsg(bus.FactsSubject(m.batch.Project, subjectKind, m.partition))
		m.msg.Header.Set(jetstream.MsgIDHeader, p.name+" "+strconv.FormatUint(p.sent, 36))
		m.msg.Data = body
		futures[i], m.err = p.conn.JetStream().PublishMsgAsync(m.msg)
		p.metrics.bytes.Add(float64(len(body)))
	}
	timeout := time.NewTimer(p.o.AckWait)
	defer timeout.Stop()
	for i, m := range messages {
		if m.err != nil { // never left this process
			m.err = fmt.Errorf("%w: %w", ErrAway, m.err)
			continue
		}
		err := errTimeout
		select {
		case <-futures[i].Ok():
			err = nil
		case err = <-futures[i].Err():
		case <-timeout.C:
			timeout.Reset(0) // the same moment for all
		case <-ctx.Done():
		}
		m.err = p.settle(ctx, m, err)
	}
}

var errTimeout = errors.New("no answer in time")

// settle finds out what became of a message after an attempt ended with err.
func (p *Publisher) settle(ctx context.Context, m *message, err error) error {
	for attempt := 0; ; attempt++ {
		var refusal *jetstream.APIError
		switch {
		case err == nil:
			return nil
		case errors.As(err, &refusal) && !bus.DiskFailed(refusal) && (attempt == 0 || bus.Full(refusal) || refusal.Code < 500):
			return refused(refusal)
		case errors.Is(err, nats.ErrNoResponders), errors.Is(err, jetstream.ErrNoStreamResponse):
			// Nobody was there to store it. Only of a first attempt is that the
			// whole story: an earlier one may have landed.
			if attempt == 0 {
				return fmt.Errorf("%w: no stream takes facts", ErrAway)
			}
		}
		p.metrics.unknown.Inc()
		p.o.Logger.WarnContext(ctx, "asking again what became of a message of facts",
			slog.Int("attempt", attempt), slog.Any("error", err))
		if !pause(ctx, attempt) {
			return fmt.Errorf("%w: it is not known whether the facts were stored", ErrAway)
		}
		attemptCtx, cancel := context.WithTimeout(ctx, p.o.AckWait)
		_, err = p.conn.JetStream().PublishMsg(attemptCtx, m.msg)
		cancel()
	}
}

func refused(e *jetstream.APIError) error {
	if bus.Full(e) {
		return fmt.Errorf("%w: the stream is full: %w", ErrBusy, e)
	}
	return fmt.Errorf("%w: %w", ErrAway, e)
}

// pause waits before attempt n+1, longer each time, at most a second. It reports
// whether ctx goes on.
func pause(ctx context.Context, n int) bool {
	return lifecycle.Sleep(ctx, min(time.Second, 20*time.Millisecond<<min(n, 10)))
}
