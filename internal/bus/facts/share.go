package facts

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/sluice-flags/sluice/internal/bus"
	"github.com/sluice-flags/sluice/internal/lifecycle"
)

// ShareOptions of a [Share]. The zero value works.
type ShareOptions struct {
	// Partitions are shared out: 1.
	Partitions int
	// Lease is how long a partition stays with a process that says nothing: 3 s,
	// at least 1.
	Lease time.Duration
	// Limits of the stream of leases, where it has to be made.
	Limits bus.Limits

	Logger     *slog.Logger
	Registerer prometheus.Registerer
}

// A Share takes this process's part of the partitions, so that each is loaded
// by one process, and by another within seconds of its end.
//
// A partition belongs to whoever wrote the last message of its subject in
// [bus.LoadersStream], by compare-and-set; that message goes by itself, by the
// server's clock, unless its writer renews it. Nobody takes more than its fair
// part of what there is, and who has more, because others came, gives it back.
//
// A lease keeps processes out of each other's way and promises nothing: one that
// slept may believe that it still holds what another has taken. What it could
// do then is harmless, since [Plans.Record] refuses it.
type Share struct {
	conn   *bus.Conn
	id     string
	o      ShareOptions
	stream jetstream.Stream
	leases map[int]*lease
	held   atomic.Int64
}

// A lease is a partition that is ours.
type lease struct {
	seq   uint64    // of the message that says so
	until time.Time // when it goes, by our clock and on the safe side
	stop  func()    // ends the work and waits for its end
}

// NewShare returns a share that takes nothing before [Share.Run].
func NewShare(conn *bus.Conn, o ShareOptions) *Share {
	o.Partitions = max(o.Partitions, 1)
	o.Lease = max(cmp.Or(o.Lease, 3*time.Second), time.Second)
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	s := &Share{conn: conn, id: rand.Text(), o: o, leases: make(map[int]*lease)}
	if o.Registerer != nil {
		o.Registerer.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{Subsystem: "ingest", Name: "partitions_held",
			Help: "Partitions of facts that this process loads just now."}, func() float64 { return float64(s.held.Load()) }))
	}
	return s
}

// Held is how many partitions this process has.
func (s *Share) Held() int { return int(s.held.Load()) }

// Run calls work for each partition that is this process's, for as long as it
// is: work ends when its context does. It returns when ctx is done, and gives
// everything back.
func (s *Share) Run(ctx context.Context, work func(ctx context.Context, partition int)) error {
	defer s.leave(ctx)
	for ctx.Err() == nil {
		if err := s.turn(ctx, work); err != nil && ctx.Err() == nil {
			s.stream = nil // it may have gone with its server
			s.o.Logger.WarnContext(ctx, "cannot tell who loads which facts", slog.Any("error", err))
		}
		s.expire(time.Now())
		lifecycle.Sleep(ctx, s.o.Lease/4)
	}
	return nil
}

// turn renews what is ours, and takes or gives back what is fair.
func (s *Share) turn(ctx context.Context, work func(context.Context, int)) error {
	ctx, cancel := context.WithTimeout(ctx, s.o.Lease/2)
	defer cancel()
	if s.stream == nil {
		if err := bus.EnsureLoaders(ctx, s.conn, s.o.Limits); err != nil {
			return err
		}
		stream, err := s.conn.JetStream().Stream(ctx, bus.LoadersStream)
		if err != nil {
			return fmt.Errorf("stream %s: %w", bus.LoadersStream, err)
		}
		s.stream = stream
	}
	if _, err := s.say(ctx, bus.LoaderSubject(s.id), s.o.Lease); err != nil {
		return err
	}
	for partition, l := range s.leases {
		if err := s.renew(ctx, partition, l); err != nil {
			return err
		}
	}
	info, err := s.stream.Info(ctx, jetstream.WithSubjectFilter(bus.LoaderSubject("*")))
	if err != nil {
		return fmt.Errorf("stream %s: %w", bus.LoadersStream, err)
	}
	members := max(1, len(info.State.Subjects))
	fair := (s.o.Partitions + members - 1) / members
	for partition, l := range s.leases {
		if len(s.leases) <= fair {
			break
		}
		s.giveBack(ctx, partition, l)
	}
	for partition := range s.o.Partitions {
		if len(s.leases) >= fair {
			break
		}
		if s.leases[partition] != nil {
			continue
		}
		if err := s.take(ctx, partition, work); err != nil {
			return err
		}
	}
	return nil
}

// say writes to the stream of leases, for some time.
func (s *Share) say(ctx context.Context, subject string, lasting time.Duration, o ...jetstream.PublishOpt) (uint64, error) {
	msg := nats.NewMsg(subject)
	msg.Data = []byte(s.id)
	ack, err := s.conn.JetStream().PublishMsg(ctx, msg, append(o, jetstream.WithMsgTTL(lasting))...)
	if err != nil {
		if lostRace(err) {
			return 0, ErrTaken
		}
		return 0, fmt.Errorf("writing to %s: %w", subject, err)
	}
	return ack.Sequence, nil
}

// renew keeps a lease, or ends its work where somebody else has it.
func (s *Share) renew(ctx context.Context, partition int, l *lease) error {
	at := time.Now()
	seq, err := s.say(ctx, bus.LeaseSubject(partition), s.o.Lease, jetstream.WithExpectLastSequencePerSubject(l.seq))
	if errors.Is(err, ErrTaken) {
		// Or an earlier renewal was written and its answer lost.
		last, lastErr := s.conn.Last(ctx, bus.LoadersStream, bus.LeaseSubject(partition))
		switch {
		case lastErr == nil && string(last.Data) == s.id:
			l.seq = last.Seq
			return nil // and renewed next time, before it goes
		case lastErr == nil || errors.Is(lastErr, jetstream.ErrMsgNotFound):
			s.drop(partition, l)
			return nil
		}
		return lastErr
	}
	if err != nil {
		return err
	}
	l.seq, l.until = seq, at.Add(s.o.Lease)
	return nil
}

// take takes a partition if nobody has it.
func (s *Share) take(ctx context.Context, partition int, work func(context.Context, int)) error {
	at := time.Now()
	seq, err := s.say(ctx, bus.LeaseSubject(partition), s.o.Lease, jetstream.WithExpectLastSequencePerSubject(0))
	if errors.Is(err, ErrTaken) {
		return nil
	}
	if err != nil {
		return err
	}
	working, cancel := context.WithCancel(context.WithoutCancel(ctx)) // until stop
	done := make(chan struct{})
	go func() {
		defer close(done)
		work(working, partition)
	}()
	s.leases[partition] = &lease{seq: seq, until: at.Add(s.o.Lease), stop: func() { cancel(); <-done }}
	s.held.Store(int64(len(s.leases)))
	s.o.Logger.InfoContext(ctx, "loading a partition of facts", slog.Int("partition", partition))
	return nil
}

// drop ends the work on a partition.
func (s *Share) drop(partition int, l *lease) {
	l.stop()
	delete(s.leases, partition)
	s.held.Store(int64(len(s.leases)))
	s.o.Logger.Info("no longer loading a partition of facts", slog.Int("partition", partition))
}

// giveBack drops a partition and lets its lease go as soon as a server can. If
// that fails it goes a little later.
func (s *Share) giveBack(ctx context.Context, partition int, l *lease) {
	s.drop(partition, l)
	_, _ = s.say(ctx, bus.LeaseSubject(partition), time.Second, jetstream.WithExpectLastSequencePerSubject(l.seq))
}

// expire drops what could not be renewed in time.
func (s *Share) expire(now time.Time) {
	for partition, l := range s.leases {
		if now.After(l.until) {
			s.drop(partition, l)
		}
	}
}

// leave gives everything back.
func (s *Share) leave(ctx context.Context) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), s.o.Lease/2)
	defer cancel()
	for partition, l := range s.leases {
		s.giveBack(ctx, partition, l)
	}
	if s.stream != nil {
		_, _ = s.say(ctx, bus.LoaderSubject(s.id), time.Second)
	}
}
