package natslog_test

import (
	"errors"
	"fmt"
	"net/url"
	"strconv"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"

	"github.com/sluice-flags/sluice/internal/bus"
	"github.com/sluice-flags/sluice/internal/bus/natslog"
	"github.com/sluice-flags/sluice/internal/freeport"
	"github.com/sluice-flags/sluice/pkg/events"
	"github.com/sluice-flags/sluice/pkg/events/logtest"
)

// A cluster answers a repeat of what it has stored with "duplicate", one server
// with "wrong last sequence": both must end as one receipt.
func TestALostAnswerOfAClusterIsResolved(t *testing.T) {
	servers := cluster(t, 3)
	cut := &cutter{InProcessConnProvider: servers[0]}
	conn, err := bus.Connect(t.Context(), bus.Config{InProcess: cut})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	limits := bus.Limits{Replicas: 3, FlagsBytes: 16 << 20}
	deadline := time.Now().Add(30 * time.Second)
	for { // the cluster takes a moment to choose its leader
		if _, err = bus.EnsureProject(t.Context(), conn, project, limits); err == nil {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("EnsureProject in a cluster of three: %v", err)
		}
	}
	log := open(t, conn, project, natslog.Options{HeadDir: t.TempDir()})
	at := logtest.Append(t, log, logtest.Head(t, log), logtest.Command("c0", logtest.Gate("a", 1, 0))).Last

	for i, test := range []struct {
		name   string
		marker string
		send   bool
		drafts []events.Draft
	}{
		{"answer lost", "HPUB flags.", true, []events.Draft{logtest.Gate("b", 1, 0)}},
		{"request lost", "HPUB flags.", false, []events.Draft{logtest.Gate("c", 1, 0)}},
		{"answer to a changeset lost", "Nats-Batch-Commit", true, []events.Draft{logtest.Gate("d", 1, 0), logtest.Gate("e", 1, 0)}},
	} {
		cut.arm(test.marker, test.send, false)
		r, err := log.Append(t.Context(), at, logtest.Command(fmt.Sprintf("c%d", i+1), test.drafts...))
		if err != nil || r.Replayed || r.First.Seq != at.Seq+1 || len(r.Envelopes) != len(test.drafts) {
			t.Fatalf("%s: Append() = %s to %s, replayed %v, %v; want a receipt behind %s", test.name, r.First, r.Last, r.Replayed, err, at)
		}
		at = r.Last
	}
	if _, err := log.Append(t.Context(), events.Head{LogID: at.LogID}, logtest.Command("late", logtest.Gate("z", 1, 0))); !errors.Is(err, events.ErrConflict) {
		t.Errorf("Append on an old head = %v; want ErrConflict", err)
	}
	all := logtest.Collect(t, log.Read(t.Context(), 1))
	if len(all) != 5 || all[4].Head() != at {
		t.Errorf("the log has %d envelopes; want 5, each once", len(all))
	}
	b, err := log.Boot(t.Context())
	if err != nil || b.Head != at || len(b.Entities) != 5 {
		t.Errorf("Boot() = %d entities at %s, %v; want 5 at %s", len(b.Entities), b.Head, err, at)
	}
}

// cluster runs n servers that know one another.
func cluster(t *testing.T, n int) []*server.Server {
	t.Helper()
	var routes []*url.URL
	for range n {
		routes = append(routes, &url.URL{Scheme: "nats", Host: freeport.For(t)})
	}
	servers := make([]*server.Server, n)
	for i := range n {
		port, err := strconv.Atoi(routes[i].Port())
		if err != nil {
			t.Fatal(err)
		}
		s, err := server.NewServer(&server.Options{
			ServerName: fmt.Sprintf("n%d", i),
			Host:       "127.0.0.1", Port: server.RANDOM_PORT,
			Cluster:   server.ClusterOpts{Name: "c", Host: "127.0.0.1", Port: port},
			Routes:    routes,
			JetStream: true, StoreDir: t.TempDir(), JetStreamMaxStore: 1 << 30,
			SyncAlways: true, SyncInterval: time.Minute,
			NoLog: true, NoSigs: true,
		})
		if err != nil {
			t.Fatal(err)
		}
		s.Start()
		t.Cleanup(func() { s.Shutdown(); s.WaitForShutdown() })
		servers[i] = s
	}
	for _, s := range servers {
		if !s.ReadyForConnections(20 * time.Second) {
			t.Fatal("a server of the cluster is not ready")
		}
	}
	return servers
}
