package results_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/ClickHouse/clickhouse-go/v2"
	"github.com/google/go-cmp/cmp"

	"github.com/sluice-flags/sluice/internal/warehouse/warehousetest"
	"github.com/sluice-flags/sluice/pkg/flags"
	"github.com/sluice-flags/sluice/pkg/stats"
)

// Times since 1970 are such numbers: large, and all much alike.
func TestLargeNumbersThatVaryLittleAreComparedInSQLAsInTheReport(t *testing.T) {
	w := newWorld(t, func(e *flags.Experiment) { e.Metrics = []string{"revenue"} })
	for i := range 400 {
		w.expose(fmt.Sprint("u", i), uint8(i%2), 10)
		w.buy(fmt.Sprint("u", i), 20, 1e9+float64(i%7)+float64(i%2)/2)
	}
	w.load()
	want, ok := metric(t, w.report(), "revenue")[1].Comparison.PValue.Get()
	if !ok || want < 1e-6 || want > 0.1 {
		t.Fatalf("p-value %v, %t; want a small one", want, ok)
	}
	a := newAnalyst(t, clickhouse.Parameters{"project": w.project, "experiment": experiment})
	for what, text := range map[string]string{
		"p-value":  fmt.Sprintf("abs(p_value / %v - 1) < 1e-5", want),
		"interval": "difference_low < difference AND difference < difference_high AND lift_low < lift AND lift < lift_high",
	} {
		got := a.http("SELECT " + text + ", * FROM experiment_results(project = {project:String}, experiment = {experiment:String}) WHERE group = 'good'")
		if len(got) != 1 || !strings.HasPrefix(got[0], "1") && !strings.HasPrefix(got[0], "true") {
			t.Errorf("%s in experiment_results: %v; want that of the report, %v", what, got, want)
		}
	}
}

// One client that sends absurd numbers must not take away what others did.
func TestNumbersBeyondBoundsSpoilTheirMetricAlone(t *testing.T) {
	w := newWorld(t, func(e *flags.Experiment) { e.Metrics = []string{"buyers", "revenue", "basket", "small"} })
	w.put(&flags.Metric{ID: "met_20", Name: "small", Type: flags.MetricSum, Direction: flags.Increase, Measure: flags.Measure{Event: "buy", ValueFrom: "metadata.small"}})
	for i := range 40 {
		w.expose(fmt.Sprint("u", i), uint8(i%2), 10)
		w.buy(fmt.Sprint("u", i), 20, float64(10+i%7), func(r *warehousetest.EventRow) {
			r.Metadata["items"] = fmt.Sprintf("%de306", 20+i)
			r.Metadata["small"] = fmt.Sprintf("%de-200", 20+i)
		})
		w.buy(fmt.Sprint("u", i), 21, 1, func(r *warehousetest.EventRow) { r.Metadata["items"] = "1.7e308" })
	}
	w.load()
	r := w.report()
	for name, want := range map[string]stats.Code{"revenue": stats.OK, "basket": stats.InvalidInput} {
		if got := metric(t, r, name)[1].Comparison.Code; got != want {
			t.Errorf("%s: code %s; want %s", name, got, want)
		}
	}
	a := newAnalyst(t, clickhouse.Parameters{"project": w.project, "experiment": experiment})
	const text = `SELECT format('{} {} {} {}', metric, toString(isNull(mean)), toString(isNull(p_value)), toString(isNull(lift)))
		FROM experiment_results(project = {project:String}, experiment = {experiment:String}) WHERE group = 'good' ORDER BY metric`
	want := []string{"basket 1 1 1", "buyers 0 1 0", "revenue 0 0 0", "small 0 1 0"}
	if diff := cmp.Diff(want, a.http(text)); diff != "" {
		t.Errorf("experiment_results (-want +got):\n%s", diff)
	}
	all := strings.Join(a.http("SELECT toString(tuple(*)) FROM experiment_results(project = {project:String}, experiment = {experiment:String})"), "\n")
	if strings.Contains(all, "nan") || strings.Contains(all, "inf") {
		t.Errorf("experiment_results has what is no number:\n%s", all)
	}
}
