package stats

import "math"

// A Proportion counts the units of a group that did something.
type Proportion struct {
	N         uint64 `json:"n"`
	Successes uint64 `json:"successes"`
}

// Merge returns the counts of both samples taken together.
func (p Proportion) Merge(other Proportion) Proportion {
	return Proportion{N: p.N + other.N, Successes: p.Successes + other.Successes}
}

// Estimate implements [Arm]: the share and the sample variance of the zeros and
// ones behind it.
func (p Proportion) Estimate() Estimate {
	if p.Successes > p.N {
		return invalid(SuccessesExceedUnits)
	}
	e := Estimate{N: p.N, Code: OK}
	if p.N == 0 {
		e.Code = NoUnits
		return e
	}
	n, x := float64(p.N), float64(p.Successes)
	e.Value, e.Low = meanOf(x, n)
	if p.N == 1 {
		e.Code = InsufficientUnits
		return e
	}
	e.Variance = x / n * float64(p.N-p.Successes) / (n - 1)
	return e
}

// Sparse reports whether fewer than ten units did, or fewer than ten did not.
// For such groups [Proportion.Wilson] and [Newcombe] are the intervals to show.
func (p Proportion) Sparse() bool {
	return p.Successes < 10 || p.N-min(p.N, p.Successes) < 10
}

// Wilson returns the two-sided score interval of the share at level 1-alpha, in
// [0,1]. It is undefined without units, for more successes than units, and for
// alpha outside (0,1).
//
// Source: Wilson, "Probable inference, the law of succession, and statistical
// inference" (1927).
func (p Proportion) Wilson(alpha float64) Interval {
	if p.N == 0 || p.Successes > p.N || !(alpha > 0 && alpha < 1) {
		return Interval{}
	}
	lower, upper := p.wilson(normalUpperQuantile(alpha / 2))
	return interval(lower, upper)
}

func (p Proportion) wilson(z float64) (lower, upper float64) {
	n, share, z2 := float64(p.N), float64(p.Successes)/float64(p.N), z*z
	centre := (share + z2/(2*n)) / (1 + z2/n)
	half := z / (1 + z2/n) * math.Sqrt(share*(1-share)/n+z2/(4*n*n))
	lower, upper = max(0, centre-half), min(1, centre+half)
	if p.Successes == 0 {
		lower = 0
	}
	if p.Successes == p.N {
		upper = 1
	}
	return lower, upper
}

// Newcombe returns the two-sided interval of the difference of two shares that
// is made of their Wilson intervals: honest where few units did or did not.
//
// Source: Newcombe, "Interval estimation for the difference between independent
// proportions", method 10 (1998).
func Newcombe(control, treatment Proportion, alpha float64) Interval {
	wc, wt := control.Wilson(alpha), treatment.Wilson(alpha)
	if !wc.Lower.defined || !wt.Lower.defined {
		return Interval{}
	}
	pc := float64(control.Successes) / float64(control.N)
	pt := float64(treatment.Successes) / float64(treatment.N)
	delta := pt - pc
	return interval(
		delta-math.Hypot(pt-wt.Lower.value, wc.Upper.value-pc),
		delta+math.Hypot(wt.Upper.value-pt, pc-wc.Lower.value))
}

// PooledZ returns the z statistic of two shares under the hypothesis that they
// are equal, and its p-value. Both are undefined without units or without
// variance.
func PooledZ(control, treatment Proportion, tail Tail) (z, pValue Optional) {
	if control.N == 0 || treatment.N == 0 ||
		control.Successes > control.N || treatment.Successes > treatment.N {
		return Optional{}, Optional{}
	}
	nc, nt := float64(control.N), float64(treatment.N)
	xc, xt := float64(control.Successes), float64(treatment.Successes)
	pooled := (xc + xt) / (nc + nt)
	v := pooled * (1 - pooled) * (1/nc + 1/nt)
	if !(v > 0) {
		return Optional{}, Optional{}
	}
	statistic := (xt/nt - xc/nc) / math.Sqrt(v)
	return Defined(statistic), Defined(student{df: math.Inf(1), tail: tail}.pValue(statistic))
}

// PopulationVariancePValue returns the p-value of [Compare] for shares with the
// variance p(1-p), without the factor n/(n-1). It exists for parity with tools
// that leave the factor out.
func PopulationVariancePValue(control, treatment Proportion, tail Tail) Optional {
	c, t := control.Estimate(), treatment.Estimate()
	if c.Code != OK || t.Code != OK {
		return Optional{}
	}
	c.Variance *= float64(c.N-1) / float64(c.N)
	t.Variance *= float64(t.N-1) / float64(t.N)
	return compareEstimates(&c, &t, Options{Tail: tail}).PValue
}
