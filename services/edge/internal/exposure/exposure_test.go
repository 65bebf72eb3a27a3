package exposure_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/sluice-flags/sluice/internal/bus/pseudonym"
	"github.com/sluice-flags/sluice/pkg/eval"
	"github.com/sluice-flags/sluice/pkg/events"
	"github.com/sluice-flags/sluice/pkg/flags"
	"github.com/sluice-flags/sluice/services/edge/internal/edgetest"
	"github.com/sluice-flags/sluice/services/edge/internal/exposure"
)

// shelf is a facts stream that can be full.
type shelf struct {
	mu   sync.Mutex
	full bool
	got  []events.Exposure
}

func (s *shelf) Publish(_ context.Context, b events.Batch) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.full {
		return 0, errors.New("full")
	}
	s.got = append(s.got, b.Exposures...)
	return 0, nil
}

func (s *shelf) set(full bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.full = full
}

// keys has one key for all projects but those it does not know.
type keys struct{}

func (keys) Of(_ context.Context, project string) (pseudonym.Key, error) {
	if project == "away" {
		return pseudonym.Key{}, errors.New("away")
	}
	return pseudonym.Key{1}, nil
}

func decision(p *edgetest.Project, unit, name string) exposure.Decision {
	return exposure.Decision{
		Project: "shop", State: p.State(), User: &eval.User{UserID: unit}, Kind: events.ExposureGate,
		Result: eval.Result{Name: name, Found: true, Pass: true, RuleID: "r", IDType: "userID", Reason: eval.ReasonRule, Sequence: 7},
	}
}

// record runs a recorder while f tells it things, in a bubble of its own time.
func record(t *testing.T, o exposure.Options, f func(r *exposure.Recorder, s *shelf)) []events.Exposure {
	t.Helper()
	s := &shelf{}
	r := exposure.New(s, keys{}, o)
	ctx, cancel := context.WithCancel(t.Context())
	var running sync.WaitGroup
	running.Go(func() {
		if err := r.Run(ctx); err != nil {
			t.Errorf("Run() = %v", err)
		}
	})
	f(r, s)
	synctest.Wait()
	cancel()
	running.Wait()
	return s.got
}

func TestEqualDecisionsAreOneFactAnHour(t *testing.T) {
	p := edgetest.New(t, "shop")
	synctest.Test(t, func(t *testing.T) {
		got := record(t, exposure.Options{}, func(r *exposure.Recorder, _ *shelf) {
			for range 10 {
				r.Record(decision(p, "u1", "a"))
				r.Record(decision(p, "u2", "a"))
				r.Record(decision(p, "u1", "b"))
			}
			synctest.Wait()
			time.Sleep(time.Hour) // of the bubble
			r.Record(decision(p, "u1", "a"))
		})
		counts := map[string]int{}
		ids := map[events.FactID]bool{}
		for _, e := range got {
			counts[e.UnitID+e.Name]++
			ids[e.ID] = true
		}
		if diff := cmp.Diff(map[string]int{"u1a": 2, "u2a": 1, "u1b": 1}, counts); diff != "" || len(ids) != 4 {
			t.Errorf("facts, %d ids (-want +got):\n%s", len(ids), diff)
		}
	})
}

func TestTwoEdgesGiveOneDecisionTheSameID(t *testing.T) {
	p := edgetest.New(t, "shop")
	synctest.Test(t, func(t *testing.T) {
		one := record(t, exposure.Options{}, func(r *exposure.Recorder, _ *shelf) { r.Record(decision(p, "u1", "a")) })
		time.Sleep(time.Minute) // of the bubble
		two := record(t, exposure.Options{}, func(r *exposure.Recorder, _ *shelf) { r.Record(decision(p, "u1", "a")) })
		if len(one) != 1 || len(two) != 1 || one[0].ID != two[0].ID || one[0].Time == two[0].Time {
			t.Errorf("facts %+v and %+v, want the same id at two times", one, two)
		}
	})
}

func TestADecisionThatCouldNotBeStoredIsTriedAgainNextTime(t *testing.T) {
	p := edgetest.New(t, "shop")
	synctest.Test(t, func(t *testing.T) {
		reg := prometheus.NewRegistry()
		got := record(t, exposure.Options{Registerer: reg}, func(r *exposure.Recorder, s *shelf) {
			s.set(true)
			r.Record(decision(p, "u1", "a"))
			synctest.Wait()
			s.set(false)
			r.Record(decision(p, "u1", "a"))
		})
		if len(got) != 1 {
			t.Errorf("%d facts, want the second attempt's", len(got))
		}
		if dropped := counter(t, reg, "edge_exposures_dropped_total"); dropped != 1 {
			t.Errorf("%v counted as dropped, want 1", dropped)
		}
	})
}

// ledger is the claims of a fleet.
type ledger map[events.FactID]bool

func (l ledger) Take(_ context.Context, ids []events.FactID) (mine []bool, giveBack func(context.Context)) {
	mine = make([]bool, len(ids))
	for i, id := range ids {
		mine[i], l[id] = !l[id], true
	}
	return mine, func(ctx context.Context) {
		for i, id := range ids {
			if mine[i] && ctx.Err() == nil {
				delete(l, id)
			}
		}
	}
}

func TestWhatAnotherEdgeHasClaimedIsNotRecorded(t *testing.T) {
	p := edgetest.New(t, "shop")
	synctest.Test(t, func(t *testing.T) {
		l := ledger{}
		record(t, exposure.Options{Claims: l}, func(r *exposure.Recorder, _ *shelf) {
			r.Record(decision(p, "u1", "a"))
			r.Record(decision(p, "u2", "a"))
		})
		reg := prometheus.NewRegistry()
		got := record(t, exposure.Options{Claims: l, Registerer: reg}, func(r *exposure.Recorder, s *shelf) {
			r.Record(decision(p, "u1", "a"))
			r.Record(decision(p, "u3", "a"))
			synctest.Wait()
			s.set(true)
			r.Record(decision(p, "u4", "a")) // claimed, and given back
			synctest.Wait()
			s.set(false)
			r.Record(decision(p, "u4", "a"))
		})
		var units []string
		for _, e := range got {
			units = append(units, e.UnitID)
		}
		if want := []string{"u3", "u4"}; !slices.Equal(units, want) {
			t.Errorf("another edge recorded %q, want %q", units, want)
		}
		if n := counter(t, reg, "edge_exposures_recorded_total"); n != 2 {
			t.Errorf("%v counted as recorded, want 2", n)
		}
	})
}

// A pit is a facts stream that never answers.
type pit struct{}

func (pit) Publish(ctx context.Context, _ events.Batch) (int, error) {
	<-ctx.Done()
	return 0, ctx.Err()
}

func TestAStreamThatDoesNotAnswerHoldsUpTheEndOnceAndKeepsNoClaim(t *testing.T) {
	p := edgetest.New(t, "shop")
	synctest.Test(t, func(t *testing.T) {
		l := ledger{}
		r := exposure.New(pit{}, keys{}, exposure.Options{Claims: l, Timeout: 8 * time.Second})
		for i := range 5 {
			d := decision(p, "u1", "a")
			d.Project = fmt.Sprintf("shop%d", i)
			r.Record(d)
		}
		ctx, cancel := context.WithCancel(t.Context())
		var running sync.WaitGroup
		running.Go(func() { _ = r.Run(ctx) })
		synctest.Wait() // the batch is under way
		begun := time.Now()
		cancel()
		running.Wait()
		if took := time.Since(begun); took > 8*time.Second { // of the bubble
			t.Errorf("with 5 projects Run ends after %v; want what one batch may take, 8 s", took)
		}
		if len(l) != 0 {
			t.Errorf("%d claims of what was not stored are left; want them given back", len(l))
		}
	})
}

func TestRecordingNeverWaits(t *testing.T) {
	p := edgetest.New(t, "shop")
	reg := prometheus.NewRegistry()
	r := exposure.New(&shelf{}, keys{}, exposure.Options{Queue: 3, Registerer: reg}) // and nobody runs it
	for i := range 10 {
		r.Record(decision(p, fmt.Sprint(i), "a"))
	}
	if dropped := counter(t, reg, "edge_exposures_dropped_total"); dropped != 7 {
		t.Errorf("%v of 10 decisions dropped with room for 3, want 7", dropped)
	}
}

func counter(t *testing.T, reg *prometheus.Registry, name string) float64 {
	t.Helper()
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() == name {
			return f.Metric[0].GetCounter().GetValue()
		}
	}
	t.Fatalf("no metric %s", name)
	return 0
}

func TestWhatAFactSays(t *testing.T) {
	p := edgetest.New(t, "shop")
	p.Put(t, &flags.Environment{Name: "staging"})
	p.Put(t, &flags.Environment{Name: "development"})
	p.Put(t, &flags.Experiment{
		Name: "price", Groups: []flags.Group{
			{ID: "low", Name: "low", Share: 50, Parameters: json.RawMessage(`{}`)},
			{ID: "high", Name: "high", Share: 50, Parameters: json.RawMessage(`{}`)},
		},
	})
	key := func(environments ...string) *flags.Key { return &flags.Key{Environments: environments} }
	result := func(name, rule, group string) eval.Result {
		return eval.Result{Name: name, Found: true, RuleID: rule, GroupName: group, IDType: "userID", Reason: eval.ReasonRule, Sequence: 9}
	}
	layer := result("home", "high", "high")
	layer.AllocatedExperiment = "price"
	off := result("gate", "default", "")
	device := result("gate", "r", "")
	device.IDType = "stableID"
	unknown := result("gone", "", "")
	unknown.Found = false
	u := &eval.User{UserID: "u1", CustomIDs: map[string]string{"stableID": "s1"}}
	tests := []struct {
		name string
		d    exposure.Decision
		want events.Exposure // none if Kind is empty
	}{
		{"a gate that fails", exposure.Decision{Kind: events.ExposureGate, Result: off, User: u, Key: key("staging")},
			events.Exposure{Environment: "staging", Kind: "gate", Name: "gate", RuleID: "default", Group: events.NoGroup, UnitType: "userID", UnitID: "u1", Value: "false"}},
		{"a gate that somebody was let through", exposure.Decision{Kind: events.ExposureGate, Result: result("gate", "gate_1:override", ""), User: u, Key: key("production")},
			events.Exposure{Environment: "production", Kind: "gate", Name: "gate", RuleID: "gate_1:override", Group: events.NoGroup, Override: true, UnitType: "userID", UnitID: "u1", Value: "false"}},
		{"a gate on devices, several environments", exposure.Decision{Kind: events.ExposureGate, Result: device, User: u, Key: key("staging", "production")},
			events.Exposure{Environment: "production", Kind: "gate", Name: "gate", RuleID: "r", Group: events.NoGroup, UnitType: "stableID", UnitID: "s1", Value: "false"}},
		{"the user's own tier", exposure.Decision{Kind: events.ExposureGate, Result: off, Key: key(),
			User: &eval.User{UserID: "u1", StatsigEnvironment: map[string]string{"tier": "development"}}},
			events.Exposure{Environment: "development", Kind: "gate", Name: "gate", RuleID: "default", Group: events.NoGroup, UnitType: "userID", UnitID: "u1", Value: "false"}},
		{"a tier that the key is not for", exposure.Decision{Kind: events.ExposureGate, Result: off, Key: key("staging"),
			User: &eval.User{UserID: "u1", StatsigEnvironment: map[string]string{"tier": "Production"}}},
			events.Exposure{Environment: "staging", Kind: "gate", Name: "gate", RuleID: "default", Group: events.NoGroup, UnitType: "userID", UnitID: "u1", Value: "false"}},
		{"a config", exposure.Decision{Kind: events.ExposureConfig, Result: result("banner", "r1", ""), User: u, Key: key("production")},
			events.Exposure{Environment: "production", Kind: "config", Name: "banner", RuleID: "r1", Group: events.NoGroup, UnitType: "userID", UnitID: "u1"}},
		{"an experiment's second group", exposure.Decision{Kind: events.ExposureConfig, Result: result("price", "high", "high"), User: u, Key: key("production")},
			events.Exposure{Environment: "production", Kind: "experiment", Name: "price", RuleID: "high", Group: 1, UnitType: "userID", UnitID: "u1", Value: "high"}},
		{"an override", exposure.Decision{Kind: events.ExposureConfig, Result: result("price", "low:userID:id_override", "low"), User: u, Key: key("production")},
			events.Exposure{Environment: "production", Kind: "experiment", Name: "price", RuleID: "low:userID:id_override", Group: 0, Override: true, UnitType: "userID", UnitID: "u1", Value: "low"}},
		{"not in the experiment", exposure.Decision{Kind: events.ExposureConfig, Result: result("price", "layerAssignment", ""), User: u, Key: key("production")},
			events.Exposure{Environment: "production", Kind: "experiment", Name: "price", RuleID: "layerAssignment", Group: events.NoGroup, UnitType: "userID", UnitID: "u1"}},
		{"a layer that an experiment decides", exposure.Decision{Kind: events.ExposureLayer, Result: layer, User: u, Key: key("production")},
			events.Exposure{Environment: "production", Kind: "experiment", Name: "price", Layer: "home", RuleID: "high", Group: 1, UnitType: "userID", UnitID: "u1", Value: "high"}},
		{"a layer that nothing decides", exposure.Decision{Kind: events.ExposureLayer, Result: result("home", "default", ""), User: u, Key: key("production")},
			events.Exposure{Environment: "production", Kind: "layer", Name: "home", RuleID: "default", Group: events.NoGroup, UnitType: "userID", UnitID: "u1"}},
		{"an unknown name", exposure.Decision{Kind: events.ExposureGate, Result: unknown, User: u, Key: key()}, events.Exposure{}},
		{"nobody", exposure.Decision{Kind: events.ExposureGate, Result: off, User: &eval.User{}, Key: key()}, events.Exposure{}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			tt.d.Project, tt.d.State, tt.d.SDK, tt.d.SDKVersion = "shop", p.State(), "sdk", "1"
			synctest.Test(t, func(t *testing.T) {
				got := record(t, exposure.Options{}, func(r *exposure.Recorder, _ *shelf) { r.Record(tt.d) })
				if tt.want.Kind == "" {
					if len(got) != 0 {
						t.Errorf("recorded %+v, want nothing", got)
					}
					return
				}
				tt.want.Sequence, tt.want.SDKType, tt.want.SDKVersion, tt.want.Reason = 9, "sdk", "1", "Rule"
				if diff := cmp.Diff([]events.Exposure{tt.want}, got, cmpopts.IgnoreFields(events.Exposure{}, "ID", "Time", "Received")); diff != "" {
					t.Errorf("fact (-want +got):\n%s", diff)
				}
			})
		})
	}
}

func TestAProjectSaysWhatExposuresKeepOfAUser(t *testing.T) {
	p := edgetest.New(t, "shop")
	p.Put(t, &flags.Project{ID: "proj_shop", Name: "shop", KeepAttributes: []string{"plan", "country", "secret", "age"}, HashUnitIDs: true})
	user := &eval.User{UserID: "ada", Country: "NZ", Email: "ada@shop.example", Custom: map[string]any{"plan": "pro", "age": 36.0, "other": "x"},
		PrivateAttributes: map[string]any{"secret": "marker"}}
	synctest.Test(t, func(t *testing.T) {
		got := record(t, exposure.Options{}, func(r *exposure.Recorder, _ *shelf) {
			d := decision(p, "", "g")
			d.User = user
			r.Record(d)
			r.Record(d)
			d.Project = "away" // whose key cannot be read now
			r.Record(d)
		})
		want := []events.Pair{{Name: "user.age", Value: "36"}, {Name: "user.country", Value: "NZ"}, {Name: "user.plan", Value: "pro"}}
		if len(got) != 1 || got[0].UnitID != (pseudonym.Key{1}).Hash("ada") || !slices.Equal(got[0].Metadata, want) {
			t.Fatalf("exposures of a project that hashes ids are %+v; want one, of a hash, with %v", got, want)
		}
		if got[0].ID == identifyPlain(t, p) {
			t.Error("the exposure's id is made of the unit's plain id: who guesses the unit can prove it")
		}
	})
}

// identifyPlain is the id of the same exposure in a project that keeps ids.
func identifyPlain(t *testing.T, p *edgetest.Project) events.FactID {
	t.Helper()
	p.Put(t, &flags.Project{ID: "proj_shop", Name: "shop"})
	return record(t, exposure.Options{}, func(r *exposure.Recorder, _ *shelf) { r.Record(decision(p, "ada", "g")) })[0].ID
}
