package natslog

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/sluice-flags/sluice/internal/bus"
	"github.com/sluice-flags/sluice/pkg/events"
)

// An outcome is what is known of a commit once publishing it is over.
type outcome int

const (
	landed    outcome = iota // it is in the log, on the disk
	refused                  // it is not, and never will be; the error says why
	moved                    // the server has another last sequence, and did not store ours
	contested                // the server has another last sequence, which may be by our doing
	duplicate                // the server has seen the command
	unsent                   // nothing was sent that could be stored
	unknown                  // it may be in the log, or may get there yet
)

// Error codes of JetStream that end an append.
const (
	codeWrongLastSequence      = 10071
	codeWrongLastSequenceBatch = 10164
	codeDuplicateInBatch       = 10201
	codeIncompleteBatch        = 10176
	codeTooManyBatches         = 10210
	codeDuplicateInProcess     = 10158
	codeMessageTooLarge        = 10054
)

// Headers of JetStream that the client library has no name for.
const (
	headerBatchID       = "Nats-Batch-Id"
	headerBatchSequence = "Nats-Batch-Sequence"
	headerBatchCommit   = "Nats-Batch-Commit"
)

const attemptWithin = 2 * time.Second

// A publication is a commit as messages: one plain message, or an atomic batch.
type publication struct {
	conn     *bus.Conn
	messages []*nats.Msg
	last     uint64 // the sequence that the last message must get
}

// encode prepares a commit. The server compares the stream's last sequence with
// the one that the commit was decided on, so the sequences in the envelopes are
// the ones that the messages get.
func (l *Log) encode(commit []events.Envelope) (*publication, error) {
	p := &publication{conn: l.conn, last: commit[len(commit)-1].Seq}
	for i, e := range commit {
		body, err := e.Encode()
		if err != nil {
			return nil, fmt.Errorf("%w: %w", events.ErrInvalid, err)
		}
		if len(body) > events.MaxMessage {
			return nil, fmt.Errorf("%w: %s takes %d bytes, at most %d", events.ErrTooLarge, e.Entity, len(body), events.MaxMessage)
		}
		m := nats.NewMsg(bus.FlagsSubject(l.project, e.Ref()))
		m.Data = body
		m.Header.Set(jetstream.ExpectedStreamHeader, l.stream)
		m.Header.Set(jetstream.MsgIDHeader, e.CommandID)
		if i == 0 {
			m.Header.Set(jetstream.ExpectedLastSeqHeader, strconv.FormatUint(e.Seq-1, 10))
		} else {
			m.Header.Set(jetstream.MsgIDHeader, e.CommandID+" "+strconv.Itoa(i)) // no command id has a space
		}
		p.messages = append(p.messages, m)
	}
	return p, nil
}

// publish sends the commit, again and again while nobody answers and ctx lasts.
// The message ids and the expected sequence make a repeat harmless.
func (p *publication) publish(ctx context.Context) (outcome, error) {
	var lost error // why an earlier attempt may have landed without a word
	for attempt := 0; ; attempt++ {
		o, err := p.attempt(ctx)
		if lost != nil {
			// What the server says now is about this attempt only.
			switch o {
			case unsent, refused:
				o, err = unknown, lost
			case moved:
				o = contested
			}
		}
		switch o {
		case unknown:
			lost = err
		case unsent:
		default:
			return o, err
		}
		if pause(ctx, attempt) != nil {
			return o, err
		}
	}
}

func (p *publication) attempt(ctx context.Context) (outcome, error) {
	ctx, cancel := context.WithTimeout(ctx, attemptWithin)
	defer cancel()
	ctx, stop := p.conn.UntilLost(ctx)
	defer stop()
	if !p.conn.Connected() {
		return unsent, p.conn.Status()
	}
	if len(p.messages) == 1 {
		return p.request(ctx, p.messages[0])
	}
	return p.batch(ctx)
}

// batch sends an atomic batch under a new id: the server drops what it had of
// an earlier attempt.
func (p *publication) batch(ctx context.Context) (outcome, error) {
	id := rand.Text()
	for i, m := range p.messages {
		m.Header.Set(headerBatchID, id)
		m.Header.Set(headerBatchSequence, strconv.Itoa(i+1))
		if i == len(p.messages)-1 {
			m.Header.Set(headerBatchCommit, "1")
			return p.request(ctx, m)
		}
		if i > 0 {
			if err := p.conn.NATS().PublishMsg(m); err != nil {
				return unsent, err
			}
			continue
		}
		// The answer to the first tells whether the stream takes batches. None
		// of it is stored before the last.
		reply, err := p.conn.NATS().RequestMsgWithContext(ctx, m)
		if err != nil {
			return unsent, err
		}
		if len(reply.Data) > 0 {
			if o, err := p.read(reply.Data); o != landed {
				return o, err
			}
		}
	}
	return unsent, errors.New("nothing to send")
}

// request sends one message that the server answers with the fate of all.
func (p *publication) request(ctx context.Context, m *nats.Msg) (outcome, error) {
	reply, err := p.conn.NATS().RequestMsgWithContext(ctx, m)
	switch {
	case errors.Is(err, nats.ErrNoResponders), errors.Is(err, nats.ErrReconnectBufExceeded), errors.Is(err, nats.ErrConnectionClosed):
		return unsent, err
	case err != nil:
		return unknown, err
	}
	return p.read(reply.Data)
}

// read makes an outcome of the server's answer.
func (p *publication) read(body []byte) (outcome, error) {
	var ack struct {
		Seq       uint64              `json:"seq"`
		Duplicate bool                `json:"duplicate"`
		Error     *jetstream.APIError `json:"error"`
	}
	if err := json.Unmarshal(body, &ack); err != nil {
		return unknown, fmt.Errorf("the server's answer: %w", err)
	}
	switch {
	case ack.Error != nil:
		return fate(ack.Error), refusal(ack.Error)
	case ack.Duplicate:
		return duplicate, fmt.Errorf("the server has the command at %d", ack.Seq)
	case ack.Seq != p.last:
		return contested, fmt.Errorf("the server stored %d as %d", p.last, ack.Seq)
	}
	return landed, nil
}

// fate sorts the server's errors.
func fate(err *jetstream.APIError) outcome {
	switch err.ErrorCode {
	case codeWrongLastSequence, codeWrongLastSequenceBatch:
		return moved
	case codeDuplicateInBatch:
		return duplicate
	case codeDuplicateInProcess:
		return unknown
	case codeIncompleteBatch, codeTooManyBatches:
		return unsent
	case codeMessageTooLarge:
		return refused
	}
	switch {
	case bus.Full(err):
		return refused
	case bus.DiskFailed(err):
		return unknown
	}
	if err.Code >= 400 && err.Code < 500 {
		return refused // the request itself is wrong
	}
	return unknown
}

// refusal says the same in the words of the log.
func refusal(err *jetstream.APIError) error {
	switch err.ErrorCode {
	case codeWrongLastSequence, codeWrongLastSequenceBatch:
		return fmt.Errorf("%w: %w", events.ErrConflict, err)
	case codeMessageTooLarge:
		return fmt.Errorf("%w: %w", events.ErrTooLarge, err)
	}
	if bus.Full(err) {
		return fmt.Errorf("%w: %w", events.ErrFull, err)
	}
	return fmt.Errorf("%w: %w", events.ErrUnavailable, err)
}
