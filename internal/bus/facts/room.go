package facts

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/sluice-flags/sluice/internal/bus"
	"github.com/sluice-flags/sluice/internal/lifecycle"
	"github.com/sluice-flags/sluice/internal/telemetry"
)

// RoomOptions of a [Room]. The zero value works.
type RoomOptions struct {
	// Replay is for how long facts stay after they were loaded, whatever comes: 15
	// minutes. A warehouse that comes back from a crash may want them again, and a
	// publisher that is started fills its [Window] from them.
	Replay time.Duration
	// Every is the time between two looks: a thirtieth of Replay.
	Every time.Duration

	Logger     *slog.Logger          // nil discards
	Registerer prometheus.Registerer // nil keeps the metrics to itself
}

// A Room keeps room in the stream of facts for new ones. The stream keeps facts for
// their age, loaded or not, and takes no more when it is full. So when it, or the
// record of plans beside it, comes to four fifths of its limit, a Room lets go of
// the oldest facts, as many as it takes to be a tenth below. It lets go only of
// what has been in the warehouse for the time of [RoomOptions.Replay].
//
// What a Room lets go of is gone from the front, across all partitions: what is left
// is one piece, as after their age. One at a time is enough, and several do no harm.
type Room struct {
	conn   *bus.Conn
	loaded func(ctx context.Context, stream string) (map[int]uint64, error)
	o      RoomOptions

	stream string // that the marks are of
	marks  []mark // oldest first

	released prometheus.Counter
}

// A mark is a look: all facts before seq were loaded then.
type mark struct {
	at  time.Time
	seq uint64
}

const (
	roomFull   = 0.8 // of its limit, from where on a stream is too full
	roomWanted = 0.7
)

// NewRoom returns a room of conn's stream. loaded tells the last sequence that is
// in the warehouse, of each partition of a stream by its [Reader.StreamID].
func NewRoom(conn *bus.Conn, loaded func(ctx context.Context, stream string) (map[int]uint64, error), o RoomOptions) *Room {
	o.Replay = cmp.Or(o.Replay, 15*time.Minute)
	o.Every = cmp.Or(o.Every, o.Replay/30)
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	return &Room{conn: conn, loaded: loaded, o: o, released: telemetry.Register(o.Registerer, prometheus.NewCounter(prometheus.CounterOpts{
		Subsystem: "ingest", Name: "released_messages_total", Help: "Messages of facts that were let go before their age, to make room."}))}
}

// Run looks again and again until ctx is done.
func (r *Room) Run(ctx context.Context) {
	for lifecycle.Sleep(ctx, r.o.Every) {
		if err := r.look(ctx, time.Now()); err != nil && ctx.Err() == nil {
			r.o.Logger.WarnContext(ctx, "cannot make room for facts", slog.Any("error", err))
		}
	}
}

// look marks how far loading is, and makes room if there is need.
func (r *Room) look(ctx context.Context, now time.Time) error {
	stream, err := r.conn.JetStream().Stream(ctx, bus.FactsStream)
	if err != nil {
		return fmt.Errorf("stream %s: %w", bus.FactsStream, err)
	}
	record, err := r.conn.JetStream().Stream(ctx, bus.PlansStream)
	if err != nil {
		return fmt.Errorf("stream %s: %w", bus.PlansStream, err)
	}
	info := stream.CachedInfo()
	if id := streamID(info); id != r.stream {
		r.stream, r.marks = id, nil
	}
	loaded, err := r.allLoaded(ctx, info)
	if err != nil {
		return err
	}
	// A warehouse that was put back to an earlier state has less: it counts.
	release := min(r.mark(now, loaded), loaded)

	share := max(excess(info), excess(record.CachedInfo()))
	first, last := info.State.FirstSeq, info.State.LastSeq
	release = min(release, first+uint64(math.Ceil(share*float64(last-first+1))))
	if share == 0 || release <= first {
		return nil
	}
	if err := stream.Purge(ctx, jetstream.WithPurgeSequence(release)); err != nil {
		return fmt.Errorf("letting go of facts before %d: %w", release, err)
	}
	r.released.Add(float64(release - first))
	r.o.Logger.InfoContext(ctx, "let go of facts that were loaded, to make room", slog.Uint64("messages", release-first))
	return r.forgetPlans(ctx, record, release)
}

// excess is the share of a stream that must go for it to have room; 0 while it has.
func excess(info *jetstream.StreamInfo) float64 {
	bytes, limit := float64(info.State.Bytes), float64(info.Config.MaxBytes)
	if limit <= 0 || bytes <= roomFull*limit {
		return 0
	}
	return (bytes - roomWanted*limit) / bytes
}

// allLoaded is the sequence before which every fact is loaded. The stream's leader
// is asked, since a replica that is behind would not know of the newest facts.
func (r *Room) allLoaded(ctx context.Context, info *jetstream.StreamInfo) (uint64, error) {
	positions, err := r.loaded(ctx, r.stream)
	if err != nil {
		return 0, err
	}
	all := info.State.LastSeq + 1
	for partition := range bus.FactPartitions {
		after := positions[partition] + 1
		if after >= all {
			continue
		}
		m, err := r.conn.Next(ctx, bus.FactsStream, subjects(partition), after)
		switch {
		case errors.Is(err, jetstream.ErrMsgNotFound):
		case err != nil:
			return 0, fmt.Errorf("looking for facts after %d: %w", after, err)
		default:
			all = min(all, m.Seq)
		}
	}
	return all, nil
}

// mark notes a look, and returns what was loaded when the replay time began: 0 if
// nobody looked then.
func (r *Room) mark(now time.Time, loaded uint64) (then uint64) {
	r.marks = append(r.marks, mark{at: now, seq: loaded})
	for i := len(r.marks) - 1; i >= 0; i-- {
		if now.Sub(r.marks[i].at) >= r.o.Replay {
			r.marks = r.marks[i:] // who is older says less
			return r.marks[0].seq
		}
	}
	return 0
}

// forgetPlans lets go of the plans of facts that are gone, in order, up to the
// first that still has some.
func (r *Room) forgetPlans(ctx context.Context, record jetstream.Stream, first uint64) error {
	var upTo uint64
	errEnough := errors.New("enough")
	for from := record.CachedInfo().State.FirstSeq; ; {
		page, err := r.conn.Get(ctx, bus.PlansStream, bus.Query{Seq: from, NextFor: "facts_plans.>", Batch: 1000}, func(m bus.Message) error {
			var plan Plan
			if json.Unmarshal(m.Data, &plan) == nil && plan.Stream == r.stream && plan.Last >= first {
				return errEnough
			}
			upTo = m.Seq + 1
			return nil
		})
		if err != nil && !errors.Is(err, errEnough) {
			return fmt.Errorf("looking for plans of facts before %d: %w", first, err)
		}
		if err != nil || page.Pending == 0 || page.Count == 0 {
			break
		}
		from = page.Last + 1
	}
	if upTo == 0 {
		return nil
	}
	if err := record.Purge(ctx, jetstream.WithPurgeSequence(upTo)); err != nil {
		return fmt.Errorf("letting go of plans before %d: %w", upTo, err)
	}
	return nil
}
