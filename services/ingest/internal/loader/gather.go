package loader

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/sluice-flags/sluice/internal/bus/facts"
)

// A gatherer reads the stream ahead and puts messages into batches.
type gatherer struct {
	messages chan facts.Message
	failed   chan error // capacity 1
	stop     func()
	o        *Options

	held *facts.Message // read, but not of the last batch
}

// follow starts reading after a sequence. The goroutine ends with stop.
func (l *Loader) follow(ctx context.Context, r *facts.Reader, after uint64) *gatherer {
	ctx, cancel := context.WithCancel(ctx)
	g := &gatherer{messages: make(chan facts.Message, 16), failed: make(chan error, 1), o: &l.o}
	ended := make(chan struct{})
	g.stop = func() { cancel(); <-ended }
	go func() {
		defer close(ended)
		for m, err := range r.Follow(ctx, after) {
			if err != nil {
				g.failed <- err
				return
			}
			select {
			case g.messages <- m:
			case <-ctx.Done():
				return
			}
		}
		g.failed <- errors.New("the stream ended")
	}()
	return g
}

// next returns the next message, or nil if due fires first.
func (g *gatherer) next(ctx context.Context, due <-chan time.Time) (*facts.Message, error) {
	if m := g.held; m != nil {
		g.held = nil
		return m, nil
	}
	select {
	case m := <-g.messages:
		return &m, nil
	case err := <-g.failed:
		return nil, err
	case <-ctx.Done():
		return nil, ctx.Err()
	case <-due:
		return nil, nil
	}
}

// some waits for messages and gathers those that come soon after the first.
func (g *gatherer) some(ctx context.Context, b *batch) error {
	b.reset()
	var due <-chan time.Time
	for {
		m, err := g.next(ctx, due)
		switch {
		case err != nil && b.messages == 0:
			return err
		case err != nil || m == nil:
			return nil // what is here is a batch; the error comes back with the next
		}
		b.add(m)
		if b.rows.Rows() >= g.o.MaxRows || b.bytes >= g.o.MaxBytes {
			return nil
		}
		if due == nil {
			timer := time.NewTimer(g.o.Linger)
			defer timer.Stop()
			due = timer.C
		}
	}
}

// patience bounds the wait for the messages of a plan: they are in the stream,
// or they are gone for good.
const patience = 30 * time.Second

// exactly gathers the messages of a plan.
func (g *gatherer) exactly(ctx context.Context, plan facts.Plan) (messages []facts.Message, err error) {
	timer := time.NewTimer(patience)
	defer timer.Stop()
	for {
		m, err := g.next(ctx, timer.C)
		switch {
		case err != nil:
			return nil, err
		case m == nil:
			return nil, fmt.Errorf("messages %d to %d of plan %d did not come", plan.First, plan.Last, plan.Number)
		case m.Seq > plan.Last: // its last ones are gone: what is left is the batch
			g.held = m
			return messages, nil
		case m.Seq < plan.First:
			continue
		}
		messages = append(messages, *m)
		if m.Seq == plan.Last {
			return messages, nil
		}
	}
}
