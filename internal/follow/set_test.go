package follow_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/sluice-flags/sluice/internal/bus"
	"github.com/sluice-flags/sluice/internal/follow"
	"github.com/sluice-flags/sluice/pkg/events"
	"github.com/sluice-flags/sluice/pkg/events/logtest"
	"github.com/sluice-flags/sluice/pkg/events/memlog"
	"github.com/sluice-flags/sluice/pkg/flags"
)

// logs are the logs of some projects, and a count of who asked.
type logs struct {
	mu     sync.Mutex
	of     map[string]events.Log
	away   bool
	opened atomic.Int64
}

func (l *logs) open(_ context.Context, project string) (events.Log, error) {
	l.opened.Add(1)
	time.Sleep(time.Millisecond) // fake clock: long enough for others to ask too
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.away {
		return nil, fmt.Errorf("%w: nobody there", events.ErrUnavailable)
	}
	if log, ok := l.of[project]; ok {
		return log, nil
	}
	return nil, fmt.Errorf("%w: %s", bus.ErrUnknownProject, project)
}

func (l *logs) set(project string, log events.Log) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.of[project] = log
}

func runSet(t *testing.T, o follow.SetOptions) *follow.Set {
	t.Helper()
	s := follow.NewSet(o)
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() {
		if err := s.Run(ctx); err != nil {
			t.Errorf("Run() = %v; want nil", err)
		}
	})
	t.Cleanup(func() { cancel(); wg.Wait() })
	return s
}

func TestAProjectIsFollowedOnceWhoeverAsks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := &logs{of: map[string]events.Log{"shop": gates(t, "log", 3), "zoo": gates(t, "log2", 1)}}
		var changes atomic.Int64
		s := runSet(t, follow.SetOptions{Open: l.open})
		s.Watch(func(project string, _, after *flags.State, _ []flags.Ref) {
			if after.Project() != project {
				t.Errorf("watcher called for %q with the state of %q", project, after.Project())
			}
			changes.Add(1)
		})
		var got [50]*follow.Follower
		var wg sync.WaitGroup
		for i := range got {
			wg.Go(func() {
				var err error
				if got[i], err = s.Get(t.Context(), "shop"); err != nil {
					t.Errorf("Get(shop) = %v", err)
				}
			})
		}
		wg.Wait()
		for _, f := range got {
			if f != got[0] || f.State().Len() != 3 {
				t.Fatalf("Get(shop) = %p with %d entities; want one follower with all 3", f, f.State().Len())
			}
		}
		if n := l.opened.Load(); n != 1 {
			t.Errorf("the log was opened %d times; want once", n)
		}
		if _, err := s.Get(t.Context(), "zoo"); err != nil {
			t.Errorf("Get(zoo) = %v", err)
		}
		var names []string
		for _, f := range s.All() {
			names = append(names, f.Project())
		}
		if diff := cmp.Diff([]string{"shop", "zoo"}, names); diff != "" {
			t.Errorf("All(): -want +got:\n%s", diff)
		}
		if n := changes.Load(); n != 2 {
			t.Errorf("the watcher was called %d times; want once per project", n)
		}
	})
}

func TestAnUnknownProjectIsAskedForOnceInAWhile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := &logs{of: map[string]events.Log{}}
		s := runSet(t, follow.SetOptions{Open: l.open})
		for range 100 {
			if f, err := s.Get(t.Context(), "shop"); f != nil || !errors.Is(err, bus.ErrUnknownProject) {
				t.Fatalf("Get() = %v, %v; want ErrUnknownProject", f, err)
			}
		}
		if n := l.opened.Load(); n != 1 {
			t.Errorf("100 requests asked the bus %d times; want once", n)
		}
		l.set("shop", gates(t, "log", 1))
		time.Sleep(6 * time.Second)
		if _, err := s.Get(t.Context(), "shop"); err != nil {
			t.Errorf("Get() of a project made since = %v", err)
		}
	})
}

func TestAProjectThatWasJustMadeIsThereAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := &logs{of: map[string]events.Log{}}
		s := runSet(t, follow.SetOptions{Open: l.open})
		if _, err := s.Get(t.Context(), "shop"); !errors.Is(err, bus.ErrUnknownProject) {
			t.Fatalf("Get() = %v; want ErrUnknownProject", err)
		}
		l.set("shop", gates(t, "log", 1))
		s.Expect("shop")
		if _, err := s.Get(t.Context(), "shop"); err != nil {
			t.Errorf("Get() after Expect() = %v", err)
		}
	})
}

func TestImpossibleProjectsReachNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := &logs{of: map[string]events.Log{}}
		s := runSet(t, follow.SetOptions{Open: l.open})
		for _, project := range []string{"", "a.b", "*", "../x", "Shop"} {
			if _, err := s.Get(t.Context(), project); !errors.Is(err, bus.ErrUnknownProject) {
				t.Errorf("Get(%q) = %v; want ErrUnknownProject", project, err)
			}
		}
		if n := l.opened.Load(); n != 0 {
			t.Errorf("the bus was asked %d times; want never", n)
		}
	})
}

func TestWithTheLogAwayProjectsOnDiskAreServed(t *testing.T) {
	store := snapshots(t)
	synctest.Test(t, func(t *testing.T) {
		b, err := gates(t, "log", 3).Boot(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		state, err := events.Fold("shop", b)
		if err != nil {
			t.Fatal(err)
		}
		if err := store.Save(state, b.Head); err != nil {
			t.Fatal(err)
		}
		l := &logs{of: map[string]events.Log{}, away: true}
		s := runSet(t, follow.SetOptions{Open: l.open, Follower: follow.Options{Snapshots: store}})
		f, err := s.Get(t.Context(), "shop")
		if err != nil || f.State().Len() != 3 || f.Status().Phase != follow.Stale {
			t.Fatalf("Get(shop) = %v; want its snapshot, stale", err)
		}
		if _, err := s.Get(t.Context(), "zoo"); !errors.Is(err, events.ErrUnavailable) {
			t.Errorf("Get(zoo) = %v; want ErrUnavailable", err)
		}
	})
}

// A process that was killed has an older state on its disk than it acknowledged:
// whoever asks first after its restart must not be answered from that.
func TestASnapshotBehindTheLogIsNotHandedOutWhileTheLogAnswers(t *testing.T) {
	store := snapshots(t)
	synctest.Test(t, func(t *testing.T) {
		log := memlog.New("log")
		all := logtest.Fill(t, log, 20)
		b, err := log.AsOf(t.Context(), events.Point{Seq: 5})
		if err != nil {
			t.Fatal(err)
		}
		state, err := events.Fold("shop", b)
		if err != nil {
			t.Fatal(err)
		}
		if err := store.Save(state, b.Head); err != nil {
			t.Fatal(err)
		}
		l := &logs{of: map[string]events.Log{"shop": log}}
		s := runSet(t, follow.SetOptions{Open: l.open, Follower: follow.Options{Snapshots: store}})
		f, err := s.Get(t.Context(), "shop")
		if err != nil {
			t.Fatal(err)
		}
		if got, want := f.Head(), all[len(all)-1].Head(); got != want {
			t.Errorf("Get(shop) is at %s; want the log's head %s", got, want)
		}
	})
}

func TestASetThatHasEndedStartsNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := &logs{of: map[string]events.Log{"shop": memlog.New("log"), "zoo": memlog.New("log")}}
		s := follow.NewSet(follow.SetOptions{Open: l.open})
		if _, err := s.Get(t.Context(), "shop"); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if err := s.Run(ctx); err != nil {
			t.Errorf("Run() = %v", err)
		}
		if _, err := s.Get(t.Context(), "zoo"); !errors.Is(err, events.ErrUnavailable) {
			t.Errorf("Get() after the end = %v; want ErrUnavailable", err)
		}
		if f, err := s.Get(t.Context(), "shop"); err != nil || f.State() == nil {
			t.Errorf("Get() of what was followed = %v; want its last state", err)
		}
	})
}

func TestWhoAsksMayGoAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := &logs{of: map[string]events.Log{"shop": gates(t, "log", 1)}}
		s := runSet(t, follow.SetOptions{Open: l.open})
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if _, err := s.Get(ctx, "shop"); !errors.Is(err, context.Canceled) {
			t.Errorf("Get() of an ended context = %v; want its error", err)
		}
		if _, err := s.Get(t.Context(), "shop"); err != nil {
			t.Errorf("Get() of the next = %v", err)
		}
	})
}
