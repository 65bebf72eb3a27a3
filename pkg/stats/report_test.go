package stats_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/sluice-flags/sluice/pkg/stats"
)

var exactly = cmpopts.EquateComparable(stats.Optional{})

func TestAComparisonAtAnotherLevelEqualsOneMadeThere(t *testing.T) {
	control, treatment := worked()
	for _, tail := range []stats.Tail{stats.TwoSided, stats.Greater, stats.Less} {
		at05 := stats.Compare(control.Y(), treatment.Y(), stats.Options{Tail: tail}).At(0.01)
		at01 := stats.Compare(control.Y(), treatment.Y(), stats.Options{Tail: tail, Alpha: 0.01})
		for name, ends := range map[string][2]stats.Interval{
			"interval": {at05.Interval, at01.Interval},
			"Fieller":  {at05.Lift.Interval, at01.Lift.Interval},
			"log":      {at05.Lift.Log, at01.Lift.Log},
		} {
			if !near(ends[0].Lower, ends[1].Lower, 1e-12) && tail != stats.Less ||
				!near(ends[0].Upper, ends[1].Upper, 1e-12) && tail != stats.Greater {
				t.Errorf("Compare(…, %d).At(0.01) %s = %v, want %v", tail, name, ends[0], ends[1])
			}
		}
	}
	if r := stats.Compare(control.Y(), treatment.Y(), stats.Options{}).At(2); r.Reason != stats.AlphaOutOfRange {
		t.Errorf("Comparison.At(2).Reason = %q, want %q", r.Reason, stats.AlphaOutOfRange)
	}
}

func TestALineReadsTheSameAggregatesInEveryWay(t *testing.T) {
	control, treatment := worked()
	l := stats.AnalyzeCUPED(control, treatment, stats.Method{})
	if !l.Adjusted || !l.BurnedIn || l.Comparison.Code != stats.OK || l.Sequence.Code != stats.OK || l.Posterior.Code != stats.OK {
		t.Fatalf("AnalyzeCUPED() = %+v, want everything adjusted and OK", l)
	}
	if diff := cmp.Diff(l.Comparison.Delta, l.Sequence.Estimate, exactly); diff != "" {
		t.Errorf("AnalyzeCUPED().Sequence.Estimate differs from the comparison (-want +got):\n%s", diff)
	}
	if plain, narrow := l.Unadjusted.StandardError.Or(0), l.Comparison.StandardError.Or(0); !(narrow < plain) {
		t.Errorf("AnalyzeCUPED() standard error = %v, want below %v", narrow, plain)
	}
	fixed, always := l.Comparison.Interval, l.Sequence.Interval
	if !(always.Lower.Or(0) < fixed.Lower.Or(0) && always.Upper.Or(0) > fixed.Upper.Or(0)) {
		t.Errorf("AnalyzeCUPED().Sequence.Interval = %v, want wider than %v", always, fixed)
	}
}

func TestQuantilesHaveNoSequentialReading(t *testing.T) {
	q := stats.Quantile{N: 1000, Level: 0.5, Value: 5, Lower: 4.9, Upper: 5.1}
	if l := stats.Analyze(q, q, stats.Method{}); l.Sequence.Code != stats.NotApplicable || l.Comparison.Code != stats.OK {
		t.Errorf("Analyze(%+v) = sequence %s, comparison %s; want NOT_APPLICABLE, OK", q, l.Sequence.Code, l.Comparison.Code)
	}
}

func TestCorrectedIntervalsGoWithTheirDecisions(t *testing.T) {
	control, treatment := worked()
	for _, peeking := range []bool{false, true} {
		family := make([]stats.Line, 0, 4)
		for i := range 4 {
			shifted := treatment
			shifted.MeanY = control.MeanY + 0.15*float64(i)
			family = append(family, stats.AnalyzeCUPED(control, shifted, stats.Method{Peeking: peeking}))
		}
		family = append(family, stats.Analyze(stats.Moments{}, stats.Moments{}, stats.Method{Peeking: peeking}))
		stats.Correct(family, stats.Bonferroni, 0.05)
		for i, l := range family[:4] {
			if l.CorrectedInterval.Contains(0) == l.Significant {
				t.Errorf("Correct() with peeking %v: line %d significant %v with interval %v", peeking, i, l.Significant, l.CorrectedInterval)
			}
		}
		if first, last := family[0], family[3]; first.Significant == last.Significant {
			t.Errorf("Correct() with peeking %v: significant %v and %v, want one of the two", peeking, first.Significant, last.Significant)
		}
		if _, ok := family[4].CorrectedPValue.Get(); ok {
			t.Errorf("Correct() gave a group without units the p-value %v, want none", family[4].CorrectedPValue)
		}
	}
}

func TestRunningKeepsTheSmallestPAndTheCommonInterval(t *testing.T) {
	look := func(delta float64) stats.Sequence {
		c := stats.Moments{N: 1000, Mean: 10, M2: 1000}
		x := c
		x.Mean += delta
		return stats.ConfidenceSequence(stats.Compare(c, x, stats.Options{}), stats.SequenceOptions{})
	}
	r := stats.Running{}.Update(look(0.3)).Update(look(0.1)).Update(stats.Sequence{Code: stats.NoUnits})
	if r.Code != stats.OK || r.Looks != 2 || r.PValue != look(0.3).PValue ||
		r.Interval.Lower != look(0.3).Interval.Lower || r.Interval.Upper != look(0.1).Interval.Upper {
		t.Errorf("Running = %+v, want the common interval and the smallest p of two looks", r)
	}
	if r = r.Update(look(9)); r.Code != stats.SequentialEmptyIntersection || r.Interval != look(9).Interval {
		t.Errorf("Running.Update(contradiction) = %+v, want %s with the current interval", r, stats.SequentialEmptyIntersection)
	}
}

func TestTheChanceToBeatNeedsNoLift(t *testing.T) {
	control, treatment := stats.Moments{N: 100, Mean: 0, M2: 100}, stats.Moments{N: 100, Mean: 0.2, M2: 100}
	got := stats.Analyze(control, treatment, stats.Method{}).Posterior
	want := stats.NormalPosterior(stats.Compare(control, treatment, stats.Options{}), stats.BayesOptions{Scale: stats.Absolute}).ChanceToBeat
	if got.Code != stats.ZeroControlMean || got.ChanceToBeat != want || want.Or(0) < 0.9 || got.Mean != (stats.Optional{}) {
		t.Errorf("posterior without a lift = %+v; want %s, the chance %v and nothing else", got, stats.ZeroControlMean, want)
	}
	prior := stats.Analyze(control, treatment, stats.Method{Bayes: stats.BayesOptions{Prior: stats.Prior{SD: 0.1}}}).Posterior
	if prior.ChanceToBeat != (stats.Optional{}) {
		t.Errorf("posterior with a prior of the lift, but without a lift = %+v; want no chance", prior)
	}
}
