package results_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/sluice-flags/sluice/internal/warehouse"
	"github.com/sluice-flags/sluice/internal/warehouse/warehousetest"
	"github.com/sluice-flags/sluice/pkg/flags"
	"github.com/sluice-flags/sluice/pkg/stats"
	"github.com/sluice-flags/sluice/services/control/internal/results"
)

const gate = "new footer"

// gated is a world with a gate that changes, and its history.
type gated struct {
	*world
	versions []flags.Entity
	gates    *results.Gates
}

func newGated(t *testing.T) *gated {
	t.Helper()
	g := &gated{world: newWorld(t, nil)}
	g.gates = results.NewGates(g.service, func(context.Context, string, flags.Ref) iter.Seq2[flags.Entity, error] {
		return func(yield func(flags.Entity, error) bool) {
			for _, v := range g.versions {
				if !yield(v, nil) {
					return
				}
			}
		}
	})
	return g
}

// change writes the gate as it is from a minute on.
func (g *gated) change(minute int, change func(*flags.Gate)) {
	g.t.Helper()
	doc := &flags.Gate{ID: "gate_1", Name: gate, Status: flags.StatusInProgress, UnitType: "userID", Rules: []flags.Rule{
		{ID: "staff", Name: "Staff", PassPercentage: 100, Conditions: []flags.Condition{{Type: "public"}}},
		{ID: "some", Name: "Some", PassPercentage: 25, Step: 1, Conditions: []flags.Condition{{Type: "public"}}},
	}}
	change(doc)
	g.ids++
	at := flags.Position{LogID: g.project, Seq: g.ids, Time: start.Add(time.Duration(minute) * time.Minute).UnixMilli()}
	e := flags.Entity{Ref: doc.Ref(), Name: doc.Name, Doc: doc, Version: uint64(len(g.versions) + 1), Seq: at.Seq, Time: at.Time}
	g.state = g.state.With(at, e)
	g.versions = append(g.versions, e)
}

// check records that the gate was asked for unit.
func (g *gated) check(unit, ruleID, value string, minute int, change ...func(*warehousetest.ExposureRow)) {
	g.expose(unit, warehouse.NoGroup, minute, append(change, func(r *warehousetest.ExposureRow) {
		r.Kind, r.Name, r.RuleID, r.Value = warehouse.KindGate, gate, ruleID, value
		r.Override = ruleID == "gate_1:override"
	})...)
}

func (g *gated) report(o results.GateOptions) results.GateReport {
	g.t.Helper()
	r, err := g.gates.Gate(g.t.Context(), g.state, gate, o)
	if err != nil {
		g.t.Fatalf("Gate(%q) = %v", gate, err)
	}
	if _, err := json.Marshal(r); err != nil {
		g.t.Errorf("the report is no JSON: %v", err)
	}
	return r
}

func TestEachStepOfAGateHasResultsOfItsOwn(t *testing.T) {
	g := newGated(t)
	nothing := func(*flags.Gate) {}
	more := func(d *flags.Gate) { d.Rules[1].PassPercentage, d.Rules[1].Step = 50, 2 }
	g.change(0, nothing)
	g.change(60, func(d *flags.Gate) { d.Rules[1].Conditions = []flags.Condition{{Type: "country"}} }) // units stay in
	g.change(100, more)
	g.change(200, func(d *flags.Gate) { more(d); d.Status = flags.StatusLaunched })

	const first, second = "some:25.00:1", "some:50.00:2"
	g.check("p1", first, "true", 10)
	g.check("p1", first, "true", 20)
	g.check("p1", "default", "false", 70) // meets the rule no more: stays in
	g.check("p2", first, "true", 10)
	g.check("f1", first, "false", 10)
	g.check("f2", first, "false", 10)
	g.check("both", first, "false", 10)
	g.check("both", first, "true", 11)
	g.check("hand", "gate_1:override", "true", 10)
	g.check("worker", "staff:100.00:1", "true", 10)
	g.check("late", first, "false", 150) // an old client: the step is over
	for _, unit := range []string{"p1", "p2", "f1", "hand", "worker"} {
		g.buy(unit, 90, 10)
	}
	g.buy("p1", 150, 1000) // after the step
	g.buy("f2", 5, 1000)   // before the exposure
	g.check("f1", second, "true", 110)
	g.check("f2", second, "false", 110)
	g.buy("f1", 120, 40)
	g.check("f2", second, "false", 210)
	g.buy("f2", 210, 1e6) // everybody has it: nothing is analysed
	g.check("fresh", second, "false", 210)
	g.load()
	g.load() // the same identities, the same counts

	r := g.report(results.GateOptions{})
	var got []string
	for _, s := range r.Steps {
		for i, group := range s.Groups {
			got = append(got, fmt.Sprintf("%s step %d at %v %%: %s %v %% exposed %d units %d excluded %v bought for %v",
				s.Rule, s.Step, s.Percentage, group.Name, group.Share, group.Exposed, group.Units, group.Excluded, metric(t, s.Report, "revenue")[i].Total.Or(-1)))
		}
	}
	want := []string{
		"some step 2 at 50 %: Fail 50 % exposed 1 units 1 excluded map[] bought for 0",
		"some step 2 at 50 %: Pass 50 % exposed 1 units 1 excluded map[] bought for 40",
		"some step 1 at 25 %: Fail 75 % exposed 3 units 2 excluded map[crossover:1] bought for 10",
		"some step 1 at 25 %: Pass 25 % exposed 3 units 2 excluded map[override:1] bought for 20",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("steps (-want +got):\n%s", diff)
	}
	one := g.report(results.GateOptions{Rule: "some", Step: 1})
	if len(one.Steps) != 1 || one.Steps[0].Step != 1 || !one.Steps[0].End.Equal(at(100)) || !one.Steps[0].Start.Equal(at(0)) {
		t.Fatalf("the first step alone = %+v", one.Steps)
	}
	for _, o := range []results.GateOptions{{Rule: "nope"}, {Step: 99}, {Rule: "some", Step: 3}} {
		if r, err := g.gates.Gate(t.Context(), g.state, gate, o); !errors.Is(err, results.ErrUnknownStep) || !strings.Contains(err.Error(), "rule=some&step=2, rule=some&step=1") {
			t.Errorf("Gate(%+v) = %d steps, %v; want an error that names those there are", o, len(r.Steps), err)
		}
	}
	if s := one.Steps[0].Sequence; s.First != 4 || s.Last != 4 {
		t.Errorf("sequences of the first step = %+v; want those of its exposures, 4", s)
	}
	var c, p stats.Moments
	for _, v := range []float64{10, 0} {
		c.Add(v)
	}
	for _, v := range []float64{10, 10} {
		p.Add(v)
	}
	wantLine := stats.Compare(c, p, stats.Options{})
	if diff := cmp.Diff(wantLine, metric(t, one.Steps[0].Report, "revenue")[1].Unadjusted, near(1e-12), cmpopts.IgnoreUnexported(stats.Comparison{})); diff != "" {
		t.Errorf("revenue of the first step (-want +got):\n%s", diff)
	}

	rows, err := g.db.Conn().Query(t.Context(), fmt.Sprintf(`SELECT group, units, total, difference FROM gate_results(project = '%s', gate = '%s', rule = 'some', step = 1) WHERE metric = 'revenue' ORDER BY group_index`, g.project, gate))
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	got = nil
	for rows.Next() {
		var group string
		var units uint64
		var total, difference *float64
		if err := rows.Scan(&group, &units, &total, &difference); err != nil {
			t.Fatal(err)
		}
		got = append(got, fmt.Sprintf("%s %d %v %v", group, units, *total, difference == nil))
	}
	if diff := cmp.Diff([]string{"Fail 2 10 true", "Pass 2 20 false"}, got); diff != "" {
		t.Errorf("gate_results (-want +got):\n%s", diff)
	}
}

func TestAGateWithoutAPartialRolloutHasNoSteps(t *testing.T) {
	g := newGated(t)
	g.change(0, func(d *flags.Gate) { d.Rules = d.Rules[:1] })
	if r := g.report(results.GateOptions{}); len(r.Steps) != 0 {
		t.Errorf("steps = %+v; want none", r.Steps)
	}
	if _, err := g.gates.Gate(t.Context(), g.state, "none", results.GateOptions{}); !errors.Is(err, results.ErrUnknownGate) {
		t.Errorf("Gate of an unknown name = %v; want ErrUnknownGate", err)
	}
}

// TestAnalystsSeeStepsOfGatesThatNobodyAskedFor refreshes what an analyst reads,
// as control does every few seconds, and asks no report.
func TestAnalystsSeeStepsOfGatesThatNobodyAskedFor(t *testing.T) {
	g := newGated(t)
	g.change(0, func(*flags.Gate) {})
	g.check("p1", "some:25.00:1", "true", 10)
	g.check("f1", "some:25.00:1", "false", 10)
	g.buy("p1", 20, 30)
	g.load()
	if err := g.gates.Refresh(t.Context(), g.state); err != nil {
		t.Fatalf("Refresh() = %v", err)
	}
	row := g.db.Conn().QueryRow(t.Context(), fmt.Sprintf(`SELECT concat(toString(any(n)), ' ', toString(any(total)))
		FROM gate_results(project = '%s', gate = '%s', rule = 'some', step = 1) WHERE metric = 'revenue' AND group = 'Pass'`, g.project, gate))
	var got string
	if err := row.Scan(&got); err != nil || got != "1 30" {
		t.Errorf("gate_results of Pass = %q, %v; want 1 unit with 30", got, err)
	}
}
