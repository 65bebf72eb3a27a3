package results_test

import (
	"fmt"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/sluice-flags/sluice/pkg/flags"
	"github.com/sluice-flags/sluice/services/control/internal/results"
)

func TestCrossoversStayWhereTheyWereFirstIfTheExperimentSaysSo(t *testing.T) {
	var doc *flags.Experiment
	w := newWorld(t, func(e *flags.Experiment) { doc, e.Metrics = e, []string{"revenue"} })
	for i := range 400 { // every second unit of control sees the second group later
		unit := fmt.Sprint("u", i)
		w.expose(unit, []uint8{0, 0, 1, 2}[i%4], 10)
		w.buy(unit, 40, 10)
		if i%4 == 0 {
			w.expose(unit, 1, 30)
		}
	}
	w.expose("tied", 1, 10)
	w.expose("tied", 0, 10)
	w.expose("forced", 0, 10, byOverride)
	w.expose("forced", 1, 20)
	w.load()
	said := func() (said []string) {
		t.Helper()
		r := w.report()
		for _, g := range r.Groups {
			said = append(said, fmt.Sprint(g.Units, g.Excluded, metric(t, r, "revenue")[g.Index].Total))
		}
		return append(said, fmt.Sprint(r.Crossovers != nil, r.Warnings))
	}
	want := []string{"100 map[crossover:101 override:1] 1000", "100 map[] 1000", "100 map[] 1000", "false [SAMPLE_RATIO_MISMATCH CROSSOVERS UNEVEN_EXCLUSIONS]"}
	if diff := cmp.Diff(want, said()); diff != "" {
		t.Errorf("excluded (-want +got):\n%s", diff)
	}
	kept := *doc
	kept.Crossovers = flags.CrossoversKeepFirst
	w.put(&kept)
	want = []string{"200 map[crossover:1 override:1] 2000", "100 map[] 1000", "100 map[] 1000", "true [CROSSOVERS UNEVEN_CROSSOVERS]"}
	if diff := cmp.Diff(want, said()); diff != "" {
		t.Errorf("kept in their first group (-want +got):\n%s", diff)
	}
	r := w.report()
	if got := r.Crossovers.Rates; len(got) != 3 || got[0].Or(0) != 0.5 || got[1].Or(1) != 0 {
		t.Errorf("rates of crossovers = %v; want half of control, and none of the others", got)
	}
	h, err := w.service.Health(t.Context(), w.state, experiment, results.Options{})
	if err != nil || h.Crossovers == nil || !slices.Contains(h.Warnings, results.WarnUneven) {
		t.Errorf("Health() = crossovers %v, warnings %v, %v; want what the report says", h.Crossovers, h.Warnings, err)
	}
}
