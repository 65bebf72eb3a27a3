package stats_test

import (
	"testing"

	"github.com/sluice-flags/sluice/pkg/stats"
)

// worked is a pair of groups with a covariate that explains about half of the
// variance.
func worked() (control, treatment stats.Covaried) {
	control = stats.Covaried{WithCovariate: 70_000, Pair: stats.Pair{
		N: 100_000, MeanY: 10.6, MeanX: 10.5, M2Y: 5.5e7, M2X: 5.2e7, CXY: 3.9e7,
	}}
	treatment = stats.Covaried{WithCovariate: 70_100, Pair: stats.Pair{
		N: 100_300, MeanY: 10.8, MeanX: 10.51, M2Y: 5.6e7, M2X: 5.2e7, CXY: 3.95e7,
	}}
	return control, treatment
}

// scorecard is what one line of a scorecard takes: the adjusted and the plain
// comparison, each with Welch's test, both intervals and Fieller's lift, and the
// confidence sequence.
func scorecard(control, treatment stats.Covaried) (stats.Adjusted, stats.Sequence) {
	r := stats.CUPED(control, treatment, stats.Options{})
	return r, stats.ConfidenceSequence(r.Comparison, stats.SequenceOptions{TuningUnits: 200_000})
}

// One iteration is ten thousand lines of a scorecard; the promise is less than a
// tenth of a second on one core.
func BenchmarkTenThousandComparisons(b *testing.B) {
	control, treatment := worked()
	b.ReportAllocs()
	for b.Loop() {
		for i := range uint64(10_000) {
			treatment.N = 100_300 + i // no two have the same degrees of freedom
			r, s := scorecard(control, treatment)
			if !r.Applied || s.Code != stats.OK {
				b.Fatalf("scorecard() = applied %v, code %s; want true, OK", r.Applied, s.Code)
			}
		}
	}
}

func BenchmarkCompareMeans(b *testing.B) {
	control, treatment := worked()
	b.ReportAllocs()
	for b.Loop() {
		if r := stats.Compare(control.Y(), treatment.Y(), stats.Options{}); r.Code != stats.OK {
			b.Fatalf("Compare() = %s, want OK", r.Code)
		}
	}
}

func BenchmarkStudentTail(b *testing.B) {
	for b.Loop() {
		_ = stats.StudentTail(4.2, 123_456)
	}
}

func BenchmarkStudentUpperQuantile(b *testing.B) {
	for b.Loop() {
		_ = stats.StudentUpperQuantile(0.025, 123_456)
	}
}

func BenchmarkBetaPosterior(b *testing.B) {
	control := stats.Proportion{N: 50_000, Successes: 4_000}
	treatment := stats.Proportion{N: 50_500, Successes: 4_100}
	for b.Loop() {
		_ = stats.BetaPosterior(control, treatment, 1, 1)
	}
}

func TestComparisonsAllocateNothing(t *testing.T) {
	control, treatment := worked()
	shares := [2]stats.Proportion{{N: 1000, Successes: 100}, {N: 1010, Successes: 120}}
	sums := [2]stats.Sums{{N: 100, Sum: 120, SumSquares: 300}, {N: 110, Sum: 130, SumSquares: 320}}
	ratios := [2]stats.Ratio{{Pair: control.Pair}, {Pair: treatment.Pair}}
	for name, compare := range map[string]func(){
		"scorecard":   func() { scorecard(control, treatment) },
		"means":       func() { stats.Compare(control.Y(), treatment.Y(), stats.Options{}) },
		"sums":        func() { stats.Compare(sums[0], sums[1], stats.Options{}) },
		"proportions": func() { stats.Compare(shares[0], shares[1], stats.Options{}) },
		"ratios":      func() { stats.Compare(ratios[0], ratios[1], stats.Options{}) },
	} {
		if got := testing.AllocsPerRun(100, compare); got != 0 {
			t.Errorf("AllocsPerRun(%s) = %v, want 0", name, got)
		}
	}
}
