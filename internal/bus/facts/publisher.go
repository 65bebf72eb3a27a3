package facts

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/sluice-flags/sluice/internal/bus"
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
	p := &Publisher{conn: conn, o: o.withDefaults(), wake: make(chan struct{}, 1)}
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
	select {
	case p.wake <- struct{}{}:
	default:
	}
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
			timer := time.NewTimer(wait)
			select {
			case <-timer.C:
			case <-ctx.Done():
				timer.Stop()
			}
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
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(time.Second):
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
			p.o.Window.Add(now, m.batch.IDs()...)
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

// A message is one message of the stream being made.
type message struct {
	batch     events.Batch
	partition int
	size      int
	msg       *nats.Msg
	err       error
}

// cut puts the facts of requests that are new into messages. needs[i] are the
// messages that request i must see stored: those with its facts, also where
// another request of the same flush brought the same fact first.
func (p *Publisher) cut(requests []*request) (messages []*message, needs [][]*message) {
	type place struct {
		project   string
		partition int
	}
	open := make(map[place]*message)
	within := make(map[events.FactID]*message)
	needs = make([][]*message, len(requests))

	for i, r := range requests {
		need := func(m *message) {
			for _, have := range needs[i] {
				if have == m {
					return
				}
			}
			needs[i] = append(needs[i], m)
		}
		// put finds the message for a fact, or nil if the fact is stored.
		put := func(id events.FactID, unit string, bytes int) *message {
			if m, twice := within[id]; twice {
				r.duplicates++
				need(m)
				return nil
			}
			if p.o.Window != nil && p.o.Window.Has(id) {
				r.duplicates++
				return nil
			}
			at := place{project: r.batch.Project}
			if p.o.Partitions > 1 {
				at.partition = bus.FactPartition(unit) % p.o.Partitions
			}
			m := open[at]
			if m == nil || m.size+bytes > p.o.MaxMessage {
				m = &message{partition: at.partition, batch: events.Batch{Project: at.project}}
				open[at] = m
				messages = append(messages, m)
			}
			m.size += bytes
			within[id] = m
			need(m)
			return m
		}
		for j := range r.batch.Exposures {
			e := &r.batch.Exposures[j]
			if m := put(e.ID, e.UnitID, exposureSize(e)); m != nil {
				m.batch.Exposures = append(m.batch.Exposures, *e)
			}
		}
		for j := range r.batch.Events {
			e := &r.batch.Events[j]
			if m := put(e.ID, e.UnitID, eventSize(e)); m != nil {
				m.batch.Events = append(m.batch.Events, *e)
			}
		}
		for j := range r.batch.Dead {
			d := &r.batch.Dead[j]
			if m := put(d.ID, "", deadSize(d)); m != nil {
				m.batch.Dead = append(m.batch.Dead, *d)
			}
		}
	}
	return messages, needs
}

// subjectKind is the kind of subject that batches travel on: one message holds
// facts of every kind, so that a request costs one sync.
const subjectKind = "batch"

// send stores messages and sets the error of each that was refused. A message
// whose fate is unknown is sent again, under the same id, until it is known:
// were it left so, a sender's retry might be stored beside it.
func (p *Publisher) send(ctx context.Context, messages []*message) {
	futures := make([]jetstream.PubAckFuture, len(messages))
	for i, m := range messages {
		body := events.EncodeBatch(m.batch)
		sum := sha256.Sum256(body)
		m.msg = nats.NewMsg(bus.FactsSubject(m.batch.Project, subjectKind, m.partition))
		m.msg.Header.Set(jetstream.MsgIDHeader, hex.EncodeToString(sum[:16]))
		m.msg.Data = body
		futures[i], m.err = p.conn.JetStream().PublishMsgAsync(m.msg)
		p.metrics.bytes.Add(float64(len(body)))
	}
	timeout := time.NewTimer(p.o.AckWait)
	defer timeout.Stop()
	for i, m := range messages {
		if m.err != nil { // never left this process
			m.err = fmt.Errorf("%w: %w", ErrAway, m.err)
			continue
		}
		err := errTimeout
		select {
		case <-futures[i].Ok():
			err = nil
		case err = <-futures[i].Err():
		case <-timeout.C:
			timeout.Reset(0) // the same moment for all
		case <-ctx.Done():
		}
		m.err = p.settle(ctx, m, err)
	}
}

var errTimeout = errors.New("no answer in time")

// settle finds out what became of a message after an attempt ended with err.
func (p *Publisher) settle(ctx context.Context, m *message, err error) error {
	for attempt := 0; ; attempt++ {
		var refusal *jetstream.APIError
		switch {
		case err == nil:
			return nil
		case errors.As(err, &refusal) && (attempt == 0 || refusal.ErrorCode == errStreamFull || refusal.Code < 500):
			return refused(refusal)
		case errors.Is(err, nats.ErrNoResponders), errors.Is(err, jetstream.ErrNoStreamResponse):
			// Nobody was there to store it. Only of a first attempt is that the
			// whole story: an earlier one may have landed.
			if attempt == 0 {
				return fmt.Errorf("%w: no stream takes facts", ErrAway)
			}
		}
		p.metrics.unknown.Inc()
		p.o.Logger.WarnContext(ctx, "asking again what became of a message of facts",
			slog.Int("attempt", attempt), slog.Any("error", err))
		if err := pause(ctx, attempt); err != nil {
			return fmt.Errorf("%w: it is not known whether the facts were stored", ErrAway)
		}
		attemptCtx, cancel := context.WithTimeout(ctx, p.o.AckWait)
		_, err = p.conn.JetStream().PublishMsg(attemptCtx, m.msg)
		cancel()
	}
}

// errStreamFull is the code of a stream that may not take more bytes.
const errStreamFull = 10077

func refused(e *jetstream.APIError) error {
	if e.ErrorCode == errStreamFull {
		return fmt.Errorf("%w: the stream is full: %w", ErrBusy, e)
	}
	return fmt.Errorf("%w: %w", ErrAway, e)
}

// pause waits before attempt n+1, longer each time, at most a second.
func pause(ctx context.Context, n int) error {
	timer := time.NewTimer(min(time.Second, 20*time.Millisecond<<min(n, 10)))
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return nil
	}
}
