package results

import (
	stdcmp "cmp"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/sluice-flags/sluice/internal/warehouse"
	"github.com/sluice-flags/sluice/internal/warehouse/warehousetest"
	"github.com/sluice-flags/sluice/pkg/flags"
	"github.com/sluice-flags/sluice/pkg/stats"
	"github.com/sluice-flags/sluice/pkg/stats/attribution"
)

// The reference: what a metric makes of a unit's events, in plain Go, one event
// after the other. Only who is in which group is taken from package attribution.

type happening = warehousetest.EventRow

// hostile is a text that breaks out of whatever is not bound.
const hostile = "'); DROP TABLE events; -- \\ \" ` {p0:String} \n\t ü %s"

// textOf is what filters on texts see, numberOf what those on numbers do.
func textOf(e *happening, metadata string) string {
	switch {
	case metadata != "":
		return e.Metadata[metadata]
	case e.ValueText != "":
		return e.ValueText
	case e.Value != nil:
		return strconv.FormatFloat(*e.Value, 'f', -1, 64)
	}
	return ""
}

func numberOf(e *happening, metadata string) (float64, bool) {
	if metadata == "" {
		if e.Value == nil {
			return 0, false
		}
		return *e.Value, true
	}
	f, err := strconv.ParseFloat(e.Metadata[metadata], 64)
	return f, err == nil
}

func passes(e *happening, f flags.MetricFilter) bool {
	text := textOf(e, f.Metadata)
	number, isNumber := numberOf(e, f.Metadata)
	bound := 0.0
	if len(f.Values) > 0 {
		bound, _ = strconv.ParseFloat(f.Values[0], 64)
	}
	switch f.Operator {
	case flags.FilterAny:
		return text != "" && slices.Contains(f.Values, text)
	case flags.FilterNone:
		return !slices.Contains(f.Values, text)
	case flags.FilterContains:
		return text != "" && slices.ContainsFunc(f.Values, func(v string) bool { return strings.Contains(text, v) })
	case flags.FilterStartsWith:
		return text != "" && slices.ContainsFunc(f.Values, func(v string) bool { return strings.HasPrefix(text, v) })
	case flags.FilterGreater:
		return isNumber && number > bound
	case flags.FilterAtLeast:
		return isNumber && number >= bound
	case flags.FilterLess:
		return isNumber && number < bound
	case flags.FilterAtMost:
		return isNumber && number <= bound
	case flags.FilterIsNull:
		return text == ""
	}
	return text != "" // non_null
}

// span is a half-open range of time.
type span struct{ from, to time.Time }

func (s span) has(t time.Time) bool { return !t.Before(s.from) && t.Before(s.to) }

// days are the calendar days that s touches.
func (s span) days() float64 {
	return float64(max(dayOf(s.to.Add(-time.Millisecond))-dayOf(s.from)+1, 1))
}

// dayOf numbers the calendar days of the zone that t is told in: all times of the
// reference are told in that of the project.
func dayOf(t time.Time) int64 {
	year, month, day := t.Date()
	return time.Date(year, month, day, 0, 0, 0, 0, time.UTC).Unix() / (24 * 60 * 60)
}

func matching(events []happening, m *flags.Measure, s span) (found []*happening) {
	for i := range events {
		e := &events[i]
		if e.Event == m.Event && s.has(e.Time) && !slices.ContainsFunc(m.Filters, func(f flags.MetricFilter) bool { return !passes(e, f) }) {
			found = append(found, e)
		}
	}
	return found
}

func referencePart(kind flags.MetricType, m *flags.Measure, events []happening, s span, perDay float64) (y, d float64, present bool) {
	found := matching(events, m, s)
	var values []float64
	byDay, texts, days := map[int64]float64{}, map[string]bool{}, map[int64]bool{}
	for _, e := range found {
		days[dayOf(e.Time)] = true
		if t := textOf(e, m.ValueKey()); t != "" {
			texts[t] = true
		}
		v, ok := numberOf(e, m.ValueKey())
		if ok {
			values = append(values, v)
		}
		if kind == flags.MetricEventCount {
			v = 1
		}
		byDay[dayOf(e.Time)] += v
	}
	sum := 0.0
	for _, v := range values {
		sum += v
	}
	if perDay > 0 {
		for _, v := range byDay {
			y += min(v, perDay)
		}
		return y, 0, true
	}
	switch kind {
	case flags.MetricEventCount:
		return float64(len(found)), 0, true
	case flags.MetricEventUser, flags.MetricRetention:
		return float64(min(len(found), 1)), 0, true
	case flags.MetricEventDAU:
		return float64(len(days)) / s.days(), 0, true
	case flags.MetricCountDistinct:
		return float64(len(texts)), 0, true
	case flags.MetricMean, flags.MetricSum, flags.MetricPercentile:
		return sum, float64(len(values)), kind != flags.MetricMean || len(values) > 0
	}
	if len(values) == 0 {
		return 0, 0, false
	}
	switch kind {
	case flags.MetricMin:
		return slices.Min(values), 0, true
	case flags.MetricMax:
		return slices.Max(values), 0, true
	}
	return values[len(values)-1], 0, true // latest
}

func referenceValue(doc *flags.Metric, events []happening, s span) (y, d float64, present bool, steps []uint64) {
	switch doc.Type {
	case flags.MetricRatio:
		y, _, _ = referencePart(doc.Numerator.Type, &doc.Numerator.Measure, events, s, 0)
		d, _, _ = referencePart(doc.Denominator.Type, &doc.Denominator.Measure, events, s, 0)
		return y, d, d > 0, nil
	case flags.MetricFunnel:
		steps = make([]uint64, len(doc.Funnel.Steps))
		bySession := map[string][]happening{}
		for _, e := range events {
			key := "the unit"
			if doc.Funnel.SessionKey != "" {
				key = e.Metadata[doc.Funnel.SessionKey]
			}
			if key != "" {
				bySession[key] = append(bySession[key], e)
			}
		}
		for _, session := range bySession {
			var first, last time.Time
		walk:
			for i, step := range doc.Funnel.Steps {
				for _, e := range matching(session, &flags.Measure{Event: step.Event, Filters: step.Filters}, s) {
					if e.Time.After(last) {
						if last = e.Time; i == 0 {
							first = last
						}
						if within := time.Duration(doc.Funnel.CompletionSeconds) * time.Second; within > 0 && last.Sub(first) >= within {
							break walk
						}
						steps[i]++
						continue walk
					}
				}
				break
			}
		}
		y, d = float64(steps[len(steps)-1]), float64(steps[0])
		return y, d, d > 0 || doc.Funnel.FromExposure, steps
	}
	perDay := 0.0
	if doc.Cap != nil {
		perDay = doc.Cap.PerDay
	}
	y, d, present = referencePart(doc.Type, &doc.Measure, events, s, perDay)
	return y, d, present || doc.MissingAsZero, nil
}

// reference answers for one metric, per group.
func reference(doc *flags.Metric, enrolled map[string]attribution.Enrolment, byUnit map[string][]happening, end time.Time, ended bool) []moments {
	type unit struct {
		group   int
		v       [4]float64
		covered bool
		samples []float64
	}
	all := make([]moments, 3)
	var units []unit
	for id, e := range enrolled {
		g, _ := strconv.Atoi(e.First[0])
		if e.Override || len(e.Groups) > 1 {
			continue
		}
		now := span{e.At, end}
		matures := time.Duration(0)
		switch {
		case doc.Retention != nil:
			now.from = e.At.Add(time.Duration(doc.Retention.Day) * day)
			matures = time.Duration(doc.Retention.Day+doc.Retention.Days) * day
			now.to = e.At.Add(matures)
		case doc.WindowHours > 0:
			w := time.Duration(doc.WindowHours) * time.Hour
			if e.At.Add(w).Before(end) {
				now.to = e.At.Add(w)
			}
			if ended {
				matures = w
			}
		}
		if matures > 0 && e.At.Add(matures).After(end) {
			all[g].immature++
			continue
		}
		all[g].analysed++
		events := slices.DeleteFunc(slices.Clone(byUnit[id]), func(e happening) bool { return !e.Time.Before(end) })
		u := unit{group: g}
		var present bool
		var steps []uint64
		u.v[0], u.v[1], present, steps = referenceValue(doc, events, now)
		for i, n := range steps {
			if all[g].steps == nil {
				all[g].steps = make([]uint64, len(steps))
			}
			all[g].steps[i] += n
		}
		if !present {
			continue
		}
		if doc.Lookback() > 0 && doc.Type != flags.MetricPercentile {
			before := span{e.At.Add(-time.Duration(doc.Lookback()) * day), e.At}
			for _, one := range partsOf(doc) {
				u.covered = u.covered || len(matching(events, &one.measure, before)) > 0
			}
			if x, xd, ok, _ := referenceValue(doc, events, before); ok && u.covered {
				u.v[2], u.v[3] = x, xd
			}
		}
		if ofEvents(doc) {
			for _, e := range matching(events, &doc.Measure, now) {
				if v, ok := numberOf(e, doc.ValueKey()); ok {
					u.samples = append(u.samples, v)
				}
			}
		}
		units = append(units, u)
	}
	ratio := isRatio(doc)
	for k := range 4 {
		has := k == 0 || k == 1 && ratio || k == 2 && doc.Lookback() > 0 || k == 3 && ratio && doc.Lookback() > 0
		if doc.Cap == nil || doc.Cap.Percentile == 0 || !has {
			continue
		}
		var pooled []float64
		for _, u := range units {
			pooled = append(pooled, u.v[k])
		}
		caps := stats.Winsor{Upper: doc.Cap.Percentile, KeepZeros: doc.Cap.IgnoreZeros == nil || *doc.Cap.IgnoreZeros}.Caps(pooled)
		for i := range units {
			u := &units[i]
			limit, ok := caps.Upper.Get()
			if ok && u.v[k] > limit {
				u.v[k] = limit
				all[u.group].limited[k]++
			}
			for g := range all {
				all[g].caps[k] = caps.Upper
			}
		}
	}
	values, clusters := make([][]float64, 3), make([][][]float64, 3)
	for _, u := range units {
		if !ratio && !ofEvents(doc) {
			u.v[1] = 1
		}
		if !ratio {
			u.v[3] = 0
		}
		all[u.group].values.Add(u.v, u.covered)
		values[u.group] = append(values[u.group], u.v[0])
		if len(u.samples) > 0 {
			clusters[u.group] = append(clusters[u.group], u.samples)
		}
	}
	if doc.Type != flags.MetricPercentile {
		return all
	}
	for g := range all {
		if ofEvents(doc) {
			values[g] = slices.Concat(clusters[g]...)
		}
		slices.Sort(values[g])
		all[g].quantile = stats.QuantileOf(values[g], doc.Percentile.Level)
		for _, c := range clusters[g] {
			below := 0.0
			for _, v := range c {
				if v <= all[g].quantile.Value {
					below++
				}
			}
			all[g].quantile.Clusters.Add(below, float64(len(c)))
		}
	}
	return all
}

// metricsOfEveryType are a catalogue in which everything is asked for.
func metricsOfEveryType() []*flags.Metric {
	buy := flags.Measure{Event: "buy", ValueFrom: "value"}
	shop := func(op flags.FilterOperator, values ...string) flags.Measure {
		return flags.Measure{Event: "buy", ValueFrom: "value", Filters: []flags.MetricFilter{{Metadata: "shop", Operator: op, Values: values}}}
	}
	worth := func(op flags.FilterOperator, values ...string) flags.Measure {
		return flags.Measure{Event: "buy", Filters: []flags.MetricFilter{{Operator: op, Values: values}}}
	}
	steps := []flags.FunnelStep{{Event: "view"}, {Event: hostile}, {Event: "buy", Filters: []flags.MetricFilter{{Operator: flags.FilterGreater, Values: []string{"2"}}}}}
	all := []*flags.Metric{
		{Type: flags.MetricEventCount, Measure: buy},
		{Type: flags.MetricEventCount, Measure: flags.Measure{Event: hostile}, LookbackDays: 2},
		{Type: flags.MetricEventCount, Measure: buy, WindowHours: 30, LookbackDays: -1},
		{Type: flags.MetricEventCount, Measure: buy, Cap: &flags.Cap{PerDay: 1}},
		{Type: flags.MetricEventUser, Measure: shop(flags.FilterAny, "main", hostile)},
		{Type: flags.MetricEventUser, Measure: shop(flags.FilterNone, "main", "")},
		{Type: flags.MetricEventCount, Measure: shop(flags.FilterContains, "ai", hostile)},
		{Type: flags.MetricEventCount, Measure: shop(flags.FilterStartsWith, "ma", "'")},
		{Type: flags.MetricEventCount, Measure: shop(flags.FilterIsNull)},
		{Type: flags.MetricEventCount, Measure: shop(flags.FilterNonNull)},
		{Type: flags.MetricEventCount, Measure: worth(flags.FilterGreater, "3")},
		{Type: flags.MetricEventCount, Measure: worth(flags.FilterAtLeast, "3")},
		{Type: flags.MetricEventCount, Measure: worth(flags.FilterLess, "-1.5")},
		{Type: flags.MetricEventCount, Measure: worth(flags.FilterAtMost, "1e1")},
		{Type: flags.MetricEventCount, Measure: worth(flags.FilterAny, "2.5", "3", hostile)},
		{Type: flags.MetricEventCount, Measure: worth(flags.FilterIsNull)},
		{Type: flags.MetricEventDAU, Measure: buy},
		{Type: flags.MetricEventDAU, Measure: buy, WindowHours: 50},
		{Type: flags.MetricSum, Measure: buy},
		{Type: flags.MetricSum, Measure: shop(flags.FilterAny, "main"), WindowHours: 24, Cap: &flags.Cap{PerDay: 2.5}},
		{Type: flags.MetricSum, Measure: flags.Measure{Event: "buy", ValueFrom: "metadata." + hostile}},
		{Type: flags.MetricSum, Measure: buy, Cap: &flags.Cap{Percentile: 0.9}},
		{Type: flags.MetricSum, Measure: buy, Cap: &flags.Cap{Percentile: 0.75, IgnoreZeros: new(false)}, WindowHours: 72},
		{Type: flags.MetricMean, Measure: buy},
		{Type: flags.MetricMean, Measure: buy, Cap: &flags.Cap{Percentile: 0.8}},
		{Type: flags.MetricMin, Measure: buy},
		{Type: flags.MetricMax, Measure: buy, MissingAsZero: true},
		{Type: flags.MetricLatest, Measure: buy, Cap: &flags.Cap{Percentile: 0.5}},
		{Type: flags.MetricCountDistinct, Measure: buy},
		{Type: flags.MetricCountDistinct, Measure: flags.Measure{Event: "buy", ValueFrom: "metadata.shop"}},
		{Type: flags.MetricRatio, Numerator: &flags.MetricPart{Type: flags.MetricSum, Measure: buy}, Denominator: &flags.MetricPart{Type: flags.MetricEventCount, Measure: flags.Measure{Event: "view"}}},
		{Type: flags.MetricRatio, Numerator: &flags.MetricPart{Type: flags.MetricCountDistinct, Measure: buy}, Denominator: &flags.MetricPart{Type: flags.MetricEventDAU, Measure: flags.Measure{Event: "view"}}, Cap: &flags.Cap{Percentile: 0.7}, WindowHours: 48},
		{Type: flags.MetricFunnel, Funnel: &flags.Funnel{Steps: steps}},
		{Type: flags.MetricFunnel, Funnel: &flags.Funnel{Steps: steps[1:], FromExposure: true}, WindowHours: 96},
		{Type: flags.MetricFunnel, Funnel: &flags.Funnel{Steps: steps, SessionKey: "session"}},
		{Type: flags.MetricFunnel, Funnel: &flags.Funnel{Steps: steps, CompletionSeconds: 2 * 86400}},
		{Type: flags.MetricRetention, Measure: flags.Measure{Event: "view"}, Retention: &flags.Retention{Day: 1, Days: 2}},
		{Type: flags.MetricPercentile, Measure: buy, Percentile: &flags.Percentile{Level: 0.5, Of: flags.PercentileOfUnits}},
		{Type: flags.MetricPercentile, Measure: buy, Percentile: &flags.Percentile{Level: 0.75, Of: flags.PercentileOfEvents}, WindowHours: 100},
	}
	for i, m := range all {
		m.ID, m.Name = fmt.Sprintf("met_%d", i), fmt.Sprintf("%d %s", i, m.Type)
	}
	return all
}

func TestEveryTypeOfMetricEqualsTheReference(t *testing.T) {
	t.Run("running", func(t *testing.T) {
		compareWithReference(t, 1, false, time.UTC, time.Date(2026, 3, 2, 0, 0, 0, 0, time.UTC))
	})
	// The days on which clocks change have 23 and 25 hours, and windows are of hours.
	for _, tc := range []struct {
		zone string
		day  time.Time // of the start
	}{
		{"Europe/Berlin", time.Date(2026, 3, 26, 0, 0, 0, 0, time.UTC)},
		{"America/New_York", time.Date(2026, 10, 29, 0, 0, 0, 0, time.UTC)},
	} {
		t.Run("ended, in "+tc.zone, func(t *testing.T) {
			zone, err := time.LoadLocation(tc.zone)
			if err != nil {
				t.Fatal(err)
			}
			compareWithReference(t, 2, true, zone, tc.day)
		})
	}
}

func compareWithReference(t *testing.T, seed uint64, ended bool, zone *time.Location, start time.Time) {
	db := warehousetest.Open(t)
	rng := rand.New(rand.NewPCG(seed, 1))
	start = start.In(zone)
	end := start.Add(6*day + 13*time.Hour)
	project := warehousetest.Project()
	doc := &flags.Experiment{
		ID: "exp_1", Name: "it's " + hostile, Status: flags.ExperimentRunning, StartedAt: &start, UnitType: "userID", Allocation: 100,
		Groups: []flags.Group{{ID: "a", Name: "a", Share: 50, Control: true}, {ID: "b", Name: "b", Share: 25}, {ID: "c", Name: "c", Share: 25}},
	}
	if ended {
		doc.EndedAt = &end
	}
	metrics := metricsOfEveryType()
	state := flags.NewState(project)
	seq := uint64(0)
	put := func(d flags.Document) {
		seq++
		state = state.With(flags.Position{LogID: project, Seq: seq, Time: start.UnixMilli() + int64(seq)},
			flags.Entity{Ref: d.Ref(), Name: d.DocName(), Doc: d, Version: 1, Seq: seq, Time: start.UnixMilli() + int64(seq)})
	}
	put(&flags.Project{ID: flags.KindProject.IDPrefix() + project, Name: project, TimeZone: zone.String()})
	for _, m := range metrics {
		put(m)
		doc.Metrics = append(doc.Metrics, m.ID)
	}
	put(doc)

	when := func() time.Time { // often in the same instant as something else
		return start.Add(time.Duration(rng.IntN(24*16)-24*8) * 40 * time.Minute)
	}
	id := func() (id [16]byte) {
		for i := range id {
			id[i] = byte(rng.Uint32())
		}
		return id
	}
	study := attribution.Study{Start: start, End: end}
	var exposures []warehousetest.ExposureRow
	var seen []attribution.Exposure
	for range 250 {
		n := rng.IntN(120)
		group := n % 3
		if rng.IntN(30) == 0 {
			group = rng.IntN(3)
		}
		r := warehousetest.ExposureRow{
			Project: project, Kind: warehouse.KindExperiment, Name: doc.Name, GroupIndex: uint8(group), UnitType: "userID", UnitID: fmt.Sprint("u", n),
			Time: when(), EventID: id(), Override: rng.IntN(40) == 0,
		}
		r.ReceivedAt = r.Time
		exposures = append(exposures, r)
		seen = append(seen, attribution.Exposure{Unit: r.UnitID, Group: fmt.Sprint(group), Time: r.Time, Override: r.Override})
	}
	var events []happening
	for range 2500 {
		e := happening{
			Project: project, Event: []string{"buy", "buy", "view", hostile}[rng.IntN(4)], UnitType: "userID", UnitID: fmt.Sprint("u", rng.IntN(130)),
			Time: when(), EventID: id(), Metadata: map[string]string{},
		}
		e.ReceivedAt = e.Time
		e.UnitIDs = map[string]string{"userID": e.UnitID}
		switch rng.IntN(6) {
		case 0:
		case 1:
			e.ValueText = []string{"gold", hostile}[rng.IntN(2)]
		default:
			e.Value = new(float64(rng.IntN(20)-4) / 2)
		}
		if rng.IntN(4) > 0 {
			e.Metadata["shop"] = []string{"main", "mall", hostile, "'quoted'"}[rng.IntN(4)]
		}
		if rng.IntN(3) > 0 {
			e.Metadata["session"] = fmt.Sprint("s", rng.IntN(3))
		}
		if rng.IntN(2) > 0 {
			e.Metadata[hostile] = []string{"1.5", "no number", "-2"}[rng.IntN(3)]
		}
		events = append(events, e)
	}
	// Half of the events come twice.
	if err := warehousetest.InsertExposures(t.Context(), db, project, exposures); err != nil {
		t.Fatal(err)
	}
	if err := warehousetest.InsertEvents(t.Context(), db, project+"1", events); err != nil {
		t.Fatal(err)
	}
	if err := warehousetest.InsertEvents(t.Context(), db, project+"2", events[:len(events)/2]); err != nil {
		t.Fatal(err)
	}
	byUnit := map[string][]happening{}
	for _, e := range events {
		byUnit[e.UnitID] = append(byUnit[e.UnitID], e)
	}
	for _, list := range byUnit {
		slices.SortFunc(list, func(a, b happening) int {
			return stdcmp.Or(a.Time.Compare(b.Time), stdcmp.Compare(fmt.Sprintf("%x", a.EventID), fmt.Sprintf("%x", b.EventID)))
		})
	}
	enrolled, _ := study.Enrol(seen)
	for unit, e := range enrolled {
		if len(e.First) > 1 {
			t.Fatalf("unit %s is in two groups at once: the reference knows no group for it", unit)
		}
	}

	s := New(func() *warehouse.DB { return db })
	if err := s.Mirror(t.Context(), state); err != nil {
		t.Fatal(err)
	}
	entity, _ := state.Find(flags.KindExperiment, doc.ID)
	p := newPlan(state, entity, doc, end)
	got, err := measure(t.Context(), db, nil, p)
	if err != nil {
		t.Fatalf("measure() = %v", err)
	}
	// Whoever looks again reads what was summed up then.
	again, err := measure(t.Context(), db, nil, p)
	if diff := cmp.Diff(got, again, everyField, cmpopts.EquateNaNs(), cmpopts.EquateEmpty()); err != nil || diff != "" {
		t.Errorf("a second look = %v; differs (-first +second):\n%s", err, diff)
	}
	left, exposed := uint64(0), uint64(0)
	for _, u := range got.units {
		exposed += u.units
		if u.excluded != reasonKept {
			left += u.units
		}
	}
	if exposed != uint64(len(enrolled)) || left == 0 {
		t.Errorf("%d units are exposed, %d of them left out; want %d, and some", exposed, left, len(enrolled))
	}
	for _, m := range metrics {
		for g, want := range reference(m, enrolled, byUnit, end, ended) {
			i := slices.IndexFunc(got.moments, func(x moments) bool { return x.id == m.ID && int(x.group) == g })
			if i < 0 {
				t.Fatalf("%s: no moments of group %d", m.Name, g)
			}
			compareMoments(t, fmt.Sprintf("%s of group %d", m.Name, g), &got.moments[i], &want)
			if g == 0 && want.values.N < 5 {
				t.Errorf("%s: the reference has %d values; too few to tell anything", m.Name, want.values.N)
			}
		}
	}
}

func compareMoments(t *testing.T, what string, got, want *moments) {
	t.Helper()
	differs := func(field string, a, b any) {
		t.Helper()
		t.Errorf("%s: %s = %v; want %v", what, field, a, b)
	}
	near := func(field string, a, b float64) {
		t.Helper()
		if math.Abs(a-b) > 1e-9*max(1, math.Abs(a), math.Abs(b)) || math.IsNaN(a) {
			differs(field, a, b)
		}
	}
	if got.analysed != want.analysed || got.immature != want.immature {
		differs("analysed, immature", []uint64{got.analysed, got.immature}, []uint64{want.analysed, want.immature})
	}
	if got.values.N != want.values.N || got.values.WithCovariate != want.values.WithCovariate {
		differs("units, with covariate", []uint64{got.values.N, got.values.WithCovariate}, []uint64{want.values.N, want.values.WithCovariate})
	}
	if got.limited != want.limited {
		differs("limited", got.limited, want.limited)
	}
	if !slices.Equal(got.steps, want.steps) && want.values.N > 0 {
		differs("steps", got.steps, want.steps)
	}
	for j := range got.caps {
		near("cap", got.caps[j].Or(-1), want.caps[j].Or(-1))
		near("mean "+fmt.Sprint(j), got.values.Mean[j], want.values.Mean[j])
		for k := range got.caps {
			near(fmt.Sprint("product ", j, k), got.values.C[j][k], want.values.C[j][k])
		}
	}
	q, w := &got.quantile, &want.quantile
	if q.N != w.N {
		differs("values of the quantile", q.N, w.N)
	}
	near("quantile", q.Value, w.Value)
	near("lower", q.Lower, w.Lower)
	near("upper", q.Upper, w.Upper)
	if q.Clusters.N != w.Clusters.N {
		differs("clusters", q.Clusters.N, w.Clusters.N)
	}
	near("cluster mean", q.Clusters.MeanY, w.Clusters.MeanY)
	near("cluster product", q.Clusters.CXY, w.Clusters.CXY)
	near("cluster square", q.Clusters.M2Y, w.Clusters.M2Y)
}
