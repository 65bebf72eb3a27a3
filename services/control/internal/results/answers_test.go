package results_test

import (
	"bytes"
	"encoding/csv"
	"encoding/json"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sluice-flags/sluice/internal/warehouse/warehousetest"
	"github.com/sluice-flags/sluice/pkg/flags"
	"github.com/sluice-flags/sluice/pkg/stats"
	"github.com/sluice-flags/sluice/services/control/internal/results"
)

// busy is a world of a few days with an effect: good units buy more often.
func busy(t *testing.T, more ...flags.Metric) *world {
	w := newWorld(t, func(e *flags.Experiment) {
		e.Status, e.EndedAt = flags.ExperimentDecided, new(at(5*24*60))
		for _, m := range more {
			e.Metrics = append(e.Metrics, m.Name)
		}
	})
	for i, m := range more {
		m.ID, m.Direction = fmt.Sprintf("met_%d", 20+i), flags.Increase
		w.put(&m)
	}
	rng := rand.New(rand.NewPCG(3, 4))
	for i := range 1600 {
		unit, group := fmt.Sprintf("u%d", i), []uint8{0, 0, 1, 2}[i%4]
		enter := rng.IntN(4 * 24 * 60)
		w.expose(unit, group, enter, func(r *warehousetest.ExposureRow) { r.SDKType, r.SDKVersion = []string{"go", "js"}[i/4%2], "1.0" })
		for range rng.IntN(3 + int(group)%2) {
			w.buy(unit, enter+rng.IntN(2*24*60), float64(10*(1+rng.IntN(9))))
		}
	}
	w.load()
	return w
}

func TestTheLastDayOfATimeseriesIsTheReport(t *testing.T) {
	path := []flags.FunnelStep{{Event: "buy"}, {Event: "buy", Filters: []flags.MetricFilter{{Operator: flags.FilterLess, Values: []string{"60"}}}}}
	w := busy(t,
		flags.Metric{Name: "prices", Type: flags.MetricCountDistinct, Measure: flags.Measure{Event: "buy"}},
		flags.Metric{Name: "baskets", Type: flags.MetricCountDistinct, Measure: flags.Measure{Event: "buy", ValueFrom: "metadata.items"}},
		flags.Metric{Name: "best", Type: flags.MetricMax, Measure: flags.Measure{Event: "buy"}},
		flags.Metric{Name: "next day", Type: flags.MetricRetention, Measure: flags.Measure{Event: "buy"}, Retention: &flags.Retention{Day: 1, Days: 1}},
		flags.Metric{Name: "two days", Type: flags.MetricRetention, Measure: flags.Measure{Event: "buy"}, Retention: &flags.Retention{Day: 0, Days: 2}},
		flags.Metric{Name: "days", Type: flags.MetricEventDAU, Measure: flags.Measure{Event: "buy"}},
		flags.Metric{Name: "days at first", Type: flags.MetricEventDAU, Measure: flags.Measure{Event: "buy"}, WindowHours: 30},
		flags.Metric{Name: "path", Type: flags.MetricFunnel, Funnel: &flags.Funnel{Steps: path}},
		flags.Metric{Name: "path from exposure", Type: flags.MetricFunnel, Funnel: &flags.Funnel{Steps: path, FromExposure: true}, WindowHours: 40},
		flags.Metric{Name: "path of a basket", Type: flags.MetricFunnel, Funnel: &flags.Funnel{Steps: path, SessionKey: "items"}},
		flags.Metric{Name: "median", Type: flags.MetricPercentile, Measure: flags.Measure{Event: "buy"}, Percentile: &flags.Percentile{Level: 0.6, Of: flags.PercentileOfUnits}},
		flags.Metric{Name: "high", Type: flags.MetricPercentile, Measure: flags.Measure{Event: "buy"}, Percentile: &flags.Percentile{Level: 0.9, Of: flags.PercentileOfEvents}},
		flags.Metric{Name: "prices a day", Type: flags.MetricRatio,
			Numerator:   &flags.MetricPart{Type: flags.MetricCountDistinct, Measure: flags.Measure{Event: "buy"}},
			Denominator: &flags.MetricPart{Type: flags.MetricEventDAU, Measure: flags.Measure{Event: "buy"}}},
		flags.Metric{Name: "spent by buyers", Type: flags.MetricRatio,
			Numerator:   &flags.MetricPart{Type: flags.MetricSum, Measure: flags.Measure{Event: "buy"}},
			Denominator: &flags.MetricPart{Type: flags.MetricEventUser, Measure: flags.Measure{Event: "buy"}}})
	r := w.report()
	series, err := w.service.Timeseries(t.Context(), w.state, experiment, results.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if series.Corrected {
		t.Error("the points say that they are corrected for their number")
	}
	last := series.Units[len(series.Units)-1].Total
	for i, g := range r.Groups {
		if last[i] != g.Units {
			t.Errorf("%s ends with %d units; the report has %d", g.Name, last[i], g.Units)
		}
	}
	for i, m := range r.Metrics {
		s := series.Metrics[i]
		if s.Metric != m.Name || s.Code != stats.OK || len(s.Points) != len(series.Units)*len(r.Groups) {
			t.Fatalf("series %q: code %s, %d points; want %q, OK, %d", s.Metric, s.Code, len(s.Points), m.Name, len(series.Units)*len(r.Groups))
		}
		for k, g := range m.Groups {
			p := s.Points[len(s.Points)-len(m.Groups)+k]
			if got := p.Cumulative; got.N != g.N || !close(got.Mean, g.Mean, 1e-9) {
				t.Errorf("%s/%s: the last day has mean %v of %d; the report %v of %d", m.Name, g.Group, got.Mean, got.N, g.Mean, g.N)
			} else if g.Line != nil && !close(got.Comparison.PValue, g.Unadjusted.PValue, 1e-6) {
				t.Errorf("%s/%s: the last day has p %v; the report %v", m.Name, g.Group, got.Comparison.PValue, g.Unadjusted.PValue)
			}
		}
		if m.Type == "event_count" || m.Type == "sum" { // days add up to the whole
			var sum float64
			for _, p := range s.Points {
				if p.Group == "control" {
					sum += p.Daily.Mean.Or(0) * float64(p.Daily.N)
				}
			}
			if total := m.Groups[0].Total.Or(-1); math.Abs(sum-total) > 1e-6*total {
				t.Errorf("%s: the days of control add up to %v; the report has %v", m.Name, sum, total)
			}
		}
	}
	lines := table(t, series)
	if want := 1 + 2*len(series.Units)*len(r.Groups)*len(r.Metrics); len(lines) != want {
		t.Errorf("the CSV has %d lines; want %d", len(lines), want)
	}
}

func TestADayOfATimeseriesIsTheReportAsOfItsEnd(t *testing.T) {
	path := []flags.FunnelStep{{Event: "buy"}, {Event: "buy"}}
	w := busy(t,
		flags.Metric{Name: "days", Type: flags.MetricEventDAU, Measure: flags.Measure{Event: "buy"}},
		flags.Metric{Name: "path", Type: flags.MetricFunnel, Funnel: &flags.Funnel{Steps: path}},
		flags.Metric{Name: "path from exposure", Type: flags.MetricFunnel, Funnel: &flags.Funnel{Steps: path, FromExposure: true}},
		flags.Metric{Name: "median", Type: flags.MetricPercentile, Measure: flags.Measure{Event: "buy"}, Percentile: &flags.Percentile{Level: 0.5, Of: flags.PercentileOfUnits}},
		flags.Metric{Name: "high", Type: flags.MetricPercentile, Measure: flags.Measure{Event: "buy"}, Percentile: &flags.Percentile{Level: 0.9, Of: flags.PercentileOfEvents}},
		flags.Metric{Name: "next day", Type: flags.MetricRetention, Measure: flags.Measure{Event: "buy"}, Retention: &flags.Retention{Day: 1, Days: 1}},
		flags.Metric{Name: "prices a day", Type: flags.MetricRatio,
			Numerator:   &flags.MetricPart{Type: flags.MetricCountDistinct, Measure: flags.Measure{Event: "buy"}},
			Denominator: &flags.MetricPart{Type: flags.MetricEventDAU, Measure: flags.Measure{Event: "buy"}}})
	series, err := w.service.Timeseries(t.Context(), w.state, experiment, results.Options{})
	if err != nil {
		t.Fatal(err)
	}
	entity, _ := w.state.Find(flags.KindExperiment, experiment)
	for day := 1; day <= 3; day += 2 {
		doc := *entity.Doc.(*flags.Experiment)
		doc.EndedAt = new(at((day + 1) * 24 * 60))
		w.put(&doc)
		r := w.report()
		for i, m := range r.Metrics {
			if m.Name == "late" {
				continue // after an end it is about fewer units
			}
			for k, g := range m.Groups {
				p := series.Metrics[i].Points[day*len(m.Groups)+k]
				if want := start.AddDate(0, 0, day).Format(time.DateOnly); p.Day != want || p.Group != g.Group {
					t.Fatalf("%s: point %d is of %s on %s; want %s on %s", m.Name, k, p.Group, p.Day, g.Group, want)
				}
				if got := p.Cumulative; got.N != g.N || !close(got.Mean, g.Mean, 1e-9) {
					t.Errorf("%s/%s: the series has %v of %d up to %s; the report as of then %v of %d", m.Name, g.Group, got.Mean, got.N, p.Day, g.Mean, g.N)
				} else if g.Line != nil && !close(got.Comparison.PValue, g.Unadjusted.PValue, 1e-6) {
					t.Errorf("%s/%s: the series has p %v on %s; the report as of then %v", m.Name, g.Group, got.Comparison.PValue, p.Day, g.Unadjusted.PValue)
				}
			}
		}
	}
}

func TestADayByItselfIsOfItsOwnEvents(t *testing.T) {
	w := newWorld(t, func(e *flags.Experiment) {
		e.Status, e.EndedAt, e.Metrics = flags.ExperimentDecided, new(at(3*24*60)), []string{"days", "path", "share", "median", "high", "per day"}
	})
	buy := flags.Measure{Event: "buy"}
	path := []flags.FunnelStep{{Event: "buy"}, {Event: "buy"}}
	for i, m := range []flags.Metric{
		{Name: "days", Type: flags.MetricEventDAU, Measure: buy},
		{Name: "path", Type: flags.MetricFunnel, Funnel: &flags.Funnel{Steps: path}},
		{Name: "share", Type: flags.MetricFunnel, Funnel: &flags.Funnel{Steps: path, FromExposure: true}},
		{Name: "median", Type: flags.MetricPercentile, Measure: buy, Percentile: &flags.Percentile{Level: 0.5, Of: flags.PercentileOfUnits}},
		{Name: "high", Type: flags.MetricPercentile, Measure: buy, Percentile: &flags.Percentile{Level: 0.5, Of: flags.PercentileOfEvents}},
		{Name: "per day", Type: flags.MetricRatio, Numerator: &flags.MetricPart{Type: flags.MetricSum, Measure: buy}, Denominator: &flags.MetricPart{Type: flags.MetricEventDAU, Measure: buy}},
	} {
		m.ID = fmt.Sprintf("met_%d", 30+i)
		w.put(&m)
	}
	const today = 24 * 60
	w.expose("a", 0, 10)
	w.expose("b", 0, 20)
	w.expose("c", 0, today+10)
	for _, e := range []struct {
		unit   string
		minute int
		value  float64
	}{{"a", 30, 10}, {"a", today + 30, 20}, {"a", today + 40, 40}, {"b", today + 30, 6}, {"c", 2*today + 5, 8}} {
		w.buy(e.unit, e.minute, e.value)
	}
	w.load()
	series, err := w.service.Timeseries(t.Context(), w.state, experiment, results.Options{})
	if err != nil {
		t.Fatal(err)
	}
	for i, want := range []struct {
		metric            string
		daily, cumulative [3]string // mean of n, day by day
	}{
		{"days", [3]string{"0.5 of 2", "0.6667 of 3", "0.3333 of 3"}, [3]string{"0.5 of 2", "0.5 of 3", "0.5 of 3"}},
		{"path", [3]string{"0 of 1", "0.5 of 2", "0 of 1"}, [3]string{"0 of 1", "0.5 of 2", "0.3333 of 3"}},
		{"share", [3]string{"0 of 2", "0.3333 of 3", "0 of 3"}, [3]string{"0 of 2", "0.3333 of 3", "0.3333 of 3"}},
		{"median", [3]string{"5 of 2", "6 of 3", "0 of 3"}, [3]string{"5 of 2", "6 of 3", "8 of 3"}},
		{"high", [3]string{"10 of 1", "20 of 3", "8 of 1"}, [3]string{"10 of 1", "15 of 4", "10 of 5"}},
		{"per day", [3]string{"10 of 1", "33 of 2", "8 of 1"}, [3]string{"10 of 1", "50.67 of 2", "56 of 3"}},
	} {
		s := series.Metrics[i]
		if s.Metric != want.metric || len(s.Points) != 9 {
			t.Fatalf("series %d is %q of %d points; want %q, of three days in three groups", i, s.Metric, len(s.Points), want.metric)
		}
		for day := range 3 {
			p := s.Points[3*day]
			text := func(v results.SeriesValue) string { return fmt.Sprintf("%.4g of %d", v.Mean.Or(-1), v.N) }
			if text(p.Daily) != want.daily[day] || text(p.Cumulative) != want.cumulative[day] {
				t.Errorf("%s on %s: %s, up to then %s; want %s, %s", s.Metric, p.Day, text(p.Daily), text(p.Cumulative), want.daily[day], want.cumulative[day])
			}
		}
	}
}

func TestHealthFindsTheSliceThatIsSkewed(t *testing.T) {
	w := newWorld(t, nil)
	w.put(&flags.Project{ID: flags.KindProject.IDPrefix() + w.project, Name: w.project, KeepAttributes: []string{"plan", "country"}})
	for i := range 1200 {
		group := []uint8{0, 0, 1, 2}[i%4]
		sdk := []string{"go", "js"}[i/4%2]
		if sdk == "js" && group == 2 && i%3 > 0 {
			continue // js loses two thirds of the third group
		}
		w.expose(fmt.Sprintf("u%d", i), group, 10, func(r *warehousetest.ExposureRow) {
			r.SDKType, r.Reason, r.Metadata = sdk, "Network", map[string]string{"user.country": "NZ " + sdk}
			if r.RuleID = []string{"grp_a", "grp_b", "grp_c"}[group]; i == 0 {
				r.RuleID = "override"
			}
		})
		if i%2 == 0 {
			w.buy(fmt.Sprintf("u%d", i), 20, 10)
		}
	}
	w.expose("both", 0, 10)
	w.expose("both", 1, 20)
	w.load()
	h, err := w.service.Health(t.Context(), w.state, experiment, results.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if h.SRM.Verdict != stats.Alert || !slices.Contains(h.Warnings, results.WarnSRM) {
		t.Errorf("verdict %s with warnings %v; want alert", h.SRM.Verdict, h.Warnings)
	}
	find := func(dimension, value string) results.Slice {
		for _, s := range h.Breakdown {
			if s.Dimension == dimension && s.Value == value {
				return s
			}
		}
		t.Fatalf("no slice %s %s among %v", dimension, value, h.Breakdown)
		return results.Slice{}
	}
	if bad, good := find("sdk", "js"), find("sdk", "go"); bad.SRM.Verdict != stats.Alert || good.SRM.Verdict != stats.Fine {
		t.Errorf("js is %s and go %s; want alert and ok", bad.SRM.Verdict, good.SRM.Verdict)
	}
	if bad, good := find("user.country", "NZ js"), find("user.country", "NZ go"); bad.SRM.Verdict != stats.Alert || good.SRM.Verdict != stats.Fine {
		t.Errorf("by an attribute that is kept, js is %s and go %s; want alert and ok", bad.SRM.Verdict, good.SRM.Verdict)
	}
	if i := slices.IndexFunc(h.Breakdown, func(s results.Slice) bool { return s.Dimension == "user.plan" }); i >= 0 {
		t.Errorf("a slice by an attribute that nobody has: %+v", h.Breakdown[i])
	}
	if i := slices.IndexFunc(h.Breakdown, func(s results.Slice) bool { return s.Dimension == "rule" && s.Value != "override" }); i >= 0 {
		t.Errorf("a slice by the rule of a group, which holds that group alone: %+v", h.Breakdown[i])
	}
	find("rule", "override")
	if got := h.Breakdown[0].SRM.PValue.Or(1); got > find("sdk", "go").SRM.PValue.Or(1) {
		t.Errorf("the first slice has p %v, which is not the least", got)
	}
	// Half of the units bought nothing at all: unit i is silent where i is odd.
	if got := h.Silent.Rates; got[0].Or(-1) != 0.5 || got[1].Or(-1) != 1-1.0 && got[1].Or(-1) < 0 {
		t.Errorf("silent rates %v; want half of control's", got)
	}
	if h.LastExposure == nil || !h.LastExposure.Equal(at(20)) || h.LastEvent == nil || !h.LastEvent.Equal(at(20)) {
		t.Errorf("last exposure %v, last event %v; want both at %v", h.LastExposure, h.LastEvent, at(20))
	}
	if h.Excluded["crossover"] != 1 {
		t.Errorf("excluded %v; want one crossover", h.Excluded)
	}
	table(t, h)
}

func TestASplitIsTestedByPeriodWhereTheAllocationChanged(t *testing.T) {
	w := newWorld(t, nil)
	for i := range 800 {
		w.expose(fmt.Sprintf("u%d", i), []uint8{0, 0, 1, 2}[i%4], i)
	}
	w.load()
	periods := []results.Period{{From: start, Allocation: 10, Sequence: 1}, {From: at(300), Allocation: 100, Sequence: 9}}
	r, err := w.service.Experiment(t.Context(), w.state, experiment, results.Options{Periods: periods})
	if err != nil {
		t.Fatal(err)
	}
	if len(r.Periods) != 2 || !slices.Equal(r.Periods[0].Units, []uint64{150, 75, 75}) || !slices.Equal(r.Periods[1].Units, []uint64{250, 125, 125}) {
		t.Fatalf("periods %+v; want 150+75+75 units and 250+125+125", r.Periods)
	}
	want := stats.SRMOver([]stats.Period{
		{Observed: []uint64{150, 75, 75}, Weights: []float64{50, 25, 25}}, {Observed: []uint64{250, 125, 125}, Weights: []float64{50, 25, 25}},
	})
	if r.SRM.DegreesOfFreedom != 4 || !close(r.SRM.PValue, want.PValue, 1e-12) {
		t.Errorf("the split of both periods is %+v; want %+v", r.SRM, want)
	}
}

func TestEveryMethodReadsTheSameMoments(t *testing.T) {
	w := busy(t)
	ask := func(o results.Options) results.Report {
		r, err := w.service.Experiment(t.Context(), w.state, experiment, o)
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	fixed := ask(results.Options{})
	for _, o := range []results.Options{
		{Method: results.Sequential}, {Method: results.Bayesian}, {Method: results.Bayesian, Prior: stats.Prior{SD: 0.01}},
		{Correction: stats.Holm}, {Correction: stats.BenjaminiHochberg}, {Correction: stats.Bonferroni, Method: results.Sequential},
		{Alpha: 0.2}, {Tail: stats.Greater}, {Raw: true},
	} {
		r := ask(o)
		var lines, base []stats.Line
		for i, m := range r.Metrics {
			for k, g := range m.Groups {
				if g.Line == nil {
					continue
				}
				was := fixed.Metrics[i].Groups[k].Line
				if g.Unadjusted.Delta != was.Unadjusted.Delta || g.Unadjusted.StandardError != was.Unadjusted.StandardError {
					t.Errorf("%+v: %s/%s differs by the method", o, m.Name, g.Group)
				}
				lines, base = append(lines, *g.Line), append(base, *was)
				if o.Method != results.Bayesian && g.CorrectedInterval.Contains(0) == g.Significant && o.Correction != stats.Holm && !g.CorrectedPValue.IsZero() {
					t.Errorf("%+v: %s/%s is significant: %t, with the interval %v", o, m.Name, g.Group, g.Significant, g.CorrectedInterval)
				}
			}
		}
		switch {
		case o.Method == results.Bayesian:
			for _, l := range lines {
				if !l.CorrectedPValue.IsZero() || l.CorrectedLift != l.Posterior.Credible {
					t.Errorf("%+v: p %v, lift %v; want none, and the credible interval %v", o, l.CorrectedPValue, l.CorrectedLift, l.Posterior.Credible)
				}
			}
		case o.Correction != "":
			ps := make([]stats.Optional, len(lines))
			for i := range lines {
				ps[i] = base[i].Comparison.PValue
				if o.Method == results.Sequential {
					ps[i] = stats.Optional{}
					if lines[i].BurnedIn {
						ps[i] = lines[i].Sequence.PValue
					}
				}
			}
			want := o.Correction.Adjust(ps, 0.05)
			for i, l := range lines {
				if l.CorrectedPValue != want.Adjusted[i] || l.Significant != want.Rejected[i] {
					t.Errorf("%+v: line %d has p %v, %t; want %v, %t", o, i, l.CorrectedPValue, l.Significant, want.Adjusted[i], want.Rejected[i])
				}
			}
		}
		r.SQL = nil // which may ask for isNaN
		raw, err := json.Marshal(r)
		if err != nil || bytes.Contains(raw, []byte("NaN")) {
			t.Errorf("%+v is no JSON: %v", o, err)
		}
		if lines := table(t, r); len(lines) != 1+len(r.Metrics)*len(r.Groups) {
			t.Errorf("the CSV has %d lines; want one per metric and group", len(lines))
		}
	}
}

func TestPowerPlansFromTheFactsOrFromWhatIsKnown(t *testing.T) {
	w := busy(t)
	p, err := w.service.Power(t.Context(), w.state, experiment, results.PowerOptions{Effect: 0.1, UnitsPerDay: 1000})
	if err != nil {
		t.Fatal(err)
	}
	r, shares := w.report(), 0
	for i, m := range p.Metrics {
		g := r.Metrics[i].Groups[0]
		if g.Mean.IsZero() || g.Variance.IsZero() {
			continue
		}
		plan := stats.Plan{Mean: g.Mean.Or(0), Variance: g.Variance.Or(0), Ratio: 0.5}
		want := plan.SampleSize(0.1*g.Mean.Or(0), 0.8)
		if share := g.Mean.Or(0); g.Conversions != nil && 1.1*share < 1 { // whose variance moves with it
			want = stats.ProportionSampleSize(share, 1.1*share, 0.8, plan)
			shares++
		}
		if m.Needed.Control != want.Control || m.Needed.Treatment != want.Treatment {
			t.Errorf("%s needs %d and %d units; want %d and %d", m.Metric, m.Needed.Control, m.Needed.Treatment, want.Control, want.Treatment)
		}
		if len(m.ByWeek) == 0 || m.ByWeek[0].Units != 7000 {
			t.Errorf("%s: weeks %v; want the first to have 7000 units", m.Metric, m.ByWeek)
		}
	}
	if shares == 0 {
		t.Error("no metric is a share")
	}
	table(t, p)
	known, err := w.service.Power(t.Context(), w.state, experiment, results.PowerOptions{Metric: "met_2", Mean: stats.Defined(10), SD: 20, Power: 0.9, Options: results.Options{Method: results.Sequential}})
	if err != nil || len(known.Metrics) != 1 || known.Metrics[0].Mean.Or(0) != 10 || known.Metrics[0].Needed.Code != stats.OK {
		t.Errorf("Power of known numbers = %+v, %v; want one plan", known, err)
	}
	none, err := w.service.Power(t.Context(), w.state, experiment, results.PowerOptions{Metric: "met_2", Mean: stats.Defined(0), SD: 1})
	if err != nil || len(none.Metrics) != 1 || none.Metrics[0].Mean.Or(-1) != 0 || none.Metrics[0].Code != stats.ZeroControlMean {
		t.Errorf("Power of a mean that is known to be 0 = %+v, %v; want that of 0, of which no lift is a share", none, err)
	}
}

func TestAPreviewCountsWhatTheFiltersLetPass(t *testing.T) {
	w := newWorld(t, nil)
	today := time.Now().UTC().Truncate(24 * time.Hour).Add(-12 * time.Hour)
	put := func(unit string, value float64, shop string) {
		w.buy(unit, 0, value, func(r *warehousetest.EventRow) {
			r.Time, r.ReceivedAt = today, today
			r.Metadata = map[string]string{"shop": shop, "items": fmt.Sprint(value / 10)}
		})
	}
	put("a", 10, "main")
	put("a", 30, "it's")
	put("b", 50, "outlet")
	put("c", 70, "")
	w.load()
	for _, tc := range []struct {
		filter flags.MetricFilter
		events uint64
		sum    float64
	}{
		{flags.MetricFilter{Metadata: "shop", Operator: flags.FilterAny, Values: []string{"main", "it's", `x\`}}, 2, 40},
		{flags.MetricFilter{Metadata: "shop", Operator: flags.FilterNone, Values: []string{"main"}}, 3, 150},
		{flags.MetricFilter{Metadata: "shop", Operator: flags.FilterContains, Values: []string{"'"}}, 1, 30},
		{flags.MetricFilter{Metadata: "shop", Operator: flags.FilterStartsWith, Values: []string{"out"}}, 1, 50},
		{flags.MetricFilter{Operator: flags.FilterGreater, Values: []string{"30"}}, 2, 120},
		{flags.MetricFilter{Metadata: "items", Operator: flags.FilterAtMost, Values: []string{"3"}}, 2, 40},
		{flags.MetricFilter{Metadata: "shop", Operator: flags.FilterIsNull}, 1, 70},
		{flags.MetricFilter{Metadata: "shop", Operator: flags.FilterNonNull}, 3, 90},
		{flags.MetricFilter{Metadata: "shop') OR 1 --", Operator: flags.FilterNonNull}, 0, 0},
	} {
		doc := &flags.Metric{Name: "m", Type: flags.MetricSum, UnitType: "userID", Measure: flags.Measure{Event: "buy", ValueFrom: "value", Filters: []flags.MetricFilter{tc.filter}}}
		p, err := w.service.Preview(t.Context(), w.state, doc, 7)
		if err != nil {
			t.Fatalf("Preview(%+v) = %v", tc.filter, err)
		}
		got := p.Parts[0].Total
		if got.Logged != 4 || got.Events != tc.events || got.Sum.Or(0) != tc.sum {
			t.Errorf("Preview(%+v) = %d of %d events, sum %v; want %d of 4, %v", tc.filter, got.Events, got.Logged, got.Sum, tc.events, tc.sum)
		}
		table(t, p)
	}
}

// table writes an answer as CSV and reads it again.
func table(t *testing.T, answer results.Table) [][]string {
	t.Helper()
	var b bytes.Buffer
	if err := results.WriteCSV(&b, answer); err != nil {
		t.Fatal(err)
	}
	if strings.Contains(b.String(), "NaN") {
		t.Errorf("the CSV has a NaN:\n%s", b.String())
	}
	lines, err := csv.NewReader(&b).ReadAll() // which wants as many fields in each
	if err != nil {
		t.Errorf("the CSV cannot be read: %v", err)
	}
	return lines
}

// Values accumulate: what could be found after a week goes by the values of then.
func TestAWeekThatHasPassedIsPlannedByItsOwnValues(t *testing.T) {
	w := newWorld(t, func(e *flags.Experiment) {
		e.Metrics, e.EndedAt, e.Status = []string{"revenue"}, new(start.AddDate(0, 0, 15)), flags.ExperimentAbandoned
	})
	const week = 7 * 24 * 60 // minutes
	var first, both stats.Moments
	for i := range 40 {
		unit, group := fmt.Sprint("u", i), []uint8{0, 0, 1, 2}[i%4]
		one, two := float64(1+i%5), float64(10*(i%3))
		w.expose(unit, group, i)
		w.buy(unit, 100+i, one)
		w.buy(unit, week+100+i, two)
		if group == 0 {
			first.Add(one)
			both.Add(one + two)
		}
	}
	w.load()
	p, err := w.service.Power(t.Context(), w.state, experiment, results.PowerOptions{})
	if err != nil {
		t.Fatal(err)
	}
	got := p.Metrics[0].ByWeek
	plan := stats.Plan{Ratio: 0.5}
	mde := func(m stats.Moments) stats.Optional {
		return plan.MDEByWeek([]stats.Week{{Control: float64(m.N), Mean: m.Mean, Variance: m.Variance().Or(0)}}, 0.8)[0]
	}
	for i, want := range []stats.Optional{mde(first), mde(both)} {
		if got[i].Units != 40 || !close(got[i].MDE, want, 1e-9) {
			t.Errorf("week %d = %+v; want %v with 40 units", i+1, got[i], want)
		}
	}
	if got[2].Units == 40 || close(got[2].MDE, got[1].MDE, 1e-9) {
		t.Errorf("week 3 = %+v; want it planned by the rate of units", got[2])
	}
}
