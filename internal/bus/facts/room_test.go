package facts_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/sluice-flags/sluice/internal/bus"
	"github.com/sluice-flags/sluice/internal/bus/facts"
)

// A warehouse that says how far it is.
type warehouseAt map[int]uint64

func (w warehouseAt) loaded(context.Context, string) (map[int]uint64, error) { return w, nil }

// state reads a stream's state.
func state(t *testing.T, conn *bus.Conn, name string) jetstream.StreamState {
	t.Helper()
	s, err := conn.JetStream().Stream(t.Context(), name)
	if err != nil {
		t.Fatal(err)
	}
	return s.CachedInfo().State
}

// keepRoom runs a room until the test ends.
func keepRoom(t *testing.T, conn *bus.Conn, w warehouseAt, replay time.Duration) (stop func()) {
	t.Helper()
	room := facts.NewRoom(conn, w.loaded, facts.RoomOptions{Replay: replay, Every: 5 * time.Millisecond})
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	done := make(chan struct{})
	go func() { defer close(done); room.Run(ctx) }()
	stop = func() { cancel(); <-done }
	t.Cleanup(stop)
	return stop
}

// full fills the stream of facts, in partition 0 and 1 by turns, until it refuses.
func full(t *testing.T, conn *bus.Conn) (last uint64) {
	t.Helper()
	for n := 0; ; n++ {
		ack, err := conn.JetStream().Publish(t.Context(), bus.FactsSubject("shop", "batch", n%2), make([]byte, 1000))
		if refusal, ok := errors.AsType[*jetstream.APIError](err); ok && bus.Full(refusal) {
			return last
		}
		if err != nil {
			t.Fatal(err)
		}
		last = ack.Sequence
	}
}

func TestAFullStreamLetsGoOfTheOldestFactsThatAreLoaded(t *testing.T) {
	_, conn := stream(t, bus.Limits{FactsBytes: 200 << 10})
	last := full(t, conn)
	keepRoom(t, conn, warehouseAt{0: last, 1: last}, 20*time.Millisecond)
	for deadline := time.Now().Add(20 * time.Second); state(t, conn, bus.FactsStream).Bytes > 160<<10; time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("the stream has %+v; want less than four fifths", state(t, conn, bus.FactsStream))
		}
	}
	got := state(t, conn, bus.FactsStream)
	if got.Bytes < 130<<10 || got.LastSeq != last || got.Msgs != got.LastSeq-got.FirstSeq+1 {
		t.Errorf("the stream has %+v; want about seven tenths of 200 KiB, the newest ones", got)
	}
	if _, err := conn.JetStream().Publish(t.Context(), bus.FactsSubject("shop", "batch", 0), make([]byte, 1000)); err != nil {
		t.Errorf("Publish() = %v with room", err)
	}
}

func TestFactsThatAreNotLoadedForLongEnoughStay(t *testing.T) {
	const replay = 50 * time.Millisecond
	for _, test := range []struct {
		name   string
		at     func(last uint64) warehouseAt
		replay time.Duration
		want   func(last uint64) uint64 // first sequence that stays
	}{
		{"nothing is loaded", func(uint64) warehouseAt { return nil }, replay, func(uint64) uint64 { return 1 }},
		{"a partition stands still", func(last uint64) warehouseAt { return warehouseAt{0: last} }, replay, func(uint64) uint64 { return 2 }},
		{"a little is loaded", func(last uint64) warehouseAt { return warehouseAt{0: 9, 1: last} }, replay, func(uint64) uint64 { return 11 }},
		{"all is loaded just now", func(last uint64) warehouseAt { return warehouseAt{0: last, 1: last} }, time.Hour, func(uint64) uint64 { return 1 }},
	} {
		t.Run(test.name, func(t *testing.T) {
			_, conn := stream(t, bus.Limits{FactsBytes: 200 << 10})
			last := full(t, conn)
			want := test.want(last)
			stop := keepRoom(t, conn, test.at(last), test.replay)
			began := time.Now()
			for state(t, conn, bus.FactsStream).FirstSeq != want || time.Since(began) < 4*replay {
				if time.Since(began) > 20*time.Second {
					break
				}
				time.Sleep(5 * time.Millisecond)
			}
			stop()
			if got := state(t, conn, bus.FactsStream); got.FirstSeq != want || got.LastSeq != last {
				t.Errorf("the stream goes from %d to %d; want %d to %d", got.FirstSeq, got.LastSeq, want, last)
			}
		})
	}
}

func TestAFullRecordOfPlansLetsGoOfFactsAndTheirPlans(t *testing.T) {
	_, conn := stream(t, bus.Limits{PlansBytes: 20 << 10})
	r, err := facts.NewReader(t.Context(), conn, 0)
	if err != nil {
		t.Fatal(err)
	}
	plans, err := facts.OpenPlans(t.Context(), conn, r)
	if err != nil {
		t.Fatal(err)
	}
	var at facts.Cursor
	var last uint64
	for {
		ack, err := conn.JetStream().Publish(t.Context(), bus.FactsSubject("shop", "batch", 0), nil)
		if err != nil {
			t.Fatal(err)
		}
		next, err := plans.Record(t.Context(), at, ack.Sequence)
		if refusal, ok := errors.AsType[*jetstream.APIError](err); ok && bus.Full(refusal) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		at, last = next, ack.Sequence
	}
	keepRoom(t, conn, warehouseAt{0: last}, 10*time.Millisecond)
	for deadline := time.Now().Add(20 * time.Second); state(t, conn, bus.PlansStream).Bytes > 16<<10; time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("the record has %+v; want less than four fifths", state(t, conn, bus.PlansStream))
		}
	}
	first := state(t, conn, bus.FactsStream).FirstSeq
	left, end, err := plans.After(t.Context(), 0, 0)
	if err != nil || len(left) == 0 || left[0].First > first || left[len(left)-1].Last != last || end.Plan.Last != last {
		t.Errorf("After() = %d plans, %+v, %v; want those of facts %d to %d", len(left), end, err, first, last)
	}
	if _, err := plans.Record(t.Context(), end, last+1); err != nil {
		t.Errorf("Record() = %v with room", err)
	}
}
