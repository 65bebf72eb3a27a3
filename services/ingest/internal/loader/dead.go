package loader

import (
	"context"
	"errors"
	"fmt"
	"log/slog"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/sluice-flags/sluice/internal/bus"
)

// setAside keeps messages that do not decode, as they are, where an operator
// finds them. The message id makes it once per message of this very stream for
// the time that the server recognises it; a later repetition is a second copy,
// not a lost one.
//
// A stream that is full takes no more, and loading goes on: the row of the dead
// letter has the message too.
func (l *Loader) setAside(ctx context.Context, b *batch) error {
	for _, p := range b.poison {
		msg := nats.NewMsg(bus.DeadFactsSubject(p.message.Project(), "undecodable"))
		msg.Header.Set(jetstream.MsgIDHeader, fmt.Sprintf("%s:%d", b.plan.Stream, p.message.Seq))
		msg.Header.Set("Sluice-Subject", p.message.Subject)
		msg.Header.Set("Sluice-Reason", p.reason.Error())
		msg.Data = p.message.Data
		_, err := l.conn.JetStream().PublishMsg(ctx, msg)
		if refusal, ok := errors.AsType[*jetstream.APIError](err); ok && bus.Full(refusal) {
			l.metrics.unkept.Inc()
			l.o.Logger.ErrorContext(ctx, "the stream of dead facts is full: a message that does not decode is in table dead_letters only",
				slog.Uint64("seq", p.message.Seq), slog.Any("error", p.reason))
			continue
		}
		if err != nil {
			return fmt.Errorf("setting message %d aside: %w", p.message.Seq, err)
		}
		l.o.Logger.ErrorContext(ctx, "a message of facts does not decode and was set aside",
			slog.Uint64("seq", p.message.Seq), slog.Any("error", p.reason))
	}
	return nil
}
