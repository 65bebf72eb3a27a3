package stats_test

import (
	"bytes"
	"encoding/json"
	"math"
	"math/rand/v2"
	"testing"

	"pgregory.net/rapid"

	"github.com/sluice-flags/sluice/pkg/stats"
)

// manyInputs is how many random inputs a property is asked about; -short and the
// race detector, which has nothing to find here, ask fewer.
func manyInputs() int {
	if testing.Short() || raceEnabled {
		return 20_000
	}
	return 1_000_000
}

// randomPair returns moments that some sample has, over many orders of magnitude,
// with an effect that is significant about half of the time.
func randomPair(r *rand.Rand) (control, treatment stats.Pair) {
	scale := math.Exp(20*r.Float64() - 10)
	mean := scale * 3 * r.NormFloat64()
	sd := scale * math.Exp(3*r.NormFloat64())
	one := func() stats.Pair {
		n := uint64(2 + math.Exp(16*r.Float64()))
		s := sd * math.Exp(0.3*r.NormFloat64())
		correlation := math.Tanh(r.NormFloat64())
		p := stats.Pair{
			N: n, MeanY: mean + 1.5*s/math.Sqrt(float64(n))*r.NormFloat64(), MeanX: mean,
			M2Y: s * s * float64(n-1), M2X: sd * sd * float64(n-1),
		}
		p.CXY = correlation * math.Sqrt(p.M2Y) * math.Sqrt(p.M2X)
		return p
	}
	return one(), one()
}

func TestBothIntervalsAndThePValueAlwaysAgree(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	tails := [...]stats.Tail{stats.TwoSided, stats.Greater, stats.Less}
	alphas := [...]float64{0.001, 0.01, 0.05, 0.1, 0.2}
	significant, bounded := 0, 0
	for range manyInputs() {
		control, treatment := randomPair(r)
		o := stats.Options{Alpha: alphas[r.IntN(len(alphas))], Tail: tails[r.IntN(len(tails))]}
		var c stats.Comparison
		switch r.IntN(3) {
		case 0:
			c = stats.Compare(control.Y(), treatment.Y(), o)
		case 1:
			c = stats.Compare(stats.Ratio{Pair: control}, stats.Ratio{Pair: treatment}, o)
		default:
			c = stats.CompareAdjusted(control, treatment, o).Comparison
		}
		if c.Code != stats.OK {
			t.Fatalf("comparing %+v with %+v: code %s, want OK", control, treatment, c.Code)
		}
		rejects := c.PValue.Or(math.NaN()) < o.Alpha
		if c.Interval.Contains(0) == rejects {
			t.Fatalf("comparing %+v with %+v under %+v: interval %v and p = %v disagree",
				control, treatment, o, c.Interval, c.PValue)
		}
		if rejects {
			significant++
		}
		if c.Lift.Kind != stats.Bounded {
			continue
		}
		bounded++
		if c.Lift.Interval.Contains(0) == rejects {
			t.Fatalf("comparing %+v with %+v under %+v: Fieller interval %v and p = %v disagree",
				control, treatment, o, c.Lift.Interval, c.PValue)
		}
		if !c.Lift.Interval.Contains(c.Lift.Value.Or(math.NaN())) {
			t.Fatalf("comparing %+v with %+v: lift %v is outside its interval %v",
				control, treatment, c.Lift.Value, c.Lift.Interval)
		}
	}
	if all := manyInputs(); significant < all/20 || bounded < all/10 {
		t.Errorf("of %d inputs %d were significant and %d had a bounded lift: the test has no teeth",
			all, significant, bounded)
	}
}

func TestConfidenceSequenceAndItsPValueAreDual(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	for range manyInputs() / 10 {
		control, treatment := randomPair(r)
		treatment.MeanY += 4 * r.NormFloat64() * math.Sqrt(treatment.M2Y) / float64(treatment.N)
		c := stats.Compare(control.Y(), treatment.Y(), stats.Options{})
		for _, tail := range [...]stats.Tail{stats.TwoSided, stats.Greater, stats.Less} {
			for _, scale := range [...]stats.Scale{stats.Absolute, stats.Relative} {
				o := stats.SequenceOptions{
					Alpha: 0.1, Tail: tail, Scale: scale, TuningUnits: math.Exp(15 * r.Float64()), TuningAlpha: 0.2,
				}
				s := stats.ConfidenceSequence(c, o)
				if s.Code != stats.OK {
					t.Fatalf("ConfidenceSequence(%+v, %+v) = %s, want OK", c, o, s.Code)
				}
				if s.Interval.Contains(0) == (s.PValue.Or(math.NaN()) < o.Alpha) {
					t.Fatalf("ConfidenceSequence(%+v, %+v): interval %v and p = %v disagree", c, o, s.Interval, s.PValue)
				}
			}
		}
	}
}

func TestTailsAndQuantilesInvertEachOther(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 6))
	for range 50_000 {
		p := math.Exp(-600 * r.Float64() * r.Float64() * r.Float64())
		df := math.Exp(30 * r.Float64())
		if p >= 1 {
			continue
		}
		q := stats.StudentUpperQuantile(p, df)
		if math.IsInf(q, 0) || q > 1e150 {
			continue // few degrees of freedom put the quantile out of range
		}
		got := stats.StudentTail(q, df)
		if !(math.Abs(got-p) <= 1e-11*p) {
			t.Fatalf("StudentTail(StudentUpperQuantile(%g, %g) = %g) = %g, want %g", p, df, q, got, p)
		}
	}
}

func TestSwappingTheGroupsTurnsTheSignOnly(t *testing.T) {
	r := rand.New(rand.NewPCG(7, 8))
	for range 2000 {
		a, b := randomPair(r)
		there, back := stats.Compare(a.Y(), b.Y(), stats.Options{}), stats.Compare(b.Y(), a.Y(), stats.Options{})
		if there.Delta.Or(1) != -back.Delta.Or(1) || !near(there.PValue, back.PValue, 1e-12) {
			t.Fatalf("Compare(%+v, %+v): delta %v p %v, swapped %v %v", a, b, there.Delta, there.PValue, back.Delta, back.PValue)
		}
	}
}

func TestUnitsOfMeasureDoNotMatter(t *testing.T) {
	r := rand.New(rand.NewPCG(9, 10))
	for range 2000 {
		a, b := randomPair(r)
		k := math.Exp(10*r.Float64() - 5)
		scale := func(m stats.Moments) stats.Moments {
			return stats.Moments{N: m.N, Mean: m.Mean * k, M2: m.M2 * k * k}
		}
		x := stats.Compare(a.Y(), b.Y(), stats.Options{})
		y := stats.Compare(scale(a.Y()), scale(b.Y()), stats.Options{})
		if !near(x.PValue, y.PValue, 1e-6) || !near(x.Lift.Value, y.Lift.Value, 1e-6) {
			t.Fatalf("Compare(%+v, %+v) in another unit: p %v lift %v, want %v %v",
				a, b, y.PValue, y.Lift.Value, x.PValue, x.Lift.Value)
		}
	}
}

func near(a, b stats.Optional, tolerance float64) bool {
	x, y := a.Or(math.NaN()), b.Or(math.NaN())
	return math.Abs(x-y) <= tolerance*max(math.Abs(x), math.Abs(y))+1e-300
}

func TestMergingDoesNotDependOnOrderOrBatches(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		values := rapid.SliceOfN(rapid.Float64Range(-1e6, 1e6), 2, 200).Draw(t, "values")
		offset := rapid.SampledFrom([]float64{0, 1, 1e9}).Draw(t, "offset")
		cuts := rapid.SliceOfN(rapid.IntRange(0, len(values)), 0, 5).Draw(t, "cuts")
		var whole, merged stats.Pair
		parts := make([]stats.Pair, len(cuts)+1)
		for i, v := range values {
			whole.Add(offset+v, v)
			part := 0
			for j, cut := range cuts {
				if i >= cut {
					part = j + 1
				}
			}
			parts[part].Add(offset+v, v)
		}
		for i := len(parts) - 1; i >= 0; i-- {
			merged = merged.Merge(parts[i])
		}
		if merged.N != whole.N || math.Abs(merged.M2Y-whole.M2Y) > 1e-9*whole.M2Y ||
			math.Abs(merged.MeanY-whole.MeanY) > 1e-12*(math.Abs(whole.MeanY)+1e6) {
			t.Fatalf("merging %d parts = %+v, want %+v", len(parts), merged, whole)
		}
	})
}

func TestCorrectionsAreOrderedByStrictness(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		raw := rapid.SliceOf(rapid.Float64Range(0, 1)).Draw(t, "p")
		p := make([]stats.Optional, len(raw))
		for i, v := range raw {
			p[i] = stats.Defined(v)
		}
		bonferroni := stats.Bonferroni.Adjust(p, 0.05).Adjusted
		holm := stats.Holm.Adjust(p, 0.05).Adjusted
		hochberg := stats.BenjaminiHochberg.Adjust(p, 0.05).Adjusted
		for i := range p {
			chain := [...]float64{raw[i], hochberg[i].Or(-1), holm[i].Or(-1), bonferroni[i].Or(-1)}
			for j := 1; j < len(chain); j++ {
				if chain[j] < chain[j-1]*(1-1e-12) {
					t.Fatalf("p = %v: raw, BH, Holm, Bonferroni of p[%d] = %v, want them rising", raw, i, chain)
				}
			}
		}
	})
}

// odd draws numbers of every kind: ordinary, tiny, huge, infinite and none.
func odd() *rapid.Generator[float64] {
	return rapid.OneOf(
		rapid.Float64Range(-100, 100),
		rapid.Float64(),
		rapid.SampledFrom([]float64{0, 1, -1, math.NaN(), math.Inf(1), math.Inf(-1), math.MaxFloat64, math.SmallestNonzeroFloat64}),
	)
}

func oddCount() *rapid.Generator[uint64] {
	return rapid.OneOf(rapid.Uint64Range(0, 3), rapid.Uint64Range(0, 1_000_000), rapid.Uint64())
}

// TestNothingPanicsAndNothingIsNaN marshals every result: JSON refuses NaN and
// infinite numbers outside an Optional, which cannot hold a NaN.
func TestNothingPanicsAndNothingIsNaN(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		f := func(name string) float64 { return odd().Draw(t, name) }
		n := func(name string) uint64 { return oddCount().Draw(t, name) }
		moments := func() stats.Moments { return stats.Moments{N: n("n"), Mean: f("mean"), M2: f("m2")} }
		pair := func() stats.Pair {
			return stats.Pair{N: n("n"), MeanY: f("y"), MeanX: f("x"), M2Y: f("yy"), M2X: f("xx"), CXY: f("yx")}
		}
		sums := func() stats.Sums { return stats.Sums{N: n("n"), Sum: f("sum"), SumSquares: f("squares")} }
		share := func() stats.Proportion { return stats.Proportion{N: n("n"), Successes: n("x")} }
		quantile := func() stats.Quantile {
			return stats.Quantile{N: n("n"), NStar: n("n*"), Level: f("level"), Value: f("q"), Lower: f("ql"), Upper: f("qu"), Clusters: pair()}
		}
		four := func() (r stats.RatioCovaried) {
			r.N = n("n")
			for i := range r.C {
				r.Mean[i] = f("mean")
				for j := range i + 1 {
					r.C[i][j] = f("c")
					r.C[j][i] = r.C[i][j]
				}
			}
			return r
		}
		o := stats.Options{
			Alpha: rapid.OneOf(rapid.Just(0.0), odd(), rapid.Float64Range(0, 1)).Draw(t, "alpha"),
			Tail:  stats.Tail(rapid.IntRange(0, 3).Draw(t, "tail")),
		}
		a, b := moments(), moments()
		compared := stats.Compare(a, b, o)
		shares := [2]stats.Proportion{share(), share()}
		z, pz := stats.PooledZ(shares[0], shares[1], o.Tail)
		plan := stats.Plan{Mean: f("mean"), Variance: f("v"), Ratio: f("k"), Alpha: o.Alpha, VarianceReduction: f("r"), TuningUnits: f("n*")}
		sequence := stats.ConfidenceSequence(compared, stats.SequenceOptions{Alpha: o.Alpha, Tail: o.Tail, TuningUnits: f("n*")})
		results := map[string]any{
			"means": compared, "merged": stats.Compare(a.Merge(b), b, o),
			"sums":       stats.Compare(sums(), sums(), o),
			"shares":     stats.Compare(shares[0], shares[1], o),
			"wilson":     shares[0].Wilson(o.Alpha),
			"newcombe":   stats.Newcombe(shares[0], shares[1], o.Alpha),
			"pooled":     []stats.Optional{z, pz},
			"ratios":     stats.Compare(stats.Ratio{Pair: pair()}, stats.Ratio{Pair: pair()}, o),
			"quantiles":  stats.Compare(quantile(), quantile(), o),
			"baseline":   stats.CompareWithBaseline(a, f("base"), o),
			"cuped":      stats.CUPED(stats.Covaried{Pair: pair(), WithCovariate: 200}, stats.Covaried{Pair: pair()}, o),
			"cupedRatio": stats.CompareAdjustedRatios(four(), four(), o),
			"strata":     stats.PostStratify([]stats.Stratum{{Control: a, Treatment: b}, {Control: b, Treatment: a}}, o),
			"srm":        stats.SRM([]uint64{n("o"), n("o")}, []float64{f("w"), f("w")}),
			"sequence":   sequence, "running": stats.Running{}.Update(sequence).Update(sequence),
			"relative":   stats.ConfidenceSequence(compared, stats.SequenceOptions{Scale: stats.Relative}),
			"mixture":    stats.MixtureSPRT(compared, f("tau"), o.Alpha),
			"compatible": stats.CompatibleSequential(compared, o.Alpha),
			"posterior":  stats.NormalPosterior(compared, stats.BayesOptions{Scale: stats.Relative, Prior: stats.Prior{Mean: f("m"), SD: f("s")}}),
			"power":      plan.Power(f("n"), f("effect")), "size": plan.SampleSize(f("effect"), f("power")),
			"mde": plan.MDE(f("n"), f("power")), "now": stats.PowerNow(compared, f("target"), &stats.SequenceOptions{}),
			"share size": stats.ProportionSampleSize(f("p1"), f("p2"), f("power"), plan),
			"segments":   stats.HeterogeneousEffect(stats.Stratum{Control: a, Treatment: b}, stats.Stratum{Control: b, Treatment: a}, o),
			"impact":     stats.Impact(a, b, stats.Topline{Days: f("d"), DailyTotal: stats.Defined(f("t")), TreatmentShare: f("s")}, o),
			"bias":       stats.PreExperimentBias(a, b, 3),
			"rates":      stats.CompareRates(shares[:]),
			"family":     stats.BenjaminiYekutieli.Adjust([]stats.Optional{compared.PValue, stats.Defined(f("p"))}, o.Alpha),
		}
		for name, result := range results {
			raw, err := json.Marshal(result)
			if err != nil {
				t.Fatalf("%s = %+v: %v", name, result, err)
			}
			// Only one-sided intervals have an infinite end.
			if o.Tail == stats.TwoSided && bytes.Contains(raw, []byte("inf")) {
				t.Fatalf("%s = %s, want no infinity", name, raw)
			}
		}
	})
}

func FuzzOptionalSurvivesJSON(f *testing.F) {
	for _, seed := range []string{`null`, `"inf"`, `"-inf"`, `1.5`, `-0`, `1e999`, `"nan"`, `{}`, ``} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		var o stats.Optional
		if json.Unmarshal(raw, &o) != nil {
			return
		}
		written, err := json.Marshal(o)
		if err != nil {
			t.Fatalf("Marshal(%v) = %v, want no error", o, err)
		}
		var again stats.Optional
		if err := json.Unmarshal(written, &again); err != nil || again != o {
			t.Fatalf("Unmarshal(%s) = %v, %v; want %v", written, again, err, o)
		}
	})
}
