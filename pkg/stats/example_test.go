package stats_test

import (
	"fmt"

	"github.com/sluice-flags/sluice/pkg/stats"
)

// A warehouse returned, per group, how many units there were and how many of them
// bought something.
func Example() {
	control := stats.Proportion{N: 12_000, Successes: 1_140}
	treatment := stats.Proportion{N: 12_110, Successes: 1_251}

	split := stats.SRM([]uint64{control.N, treatment.N}, []float64{1, 1})
	fmt.Printf("split: %s, p = %.2f\n", split.Verdict, split.PValue.Or(0))

	r := stats.Compare(control, treatment, stats.Options{})
	lower, upper := r.Lift.Interval.Lower.Or(0), r.Lift.Interval.Upper.Or(0)
	fmt.Printf("lift: %+.1f%%, 95%% interval [%+.1f%%, %+.1f%%], p = %.3f\n",
		100*r.Lift.Value.Or(0), 100*lower, 100*upper, r.PValue.Or(1))

	// The same numbers when somebody looked every day.
	s := stats.ConfidenceSequence(r, stats.SequenceOptions{TuningUnits: 24_000})
	fmt.Printf("at any look: p = %.3f\n", s.PValue.Or(1))
	// Output:
	// split: ok, p = 0.48
	// lift: +8.7%, 95% interval [+0.8%, +17.4%], p = 0.031
	// at any look: p = 0.379
}

// Groups too small for an answer get a code in its place.
func ExampleCompare_codes() {
	r := stats.Compare(stats.Sums{N: 50, Sum: 60, SumSquares: 300}, stats.Sums{N: 1, Sum: 2, SumSquares: 4}, stats.Options{})
	fmt.Println(r.Code, r.Delta, r.PValue)
	// Output: INSUFFICIENT_UNITS 0.8 undefined
}

// How long must the experiment run?
func ExamplePlan_SampleSize() {
	plan := stats.Plan{Mean: 20, Variance: 900, VarianceReduction: 0.4}
	size := plan.SampleSize(0.02*20, 0.8)
	traffic := stats.Traffic{
		NewUnits:   []float64{40_000, 30_000, 25_000, 22_000, 20_000, 19_000, 18_000},
		Allocation: 0.9, Shares: []float64{0.5, 0.5},
	}
	day, ok := traffic.Days([]float64{float64(size.Control), float64(size.Treatment)})
	fmt.Println(size.Control, day, ok)
	// Output: 52980 5 true
}

// Eight metrics were looked at together.
func ExampleCorrection_Adjust() {
	var p []stats.Optional
	for _, v := range []float64{0.001, 0.012, 0.02, 0.2, 0.3, 0.6, 0.7, 0.9} {
		p = append(p, stats.Defined(v))
	}
	f := stats.BenjaminiHochberg.Adjust(p, 0.05)
	fmt.Println(f.Rejected[:3], f.Adjusted[1])
	// Output: [true true false] 0.048
}
