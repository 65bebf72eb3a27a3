// Package memlog keeps a log in memory: the whole contract of [events.Log] with
// nothing behind it. It serves tests, dry runs and examples; what it holds is
// gone with the process.
package memlog

import (
	"context"
	"fmt"
	"iter"
	"slices"
	"sort"
	"sync"
	"time"

	"github.com/sluice-flags/sluice/pkg/events"
	"github.com/sluice-flags/sluice/pkg/flags"
)

// A Log is an [events.Log] in memory. It stores encoded messages and decodes
// them on every read, as a log on disk would.
type Log struct {
	id string

	mu       sync.Mutex
	messages [][]byte        // messages[i] has sequence i+1
	refs     []flags.Ref     // what messages[i] is about
	commands map[string]span // command id → its commit
	head     events.Head
	grown    chan struct{} // closed when messages grows, and replaced
}

type span struct{ first, last uint64 }

var _ events.Log = (*Log)(nil)

// New returns an empty log with the given id.
func New(logID string) *Log {
	return &Log{
		id:       logID,
		commands: map[string]span{},
		head:     events.Head{LogID: logID},
		grown:    make(chan struct{}),
	}
}

// Append implements [events.Log].
func (l *Log) Append(ctx context.Context, at events.Head, c events.Command) (events.Receipt, error) {
	if err := ctx.Err(); err != nil {
		return events.Receipt{}, err
	}
	l.mu.Lock()
	defer l.mu.Unlock()

	if where, ok := l.commands[c.ID]; ok {
		return l.receipt(where)
	}
	switch {
	case at.LogID != l.id:
		return events.Receipt{}, fmt.Errorf("%w: decided on log %s, this is %s", events.ErrConflict, at.LogID, l.id)
	case at.Seq != l.head.Seq || at.Hash != l.head.Hash:
		return events.Receipt{}, fmt.Errorf("%w: decided at %s, now at %s", events.ErrConflict, at, l.head)
	}
	commit, err := events.Plan(l.head, time.Now().UnixMilli(), c)
	if err != nil {
		return events.Receipt{}, err
	}
	messages := make([][]byte, len(commit))
	for i, e := range commit {
		if messages[i], err = e.Encode(); err != nil {
			return events.Receipt{}, fmt.Errorf("%w: %w", events.ErrInvalid, err)
		}
		if n := len(messages[i]); n > events.MaxMessage {
			return events.Receipt{}, fmt.Errorf("%w: %s takes %d bytes, at most %d",
				events.ErrTooLarge, e.Entity, n, events.MaxMessage)
		}
	}

	l.messages = append(l.messages, messages...)
	for _, e := range commit {
		l.refs = append(l.refs, e.Ref())
	}
	l.head = commit[len(commit)-1].Head()
	l.commands[c.ID] = span{commit[0].Seq, l.head.Seq}
	close(l.grown)
	l.grown = make(chan struct{})
	return events.ReceiptOf(commit, false), nil
}

// Lookup implements [events.Log].
func (l *Log) Lookup(ctx context.Context, commandID string) (events.Receipt, bool, error) {
	if err := ctx.Err(); err != nil {
		return events.Receipt{}, false, err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	where, ok := l.commands[commandID]
	if !ok {
		return events.Receipt{}, false, nil
	}
	r, err := l.receipt(where)
	return r, err == nil, err
}

func (l *Log) receipt(where span) (events.Receipt, error) {
	var commit []events.Envelope
	for seq := where.first; seq <= where.last; seq++ {
		e, err := events.Decode(seq, l.messages[seq-1])
		if err != nil {
			return events.Receipt{}, err
		}
		commit = append(commit, e)
	}
	return events.ReceiptOf(commit, true), nil
}

// Head implements [events.Log].
func (l *Log) Head(ctx context.Context) (events.Head, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.head, ctx.Err()
}

// Boot implements [events.Log].
func (l *Log) Boot(ctx context.Context) (events.Boot, error) {
	return l.AsOf(ctx, events.Point{})
}

// AsOf implements [events.Log].
func (l *Log) AsOf(ctx context.Context, p events.Point) (events.Boot, error) {
	if err := ctx.Err(); err != nil {
		return events.Boot{}, err
	}
	messages, refs, head := l.snapshot()

	end := head.Seq
	switch {
	case p.Seq > 0:
		end = min(p.Seq, head.Seq)
	case !p.Time.IsZero():
		var failed error
		at := sort.Search(len(messages), func(i int) bool {
			e, err := events.Decode(uint64(i+1), messages[i])
			if err != nil {
				failed = err
			}
			return e.Time > p.Time.UnixMilli()
		})
		if failed != nil {
			return events.Boot{}, failed
		}
		end = uint64(at)
	}
	boot := events.Boot{Head: events.Head{LogID: l.id}}
	if end == 0 {
		return boot, nil
	}
	lastOf, err := events.Decode(end, messages[end-1])
	if err != nil {
		return events.Boot{}, err
	}
	if !lastOf.Commit.Last() {
		end -= uint64(lastOf.Commit.Index) + 1
	}

	seen := map[flags.Ref]bool{}
	for seq := end; seq > 0; seq-- {
		if ref := refs[seq-1]; !seen[ref] {
			seen[ref] = true
			e, err := events.Decode(seq, messages[seq-1])
			if err != nil {
				return events.Boot{}, err
			}
			boot.Entities = append(boot.Entities, e)
		}
	}
	slices.Reverse(boot.Entities)
	if n := len(boot.Entities); n > 0 {
		boot.Head = boot.Entities[n-1].Head()
	}
	return boot, nil
}

// snapshot returns what is there now. Messages are appended, never changed.
func (l *Log) snapshot() ([][]byte, []flags.Ref, events.Head) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.messages, l.refs, l.head
}

// Read implements [events.Log].
func (l *Log) Read(ctx context.Context, from uint64) iter.Seq2[events.Envelope, error] {
	return l.scan(ctx, from, func(flags.Ref) bool { return true })
}

// History implements [events.Log].
func (l *Log) History(ctx context.Context, ref flags.Ref) iter.Seq2[events.Envelope, error] {
	return l.scan(ctx, 1, func(r flags.Ref) bool { return r == ref })
}

func (l *Log) scan(ctx context.Context, from uint64, want func(flags.Ref) bool) iter.Seq2[events.Envelope, error] {
	return func(yield func(events.Envelope, error) bool) {
		messages, refs, head := l.snapshot()
		for seq := max(from, 1); seq <= head.Seq; seq++ {
			if !want(refs[seq-1]) {
				continue
			}
			e, err := events.Decode(seq, messages[seq-1])
			if err == nil {
				err = ctx.Err()
			}
			if !yield(e, err) || err != nil {
				return
			}
		}
	}
}

// Follow implements [events.Log].
func (l *Log) Follow(ctx context.Context, after events.Head) iter.Seq2[events.Envelope, error] {
	return func(yield func(events.Envelope, error) bool) {
		at := after
		if after == (events.Head{}) {
			at.LogID = l.id
		}
		if err := l.resume(at); err != nil {
			yield(events.Envelope{}, err)
			return
		}
		for {
			l.mu.Lock()
			messages, grown := l.messages, l.grown
			l.mu.Unlock()
			for at.Seq < uint64(len(messages)) {
				e, err := events.Decode(at.Seq+1, messages[at.Seq])
				if err == nil {
					err = events.Verify(at, e)
				}
				if !yield(e, err) || err != nil {
					return
				}
				at = e.Head()
			}
			select {
			case <-ctx.Done():
				yield(events.Envelope{}, ctx.Err())
				return
			case <-grown:
			}
		}
	}
}

// resume proves that after is a position of this log.
func (l *Log) resume(after events.Head) error {
	messages, _, head := l.snapshot()
	switch {
	case after.LogID != l.id:
		return fmt.Errorf("%w: resuming log %s, this is %s", events.ErrEpoch, after.LogID, l.id)
	case after.Seq > head.Seq:
		return fmt.Errorf("%w: resuming at %s, the log ends at %s", events.ErrFork, after, head)
	case after.Seq == 0:
		return nil
	}
	e, err := events.Decode(after.Seq, messages[after.Seq-1])
	if err == nil && e.Hash != after.Hash {
		err = fmt.Errorf("%w: resuming at %s, the log has %s", events.ErrFork, after, e.Head())
	}
	return err
}
