package results_test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/sluice-flags/sluice/internal/warehouse/warehousetest"
	"github.com/sluice-flags/sluice/pkg/flags"
	"github.com/sluice-flags/sluice/pkg/stats"
	"github.com/sluice-flags/sluice/services/control/internal/results"
)

func TestExposuresAheadOfTheClockCountOnceTheirTimeHasCome(t *testing.T) {
	ahead := func(r *warehousetest.ExposureRow) {
		r.ReceivedAt = time.Now()
		r.Time = r.ReceivedAt.Add(4 * time.Minute)
	}
	for _, early := range []int{-1, 1} { // with an exposure from before the start, and without, units are found in other ways
		w := newWorld(t, nil)
		for i := range 30 {
			w.expose(fmt.Sprint("u", i), uint8(i%3), 10)
		}
		w.expose("early", 0, early)
		w.expose("ahead", 1, 10, ahead)
		w.load()
		r := w.report()
		h, err := w.service.Health(t.Context(), w.state, experiment, results.Options{})
		if err != nil {
			t.Fatal(err)
		}
		series, err := w.service.Timeseries(t.Context(), w.state, experiment, results.Options{})
		if err != nil {
			t.Fatal(err)
		}
		if last := series.Units[len(series.Units)-1].Total[1]; r.Groups[1].Exposed != 10 || last != 10 {
			t.Errorf("with a first exposure at minute %d, the second group has %d units in the report and %d in the last day; want 10, without the one to come", early, r.Groups[1].Exposed, last)
		}
		day := slices.IndexFunc(h.Breakdown, func(s results.Slice) bool { return s.Dimension == "day" })
		if len(h.Breakdown) == 0 || day < 0 || h.Breakdown[day].Units[1] != 10 {
			t.Errorf("with a first exposure at minute %d, slices of health = %+v; want one day with 10 units in the second group", early, h.Breakdown)
		}
		sameAsSQL(t, w, r)
	}
}

func TestRetentionIsNotAdjustedByWhatUnitsDidBefore(t *testing.T) {
	w := newWorld(t, func(e *flags.Experiment) { e.Metrics = []string{"back"} })
	w.put(&flags.Metric{ID: "met_30", Name: "back", Type: flags.MetricRetention, Direction: flags.Increase,
		Measure: flags.Measure{Event: "buy"}, Retention: &flags.Retention{Day: 1, Days: 1}})
	for i := range 600 { // who came before comes back
		unit := fmt.Sprint("u", i)
		w.expose(unit, uint8(i%3), 2*24*60)
		if i%4 == 0 {
			w.buy(unit, 24*60, 1)
		}
		if i%4 == 0 || i%7 == 0 {
			w.buy(unit, 3*24*60+60, 1)
		}
	}
	w.load()
	g := metric(t, w.report(), "back")[1]
	if g.Adjusted || g.WhyNotAdjusted != stats.NotSupported || g.Comparison.PValue != g.Unadjusted.PValue {
		t.Errorf("retention: adjusted = %v for reason %q, p %v against %v without covariates; want the same, and %s",
			g.Adjusted, g.WhyNotAdjusted, g.Comparison.PValue, g.Unadjusted.PValue, stats.NotSupported)
	}
}

func TestAReportAndHealthLookAtExposuresSinceTheStartAlone(t *testing.T) {
	w := newWorld(t, nil)
	for i := range 30 {
		unit := fmt.Sprint("u", i)
		w.expose(unit, uint8((i+1)%3), -60, func(r *warehousetest.ExposureRow) { r.Reason, r.Sequence = "before", 2 })
		w.expose(unit, uint8(i%3), 10, func(r *warehousetest.ExposureRow) { r.Reason = "since" })
	}
	w.expose("elsewhere", 0, 60, func(r *warehousetest.ExposureRow) { r.Environment, r.Sequence = "staging", 5 })
	w.load()
	if s := w.report().Sequence; s.First != 4 || s.Last != 4 {
		t.Errorf("exposures were decided by versions %d to %d; want 4, that of those since the start in production", s.First, s.Last)
	}
	h, err := w.service.Health(t.Context(), w.state, experiment, results.Options{})
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range h.Breakdown {
		if s.Dimension == "reason" && s.Value != "since" {
			t.Errorf("health has a slice of %v units by reason %q, which is from before the start", s.Units, s.Value)
		}
	}
	if h.LastExposure == nil || !h.LastExposure.Equal(at(10)) {
		t.Errorf("last exposure = %v; want %v, the last one in production", h.LastExposure, at(10))
	}
}
