package natslog

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"log/slog"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/sluice-flags/sluice/internal/bus"
	"github.com/sluice-flags/sluice/pkg/events"
)

const (
	heartbeat        = 2 * time.Second
	forgetReaderIn   = 30 * time.Second
	forgetWithin     = time.Second
	followPull       = 500
	followPullBytes  = 8 << 20
	healthyFollowing = 10 * time.Second // after this long the waits begin short again
)

// Follow implements [events.Log].
//
// It reads with a consumer of its own that the server keeps in memory. Whenever
// that consumer ends — the connection is lost, a server restarts, somebody
// deletes it — the position is proven against the log again before another is
// made: a consumer by itself would go on in a stream that was made anew, from a
// sequence that means something else there.
func (l *Log) Follow(ctx context.Context, after events.Head) iter.Seq2[events.Envelope, error] {
	return func(yield func(events.Envelope, error) bool) {
		f := &following{log: l, at: after, yield: yield}
		if after == (events.Head{}) {
			f.at.LogID = l.id
		}
		for attempt := 0; ; attempt++ {
			began := time.Now()
			err := f.run(ctx)
			if errors.Is(err, errStopped) {
				return
			}
			if ctx.Err() == nil && errors.Is(err, events.ErrUnavailable) {
				l.opts.Logger.DebugContext(ctx, "following again", slog.Any("error", err))
				if time.Since(began) > healthyFollowing {
					attempt = 0
				}
				if err = pause(ctx, attempt); err == nil {
					continue
				}
			}
			if ctx.Err() != nil {
				err = context.Cause(ctx)
			}
			yield(events.Envelope{}, err)
			return
		}
	}
}

// A following is the progress of one Follow.
type following struct {
	log   *Log
	at    events.Head
	yield func(events.Envelope, error) bool
}

// run follows until something ends it: errStopped, [events.ErrUnavailable] if it
// is worth another try, or what is wrong with the log.
func (f *following) run(ctx context.Context) error {
	l := f.log
	if err := f.prove(ctx); err != nil {
		return err
	}
	// A connection that was lost and came back may be with a server that does
	// not know the consumer.
	ctx, stop := l.conn.UntilLost(ctx)
	defer stop()
	consumer, err := l.conn.JetStream().CreateConsumer(ctx, l.stream, jetstream.ConsumerConfig{
		DeliverPolicy:     jetstream.DeliverByStartSequencePolicy,
		OptStartSeq:       f.at.Seq + 1,
		AckPolicy:         jetstream.AckNonePolicy,
		MemoryStorage:     true,
		Replicas:          1,
		InactiveThreshold: forgetReaderIn,
	})
	if err != nil {
		return l.found(ctx, err)
	}
	defer l.forget(consumer.CachedInfo().Name)
	messages, err := consumer.Messages(
		jetstream.PullMaxMessagesWithBytesLimit(followPull, followPullBytes),
		jetstream.PullHeartbeat(heartbeat),
	)
	if err != nil {
		return l.found(ctx, err)
	}
	defer messages.Stop()
	var delivered uint64 // how many of the consumer's messages
	for {
		m, err := messages.Next(jetstream.NextContext(ctx))
		if err != nil {
			return l.found(ctx, err)
		}
		meta, err := m.Metadata()
		if err != nil {
			return l.found(ctx, err)
		}
		delivered++
		lost := meta.Sequence.Consumer != delivered // on the way, by no fault of the replica
		delivered = meta.Sequence.Consumer
		if err := f.take(ctx, bus.Message{Subject: m.Subject(), Seq: meta.Sequence.Stream, Data: m.Data()}, lost); err != nil {
			return err
		}
	}
}

// prove shows that the log still has the position that was reached, by the
// leader's word.
func (f *following) prove(ctx context.Context) error {
	if f.at.LogID != f.log.id {
		return fmt.Errorf("%w: resuming log %s, this is %s", events.ErrEpoch, f.at.LogID, f.log.id)
	}
	head, err := f.log.Head(ctx)
	switch {
	case err != nil:
		return err
	case head.Seq < f.at.Seq:
		return fmt.Errorf("%w: resuming at %s, the log ends at %s", events.ErrFork, f.at, head)
	case f.at.Seq == 0:
		return nil
	}
	e, err := f.log.at(ctx, f.at.Seq)
	if err == nil && e.Hash != f.at.Hash {
		err = fmt.Errorf("%w: resuming at %s, the log has %s", events.ErrFork, f.at, e.Head())
	}
	return err
}

// take passes a delivered message on, and before it what the delivery left out,
// which the replica behind it has not, unless it was lost on the way.
func (f *following) take(ctx context.Context, m bus.Message, lost bool) error {
	if m.Seq <= f.at.Seq {
		return nil // delivered again
	}
	if m.Seq > f.at.Seq+1 {
		// The replica that serves the consumer may be damaged: ask the leader.
		for seq := f.at.Seq + 1; seq < m.Seq; seq++ {
			e, err := f.log.at(ctx, seq)
			if err != nil {
				return err
			}
			if !lost {
				f.differs(ctx, seq)
			}
			if err := f.pass(e); err != nil {
				return err
			}
		}
	}
	e, err := f.log.decode(m)
	if errors.Is(err, events.ErrCorrupt) {
		if e, err = f.log.at(ctx, m.Seq); err == nil {
			f.differs(ctx, m.Seq)
		}
	}
	if err != nil {
		return err
	}
	return f.pass(e)
}

// differs notes that a replica does not have a message as the leader has it.
func (f *following) differs(ctx context.Context, seq uint64) {
	f.log.metrics.mismatch.Inc()
	f.log.opts.Logger.ErrorContext(ctx, "a replica of the log misses a message that its leader has, or has it damaged: replace that replica",
		slog.Uint64("seq", seq))
}

func (f *following) pass(e events.Envelope) error {
	if err := events.Verify(f.at, e); err != nil {
		return err
	}
	f.at = e.Head()
	if !f.yield(e, nil) {
		return errStopped
	}
	return nil
}

// forget removes a consumer. The server would forget it too, later.
func (l *Log) forget(name string) {
	if !l.conn.Connected() {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), forgetWithin)
	defer cancel()
	_ = l.conn.JetStream().DeleteConsumer(ctx, l.stream, name)
}
