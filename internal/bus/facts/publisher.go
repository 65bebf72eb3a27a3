package facts

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/sluice-flags/sluice/internal/bus"
	"github.com/sluice-flags/sluice/internal/lifecycle"
	"github.com/sluice-flags/sluice/pkg/events"
)

// Why facts were not taken. Nothing of such a batch need be in the stream, and
// some of it may be: send the same batch again.
var (
	// ErrBusy means that more comes than can be stored: the queue is full, or
	// the stream is.
	ErrBusy = errors.New("too many facts")
	// ErrAway means that the bus does not answer.
	ErrAway = errors.New("the bus is away")
)

// Options of a [Publisher]. The zero value works.
type Options struct {
	// Partitions over which the facts of a project spread, by unit: 1 by
	// default, at most [bus.FactPartitions]. More let more loaders share the
	// work and cost the disk one sync each.
	Partitions int
	// MaxMessage bounds a message: 256 KiB.
	MaxMessage int
	// Linger is the least time between two flushes, unless a message's worth
	// waits: 2 ms. A lone batch after a pause is sent at once.
	Linger time.Duration
	// MaxQueue bounds the bytes of facts that wait: 64 MiB.
	MaxQueue int
	// AckWait is how long one attempt waits for the disk: 3 s.
	AckWait time.Duration
	// Window makes retries count once. Nil: every fact is new, as for senders
	// that never retry.
	Window *Window

	// Door tells the publishers of one process apart in the metrics: "ingest",
	// "edge".
	Door       string
	Logger     *slog.Logger          // nil discards
	Registerer prometheus.Registerer // nil keeps the metrics to itself
}

func (o Options) withDefaults() Options {
	o.Partitions = min(max(o.Partitions, 1), bus.FactPartitions)
	o.MaxMessage = cmp.Or(o.MaxMessage, 256<<10)
	o.Linger = cmp.Or(o.Linger, 2*time.Millisecond)
	o.MaxQueue = cmp.Or(o.MaxQueue, 64<<20)
	o.AckWait = cmp.Or(o.AckWait, 3*time.Second)
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	return o
}

// maxFlush bounds the bytes of facts that one flush takes from the queue.
const maxFlush = 4 << 20

// A Publisher stores facts in the stream, many senders to a message.
//
//	Publish ─┐
//	Publish ─┼─▶ queue ─▶ flush: drop what the window has, cut into messages,
//	Publish ─┘                   send all, wait for the disk ─▶ answer each
//
// One goroutine flushes, one flush at a time: while the disk works on one, the
// next gathers. That is the group commit, and it makes the window exact.
type Publisher struct {
	conn    *bus.Conn
	o       Options
	metrics metrics

	// What messages are told apart by; only the goroutine of Run sends any.
	name string
	sent uint64

	mu     sync.Mutex
	queue  []*request
	queued int // bytes
	closed bool
	ready  bool          // the window knows what was stored before the start
	wake   chan struct{} // capacity 1
}

// A request is one batch on its way.
type request struct {
	batch      events.Batch
	size       int
	duplicates int
	done       chan error // capacity 1
}

// NewPublisher returns a publisher that works while [Publisher.Run] runs.
func NewPublisher(conn *bus.Conn, o Options) *Publisher {
	p := &Publisher{conn: conn, o: o.withDefaults(), name: rand.Text(), wake: make(chan struct{}, 1)}
	p.metrics = newMetrics(p)
	return p
}

// Publish returns once every fact of b is on the stream's disk; duplicates is
// how many of them were there already. The errors are [ErrBusy], [ErrAway] and
// the context's, after which the same batch may be sent again.
//
// Publish keeps b's slices until it returns; ids in b must not repeat.
func (p *Publisher) Publish(ctx context.Context, b events.Batch) (duplicates int, err error) {
	if b.Len() == 0 {
		return 0, nil
	}
	r := &request{batch: b, size: size(&b), done: make(chan error, 1)}
	err = p.conn.Status()
	if err != nil {
		err = fmt.Errorf("%w: %w", ErrAway, err)
	} else {
		err = p.enqueue(r)
	}
	if err != nil {
		p.metrics.refused.Inc()
		return 0, err
	}
	select {
	case err := <-r.done:
		if err != nil {
			p.metrics.refused.Inc()
			return 0, err
		}
		p.metrics.acked.Add(float64(b.Len() - r.duplicates))
		p.metrics.duplicates.Add(float64(r.duplicates))
		return r.duplicates, nil
	case <-ctx.Done():
		p.metrics.refused.Inc()
		return 0, fmt.Errorf("storing %d facts: %w", b.Len(), context.Cause(ctx))
	}
}

func (p *Publisher) enqueue(r *request) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case p.closed:
		return fmt.Errorf("%w: shutting down", ErrAway)
	case p.queued+r.size > p.o.MaxQueue:
		return fmt.Errorf("%w: %d bytes of them wait", ErrBusy, p.queued)
	}
	p.queue = append(p.queue, r)
	p.queued += r.size
	p.nudge()
	return nil
}

// Ready is nil when facts that come now are likely to be taken.
func (p *Publisher) Ready() error {
	if err := p.conn.Status(); err != nil {
		return err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case !p.ready:
		return errors.New("still reading which facts were stored lately")
	case p.queued > p.o.MaxQueue*9/10:
		return errors.New("the queue of facts is full")
	}
	return nil
}

// Run flushes until ctx is done, then flushes what waits and returns.
func (p *Publisher) Run(ctx context.Context) error {
	defer p.close()
	if err := p.remember(ctx); err != nil {
		return err
	}
	var last time.Time // when the last flush began
	for {
		select {
		case <-ctx.Done():
			// Whoever waits was promised an answer; it is not worth hanging for.
			ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), p.o.AckWait)
			defer cancel()
			for requests := p.take(); requests != nil; requests = p.take() {
				p.flush(ctx, requests)
			}
			return nil
		case <-p.wake:
		}
		if wait := p.o.Linger - time.Since(last); wait > 0 && p.waiting() < p.o.MaxMessage {
			lifecycle.Sleep(ctx, wait)
		}
		last = time.Now()
		for requests := p.take(); requests != nil && ctx.Err() == nil; requests = p.take() {
			p.flush(ctx, requests)
		}
		if p.waiting() > 0 { // cut off by the context
			p.nudge()
		}
	}
}

// remember fills the window from the stream. Until it has, nothing is flushed.
func (p *Publisher) remember(ctx context.Context) error {
	for p.o.Window != nil {
		err := fill(ctx, p.conn, p.o.Window)
		if err == nil {
			break
		}
		if ctx.Err() != nil {
			return nil
		}
		p.o.Logger.WarnContext(ctx, "cannot read which facts were stored lately", slog.Any("error", err))
		p.refuse(fmt.Errorf("%w: %w", ErrAway, err))
		if !lifecycle.Sleep(ctx, time.Second) {
			return nil
		}
	}
	p.mu.Lock()
	p.ready = true
	p.mu.Unlock()
	return nil
}

// refuse answers everybody who waits.
func (p *Publisher) refuse(err error) {
	for requests := p.take(); requests != nil; requests = p.take() {
		answer(requests, err)
	}
}

func (p *Publisher) close() {
	p.mu.Lock()
	p.closed = true
	p.mu.Unlock()
	p.refuse(fmt.Errorf("%w: shutting down", ErrAway))
}

func (p *Publisher) nudge() {
	select {
	case p.wake <- struct{}{}:
	default:
	}
}

func (p *Publisher) waiting() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.queued
}

// take removes the next requests from the queue: about maxFlush bytes, nil if
// none wait.
func (p *Publisher) take() []*request {
	p.mu.Lock()
	defer p.mu.Unlock()
	n, bytes := 0, 0
	for n < len(p.queue) && bytes < maxFlush {
		bytes += p.queue[n].size
		n++
	}
	if n == 0 {
		return nil
	}
	taken := p.queue[:n:n]
	p.queue = p.queue[n:]
	p.queued -= bytes
	return taken
}

func answer(requests []*request, err error) {
	for _, r := range requests {
		r.done <- err
	}
}

// flush stores the facts of requests and answers each.
func (p *Publisher) flush(ctx context.Context, requests []*request) {
	if !p.conn.Connected() {
		answer(requests, fmt.Errorf("%w: not connected", ErrAway))
		return
	}
	messages, needs := p.cut(requests)
	p.send(ctx, messages)
	now := time.Now()
	for _, m := range messages {
		if m.err == nil && p.o.Window != nil {
			p.o.Window.Add(now, scopeOf(m.batch.Project).all(&m.batch)...)
		}
	}
	for i, r := range requests {
		var errs []error
		for _, m := range needs[i] {
			errs = append(errs, m.err)
		}
		r.done <- errors.Join(errs...)
	}
	p.metrics.messages.Add(float64(len(messages)))
}
