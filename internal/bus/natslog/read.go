package natslog

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"iter"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/sluice-flags/sluice/internal/bus"
	"github.com/sluice-flags/sluice/internal/lifecycle"
	"github.com/sluice-flags/sluice/pkg/events"
)

const (
	pageMessages = 512
	pageBytes    = 4 << 20
	// mostSubjects is how many subjects one query may name: the server answers
	// for 1,024.
	mostSubjects = 1000
	// A replica may be behind the leader; it is given this many chances.
	lagRetries = 8
)

// These end a read early and never leave the package.
var (
	errStopped = errors.New("the reader has had enough")
	errEnough  = errors.New("the rest of the page is of no use")
)

// scan yields the envelopes on a subject with sequences from..to, where to is
// known to be the sequence of one of them. What a query does not bring, because
// the replica that answered is behind or damaged, is read from the leader; what
// the leader does not have either is [events.ErrGap].
//
// It returns errStopped once yield returns false.
func (l *Log) scan(ctx context.Context, subject string, from, to uint64, yield func(events.Envelope) bool) error {
	dense := subject == l.all()
	take := func(m bus.Message) error {
		if m.Seq > to || dense && m.Seq != from {
			return errEnough
		}
		e, err := l.decode(m)
		if err != nil {
			return err
		}
		from = m.Seq + 1
		if !yield(e) {
			return errStopped
		}
		return nil
	}
	for from <= to {
		before := from
		q := bus.Query{Seq: from, NextFor: subject, Batch: pageMessages, MaxBytes: pageBytes}
		_, err := l.conn.Get(ctx, l.stream, q, take)
		if err != nil && !errors.Is(err, errEnough) {
			return l.found(ctx, err)
		}
		if from > before {
			continue
		}
		m, err := l.conn.Next(ctx, l.stream, subject, from)
		if err == nil {
			err = take(m)
		}
		if errors.Is(err, jetstream.ErrMsgNotFound) || errors.Is(err, errEnough) {
			return fmt.Errorf("%w: message %d is missing", events.ErrGap, from)
		}
		if err != nil {
			return l.found(ctx, err)
		}
	}
	return nil
}

// found passes on what was found wrong in the log, and marks everything else as
// "could not be read".
func (l *Log) found(ctx context.Context, err error) error {
	for _, sentinel := range []error{events.ErrGap, events.ErrFork, events.ErrEpoch, events.ErrCorrupt, events.ErrSchema, events.ErrUnavailable, errStopped} {
		if errors.Is(err, sentinel) {
			return err
		}
	}
	if errors.Is(err, bus.ErrUnreadable) {
		return fmt.Errorf("%w: %w", events.ErrCorrupt, err)
	}
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		return fmt.Errorf("%w: stream %s is gone", events.ErrEpoch, l.stream)
	}
	return unavailable(ctx, l.conn, err)
}

// Read implements [events.Log]. A log that ends before its head on record is
// read as far as it goes, and then reported.
func (l *Log) Read(ctx context.Context, from uint64) iter.Seq2[events.Envelope, error] {
	return func(yield func(events.Envelope, error) bool) {
		head, short, err := l.recordedHead(ctx)
		if err == nil {
			err = l.verified(ctx, max(from, 1), head, func(e events.Envelope) bool { return yield(e, nil) })
		}
		if err == nil {
			err = short
		}
		if err != nil && !errors.Is(err, errStopped) {
			yield(events.Envelope{}, err)
		}
	}
}

// recordedHead is the log's head, and [events.ErrGap] if the head on record is
// beyond it: a store that lost everything looks new.
func (l *Log) recordedHead(ctx context.Context) (head events.Head, short, err error) {
	// The record first: it is never ahead of a log that is whole.
	record, recorded, err := bus.RecordedHead(ctx, l.conn, l.project)
	if err != nil {
		return events.Head{}, nil, l.found(ctx, err)
	}
	if head, err = l.Head(ctx); err != nil {
		return events.Head{}, nil, err
	}
	if recorded && record.LogID == l.id && record.Seq > head.Seq {
		short = fmt.Errorf("%w: on record is %s, the log ends at %s", events.ErrGap, record, head)
	}
	return head, short, nil
}

// verified scans the whole log from a sequence to a head and proves the chain on
// the way. The first envelope's own predecessor is not looked at, unless it is
// the first of all.
func (l *Log) verified(ctx context.Context, from uint64, head events.Head, yield func(events.Envelope) bool) error {
	at := events.Head{LogID: l.id}
	var broken error
	err := l.scan(ctx, l.all(), from, head.Seq, func(e events.Envelope) bool {
		if at.Seq == 0 && from > 1 {
			at = events.Head{LogID: l.id, Seq: e.Seq - 1, Time: e.Time - 1, Hash: e.Prev}
		}
		if broken = events.Verify(at, e); broken != nil {
			return false
		}
		at = e.Head()
		return yield(e)
	})
	switch {
	case broken != nil:
		return broken
	case err != nil:
		return err
	case from <= head.Seq && at.Hash != head.Hash:
		return fmt.Errorf("%w: read up to %s, the leader has %s", events.ErrFork, at, head)
	}
	return nil
}

// Boot implements [events.Log].
func (l *Log) Boot(ctx context.Context) (events.Boot, error) {
	head, err := l.wholeHead(ctx)
	if err != nil {
		return events.Boot{}, err
	}
	return l.lastOfEach(ctx, head)
}

// wholeHead is the head of a log from which nothing is missing, by the head on
// record and by the server's own count. Damage to a store shows itself as
// absence: a boot sees the last envelopes only, so were one of them lost, the one
// before it would look like the last.
func (l *Log) wholeHead(ctx context.Context) (events.Head, error) {
	head, short, err := l.recordedHead(ctx)
	if err = cmp.Or(err, short); err != nil {
		return events.Head{}, err
	}
	info, err := bus.FlagsInfo(ctx, l.conn, l.project)
	if err != nil {
		return events.Head{}, l.found(ctx, err)
	}
	if s := info.State; s.LastSeq > 0 && (s.FirstSeq != 1 || s.Msgs != s.LastSeq) {
		return events.Head{}, fmt.Errorf("%w: stream %s holds %d messages from %d to %d", events.ErrGap, l.stream, s.Msgs, s.FirstSeq, s.LastSeq)
	}
	return head, nil
}

// AsOf implements [events.Log].
func (l *Log) AsOf(ctx context.Context, p events.Point) (events.Boot, error) {
	head, err := l.wholeHead(ctx)
	if err != nil {
		return events.Boot{}, err
	}
	seq := head.Seq
	switch {
	case p.Seq > 0:
		seq = min(p.Seq, head.Seq)
	case !p.Time.IsZero() && p.Time.UnixMilli() < head.Time:
		if seq, err = l.lastAt(ctx, head, p.Time.UnixMilli()); err != nil {
			return events.Boot{}, err
		}
	}
	if seq == head.Seq {
		return l.lastOfEach(ctx, head)
	}
	for seq > 0 {
		e, err := l.at(ctx, seq)
		if err != nil {
			return events.Boot{}, err
		}
		if e.Commit.Last() {
			return l.lastOfEach(ctx, e.Head())
		}
		seq -= uint64(e.Commit.Index) + 1 // to the end of the commit before
	}
	return events.Boot{Head: events.Head{LogID: l.id}}, nil
}

// lastAt finds the last sequence at or before a time. Times rise strictly within
// a log, so a search needs a handful of reads however long the log is. The
// server's own time stamps would need one read, but they are of another clock.
func (l *Log) lastAt(ctx context.Context, head events.Head, ms int64) (uint64, error) {
	low, high := uint64(0), head.Seq // low is at or before ms, high is after
	for low+1 < high {
		middle := low + (high-low)/2
		e, err := l.at(ctx, middle)
		if err != nil {
			return 0, err
		}
		if e.Time <= ms {
			low = middle
		} else {
			high = middle
		}
	}
	return low, nil
}

// at reads one envelope from the leader.
func (l *Log) at(ctx context.Context, seq uint64) (events.Envelope, error) {
	m, err := l.conn.At(ctx, l.stream, seq)
	switch {
	case errors.Is(err, jetstream.ErrMsgNotFound):
		return events.Envelope{}, fmt.Errorf("%w: message %d is missing", events.ErrGap, seq)
	case err != nil:
		return events.Envelope{}, l.found(ctx, err)
	}
	return l.decode(m)
}

// lastOfEach reads the last envelope of each entity up to a head. The newest of
// them is the head itself, which proves that the replica was not behind.
func (l *Log) lastOfEach(ctx context.Context, head events.Head) (events.Boot, error) {
	boot := events.Boot{Head: head}
	if head.Seq == 0 {
		return boot, nil
	}
	var short error
	for attempt := range lagRetries {
		entities, err := l.multiLast(ctx, head.Seq)
		if err != nil && !errors.Is(err, bus.ErrUnreadable) {
			return events.Boot{}, err
		}
		slices.SortFunc(entities, func(a, b events.Envelope) int { return cmp.Compare(a.Seq, b.Seq) })
		if n := len(entities); err != nil {
			short = err // another replica may be whole
		} else if n > 0 && entities[n-1].Hash == head.Hash {
			boot.Entities = entities
			return boot, nil
		} else if n > 0 && entities[n-1].Seq >= head.Seq {
			return events.Boot{}, fmt.Errorf("%w: read up to %s, the leader has %s", events.ErrFork, entities[n-1].Head(), head)
		} else {
			short = fmt.Errorf("%w: %d entities do not reach the head %s", events.ErrGap, n, head)
		}
		if err := pause(ctx, attempt); err != nil {
			return events.Boot{}, err
		}
	}
	return events.Boot{}, short
}

func (l *Log) multiLast(ctx context.Context, upTo uint64) ([]events.Envelope, error) {
	out, err := l.multiLastOf(ctx, []string{l.all()}, upTo)
	if !errors.Is(err, bus.ErrTooManySubjects) {
		return out, err
	}
	// Too many for one query: name them, a thousand at a time. Subjects that
	// come into being meanwhile are behind upTo.
	subjects, err := l.subjects(ctx)
	if err != nil {
		return nil, err
	}
	out = nil
	for some := range slices.Chunk(subjects, mostSubjects) {
		part, err := l.multiLastOf(ctx, some, upTo)
		if err != nil {
			return nil, err
		}
		out = append(out, part...)
	}
	return out, nil
}

func (l *Log) multiLastOf(ctx context.Context, subjects []string, upTo uint64) ([]events.Envelope, error) {
	var out []events.Envelope
	q := bus.Query{MultiLast: subjects, UpToSeq: upTo, MaxBytes: pageBytes}
	for {
		page, err := l.conn.Get(ctx, l.stream, q, func(m bus.Message) error {
			e, err := l.decode(m)
			out = append(out, e)
			return err
		})
		switch {
		case errors.Is(err, bus.ErrTooManySubjects):
			return nil, err
		case err != nil:
			return nil, l.found(ctx, err)
		case page.Pending == 0 || page.Count == 0:
			return out, nil
		}
		q.Seq = page.Last + 1
	}
}

// subjects lists the subjects that the stream has messages on.
func (l *Log) subjects(ctx context.Context) ([]string, error) {
	s, err := l.conn.JetStream().Stream(ctx, l.stream)
	if err != nil {
		return nil, l.found(ctx, err)
	}
	info, err := s.Info(ctx, jetstream.WithSubjectFilter(l.all()))
	if err != nil {
		return nil, l.found(ctx, err)
	}
	out := make([]string, 0, len(info.State.Subjects))
	for subject := range info.State.Subjects {
		out = append(out, subject)
	}
	slices.Sort(out)
	return out, nil
}

// pause waits longer each time, with full jitter: up to 50 ms, 100 ms, … 2 s.
func pause(ctx context.Context, attempt int) error {
	most := min(2*time.Second, 50*time.Millisecond<<min(attempt, 10))
	if !lifecycle.Sleep(ctx, rand.N(most)+time.Millisecond) { //nolint:gosec // jitter
		return context.Cause(ctx)
	}
	return nil
}
