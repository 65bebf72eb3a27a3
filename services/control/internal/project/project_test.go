package project_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/sluice-flags/sluice/pkg/events"
	"github.com/sluice-flags/sluice/pkg/events/memlog"
	"github.com/sluice-flags/sluice/pkg/flags"
	"github.com/sluice-flags/sluice/services/control/internal/command"
	"github.com/sluice-flags/sluice/services/control/internal/project"
)

// blind follows nothing: what a project knows without a follower, it knows from
// its log.
type blind struct{}

func (blind) State() *flags.State                { return nil }
func (blind) Wait(context.Context, uint64) error { return errors.New("nothing is followed") }

func open(t *testing.T, log events.Log) *project.Project {
	t.Helper()
	p, err := projectsOver(func() events.Log { return log }).Get(t.Context(), "shop")
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func projectsOver(log func() events.Log) *project.Projects {
	return project.New(project.Source{
		Log: func(_ context.Context, id string) (events.Log, error) {
			if id != "shop" {
				return nil, project.ErrUnknown
			}
			return log(), nil
		},
		Follower: func(context.Context, string) (project.Follower, error) { return blind{}, nil },
	})
}

func gate(t *testing.T, name string) command.Create {
	t.Helper()
	d, err := flags.Decode(flags.KindGate, fmt.Appendf(nil, `{"name":%q,"rules":[]}`, name))
	if err != nil {
		t.Fatal(err)
	}
	return command.Create{Doc: d}
}

func do(t *testing.T, p *project.Project, id string, c command.Command) (project.Outcome, error) {
	t.Helper()
	return p.Do(t.Context(), project.Request{ID: id, Digest: "d-" + id, Repeat: true, Actor: events.Actor{Kind: "system", ID: "test"}, Command: c})
}

func TestARefusalIsTakenOnTheNewestState(t *testing.T) {
	log := memlog.New("log")
	here, there := open(t, log), open(t, log)
	if _, err := do(t, here, "1", gate(t, "a")); err != nil {
		t.Fatal(err)
	}
	// There, nothing is known of the gate yet; a change of it must find it.
	kill := command.Act{Kind: flags.KindGate, Name: "a", Action: "launch", Match: command.Match{Any: true}}
	if _, err := there.State(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := do(t, here, "2", gate(t, "b")); err != nil {
		t.Fatal(err)
	}
	kill.Name = "b"
	out, err := do(t, there, "3", kill)
	if err != nil {
		t.Fatalf("Do() of what another process made = %v, want it found", err)
	}
	if out.Receipt.Last.Seq != 3 || out.State.Seq() != 3 {
		t.Errorf("Do() landed at %d with the state at %d, want 3", out.Receipt.Last.Seq, out.State.Seq())
	}
	// And what somebody else has changed back is no noop.
	disable := command.Act{Kind: flags.KindGate, Name: "b", Action: "enable", Match: command.Match{Any: true}}
	if out, err := do(t, here, "4", disable); err != nil || out.Decision.Noop() {
		t.Errorf("Do() = %+v, %v; want a change: here it is not known yet that there was one", out, err)
	}
}

func TestWhatIsWrittenIsReadAtOnce(t *testing.T) {
	p := open(t, memlog.New("log"))
	for i := range 10 {
		out, err := do(t, p, fmt.Sprint(i), gate(t, fmt.Sprintf("g%d", i)))
		if err != nil {
			t.Fatal(err)
		}
		s, err := p.State(t.Context())
		if _, there := s.ByName(flags.KindGate, fmt.Sprintf("g%d", i)); err != nil || !there || s.Seq() != out.Receipt.Last.Seq {
			t.Errorf("after write %d the state is at %d, %v; want %d with the gate", i, s.Seq(), err, out.Receipt.Last.Seq)
		}
	}
}

func TestARequestHappensOnceWhoeverRepeatsIt(t *testing.T) {
	log := memlog.New("log")
	var wg sync.WaitGroup
	var replayed atomic.Int64
	for range 8 {
		p := open(t, log)
		c := gate(t, "a")
		wg.Go(func() {
			out, err := do(t, p, "once", c)
			if err != nil || len(out.Receipt.Envelopes) != 1 || out.Receipt.Last.Seq != 1 {
				t.Errorf("Do() = %+v, %v; want the receipt of the one commit", out.Receipt, err)
			}
			if out.Receipt.Replayed {
				replayed.Add(1)
			}
		})
	}
	wg.Wait()
	if head, err := log.Head(t.Context()); err != nil || head.Seq != 1 || replayed.Load() != 7 {
		t.Errorf("the log is at %d with %d replays, %v; want one commit and seven replays", head.Seq, replayed.Load(), err)
	}
	p := open(t, log)
	_, err := p.Do(t.Context(), project.Request{ID: "once", Digest: "another", Repeat: true, Command: gate(t, "b")})
	if !errors.Is(err, project.ErrReused) {
		t.Errorf("Do() of another request under the id = %v, want ErrReused", err)
	}
}

func TestTryingWritesNothing(t *testing.T) {
	log := memlog.New("log")
	p := open(t, log)
	d, s, err := p.Try(t.Context(), gate(t, "a"))
	if err != nil || d.Noop() || s.Seq() != 0 {
		t.Fatalf("Try() = %+v at %d, %v; want a decision on the empty state", d, s.Seq(), err)
	}
	if head, err := log.Head(t.Context()); err != nil || head.Seq != 0 {
		t.Errorf("after Try() the log is at %d, %v; want it empty", head.Seq, err)
	}
}

// rival is a log where somebody else is always first, n times.
type rival struct {
	events.Log
	left atomic.Int64
	t    *testing.T
}

func (r *rival) Append(ctx context.Context, at events.Head, c events.Command) (events.Receipt, error) {
	if n := r.left.Add(-1); n >= 0 {
		other := fmt.Sprintf("rival-%d", n)
		d, err := gate(r.t, other).Decide(flags.NewState("shop"), command.Env{NewID: flags.NewID})
		if err != nil {
			return events.Receipt{}, err
		}
		if _, err := r.Log.Append(ctx, at, events.Command{ID: other, Drafts: d.Drafts}); err != nil {
			return events.Receipt{}, err
		}
	}
	return r.Log.Append(ctx, at, c)
}

func TestALostRaceIsDecidedAgainAFewTimes(t *testing.T) {
	log := &rival{Log: memlog.New("log"), t: t}
	p := open(t, log)
	log.left.Store(5)
	out, err := do(t, p, "1", gate(t, "a"))
	if err != nil || out.Receipt.Last.Seq != 6 {
		t.Errorf("Do() against five rivals = %d, %v; want sequence 6", out.Receipt.Last.Seq, err)
	}
	log.left.Store(5)
	_, err = do(t, p, "2", gate(t, "rival-2"))
	if _, refused := errors.AsType[flags.Problems](err); !refused {
		t.Errorf("Do() whose name a rival takes meanwhile = %v, want it refused for that", err)
	}
	log.left.Store(1000)
	if _, err = do(t, p, "3", gate(t, "c")); !errors.Is(err, events.ErrConflict) {
		t.Errorf("Do() against a thousand rivals = %v, want ErrConflict", err)
	}
}

func TestAnotherLogInTheSamePlaceIsOpenedAnew(t *testing.T) {
	first, second := memlog.New("first"), memlog.New("second")
	logs := []events.Log{&replaced{Log: first}, second}
	opened := 0
	projects := projectsOver(func() events.Log { opened++; return logs[opened-1] })
	p, err := projects.Get(t.Context(), "shop")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := do(t, p, "1", gate(t, "a")); err != nil {
		t.Fatal(err)
	}
	logs[0].(*replaced).gone.Store(true)
	if _, err := do(t, p, "2", gate(t, "a")); !errors.Is(err, events.ErrEpoch) {
		t.Fatalf("Do() on a log that is gone = %v, want ErrEpoch", err)
	}
	if p, err = projects.Get(t.Context(), "shop"); err != nil {
		t.Fatal(err)
	}
	out, err := do(t, p, "3", gate(t, "a"))
	if err != nil || out.Receipt.Last.LogID != "second" || opened != 2 {
		t.Errorf("Do() = %+v, %v; want the second log written", out.Receipt.Last, err)
	}
	if _, err := projects.Get(t.Context(), "lab"); !errors.Is(err, project.ErrUnknown) {
		t.Errorf("Get(lab) = %v, want ErrUnknown", err)
	}
}

// replaced is a log that gives way to another one.
type replaced struct {
	events.Log
	gone atomic.Bool
}

func (r *replaced) Read(ctx context.Context, from uint64) iter.Seq2[events.Envelope, error] {
	if r.gone.Load() {
		return func(yield func(events.Envelope, error) bool) { yield(events.Envelope{}, events.ErrEpoch) }
	}
	return r.Log.Read(ctx, from)
}

func TestPastStatesAreThoseOfThen(t *testing.T) {
	p := open(t, memlog.New("log"))
	recorded := map[uint64]string{}
	text := func(s *flags.State) string {
		var all []json.RawMessage
		for e := range s.Entities() {
			all = append(all, e.Raw)
		}
		return fmt.Sprintf("%s", all)
	}
	for i := range 12 {
		out, err := do(t, p, fmt.Sprint(i), gate(t, fmt.Sprintf("g%d", i)))
		if err != nil {
			t.Fatal(err)
		}
		recorded[out.State.Seq()] = text(out.State)
	}
	for range 2 { // the second time from what was kept
		for seq, want := range recorded {
			s, err := p.AsOf(t.Context(), events.Point{Seq: seq})
			if err != nil || text(s) != want {
				t.Errorf("AsOf(%d) = %s, %v; want %s", seq, text(s), err, want)
			}
		}
	}
}
