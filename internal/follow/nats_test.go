package follow_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/sluice-flags/sluice/internal/bus"
	"github.com/sluice-flags/sluice/internal/bus/embed"
	"github.com/sluice-flags/sluice/internal/bus/natslog"
	"github.com/sluice-flags/sluice/internal/follow"
	"github.com/sluice-flags/sluice/internal/freeport"
	"github.com/sluice-flags/sluice/pkg/events"
	"github.com/sluice-flags/sluice/pkg/events/logtest"
)

// The whole way, on a real server: followed while it is there, kept while it is
// away, caught up when it is back, and served from disk when it is gone.
func TestAProjectOnARealServer(t *testing.T) {
	dir, store := t.TempDir(), snapshots(t)
	server, err := embed.Start(embed.Options{Dir: dir, Listen: freeport.For(t)})
	if err != nil {
		t.Fatal(err)
	}
	url := server.URL()
	conn, err := bus.Connect(t.Context(), bus.Config{URL: url})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := bus.EnsureProject(t.Context(), conn, "shop", bus.Limits{}); err != nil {
		t.Fatal(err)
	}
	options := follow.SetOptions{
		Open: func(ctx context.Context, project string) (events.Log, error) {
			return natslog.Open(ctx, conn, project, natslog.Options{})
		},
		Follower: follow.Options{Snapshots: store},
	}
	ctx, stop := context.WithCancel(t.Context())
	set := follow.NewSet(options)
	ended := make(chan error, 1)
	go func() { ended <- set.Run(ctx) }()
	f, err := set.Get(t.Context(), "shop")
	if err != nil {
		t.Fatal(err)
	}
	first := logtest.Append(t, f.Log(), f.Head(), logtest.Command("c1", logtest.Gate("a", 1, 0), logtest.Gate("b", 1, 0)))
	wait(t, f, first.Last.Seq)
	if f.Head() != first.Last {
		t.Errorf("Head() = %s; want %s", f.Head(), first.Last)
	}

	if err := server.Close(); err != nil {
		t.Fatal(err)
	}
	waitPhase(t, f, follow.Stale)
	if f.State().Len() != 2 {
		t.Errorf("the state with the server away has %d entities; want 2", f.State().Len())
	}
	if server, err = embed.Start(embed.Options{Dir: dir, Listen: strings.TrimPrefix(url, "nats://")}); err != nil {
		t.Fatal(err)
	}
	if err := conn.Wait(t.Context()); err != nil {
		t.Fatal(err)
	}
	second := logtest.Append(t, f.Log(), f.Head(), logtest.Command("c2", logtest.Gate("c", 1, 0)))
	wait(t, f, second.Last.Seq)
	waitPhase(t, f, follow.Ready)
	want := logtest.Dump(f.State())

	stop()
	if err := <-ended; err != nil {
		t.Errorf("Run() = %v", err)
	}
	if err := server.Close(); err != nil {
		t.Fatal(err)
	}
	again := runSet(t, options)
	f, err = again.Get(t.Context(), "shop")
	if err != nil {
		t.Fatalf("Get() with the server gone = %v; want the snapshot", err)
	}
	if diff := cmp.Diff(want, logtest.Dump(f.State())); diff != "" || f.Status().Phase != follow.Stale {
		t.Errorf("with the server gone: %+v; -want +got:\n%s", f.Status(), diff)
	}
}

func waitPhase(t *testing.T, f *follow.Follower, want follow.Phase) {
	t.Helper()
	for timeout := time.After(20 * time.Second); ; {
		changed := f.Changed()
		if f.Status().Phase == want {
			return
		}
		select {
		case <-changed:
		case <-timeout:
			t.Fatalf("Status() = %+v; want %s", f.Status(), want)
		}
	}
}
