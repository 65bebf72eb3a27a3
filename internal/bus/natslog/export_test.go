package natslog

import (
	"context"
	"time"

	"github.com/sluice-flags/sluice/internal/bus"
	"github.com/sluice-flags/sluice/pkg/events"
)

// SetWithin shortens how long an append may take, so that a test need not wait
// for eight seconds.
func (l *Log) SetWithin(d time.Duration) { l.writer.within = d }

// TakeAfter hands a follower, which has come as far as a head, a message of its
// stream as a replica would deliver it.
func (l *Log) TakeAfter(ctx context.Context, at events.Head, m bus.Message, lost bool) (passed []events.Envelope, err error) {
	f := &following{log: l, at: at, yield: func(e events.Envelope, _ error) bool {
		passed = append(passed, e)
		return true
	}}
	return passed, f.take(ctx, m, lost)
}
