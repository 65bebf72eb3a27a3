package sluice

import (
	"bytes"
	"compress/gzip"
	"context"
	"crypto/rand"
	"fmt"
	"hash/maphash"
	"io"
	"log/slog"
	"net/http"
	"runtime"
	"strconv"
	"sync"
	"sync/atomic"
	"time"
)

const (
	logPath    = "/v1/log_event"
	sdkType    = "sluice-go"
	sdkVersion = "0.1.0"

	batchEvents = 500
	batchBytes  = 512 << 10 // of text; an endpoint takes 1 MiB
	eventBytes  = 32 << 10  // of one event
)

// A recorder sends what was logged, in batches. A batch is made once and sent
// with the same bytes until the server has acknowledged it or refused it for
// good, so the server can tell a repetition from news. What waits is bounded;
// the newest is dropped first, because the oldest may be the first exposure of
// its user.
type recorder struct {
	url, key, session string
	web               *http.Client
	logger            *slog.Logger
	interval          time.Duration
	limit             int
	environment       map[string]string
	seen              dedupe

	dropped atomic.Uint64
	full    chan struct{}      // capacity 1: a batch is complete
	flushes chan chan struct{} // closed when all that was queued is gone
	done    chan struct{}      // closed when run has ended

	mu      sync.Mutex
	queue   [][]byte
	waiting int // events in the queue and under way
	batches int
	stopped bool
}

func newRecorder(o options, key string, web *http.Client) *recorder {
	r := &recorder{
		url: o.ingest.JoinPath(logPath).String(), key: key, session: rand.Text(), web: web, logger: o.logger,
		interval: o.flushInterval, limit: o.queueSize, seen: dedupe{seed: maphash.MakeSeed(), window: o.dedupeWindow},
		full: make(chan struct{}, 1), flushes: make(chan chan struct{}), done: make(chan struct{}),
	}
	if o.environment != "" {
		r.environment = map[string]string{"tier": o.environment}
	}
	return r
}

// add queues an event about a user.
func (r *recorder) add(u *User, e wireEvent) {
	text, err := r.encode(u, e)
	if err == nil && len(text) > eventBytes {
		err = fmt.Errorf("%d bytes: want at most %d", len(text), eventBytes)
	}
	if err != nil {
		r.dropped.Add(1)
		r.logger.Warn("event dropped", slog.String("event", e.Name), slog.Any("error", err))
		return
	}
	r.mu.Lock()
	if r.stopped || r.waiting >= r.limit {
		r.mu.Unlock()
		r.dropped.Add(1)
		return
	}
	r.queue = append(r.queue, text)
	r.waiting++
	complete := len(r.queue) >= batchEvents
	r.mu.Unlock()
	if complete {
		select {
		case r.full <- struct{}{}:
		default: // already said
		}
	}
}

// stop takes no more events.
func (r *recorder) stop() {
	r.mu.Lock()
	r.stopped = true
	r.mu.Unlock()
}

// abandon gives up what was not sent and returns how much that is.
func (r *recorder) abandon() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	n := r.waiting
	r.queue, r.waiting = nil, 0
	r.dropped.Add(uint64(n))
	return n
}

// flush waits until all that was queued is gone. A batch that rests before its
// next attempt is sent at once.
func (r *recorder) flush(ctx context.Context) error {
	gone := make(chan struct{})
	select {
	case r.flushes <- gone:
	case <-r.done:
		return ErrClosed
	case <-ctx.Done():
		return ctx.Err()
	}
	select {
	case <-gone:
		return nil
	case <-r.done:
		return ErrClosed
	case <-ctx.Done():
		return ctx.Err()
	}
}

// run sends until ctx ends.
func (r *recorder) run(ctx context.Context) {
	defer close(r.done)
	tick := time.NewTicker(r.interval)
	defer tick.Stop()
	for {
		var flushed []chan struct{}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		case <-r.full:
		case gone := <-r.flushes:
			flushed = append(flushed, gone)
		}
		for b := r.take(); b.events > 0; b = r.take() {
			for n := 0; ; n++ {
				after, err := r.send(ctx, b)
				if err == nil || after < 0 {
					r.settle(b, err)
					break
				}
				r.logger.Info("log batch will be sent again", slog.Any("error", err))
				if after == 0 {
					after = backoff(n)
				}
				rest := time.NewTimer(after)
				select {
				case <-ctx.Done():
					rest.Stop()
					return
				case <-rest.C:
				case gone := <-r.flushes:
					rest.Stop()
					flushed = append(flushed, gone)
				}
			}
		}
		for _, gone := range flushed {
			close(gone)
		}
	}
}

// A batch is one request, ready to be sent any number of times.
type batch struct {
	events int
	body   []byte // gzip
}

// take makes the next batch of what is queued.
func (r *recorder) take() batch {
	r.mu.Lock()
	n, size := 0, 0
	for n < len(r.queue) && n < batchEvents && size+len(r.queue[n]) <= batchBytes {
		size += len(r.queue[n])
		n++
	}
	events := r.queue[:n:n]
	r.queue = r.queue[n:]
	if len(r.queue) == 0 {
		r.queue = nil // the array goes with the batch
	}
	r.batches++
	number := r.batches
	r.mu.Unlock()
	if n == 0 {
		return batch{}
	}

	var body bytes.Buffer
	z := gzip.NewWriter(&body)
	// The server knows a repetition by session and content. Each batch is a
	// session of its own, so that two equal events are two, and a batch that
	// arrives twice is one.
	fmt.Fprintf(z, `{"statsigMetadata":{"sdkType":%q,"sdkVersion":%q,"sessionID":"%s-%d","languageVersion":%q},"events":[`,
		sdkType, sdkVersion, r.session, number, runtime.Version())
	for i, text := range events {
		if i > 0 {
			_, _ = z.Write([]byte{','}) // a buffer takes everything
		}
		_, _ = z.Write(text)
	}
	_, _ = z.Write([]byte("]}"))
	_ = z.Close()
	return batch{events: n, body: body.Bytes()}
}

// settle takes a batch off the books.
func (r *recorder) settle(b batch, err error) {
	r.mu.Lock()
	r.waiting -= b.events
	r.mu.Unlock()
	if err != nil {
		r.dropped.Add(uint64(b.events))
		r.logger.Warn("log batch refused", slog.Int("events", b.events), slog.Any("error", err))
	}
}

// send makes one attempt. After an error it says when to try again: below 0
// never, 0 after a back-off.
func (r *recorder) send(ctx context.Context, b batch) (after time.Duration, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, r.url, bytes.NewReader(b.body))
	if err != nil {
		return -1, err
	}
	h := req.Header
	h.Set("Content-Type", "application/json")
	h.Set("Content-Encoding", "gzip")
	h.Set("Statsig-Api-Key", r.key)
	h.Set("Statsig-Event-Count", strconv.Itoa(b.events))
	res, err := r.web.Do(req)
	if err != nil {
		return 0, err
	}
	defer res.Body.Close()
	_, _ = io.Copy(io.Discard, io.LimitReader(res.Body, 64<<10)) // so that the connection can be used again
	switch code := res.StatusCode; {
	case code < 300:
		return 0, nil
	case code == http.StatusRequestTimeout || code == http.StatusTooManyRequests || code >= 500 && code != http.StatusNotImplemented:
		_, after = refusal(res)
		return after, fmt.Errorf("status %d", code)
	default:
		return -1, fmt.Errorf("status %d", code)
	}
}
