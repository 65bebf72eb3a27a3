package results

import (
	"errors"
	"fmt"
	"math"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/sluice-flags/sluice/internal/warehouse"
	"github.com/sluice-flags/sluice/internal/warehouse/warehousetest"
	"github.com/sluice-flags/sluice/pkg/flags"
)

// The units of a step of a gate come from other rows than those of an experiment,
// and are measured by the same statements, in as many buckets.
func TestAStepOfAGateIsMeasuredInBucketsToo(t *testing.T) {
	db := warehousetest.Open(t)
	begun := time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC)
	project := warehousetest.Project()
	gate := &flags.Gate{ID: "gate_1", Name: "footer", Status: flags.StatusInProgress, UnitType: "userID",
		Rules: []flags.Rule{{ID: "some", Name: "Some", PassPercentage: 25, Step: 1, Conditions: []flags.Condition{{Type: "public"}}}}}
	state := flags.NewState(project)
	for i, d := range []flags.Document{
		&flags.Metric{ID: "met_1", Name: "revenue", Type: flags.MetricSum, Measure: flags.Measure{Event: "buy"}, Cap: &flags.Cap{Percentile: 0.9}},
		&flags.Metric{ID: "met_2", Name: "basket", Type: flags.MetricMean, Measure: flags.Measure{Event: "buy"}},
		&flags.Metric{ID: "met_3", Name: "median", Type: flags.MetricPercentile, Measure: flags.Measure{Event: "buy"}, Percentile: &flags.Percentile{Level: 0.5, Of: flags.PercentileOfEvents}},
		gate,
	} {
		at := flags.Position{LogID: project, Seq: uint64(i + 1), Time: begun.UnixMilli() + int64(i)}
		state = state.With(at, flags.Entity{Ref: d.Ref(), Name: d.DocName(), Doc: d, Version: 1, Seq: at.Seq, Time: at.Time})
	}
	gates := NewGates(New(func() *warehouse.DB { return db }), nil) // it never changed
	var exposures []warehousetest.ExposureRow
	var events []warehousetest.EventRow
	for i := range 120 {
		unit, at := fmt.Sprint("u", i), begun.Add(time.Duration(i+1)*time.Minute)
		exposures = append(exposures, warehousetest.ExposureRow{Project: project, Kind: warehouse.KindGate, Name: gate.Name, GroupIndex: warehouse.NoGroup, RuleID: gate.Rules[0].WireID(),
			Value: fmt.Sprint(i%4 == 0), Override: i%10 == 9, UnitType: "userID", UnitID: unit, Time: at, ReceivedAt: at, EventID: [16]byte{1, byte(i)}})
		for j := range i % 5 {
			events = append(events, warehousetest.EventRow{Project: project, Event: "buy", UnitType: "userID", UnitID: unit,
				Time: at.Add(time.Duration(j-1) * time.Minute), ReceivedAt: at, EventID: [16]byte{2, byte(i), byte(j)}, Value: new(float64(i + j))})
		}
	}
	err := errors.Join(gates.Mirror(t.Context(), state), warehousetest.InsertExposures(t.Context(), db, project, exposures), warehousetest.InsertEvents(t.Context(), db, project, events))
	if err != nil {
		t.Fatal(err)
	}
	entity, _ := state.Find(flags.KindGate, gate.Name)
	steps, err := gates.steps(t.Context(), state, entity)
	if err != nil || len(steps) != 1 {
		t.Fatalf("steps() = %v, %v; want one", steps, err)
	}
	study, doc := steps[0].experiment(state, entity)
	p := newPlan(state, study, doc, begun.AddDate(0, 0, 7))
	inBuckets := func(n int) rollup {
		t.Helper()
		r, err := rollIn(t.Context(), db, p, "elsewhere", n)
		if err != nil {
			t.Fatalf("rollIn() with %d buckets = %v", n, err)
		}
		return r
	}
	one, seven := inBuckets(1), inBuckets(7)
	counted := func(r rollup) map[string]uint64 {
		all := map[string]uint64{}
		for _, u := range r.units {
			all[fmt.Sprint(u.group, u.excluded)] += u.units
		}
		return all
	}
	want := map[string]uint64{"0": 78, "1": 30, "0override": 12}
	for n, r := range map[int]rollup{1: one, 7: seven} {
		if diff := cmp.Diff(want, counted(r)); diff != "" {
			t.Errorf("units in %d buckets (-want +got):\n%s", n, diff)
		}
	}
	if diff := cmp.Diff(one.moments, seven.moments, everyField, cmp.Comparer(func(a, b float64) bool {
		return math.Abs(a-b) <= 1e-12*max(math.Abs(a), math.Abs(b))
	})); diff != "" || len(one.moments) != 6 {
		t.Errorf("%d moments in seven buckets (-one +seven):\n%s", len(one.moments), diff)
	}
}
