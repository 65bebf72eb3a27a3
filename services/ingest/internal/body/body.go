// Package body reads the bodies of requests, whatever their protocol, within one
// bound of memory.
package body

import (
	"cmp"
	"context"
	"io"
	"net/http"
	"runtime"
	"time"

	"golang.org/x/sync/semaphore"

	"github.com/sluice-flags/sluice/internal/web"
)

// Limits of one body; those of internal/web are the defaults.
var Limits = web.Limits{Raw: 1 << 20, Inflated: 4 << 20, Ratio: 100}

// held bounds the bodies that are held at a time, whatever the number of
// requests: while they arrive, and until what they say is stored, because entries
// are slices of them. Beyond it requests are refused. Decoding waits for nobody,
// so it is bounded by processors and queues.
const held = 128 << 20

// A Reader reads bodies. The adapters of one service share one.
type Reader struct {
	memory *semaphore.Weighted // bytes of bodies that are held
	decode *semaphore.Weighted // bodies that are being decoded
}

// NewReader returns a reader that holds nothing yet.
func NewReader() *Reader { return newReader(held) }

func newReader(bytes int64) *Reader {
	return &Reader{memory: semaphore.NewWeighted(bytes), decode: semaphore.NewWeighted(int64(2 * runtime.GOMAXPROCS(0)))}
}

// Read reads the request's body, unwraps it and hands the text to decode. The
// memory of the text is the caller's until it calls release, which is never nil.
// Errors are of type [web.Error], or decode's own.
func (b *Reader) Read(r *http.Request, unwrap func(raw []byte) ([]byte, error), decode func(text []byte) error) (release func(), err error) {
	held := int64(0)
	release = func() { b.memory.Release(held) }
	hold := func(bytes int64) error {
		if bytes > held && !b.memory.TryAcquire(bytes-held) {
			return &web.Error{Code: web.CodeUnavailable, Message: "too many bodies arrive at once: send this one again later", RetryAfter: time.Second}
		}
		held = max(held, bytes)
		return nil
	}

	sent := r.Body
	arriving := &metered{ReadCloser: sent, hold: hold}
	r.Body = arriving
	raw, err := web.ReadRaw(r, Limits)
	r.Body = sent // by which the server tells whether the caller waits to be asked for it
	if err = cmp.Or(arriving.refused, err); err != nil {
		return release, err
	}
	// Who has closed his side has a right to an answer, and a turn comes soon: those
	// who have theirs wait for nothing.
	_ = b.decode.Acquire(context.WithoutCancel(r.Context()), 1)
	defer b.decode.Release(1)
	text, err := unwrap(raw)
	if err != nil {
		return release, err
	}
	if err := hold(int64(len(text))); err != nil {
		return release, err
	}
	return release, decode(text)
}

// metered is a body that asks for memory as its bytes arrive. Those that are only
// announced take none, so that whoever sends them slowly is in nobody's way.
type metered struct {
	io.ReadCloser
	hold    func(bytes int64) error
	arrived int64
	refused error
}

// Read implements [io.Reader].
func (m *metered) Read(p []byte) (int, error) {
	n, err := m.ReadCloser.Read(p)
	m.arrived += int64(n)
	if m.refused = m.hold(m.arrived); m.refused != nil {
		return n, m.refused
	}
	return n, err
}
