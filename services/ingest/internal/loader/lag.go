package loader

import (
	"context"
	"time"

	"github.com/sluice-flags/sluice/internal/bus/facts"
)

// lag is what is stored and not loaded. The zero lag is none.
type lag struct {
	messages uint64
	facts    uint64    // counted in messages that were read, estimated in others
	oldest   time.Time // when the oldest message was stored, or one that is a little older
}

// age is how long the oldest message waits.
func (l *lag) age() time.Duration {
	if l.messages == 0 {
		return 0
	}
	return time.Since(l.oldest)
}

// density is how many facts so many messages had: what is taken for that of
// messages that nobody has read yet.
type density struct{ facts, messages int }

// of estimates how many facts some messages have.
func (d density) of(messages uint64) uint64 {
	if d.messages == 0 {
		return messages
	}
	return (messages*uint64(d.facts) + uint64(d.messages)/2) / uint64(d.messages)
}

// look finds out what waits while nothing is loaded. What cannot be asked stays as
// it was.
func (l *Loader) look(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, lookWait)
	defer cancel()
	reader, err := facts.NewReader(ctx, l.conn, l.o.Partition)
	if err != nil {
		return
	}
	after := l.done
	if after == 0 { // the warehouse has not said; what is before the last plan is loaded for sure
		plans, err := facts.OpenPlans(ctx, l.conn, reader)
		if err != nil {
			return
		}
		last, err := plans.Last(ctx)
		if err != nil {
			return
		}
		after = max(last.First, 1) - 1
	}
	backlog, err := reader.Oldest(ctx, after)
	if err != nil {
		return
	}
	if l.density.messages == 0 && backlog.Messages > 0 {
		l.density = density{facts: backlog.Facts, messages: 1}
	}
	l.lag.Store(&lag{messages: backlog.Messages, facts: l.density.of(backlog.Messages), oldest: backlog.Stored})
}

const lookWait = 2 * time.Second
