package natslog

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/sluice-flags/sluice/internal/bus"
	"github.com/sluice-flags/sluice/pkg/events"
)

// appendWithin bounds an append and its retries. A caller that goes away does
// not cut it short: what was sent is seen through.
const appendWithin = 8 * time.Second

// writer is the one writer of a log in this process. All its fields are used by
// whoever holds turn.
type writer struct {
	log      *Log
	turn     chan struct{} // capacity 1: full while somebody writes
	recorder *recorder
	within   time.Duration // for an append and its retries

	prepared bool
	diverged error       // why nothing may be written, for good
	head     events.Head // what the log ends with, as far as we know
	commands map[commandKey]span
}

// A commandKey is enough of a command id's hash to tell it from all others.
type commandKey [16]byte

func keyOf(commandID string) commandKey {
	sum := sha256.Sum256([]byte(commandID))
	return commandKey(sum[:16])
}

// A span is where a commit lies.
type span struct {
	first uint64
	count uint32
}

func newWriter(l *Log) *writer {
	return &writer{
		log:      l,
		turn:     make(chan struct{}, 1),
		recorder: newRecorder(l),
		within:   appendWithin,
		commands: map[commandKey]span{},
	}
}

func (w *writer) lock(ctx context.Context) error {
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case w.turn <- struct{}{}:
		return nil
	}
}

func (w *writer) unlock() { <-w.turn }

// Writable does what has to be done before the first write: it checks the
// stream's settings, reads and proves the whole log, and compares it with the
// heads on record. [Log.Append] does it too, when it has not been done.
//
// Errors: [events.ErrDiverged], for good, and [events.ErrUnavailable].
func (l *Log) Writable(ctx context.Context) error {
	if err := l.writer.lock(ctx); err != nil {
		return err
	}
	defer l.writer.unlock()
	return l.writer.prepare(ctx)
}

// Append implements [events.Log].
func (l *Log) Append(ctx context.Context, at events.Head, c events.Command) (events.Receipt, error) {
	if l.opts.ReadOnly {
		return events.Receipt{}, fmt.Errorf("%w: the log of %s was opened for reading", events.ErrUnavailable, l.project)
	}
	w := l.writer
	if err := w.lock(ctx); err != nil {
		return events.Receipt{}, err
	}
	r, err := func() (events.Receipt, error) {
		defer w.unlock()
		if err := w.prepare(ctx); err != nil {
			return events.Receipt{}, err
		}
		return w.append(ctx, at, c)
	}()
	if err != nil {
		return events.Receipt{}, fmt.Errorf("appending to the log of %s: %w", l.project, err)
	}
	// Others may write while this one's head goes on record.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), w.within)
	defer cancel()
	if err := w.recorder.record(ctx, r.Last); err != nil {
		l.metrics.unknown.Inc()
		return events.Receipt{}, &events.OutcomeUnknownError{CommandID: c.ID, Err: err}
	}
	return r, nil
}

// Lookup implements [events.Log]. It needs what an append needs.
func (l *Log) Lookup(ctx context.Context, commandID string) (events.Receipt, bool, error) {
	w := l.writer
	if err := w.lock(ctx); err != nil {
		return events.Receipt{}, false, err
	}
	defer w.unlock()
	if err := w.prepare(ctx); err != nil {
		return events.Receipt{}, false, err
	}
	if err := w.catchUp(ctx); err != nil {
		return events.Receipt{}, false, err
	}
	return w.lookup(ctx, commandID)
}

func (w *writer) lookup(ctx context.Context, commandID string) (events.Receipt, bool, error) {
	where, ok := w.commands[keyOf(commandID)]
	if !ok {
		return events.Receipt{}, false, nil
	}
	commit := make([]events.Envelope, 0, where.count)
	last := where.first + uint64(where.count) - 1
	err := w.log.scan(ctx, w.log.all(), where.first, last, func(e events.Envelope) bool {
		commit = append(commit, e)
		return true
	})
	if err != nil {
		return events.Receipt{}, false, err
	}
	return events.ReceiptOf(commit, true), true, nil
}

// prepare makes the writer ready, once.
func (w *writer) prepare(ctx context.Context) error {
	switch {
	case w.diverged != nil:
		return w.diverged
	case w.prepared:
		return nil
	}
	l := w.log
	info, err := bus.FlagsInfo(ctx, l.conn, l.project)
	switch {
	case errors.Is(err, bus.ErrUnknownProject):
		return w.safeMode(ctx, fmt.Errorf("stream %s is gone", l.stream))
	case err != nil:
		return unavailable(ctx, l.conn, err)
	}
	if id, err := bus.LogID(info); err != nil || id != l.id {
		return w.safeMode(ctx, fmt.Errorf("stream %s holds log %q, not %s", l.stream, id, l.id))
	}
	if err := bus.CheckFlags(info, l.project); err != nil {
		return fmt.Errorf("%w: %w", events.ErrUnavailable, err)
	}
	records, err := w.recorder.known(ctx)
	switch {
	case errors.Is(err, events.ErrDiverged):
		return w.safeMode(ctx, err)
	case err != nil:
		return err
	}
	w.head = events.Head{LogID: l.id}
	clear(w.commands)
	if err := w.readOn(ctx, records); err != nil {
		return err
	}
	for _, r := range records {
		switch {
		case r.LogID != l.id:
			return w.safeMode(ctx, fmt.Errorf("on record is log %s, this is %s", r.LogID, l.id))
		case r.Seq > w.head.Seq:
			return w.safeMode(ctx, fmt.Errorf("on record is %s, the log ends at %s", r, w.head))
		}
	}
	if !l.opts.ReadOnly {
		// A crash between storing and recording leaves the log longer than its
		// record. It is proven up to here, so the record catches up.
		if err := w.recorder.resume(ctx, records, w.head); err != nil {
			return fmt.Errorf("%w: %w", events.ErrUnavailable, err)
		}
	}
	w.prepared = true
	return nil
}

// safeMode ends all writing through this log.
func (w *writer) safeMode(ctx context.Context, why error) error {
	w.diverged = why
	if !errors.Is(why, events.ErrDiverged) {
		w.diverged = fmt.Errorf("%w: %w", events.ErrDiverged, why)
	}
	w.log.metrics.safeMode.Inc()
	w.log.opts.Logger.ErrorContext(ctx, "safe mode: nothing is written until an operator decides", slog.Any("error", why))
	return w.diverged
}

// catchUp reads what others have appended.
func (w *writer) catchUp(ctx context.Context) error { return w.readOn(ctx, nil) }

// readOn reads from the writer's head to the log's, proves the chain, compares
// it with the given heads on record and learns the commands on the way. A log
// that is damaged is not written to.
func (w *writer) readOn(ctx context.Context, records []events.Head) error {
	l := w.log
	head, err := l.Head(ctx)
	if err != nil {
		return w.orSafeMode(ctx, err)
	}
	if head.Seq < w.head.Seq {
		return w.safeMode(ctx, fmt.Errorf("the log ended at %s, now it ends at %s", w.head, head))
	}
	at := w.head
	var broken error
	err = l.scan(ctx, l.all(), at.Seq+1, head.Seq, func(e events.Envelope) bool {
		if broken = events.Verify(at, e); broken != nil {
			return false
		}
		for _, r := range records {
			if r.Seq == e.Seq && r.LogID == e.LogID && r.Hash != e.Hash {
				broken = fmt.Errorf("%w: on record is %s, the log has %s", events.ErrFork, r, e.Head())
				return false
			}
		}
		w.learn(e)
		at = e.Head()
		return true
	})
	if broken != nil {
		err = broken
	}
	if err == nil && at.Hash != head.Hash {
		err = fmt.Errorf("%w: read up to %s, the leader has %s", events.ErrFork, at, head)
	}
	if err != nil {
		return w.orSafeMode(ctx, err)
	}
	w.head = head
	return nil
}

// orSafeMode turns what was found wrong in the log into safe mode, and passes
// on what only says that it could not be read.
func (w *writer) orSafeMode(ctx context.Context, err error) error {
	for _, damage := range []error{events.ErrGap, events.ErrFork, events.ErrEpoch, events.ErrCorrupt} {
		if errors.Is(err, damage) {
			return w.safeMode(ctx, err)
		}
	}
	if errors.Is(err, events.ErrSchema) {
		return fmt.Errorf("%w: %w", events.ErrUnavailable, err)
	}
	return err
}

func (w *writer) learn(e events.Envelope) {
	if e.Commit.Index == 0 {
		w.commands[keyOf(e.CommandID)] = span{first: e.Seq, count: uint32(e.Commit.Count)}
	}
}

// append is the append recipe: plan, publish, resolve.
func (w *writer) append(ctx context.Context, at events.Head, c events.Command) (events.Receipt, error) {
	if at.Seq > w.head.Seq { // somebody else's append was seen by the caller first
		if err := w.catchUp(ctx); err != nil {
			return events.Receipt{}, err
		}
	}
	if r, ok, err := w.lookup(ctx, c.ID); ok || err != nil {
		return r, err
	}
	if at.LogID != w.head.LogID || at.Seq != w.head.Seq || at.Hash != w.head.Hash {
		return events.Receipt{}, fmt.Errorf("%w: decided at %s, now at %s", events.ErrConflict, at, w.head)
	}
	commit, err := events.Plan(w.head, time.Now().UnixMilli(), c)
	if err != nil {
		return events.Receipt{}, err
	}
	p, err := w.log.encode(commit)
	if err != nil {
		return events.Receipt{}, err
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), w.within)
	defer cancel()
	o, err := p.publish(ctx)
	switch o {
	case landed:
		return w.accept(commit), nil
	case refused:
		return events.Receipt{}, err
	}
	return w.resolve(ctx, c.ID, commit, o, err)
}

// accept takes a commit of our own into what the writer knows.
func (w *writer) accept(commit []events.Envelope) events.Receipt {
	for _, e := range commit {
		w.learn(e)
	}
	r := events.ReceiptOf(commit, false)
	w.head = r.Last
	return r
}

// resolve finds out by reading what became of a commit that may be in the log.
//
// A commit can only ever lie right behind the head that it was decided on. So
// there are three findings: it lies there; something else does, and then ours
// never will; or nothing does. In a cluster the last need not be the last word:
// the leader counts what is still being agreed on.
func (w *writer) resolve(ctx context.Context, commandID string, commit []events.Envelope, o outcome, why error) (events.Receipt, error) {
	before := w.head
	for attempt := 0; ; attempt++ {
		// Even when publishing has used up all time, one look is due.
		look, cancel := context.WithTimeout(context.WithoutCancel(ctx), attemptWithin)
		r, ok, err := w.look(look, commandID)
		cancel()
		switch {
		case errors.Is(err, events.ErrDiverged):
			return events.Receipt{}, err
		case ok:
			ours := r.Last.Hash == commit[len(commit)-1].Hash
			return events.ReceiptOf(r.Envelopes, !ours), nil
		case err == nil && w.head.Seq > before.Seq:
			return events.Receipt{}, fmt.Errorf("%w: decided at %s, now at %s", events.ErrConflict, before, w.head)
		}
		if again := o == moved || o == duplicate || o == contested; again && pause(ctx, attempt) == nil {
			continue
		}
		switch {
		case err != nil && o != unsent:
			return events.Receipt{}, w.unknown(commandID, errors.Join(why, err))
		case o == unsent:
			return events.Receipt{}, fmt.Errorf("%w: %w", events.ErrUnavailable, why)
		case o == moved:
			return events.Receipt{}, fmt.Errorf("%w: %w", events.ErrConflict, why)
		case o == duplicate:
			return events.Receipt{}, w.safeMode(ctx, fmt.Errorf("the server claims to have command %s, the log does not: %w", commandID, why))
		}
		return events.Receipt{}, w.unknown(commandID, why)
	}
}

// look catches up and looks for a command.
func (w *writer) look(ctx context.Context, commandID string) (events.Receipt, bool, error) {
	if err := w.catchUp(ctx); err != nil {
		return events.Receipt{}, false, err
	}
	return w.lookup(ctx, commandID)
}

func (w *writer) unknown(commandID string, why error) error {
	w.log.metrics.unknown.Inc()
	return &events.OutcomeUnknownError{CommandID: commandID, Err: why}
}
