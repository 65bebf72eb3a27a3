package results_test

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/sluice-flags/sluice/internal/warehouse/warehousetest"
	"github.com/sluice-flags/sluice/pkg/flags"
	"github.com/sluice-flags/sluice/pkg/stats"
	"github.com/sluice-flags/sluice/services/control/internal/results"
)

func TestImpactIsTheDifferenceOfADay(t *testing.T) {
	w := newWorld(t, func(e *flags.Experiment) {
		e.Status, e.EndedAt = flags.ExperimentDecided, new(at(4*24*60))
		e.Allocation, e.Metrics = 50, append(e.Metrics, "prices", "return", "days", "best")
	})
	for i, m := range []flags.Metric{
		{Name: "prices", Type: flags.MetricCountDistinct, Measure: flags.Measure{Event: "buy"}},
		{Name: "return", Type: flags.MetricRetention, Measure: flags.Measure{Event: "buy"}, Retention: &flags.Retention{Day: 0, Days: 1}},
		{Name: "days", Type: flags.MetricEventDAU, Measure: flags.Measure{Event: "buy"}},
		{Name: "best", Type: flags.MetricMax, Measure: flags.Measure{Event: "buy"}},
	} {
		m.ID = "met_more_" + string(rune('a'+i))
		w.put(&m)
	}
	for _, u := range []struct {
		unit   string
		group  uint8
		spends []float64
	}{
		{"a1", 0, []float64{10}}, {"a2", 0, nil}, {"a3", 0, []float64{20, 20}}, {"a4", 0, nil},
		{"b1", 1, []float64{30, 10}}, {"b2", 1, []float64{40}},
	} {
		w.expose(u.unit, u.group, 10)
		for _, v := range u.spends {
			w.buy(u.unit, 20, v)
		}
	}
	w.buy("stranger", 30, 100) // belongs to the whole, and to no group
	w.buy("a1", -30, 1000)     // before the start
	w.buy("a1", 5*24*60, 1000) // after the end
	w.load()
	w.load() // again, under another token: counts once

	ask := func(o results.Options) results.Report {
		r, err := w.service.Experiment(t.Context(), w.state, experiment, o)
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	plain, whole := ask(results.Options{}), ask(results.Options{Topline: true})
	none := stats.Optional{}
	for _, tc := range []struct {
		metric                 string
		code                   stats.Code
		perDay, total, launchs stats.Optional // of good: two units in four days, half of a quarter of everybody
	}{
		{"buyers", stats.OK, stats.Defined((1 - 0.5) * 2 / 4), stats.Defined(5. / 4), stats.Defined(2)},
		{"purchases", stats.OK, stats.Defined((1.5 - 0.75) * 2 / 4), stats.Defined(7. / 4), stats.Defined(3)},
		{"revenue", stats.OK, stats.Defined((40 - 12.5) * 2 / 4), stats.Defined(230. / 4), stats.Defined(110)},
		{"prices", stats.OK, stats.Defined((1.5 - 0.5) * 2 / 4), stats.Defined(6. / 4), stats.Defined(4)},
		{"return", stats.OK, stats.Defined((1 - 0.5) * 2 / 4), none, stats.Defined(2)},
		{"late", stats.OK, stats.Defined((1.5 - 0.75) * 2 / 4), stats.Defined(7. / 4), stats.Defined(3)},
		{"basket", stats.NotApplicable, none, none, none},
		{"days", stats.NotApplicable, none, none, none},
		{"best", stats.NotApplicable, none, none, none},
	} {
		g := metric(t, whole, tc.metric)
		i := g[1].Impact
		if g[0].Impact != nil {
			t.Errorf("%s: control has an impact, of %+v", tc.metric, g[0].Impact)
		}
		if i.Code != tc.code || !close(i.PerDay, tc.perDay, 1e-12) || !close(i.DailyTotal, tc.total, 1e-12) || !close(i.ProjectedPerDay, tc.launchs, 1e-12) || i.Days != 4 || i.TreatmentShare != 0.125 {
			t.Errorf("%s: impact %+v; want %s, %v a day of %v, %v after a launch; 4 days, share 0.125", tc.metric, *i, tc.code, tc.perDay, tc.total, tc.launchs)
		}
		if day, ok := tc.perDay.Get(); ok && !tc.total.IsZero() {
			want := day / (tc.total.Or(0) - day)
			if !close(i.Relative, stats.Defined(want), 1e-12) || !close(i.ProjectedRelative, stats.Defined(want/0.125), 1e-12) {
				t.Errorf("%s: relative impact %v, %v after a launch; want %v, %v", tc.metric, i.Relative, i.ProjectedRelative, want, want/0.125)
			}
		}
		if c := g[1].Unadjusted; tc.code == stats.OK && (!close(i.Interval.Lower, stats.Defined(c.Interval.Lower.Or(0)*2/4), 1e-12) || !close(i.Interval.Upper, stats.Defined(c.Interval.Upper.Or(0)*2/4), 1e-12)) {
			t.Errorf("%s: interval %v; want %v, scaled", tc.metric, i.Interval, c.Interval)
		}
		// Who does not ask for the whole gets the rest.
		if p := metric(t, plain, tc.metric)[1].Impact; !p.DailyTotal.IsZero() || !p.Relative.IsZero() || p.PerDay != i.PerDay || p.Interval != i.Interval || p.ProjectedPerDay != i.ProjectedPerDay {
			t.Errorf("%s: impact %+v unless the whole is asked for; want that of %+v without what is relative", tc.metric, *p, *i)
		}
		if empty := g[2].Impact; tc.code == stats.OK && empty.Code != stats.NoUnits {
			t.Errorf("%s: impact of a group without units is %s; want %s", tc.metric, empty.Code, stats.NoUnits)
		}
	}
	if last := whole.SQL[len(whole.SQL)-1]; len(whole.SQL) != len(plain.SQL)+1 || !strings.Contains(last, "e.event IN") {
		t.Errorf("the statements of the whole are %d, ending with\n%s", len(whole.SQL), last)
	}
	lines := table(t, whole)
	for i, name := range lines[0] {
		if name == "impact_per_day" && lines[3][0] == "buyers" && lines[2][i] != "0.25" {
			t.Errorf("the CSV says that the impact on buyers is %q a day; want 0.25", lines[2][i])
		}
	}
}

func TestImpactGoesByTheAllocationOfEachPeriod(t *testing.T) {
	w := newWorld(t, func(e *flags.Experiment) { e.Status, e.EndedAt = flags.ExperimentDecided, new(at(4*24*60)) })
	w.expose("a", 0, 10)
	w.expose("b", 1, 10)
	w.load()
	for _, tc := range []struct {
		name    string
		periods []results.Period
		want    float64
	}{
		{"never changed", nil, 0.25},
		{"one day at 20 %, three at 60 %", []results.Period{{From: start, Allocation: 20}, {From: start.Add(24 * time.Hour), Allocation: 60}}, 0.5 * 0.25},
		{"nobody at all", []results.Period{{From: start, Allocation: 0}, {From: start.Add(time.Hour), Allocation: 0}}, 0},
	} {
		r, err := w.service.Experiment(t.Context(), w.state, experiment, results.Options{Periods: tc.periods})
		if err != nil {
			t.Fatal(err)
		}
		i := metric(t, r, "buyers")[1].Impact
		if !close(stats.Defined(i.TreatmentShare), stats.Defined(tc.want), 1e-12) || i.PerDay.IsZero() || i.ProjectedPerDay.IsZero() != (tc.want == 0) {
			t.Errorf("%s: impact %+v; want a share of %v, and a projection unless that is 0", tc.name, *i, tc.want)
		}
	}
}

func TestThereIsNoImpactBeforeTheStart(t *testing.T) {
	for _, tc := range []struct {
		name  string
		start *time.Time
	}{{"not started", nil}, {"starts tomorrow", new(time.Now().Add(24 * time.Hour))}} {
		w := newWorld(t, func(e *flags.Experiment) { e.StartedAt = tc.start })
		w.expose("a", 0, 10)
		w.buy("a", 20, 5, func(r *warehousetest.EventRow) { r.Value = nil })
		w.load()
		r, err := w.service.Experiment(t.Context(), w.state, experiment, results.Options{Topline: true})
		if err != nil {
			t.Fatalf("%s: %v", tc.name, err)
		}
		for _, m := range r.Metrics {
			i := m.Groups[1].Impact
			if i.Code != stats.NotApplicable || !i.PerDay.IsZero() || !i.DailyTotal.IsZero() || !i.ProjectedPerDay.IsZero() {
				t.Errorf("%s: impact on %s is %+v; want NOT_APPLICABLE", tc.name, m.Name, *i)
			}
		}
		if raw, err := json.Marshal(r.Metrics); err != nil || strings.Contains(string(raw), "NaN") {
			t.Errorf("%s: the report is no JSON: %v", tc.name, err)
		}
		table(t, r)
	}
}
