package stats_test

import (
	"fmt"
	"math"
	"math/bits"
	"math/rand/v2"
	"os"
	"slices"
	"testing"

	"github.com/sluice-flags/sluice/pkg/stats"
)

// The simulations ask the engine itself the question that its promises are about:
// how often is it wrong when nothing, or something known, is going on? Seeds are
// fixed, so that a run is repeatable. SLUICE_SOAK=1 runs them at full size, with
// bounds three binomial standard deviations wide, and prints the table of
// docs/statistics.md; without it they run at a size that fits every test run,
// with bounds that are as many standard deviations wide.
var soak = os.Getenv("SLUICE_SOAK") == "1"

const simulationSeed = 20240601

// runs returns how often to repeat a simulation.
func runs(full, small int) int {
	if soak {
		return full
	}
	return small
}

// row checks one line of the table, and prints it when soaking.
func row(t *testing.T, what string, got, low, high float64) {
	t.Helper()
	if soak {
		fmt.Printf("| %s | %.4f | %.4f – %.4f |\n", what, got, low, high)
	}
	if !(got >= low && got <= high) {
		t.Errorf("%s = %.5f, want within [%.5f, %.5f]", what, got, low, high)
	}
}

// around returns the bounds that a rate keeps to: p ± three binomial standard
// deviations, widened by slack for populations that are not yet normal in the
// mean.
func around(p float64, runs int, slackLow, slackHigh float64) (low, high float64) {
	sd := math.Sqrt(p * (1 - p) / float64(runs))
	return p - 3*sd - slackLow, p + 3*sd + slackHigh
}

func header(what string) {
	if soak {
		fmt.Printf("\n%s\n\n| simulation | measured | bounds |\n| --- | --- | --- |\n", what)
	}
}

// A population generates unit values.
type population struct {
	name string
	mean float64
	sd   float64
	draw func(*rand.Rand) float64
}

var populations = []population{
	{"normal", 10, 5, func(r *rand.Rand) float64 { return 10 + 5*r.NormFloat64() }},
	{"Bernoulli(0.05)", 0.05, math.Sqrt(0.05 * 0.95), func(r *rand.Rand) float64 {
		if r.Float64() < 0.05 {
			return 1
		}
		return 0
	}},
	{"lognormal(0,1)", math.Exp(0.5), math.Sqrt((math.E - 1) * math.E), func(r *rand.Rand) float64 {
		return math.Exp(r.NormFloat64())
	}},
	{"zero-inflated lognormal", 0.3 * math.Exp(0.5), math.Sqrt(0.3*math.Exp(2) - 0.09*math.E), func(r *rand.Rand) float64 {
		if r.Float64() < 0.3 {
			return math.Exp(r.NormFloat64())
		}
		return 0
	}},
}

// sample returns the sums of n values.
func (p population) sample(r *rand.Rand, n uint64) stats.Sums {
	s := stats.Sums{N: n}
	for range n {
		v := p.draw(r)
		s.Sum += v
		s.SumSquares += v * v
	}
	return s
}

// compare compares as a metric of that kind would be: shares as shares.
func (p population) compare(control, treatment stats.Sums) stats.Comparison {
	if p.name == "Bernoulli(0.05)" {
		return stats.Compare(
			stats.Proportion{N: control.N, Successes: uint64(control.Sum)},
			stats.Proportion{N: treatment.N, Successes: uint64(treatment.Sum)}, stats.Options{})
	}
	return stats.Compare(control, treatment, stats.Options{})
}

// continuous returns the p-value of a comparison. Differences of shares lie on a
// lattice, and so do their p-values, with 2 % of them at exactly one: for the test
// of uniformity they are spread evenly over their lattice cell.
func (p population) continuous(r *rand.Rand, c stats.Comparison) float64 {
	if p.name != "Bernoulli(0.05)" {
		return c.PValue.Or(math.NaN())
	}
	cell := 1 / float64(max(c.Control.N, c.Treatment.N))
	t := (c.Delta.Or(math.NaN()) + cell*(r.Float64()-0.5)) / c.StandardError.Or(math.NaN())
	return 2 * stats.StudentTail(math.Abs(t), c.DegreesOfFreedom.Or(math.NaN()))
}

// lifted returns a sample of the treated population: every value 3 % larger, and
// for shares a rate 3 % larger.
func (p population) lifted(r *rand.Rand, s stats.Sums) stats.Sums {
	const up = 1.03
	if p.name != "Bernoulli(0.05)" {
		return stats.Sums{N: s.N, Sum: s.Sum * up, SumSquares: s.SumSquares * up * up}
	}
	hits := 0.0
	for range s.N {
		if r.Float64() < 0.05*up {
			hits++
		}
	}
	return stats.Sums{N: s.N, Sum: hits, SumSquares: hits}
}

func TestFixedHorizonKeepsItsLevelAndItsCoverage(t *testing.T) {
	header("Fixed horizon, α = 0.05, 5,000 units in the smaller group")
	for i, split := range []struct {
		name               string
		control, treatment uint64
		repeat             int
		low, high          float64 // beyond three standard deviations
	}{
		{"50/50", 5000, 5000, runs(20_000, 1000), 0, 0},
		{"90/10", 45_000, 5000, runs(20_000, 200), 0.0014, 0.0024},
	} {
		for j, p := range populations {
			r := rand.New(rand.NewPCG(simulationSeed, uint64(10*i+j)))
			var rejected, covered, fieller float64
			pValues := make([]float64, split.repeat)
			for k := range pValues {
				control, treatment := p.sample(r, split.control), p.sample(r, split.treatment)
				null := p.compare(control, treatment)
				rejected += indicator(null.PValue.Or(math.NaN()) < 0.05)
				pValues[k] = p.continuous(r, null)
				effect := p.compare(control, p.lifted(r, treatment))
				covered += indicator(effect.Interval.Contains(0.03 * p.mean))
				fieller += indicator(effect.Lift.Kind != stats.Bounded || effect.Lift.Interval.Contains(0.03))
			}
			n := float64(split.repeat)
			low, high := around(0.05, split.repeat, split.low, split.high)
			row(t, fmt.Sprintf("%s, %s: A/A rejected", p.name, split.name), rejected/n, low, high)
			row(t, fmt.Sprintf("%s, %s: uniformity of p (Kolmogorov–Smirnov p)", p.name, split.name),
				kolmogorovSmirnov(pValues), 1e-4, 1)
			low, high = around(0.95, split.repeat, split.high, split.low)
			row(t, fmt.Sprintf("%s, %s: +3 %% covered by the absolute interval", p.name, split.name), covered/n, low, high)
			row(t, fmt.Sprintf("%s, %s: +3 %% covered by the Fieller interval", p.name, split.name), fieller/n, low, high)
		}
	}
}

func TestPeekingIsHarmlessOnlyWithSequentialIntervals(t *testing.T) {
	const looks, largest = 100, 10_000
	repeat := runs(10_000, 150)
	_, atMost := around(0.05, repeat, 0, 0)
	header("A hundred looks from 250 to 10,000 units per group, α = 0.05")
	for i, p := range populations {
		r := rand.New(rand.NewPCG(simulationSeed, uint64(100+i)))
		// The effect found with 80 % power at the end, as a plan would say.
		plan := stats.Plan{Variance: p.sd * p.sd}
		effect := plan.MDE(largest, 0.8).Or(math.NaN())
		var naive, sequence, mixture float64
		for range repeat {
			var control, treatment stats.Sums
			var byNaive, bySequence, byMixture bool
			for look := range looks {
				size := uint64(250 + look*(largest-250)/(looks-1))
				control = grow(control, p.sample(r, size-control.N))
				treatment = grow(treatment, p.sample(r, size-treatment.N))
				c := p.compare(control, treatment)
				byNaive = byNaive || c.PValue.Or(1) < 0.05
				bySequence = bySequence || stats.ConfidenceSequence(c,
					stats.SequenceOptions{TuningUnits: 10_000}).PValue.Or(1) < 0.05
				byMixture = byMixture || stats.MixtureSPRT(c, effect*effect, 0.05).PValue.Or(1) < 0.05
			}
			naive += indicator(byNaive)
			sequence += indicator(bySequence)
			mixture += indicator(byMixture)
		}
		n := float64(repeat)
		row(t, p.name+": ever rejected by the plain test", naive/n, 0.20, 1)
		row(t, p.name+": ever rejected by the confidence sequence", sequence/n, 0, atMost)
		row(t, p.name+": ever rejected by the mixture SPRT", mixture/n, 0, atMost)
	}
}

func grow(s, more stats.Sums) stats.Sums {
	return stats.Sums{N: s.N + more.N, Sum: s.Sum + more.Sum, SumSquares: s.SumSquares + more.SumSquares}
}

func TestCUPEDReducesVarianceByWhatItReports(t *testing.T) {
	repeat := runs(10_000, 1000)
	header("CUPED, 2,000 units per group")
	for i, rho := range []float64{0.3, 0.6, 0.9} {
		r := rand.New(rand.NewPCG(simulationSeed, uint64(200+i)))
		var rejected, reported float64
		var plain, adjusted stats.Moments
		for range repeat {
			a := stats.CUPED(correlated(r, rho), correlated(r, rho), stats.Options{})
			rejected += indicator(a.Comparison.PValue.Or(1) < 0.05)
			reported += a.VarianceReduction.Or(math.NaN())
			plain.Add(a.Unadjusted.Delta.Or(math.NaN()))
			adjusted.Add(a.Comparison.Delta.Or(math.NaN()))
		}
		n := float64(repeat)
		low, high := around(0.05, repeat, 0, 0)
		row(t, fmt.Sprintf("ρ = %.1f: A/A rejected", rho), rejected/n, low, high)
		row(t, fmt.Sprintf("ρ = %.1f: reported reduction", rho), reported/n, rho*rho-0.01, rho*rho+0.01)
		slack := 0.03 * math.Sqrt(10_000/n)
		row(t, fmt.Sprintf("ρ = %.1f: reduction of the estimates' variance", rho),
			1-adjusted.M2/plain.M2, rho*rho-slack, rho*rho+slack)
	}
}

// correlated returns 2,000 units whose value and covariate correlate by rho.
func correlated(r *rand.Rand, rho float64) stats.Covaried {
	c := stats.Covaried{WithCovariate: 2000}
	for range c.WithCovariate {
		x, noise := r.NormFloat64(), r.NormFloat64()
		c.Add(10+rho*x+math.Sqrt(1-rho*rho)*noise, 5+x)
	}
	return c
}

func TestSampleRatioMismatchIsFoundAndNotInvented(t *testing.T) {
	header("Sample ratio mismatch, p < 0.001")
	fair := []float64{1, 1}
	repeat := runs(10_000, 500)
	r := rand.New(rand.NewPCG(simulationSeed, 300))
	var once, ever, found float64
	for range repeat {
		heads, alarmed := uint64(0), false
		for look := uint64(1); look <= 100; look++ {
			heads += coins(r, 1024)
			s := stats.SRM([]uint64{heads, 1024*look - heads}, fair)
			alarmed = alarmed || s.AnytimePValue.Or(1) < 0.001
			if look == 100 {
				once += indicator(s.PValue.Or(1) < 0.001)
			}
		}
		ever += indicator(alarmed)
		// A group 1 % larger than its half of a million units.
		larger := normalCount(r, 1_000_000, 0.505)
		found += indicator(stats.SRM([]uint64{larger, 1_000_000 - larger}, fair).PValue.Or(1) < 0.001)
	}
	n := float64(repeat)
	_, atMost := around(0.001, repeat, 0, 0)
	row(t, "fair split, one look: alarms", once/n, 0, max(0.002, atMost))
	row(t, "fair split, a hundred looks, anytime-valid: alarms", ever/n, 0, max(0.002, atMost))
	row(t, "1 % imbalance at a million units: found", found/n, 0.99, 1)
}

// coins returns how many of n fair coins (a multiple of 64) fell on heads.
func coins(r *rand.Rand, n int) (heads uint64) {
	for range n / 64 {
		heads += uint64(bits.OnesCount64(r.Uint64()))
	}
	return heads
}

// normalCount draws a binomial count by its normal approximation, which a
// million units are plenty for.
func normalCount(r *rand.Rand, n, p float64) uint64 {
	return uint64(math.Round(n*p + math.Sqrt(n*p*(1-p))*r.NormFloat64()))
}

func TestCorrectionsKeepTheirErrorRates(t *testing.T) {
	const metrics, effects, units = 20, 5, 200
	repeat := runs(10_000, 500)
	p := populations[0]
	r := rand.New(rand.NewPCG(simulationSeed, 400))
	var holm, hochberg float64
	var share stats.Moments
	for range repeat {
		null, some := make([]stats.Optional, metrics), make([]stats.Optional, metrics)
		for i := range metrics {
			control, treatment := p.sample(r, units), p.sample(r, units)
			null[i] = p.compare(control, treatment).PValue
			some[i] = null[i]
			if i < effects { // a third of a standard deviation up
				up := p.sd / 3
				treatment.SumSquares += 2*up*treatment.Sum + units*up*up
				treatment.Sum += units * up
				some[i] = p.compare(control, treatment).PValue
			}
		}
		holm += indicator(slices.Contains(stats.Holm.Adjust(null, 0.05).Rejected, true))
		hochberg += indicator(slices.Contains(stats.BenjaminiHochberg.Adjust(null, 0.05).Rejected, true))
		rejected, wrong := 0.0, 0.0
		for i, reject := range stats.BenjaminiHochberg.Adjust(some, 0.05).Rejected {
			rejected += indicator(reject)
			wrong += indicator(reject && i >= effects)
		}
		share.Add(wrong / max(rejected, 1))
	}
	header("Twenty metrics, α = 0.05")
	n := float64(repeat)
	_, atMost := around(0.05, repeat, 0, 0)
	row(t, "no effects: Holm rejects any", holm/n, 0, atMost)
	row(t, "no effects: Benjamini–Hochberg rejects any", hochberg/n, 0, atMost)
	sd := math.Sqrt(share.Variance().Or(math.NaN()) / n)
	row(t, "five effects: false among Benjamini–Hochberg's rejections", share.Mean, 0, 0.05+3*sd)
}

func indicator(yes bool) float64 {
	if yes {
		return 1
	}
	return 0
}

// kolmogorovSmirnov returns the p-value of the hypothesis that values are uniform
// on [0,1], by Kolmogorov's limit with Stephens' correction for n.
func kolmogorovSmirnov(values []float64) float64 {
	slices.Sort(values)
	n, d := float64(len(values)), 0.0
	for i, v := range values {
		d = max(d, v-float64(i)/n, float64(i+1)/n-v)
	}
	lambda := (math.Sqrt(n) + 0.12 + 0.11/math.Sqrt(n)) * d
	p := 0.0
	for k := 1.0; k <= 100; k++ {
		p += 2 * math.Pow(-1, k-1) * math.Exp(-2*k*k*lambda*lambda)
	}
	return min(1, max(0, p))
}
