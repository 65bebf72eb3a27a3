package facts_test

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/sluice-flags/sluice/internal/bus"
	"github.com/sluice-flags/sluice/internal/bus/facts"
)

// office tells who works on which partition.
type office struct {
	t  *testing.T
	mu sync.Mutex
	at map[int][]string
}

// member runs a share under a name until the test ends or stop is called.
func (o *office) member(conn *bus.Conn, name string, partitions int) (stop func()) {
	o.t.Helper()
	s := facts.NewShare(conn, facts.ShareOptions{Partitions: partitions, Lease: time.Second})
	ctx, cancel := context.WithCancel(context.WithoutCancel(o.t.Context()))
	done := make(chan error, 1)
	go func() {
		done <- s.Run(ctx, func(ctx context.Context, partition int) {
			o.note(partition, func(who []string) []string { return append(who, name) })
			<-ctx.Done()
			o.note(partition, func(who []string) []string {
				return slices.DeleteFunc(who, func(w string) bool { return w == name })
			})
		})
	}()
	stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			o.t.Errorf("Run() of %s = %v", name, err)
		}
		if s.Held() != 0 {
			o.t.Errorf("Held() of %s = %d after Run", name, s.Held())
		}
	})
	o.t.Cleanup(stop)
	return stop
}

func (o *office) note(partition int, change func([]string) []string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.at[partition] = change(o.at[partition])
	if len(o.at[partition]) > 1 {
		o.t.Errorf("partition %d has %q at one time", partition, o.at[partition])
	}
}

// await waits until each name has as many partitions as wanted.
func (o *office) await(want map[string]int) {
	o.t.Helper()
	var got map[string]int
	for deadline := time.Now().Add(20 * time.Second); time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) {
		got = make(map[string]int)
		o.mu.Lock()
		for _, who := range o.at {
			for _, name := range who {
				got[name]++
			}
		}
		o.mu.Unlock()
		if fmt.Sprint(got) == fmt.Sprint(want) {
			return
		}
	}
	o.t.Fatalf("partitions are held by %v; want %v", got, want)
}

func TestPartitionsAreSharedOutAndEachHasOneHolder(t *testing.T) {
	b, conn := stream(t, bus.Limits{})
	o := &office{t: t, at: make(map[int][]string)}
	one := o.member(conn, "one", 6)
	o.await(map[string]int{"one": 6})
	o.member(b.connect(t), "two", 6)
	o.await(map[string]int{"one": 3, "two": 3})
	o.member(b.connect(t), "three", 6)
	o.await(map[string]int{"one": 2, "two": 2, "three": 2})
	one() // in order: the others have its partitions soon
	o.await(map[string]int{"two": 3, "three": 3})
}

func TestAHolderThatFallsSilentIsReplaced(t *testing.T) {
	b, conn := stream(t, bus.Limits{})
	o := &office{t: t, at: make(map[int][]string)}
	// A process that was killed leaves its lease behind, and its word that it is there.
	for _, subject := range []string{bus.LoaderSubject("dead"), bus.LeaseSubject(0)} {
		if _, err := conn.JetStream().Publish(t.Context(), subject, []byte("dead"), jetstream.WithMsgTTL(2*time.Second)); err != nil {
			t.Fatal(err)
		}
	}
	began := time.Now()
	o.member(b.connect(t), "heir", 1)
	o.await(map[string]int{"heir": 1})
	if waited := time.Since(began); waited < time.Second {
		t.Errorf("the partition was taken after %v, while its lease was good", waited)
	}
}

func TestAHolderThatLostItsLeaseStops(t *testing.T) {
	_, conn := stream(t, bus.Limits{})
	o := &office{t: t, at: make(map[int][]string)}
	o.member(conn, "one", 1)
	o.await(map[string]int{"one": 1})
	// It slept, and another came.
	if _, err := conn.JetStream().Publish(t.Context(), bus.LeaseSubject(0), []byte("another"), jetstream.WithMsgTTL(2*time.Second)); err != nil {
		t.Fatal(err)
	}
	o.await(map[string]int{})
	o.await(map[string]int{"one": 1}) // the other went
}

func TestLeasesOutliveTheLossOfTheirStream(t *testing.T) {
	_, conn := stream(t, bus.Limits{})
	o := &office{t: t, at: make(map[int][]string)}
	o.member(conn, "one", 2)
	o.await(map[string]int{"one": 2})
	if err := conn.JetStream().DeleteStream(t.Context(), bus.LoadersStream); err != nil { // as a server's end does
		t.Fatal(err)
	}
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		if lease, err := conn.Last(t.Context(), bus.LoadersStream, bus.LeaseSubject(1)); err == nil && len(lease.Data) > 0 {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("no lease was written to a new stream")
		}
	}
	o.await(map[string]int{"one": 2})
}
