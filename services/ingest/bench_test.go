package ingest_test

import (
	"fmt"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sluice-flags/sluice/internal/bus"
)

// BenchmarkAcknowledge sends bodies of 50 events over HTTP, from 32 clients, and
// waits for each to be on the stream's disk. Compare with BenchmarkBareStream.
func BenchmarkAcknowledge(b *testing.B) {
	s := newProject(b).serve(none())
	const perBody = 50
	var at atomic.Int64
	at.Store(time.Now().UnixMilli() - int64(time.Hour/time.Millisecond))
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 64}}
	b.SetParallelism(16)
	b.ResetTimer()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			var text strings.Builder
			text.WriteString(`{"events":[`)
			for i := range perBody {
				if i > 0 {
					text.WriteByte(',')
				}
				fmt.Fprintf(&text, `{"eventName":"statsig::gate_exposure","user":{"userID":"user-%d","email":"user@example.com","custom":{"plan":"pro","seats":12},"customIDs":{"companyID":"c"},"statsigEnvironment":{"tier":"production"}},"value":null,"metadata":{"gate":"new_checkout","gateValue":"true","ruleID":"r:50.00:2","reason":"Network"},"secondaryExposures":[],"time":%d}`, i, at.Add(1))
			}
			text.WriteString(`],"statsigMetadata":{"sdkType":"go-sdk","sdkVersion":"v1.35.1"}}`)
			r, err := http.NewRequest(http.MethodPost, s.url+"/v1/log_event", strings.NewReader(text.String()))
			if err != nil {
				b.Fatal(err)
			}
			r.Header.Set("STATSIG-API-KEY", s.server)
			resp, err := client.Do(r)
			if err != nil {
				b.Fatal(err)
			}
			_ = resp.Body.Close()
			if resp.StatusCode != http.StatusAccepted {
				b.Fatalf("status %d", resp.StatusCode)
			}
		}
	})
	b.ReportMetric(float64(perBody*b.N)/b.Elapsed().Seconds(), "events/s")
}

// BenchmarkBareStream publishes messages of 64 KiB one after the other: the
// floor under group commit, of which each message could hold some 1,500 facts.
func BenchmarkBareStream(b *testing.B) {
	s := newProject(b)
	message := make([]byte, 64<<10)
	for b.Loop() {
		if _, err := s.conn.JetStream().Publish(b.Context(), bus.FactsSubject(s.project, "batch", 0), message); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "messages/s")
}
