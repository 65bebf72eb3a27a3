package control_test

import (
	"fmt"
	"sync/atomic"
	"testing"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/sluice-flags/sluice/internal/bus"
)

// BenchmarkFlip is a flip of a gate from request to answer: decided, appended
// with compare-and-set, synced, folded, readable. BenchmarkAck is its floor, a
// message of the same size published to a stream with the same settings until
// its acknowledgement.
//
//	go test -bench 'Flip|Ack' -benchtime 2s ./services/control
func BenchmarkFlip(b *testing.B) {
	n := start(b, startNATS(b, b.TempDir()), "")
	admin, err := n.service.EnsureAdmin(b.Context(), "")
	if err != nil {
		b.Fatal(err)
	}
	n.must(201, "POST", "/api/v1/projects", admin, `{"name":"shop"}`)
	flip := func(gate string, on bool) {
		n.must(200, "PATCH", gates+"/"+gate, admin, fmt.Sprintf(`{"description":"%v"}`, on), "If-Match", "*")
	}
	n.must(201, "POST", gates, admin, `{"name":"g","rules":[{"name":"Everyone","passPercentage":10,"conditions":[{"type":"public"}]}]}`)

	b.Run("one writer", func(b *testing.B) {
		on := false
		for b.Loop() {
			on = !on
			flip("g", on)
		}
	})
	b.Run("eight writers", func(b *testing.B) {
		var next atomic.Int64
		for i := range 8 {
			n.do("POST", gates, admin, fmt.Sprintf(`{"name":"w%d","rules":[]}`, i))
		}
		b.SetParallelism(4)
		b.RunParallel(func(pb *testing.PB) {
			gate := fmt.Sprintf("w%d", next.Add(1)%8)
			for on := false; pb.Next(); {
				on = !on
				flip(gate, on)
			}
		})
	})
}

func BenchmarkAck(b *testing.B) {
	conn, err := bus.Connect(b.Context(), bus.Config{InProcess: startNATS(b, b.TempDir())})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(conn.Close)
	if err := conn.Wait(b.Context()); err != nil {
		b.Fatal(err)
	}
	if _, err := bus.EnsureProject(b.Context(), conn, "shop", bus.Limits{FlagsBytes: 64 << 20}); err != nil {
		b.Fatal(err)
	}
	body := make([]byte, 1500)
	last := uint64(0)
	for b.Loop() {
		ack, err := conn.JetStream().PublishMsg(b.Context(), &nats.Msg{Subject: "flags.shop.gate.g", Data: body}, jetstream.WithExpectLastSequence(last))
		if err != nil {
			b.Fatal(err)
		}
		last = ack.Sequence
	}
}
