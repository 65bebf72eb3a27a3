package results_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
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
	"github.com/sluice-flags/sluice/services/control/internal/results"
)

func TestMain(m *testing.M) { warehousetest.Main(m) }

var start = time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC)

func at(minutes int) time.Time { return start.Add(time.Duration(minutes) * time.Minute) }

// world is a project with one experiment of three groups, and its facts.
type world struct {
	t       *testing.T
	db      *warehouse.DB
	project string
	state   *flags.State
	service *results.Service

	exposures []warehousetest.ExposureRow
	events    []warehousetest.EventRow
	ids       uint64
}

const experiment = "new checkout"

func newWorld(t *testing.T, change func(*flags.Experiment)) *world {
	t.Helper()
	db := warehousetest.Open(t)
	w := &world{t: t, db: db, project: warehousetest.Project(), service: results.New(func() *warehouse.DB { return db })}
	doc := &flags.Experiment{
		ID: "exp_1", Name: experiment, Status: flags.ExperimentRunning, StartedAt: new(start), UnitType: "userID", Allocation: 100,
		Groups: []flags.Group{
			{ID: "grp_a", Name: "control", Share: 50, Control: true, Parameters: json.RawMessage("{}")},
			{ID: "grp_b", Name: "good", Share: 25, Parameters: json.RawMessage("{}")},
			{ID: "grp_c", Name: "bad", Share: 25, Parameters: json.RawMessage("{}")},
		},
		Metrics: []string{"buyers", "met_2", "revenue", "basket", "late"},
	}
	if change != nil {
		change(doc)
	}
	w.state = flags.NewState(w.project)
	w.put(doc)
	for i, m := range []flags.Metric{
		{Name: "buyers", Type: flags.MetricEventUser, Measure: flags.Measure{Event: "buy"}},
		{Name: "purchases", Type: flags.MetricEventCount, Measure: flags.Measure{Event: "buy"}},
		{Name: "revenue", Type: flags.MetricSum, Measure: flags.Measure{Event: "buy"}},
		{Name: "basket", Type: flags.MetricMean, Measure: flags.Measure{Event: "buy", ValueFrom: "metadata.items"}},
		{Name: "late", Type: flags.MetricEventCount, WindowHours: 1, Measure: flags.Measure{Event: "buy",
			Filters: []flags.MetricFilter{{Metadata: "shop", Operator: "none", Values: []string{"outlet"}}}}},
	} {
		m.ID = fmt.Sprintf("met_%d", i+1)
		m.Direction = flags.Increase
		w.put(&m)
	}
	return w
}

func (w *world) put(doc flags.Document) {
	w.ids++
	at := flags.Position{LogID: w.project, Seq: w.ids, Time: start.UnixMilli() + int64(w.ids)}
	w.state = w.state.With(at, flags.Entity{Ref: doc.Ref(), Name: doc.DocName(), Doc: doc, Version: 1, Seq: at.Seq, Time: at.Time})
}

func (w *world) id() (id [16]byte) {
	w.ids++
	copy(id[:], fmt.Sprintf("%016d", w.ids))
	return id
}

// expose records that unit saw group at a minute of the experiment.
func (w *world) expose(unit string, group uint8, minute int, change ...func(*warehousetest.ExposureRow)) {
	r := warehousetest.ExposureRow{
		Project: w.project, Kind: warehouse.KindExperiment, Name: experiment, GroupIndex: group, UnitType: "userID", UnitID: unit,
		Time: at(minute), ReceivedAt: at(minute), EventID: w.id(), Sequence: 4,
	}
	for _, c := range change {
		c(&r)
	}
	w.exposures = append(w.exposures, r)
}

func byOverride(r *warehousetest.ExposureRow) { r.Override = true }

// buy records a purchase of unit.
func (w *world) buy(unit string, minute int, value float64, change ...func(*warehousetest.EventRow)) {
	r := warehousetest.EventRow{
		Project: w.project, Event: "buy", UnitType: "userID", UnitID: unit, UnitIDs: map[string]string{"userID": unit},
		Time: at(minute), ReceivedAt: at(minute), EventID: w.id(), Value: new(value), Metadata: map[string]string{"items": fmt.Sprint(value / 10), "shop": "main"},
	}
	for _, c := range change {
		c(&r)
	}
	w.events = append(w.events, r)
}

// load sends the facts to the warehouse, as a loader does.
func (w *world) load() {
	w.t.Helper()
	w.ids++
	token := fmt.Sprintf("%s:%d", w.project, w.ids)
	if err := warehousetest.InsertExposures(w.t.Context(), w.db, token, w.exposures); err != nil {
		w.t.Fatal(err)
	}
	if err := warehousetest.InsertEvents(w.t.Context(), w.db, token, w.events); err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) report() results.Report {
	w.t.Helper()
	r, err := w.service.Experiment(w.t.Context(), w.state, experiment, results.Options{})
	if err != nil {
		w.t.Fatalf("Experiment(%q) = %v", experiment, err)
	}
	return r
}

func metric(t *testing.T, r results.Report, name string) []results.MetricGroup {
	t.Helper()
	for _, m := range r.Metrics {
		if m.Name == name {
			return m.Groups
		}
	}
	t.Fatalf("the report has no metric %q", name)
	return nil
}

func TestReportEqualsALedgerByHand(t *testing.T) {
	w := newWorld(t, nil)
	// Control: a1 buys for 10 and 30, a2 for 20, a3 nothing.
	w.expose("a1", 0, 10)
	w.expose("a1", 0, 500) // again: changes nothing
	w.expose("a2", 0, 10)
	w.expose("a3", 0, 10)
	w.buy("a1", 9, 1000) // before the exposure
	w.buy("a1", 10, 10)  // in the same instant: counts
	w.buy("a1", 200, 30) // outside the window of one hour
	w.buy("a2", 11, 20)
	// Good: b1 buys for 40 through a layer, b2 for 60.
	w.expose("b1", 1, 10, func(r *warehousetest.ExposureRow) { r.Kind, r.Layer = warehouse.KindLayer, "checkout" })
	w.expose("b2", 1, 10)
	w.expose("b2", warehouse.NoGroup, 20) // no longer targeted: stays in
	w.buy("b1", 30, 40)
	w.buy("b2", 30, 60, func(r *warehousetest.EventRow) { r.Metadata["shop"] = "outlet" })
	// Left out: by hand; by hand, and then like everyone; two groups; a group that is none.
	w.expose("hand", 1, 10, byOverride)
	w.expose("hand too", 1, 10, byOverride)
	w.expose("hand too", 1, 20)
	w.expose("both", 1, 10)
	w.expose("both", 2, 20)
	w.expose("lost", 7, 10)
	for _, unit := range []string{"hand", "hand too", "both", "lost", "stranger"} {
		w.buy(unit, 30, 1e6)
	}
	// Kept: put in its own group by hand later.
	w.expose("b3", 1, 10)
	w.expose("b3", 1, 20, byOverride)
	// Other environments, other experiments, other unit types, other kinds of name.
	w.expose("x1", 0, 10, func(r *warehousetest.ExposureRow) { r.Environment = "development" })
	w.expose("x2", 0, 10, func(r *warehousetest.ExposureRow) { r.Name = "another" })
	w.expose("x3", 0, 10, func(r *warehousetest.ExposureRow) { r.UnitType = "stableID" })
	w.expose("x4", 0, 10, func(r *warehousetest.ExposureRow) { r.Kind = warehouse.KindGate })
	w.buy("a3", 30, 1e6, func(r *warehousetest.EventRow) { r.Environment = "development" })
	w.buy("a3", 30, 1e6, func(r *warehousetest.EventRow) { r.Event = "sell" })
	w.load()
	w.load() // under another token, as after the engine forgot the first: same identities, same counts

	r := w.report()
	var got []string
	for _, g := range r.Groups {
		got = append(got, fmt.Sprintf("%s exposed %d units %d excluded %v", g.Name, g.Exposed, g.Units, g.Excluded))
	}
	want := []string{
		"control exposed 3 units 3 excluded map[]",
		"good exposed 6 units 3 excluded map[crossover:1 override:2]",
		"bad exposed 0 units 0 excluded map[]",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("groups (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(map[string]uint64{"override": 2, "crossover": 1, "unknown_group": 1}, r.Excluded); diff != "" {
		t.Errorf("excluded (-want +got):\n%s", diff)
	}
	if want := (results.SequenceRange{First: 4, Last: 4, Definition: 1}); r.Sequence != want {
		t.Errorf("sequence = %+v; want %+v", r.Sequence, want)
	}

	for _, tc := range []struct {
		metric           string
		control, good    []float64 // unit values
		wantCode, noUnit stats.Code
	}{
		{"buyers", []float64{1, 1, 0}, []float64{1, 1, 0}, stats.OK, stats.NoUnits},
		{"purchases", []float64{2, 1, 0}, []float64{1, 1, 0}, stats.OK, stats.NoUnits},
		{"revenue", []float64{40, 20, 0}, []float64{40, 60, 0}, stats.OK, stats.NoUnits},
		{"late", []float64{1, 1, 0}, []float64{1, 0, 0}, stats.OK, stats.NoUnits},
	} {
		groups := metric(t, r, tc.metric)
		var c, g stats.Moments
		for i := range tc.control {
			c.Add(tc.control[i])
			g.Add(tc.good[i])
		}
		want := stats.Compare(c, g, stats.Options{})
		if diff := cmp.Diff(want, groups[1].Unadjusted, near(1e-12), cmpopts.IgnoreUnexported(stats.Comparison{})); diff != "" {
			t.Errorf("%s: comparison (-want +got):\n%s", tc.metric, diff)
		}
		if got := groups[2].Comparison.Code; got != tc.noUnit {
			t.Errorf("%s: code of the group without units = %s; want %s", tc.metric, got, tc.noUnit)
		}
		if groups[0].Line != nil {
			t.Errorf("%s: control is compared with itself", tc.metric)
		}
	}
	// Items are a tenth of the value: a1 has 4 in two purchases, a2 2 in one.
	if got := metric(t, r, "basket")[0]; got.N != 2 || math.Abs(got.Mean.Or(-1)-2) > 1e-12 {
		t.Errorf("basket of control = %v of %d units; want 2 of 2", got.Mean, got.N)
	}
	if got := metric(t, r, "buyers")[1].Conversions; got == nil || *got != 2 {
		t.Errorf("conversions of good = %v; want 2", got)
	}
	if _, err := json.Marshal(r); err != nil {
		t.Errorf("the report is no JSON: %v", err)
	}
	sameAsSQL(t, w, r)
}

func near(tolerance float64) cmp.Option {
	return cmp.Comparer(func(a, b stats.Optional) bool { return close(a, b, tolerance) })
}

func close(a, b stats.Optional, tolerance float64) bool {
	x, okX := a.Get()
	y, okY := b.Get()
	return okX == okY && (x == y || math.Abs(x-y) <= tolerance*max(math.Abs(x), math.Abs(y), 1e-9))
}

// sameAsSQL asks the analysts' view and compares it with the report, row by row.
func sameAsSQL(t *testing.T, w *world, r results.Report) {
	t.Helper()
	rows, err := w.db.Conn().Query(t.Context(), fmt.Sprintf(`SELECT metric, group, units, n, conversions, total, mean, variance,
		difference, difference_low, difference_high, standard_error, p_value, lift, lift_low, lift_high
		FROM experiment_results(project = '%s', experiment = '%s')`, w.project, experiment))
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	type row struct {
		units, n    uint64
		conversions *uint64
		numbers     [11]*float64
	}
	view := map[string]row{}
	for rows.Next() {
		var metric, group string
		var v row
		into := []any{&metric, &group, &v.units, &v.n, &v.conversions}
		for i := range v.numbers {
			into = append(into, &v.numbers[i])
		}
		if err := rows.Scan(into...); err != nil {
			t.Fatal(err)
		}
		view[metric+"/"+group] = v
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
	if want := len(r.Metrics) * len(r.Groups); len(view) != want {
		t.Fatalf("the view has %d rows; want %d", len(view), want)
	}
	names := []string{"total", "mean", "variance", "difference", "low", "high", "standard error", "p", "lift", "lift low", "lift high"}
	for _, m := range r.Metrics {
		for i, g := range m.Groups {
			v := view[m.Name+"/"+g.Group]
			if v.units != r.Groups[i].Units || v.n != g.N || (v.conversions == nil) != (g.Conversions == nil) || v.conversions != nil && *v.conversions != *g.Conversions {
				t.Errorf("%s/%s: view has units %d, n %d, conversions %v; report %d, %d, %v",
					m.Name, g.Group, v.units, v.n, v.conversions, r.Groups[i].Units, g.N, g.Conversions)
			}
			want := []stats.Optional{g.Total, g.Mean, g.Variance}
			if g.Line != nil {
				c := g.Unadjusted
				want = append(want, c.Delta, c.Interval.Lower, c.Interval.Upper, c.StandardError, c.PValue, c.Lift.Value, c.Lift.Interval.Lower, c.Lift.Interval.Upper)
			} else {
				want = append(want, make([]stats.Optional, 8)...)
			}
			for k, o := range want {
				var got stats.Optional
				if v.numbers[k] != nil {
					got = stats.Defined(*v.numbers[k])
				}
				if !close(got, o, 1e-6) {
					t.Errorf("%s/%s: %s is %v in the view, %v in the report", m.Name, g.Group, names[k], got, o)
				}
			}
		}
	}
}

// TestReportEqualsTheOracle holds the SQL to the rules of attribution as package
// attribution states them, on facts that are as awkward as chance makes them.
func TestReportEqualsTheOracle(t *testing.T) {
	for _, ended := range []bool{false, true} {
		t.Run(fmt.Sprintf("ended %t", ended), func(t *testing.T) {
			end := start.Add(200 * time.Minute)
			w := newWorld(t, func(e *flags.Experiment) {
				if ended {
					e.Status, e.EndedAt = flags.ExperimentDecided, new(end)
				}
			})
			rng := rand.New(rand.NewPCG(1, 2))
			names := []string{"control", "good", "bad"}
			study := attribution.Study{Start: start, End: start.AddDate(1, 0, 0)}
			if ended {
				study.End = end
			}
			var exposures []attribution.Exposure
			var events []attribution.Event
			for range 3000 {
				unit, group, minute := fmt.Sprintf("u%d", rng.IntN(900)), uint8(rng.IntN(3)), rng.IntN(300)-20
				if rng.IntN(4) > 0 { // mostly the unit's own group
					group = uint8(warehouse.UnitKey("", unit) % 3)
				}
				override := rng.IntN(20) == 0
				w.expose(unit, group, minute, func(r *warehousetest.ExposureRow) { r.Override = override })
				exposures = append(exposures, attribution.Exposure{Unit: unit, Group: names[group], Time: at(minute), Override: override})
			}
			for i := range 6000 {
				unit, minute, value := fmt.Sprintf("u%d", rng.IntN(900)), rng.IntN(300)-20, float64(rng.IntN(1000))/8
				w.buy(unit, minute, value)
				events = append(events, attribution.Event{ID: fmt.Sprint(i), Unit: unit, Name: "buy", Time: at(minute), Value: value, HasValue: true})
			}
			w.load()
			r := w.report()

			for name, m := range map[string]attribution.Metric{
				"buyers":    {Type: attribution.Participation, Event: "buy"},
				"purchases": {Type: attribution.Count, Event: "buy"},
				"revenue":   {Type: attribution.Sum, Event: "buy"},
				"basket":    {Type: attribution.Mean, Event: "buy"}, // a tenth of it
				"late":      {Type: attribution.Count, Event: "buy", Window: time.Hour, MaturedOnly: ended},
			} {
				want := study.Analyze(exposures, events, m)
				for i, g := range r.Groups {
					oracle := want.Groups[g.Name]
					got := metric(t, r, name)[i]
					if g.Units != oracle.Units+got.Immature {
						t.Errorf("%s: %d units in %s, %d of them immature; the oracle has %d", name, g.Units, g.Name, got.Immature, oracle.Units)
					}
					mean, variance := oracle.Values.Y().Mean, oracle.Values.Y().Variance().Or(-1)
					if m.Type == attribution.Mean {
						e := oracle.Ratio.Ratio().Estimate()
						mean, variance = e.Value/10, e.Variance/100
					}
					if !close(got.Mean, stats.Defined(mean), 1e-9) || !close(got.Variance, stats.Defined(variance), 1e-9) {
						t.Errorf("%s in %s: mean %v, variance %v; the oracle has %v, %v", name, g.Name, got.Mean, got.Variance, mean, variance)
					}
				}
				for reason, byGroup := range want.Excluded {
					if reason == attribution.Immature {
						continue // of a metric, not of the experiment
					}
					total := uint64(0)
					for _, n := range byGroup {
						total += n
					}
					if got := r.Excluded[string(reason)]; got != total {
						t.Errorf("%d units excluded for %s; the oracle has %d", got, reason, total)
					}
				}
			}
			srm := stats.SRM([]uint64{r.Groups[0].Units, r.Groups[1].Units, r.Groups[2].Units}, []float64{50, 25, 25})
			if diff := cmp.Diff(srm, r.SRM, near(0)); diff != "" || srm.Verdict == stats.Fine {
				t.Errorf("SRM (-want +got):\n%s; the split by thirds is a mismatch", diff)
			}
			sameAsSQL(t, w, r)
		})
	}
}

func TestExperimentOnAnotherUnitTypeFindsTheEvents(t *testing.T) {
	w := newWorld(t, func(e *flags.Experiment) { e.UnitType = "stableID" })
	stable := func(r *warehousetest.ExposureRow) { r.UnitType = "stableID" }
	w.expose("s1", 0, 10, stable)
	w.expose("s2", 1, 10, stable)
	w.buy("u1", 20, 10, func(r *warehousetest.EventRow) { r.UnitIDs["stableID"] = "s1" }) // logged in
	w.buy("s2", 20, 10, func(r *warehousetest.EventRow) {
		r.UnitType, r.UnitIDs = "stableID", map[string]string{"stableID": "s2"}
	})
	w.buy("s1", 20, 10) // a user whose id happens to be that
	w.load()
	for i, g := range metric(t, w.report(), "purchases")[:2] {
		if got := g.Total.Or(-1); got != 1 {
			t.Errorf("purchases in group %d = %v; want 1", i, got)
		}
	}
}

func TestEventsNameUnitsAsDecisionsFindThem(t *testing.T) {
	w := newWorld(t, func(e *flags.Experiment) { e.UnitType = "companyID" })
	for group, company := range []string{"acme", "ajax"} {
		w.expose(company, uint8(group), 10, func(r *warehousetest.ExposureRow) { r.UnitType = "companyID" })
	}
	w.buy("u1", 20, 10, func(r *warehousetest.EventRow) { r.UnitIDs["companyid"] = "acme" })
	w.buy("ajax", 20, 10, func(r *warehousetest.EventRow) {
		r.UnitType, r.UnitIDs = "companyid", map[string]string{"companyid": "ajax"}
	})
	w.buy("u2", 20, 10, func(r *warehousetest.EventRow) { r.UnitIDs["companyID"], r.UnitIDs["companyid"] = "acme", "ajax" })
	w.load()
	got := metric(t, w.report(), "purchases")
	if acme, ajax := got[0].Total.Or(-1), got[1].Total.Or(-1); acme != 2 || ajax != 1 {
		t.Errorf("purchases = %v of acme, %v of ajax; want 2 and 1: the name of the type counts before that in lower case", acme, ajax)
	}
	h, err := w.service.Health(t.Context(), w.state, experiment, results.Options{})
	if err != nil || len(h.Silent.Rates) < 2 || h.Silent.Rates[0].Or(-1) != 0 || h.Silent.Rates[1].Or(-1) != 0 {
		t.Errorf("Health() = silent %+v, %v; want both companies heard of", h.Silent.Rates, err)
	}
}

func TestReportOfNothingHasCodesAndNoNumbers(t *testing.T) {
	for name, change := range map[string]func(*flags.Experiment){
		"no exposures": nil,
		"not started":  func(e *flags.Experiment) { e.Status, e.StartedAt = flags.ExperimentDraft, nil },
		"no metrics":   func(e *flags.Experiment) { e.Metrics = nil },
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, change)
			if name == "not started" {
				w.expose("tester", 1, 10, byOverride)
				w.load()
			}
			r := w.report()
			if r.SRM.Code != stats.NoUnits {
				t.Errorf("SRM code = %s; want %s", r.SRM.Code, stats.NoUnits)
			}
			for _, m := range r.Metrics {
				if got := m.Groups[1].Comparison.Code; got != stats.NoUnits {
					t.Errorf("%s: code = %s; want %s", m.Name, got, stats.NoUnits)
				}
			}
			r.SQL = nil // statements may speak of NaN
			text, err := json.Marshal(r)
			if err != nil || strings.Contains(string(text), "NaN") {
				t.Errorf("JSON of the report: %v, %s", err, text)
			}
			sameAsSQL(t, w, r)
		})
	}
}

func TestFewUnitsAndNoVarianceHaveCodes(t *testing.T) {
	w := newWorld(t, nil)
	w.expose("a1", 0, 10)
	w.expose("a2", 0, 10)
	w.expose("b1", 1, 10)
	w.expose("b2", 1, 10)
	w.expose("c1", 2, 10)
	for _, unit := range []string{"a1", "a2", "b1", "b2", "c1"} {
		w.buy(unit, 20, -5) // negative values are legal
	}
	w.load()
	r := w.report()
	for name, want := range map[string][2]stats.Code{
		"buyers":  {stats.ZeroVariance, stats.InsufficientUnits},
		"revenue": {stats.ZeroVariance, stats.InsufficientUnits},
		"basket":  {stats.ZeroVariance, stats.InsufficientUnits},
	} {
		groups := metric(t, r, name)
		if got := [2]stats.Code{groups[1].Comparison.Code, groups[2].Comparison.Code}; got != want {
			t.Errorf("%s: codes = %v; want %v", name, got, want)
		}
	}
	sameAsSQL(t, w, r)
}

func TestChangedDefinitionsReachTheViews(t *testing.T) {
	w := newWorld(t, nil)
	w.expose("a1", 0, 10)
	w.buy("a1", 20, 10)
	w.load()
	if got := metric(t, w.report(), "purchases")[0].Total.Or(-1); got != 1 {
		t.Errorf("purchases = %v; want 1", got)
	}
	w.put(&flags.Metric{ID: "met_2", Name: "renamed", Type: flags.MetricEventCount, Measure: flags.Measure{Event: "sell"}})
	if got := metric(t, w.report(), "renamed")[0].Total.Or(-1); got != 0 {
		t.Errorf("the metric after its change = %v; want 0", got)
	}
	// A process that starts anew mirrors everything again and changes nothing.
	w.service = results.New(func() *warehouse.DB { return w.db })
	sameAsSQL(t, w, w.report())
}

func TestErrorsSayWhatIsMissing(t *testing.T) {
	w := newWorld(t, nil)
	if _, err := w.service.Experiment(t.Context(), w.state, "none", results.Options{}); !errors.Is(err, results.ErrUnknownExperiment) {
		t.Errorf("Experiment of an unknown name = %v; want ErrUnknownExperiment", err)
	}
	nowhere := results.New(func() *warehouse.DB { return nil })
	if _, err := nowhere.Experiment(t.Context(), w.state, experiment, results.Options{}); !errors.Is(err, results.ErrUnavailable) {
		t.Errorf("Experiment without a warehouse = %v; want ErrUnavailable", err)
	}
	db, err := warehouse.Open(t.Context(), warehousetest.Engine(t).Config())
	if err != nil {
		t.Fatal(err)
	}
	db.Close()
	closed := results.New(func() *warehouse.DB { return db })
	if _, err := closed.Experiment(t.Context(), w.state, experiment, results.Options{}); !errors.Is(err, results.ErrUnavailable) {
		t.Errorf("Experiment with a closed pool = %v; want ErrUnavailable", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := w.service.Experiment(ctx, w.state, experiment, results.Options{}); !errors.Is(err, context.Canceled) {
		t.Errorf("Experiment with a done context = %v; want context.Canceled", err)
	}
}
