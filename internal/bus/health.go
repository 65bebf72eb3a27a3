package bus

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/sluice-flags/sluice/internal/lifecycle"
	"github.com/sluice-flags/sluice/internal/telemetry"
)

// HealthOptions say which streams a process writes to.
type HealthOptions struct {
	// Door names the process in metrics, and its canaries in [HeadsStream]. Required.
	Door string
	// Canary is a subject that small canaries go to besides: one of a stream that
	// keeps what it gets, so that this very stream is known to store. May be empty.
	Canary string
	// Streams are those whose room is watched. One that ends with '_' stands for
	// all that begin so, and the fullest of them counts.
	Streams []string
	// Every is the time between two canaries: 2 s.
	Every time.Duration

	Registerer prometheus.Registerer // nil registers nothing
}

// A Health shows that the streams which a process writes to still store what they
// are sent. A connection that is up says little: under a disk that is full a
// server answers pings, and stores nothing until it is started again. So a
// canary is sent, again and again, the way that all else is.
type Health struct {
	conn  *Conn
	o     HealthOptions
	ratio *prometheus.GaugeVec

	mu    sync.Mutex
	err   error         // why the last canary was not stored
	took  time.Duration // by the last that was
	since time.Time     // when that was; at first, when the process began
	full  map[string]bool
}

const (
	// canaryBytes is more than the last page of a file has room for: into a disk
	// that is full, a few bytes may fit for minutes.
	canaryBytes  = 8 << 10
	canaryWithin = time.Second
	// canaryAge is how old the last canary may be that was stored.
	canaryAge = 5 * time.Second
	// roomWanted is what a stream must have left to count as one that takes more.
	roomWanted = maxFactsMessage
)

// NewHealth returns a health that has everything to show yet.
func NewHealth(conn *Conn, o HealthOptions) *Health {
	o.Every = cmp.Or(o.Every, 2*time.Second)
	h := &Health{conn: conn, o: o, err: errors.New("no canary has been sent yet"), since: time.Now(), full: make(map[string]bool)}
	h.ratio = telemetry.Register(o.Registerer, prometheus.NewGaugeVec(prometheus.GaugeOpts{
		Name: "stream_bytes_ratio", Help: "Bytes in a stream, as a share of its limit.",
	}, []string{"stream"}))
	telemetry.Register(o.Registerer, prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "canary_publish_seconds", ConstLabels: prometheus.Labels{"door": o.Door},
		Help: "How long the last canary took to be stored; while none is, the time since one was.",
	}, h.seconds))
	return h
}

// Run sends canaries until ctx is done.
func (h *Health) Run(ctx context.Context) error {
	for {
		began := time.Now()
		err := h.sing(ctx)
		if ctx.Err() != nil {
			return nil
		}
		h.mu.Lock()
		h.err = err
		if err == nil {
			h.since, h.took = time.Now(), time.Since(began)
		}
		h.mu.Unlock()
		wait := h.o.Every
		if err != nil {
			wait /= 4
		} else {
			h.weigh(ctx)
		}
		if !lifecycle.Sleep(ctx, wait) {
			return nil
		}
	}
}

// sing sends one canary of each sort and waits for them to be stored.
func (h *Health) sing(ctx context.Context) error {
	if err := h.conn.Status(); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, canaryWithin)
	defer cancel()
	if err := h.send(ctx, HeadsCanary(h.o.Door), make([]byte, canaryBytes)); err != nil || h.o.Canary == "" {
		return err
	}
	return h.send(ctx, h.o.Canary, nil)
}

func (h *Health) send(ctx context.Context, subject string, body []byte) error {
	_, err := h.conn.js.Publish(ctx, subject, body)
	refusal, refused := errors.AsType[*jetstream.APIError](err)
	switch {
	case err == nil:
		return nil
	case refused && Full(refusal):
		return fmt.Errorf("the stream of %s is full: %w", subject, err)
	case errors.Is(err, jetstream.ErrNoStreamResponse), errors.Is(err, nats.ErrNoResponders):
		return fmt.Errorf("NATS has no stream for %s: %w", subject, err)
	}
	return fmt.Errorf("NATS stores nothing (its disk may be full; see its log, make room and start it again): %w", err)
}

// weigh looks how full the streams are. What cannot be asked stays as it was.
func (h *Health) weigh(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	for _, name := range h.o.Streams {
		var fullest float64
		var full, known bool
		count := func(info *jetstream.StreamInfo) {
			if most := info.Config.MaxBytes; most > 0 {
				fullest = max(fullest, float64(info.State.Bytes)/float64(most))
				full = full || int64(info.State.Bytes)+min(roomWanted, most/8) > most
				known = true
			}
		}
		if prefix, many := strings.CutSuffix(name, "_"); many {
			list := h.conn.js.ListStreams(ctx)
			for info := range list.Info() {
				if strings.HasPrefix(info.Config.Name, name) {
					count(info)
				}
			}
			name = prefix
		} else if s, err := h.conn.js.Stream(ctx, name); err == nil {
			count(s.CachedInfo())
		}
		if !known {
			continue
		}
		h.ratio.WithLabelValues(name).Set(fullest)
		h.mu.Lock()
		h.full[name] = full
		h.mu.Unlock()
	}
}

// Stores is nil while canaries are stored, and otherwise says why they are not.
func (h *Health) Stores() error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.err == nil && time.Since(h.since) > canaryAge {
		return fmt.Errorf("NATS has not been seen to store anything for %v", time.Since(h.since).Round(time.Second))
	}
	return h.err
}

// Room is nil while a stream has room for more.
func (h *Health) Room(stream string) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.full[stream] {
		return fmt.Errorf("stream %s is full", stream)
	}
	return nil
}

func (h *Health) seconds() float64 {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.err != nil || time.Since(h.since) > canaryAge {
		return time.Since(h.since).Seconds()
	}
	return h.took.Seconds()
}
