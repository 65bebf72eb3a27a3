package follow_test

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"

	"github.com/sluice-flags/sluice/internal/follow"
	"github.com/sluice-flags/sluice/pkg/events"
	"github.com/sluice-flags/sluice/pkg/events/logtest"
	"github.com/sluice-flags/sluice/pkg/events/memlog"
	"github.com/sluice-flags/sluice/pkg/flags"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestTheStateFollowsTheLog(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := memlog.New("log")
		made := logtest.Append(t, log, logtest.Head(t, log), logtest.Command("c1", logtest.Gate("a", 1, 0)))
		changes := &recorder{}
		f := run(t, opener(log), follow.Options{OnChange: changes.record})
		wait(t, f, 1)
		synctest.Wait()
		if s := f.Status(); s.Phase != follow.Ready || s.Reason != "" {
			t.Errorf("Status() = %+v; want ready", s)
		}

		three := logtest.Append(t, log, made.Last, logtest.Command("c2", logtest.Gate("b", 1, 0), logtest.Gate("a", 2, made.First.Time), logtest.Gate("c", 1, 0)))
		wait(t, f, 4)
		state, head := f.View()
		if head != three.Last || state.Seq() != 4 || f.Head() != head || f.State() != state {
			t.Errorf("View() is at %s; want %s", head, three.Last)
		}
		b, err := log.Boot(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		want, err := events.Fold("shop", b)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(logtest.Dump(want), logtest.Dump(state)); diff != "" {
			t.Errorf("the followed state is not the booted one: -want +got:\n%s", diff)
		}
		wantCalls(t, changes, "→1 gate_a", "1→4 gate_b gate_a gate_c")
	})
}

func TestWaitEndsWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := run(t, opener(memlog.New("log")), follow.Options{})
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if err := f.Wait(ctx, 1); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Wait(1) on an empty log = %v; want the deadline", err)
		}
		if err := f.Wait(ctx, 0); err != nil {
			t.Errorf("Wait(0) on an empty log = %v; want nil: the empty state is a state", err)
		}
	})
}

func TestALogThatIsAwayLeavesTheLastStateMarkedStale(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := &breakable{Log: memlog.New("log")}
		made := logtest.Append(t, log, logtest.Head(t, log), logtest.Command("c1", logtest.Gate("a", 1, 0)))
		f := run(t, opener(log), follow.Options{})
		wait(t, f, 1)

		log.breakWith(fmt.Errorf("%w: nobody there", events.ErrUnavailable))
		time.Sleep(2 * time.Second)
		if s := f.Status(); s.Phase != follow.Stale || !strings.Contains(s.Reason, "nobody there") {
			t.Errorf("Status() with the log away = %+v; want stale, and why", s)
		}
		if f.State().Seq() != 1 {
			t.Errorf("State() with the log away is at %d; want 1", f.State().Seq())
		}
		time.Sleep(24 * time.Hour)
		if f.State().Seq() != 1 {
			t.Error("State() has expired; want the last good one for ever")
		}

		log.breakWith(nil)
		logtest.Append(t, log, made.Last, logtest.Command("c2", logtest.Gate("b", 1, 0)))
		within(t, 10*time.Second, func(ctx context.Context) error { return f.Wait(ctx, 2) })
		time.Sleep(2 * time.Second)
		if s := f.Status(); s.Phase != follow.Ready {
			t.Errorf("Status() with the log back = %+v; want ready", s)
		}
	})
}

func TestWhatIsWrongWithALogStopsTheStateAndIsCounted(t *testing.T) {
	for _, test := range []struct {
		name    string
		fault   error
		counter string
	}{
		{"a hole", events.ErrGap, "log_gap_total"},
		{"a damaged message", events.ErrCorrupt, "log_gap_total"},
		{"a second history", events.ErrFork, "log_fork_total"},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				log := &breakable{Log: memlog.New("log")}
				made := logtest.Append(t, log, logtest.Head(t, log), logtest.Command("c1", logtest.Gate("a", 1, 0)))
				reg := prometheus.NewRegistry()
				f := run(t, opener(log), follow.Options{Registerer: reg})
				wait(t, f, 1)

				log.breakWith(test.fault)
				logtest.Append(t, log, made.Last, logtest.Command("c2", logtest.Gate("b", 1, 0)))
				time.Sleep(3 * time.Second)
				if s := f.Status(); s.Phase != follow.Stale || f.State().Seq() != 1 {
					t.Errorf("state at %d, %+v; want 1, stale", f.State().Seq(), s)
				}
				if got := value(t, reg, test.counter); got == 0 {
					t.Errorf("%s = %v; want it counted", test.counter, got)
				}
				log.breakWith(nil)
				within(t, 10*time.Second, func(ctx context.Context) error { return f.Wait(ctx, 2) })
			})
		})
	}
}

func TestAStateThatIsNotTheHeadsIsStaleAndCounted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log, other := &breakable{Log: memlog.New("log")}, memlog.New("log")
		logtest.Append(t, log, logtest.Head(t, log), logtest.Command("c1", logtest.Gate("a", 1, 0)))
		logtest.Append(t, other, logtest.Head(t, other), logtest.Command("c1", logtest.Gate("b", 1, 0)))
		reg := prometheus.NewRegistry()
		f := run(t, opener(log), follow.Options{Registerer: reg})
		wait(t, f, 1)
		time.Sleep(3 * time.Second)
		if got := value(t, reg, "edge_hash_mismatch_total"); got != 0 {
			t.Errorf("edge_hash_mismatch_total = %v of the log's own state", got)
		}

		log.replace(other) // as long, and otherwise
		time.Sleep(3 * time.Second)
		if s := f.Status(); s.Phase != follow.Stale {
			t.Errorf("Status() = %+v; want stale", s)
		}
		if _, kept := f.State().ByName(flags.KindGate, "a"); !kept {
			t.Error("State() is no longer the last good one")
		}
		for _, name := range []string{"edge_hash_mismatch_total", "log_fork_total"} {
			if got := value(t, reg, name); got == 0 {
				t.Errorf("%s = %v; want it counted", name, got)
			}
		}
	})
}

func TestAnotherLogInItsPlaceIsReadAnew(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		first, second := memlog.New("first"), memlog.New("second")
		logtest.Append(t, first, logtest.Head(t, first), logtest.Command("c1", logtest.Gate("a", 1, 0), logtest.Gate("b", 1, 0)))
		logtest.Append(t, second, logtest.Head(t, second), logtest.Command("c1", logtest.Gate("b", 1, 0), logtest.Gate("c", 1, 0), logtest.Gate("d", 1, 0)))
		log := &breakable{Log: first}
		changes := &recorder{}
		reg := prometheus.NewRegistry()
		f := run(t, opener(log), follow.Options{OnChange: changes.record, Registerer: reg})
		wait(t, f, 2)

		log.replace(second)
		within(t, 10*time.Second, func(ctx context.Context) error { return f.Wait(ctx, 3) })
		if f.State().LogID() != "second" || f.Head().LogID != "second" {
			t.Errorf("State() is of log %q; want the second", f.State().LogID())
		}
		wantCalls(t, changes, "→2 gate_a gate_b", "2→3 gate_b gate_c gate_d gate_a")
		if got := value(t, reg, "log_epoch_total"); got != 1 {
			t.Errorf("log_epoch_total = %v; want 1", got)
		}
	})
}

func TestAnotherLogThatLacksMostIsNotBelieved(t *testing.T) {
	for name, kept := range map[string]int{"empty": 0, "a third gone": 19} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				log := &breakable{Log: gates(t, "first", 30)}
				f := run(t, opener(log), follow.Options{})
				wait(t, f, 30)
				log.replace(gates(t, "second", kept))
				time.Sleep(time.Minute)
				if s := f.Status(); f.State().LogID() != "first" || s.Phase != follow.Stale || !strings.Contains(s.Reason, "operator") {
					t.Errorf("state of log %q, %+v; want the first, stale", f.State().LogID(), s)
				}
			})
		})
	}
}

func TestAChangeThatCannotBeReadLeavesItsEntityAsItWas(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := memlog.New("log")
		good := logtest.Append(t, log, logtest.Head(t, log), logtest.Command("c1", logtest.Gate("a", 1, 0)))
		reg := prometheus.NewRegistry()
		f := run(t, opener(log), follow.Options{Registerer: reg})
		wait(t, f, 1)

		bad := logtest.Gate("a", 2, good.First.Time)
		bad.Document = []byte(`{"id":"gate_a","name":["not a name"]}`)
		alien := logtest.Gate("x", 1, 0)
		alien.Kind, alien.Entity = "webhook", "hook_x"
		logtest.Append(t, log, good.Last, logtest.Command("c2", bad, alien, logtest.Gate("b", 1, 0)))
		wait(t, f, 4)
		check := func(f *follow.Follower, what string) {
			t.Helper()
			a, ok := f.State().Get(flags.Ref{Kind: flags.KindGate, ID: "gate_a"})
			if !ok || a.Version != 1 {
				t.Errorf("%s: the gate is at version %d, found %v; want its last good version 1", what, a.Version, ok)
			}
			if _, ok := f.State().ByName(flags.KindGate, "b"); !ok {
				t.Errorf("%s: the gate beside it is not there", what)
			}
			if f.State().Seq() != 4 {
				t.Errorf("%s: state at %d; want 4", what, f.State().Seq())
			}
		}
		check(f, "followed")
		if got := value(t, reg, "event_quarantined_total"); got != 2 {
			t.Errorf("event_quarantined_total = %v; want 2", got)
		}
		booted := run(t, opener(log), follow.Options{})
		wait(t, booted, 4)
		check(booted, "booted")
	})
}

func TestASnapshotServesUntilTheLogIsReached(t *testing.T) {
	store := snapshots(t)
	synctest.Test(t, func(t *testing.T) {
		log := memlog.New("log")
		all := logtest.Fill(t, log, 20)
		ctx, stop := context.WithCancel(t.Context())
		f := follow.New("shop", opener(log), follow.Options{Snapshots: store})
		done := make(chan error)
		go func() { done <- f.Run(ctx) }()
		wait(t, f, uint64(len(all)))
		want := logtest.Dump(f.State())
		stop()
		if err := <-done; err != nil {
			t.Errorf("Run() = %v; want nil", err)
		}

		away := &breakable{Log: log}
		away.breakWith(events.ErrUnavailable)
		changes := &recorder{}
		again := run(t, opener(away), follow.Options{Snapshots: store, OnChange: changes.record})
		wait(t, again, uint64(len(all)))
		synctest.Wait() // the state is there before the log was tried
		if s := again.Status(); s.Phase != follow.Stale {
			t.Errorf("Status() = %+v; want stale", s)
		}
		if diff := cmp.Diff(want, logtest.Dump(again.State())); diff != "" {
			t.Errorf("the state from disk is not the one that was saved: -want +got:\n%s", diff)
		}
		away.breakWith(nil)
		more := logtest.Append(t, log, all[len(all)-1].Head(), logtest.Command("more", logtest.Gate("more", 1, 0)))
		within(t, 10*time.Second, func(ctx context.Context) error { return again.Wait(ctx, more.Last.Seq) })
		if got := len(changes.calls()); got != 2 {
			t.Errorf("OnChange was called %d times; want twice: the snapshot, and the commit behind it", got)
		}
	})
}

func TestADamagedSnapshotFallsBackToTheOneBefore(t *testing.T) {
	dir := t.TempDir()
	store, err := follow.NewSnapshotStore(dir)
	if err != nil {
		t.Fatal(err)
	}
	save := func(n int) (*flags.State, events.Head) {
		b, err := gates(t, "log", n).Boot(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		s, err := events.Fold("shop", b)
		if err != nil {
			t.Fatal(err)
		}
		if err := store.Save(s, b.Head); err != nil {
			t.Fatal(err)
		}
		return s, b.Head
	}
	_, older := save(3)
	save(4)
	path := filepath.Join(dir, "shop.snapshot")
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for cut := 0; cut < len(whole); cut += len(whole)/20 + 1 {
		save(3)
		save(4)
		if err := os.WriteFile(path, whole[:cut], 0o600); err != nil {
			t.Fatal(err)
		}
		state, head, damaged, err := store.Load("shop")
		if err != nil || damaged != 1 || head.Seq != older.Seq || state.Len() != 3 {
			t.Errorf("cut at %d: Load() = %s, %d damaged, %v; want the one before, at 3", cut, head, damaged, err)
		}
	}
}

func TestASnapshotOfAnotherProjectIsRefused(t *testing.T) {
	dir := t.TempDir()
	store, err := follow.NewSnapshotStore(dir)
	if err != nil {
		t.Fatal(err)
	}
	if err := store.Save(flags.NewState("shop").With(flags.Position{LogID: "log", Seq: 1}), events.Head{LogID: "log", Seq: 1}); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(filepath.Join(dir, "shop.snapshot"), filepath.Join(dir, "other.snapshot")); err != nil {
		t.Fatal(err)
	}
	if _, head, _, err := store.Load("other"); err == nil {
		t.Errorf("Load(other) of the shop's file = %s; want an error", head)
	}
}

func TestADiskThatFailsCostsOnlyTheSnapshot(t *testing.T) {
	dir := t.TempDir()
	store, err := follow.NewSnapshotStore(filepath.Join(dir, "snapshots"))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.RemoveAll(filepath.Join(dir, "snapshots")); err != nil {
		t.Fatal(err)
	}
	synctest.Test(t, func(t *testing.T) {
		reg := prometheus.NewRegistry()
		f := run(t, opener(gates(t, "log", 3)), follow.Options{Snapshots: store, Registerer: reg})
		wait(t, f, 3)
		time.Sleep(5 * time.Second)
		if s := f.Status(); s.Phase != follow.Ready {
			t.Errorf("Status() = %+v; want ready", s)
		}
		if got := value(t, reg, "snapshot_write_failed_total"); got == 0 {
			t.Error("snapshot_write_failed_total = 0; want it counted")
		}
		time.Sleep(time.Minute)
		if got := value(t, reg, "snapshot_age_seconds"); got < 60 {
			t.Errorf("snapshot_age_seconds = %v a minute after the disk failed", got)
		}
	})
}

func FuzzSnapshot(f *testing.F) {
	dir := f.TempDir()
	store, err := follow.NewSnapshotStore(dir)
	if err != nil {
		f.Fatal(err)
	}
	if err := store.Save(flags.NewState("shop").With(flags.Position{LogID: "log", Seq: 1}), events.Head{LogID: "log", Seq: 1}); err != nil {
		f.Fatal(err)
	}
	whole, err := os.ReadFile(filepath.Join(dir, "shop.snapshot"))
	if err != nil {
		f.Fatal(err)
	}
	const header = 52
	f.Add(whole[header:])
	f.Add([]byte{})
	f.Add([]byte("not compressed"))
	f.Fuzz(func(t *testing.T, payload []byte) {
		state, head, err := follow.DecodeSnapshot("shop", payload)
		if err == nil && (state.Project() != "shop" || head.LogID == "") {
			t.Errorf("DecodeSnapshot() = %s of %q; want an error", head, state.Project())
		}
	})
}

// ---- helpers ----

func opener(l events.Log) follow.Open {
	return func(context.Context) (events.Log, error) {
		if b, ok := l.(*breakable); ok {
			return b, b.fault()
		}
		return l, nil
	}
}

// run runs a follower until the test ends.
func run(t *testing.T, open follow.Open, o follow.Options) *follow.Follower {
	t.Helper()
	f := follow.New("shop", open, o)
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() {
		if err := f.Run(ctx); err != nil {
			t.Errorf("Run() = %v; want nil", err)
		}
	})
	t.Cleanup(func() { cancel(); wg.Wait() })
	return f
}

func wait(t *testing.T, f *follow.Follower, seq uint64) {
	t.Helper()
	within(t, 10*time.Second, func(ctx context.Context) error { return f.Wait(ctx, seq) })
}

func within(t *testing.T, d time.Duration, do func(context.Context) error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), d)
	defer cancel()
	if err := do(ctx); err != nil {
		t.Fatal(err)
	}
}

func gates(t *testing.T, logID string, n int) *memlog.Log {
	t.Helper()
	log := memlog.New(logID)
	for i := range n {
		logtest.Append(t, log, logtest.Head(t, log), logtest.Command(fmt.Sprintf("c%d", i), logtest.Gate(fmt.Sprint(i), 1, 0)))
	}
	return log
}

func snapshots(t *testing.T) *follow.SnapshotStore {
	t.Helper()
	s, err := follow.NewSnapshotStore(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func value(t *testing.T, reg *prometheus.Registry, name string) float64 {
	t.Helper()
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() == name {
			m := f.GetMetric()[0]
			return m.GetCounter().GetValue() + m.GetGauge().GetValue()
		}
	}
	t.Fatalf("no metric %s", name)
	return 0
}

// recorder notes the calls of OnChange as "before→after ids…".
type recorder struct {
	mu    sync.Mutex
	lines []string
}

func (r *recorder) record(before, after *flags.State, changed []flags.Ref) {
	r.mu.Lock()
	defer r.mu.Unlock()
	line := ""
	if before != nil {
		line = fmt.Sprint(before.Seq())
	}
	line += fmt.Sprintf("→%d", after.Seq())
	for _, ref := range changed {
		line += " " + ref.ID
	}
	r.lines = append(r.lines, line)
}

func (r *recorder) calls() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.lines
}

func wantCalls(t *testing.T, r *recorder, want ...string) {
	t.Helper()
	if diff := cmp.Diff(want, r.calls()); diff != "" {
		t.Errorf("calls of OnChange: -want +got:\n%s", diff)
	}
}

// breakable is a log that can be away, damaged, or replaced by another.
type breakable struct {
	events.Log
	mu    sync.Mutex
	err   error
	ended chan struct{}
}

func (b *breakable) breakWith(err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.err = err
	if b.ended != nil {
		close(b.ended)
	}
	b.ended = nil
}

func (b *breakable) replace(l events.Log) {
	b.mu.Lock()
	b.Log = l
	b.mu.Unlock()
}

func (b *breakable) fault() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.err
}

func (b *breakable) now() events.Log {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.Log
}

func (b *breakable) Head(ctx context.Context) (events.Head, error) {
	if err := b.fault(); errors.Is(err, events.ErrUnavailable) {
		return events.Head{}, err
	}
	return b.now().Head(ctx)
}

func (b *breakable) Boot(ctx context.Context) (events.Boot, error) {
	if err := b.fault(); err != nil {
		return events.Boot{}, err
	}
	return b.now().Boot(ctx)
}

func (b *breakable) Follow(ctx context.Context, after events.Head) iter.Seq2[events.Envelope, error] {
	return func(yield func(events.Envelope, error) bool) {
		ctx, cancel := context.WithCancel(ctx)
		defer cancel()
		b.mu.Lock()
		if b.ended == nil {
			b.ended = make(chan struct{})
		}
		ended := b.ended
		b.mu.Unlock()
		go func() {
			select {
			case <-ctx.Done():
			case <-ended:
				cancel()
			}
		}()
		if err := b.fault(); err != nil {
			yield(events.Envelope{}, err)
			return
		}
		for e, err := range b.now().Follow(ctx, after) {
			if fault := b.fault(); fault != nil {
				yield(events.Envelope{}, fault)
				return
			}
			if !yield(e, err) {
				return
			}
		}
	}
}
