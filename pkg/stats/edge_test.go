package stats_test

import (
	"encoding/json"
	"errors"
	"math"
	"testing"

	"github.com/sluice-flags/sluice/pkg/stats"
)

func TestSRMOverAddsPeriodsOfConstantWeights(t *testing.T) {
	// Fair within each period, and unfair if the weights had not changed.
	periods := []stats.Period{
		{Observed: []uint64{9000, 1010}, Weights: []float64{9, 1}},
		{Observed: []uint64{0, 0}, Weights: []float64{7, 3}},
		{Observed: []uint64{5000, 4950}, Weights: []float64{1, 1}},
	}
	r := stats.SRMOver(periods)
	first, last := stats.SRM(periods[0].Observed, periods[0].Weights), stats.SRM(periods[2].Observed, periods[2].Weights)
	want := first.ChiSquared.Or(0) + last.ChiSquared.Or(0)
	if r.Code != stats.OK || r.DegreesOfFreedom != 2 || math.Abs(r.ChiSquared.Or(0)-want) > 1e-12 || r.Verdict != stats.Fine {
		t.Errorf("SRMOver(%v) = %+v, want χ² %v with 2 degrees of freedom and no alarm", periods, r, want)
	}
	if lumped := stats.SRM([]uint64{14_000, 5960}, []float64{9, 1}); lumped.Verdict != stats.Alert {
		t.Errorf("SRM(all periods as one) = %+v, want an alert", lumped)
	}
	if r := stats.SRMOver(nil); r.Code != stats.NoUnits {
		t.Errorf("SRMOver(nil).Code = %s, want %s", r.Code, stats.NoUnits)
	}
}

func TestSRMIsQuietAboutDeviationsTooSmallToMatter(t *testing.T) {
	for _, tc := range []struct {
		name     string
		observed []uint64
		want     stats.Verdict
	}{
		{"even", []uint64{500_000, 500_000}, stats.Fine},
		{"a tenth of a point at a million units is not significant", []uint64{501_000, 499_000}, stats.Fine},
		{"significant at 100 million units, but by 0.02 points", []uint64{50_020_000, 49_980_000}, stats.Notice},
		{"two points", []uint64{52_000, 48_000}, stats.Alert},
	} {
		if got := stats.SRM(tc.observed, []float64{1, 1}); got.Verdict != tc.want {
			t.Errorf("%s: SRM(%v).Verdict = %s (p %v), want %s", tc.name, tc.observed, got.Verdict, got.PValue, tc.want)
		}
	}
}

func TestSRMRefusesWeightsThatAreNone(t *testing.T) {
	for _, tc := range []struct {
		weights []float64
		want    stats.Reason
	}{
		{[]float64{1}, stats.LengthsDiffer},
		{[]float64{1, -1}, stats.NegativeCount},
		{[]float64{1, math.NaN()}, stats.NonFinite},
		{[]float64{math.MaxFloat64, math.MaxFloat64}, stats.NonFinite},
	} {
		if got := stats.SRM([]uint64{10, 10}, tc.weights); got.Code != stats.InvalidInput || got.Reason != tc.want {
			t.Errorf("SRM(…, %v) = %s %s, want %s %s", tc.weights, got.Code, got.Reason, stats.InvalidInput, tc.want)
		}
	}
}

func TestStrataThatCannotStandAloneJoinTheLargest(t *testing.T) {
	big := stats.Stratum{Control: stats.Moments{N: 500, Mean: 10, M2: 5000}, Treatment: stats.Moments{N: 510, Mean: 11, M2: 5100}}
	small := stats.Stratum{Control: stats.Moments{N: 100, Mean: 3, M2: 400}, Treatment: stats.Moments{N: 90, Mean: 3.2, M2: 380}}
	lone := stats.Stratum{Control: stats.Moments{N: 1, Mean: 10}, Treatment: stats.Moments{N: 5, Mean: 9, M2: 10}}
	joined := stats.Stratum{Control: big.Control.Merge(lone.Control), Treatment: big.Treatment.Merge(lone.Treatment)}
	got := stats.PostStratify([]stats.Stratum{small, lone, big}, stats.Options{})
	want := stats.PostStratify([]stats.Stratum{small, joined}, stats.Options{})
	if got.Code != stats.OK || !near(got.Delta, want.Delta, 1e-12) || !near(got.StandardError, want.StandardError, 1e-12) {
		t.Errorf("PostStratify(with a lone unit) = %v ± %v, want %v ± %v", got.Delta, got.StandardError, want.Delta, want.StandardError)
	}
}

func TestCUPEDIsAppliedOnlyWhereItIsWorthIt(t *testing.T) {
	control, treatment := worked()
	for _, tc := range []struct {
		name    string
		change  func(c *stats.Covaried)
		applied bool
		why     stats.CUPEDReason
	}{
		{"as it is", func(*stats.Covaried) {}, true, ""},
		{"few units were seen before", func(c *stats.Covaried) { c.WithCovariate = 49 }, false, stats.TooFewCovariateUnits},
		{"a small share was seen before", func(c *stats.Covaried) { c.WithCovariate = 4900 }, false, stats.LowCoverage},
		{"everybody had the same before", func(c *stats.Covaried) { c.M2X, c.CXY, c.MeanX = 0, 0, 1 }, false, stats.NoCovariateVariance},
		{"the covariate explains nothing", func(c *stats.Covaried) { c.CXY, c.MeanX = 0, 1 }, false, stats.NoReduction},
	} {
		c, x := control, treatment
		tc.change(&c)
		tc.change(&x)
		if got := stats.CUPED(c, x, stats.Options{}); got.Applied != tc.applied || got.Why != tc.why || got.Comparison.Code != stats.OK {
			t.Errorf("%s: CUPED() = applied %v, why %q, code %s; want %v, %q, OK",
				tc.name, got.Applied, got.Why, got.Comparison.Code, tc.applied, tc.why)
		}
	}
}

func TestLargeOffsetsInRawSumsAreReported(t *testing.T) {
	// Mean 1e8 and standard deviation 1: the sums have lost half of their digits.
	s := stats.Sums{N: 1000, Sum: 1e11, SumSquares: 1e19 + 4096}
	if r := stats.Compare(s, s, stats.Options{}); !r.PrecisionWarning {
		t.Errorf("Compare(%+v).PrecisionWarning = false, want true", s)
	}
	shifted, err := stats.Sums{N: 1000, Sum: 0, SumSquares: 999}.Moments()
	if err != nil {
		t.Fatal(err)
	}
	m := shifted.Shift(1e8)
	if got := m.Variance().Or(0); m.Mean != 1e8 || math.Abs(got-1) > 1e-15 {
		t.Errorf("Shift(1e8) = mean %v variance %v, want 1e8 and 1", m.Mean, got)
	}
}

func TestMomentsThatNoSampleHasAreRefused(t *testing.T) {
	sums := stats.PairSums{N: 10, SumY: 10, SumX: 10, SumSquaresY: 20, SumSquaresX: 20, SumProducts: 100}
	if _, err := sums.Pair(); !errors.Is(err, stats.CovarianceBound) {
		t.Errorf("PairSums(%+v).Pair() = %v, want %v", sums, err, stats.CovarianceBound)
	}
	sums = stats.PairSums{N: 10, SumY: 100, SumSquaresY: 20}
	if _, err := sums.Pair(); !errors.Is(err, stats.NegativeVariance) {
		t.Errorf("PairSums(%+v).Pair() = %v, want %v", sums, err, stats.NegativeVariance)
	}
	if r := stats.Compare(stats.Moments{N: 5, M2: -1}, stats.Moments{N: 5, M2: 1}, stats.Options{}); r.Reason != stats.NegativeVariance {
		t.Errorf("Compare(negative M2).Reason = %s, want %s", r.Reason, stats.NegativeVariance)
	}
}

func TestRatesAreComparedAcrossGroups(t *testing.T) {
	same := stats.CompareRates([]stats.Proportion{{N: 10_000, Successes: 100}, {N: 20_000, Successes: 205}, {}})
	if same.Code != stats.OK || same.DegreesOfFreedom != 1 || same.PValue.Or(0) < 0.5 {
		t.Errorf("CompareRates(like rates) = %+v, want OK with a large p", same)
	}
	other := stats.CompareRates([]stats.Proportion{{N: 10_000, Successes: 100}, {N: 10_000, Successes: 200}})
	// Two groups by hand: z² with the pooled variance.
	z, _ := stats.PooledZ(stats.Proportion{N: 10_000, Successes: 100}, stats.Proportion{N: 10_000, Successes: 200}, stats.TwoSided)
	if want := z.Or(0) * z.Or(0); math.Abs(other.ChiSquared.Or(0)-want) > 1e-9*want {
		t.Errorf("CompareRates(two groups).ChiSquared = %v, want z² = %v", other.ChiSquared, want)
	}
	for _, tc := range []struct {
		groups []stats.Proportion
		want   stats.Code
	}{
		{nil, stats.NoUnits},
		{[]stats.Proportion{{N: 5, Successes: 1}}, stats.NotApplicable},
		{[]stats.Proportion{{N: 50}, {N: 50}}, stats.ZeroVariance},
		{[]stats.Proportion{{N: 50, Successes: 1}, {N: 50}}, stats.TooFewUnits},
		{[]stats.Proportion{{N: 1, Successes: 2}}, stats.InvalidInput},
	} {
		if got := stats.CompareRates(tc.groups); got.Code != tc.want {
			t.Errorf("CompareRates(%v).Code = %s, want %s", tc.groups, got.Code, tc.want)
		}
	}
}

func TestHeterogeneityIsJudgedByTheNumberOfComparisons(t *testing.T) {
	d := stats.Difference{PValue: stats.Defined(0.004)}
	for comparisons, want := range map[int]stats.Heterogeneity{
		1: stats.HighHeterogeneity, 5: stats.SomeHeterogeneity, 50: stats.NoHeterogeneity,
	} {
		if got := d.Heterogeneity(comparisons); got != want {
			t.Errorf("Heterogeneity(%d) at p = 0.004 = %s, want %s", comparisons, got, want)
		}
	}
}

func TestUnitsOfOneRatioHaveNoVariance(t *testing.T) {
	// In binary a tenth of a count is not exact: what rounding leaves must not
	// pass for a spread that makes every difference significant.
	group := func(ratio float64) (r stats.RatioCovaried) {
		for d := range 40 {
			y, x := ratio*float64(d+1), float64(d%7)
			r.Add([4]float64{y, float64(d + 1), x, 1}, true)
		}
		return r
	}
	for _, ratios := range [][2]float64{{0.1, 0.3}, {0.7, 0.7}, {1e-9, 3e7}, {-0.1, 1. / 3}} {
		c, tr := group(ratios[0]), group(ratios[1])
		if got := stats.Compare(c.Ratio(), tr.Ratio(), stats.Options{}); got.Code != stats.ZeroVariance {
			t.Errorf("Compare(ratios %v) = %s with p %v; want ZERO_VARIANCE", ratios, got.Code, got.PValue)
		}
		if got := stats.AnalyzeCUPEDRatio(c, tr, stats.Method{}).Comparison; got.Code != stats.ZeroVariance {
			t.Errorf("AnalyzeCUPEDRatio(ratios %v) = %s with p %v; want ZERO_VARIANCE", ratios, got.Code, got.PValue)
		}
	}
	var c, tr stats.Covaried // y follows from x, but for a difference of one
	for i := range 200 {
		x := 0.1 * float64(i+1)
		c.Add(0.3*x, x)
		tr.Add(0.3*x+1, x)
	}
	c.WithCovariate, tr.WithCovariate = c.N, tr.N
	if got := stats.CUPED(c, tr, stats.Options{}); got.Comparison.PValue.Or(1) == 0 {
		t.Errorf("CUPED(y that follows from x) = %v; want no p of 0", got.Comparison)
	}
}

func TestBurnInAsksForUnitsAndForSuccesses(t *testing.T) {
	enough := stats.Proportion{N: 500, Successes: 50}
	for _, tc := range []struct {
		arm  stats.Proportion
		want bool
	}{
		{enough, true},
		{stats.Proportion{N: 249, Successes: 50}, false},
		{stats.Proportion{N: 500, Successes: 24}, false},
		{stats.Proportion{N: 500, Successes: 480}, false},
		{stats.Proportion{N: 500, Successes: 600}, false},
	} {
		if got := stats.BurnedIn(enough, tc.arm); got != tc.want {
			t.Errorf("BurnedIn(%+v) = %v, want %v", tc.arm, got, tc.want)
		}
	}
}

func TestPlansAgreeWithThemselves(t *testing.T) {
	for name, p := range map[string]stats.Plan{
		"plain":      {Mean: 10, Variance: 400},
		"one-sided":  {Mean: 10, Variance: 400, OneSided: true, Ratio: 0.25},
		"adjusted":   {Mean: 10, Variance: 400, VarianceReduction: 0.5, Ratio: 3},
		"sequential": {Mean: 10, Variance: 400, TuningUnits: 20_000},
	} {
		size := p.SampleSize(0.5, 0.8)
		n, ok := size.ControlExact.Get()
		if size.Code != stats.OK || !ok {
			t.Errorf("%s: SampleSize() = %+v, want OK", name, size)
			continue
		}
		if got := p.Power(n, 0.5).Or(0); math.Abs(got-0.8) > 1e-9 {
			t.Errorf("%s: Power(SampleSize()) = %v, want 0.8", name, got)
		}
		if got := p.MDE(n, 0.8).Or(0); math.Abs(got-0.5) > 1e-9 {
			t.Errorf("%s: MDE(SampleSize()) = %v, want 0.5", name, got)
		}
	}
	adjusted := stats.Plan{Mean: 10, Variance: 400, VarianceReduction: 0.5}.SampleSize(0.5, 0.8)
	plain := stats.Plan{Mean: 10, Variance: 400}.SampleSize(0.5, 0.8)
	if ratio := adjusted.ControlExact.Or(0) / plain.ControlExact.Or(1); math.Abs(ratio-0.5) > 1e-9 {
		t.Errorf("halving the variance takes %v of the units, want 0.5", ratio)
	}
	if got := (stats.Plan{Mean: 1, Variance: 1}).SampleSize(0, 0.8); got.Code != stats.NotApplicable {
		t.Errorf("SampleSize(0).Code = %s, want %s", got.Code, stats.NotApplicable)
	}
	weeks := stats.Plan{}.MDEByWeek([]stats.Week{{1000, 5, 100}, {2000, 8, 220}, {0, 8, 220}}, 0.8)
	if first, second := weeks[0].Or(0), weeks[1].Or(0); !(first > second && second > 0) || !weeks[2].IsZero() {
		t.Errorf("MDEByWeek() = %v, want falling and then undefined", weeks)
	}
	if day, ok := (stats.Traffic{NewUnits: []float64{10, 10}, Allocation: 1, Shares: []float64{1}}).Days([]float64{21}); ok {
		t.Errorf("Days(more than comes) = %d, want none", day)
	}
}

func TestNormalAndNumericBetaPosteriorsMeet(t *testing.T) {
	small := stats.BetaPosterior(stats.Proportion{N: 100_000, Successes: 10_000}, stats.Proportion{N: 100_000, Successes: 10_150}, 1, 1)
	large := stats.BetaPosterior(stats.Proportion{N: 100_001, Successes: 10_000}, stats.Proportion{N: 100_001, Successes: 10_150}, 1, 1)
	for name, pair := range map[string][2]stats.Optional{
		"chance": {small.ChanceToBeat, large.ChanceToBeat}, "loss of treatment": {small.LossOfTreatment, large.LossOfTreatment},
		"loss of control": {small.LossOfControl, large.LossOfControl},
	} {
		if !near(pair[0], pair[1], 2e-3) {
			t.Errorf("BetaPosterior() %s = %v numerically and %v as normal, want them close", name, pair[0], pair[1])
		}
	}
}

func TestResultsOfCompareReadBackFromJSON(t *testing.T) {
	control, treatment := worked()
	r := stats.Compare(control.Y(), treatment.Y(), stats.Options{Tail: stats.Greater})
	raw, err := json.Marshal(r)
	if err != nil {
		t.Fatal(err)
	}
	var again stats.Comparison
	if err := json.Unmarshal(raw, &again); err != nil {
		t.Fatal(err)
	}
	if again.Interval != r.Interval || again.PValue != r.PValue || again.Lift != r.Lift || again.Tail != r.Tail {
		t.Errorf("Unmarshal(Marshal(%+v)) = %+v, want the same numbers", r, again)
	}
}

func TestImpactLeavesOutWhatItCannotKnow(t *testing.T) {
	control, treatment := stats.Proportion{N: 1024, Successes: 128}, stats.Proportion{N: 512, Successes: 96}
	known := stats.Defined(40)
	for _, tc := range []struct {
		name                                   string
		c, t                                   stats.Proportion
		top                                    stats.Topline
		code                                   stats.Code
		perDay, relative, projected, launching stats.Optional
		interval                               bool
	}{
		{"32 more, in four days, of an eighth", control, treatment, stats.Topline{Days: 4, DailyTotal: known, TreatmentShare: 0.125},
			stats.OK, stats.Defined(8), stats.Defined(0.25), stats.Defined(64), stats.Defined(2), true},
		{"nobody counted the whole", control, treatment, stats.Topline{Days: 4, TreatmentShare: 0.125},
			stats.OK, stats.Defined(8), stats.Optional{}, stats.Defined(64), stats.Optional{}, true},
		{"all of it came of the treatment", control, treatment, stats.Topline{Days: 4, DailyTotal: stats.Defined(8), TreatmentShare: 0.125},
			stats.OK, stats.Defined(8), stats.Optional{}, stats.Defined(64), stats.Optional{}, true},
		{"nobody is to be treated", control, treatment, stats.Topline{Days: 4, DailyTotal: known},
			stats.OK, stats.Defined(8), stats.Defined(0.25), stats.Optional{}, stats.Optional{}, true},
		{"no time has passed", control, treatment, stats.Topline{DailyTotal: known, TreatmentShare: 0.125},
			stats.NotApplicable, stats.Optional{}, stats.Optional{}, stats.Optional{}, stats.Optional{}, false},
		{"one unit each", stats.Proportion{N: 1}, stats.Proportion{N: 1, Successes: 1}, stats.Topline{Days: 2, DailyTotal: known, TreatmentShare: 0.5},
			stats.InsufficientUnits, stats.Defined(0.5), stats.Defined(0.5 / 39.5), stats.Defined(1), stats.Defined(1 / 39.5), false},
		{"nothing varies", stats.Proportion{N: 9}, stats.Proportion{N: 9}, stats.Topline{Days: 2, DailyTotal: stats.Defined(0), TreatmentShare: 0},
			stats.ZeroVariance, stats.Defined(0), stats.Optional{}, stats.Optional{}, stats.Optional{}, false},
		{"no units", control, stats.Proportion{}, stats.Topline{Days: 4, DailyTotal: known, TreatmentShare: 0.125},
			stats.NoUnits, stats.Optional{}, stats.Optional{}, stats.Optional{}, stats.Optional{}, false},
		{"more than everybody", control, treatment, stats.Topline{Days: 4, TreatmentShare: 1.1},
			stats.InvalidInput, stats.Optional{}, stats.Optional{}, stats.Optional{}, stats.Optional{}, false},
		{"time runs backwards", control, treatment, stats.Topline{Days: -1, TreatmentShare: 0.125},
			stats.InvalidInput, stats.Optional{}, stats.Optional{}, stats.Optional{}, stats.Optional{}, false},
	} {
		got := stats.Impact(tc.c, tc.t, tc.top, stats.Options{})
		same := func(a, b stats.Optional) bool { return a.IsZero() == b.IsZero() && math.Abs(a.Or(0)-b.Or(0)) < 1e-12 }
		if got.Code != tc.code || !same(got.PerDay, tc.perDay) || !same(got.Relative, tc.relative) ||
			!same(got.ProjectedPerDay, tc.projected) || !same(got.ProjectedRelative, tc.launching) || got.Interval.Lower.IsZero() == tc.interval {
			t.Errorf("%s: Impact(%v, %v, %+v) = %+v; want %s, %v a day, %v of the whole, %v and %v after a launch", tc.name, tc.c, tc.t, tc.top, got,
				tc.code, tc.perDay, tc.relative, tc.projected, tc.launching)
		}
		if want := stats.Compare(tc.c, tc.t, stats.Options{}).Interval; tc.interval && !same(got.Interval.Upper, stats.Defined(want.Upper.Or(0)*512/4)) {
			t.Errorf("%s: Impact().Interval = %v; want %v scaled as the difference is", tc.name, got.Interval, want)
		}
	}
}

func TestIntervalsOfTheLiftDoNotDependOnTheSizeOfValues(t *testing.T) {
	lift := func(k float64) stats.Lift {
		return stats.Compare(
			stats.Moments{N: 1000, Mean: 2 * k, M2: 4000 * k * k},
			stats.Moments{N: 1000, Mean: 2.1 * k, M2: 4400 * k * k}, stats.Options{}).Lift
	}
	want := lift(1)
	for _, k := range []float64{1e-145, 1e-80, 1e80, 1e145} {
		got := lift(k)
		lower, upper := got.Interval.Lower.Or(math.NaN()), got.Interval.Upper.Or(math.NaN())
		if !(math.Abs(lower-want.Interval.Lower.Or(0)) < 1e-12 && math.Abs(upper-want.Interval.Upper.Or(0)) < 1e-12) {
			t.Errorf("values times %g: interval of the lift is %v, want %v", k, got.Interval, want.Interval)
		}
	}
}

func TestSmallDifferencesOfLargeMeansKeepTheirDigits(t *testing.T) {
	const n, sum, step = 3, 1e9 + 1, 0x1p-20 // a third of the sum is no binary number
	squares := float64(sum) * sum / n * (1 + 1e-9)
	control := stats.Sums{N: n, Sum: sum, SumSquares: squares}
	treatment := stats.Sums{N: n, Sum: sum + n*step, SumSquares: squares}
	got := stats.Compare(control, treatment, stats.Options{}).Delta.Or(math.NaN())
	if math.Abs(got-step) > 1e-12*step {
		t.Errorf("difference of means near %g = %v, want %v", float64(sum)/n, got, step)
	}
}

func TestOneSidedBoundsOfTheLiftAgreeWithThePValueAtEveryLevel(t *testing.T) {
	control, treatment := stats.Moments{N: 400, Mean: 10, M2: 4000}, stats.Moments{N: 400, Mean: 10.1, M2: 4000}
	for _, alpha := range []float64{0.05, 0.3, 0.5, 0.6, 0.9} {
		for _, tail := range []stats.Tail{stats.Greater, stats.Less} {
			r := stats.Compare(control, treatment, stats.Options{Alpha: alpha, Tail: tail})
			rejects := r.PValue.Or(math.NaN()) < alpha
			if r.Interval.Contains(0) == rejects || r.Lift.Interval.Contains(0) == rejects {
				t.Errorf("%v at %g: p %v, difference %v, lift %v; want all three to agree", tail, alpha, r.PValue, r.Interval, r.Lift.Interval)
			}
		}
	}
}

// Successes and failures are names: a group where everybody did is the mirror image
// of one where nobody did, though numbers near 1 have fewer digits than those near 0.
func TestPosteriorsOfSharesNearOneMirrorThoseNearZero(t *testing.T) {
	for _, tc := range []struct{ control, treatment stats.Proportion }{
		{stats.Proportion{N: 2056, Successes: 2042}, stats.Proportion{N: 8067, Successes: 8067}},
		{stats.Proportion{N: 50_000, Successes: 50_000}, stats.Proportion{N: 90_000, Successes: 90_000}},
		{stats.Proportion{N: 1, Successes: 1}, stats.Proportion{N: 99_999, Successes: 99_998}},
	} {
		mirrored := func(p stats.Proportion) stats.Proportion {
			return stats.Proportion{N: p.N, Successes: p.N - p.Successes}
		}
		got := stats.BetaPosterior(tc.control, tc.treatment, 0.5, 0.5)
		want := stats.BetaPosterior(mirrored(tc.treatment), mirrored(tc.control), 0.5, 0.5)
		for what, pair := range map[string][2]stats.Optional{
			"chance to beat":    {got.ChanceToBeat, want.ChanceToBeat},
			"loss of treatment": {got.LossOfTreatment, want.LossOfTreatment},
			"loss of control":   {got.LossOfControl, want.LossOfControl},
		} {
			if g, w := pair[0].Or(math.NaN()), pair[1].Or(0); !(math.Abs(g-w) <= 1e-9*w) {
				t.Errorf("%+v: %s is %v, want %v", tc, what, g, w)
			}
		}
	}
}
