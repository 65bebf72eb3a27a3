package demo

import (
	"encoding/json"
	"math"
	"testing"
	"time"

	"github.com/sluice-flags/sluice/pkg/eval"
	"github.com/sluice-flags/sluice/pkg/flags"
	"github.com/sluice-flags/sluice/pkg/stats"
)

// rules are the demo's definitions as its visitors meet them: with the
// experiment running, and seen through the key of a browser.
func rules(t *testing.T) *eval.Ruleset {
	t.Helper()
	kinds := map[string]flags.Kind{"gates": flags.KindGate, "configs": flags.KindConfig, "metrics": flags.KindMetric, "experiments": flags.KindExperiment}
	state := flags.NewState(projectID)
	now := time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC)
	for i, d := range definitions() {
		raw, err := json.Marshal(d.body)
		if err != nil {
			t.Fatal(err)
		}
		doc, err := flags.Decode(kinds[d.collection], raw)
		if err != nil {
			t.Fatalf("Decode(%s) = %v", raw, err)
		}
		if e, ok := doc.(*flags.Experiment); ok {
			e.Status = flags.ExperimentRunning
		}
		flags.Advance(state, doc, now, nil) // groups go by the experiment's salt, whatever the ids
		if problems := flags.Validate(state, doc); len(problems) > 0 {
			t.Fatalf("Validate(%s) = %v", raw, problems)
		}
		seq := uint64(i + 1)
		state = state.With(flags.Position{LogID: "demo", Seq: seq, Time: now.UnixMilli() + int64(i)},
			flags.Entity{Ref: doc.Ref(), Name: doc.DocName(), Doc: doc, Version: 1, Seq: seq})
	}
	return eval.Compile(flags.Lower(state, flags.Scope{Kind: flags.KeyClient}), eval.Options{})
}

// TestIntervalsCoverTheTrueEffectsAtTheNominalRate lets the demo's visitors come
// two hundred times, each time others, and puts them into groups as an edge
// does. Of the 95 % intervals about 95 in a hundred must hold what [Effects]
// says; of two hundred, within three binomial standard deviations of 190.
func TestIntervalsCoverTheTrueEffectsAtTheNominalRate(t *testing.T) {
	const (
		runs     = 200
		visitors = int(20 * time.Second / openingEvery) // those of the first twenty seconds
		nominal  = 1 - stats.DefaultAlpha
	)
	ruleset := rules(t)
	type cell struct{ metric, group string }
	absolute, relative := map[cell]int{}, map[cell]int{}
	unequal := 0
	for seed := range uint64(runs) {
		buyers, revenue := map[string]stats.Proportion{}, map[string]stats.Moments{}
		for number := range visitors {
			v := newVisitor(seed, number)
			name := ruleset.Config(&eval.User{UserID: v.id}, experimentName).GroupName
			share, sum := buyers[name], revenue[name]
			spent := 0.0
			if v.buys(name) {
				share.Successes++
				spent = v.basket
			}
			share.N++
			sum.Add(spent)
			buyers[name], revenue[name] = share, sum
		}

		var units []uint64
		var shares []float64
		for _, g := range groups {
			units, shares = append(units, buyers[g.name].N), append(shares, g.share)
		}
		if srm := stats.SRM(units, shares); srm.Verdict != stats.Fine {
			unequal++
		}
		control := groups[0].name
		for _, truth := range Effects() {
			var c stats.Comparison
			switch truth.Metric {
			case purchaseMetric:
				c = stats.Compare(buyers[control], buyers[truth.Group], stats.Options{})
			case revenueMetric:
				c = stats.Compare(revenue[control], revenue[truth.Group], stats.Options{})
			}
			if c.Code != stats.OK || c.Lift.Code != stats.OK {
				t.Fatalf("seed %d, %s of %s: codes %s, %s; want OK", seed, truth.Metric, truth.Group, c.Code, c.Lift.Code)
			}
			if c.Interval.Contains(truth.Absolute) {
				absolute[cell{truth.Metric, truth.Group}]++
			}
			if c.Lift.Interval.Contains(truth.Relative) {
				relative[cell{truth.Metric, truth.Group}]++
			}
		}
	}

	slack := 3 * math.Sqrt(runs*nominal*(1-nominal))
	for _, truth := range Effects() {
		for kind, covered := range map[string]int{
			"difference": absolute[cell{truth.Metric, truth.Group}],
			"lift":       relative[cell{truth.Metric, truth.Group}],
		} {
			if math.Abs(float64(covered)-runs*nominal) > slack {
				t.Errorf("%s of %s: %d of %d intervals of the %s hold the truth; want %.0f ± %.1f", truth.Metric, truth.Group, covered, runs, kind, runs*nominal, slack)
			}
		}
	}
	// One split in a hundred looks uneven by chance (p below 0.01).
	if most := runs*0.01 + 3*math.Sqrt(runs*0.01*0.99); float64(unequal) > most {
		t.Errorf("%d of %d splits look uneven; want at most %.1f", unequal, runs, most)
	}
}

// The lines that are printed first ask, turn the gate on, and ask again: that has
// to show a difference.
func TestTheUserWhoIsAskedForIsWithoutTheGate(t *testing.T) {
	if got := rules(t).Gate(&eval.User{UserID: asked}, gateName); got.Pass || got.RuleID == "" {
		t.Errorf("Gate(%s, %s) = %+v; want false, by a rule", asked, gateName, got)
	}
}
