package intake

import (
	"context"
	"errors"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/sluice-flags/sluice/internal/auth"
	"github.com/sluice-flags/sluice/internal/bus/facts"
	"github.com/sluice-flags/sluice/internal/web"
	"github.com/sluice-flags/sluice/pkg/events"
	"github.com/sluice-flags/sluice/pkg/flags"
)

// shelf is a store in memory, or a failure.
type shelf struct {
	mu  sync.Mutex
	got []events.Batch
	err error
}

func (s *shelf) Publish(_ context.Context, b events.Batch) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err != nil {
		return 0, s.err
	}
	s.got = append(s.got, b)
	return 0, nil
}

// changing hands out states one after the other, the last for ever.
func changing(states ...*flags.State) auth.States {
	var mu sync.Mutex
	return func(context.Context, string) (*flags.State, error) {
		mu.Lock()
		defer mu.Unlock()
		s := states[0]
		if len(states) > 1 {
			states = states[1:]
		}
		return s, nil
	}
}

func who(s *flags.State) auth.Principal {
	return auth.Principal{Project: s.Project(), State: s, Key: &flags.Key{Kind: flags.KeyServer}}
}

func TestAnExposureWaitsForTheDefinitionsItWasDecidedOn(t *testing.T) {
	old := shop()
	x := &flags.Experiment{ID: "exp_2", Name: "newer", UnitType: "userID", Groups: []flags.Group{{ID: "grp_x", Name: "Control"}}}
	unrelated := old.Put(flags.Entity{Ref: flags.Ref{Kind: flags.KindGate, ID: "gate_9"}, Name: "g9", Doc: &flags.Gate{ID: "gate_9", Name: "g9"}, Version: 1, Seq: old.Seq() + 1, Time: old.Time() + 1000})
	now := unrelated.Put(flags.Entity{Ref: x.Ref(), Name: x.Name, Doc: x, Version: 1, Seq: old.Seq() + 2, Time: old.Time() + 2000})

	store := new(shelf)
	in := New(store, changing(old, old, unrelated, unrelated, now), nil, prometheus.NewRegistry())
	entry := Entry{Kind: Config, Name: "newer", RuleID: "grp_x", User: ada, ConfigTime: now.Time()}
	if _, err := in.Accept(t.Context(), who(old), Delivery{Received: received, Entries: []Entry{entry}}); err != nil {
		t.Fatalf("Accept() = %v", err)
	}
	if e := store.got[0].Exposures[0]; e.Kind != events.ExposureExperiment || e.Group != 0 || e.Sequence != now.Seq() {
		t.Errorf("an exposure of newer definitions is stored as %+v, want group 0 at sequence %d", e, now.Seq())
	}
}

func TestNothingIsWaitedForThatCannotCome(t *testing.T) {
	s := shop()
	for name, entry := range map[string]Entry{
		"a name that is not in the state it was decided on": {Kind: Gate, Name: "ghost", ConfigTime: s.Time()},
		"a client that does not say":                        {Kind: Gate, Name: "ghost"},
		"a client whose clock is in the future":             {Kind: Gate, Name: "ghost", ConfigTime: received.Add(time.Hour).UnixMilli()},
	} {
		store := new(shelf)
		asked := func(context.Context, string) (*flags.State, error) {
			t.Errorf("%s: newer definitions were asked for", name)
			return s, nil
		}
		if _, err := New(store, asked, nil, nil).Accept(t.Context(), who(s), Delivery{Received: received, Entries: []Entry{entry}}); err != nil || len(store.got) != 1 {
			t.Errorf("%s: Accept() = %v with %d batches stored", name, err, len(store.got))
		}
	}
}

func TestEveryFailureOfTheStoreIsARetry(t *testing.T) {
	for _, err := range []error{facts.ErrBusy, facts.ErrAway, context.DeadlineExceeded, errors.New("unforeseen")} {
		_, got := New(&shelf{err: err}, changing(shop()), nil, nil).Accept(t.Context(), who(shop()), Delivery{Received: received, Entries: []Entry{{Name: "e"}}})
		problem, ok := errors.AsType[*web.Error](got)
		if !ok || web.StatusOf(got) != http.StatusServiceUnavailable || problem.RetryAfter <= 0 {
			t.Errorf("Accept() with a store that says %v = %v, want 503 with Retry-After", err, got)
		}
	}
}

func TestAKeyForPeopleSendsNoFacts(t *testing.T) {
	store := new(shelf)
	p := who(shop())
	p.Key = &flags.Key{Kind: flags.KeyConsole}
	if _, err := New(store, changing(shop()), nil, nil).Accept(t.Context(), p, Delivery{Received: received}); web.StatusOf(err) != http.StatusForbidden || len(store.got) != 0 {
		t.Errorf("Accept() with a console key = %v, want 403 and nothing stored", err)
	}
}
