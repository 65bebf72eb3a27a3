package bus

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// A Message is a stored message.
type Message struct {
	Subject string
	Seq     uint64
	Header  nats.Header
	Data    []byte
}

// Last reads the last message of a subject, which may have wildcards, from the
// stream's leader: it sees every write that was acknowledged before the call.
// Errors: [jetstream.ErrMsgNotFound], [jetstream.ErrStreamNotFound].
func (c *Conn) Last(ctx context.Context, stream, subject string) (Message, error) {
	return c.get(ctx, stream, map[string]any{"last_by_subj": subject})
}

// At reads the message with a sequence from the stream's leader. Errors: those
// of [Conn.Last].
func (c *Conn) At(ctx context.Context, stream string, seq uint64) (Message, error) {
	return c.get(ctx, stream, map[string]any{"seq": seq})
}

// Next reads the first message of a subject, which may have wildcards, at or
// behind seq, from the stream's leader. Errors: those of [Conn.Last].
func (c *Conn) Next(ctx context.Context, stream, subject string, seq uint64) (Message, error) {
	return c.get(ctx, stream, map[string]any{"next_by_subj": subject, "seq": seq})
}

func (c *Conn) get(ctx context.Context, stream string, request any) (Message, error) {
	body, err := json.Marshal(request)
	if err != nil {
		return Message{}, err
	}
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	ctx, stop := c.UntilLost(ctx)
	defer stop()
	reply, err := c.nc.RequestWithContext(ctx, "$JS.API.STREAM.MSG.GET."+stream, body)
	if err != nil {
		return Message{}, err
	}
	var answer struct {
		Error   *jetstream.APIError `json:"error"`
		Message struct {
			Subject string `json:"subject"`
			Seq     uint64 `json:"seq"`
			Header  []byte `json:"hdrs"`
			Data    []byte `json:"data"`
		} `json:"message"`
	}
	if err := json.Unmarshal(reply.Data, &answer); err != nil {
		return Message{}, fmt.Errorf("answer of stream %s: %w", stream, err)
	}
	if answer.Error != nil {
		switch answer.Error.ErrorCode {
		case jetstream.JSErrCodeMessageNotFound:
			return Message{}, jetstream.ErrMsgNotFound
		case jetstream.JSErrCodeStreamNotFound:
			return Message{}, jetstream.ErrStreamNotFound
		}
		return Message{}, answer.Error
	}
	m := Message{Subject: answer.Message.Subject, Seq: answer.Message.Seq, Data: answer.Message.Data}
	if len(answer.Message.Header) > 0 {
		if m.Header, err = nats.DecodeHeadersMsg(answer.Message.Header); err != nil {
			return Message{}, fmt.Errorf("headers of message %d in stream %s: %w", m.Seq, stream, err)
		}
	}
	return m, nil
}
