package bus

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// A Query asks for many stored messages in one request. Any replica may answer,
// one that is behind too: callers know what they must find, and ask again or
// ask the leader ([Conn.Next]) if it is not there.
type Query struct {
	// Seq is the lowest sequence wanted.
	Seq uint64 `json:"seq,omitempty"`
	// NextFor reads on from Seq the messages of a subject, which may have
	// wildcards.
	NextFor string `json:"next_by_subj,omitempty"`
	// MultiLast reads the last message of each subject that matches.
	MultiLast []string `json:"multi_last,omitempty"`
	// UpToSeq is the highest sequence wanted by MultiLast.
	UpToSeq uint64 `json:"up_to_seq,omitempty"`
	// Batch and MaxBytes bound one answer.
	Batch    int `json:"batch,omitempty"`
	MaxBytes int `json:"max_bytes,omitempty"`
}

// A Page is the end of an answer.
type Page struct {
	Count   int    // messages in it
	Last    uint64 // sequence of the last one; the next page begins behind it
	Pending uint64 // how many were not in it
}

// ErrTooManySubjects reports that MultiLast matches more subjects than a server
// answers for at once: 1,024.
var ErrTooManySubjects = errors.New("too many subjects in one query")

// ErrUnreadable reports that a stream's store broke off in the middle of an
// answer: it has lost or damaged what it knows it holds.
var ErrUnreadable = errors.New("the store cannot read what it holds")

// Get asks q of a stream and calls each for every message of the answer.
func (c *Conn) Get(ctx context.Context, stream string, q Query, each func(Message) error) (Page, error) {
	body, err := json.Marshal(q)
	if err != nil {
		return Page{}, err
	}
	ctx, stop := c.UntilLost(ctx)
	defer stop()
	inbox := c.nc.NewInbox()
	sub, err := c.nc.SubscribeSync(inbox)
	if err != nil {
		return Page{}, err
	}
	defer func() { _ = sub.Unsubscribe() }()
	if err := sub.SetPendingLimits(-1, -1); err != nil { // the query bounds the answer
		return Page{}, err
	}
	if err := c.nc.PublishRequest("$JS.API.DIRECT.GET."+stream, inbox, body); err != nil {
		return Page{}, err
	}
	var page Page
	for {
		reply, err := nextWithin(ctx, sub, requestTimeout)
		if err != nil {
			return page, err
		}
		if status := reply.Header.Get("Status"); status != "" {
			return end(q, page, status, reply.Header)
		}
		m, err := stored(reply)
		if err != nil {
			return page, fmt.Errorf("answer of stream %s: %w", stream, err)
		}
		page.Count++
		page.Last = m.Seq
		if err := each(m); err != nil {
			return page, err
		}
	}
}

func nextWithin(ctx context.Context, sub *nats.Subscription, wait time.Duration) (*nats.Msg, error) {
	within, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	m, err := sub.NextMsgWithContext(within)
	if err != nil && ctx.Err() == nil && errors.Is(err, context.DeadlineExceeded) {
		return nil, nats.ErrTimeout
	}
	return m, err
}

func end(q Query, page Page, status string, h nats.Header) (Page, error) {
	switch status {
	case "204": // end of batch
		page.Pending, _ = strconv.ParseUint(h.Get("Nats-Num-Pending"), 10, 64)
		return page, nil
	case "404":
		// Nothing matches; or what matches could not be read, which of the two
		// kinds of query says in its own way.
		if page.Count > 0 || len(q.MultiLast) > 0 && h.Get("Description") != "No Results" {
			return page, fmt.Errorf("%w: %s", ErrUnreadable, h.Get("Description"))
		}
		return page, nil
	case "413":
		return page, ErrTooManySubjects
	case "503":
		return page, nats.ErrNoResponders
	}
	return page, fmt.Errorf("direct get: status %s %s", status, h.Get("Description"))
}

// stored reads a message as a direct get delivers it.
func stored(reply *nats.Msg) (Message, error) {
	seq, err := strconv.ParseUint(reply.Header.Get(jetstream.SequenceHeader), 10, 64)
	if err != nil {
		return Message{}, fmt.Errorf("sequence %q", reply.Header.Get(jetstream.SequenceHeader))
	}
	return Message{
		Subject: reply.Header.Get(jetstream.SubjectHeader),
		Seq:     seq,
		Header:  reply.Header,
		Data:    reply.Data,
	}, nil
}
