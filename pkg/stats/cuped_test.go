package stats_test

import (
	"math"
	"math/rand/v2"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/sluice-flags/sluice/pkg/stats"
)

// visits returns units with purchases and visits before and after exposure, both
// by the habits of the unit; lift changes purchases after it.
func visits(r *rand.Rand, n int, lift float64) (joint stats.RatioCovaried, sums stats.RatioCovariedSums) {
	for range n {
		habit := 0.2 + 0.1*r.NormFloat64()
		before, after := 1+float64(r.IntN(9)), 1+float64(r.IntN(9))
		unit := [4]float64{
			stats.Numerator: after*(habit+lift) + 0.1*r.NormFloat64(), stats.Denominator: after,
			stats.PreNumerator: before*habit + 0.1*r.NormFloat64(), stats.PreDenominator: before,
		}
		joint.Add(unit, true)
		sums.N++
		sums.WithCovariate++
		for i := range unit {
			sums.Sum[i] += unit[i]
			for j := range unit {
				sums.Products[i][j] += unit[i] * unit[j]
			}
		}
	}
	return joint, sums
}

func TestRatioMomentsAreTheSameFromUnitsAndFromSums(t *testing.T) {
	joint, sums := visits(rand.New(rand.NewPCG(21, 22)), 5000, 0)
	got, err := sums.RatioCovaried()
	if err != nil {
		t.Fatalf("RatioCovariedSums.RatioCovaried() = %v, want no error", err)
	}
	low := cmpopts.IgnoreFields(stats.RatioCovaried{}, "MeanLow")
	if diff := cmp.Diff(joint, got, low, cmpopts.EquateApprox(1e-9, 0)); diff != "" {
		t.Errorf("RatioCovaried() differs from units added one by one (-want +got):\n%s", diff)
	}
}

func TestCUPEDOnRatiosNarrowsTheIntervalAndFindsTheEffect(t *testing.T) {
	r := rand.New(rand.NewPCG(23, 24))
	control, _ := visits(r, 4000, 0)
	treatment, _ := visits(r, 4000, 0.004)
	a := stats.CUPEDRatio(control, treatment, stats.Options{})
	if reduction := a.VarianceReduction.Or(0); !a.Applied || reduction < 0.3 {
		t.Fatalf("CUPEDRatio() = applied %v with reduction %v, want more than 0.3", a.Applied, reduction)
	}
	if !a.Comparison.Interval.Contains(0.004) || a.Comparison.Interval.Contains(-0.01) {
		t.Errorf("CUPEDRatio().Interval = %v, want it around 0.004", a.Comparison.Interval)
	}
	line := stats.AnalyzeCUPEDRatio(control, treatment, stats.Method{})
	if line.Comparison.Interval != a.Comparison.Interval || !line.Adjusted || !line.BurnedIn {
		t.Errorf("AnalyzeCUPEDRatio() = %+v, want the comparison of CUPEDRatio", line)
	}
	control.WithCovariate, treatment.WithCovariate = 10, 10
	if a := stats.CUPEDRatio(control, treatment, stats.Options{}); a.Applied || a.Why != stats.TooFewCovariateUnits {
		t.Errorf("CUPEDRatio(hardly covered) = applied %v, why %q; want %q", a.Applied, a.Why, stats.TooFewCovariateUnits)
	}
}

func TestInvalidGroupsMakeAdjustedResultsInvalid(t *testing.T) {
	fine := stats.Pair{N: 100, MeanY: 1, M2Y: 50, M2X: 50, CXY: 10}
	for _, tc := range []struct {
		name string
		bad  stats.Pair
		want stats.Reason
	}{
		{"no number", stats.Pair{N: 100, MeanY: math.NaN()}, stats.NonFinite},
		{"negative variance", stats.Pair{N: 100, M2Y: 1, M2X: -1}, stats.NegativeVariance},
		{"more covariance than variance", stats.Pair{N: 100, M2Y: 1, M2X: 1, CXY: 2}, stats.CovarianceBound},
	} {
		a := stats.CompareAdjusted(fine, tc.bad, stats.Options{})
		if a.Applied || a.Comparison.Code != stats.InvalidInput || a.Comparison.Reason != tc.want {
			t.Errorf("%s: CompareAdjusted() = %s %s, want %s %s",
				tc.name, a.Comparison.Code, a.Comparison.Reason, stats.InvalidInput, tc.want)
		}
	}
}

func TestSparseSharesAreThoseWithFewOnEitherSide(t *testing.T) {
	for p, want := range map[stats.Proportion]bool{
		{N: 100, Successes: 9}:  true,
		{N: 100, Successes: 91}: true,
		{N: 100, Successes: 50}: false,
		{}:                      true,
	} {
		if got := p.Sparse(); got != want {
			t.Errorf("%+v.Sparse() = %v, want %v", p, got, want)
		}
	}
	sum := stats.Proportion{N: 10, Successes: 1}.Merge(stats.Proportion{N: 5, Successes: 2})
	if want := (stats.Proportion{N: 15, Successes: 3}); sum != want {
		t.Errorf("Merge() = %+v, want %+v", sum, want)
	}
}

func TestAlphaIsSharedOnlyAmongMetricsThatExist(t *testing.T) {
	for _, tc := range []struct {
		primary, secondary, treatments int
		wantPrimary, wantSecondary     stats.Optional
	}{
		{2, 4, 1, stats.Defined(0.02), stats.Defined(0.0025)},
		{2, 0, 1, stats.Defined(0.025), stats.Optional{}},
		{0, 5, 2, stats.Optional{}, stats.Defined(0.005)},
		{0, 0, 1, stats.Optional{}, stats.Optional{}},
		{1, 1, 0, stats.Optional{}, stats.Optional{}},
	} {
		p, s := stats.SplitAlpha(0.05, 0.8, tc.primary, tc.secondary, tc.treatments)
		if p.IsZero() != tc.wantPrimary.IsZero() || s.IsZero() != tc.wantSecondary.IsZero() ||
			math.Abs(p.Or(0)-tc.wantPrimary.Or(0)) > 1e-15 || math.Abs(s.Or(0)-tc.wantSecondary.Or(0)) > 1e-15 {
			t.Errorf("SplitAlpha(0.05, 0.8, %d, %d, %d) = %v, %v; want %v, %v",
				tc.primary, tc.secondary, tc.treatments, p, s, tc.wantPrimary, tc.wantSecondary)
		}
	}
}
