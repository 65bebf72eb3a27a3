package stats

import "math"

// The coverage below which CUPED is not worth its explanation.
const (
	cupedMinUnits = 100
	cupedMinShare = 0.05
)

// A CUPEDReason says why an adjustment was not applied.
type CUPEDReason string

// The reasons.
const (
	NoCovariateVariance  CUPEDReason = "NO_COVARIATE_VARIANCE"   // nothing to adjust by
	TooFewCovariateUnits CUPEDReason = "TOO_FEW_COVARIATE_UNITS" // fewer than 100 units were seen before
	LowCoverage          CUPEDReason = "LOW_COVERAGE"            // fewer than 5 % of the units were seen before
	NoReduction          CUPEDReason = "NO_REDUCTION"            // adjusting would widen the interval
	NotSupported         CUPEDReason = "NOT_SUPPORTED"           // quantiles, retention of new units
)

// An Adjusted is a comparison with and without the variance that a covariate
// from before the experiment explains.
type Adjusted struct {
	// Applied says whether Comparison is the adjusted one; Why says why not.
	Applied bool        `json:"applied"`
	Why     CUPEDReason `json:"why,omitempty"`
	// Theta is the coefficient of the covariate, estimated over both groups.
	Theta Optional `json:"theta"`
	// VarianceReduction is the share of the difference's variance that went away.
	VarianceReduction Optional `json:"varianceReduction"`

	// Comparison is the result to use. Its groups hold adjusted means, on the
	// original scale; its lift is relative to the unadjusted mean of control.
	Comparison Comparison `json:"comparison"`
	Unadjusted Comparison `json:"unadjusted"`
}

// A Covaried holds a group's values (y) with their covariate (x) from before
// exposure, and how many of its units have a covariate at all. Units without one
// enter with x = 0.
type Covaried struct {
	Pair
	WithCovariate uint64 `json:"withCovariate"`
}

// CUPED compares two groups by their adjusted means where the covariate is worth
// it, and by the plain ones where it is not: fewer than 100 units or 5 % of the
// units with a covariate, no variance in it, or no reduction.
func CUPED(control, treatment Covaried, o Options) Adjusted {
	r := CompareAdjusted(control.Pair, treatment.Pair, o)
	return r.covered(control.WithCovariate+treatment.WithCovariate, control.N+treatment.N)
}

// CompareAdjusted compares two groups by means adjusted for a covariate, as long
// as the covariate varies at all. With θ = cov(y,x)/var(x) over both groups taken
// as one sample, a group's adjusted mean is ȳ - θ(x̄ - x̄_pooled).
//
// Source: Deng, Xu, Kohavi and Walker, "Improving the sensitivity of online
// controlled experiments by utilizing pre-experiment data" (2013).
func CompareAdjusted(control, treatment Pair, o Options) Adjusted {
	plain := compareAfter(control.check(), treatment.check(), control.Y(), treatment.Y(), o)
	pooled := control.Merge(treatment)
	if plain.Code != OK || !(pooled.M2X > 0) {
		return unadjusted(plain, NoCovariateVariance)
	}
	theta := pooled.CXY / pooled.M2X
	if !finite(theta) {
		return unadjusted(plain, NoCovariateVariance)
	}
	c, t := control.adjust(theta, &pooled), treatment.adjust(theta, &pooled)
	n := float64(control.N)
	vb := control.M2Y / float64(control.N-1) / n
	cov := -(control.M2Y - theta*control.CXY) / float64(control.N-1) / n
	return adjusted(contrast(&c, &t, baseline{control.MeanY, vb, cov}, o), plain, theta)
}

// adjust returns the estimate of y - θ(x - x̄_pooled).
func (p Pair) adjust(theta float64, pooled *Pair) Estimate {
	shift := (p.MeanX - pooled.MeanX) + (p.LowX - pooled.LowX)
	value, low := addExact(p.MeanY, p.LowY, -theta*shift)
	return Estimate{
		N: p.N, Code: OK,
		Value: value, Low: low,
		Variance: p.residual(theta) / float64(p.N-1),
	}
}

// compareAfter compares two groups unless one was found to be invalid.
func compareAfter[A Arm](c, t Reason, control, treatment A, o Options) Comparison {
	for _, reason := range [...]Reason{c, t} {
		if reason != noReason {
			bad := invalid(reason)
			return compareEstimates(&bad, &bad, o)
		}
	}
	return Compare(control, treatment, o)
}

func unadjusted(plain Comparison, why CUPEDReason) Adjusted {
	return Adjusted{
		Why: why, Theta: Defined(0), VarianceReduction: Defined(0),
		Comparison: plain, Unadjusted: plain,
	}
}

func adjusted(r, plain Comparison, theta float64) Adjusted {
	se, before := r.StandardError.value, plain.StandardError.value
	a := Adjusted{Applied: true, Theta: Defined(theta), Comparison: r, Unadjusted: plain}
	if before > 0 {
		a.VarianceReduction = Defined(1 - (se/before)*(se/before))
	}
	return a
}

// covered falls back to the unadjusted comparison where the adjustment is not
// worth it.
func (a Adjusted) covered(with, units uint64) Adjusted {
	switch {
	case with < cupedMinUnits:
		return unadjusted(a.Unadjusted, TooFewCovariateUnits)
	case float64(with) < cupedMinShare*float64(units):
		return unadjusted(a.Unadjusted, LowCoverage)
	case a.Applied && (a.Comparison.Code != OK || !(a.VarianceReduction.value > 0)):
		return unadjusted(a.Unadjusted, NoReduction)
	}
	return a
}

// The positions of the four values of a [RatioCovaried].
const (
	Numerator = iota
	Denominator
	PreNumerator
	PreDenominator
)

// A RatioCovaried describes four values per unit: the numerator and denominator
// of a ratio, and the same two before exposure. C holds sums of products of
// deviations and is symmetric. The zero value describes no units.
type RatioCovaried struct {
	N             uint64        `json:"n"`
	Mean          [4]float64    `json:"mean"`
	MeanLow       [4]float64    `json:"meanLow"` // as in Moments
	C             [4][4]float64 `json:"c"`
	WithCovariate uint64        `json:"withCovariate"`
}

// Add puts one unit's values in; covered says whether it was seen before
// exposure.
func (r *RatioCovaried) Add(values [4]float64, covered bool) {
	one := RatioCovaried{N: 1, Mean: values}
	if covered {
		one.WithCovariate = 1
	}
	*r = r.Merge(one)
}

// Merge returns the moments of both samples taken together.
func (r RatioCovaried) Merge(other RatioCovaried) RatioCovaried {
	switch {
	case other.N == 0:
		return r
	case r.N == 0:
		return other
	}
	na, nb := float64(r.N), float64(other.N)
	n := na + nb
	var delta [4]float64
	for i := range delta {
		delta[i] = (other.Mean[i] - r.Mean[i]) + (other.MeanLow[i] - r.MeanLow[i])
		r.Mean[i], r.MeanLow[i] = addExact(r.Mean[i], r.MeanLow[i], delta[i]*(nb/n))
	}
	for i := range r.C {
		for j := range r.C[i] {
			r.C[i][j] += other.C[i][j] + delta[i]*delta[j]*(na/n*nb)
		}
	}
	r.N += other.N
	r.WithCovariate += other.WithCovariate
	return r
}

// Ratio returns the ratio of the values measured, without those before exposure.
func (r RatioCovaried) Ratio() Ratio {
	return Ratio{Pair{
		N:     r.N,
		MeanY: r.Mean[Numerator], LowY: r.MeanLow[Numerator],
		MeanX: r.Mean[Denominator], LowX: r.MeanLow[Denominator],
		M2Y: r.C[Numerator][Numerator], M2X: r.C[Denominator][Denominator],
		CXY: r.C[Numerator][Denominator],
	}}
}

func (r *RatioCovaried) check() Reason {
	for i := range r.C {
		if !finite(r.Mean[i], r.MeanLow[i]) || !finite(r.C[i][:]...) {
			return NonFinite
		}
		if r.C[i][i] < 0 {
			return NegativeVariance
		}
	}
	for i := range r.C {
		for j := range i {
			if math.Abs(r.C[i][j]) > math.Sqrt(r.C[i][i])*math.Sqrt(r.C[j][j])*(1+1e-9) {
				return CovarianceBound
			}
		}
	}
	return noReason
}

// A RatioCovariedSums holds raw sums; Products[i][j] for i ≤ j is Σ of value i
// times value j.
type RatioCovariedSums struct {
	N             uint64        `json:"n"`
	Sum           [4]float64    `json:"sum"`
	Products      [4][4]float64 `json:"products"`
	WithCovariate uint64        `json:"withCovariate"`
}

// RatioCovaried converts the sums. It returns a [Reason] as [PairSums.Pair] does.
func (s RatioCovariedSums) RatioCovaried() (RatioCovaried, error) {
	r := RatioCovaried{N: s.N, WithCovariate: s.WithCovariate}
	for i := range s.Sum {
		m2, reason, _ := centredSquares(s.N, s.Sum[i], s.Products[i][i])
		if reason != noReason {
			return RatioCovaried{}, reason
		}
		r.C[i][i] = m2
	}
	if s.N == 0 {
		return RatioCovaried{WithCovariate: s.WithCovariate}, nil
	}
	n := float64(s.N)
	for i := range s.Sum {
		r.Mean[i], r.MeanLow[i] = meanOf(s.Sum[i], n)
		for j := i + 1; j < len(s.Sum); j++ {
			c, reason := centredProducts(n, s.Sum[i], s.Sum[j], s.Products[i][j], r.C[i][i], r.C[j][j])
			if reason != noReason {
				return RatioCovaried{}, reason
			}
			r.C[i][j], r.C[j][i] = c, c
		}
	}
	return r, nil
}

// CUPEDRatio compares ratios as [CUPED] compares means.
func CUPEDRatio(control, treatment RatioCovaried, o Options) Adjusted {
	r := CompareAdjustedRatios(control, treatment, o)
	return r.covered(control.WithCovariate+treatment.WithCovariate, control.N+treatment.N)
}

// CompareAdjustedRatios compares ratios adjusted for the same ratio before
// exposure, as long as that varies at all. Both ratios are linearised by the
// delta method, and θ is the coefficient between the two linear forms.
func CompareAdjustedRatios(control, treatment RatioCovaried, o Options) Adjusted {
	plain := compareAfter(control.check(), treatment.check(), control.Ratio(), treatment.Ratio(), o)
	if plain.Code != OK || control.Mean[PreDenominator] == 0 || treatment.Mean[PreDenominator] == 0 {
		return unadjusted(plain, NoCovariateVariance)
	}
	lc, lt := control.linearise(), treatment.linearise()
	theta := (lc.cross + lt.cross) / (lc.pre + lt.pre)
	if !finite(theta) {
		return unadjusted(plain, NoCovariateVariance)
	}
	c, t := lc.adjust(control.N, theta), lt.adjust(treatment.N, theta)
	n := float64(control.N)
	base := baseline{lc.ratio, lc.post / n, -(lc.post - theta*lc.cross) / n}
	return adjusted(contrast(&c, &t, base, o), plain, theta)
}

// A linearised ratio: its value, that before exposure, and the unit variances
// and covariance of their linear forms.
type linearised struct {
	ratio, preRatio  float64
	post, pre, cross float64
}

func (r *RatioCovaried) linearise() linearised {
	l := linearised{
		ratio:    r.Mean[Numerator] / r.Mean[Denominator],
		preRatio: r.Mean[PreNumerator] / r.Mean[PreDenominator],
	}
	post := [2]float64{1 / r.Mean[Denominator], -l.ratio / r.Mean[Denominator]}
	pre := [2]float64{1 / r.Mean[PreDenominator], -l.preRatio / r.Mean[PreDenominator]}
	for i := range 2 {
		for j := range 2 {
			l.post += post[i] * post[j] * r.C[i][j]
			l.pre += pre[i] * pre[j] * r.C[2+i][2+j]
			l.cross += post[i] * pre[j] * r.C[i][2+j]
		}
	}
	df := float64(r.N - 1)
	l.post, l.pre, l.cross = l.post/df, l.pre/df, l.cross/df
	return l
}

func (l linearised) adjust(n uint64, theta float64) Estimate {
	return Estimate{
		N: n, Code: OK,
		Value:    l.ratio - theta*l.preRatio,
		Variance: residue(l.post, -2*theta*l.cross, theta*theta*l.pre),
	}
}
