package facts

import (
	"context"
	"fmt"
	"iter"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/sluice-flags/sluice/internal/bus"
	"github.com/sluice-flags/sluice/pkg/events"
)

// A Message is one message of the facts stream.
type Message struct {
	Seq     uint64
	Subject string
	Stored  time.Time
	Pending uint64 // messages after it when it was sent
	Data    []byte
}

// Project is the project whose facts the message holds, as its subject says.
func (m Message) Project() string {
	token := strings.SplitN(m.Subject, ".", 3)
	if len(token) < 3 {
		return ""
	}
	return token[1]
}

// A Reader reads one partition of the facts stream.
type Reader struct {
	conn      *bus.Conn
	stream    jetstream.Stream
	id        string
	partition int
}

// NewReader opens a partition, from 0 to [bus.FactPartitions]-1.
func NewReader(ctx context.Context, conn *bus.Conn, partition int) (*Reader, error) {
	stream, err := conn.JetStream().Stream(ctx, bus.FactsStream)
	if err != nil {
		return nil, fmt.Errorf("stream %s: %w", bus.FactsStream, err)
	}
	return &Reader{conn: conn, stream: stream, id: streamID(stream.CachedInfo()), partition: partition}, nil
}

// streamID names this very stream: another of the same name, made later, has
// sequences that mean something else.
func streamID(info *jetstream.StreamInfo) string {
	return fmt.Sprintf("%s@%d", info.Config.Name, info.Created.UnixNano())
}

// StreamID names this very stream: another of the same name has another id.
func (r *Reader) StreamID() string { return r.id }

// First is the sequence of the oldest message that the stream still has, of any
// partition; of an empty stream, the sequence that comes next.
func (r *Reader) First(ctx context.Context) (uint64, error) {
	info, err := r.stream.Info(ctx)
	if err != nil {
		return 0, fmt.Errorf("stream %s: %w", bus.FactsStream, err)
	}
	return info.State.FirstSeq, nil
}

// A Backlog is what a partition has behind a sequence.
type Backlog struct {
	Seq      uint64    // of the oldest message; 0 if there is none
	Stored   time.Time // when that was stored
	Facts    int       // how many it has; a message that does not decode counts as one
	Messages uint64    // how many there are
}

// Oldest tells what the partition has behind a sequence. It reads one message.
func (r *Reader) Oldest(ctx context.Context, after uint64) (b Backlog, err error) {
	q := bus.Query{Seq: after + 1, NextFor: r.subjects(), Batch: 1}
	page, err := r.conn.Get(ctx, bus.FactsStream, q, func(m bus.Message) error {
		b.Seq = m.Seq
		b.Facts = 1
		if batch, err := events.DecodeBatch(m.Data); err == nil {
			b.Facts = batch.Len()
		}
		b.Stored, err = time.Parse(time.RFC3339Nano, m.Header.Get(jetstream.TimeStampHeaer))
		return err
	})
	if err != nil {
		return Backlog{}, fmt.Errorf("looking for facts after %d: %w", after, err)
	}
	if b.Seq > 0 {
		b.Messages = 1 + page.Pending
	}
	return b, nil
}

func (r *Reader) subjects() string { return subjects(r.partition) }

func subjects(partition int) string { return fmt.Sprintf("facts.*.*.%d", partition) }

// Follow yields the partition's messages after a sequence, in order and without
// holes, and waits for more until ctx is done. It ends after the first error.
//
// The sequence is the reader's own to keep: nothing is acknowledged, because
// the stream keeps its messages, loaded or not, for their age or as long as
// [Room] finds room for them.
func (r *Reader) Follow(ctx context.Context, after uint64) iter.Seq2[Message, error] {
	return func(yield func(Message, error) bool) {
		fail := func(err error) {
			if ctx.Err() == nil {
				yield(Message{}, fmt.Errorf("reading facts after %d: %w", after, err))
			}
		}
		consumer, err := r.stream.OrderedConsumer(ctx, jetstream.OrderedConsumerConfig{
			FilterSubjects:   []string{r.subjects()},
			DeliverPolicy:    jetstream.DeliverByStartSequencePolicy,
			OptStartSeq:      after + 1,
			MaxResetAttempts: 1, // who follows decides when to try again
		})
		if err != nil {
			fail(err)
			return
		}
		messages, err := consumer.Messages(jetstream.PullMaxMessagesWithBytesLimit(256, readAhead))
		if err != nil {
			fail(err)
			return
		}
		defer messages.Stop()
		defer context.AfterFunc(ctx, messages.Stop)()
		for {
			msg, err := messages.Next(jetstream.NextContext(ctx))
			if err != nil {
				fail(err)
				return
			}
			meta, err := msg.Metadata()
			if err != nil {
				fail(err)
				return
			}
			after = meta.Sequence.Stream
			m := Message{Seq: after, Subject: msg.Subject(), Stored: meta.Timestamp, Pending: meta.NumPending, Data: msg.Data()}
			if !yield(m, nil) {
				return
			}
		}
	}
}

// readAhead bounds the bytes that a follower asks for at once.
const readAhead = 4 << 20

// fill adds to w the ids of facts that the stream stored within its span.
func fill(ctx context.Context, conn *bus.Conn, w *Window) error {
	stream, err := conn.JetStream().Stream(ctx, bus.FactsStream)
	if err != nil {
		return fmt.Errorf("stream %s: %w", bus.FactsStream, err)
	}
	state := stream.CachedInfo().State
	from := time.Now().Add(-w.span)
	if state.Msgs == 0 || state.LastTime.Before(from) {
		return nil
	}
	consumer, err := stream.OrderedConsumer(ctx, jetstream.OrderedConsumerConfig{
		DeliverPolicy:    jetstream.DeliverByStartTimePolicy,
		OptStartTime:     &from,
		MaxResetAttempts: 1,
	})
	if err != nil {
		return fmt.Errorf("reading facts since %v: %w", from, err)
	}
	messages, err := consumer.Messages(jetstream.PullMaxMessagesWithBytesLimit(256, readAhead))
	if err != nil {
		return fmt.Errorf("reading facts since %v: %w", from, err)
	}
	defer messages.Stop()
	for {
		msg, err := messages.Next(jetstream.NextContext(ctx))
		if err != nil {
			return fmt.Errorf("reading facts since %v: %w", from, err)
		}
		meta, err := msg.Metadata()
		if err != nil {
			return fmt.Errorf("reading facts since %v: %w", from, err)
		}
		// What does not decode has no ids; the loader sets it aside.
		if b, err := events.DecodeBatch(msg.Data()); err == nil {
			w.Add(meta.Timestamp, scopeOf(b.Project).all(&b)...)
		}
		if meta.Sequence.Stream >= state.LastSeq {
			return nil
		}
	}
}
