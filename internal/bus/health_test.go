package bus_test

import (
	"bytes"
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/sluice-flags/sluice/internal/bus"
	"github.com/sluice-flags/sluice/internal/bus/embed"
	"github.com/sluice-flags/sluice/internal/freeport"
)

// await repeats a question until its answer is as wanted.
func await(t *testing.T, what string, ask func() error, wantErr bool) error {
	t.Helper()
	var err error
	for deadline := time.Now().Add(10 * time.Second); time.Now().Before(deadline); time.Sleep(5 * time.Millisecond) {
		if err = ask(); (err != nil) == wantErr {
			return err
		}
	}
	t.Fatalf("%s = %v; want an error: %v", what, err, wantErr)
	return nil
}

func TestHealthFollowsWhatTheStreamStores(t *testing.T) {
	dir := t.TempDir()
	s, err := embed.Start(embed.Options{Dir: dir, Listen: freeport.For(t)})
	if err != nil {
		t.Fatal(err)
	}
	address := strings.TrimPrefix(s.URL(), "nats://")
	c, err := bus.Connect(t.Context(), bus.Config{URL: s.URL()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	reg := prometheus.NewRegistry()
	h := bus.NewHealth(c, bus.HealthOptions{Door: "ingest", Canary: bus.FactsCanary, Streams: []string{bus.FactsStream, bus.FlagsStreams}, Every: 20 * time.Millisecond, Registerer: reg})
	if h.Stores() == nil {
		t.Error("Stores() = nil before the first canary")
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- h.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run() = %v", err)
		}
	})

	if err := await(t, "Stores() without a stream", h.Stores, true); err == nil {
		t.Error("no stream, no error")
	}
	if err := bus.EnsureShared(t.Context(), c, bus.Limits{FactsBytes: 1 << 20}); err != nil {
		t.Fatal(err)
	}
	ensure(t, c, "shop")
	await(t, "Stores() with a stream", h.Stores, false)
	await(t, "Room() of an empty stream", func() error { return h.Room(bus.FactsStream) }, false)
	body := bytes.Repeat([]byte("x"), 250<<10)
	for range 4 {
		if _, err := c.JetStream().Publish(t.Context(), bus.FactsSubject("shop", "batch", 0), body); err != nil {
			t.Fatal(err)
		}
	}
	await(t, "Room() of a full stream", func() error { return h.Room(bus.FactsStream) }, true)
	for _, stream := range []string{"FACTS", "FLAGS"} {
		ratio := gauge(t, reg, "stream_bytes_ratio", stream)
		if full := stream == "FACTS"; full != (ratio > 0.9) || ratio > 1 {
			t.Errorf("stream_bytes_ratio of %s = %v", stream, ratio)
		}
	}
	if took := gauge(t, reg, "canary_publish_seconds", "ingest"); took <= 0 || took > 1 {
		t.Errorf("canary_publish_seconds = %v while canaries are stored", took)
	}

	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	await(t, "Stores() without a server", h.Stores, true)
	before := gauge(t, reg, "canary_publish_seconds", "ingest")
	await(t, "the age of the last canary", func() error {
		if now := gauge(t, reg, "canary_publish_seconds", "ingest"); now > before {
			return fmt.Errorf("%v", now)
		}
		return nil
	}, true)
	again, err := embed.Start(embed.Options{Dir: dir, Listen: address})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = again.Close() })
	await(t, "Stores() with a server again", h.Stores, false)
}

// gauge reads a metric with a label of some value.
func gauge(t *testing.T, reg *prometheus.Registry, name, label string) float64 {
	t.Helper()
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			if f.GetName() == name && len(m.GetLabel()) == 1 && m.GetLabel()[0].GetValue() == label {
				return m.GetGauge().GetValue()
			}
		}
	}
	t.Fatalf("no %s of %s; the registry has %d metrics", name, label, testutil.CollectAndCount(reg))
	return 0
}
