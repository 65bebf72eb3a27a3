// Package natslog keeps a project's log in a JetStream stream.
//
// An [events.Log] for one server or a cluster of them. What it promises beyond
// the contract:
//
//   - A receipt means that the commit is on the disk, and that its head is on
//     record outside the stream: a stream that comes back shorter or other than
//     that is noticed before anything is written to it.
//   - An append whose answer was lost is resolved by asking, never by guessing.
//     It ends as a receipt, as a refusal, or as [events.ErrOutcomeUnknown].
//   - Nothing read is taken on trust: sequence, hash, previous hash, log id and
//     subject of each message are checked, because a damaged store shows itself
//     as absence, mostly without a word.
//
// Reads cost nothing up front. The first write reads the whole log once: that
// proves the chain and learns the ids of all commands, so that a repeat is
// recognised for as long as the log lives.
package natslog

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"log/slog"
	"os"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/sluice-flags/sluice/internal/bus"
	"github.com/sluice-flags/sluice/pkg/events"
	"github.com/sluice-flags/sluice/pkg/flags"
)

// Options adjust a log. The zero value works.
type Options struct {
	// HeadDir is a folder for a file with the log's last head, outside NATS.
	// Empty: the head is on record in the stream HEADS only.
	HeadDir string
	// ReadOnly refuses appends.
	ReadOnly bool
	// Logger receives what an operator should know. Nil discards it.
	Logger *slog.Logger
	// Registerer receives replica_mismatch and, unless ReadOnly,
	// append_outcome_unknown_total and safe_mode. May be nil.
	Registerer prometheus.Registerer
}

// A Log is one project's log. It is safe for concurrent use.
type Log struct {
	conn    *bus.Conn
	project string
	stream  string
	id      string
	opts    Options
	metrics *metrics
	writer  *writer
}

var _ events.Log = (*Log)(nil)

// Open opens the log of a project that has one: see [bus.EnsureProject].
//
// Errors: [bus.ErrUnknownProject], [events.ErrUnavailable].
func Open(ctx context.Context, c *bus.Conn, project string, o Options) (*Log, error) {
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	o.Logger = o.Logger.With(slog.String("project", project))
	info, err := bus.FlagsInfo(ctx, c, project)
	if err != nil {
		if errors.Is(err, bus.ErrUnknownProject) {
			return nil, err
		}
		return nil, fmt.Errorf("opening the log of %s: %w", project, unavailable(ctx, c, err))
	}
	id, err := bus.LogID(info)
	if err != nil {
		return nil, fmt.Errorf("opening the log of %s: %w: %w", project, events.ErrUnavailable, err)
	}
	if o.HeadDir != "" {
		if err := os.MkdirAll(o.HeadDir, 0o700); err != nil {
			return nil, fmt.Errorf("opening the log of %s: the folder of heads: %w", project, err)
		}
	}
	l := &Log{
		conn:    c,
		project: project,
		stream:  bus.FlagsStream(project),
		id:      id,
		opts:    o,
		metrics: newMetrics(o.Registerer, o.ReadOnly),
	}
	l.writer = newWriter(l)
	return l, nil
}

// Reader returns a function that opens the logs of projects for reading, as
// those who follow several want it.
func Reader(c *bus.Conn, logger *slog.Logger, reg prometheus.Registerer) func(ctx context.Context, project string) (events.Log, error) {
	return func(ctx context.Context, project string) (events.Log, error) {
		l, err := Open(ctx, c, project, Options{ReadOnly: true, Logger: logger, Registerer: reg})
		if err != nil {
			return nil, err // not a nil *Log in an interface
		}
		return l, nil
	}
}

// ID is the log's id.
func (l *Log) ID() string { return l.id }

// all matches every subject of the log.
func (l *Log) all() string { return bus.FlagsSubjects(l.project) }

// decode reads and checks one message.
func (l *Log) decode(m bus.Message) (events.Envelope, error) {
	e, err := events.Decode(m.Seq, m.Data)
	if err != nil {
		return events.Envelope{}, err
	}
	if want := bus.FlagsSubject(l.project, e.Ref()); m.Subject != want {
		return events.Envelope{}, fmt.Errorf("%w: message %d about %s is on subject %s", events.ErrCorrupt, m.Seq, e.Ref(), m.Subject)
	}
	if e.LogID != l.id {
		return events.Envelope{}, fmt.Errorf("%w: message %d is of log %s, this is %s", events.ErrEpoch, m.Seq, e.LogID, l.id)
	}
	return e, nil
}

// Head implements [events.Log]. It asks the stream's leader.
func (l *Log) Head(ctx context.Context) (events.Head, error) {
	e, ok, err := l.last(ctx, l.all())
	switch {
	case err != nil:
		return events.Head{}, err
	case ok:
		return e.Head(), nil
	}
	// An empty log looks like any other empty log.
	info, err := bus.FlagsInfo(ctx, l.conn, l.project)
	if err != nil {
		return events.Head{}, unavailable(ctx, l.conn, err)
	}
	if id, err := bus.LogID(info); err != nil || id != l.id {
		return events.Head{}, fmt.Errorf("%w: stream %s holds log %q, not %s", events.ErrEpoch, l.stream, id, l.id)
	}
	return events.Head{LogID: l.id}, nil
}

// last reads the last envelope on a subject from the leader.
func (l *Log) last(ctx context.Context, subject string) (e events.Envelope, ok bool, err error) {
	m, err := l.conn.Last(ctx, l.stream, subject)
	switch {
	case errors.Is(err, jetstream.ErrMsgNotFound):
		return events.Envelope{}, false, nil
	case errors.Is(err, jetstream.ErrStreamNotFound):
		return events.Envelope{}, false, fmt.Errorf("%w: stream %s is gone", events.ErrEpoch, l.stream)
	case err != nil:
		return events.Envelope{}, false, unavailable(ctx, l.conn, err)
	}
	e, err = l.decode(m)
	return e, err == nil, err
}

// History implements [events.Log].
func (l *Log) History(ctx context.Context, ref flags.Ref) iter.Seq2[events.Envelope, error] {
	return func(yield func(events.Envelope, error) bool) {
		subject := bus.FlagsSubject(l.project, ref)
		last, ok, err := l.last(ctx, subject)
		if err == nil && ok {
			err = l.scan(ctx, subject, 1, last.Seq, func(e events.Envelope) bool { return yield(e, nil) })
		}
		if err != nil && !errors.Is(err, errStopped) {
			yield(events.Envelope{}, err)
		}
	}
}

// unavailable tells "cannot be asked" from what was asked and found.
func unavailable(ctx context.Context, c *bus.Conn, err error) error {
	if cause := context.Cause(ctx); cause != nil && !errors.Is(cause, bus.ErrLost) {
		return cause
	} else if cause != nil {
		return fmt.Errorf("%w: %w", events.ErrUnavailable, cause)
	}
	if errors.Is(err, nats.ErrTimeout) || errors.Is(err, context.DeadlineExceeded) {
		// A refused permission looks like silence.
		if why := c.Status(); why != nil {
			return fmt.Errorf("%w: %w", events.ErrUnavailable, why)
		}
	}
	return fmt.Errorf("%w: %w", events.ErrUnavailable, err)
}
