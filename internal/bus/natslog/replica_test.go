package natslog_test

import (
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/sluice-flags/sluice/internal/bus"
	"github.com/sluice-flags/sluice/internal/bus/embed"
	"github.com/sluice-flags/sluice/internal/bus/natslog"
	"github.com/sluice-flags/sluice/pkg/events/logtest"
)

func TestAReplicaThatDiffersFromItsLeaderIsReadPastAndTold(t *testing.T) {
	conn := connect(t, startServer(t, embed.Options{Dir: t.TempDir()}))
	ensure(t, conn, project)
	all := logtest.Fill(t, open(t, conn, project, natslog.Options{HeadDir: t.TempDir()}), 6)
	body, err := all[4].Encode()
	if err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		name string
		data []byte
		lost bool
		want float64
	}{
		{"misses two messages", body, false, 2},
		{"misses two messages and has a damaged one", []byte("junk"), false, 3},
		{"has all of them, two were lost on the way", body, true, 0},
	} {
		t.Run(test.name, func(t *testing.T) {
			reg := prometheus.NewRegistry()
			log := open(t, conn, project, natslog.Options{ReadOnly: true, Registerer: reg})
			passed, err := log.TakeAfter(t.Context(), all[1].Head(), bus.Message{Subject: bus.FlagsSubject(project, all[4].Ref()), Seq: all[4].Seq, Data: test.data}, test.lost)
			if err != nil || len(passed) != 3 || passed[2].Head() != all[4].Head() {
				t.Errorf("after 2, delivered 5: passed on %d messages, %v; want 3, 4 and 5 as the leader has them", len(passed), err)
			}
			if n := counter(t, reg, "replica_mismatch"); n != test.want {
				t.Errorf("replica_mismatch = %v; want %v", n, test.want)
			}
		})
	}
}
