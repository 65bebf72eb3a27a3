package facts

import (
	"crypto/sha256"
	"sync/atomic"
	"time"

	"github.com/sluice-flags/sluice/pkg/events"
)

// A Window remembers the ids of facts that were stored lately, so that a retry
// of one is recognised. An id stays for at least the window's span, and at
// most half as long again, unless so many come that memory would run out: then
// the oldest go early, and [Window.Forgotten] counts it.
//
// Only Len and Forgotten may be called while another goroutine uses it.
type Window struct {
	span   time.Duration
	limit  int           // ids in one generation
	ages   [3]generation // newest first
	len    atomic.Int64
	forgot atomic.Int64
}

type generation struct {
	born time.Time
	ids  map[events.FactID]struct{}
}

// Defaults of a window: ten minutes, as long as JetStream recognises a message
// id, and at most three million ids, which take about 120 MB.
const (
	windowSpan = 10 * time.Minute
	windowIDs  = 3_000_000
)

// NewWindow returns an empty window that remembers ids for span, and at most
// limit of them. Zero means the default.
func NewWindow(span time.Duration, limit int) *Window {
	if span == 0 {
		span = windowSpan
	}
	if limit == 0 {
		limit = windowIDs
	}
	w := &Window{span: span, limit: max(1, limit/len(Window{}.ages))}
	for i := range w.ages {
		w.ages[i].ids = make(map[events.FactID]struct{})
	}
	return w
}

// scope tells the ids of one project from those of others: senders choose ids, and
// nobody's may stand in the way of another's.
type scope events.FactID

func scopeOf(project string) scope {
	sum := sha256.Sum256([]byte(project))
	return scope(sum[:16])
}

// of returns what stands for a project's id in a window.
func (s scope) of(id events.FactID) events.FactID {
	for i := range id {
		id[i] ^= s[i]
	}
	return id
}

// all returns what stands for the ids of a batch in a window.
func (s scope) all(b *events.Batch) []events.FactID {
	ids := b.IDs()
	for i := range ids {
		ids[i] = s.of(ids[i])
	}
	return ids
}

// Has tells whether id was stored lately.
func (w *Window) Has(id events.FactID) bool {
	for i := range w.ages {
		if _, ok := w.ages[i].ids[id]; ok {
			return true
		}
	}
	return false
}

// Add remembers ids that were stored at a time that never goes back. One that
// is there already stays longer.
func (w *Window) Add(at time.Time, ids ...events.FactID) {
	w.turn(at)
	for _, id := range ids {
		if len(w.ages[0].ids) >= w.limit {
			w.forgot.Add(int64(len(w.ages[len(w.ages)-1].ids)))
			w.shift(at)
		}
		before := len(w.ages[0].ids)
		w.ages[0].ids[id] = struct{}{}
		w.len.Add(int64(len(w.ages[0].ids) - before))
	}
}

// turn starts a generation when the newest is half a span old. Three of them
// hold at least one whole span at any time.
func (w *Window) turn(at time.Time) {
	if w.ages[0].born.IsZero() {
		w.ages[0].born = at
	}
	for range w.ages {
		if at.Sub(w.ages[0].born) < w.span/2 {
			return
		}
		w.shift(w.ages[0].born.Add(w.span / 2))
	}
	w.ages[0].born = at // nothing came for longer than the window is
}

func (w *Window) shift(born time.Time) {
	oldest := w.ages[len(w.ages)-1].ids
	w.len.Add(-int64(len(oldest)))
	clear(oldest)
	copy(w.ages[1:], w.ages[:])
	w.ages[0] = generation{born: born, ids: oldest}
}

// Len is the number of ids that w remembers.
func (w *Window) Len() int { return int(w.len.Load()) }

// Forgotten counts the ids that had to go before their time.
func (w *Window) Forgotten() int64 { return w.forgot.Load() }
