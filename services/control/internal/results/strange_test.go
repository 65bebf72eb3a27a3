package results_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/sluice-flags/sluice/internal/warehouse/warehousetest"
	"github.com/sluice-flags/sluice/pkg/flags"
	"github.com/sluice-flags/sluice/pkg/stats"
	"github.com/sluice-flags/sluice/services/control/internal/results"
)

func TestTextThatSaysNoFiniteNumberIsSkipped(t *testing.T) {
	w := newWorld(t, func(e *flags.Experiment) {
		e.Metrics = []string{"spent", "spent in a day", "highest", "average", "many"}
	})
	spent := flags.Measure{Event: "buy", ValueFrom: "metadata.v"}
	many := flags.Measure{Event: "buy", Filters: []flags.MetricFilter{{Metadata: "v", Operator: flags.FilterAtLeast, Values: []string{"0"}}}}
	for i, m := range []*flags.Metric{
		{Name: "spent", Type: flags.MetricSum, Measure: spent},
		{Name: "spent in a day", Type: flags.MetricSum, Measure: spent, Cap: &flags.Cap{PerDay: 1000}},
		{Name: "highest", Type: flags.MetricMax, Measure: spent},
		{Name: "average", Type: flags.MetricMean, Measure: spent},
		{Name: "many", Type: flags.MetricEventCount, Measure: many},
	} {
		m.ID, m.Direction = fmt.Sprintf("met_%d", 30+i), flags.Increase
		w.put(m)
	}
	for i := range 20 {
		unit, group := fmt.Sprint("u", i), uint8(i%2)
		w.expose(unit, group, 10)
		w.buy(unit, 20, 1, func(r *warehousetest.EventRow) { r.Metadata["v"] = fmt.Sprint(100 * (1 + int(group))) })
	}
	for _, text := range []string{"NaN", "nan", "inf", "-Infinity"} {
		w.buy("u1", 21, 1, func(r *warehousetest.EventRow) { r.Metadata["v"] = text })
	}
	w.load()
	r := w.report()
	for name, want := range map[string]float64{"spent": 200, "spent in a day": 200, "highest": 200, "average": 200, "many": 1} {
		got := metric(t, r, name)[1]
		if got.N != 10 || got.Mean != stats.Defined(want) {
			t.Errorf("%s of group good = %d units, mean %+v; want 10 and %v", name, got.N, got.Mean, want)
		}
	}
}

func TestManySessionsOfOneUnitAreCountedInTheirTime(t *testing.T) {
	w := newWorld(t, func(e *flags.Experiment) { e.Metrics = []string{"path"} })
	buy := func(text string) flags.FunnelStep {
		return flags.FunnelStep{Event: "buy", Filters: []flags.MetricFilter{{Metadata: "step", Operator: flags.FilterAny, Values: []string{text}}}}
	}
	w.put(&flags.Metric{ID: "met_30", Name: "path", Type: flags.MetricFunnel, Direction: flags.Increase,
		Funnel: &flags.Funnel{SessionKey: "session", Steps: []flags.FunnelStep{buy("look"), buy("pay")}}})
	const sessions = 20_000
	for i := range 4 {
		w.expose(fmt.Sprint("u", i), uint8(i%2), 10)
	}
	for i := range sessions {
		for step, text := range []string{"look", "pay"}[:1+i%2] { // every second one pays
			w.buy("u1", 20+step, 1, func(r *warehousetest.EventRow) {
				r.Metadata["session"], r.Metadata["step"] = fmt.Sprint("s", i), text
			})
		}
	}
	w.load()
	got := metric(t, w.report(), "path")[1]
	if len(got.Steps) != 2 || got.Steps[0] != sessions || got.Steps[1] != sessions/2 {
		t.Errorf("steps of %d sessions of one unit = %v; want all, and half of them", sessions, got.Steps)
	}
}

func TestTheLastDayOfSeriesLeavesOutWhomTheReportLeavesOut(t *testing.T) {
	end := start.Add(50 * time.Hour)
	w := newWorld(t, func(e *flags.Experiment) {
		e.Metrics, e.Status, e.EndedAt = []string{"soon", "sometime"}, flags.ExperimentDecided, new(end)
	})
	w.put(&flags.Metric{ID: "met_30", Name: "soon", Type: flags.MetricSum, Direction: flags.Increase, WindowHours: 24, Measure: flags.Measure{Event: "buy"}})
	w.put(&flags.Metric{ID: "met_31", Name: "sometime", Type: flags.MetricSum, Direction: flags.Increase, Measure: flags.Measure{Event: "buy"}})
	for i := range 20 {
		minute := 10
		if i >= 12 { // an hour and a half before the end
			minute = 48*60 + 30
		}
		w.expose(fmt.Sprint("u", i), uint8(i%2), minute)
		w.buy(fmt.Sprint("u", i), minute+5, float64(i))
	}
	w.load()
	r := w.report()
	series, err := w.service.Timeseries(t.Context(), w.state, experiment, results.Options{})
	if err != nil {
		t.Fatal(err)
	}
	for i, s := range series.Metrics {
		for g := range 2 {
			want, got := metric(t, r, s.Metric)[g], s.Points[len(s.Points)-len(series.Groups)+g]
			if got.Cumulative.N != want.N || got.Cumulative.Mean != want.Mean {
				t.Errorf("%s, last day of %s = %d units, mean %+v; the report has %d and %+v", s.Metric, got.Group, got.Cumulative.N, got.Cumulative.Mean, want.N, want.Mean)
			}
			if n := []uint64{6, 10}[i]; want.N != n {
				t.Errorf("the report has %d units in %s of %s; want %d", want.N, got.Group, s.Metric, n)
			}
		}
	}
}
