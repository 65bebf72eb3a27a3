package natslog_test

import (
	"fmt"
	"testing"

	"github.com/sluice-flags/sluice/internal/bus"
	"github.com/sluice-flags/sluice/internal/bus/embed"
	"github.com/sluice-flags/sluice/internal/bus/natslog"
	"github.com/sluice-flags/sluice/pkg/events/logtest"
)

// BenchmarkAppend is a change from decision to receipt, beside its floor: a bare
// message of the same size from publish to ack, on the same server and disk.
func BenchmarkAppend(b *testing.B) {
	s, err := embed.Start(embed.Options{Dir: b.TempDir()})
	if err != nil {
		b.Fatal(err)
	}
	defer func() { _ = s.Close() }()
	conn, err := bus.Connect(b.Context(), bus.Config{InProcess: s})
	if err != nil {
		b.Fatal(err)
	}
	defer conn.Close()
	body := make([]byte, 800)

	b.Run("floor", func(b *testing.B) {
		if _, err := bus.EnsureProject(b.Context(), conn, "floor", bus.Limits{}); err != nil {
			b.Fatal(err)
		}
		for b.Loop() {
			if _, err := conn.JetStream().Publish(b.Context(), "flags.floor.gate.g", body); err != nil {
				b.Fatal(err)
			}
		}
	})
	for name, dir := range map[string]string{"head in HEADS": "", "head in HEADS and a file": b.TempDir()} {
		b.Run(name, func(b *testing.B) {
			n := 0
			id := fmt.Sprintf("p%d", len(dir))
			if _, err := bus.EnsureProject(b.Context(), conn, id, bus.Limits{}); err != nil {
				b.Fatal(err)
			}
			log, err := natslog.Open(b.Context(), conn, id, natslog.Options{HeadDir: dir})
			if err != nil {
				b.Fatal(err)
			}
			at, err := log.Head(b.Context())
			if err != nil {
				b.Fatal(err)
			}
			for b.Loop() {
				n++
				r, err := log.Append(b.Context(), at, logtest.Command(fmt.Sprintf("%d-%d", at.Seq, n), logtest.Gate(fmt.Sprint(n%50), 1, 0)))
				if err != nil {
					b.Fatal(err)
				}
				at = r.Last
			}
		})
	}
}
