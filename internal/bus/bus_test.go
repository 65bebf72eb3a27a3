package bus_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/sluice-flags/sluice/internal/bus"
	"github.com/sluice-flags/sluice/internal/bus/embed"
	"github.com/sluice-flags/sluice/internal/freeport"
	"github.com/sluice-flags/sluice/pkg/events"
	"github.com/sluice-flags/sluice/pkg/flags"
)

func server(t *testing.T) *bus.Conn {
	t.Helper()
	return serverWith(t, embed.Options{Dir: t.TempDir()})
}

func serverWith(t *testing.T, o embed.Options) *bus.Conn {
	t.Helper()
	s, err := embed.Start(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	c, err := bus.Connect(t.Context(), bus.Config{InProcess: s, Name: t.Name()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

func ensure(t *testing.T, c *bus.Conn, project string) string {
	t.Helper()
	id, err := bus.EnsureProject(t.Context(), c, project, bus.Limits{})
	if err != nil {
		t.Fatalf("EnsureProject(%q): %v", project, err)
	}
	return id
}

func TestADiskThatIsTooSmallIsSaidPlainly(t *testing.T) {
	c := serverWith(t, embed.Options{Dir: t.TempDir(), MaxStore: 64 << 20})
	err := bus.EnsureShared(t.Context(), c, bus.Limits{})
	if !errors.Is(err, bus.ErrNoRoom) || !strings.Contains(err.Error(), "MiB") {
		t.Errorf("EnsureShared on 64 MiB = %v; want ErrNoRoom with the room that is needed", err)
	}
}

func TestMemoryThatIsTooSmallIsSaidPlainly(t *testing.T) {
	c := serverWith(t, embed.Options{Dir: t.TempDir(), MaxMemory: 2 << 20})
	if err := bus.EnsureShared(t.Context(), c, bus.Limits{}); err != nil {
		t.Errorf("EnsureShared with 2 MiB of memory = %v; want what cannot be done without", err)
	}
	if err := bus.EnsureClaims(t.Context(), c, bus.Limits{}); !errors.Is(err, bus.ErrNoRoom) || !strings.Contains(err.Error(), "64 MiB of memory") {
		t.Errorf("EnsureClaims with 2 MiB of memory = %v; want ErrNoRoom with the memory that is needed", err)
	}
}

func TestAProjectIsMadeOnce(t *testing.T) {
	c := server(t)
	var ids [8]string
	var wg sync.WaitGroup
	for i := range ids {
		wg.Go(func() {
			var err error
			if ids[i], err = bus.EnsureProject(t.Context(), c, "shop", bus.Limits{}); err != nil {
				t.Errorf("EnsureProject: %v", err)
			}
		})
	}
	wg.Wait()
	if len(ids[0]) != 32 || slices.ContainsFunc(ids[:], func(id string) bool { return id != ids[0] }) {
		t.Errorf("EnsureProject made logs %q; want one log of 128 bits", ids)
	}
}

func TestProjectsAreListedById(t *testing.T) {
	c := server(t)
	if err := bus.EnsureShared(t.Context(), c, bus.Limits{}); err != nil {
		t.Fatal(err)
	}
	for _, project := range []string{"zoo", bus.OrgProject, "shop", "a_1"} {
		ensure(t, c, project)
	}
	got, err := bus.Projects(t.Context(), c)
	if diff := cmp.Diff([]string{"a_1", "shop", "zoo"}, got); err != nil || diff != "" {
		t.Errorf("Projects() = %v, %v; -want +got:\n%s", got, err, diff)
	}
}

func TestOurOwnStreamsPassTheirOwnChecks(t *testing.T) {
	c := server(t)
	for range 2 { // made, then found
		if err := bus.EnsureShared(t.Context(), c, bus.Limits{FactsBytes: 64 << 20}); err != nil {
			t.Errorf("EnsureShared: %v", err)
		}
		if err := bus.EnsureClaims(t.Context(), c, bus.Limits{}); err != nil {
			t.Errorf("EnsureClaims: %v", err)
		}
	}
	ensure(t, c, "shop")
	info, err := bus.FlagsInfo(t.Context(), c, "shop")
	if err != nil {
		t.Fatal(err)
	}
	if err := bus.CheckFlags(info, "shop"); err != nil {
		t.Errorf("CheckFlags: %v", err)
	}
}

func TestAWrongSettingIsNamedWithWhatItMustBe(t *testing.T) {
	right := bus.FlagsConfig("shop", "log", bus.Limits{})
	for _, test := range []struct {
		name   string
		change func(*jetstream.StreamConfig)
		want   string
	}{
		{"an age", func(c *jetstream.StreamConfig) { c.MaxAge = time.Hour }, "max_age is 1h0m0s, must be 0s"},
		{"a message limit", func(c *jetstream.StreamConfig) { c.MaxMsgs = 1 }, "max_msgs is 1, must be -1"},
		{"memory", func(c *jetstream.StreamConfig) { c.Storage = jetstream.MemoryStorage }, "storage is Memory, must be File"},
		{"forgetting the old", func(c *jetstream.StreamConfig) { c.Discard = jetstream.DiscardOld }, "discard is DiscardOld, must be DiscardNew"},
		{"deletable", func(c *jetstream.StreamConfig) { c.DenyDelete = false }, "deny_delete is false, must be true"},
		{"purgeable", func(c *jetstream.StreamConfig) { c.DenyPurge = false }, "deny_purge is false, must be true"},
		{"async", func(c *jetstream.StreamConfig) { c.PersistMode = jetstream.AsyncPersistMode }, "persist_mode is Async, must be Default"},
		{"no byte limit", func(c *jetstream.StreamConfig) { c.MaxBytes = -1 }, "max_bytes is -1, must be a limit well below the disk"},
	} {
		t.Run(test.name, func(t *testing.T) {
			got := right
			test.change(&got)
			err := bus.CheckSettings(got, right)
			settings, ok := errors.AsType[*bus.SettingsError](err)
			if !ok || len(settings.Wrong) != 1 || !strings.Contains(err.Error(), test.want) {
				t.Errorf("CheckSettings() = %v; want just %q", err, test.want)
			}
		})
	}
}

func TestALostStreamIsNotReplacedInSilence(t *testing.T) {
	c := server(t)
	id := ensure(t, c, "shop")
	head := events.Head{LogID: id, Seq: 7, Time: 1, Hash: events.Hash{1}}
	if err := bus.RecordHead(t.Context(), c, "shop", head); err != nil {
		t.Fatal(err)
	}
	if got, ok, err := bus.RecordedHead(t.Context(), c, "shop"); got != head || !ok || err != nil {
		t.Errorf("RecordedHead() = %v, %v, %v; want %v", got, ok, err, head)
	}
	if err := c.JetStream().DeleteStream(t.Context(), bus.FlagsStream("shop")); err != nil {
		t.Fatal(err)
	}
	if _, err := bus.EnsureProject(t.Context(), c, "shop", bus.Limits{}); !errors.Is(err, events.ErrDiverged) {
		t.Errorf("EnsureProject() after the stream was deleted = %v; want ErrDiverged", err)
	}
}

func TestUnknownAndImpossibleProjects(t *testing.T) {
	c := server(t)
	for _, project := range []string{"shop", "", "Shop", "a.b", "a*", ">", "a b", strings.Repeat("a", 33)} {
		if _, err := bus.FlagsInfo(t.Context(), c, project); !errors.Is(err, bus.ErrUnknownProject) {
			t.Errorf("FlagsInfo(%q) = %v; want ErrUnknownProject", project, err)
		}
	}
	if _, err := bus.EnsureProject(t.Context(), c, "a.b", bus.Limits{}); err == nil {
		t.Error("EnsureProject(a.b) succeeded; want an error")
	}
}

func TestAConnectionIsThereBeforeItsServer(t *testing.T) {
	dir := t.TempDir()
	first, err := embed.Start(embed.Options{Dir: dir, Listen: freeport.For(t)})
	if err != nil {
		t.Fatal(err)
	}
	url := first.URL()
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	c, err := bus.Connect(t.Context(), bus.Config{URL: url})
	if err != nil {
		t.Fatalf("Connect() with nobody there = %v; want a connection that goes on trying", err)
	}
	defer c.Close()
	if c.Status() == nil || c.Connected() {
		t.Errorf("Status() = %v, Connected() = %v; want away", c.Status(), c.Connected())
	}
	impatient, cancel := context.WithTimeout(t.Context(), time.Millisecond)
	defer cancel()
	if err := c.Wait(impatient); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Wait() = %v; want the deadline", err)
	}
	second, err := embed.Start(embed.Options{Dir: dir, Listen: strings.TrimPrefix(url, "nats://")})
	if err != nil {
		t.Fatal(err)
	}
	defer second.Close()
	if err := c.Wait(t.Context()); err != nil {
		t.Errorf("Wait() = %v", err)
	}
	ensure(t, c, "shop")
	if err := c.Drain(t.Context()); err != nil {
		t.Errorf("Drain() = %v", err)
	}
}

func TestNamesAreTheOnesOnRecord(t *testing.T) {
	ref := flags.Ref{Kind: flags.KindGate, ID: "gate_1"}
	if got, want := bus.FlagsSubject("shop", ref), "flags.shop.gate.gate_1"; got != want {
		t.Errorf("FlagsSubject(shop, %v) = %q; want %q", ref, got, want)
	}
	if project, ok := bus.ProjectOf(bus.FlagsStream(bus.OrgProject)); project != bus.OrgProject || !ok {
		t.Errorf("ProjectOf(FlagsStream(%q)) = %q, %v", bus.OrgProject, project, ok)
	}
}

func TestPartitionsCoverTheirRange(t *testing.T) {
	seen := map[int]bool{}
	for i := range 1000 {
		p := bus.FactPartition(strings.Repeat("u", i))
		if p < 0 || p >= bus.FactPartitions {
			t.Fatalf("FactPartition() = %d; want 0 to %d", p, bus.FactPartitions-1)
		}
		seen[p] = true
	}
	if len(seen) != bus.FactPartitions {
		t.Errorf("1000 units fell into %d partitions; want all %d", len(seen), bus.FactPartitions)
	}
}
