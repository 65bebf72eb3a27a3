package results_test

import (
	"bytes"
	"encoding/csv"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/ClickHouse/clickhouse-go/v2"
	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/sluice-flags/sluice/internal/warehouse/warehousetest"
	"github.com/sluice-flags/sluice/pkg/flags"
	"github.com/sluice-flags/sluice/pkg/stats"
	"github.com/sluice-flags/sluice/services/control/internal/results"
)

// from says where a unit came from, as an attribute that the project keeps.
func from(country string) func(*warehousetest.ExposureRow) {
	return func(r *warehousetest.ExposureRow) {
		r.SDKType = "js-client"
		if country != "" {
			r.Metadata = map[string]string{"user.country": country}
		}
	}
}

// countries of units, by their number; the empty one is not known.
var countries = []string{"NZ", "FR", "NZ", "", "AU", "NZ", "FR", "BR"}

// peopled is a world whose units of the given countries, or all, did things. In
// NZ the good group does well, and nowhere else.
func peopled(t *testing.T, only ...string) *world {
	w := newWorld(t, func(e *flags.Experiment) {
		e.Metrics = []string{"buyers", "revenue", "basket", "late", "median", "median event", "path", "best"}
	})
	for i, m := range []flags.Metric{
		{Name: "median", Type: flags.MetricPercentile, Measure: flags.Measure{Event: "buy"}, Percentile: &flags.Percentile{Level: 0.5}},
		{Name: "median event", Type: flags.MetricPercentile, Measure: flags.Measure{Event: "buy"}, Percentile: &flags.Percentile{Level: 0.5, Of: flags.PercentileOfEvents}},
		{Name: "path", Type: flags.MetricFunnel, Funnel: &flags.Funnel{Steps: []flags.FunnelStep{{Event: "look"}, {Event: "buy"}}}},
		{Name: "best", Type: flags.MetricMax, Measure: flags.Measure{Event: "buy"}},
	} {
		m.ID, m.Direction = fmt.Sprintf("met_%d", 10+i), flags.Increase
		w.put(&m)
	}
	rng := rand.New(rand.NewPCG(3, 4))
	for i := range 480 {
		country, unit, group := countries[i%len(countries)], fmt.Sprint("u", i), uint8(rng.IntN(3))
		values := make([]float64, rng.IntN(4))
		for k := range values {
			values[k] = float64(10 + rng.IntN(50))
			if country == "NZ" && group == 1 {
				values[k] += 40
			}
		}
		minute := 10 + rng.IntN(500)
		if len(only) > 0 && !slices.Contains(only, country) {
			continue
		}
		w.expose(unit, group, minute+200, from("elsewhere")) // where a unit goes later does not matter
		w.expose(unit, group, minute, from(country))
		w.buy(unit, minute-5, 30)
		for k, v := range values {
			w.buy(unit, minute+10*k+2, v)
			w.buy(unit, minute+10*k+1, 0, func(r *warehousetest.EventRow) { r.Event = "look" })
		}
		if i%40 == 0 {
			w.expose(unit, (group+1)%3, minute+5, from(country)) // a crossover
		}
	}
	w.load()
	return w
}

// TestASliceSaysWhatAnExperimentOfItsUnitsWouldSay holds every number of a
// breakdown to the report on a world that has no other units.
func TestASliceSaysWhatAnExperimentOfItsUnitsWouldSay(t *testing.T) {
	w := peopled(t)
	ask := func(w *world, o results.Options) results.Report {
		t.Helper()
		r, err := w.service.Experiment(t.Context(), w.state, experiment, o)
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	whole := ask(w, results.Options{By: "user.country", Top: 2})
	b := whole.Breakdown
	if b == nil || b.By != "user.country" || b.Values != 4 || len(b.Slices) != 4 {
		t.Fatalf("breakdown = %+v; want four slices of four countries", b)
	}
	if diff := cmp.Diff(ask(w, results.Options{}).Metrics, whole.Metrics, near(0), cmpopts.EquateEmpty(), cmpopts.IgnoreUnexported(stats.Comparison{}, stats.Line{})); diff != "" {
		t.Errorf("being asked for a breakdown changes the whole (-without +with):\n%s", diff)
	}
	for i, want := range []struct {
		kind  results.SliceKind
		value string
		of    []string
	}{{results.SliceValue, "NZ", []string{"NZ"}}, {results.SliceValue, "FR", []string{"FR"}}, {results.SliceOther, "", []string{"AU", "BR"}}, {results.SliceMissing, "", []string{""}}} {
		got := b.Slices[i]
		if got.Kind != want.kind || got.Value != want.value {
			t.Errorf("slice %d is %q %q; want %q %q", i, got.Kind, got.Value, want.kind, want.value)
			continue
		}
		alone := ask(peopled(t, want.of...), results.Options{})
		if diff := cmp.Diff(alone.Groups, got.Groups); diff != "" {
			t.Errorf("slice %s%s: groups (-alone +slice):\n%s", got.Kind, got.Value, diff)
		}
		if diff := cmp.Diff(alone.SRM, got.SRM, near(0)); diff != "" {
			t.Errorf("slice %s%s: split (-alone +slice):\n%s", got.Kind, got.Value, diff)
		}
		if diff := cmp.Diff(alone.Metrics, got.Metrics, near(1e-9), cmpopts.EquateEmpty(), cmpopts.IgnoreFields(results.MetricGroup{}, "Heterogeneity", "Impact"), cmpopts.IgnoreFields(stats.Bias{}, "Threshold", "Flagged"),
			cmpopts.IgnoreUnexported(stats.Comparison{}, stats.Line{})); diff != "" {
			t.Errorf("slice %s%s: metrics (-alone +slice):\n%s", got.Kind, got.Value, diff)
		}
	}
	found := map[string]stats.Heterogeneity{}
	for _, s := range b.Slices {
		for _, m := range s.Metrics {
			for _, g := range m.Groups {
				if (g.Heterogeneity == nil) != (g.Line == nil) {
					t.Fatalf("%s of %s in %s%s: heterogeneity %v", m.Name, g.Group, s.Kind, s.Value, g.Heterogeneity)
				}
				if g.Heterogeneity != nil {
					found[string(s.Kind)+s.Value+" "+m.Name+" "+g.Group] = g.Heterogeneity.Verdict
				}
			}
		}
	}
	for at, want := range map[string]stats.Heterogeneity{
		"valueNZ basket good": stats.HighHeterogeneity, "valueNZ revenue good": stats.HighHeterogeneity,
		"valueNZ revenue bad": stats.NoHeterogeneity, "valueFR buyers good": stats.NoHeterogeneity, "valueNZ median good": stats.NoHeterogeneity,
	} {
		if found[at] != want {
			t.Errorf("heterogeneity of %s = %q; want %q", at, found[at], want)
		}
	}
	nz, fr := b.Slices[0].Metrics[1].Groups, b.Slices[1].Metrics[1].Groups
	if d := b.Slices[0].Metrics[1].Groups[1].Heterogeneity; d.Value.Or(0) < 20 || nz[1].Unadjusted.Delta.Or(0) < fr[1].Unadjusted.Delta.Or(0) {
		t.Errorf("revenue of good is %v better in NZ than elsewhere; want much more", d.Value)
	}

	var table bytes.Buffer
	if err := results.WriteCSV(&table, whole); err != nil {
		t.Fatal(err)
	}
	lines, err := csv.NewReader(&table).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	if want := 1 + 5*len(whole.Metrics)*3; len(lines) != want || strings.Join(lines[0][:4], " ") != "by slice value metric" {
		t.Errorf("CSV has %d lines, the first %q; want %d", len(lines), lines[0], want)
	}
	if got := lines[1+3*len(whole.Metrics)][:4]; !slices.Equal(got, []string{"user.country", "value", "NZ", "buyers"}) {
		t.Errorf("the first line of the first slice is %q", got)
	}
}

// TestDimensionsOfExposuresAndOfTime asks for those that need no attribute, as
// analysts do, and for the stretches between changes of the allocation.
func TestDimensionsOfExposuresAndOfTime(t *testing.T) {
	w := newWorld(t, nil)
	for i, sdk := range []string{"js-client", "go", "js-client", "go", "go", ""} {
		w.expose(fmt.Sprint("u", i), uint8(i%2), 10+i, func(r *warehousetest.ExposureRow) {
			r.SDKType, r.SDKVersion, r.Reason, r.RuleID = sdk, fmt.Sprint("1.", i%2), "Network", "grp_a"
		})
		w.buy(fmt.Sprint("u", i), 20, float64(i))
	}
	w.load()
	for by, want := range map[string]string{
		"sdk": "go:3 js-client:2 missing:1", "sdkVersion": "go 1.1:2 js-client 1.0:2 1.1:1 go 1.0:1", "reason": "Network:6", "rule": "grp_a:6", "layer": "missing:6",
		"day": "2026-03-01:6", "user.plan": "missing:6",
	} {
		r, err := w.service.Experiment(t.Context(), w.state, experiment, results.Options{By: by})
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, s := range r.Breakdown.Slices {
			n := uint64(0)
			for _, g := range s.Groups {
				n += g.Units
			}
			name := s.Value
			if s.Kind != results.SliceValue {
				name = string(s.Kind)
			}
			got = append(got, fmt.Sprintf("%s:%d", name, n))
		}
		if got := strings.Join(got, " "); got != want {
			t.Errorf("by %s: %s; want %s", by, got, want)
		}
		a := newAnalyst(t, clickhouse.Parameters{"project": w.project, "experiment": experiment, "dimension": by})
		units := 0
		for range a.native("SELECT * FROM experiment_dimension(project = {project:String}, experiment = {experiment:String}, dimension = {dimension:String})") {
			units++
		}
		if units != 6 {
			t.Errorf("by %s: experiment_dimension has %d units; want 6", by, units)
		}
	}
	r, err := w.service.Experiment(t.Context(), w.state, experiment, results.Options{Periods: []results.Period{{From: at(0), Allocation: 50}, {From: at(13), Allocation: 100}}})
	if err != nil {
		t.Fatal(err)
	}
	for i, want := range []string{"[2 1 0] 2 mean 1", "[1 2 0] 1 mean 4"} {
		p := r.Periods[i]
		control := p.Metrics[2].Groups[0]
		if got := fmt.Sprintf("%v %d mean %v", p.Units, control.N, control.Mean); got != want || p.Metrics[2].Name != "revenue" {
			t.Errorf("period %d: %s; want %s", i, got, want)
		}
	}
}

func TestAStepOfAGateIsBrokenDownToo(t *testing.T) {
	g := newGated(t)
	g.change(0, func(*flags.Gate) {})
	for i := range 12 {
		g.check(fmt.Sprint("u", i), "some:25.00:1", fmt.Sprint(i%4 == 0), 10, from([]string{"NZ", "FR"}[i%2]))
		g.buy(fmt.Sprint("u", i), 15, float64(i))
	}
	g.load()
	r := g.report(results.GateOptions{Options: results.Options{By: "user.country"}})
	b := r.Steps[0].Breakdown
	if b == nil || len(b.Slices) != 2 || b.Slices[0].Value != "FR" || b.Slices[0].Groups[0].Units != 6 || b.Slices[1].Groups[1].Units != 3 {
		t.Errorf("breakdown of the step = %+v; want FR with 6 that fail, NZ with 3 of each", b)
	}
	columns, lines := r.Table()
	for _, line := range lines {
		if len(line) != len(columns) {
			t.Fatalf("a line of %d fields under %d columns", len(line), len(columns))
		}
	}
}

func TestADimensionHasToBeThere(t *testing.T) {
	project := &flags.Project{KeepAttributes: []string{"country", "plan"}}
	for name, want := range map[string]string{"country": "user.country", "user.plan": "user.plan", "sdk": "sdk", "sdk_type": "sdk", "day": "day"} {
		if got, err := results.ParseDimension(project, name); err != nil || got != want {
			t.Errorf("ParseDimension(%q) = %q, %v; want %q", name, got, err, want)
		}
	}
	for _, name := range []string{"", "email", "user.email", "user.", strings.Repeat("x", 300)} {
		if got, err := results.ParseDimension(project, name); err == nil || !strings.Contains(err.Error(), "user.country") || !strings.Contains(err.Error(), "keepAttributes") {
			t.Errorf("ParseDimension(%q) = %q, %v; want an error that says what there is", name, got, err)
		}
	}
}
