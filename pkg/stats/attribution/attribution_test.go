package attribution_test

import (
	"fmt"
	"math"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"

	"github.com/sluice-flags/sluice/pkg/stats/attribution"
)

const day = 24 * time.Hour

var start = time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC)

func study() attribution.Study { return attribution.Study{Start: start, End: start.Add(30 * day)} }

func at(d time.Duration) time.Time { return start.Add(d) }

func exposed(unit, group string, d time.Duration) attribution.Exposure {
	return attribution.Exposure{Unit: unit, Group: group, Time: at(d)}
}

func happened(unit, name string, d time.Duration, value float64) attribution.Event {
	return attribution.Event{Unit: unit, Name: name, Time: at(d), Value: value, HasValue: true}
}

// facts draws a small world in which everything can go wrong.
func facts(t *rapid.T) (exposures []attribution.Exposure, events []attribution.Event) {
	unit := rapid.SampledFrom([]string{"a", "b", "c", "d", "e", ""})
	hours := rapid.IntRange(-24, 24*32)
	for range rapid.IntRange(0, 40).Draw(t, "exposures") {
		exposures = append(exposures, attribution.Exposure{
			Unit: unit.Draw(t, "unit"), Group: rapid.SampledFrom([]string{"", "control", "test", "test"}).Draw(t, "group"),
			Time:     at(time.Duration(hours.Draw(t, "hour")) * time.Hour),
			Override: rapid.IntRange(0, 9).Draw(t, "override") == 0,
		})
	}
	for i := range rapid.IntRange(0, 40).Draw(t, "events") {
		e := happened(unit.Draw(t, "unit"), rapid.SampledFrom([]string{"buy", "view"}).Draw(t, "name"),
			time.Duration(hours.Draw(t, "hour"))*time.Hour+time.Duration(i)*time.Second, rapid.Float64Range(-5, 5).Draw(t, "value"))
		e.ID = fmt.Sprint(i)
		events = append(events, e)
	}
	return exposures, events
}

var metrics = []attribution.Metric{
	{Type: attribution.Count, Event: "buy", Covariate: 7 * day},
	{Type: attribution.Sum, Event: "buy", Window: 7 * day, MaturedOnly: true},
	{Type: attribution.ActiveDays, Event: "buy"},
	{Type: attribution.Latest, Event: "buy"},
	{Type: attribution.Ratio, Event: "buy", Denominator: "view", Covariate: 7 * day},
	{Type: attribution.Mean, Event: "buy"},
	{Type: attribution.Funnel, Steps: []string{"view", "buy"}},
	{Type: attribution.Retention, Event: "buy", Day: 7, Days: 1},
}

func TestResultsDoNotDependOnTheOrderOfFacts(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		exposures, events := facts(t)
		m := rapid.SampledFrom(metrics).Draw(t, "metric")
		s := study()
		s.Policy = rapid.SampledFrom([]attribution.Policy{"", attribution.Exclude, attribution.KeepFirst}).Draw(t, "policy")
		want := s.Analyze(exposures, events, m)
		slices.Reverse(exposures)
		again := append(slices.Clone(events), events...) // delivered twice
		slices.Reverse(again)
		if diff := cmp.Diff(want, s.Analyze(exposures, again, m), cmpopts.EquateApprox(1e-12, 1e-12)); diff != "" {
			t.Fatalf("Analyze(%+v) depends on order or repetition (-want +got):\n%s", m, diff)
		}
	})
}

func TestEveryExposedUnitIsAnalysedOrCountedAsExcluded(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		exposures, events := facts(t)
		m := rapid.SampledFrom(metrics).Draw(t, "metric")
		s := study()
		enrolled, _ := s.Enrol(exposures)
		r := s.Analyze(exposures, events, m)
		got := uint64(0)
		for _, g := range r.Groups {
			got += g.Units
		}
		for _, groups := range r.Excluded {
			for _, n := range groups {
				got += n
			}
		}
		if got != uint64(len(enrolled)) {
			t.Fatalf("Analyze(): %d units analysed or excluded, want the %d exposed", got, len(enrolled))
		}
	})
}

func TestEnrolmentsMergeInAnyOrder(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var all, a, b attribution.Enrolment
		exposures, _ := facts(t)
		for _, x := range exposures {
			all = all.Observe(x)
			if rapid.Bool().Draw(t, "batch") {
				a = a.Observe(x)
			} else {
				b = b.Observe(x)
			}
		}
		for name, got := range map[string]attribution.Enrolment{
			"a.Merge(b)": a.Merge(b), "b.Merge(a)": b.Merge(a), "all.Merge(all)": all.Merge(all), "all.Merge(a)": all.Merge(a),
		} {
			if diff := cmp.Diff(all, got, cmpopts.EquateEmpty()); diff != "" {
				t.Fatalf("%s differs (-want +got):\n%s", name, diff)
			}
		}
	})
}

func TestUnitValuesFollowTheTypeOfTheMetric(t *testing.T) {
	exposures := []attribution.Exposure{exposed("a", "test", time.Hour), exposed("quiet", "test", time.Hour)}
	silent := happened("a", "buy", 30*time.Hour, 0)
	silent.HasValue = false
	events := []attribution.Event{
		happened("a", "buy", 0, 100), // before enrolment
		happened("a", "buy", 2*time.Hour, 4), happened("a", "buy", 3*time.Hour, 9),
		happened("a", "buy", 50*time.Hour, 5), silent,
	}
	for _, tc := range []struct {
		metric attribution.Metric
		units  uint64
		mean   float64
	}{
		{attribution.Metric{Type: attribution.Count}, 2, 2},
		{attribution.Metric{Type: attribution.Count, Window: 2 * day}, 2, 1.5},
		{attribution.Metric{Type: attribution.Participation}, 2, 0.5},
		{attribution.Metric{Type: attribution.Sum}, 2, 9},
		{attribution.Metric{Type: attribution.Min}, 1, 4},
		{attribution.Metric{Type: attribution.Max}, 1, 9},
		{attribution.Metric{Type: attribution.Latest}, 1, 5},
		{attribution.Metric{Type: attribution.Latest, MissingAsZero: true}, 2, 2.5},
		{attribution.Metric{Type: attribution.ActiveDays}, 2, 0.05},
		{attribution.Metric{Type: attribution.Retention, Day: 1, Days: 2}, 2, 0.5},
	} {
		tc.metric.Event = "buy"
		g := study().Analyze(exposures, events, tc.metric).Groups["test"]
		if g.Units != 2 || g.Values.N != tc.units || math.Abs(g.Values.MeanY-tc.mean) > 1e-15 {
			t.Errorf("Analyze(%+v) = %d units, %d values, mean %v; want 2, %d, %v",
				tc.metric, g.Units, g.Values.N, g.Values.MeanY, tc.units, tc.mean)
		}
	}
}

func TestActiveDaysAreCalendarDaysOfTheProject(t *testing.T) {
	tokyo := time.FixedZone("Tokyo", 9*60*60)
	s := attribution.Study{Start: start, End: start.Add(2 * day), Zone: tokyo}
	// 14:00 and 16:00 UTC are two days in Tokyo; the study touches three there.
	events := []attribution.Event{happened("a", "open", 14*time.Hour, 0), happened("a", "open", 16*time.Hour, 0)}
	g := s.Analyze([]attribution.Exposure{exposed("a", "test", 0)}, events,
		attribution.Metric{Type: attribution.ActiveDays, Event: "open"}).Groups["test"]
	if want := 2.0 / 3; math.Abs(g.Values.MeanY-want) > 1e-15 {
		t.Errorf("Analyze(active days in Tokyo) = %v, want %v", g.Values.MeanY, want)
	}
}

func TestAFunnelMayBeginWithTheExposure(t *testing.T) {
	exposures := []attribution.Exposure{exposed("a", "test", 0), exposed("b", "test", 0)}
	events := []attribution.Event{happened("a", "buy", time.Hour, 1)}
	m := attribution.Metric{Type: attribution.Funnel, Steps: []string{"buy"}, FromExposure: true}
	g := study().Analyze(exposures, events, m).Groups["test"]
	if g.Ratio.N != 2 || g.Ratio.Ratio().Estimate().Value != 0.5 || !slices.Equal(g.Steps, []uint64{1}) {
		t.Errorf("Analyze(%+v) = %+v, want one of two units to convert", m, g)
	}
}

func TestTheCovariateIsTakenBeforeEachUnitsOwnEnrolment(t *testing.T) {
	s := study()
	exposures := []attribution.Exposure{exposed("a", "test", 10*day)}
	events := []attribution.Event{
		happened("a", "view", 2*day, 0), // eight days before: too early
		happened("a", "view", 4*day, 0), happened("a", "buy", 5*day, 0),
		happened("a", "view", 11*day, 0), happened("a", "view", 12*day, 0),
	}
	m := attribution.Metric{Type: attribution.Ratio, Event: "buy", Denominator: "view", Covariate: 7 * day}
	g := s.Analyze(exposures, events, m).Groups["test"]
	if want := [4]float64{0, 2, 1, 1}; g.Ratio.Mean != want || g.Ratio.WithCovariate != 1 {
		t.Errorf("Analyze(%+v) = %v with %d covered, want %v with 1", m, g.Ratio.Mean, g.Ratio.WithCovariate, want)
	}
}
