package stats

import "math"

// A Difference is a linear combination of independent means.
type Difference struct {
	Code             Code     `json:"code"`
	Reason           Reason   `json:"reason,omitempty"`
	Value            Optional `json:"value"`
	StandardError    Optional `json:"standardError"`
	DegreesOfFreedom Optional `json:"degreesOfFreedom"`
	PValue           Optional `json:"pValue"`
	Interval         Interval `json:"interval"`
}

// combine tests Σ coefficient·mean against zero, with the variance and the
// degrees of freedom of Welch and Satterthwaite for as many terms as there are.
func combine(o Options, coefficients [4]float64, means [4]Moments) (d Difference) {
	alpha, reason := o.alpha()
	d.Code = OK
	value, low, variance, denominator := 0.0, 0.0, 0.0, 0.0
	for i, m := range means {
		e := m.Estimate()
		switch {
		case e.Code == InvalidInput && reason == noReason:
			reason = e.Reason
		case e.Code != OK:
			d.Code = worst(d.Code, e.Code)
		default:
			t := termOf(m, coefficients[i])
			value += coefficients[i] * m.Mean
			low += coefficients[i] * m.MeanLow
			variance += t.variance
			denominator += t.satterthwaite()
		}
	}
	switch {
	case reason != noReason:
		return Difference{Code: InvalidInput, Reason: reason}
	case d.Code != OK:
		return d
	}
	value += low
	d.Value = Defined(value)
	if variance == 0 {
		d.Code = ZeroVariance
		return d
	}
	df, se := variance*variance/denominator, math.Sqrt(variance)
	test := newStudent(alpha, df, o)
	d.StandardError, d.DegreesOfFreedom = Defined(se), Defined(df)
	d.PValue, d.Interval = Defined(test.pValue(value/se)), test.interval(value, se)
	return d
}

// HeterogeneousEffect tests whether a segment's effect differs from the effect in
// everybody else: (effect in segment) - (effect in rest).
func HeterogeneousEffect(segment, rest Stratum, o Options) Difference {
	return combine(o, [4]float64{1, -1, -1, 1},
		[4]Moments{segment.Treatment, segment.Control, rest.Treatment, rest.Control})
}

// A Heterogeneity is how sure it is that segments differ.
type Heterogeneity string

// The degrees of heterogeneity.
const (
	NoHeterogeneity   Heterogeneity = "none"
	SomeHeterogeneity Heterogeneity = "some" // p below 0.05 over the number of comparisons
	HighHeterogeneity Heterogeneity = "high" // p below 0.01 over the number of comparisons
)

// Heterogeneity judges one of several comparisons of segments, by Bonferroni.
func (d Difference) Heterogeneity(comparisons int) Heterogeneity {
	p, ok := d.PValue.Get()
	m := float64(max(comparisons, 1))
	switch {
	case ok && p < 0.01/m:
		return HighHeterogeneity
	case ok && p < 0.05/m:
		return SomeHeterogeneity
	}
	return NoHeterogeneity
}

// A Crossing holds the units of two experiments that ran on the same units, by
// their group in the first and in the second.
type Crossing struct {
	ControlControl     Moments
	ControlTreatment   Moments
	TreatmentControl   Moments
	TreatmentTreatment Moments
}

// Interaction tests whether the second experiment's effect depends on the group
// in the first: (TT-TC) - (CT-CC).
func Interaction(c Crossing, o Options) Difference {
	return combine(o, [4]float64{1, -1, -1, 1},
		[4]Moments{c.TreatmentTreatment, c.TreatmentControl, c.ControlTreatment, c.ControlControl})
}

// A Bias is a difference between groups that existed before exposure.
type Bias struct {
	Comparison Comparison `json:"comparison"`
	Threshold  float64    `json:"threshold"`
	Flagged    bool       `json:"flagged"`
}

// PreExperimentBias compares a covariate from before exposure, which no treatment
// can have changed, and flags p below 0.01 over the number of tests (metrics times
// treatment groups).
func PreExperimentBias[A Arm](control, treatment A, tests int) Bias {
	b := Bias{Comparison: Compare(control, treatment, Options{}), Threshold: 0.01 / float64(max(tests, 1))}
	p, ok := b.Comparison.PValue.Get()
	b.Flagged = ok && p < b.Threshold
	return b
}

// RateCheck tests whether a rate that should not depend on the group — crossovers,
// exclusions, lost events — does.
type RateCheck struct {
	Code             Code       `json:"code"`
	Reason           Reason     `json:"reason,omitempty"`
	Rates            []Optional `json:"rates"` // per group
	Rate             Optional   `json:"rate"`  // over all groups
	ChiSquared       Optional   `json:"chiSquared"`
	DegreesOfFreedom int        `json:"degreesOfFreedom"`
	PValue           Optional   `json:"pValue"`
}

// CompareRates tests the homogeneity of groups by χ². Groups without units leave
// the test. Code is [TooFewUnits] when an expected count is below five, and
// [ZeroVariance] when it happened to nobody or to everybody.
func CompareRates(groups []Proportion) RateCheck {
	r := RateCheck{Code: OK, Rates: make([]Optional, len(groups))}
	var units, hits float64
	arms := 0
	for i, g := range groups {
		if g.Successes > g.N {
			return RateCheck{Code: InvalidInput, Reason: SuccessesExceedUnits}
		}
		if g.N == 0 {
			continue
		}
		arms++
		units += float64(g.N)
		hits += float64(g.Successes)
		r.Rates[i] = Defined(float64(g.Successes) / float64(g.N))
	}
	switch {
	case units == 0:
		r.Code = NoUnits
		return r
	case arms < 2:
		r.Code = NotApplicable
	}
	rate := hits / units
	r.Rate = Defined(rate)
	if r.Code == OK && (hits == 0 || hits == units) {
		r.Code = ZeroVariance
	}
	if r.Code != OK {
		return r
	}
	chi := 0.0
	for _, g := range groups {
		n := float64(g.N)
		if n == 0 {
			continue
		}
		if n*min(rate, 1-rate) < 5 {
			r.Code = TooFewUnits
			return r
		}
		d := float64(g.Successes) - n*rate
		chi += d * d / (n * rate * (1 - rate))
	}
	r.ChiSquared, r.DegreesOfFreedom = Defined(chi), arms-1
	r.PValue = Defined(chiSquaredTail(chi, float64(arms-1)))
	return r
}

// Topline is the whole product's total of a metric, which an experiment is a part
// of.
type Topline struct {
	Days           float64  // length of the experiment
	DailyTotal     Optional // of the metric, over everybody; undefined if it is not known
	TreatmentShare float64  // share of all units that were treated
}

// An ImpactResult is what an experiment did to the topline, and what a launch to
// everybody would do.
type ImpactResult struct {
	Code              Code     `json:"code"`
	Reason            Reason   `json:"reason,omitempty"`
	PerDay            Optional `json:"perDay"`
	Interval          Interval `json:"interval"` // of PerDay
	Relative          Optional `json:"relative"` // to the topline without the experiment
	ProjectedPerDay   Optional `json:"projectedPerDay"`
	ProjectedRelative Optional `json:"projectedRelative"`
}

// Impact scales a difference up to the topline: Δ times the treated units, per
// day. It compares plain means itself, because adjusted ones do not add up to
// totals.
//
// Before anything has lasted (Days 0) it is [NotApplicable]. What needs a number
// that is missing, a daily total or a share above zero, is undefined; days below
// zero and shares outside [0,1] are [InvalidInput].
func Impact[A Arm](control, treatment A, top Topline, o Options) ImpactResult {
	switch {
	case !(top.Days >= 0) || !finite(top.Days) || !(top.TreatmentShare >= 0 && top.TreatmentShare <= 1):
		return ImpactResult{Code: InvalidInput, Reason: ParameterOutOfRange}
	case top.Days == 0:
		return ImpactResult{Code: NotApplicable}
	}
	r := Compare(control, treatment, o)
	out := ImpactResult{Code: r.Code, Reason: r.Reason}
	delta, ok := r.Delta.Get()
	if !ok {
		return out
	}
	scale := float64(r.Treatment.N) / top.Days
	perDay := delta * scale
	out.PerDay, out.ProjectedPerDay = Defined(perDay), Defined(perDay/top.TreatmentShare)
	if r.Interval.Lower.defined {
		half := r.Critical.value * r.StandardError.value * scale
		out.Interval = openEnd(o.Tail, perDay-half, perDay+half)
	}
	if total, known := top.DailyTotal.Get(); known && total != perDay {
		out.Relative = Defined(perDay / (total - perDay))
		out.ProjectedRelative = Defined(perDay / (total - perDay) / top.TreatmentShare)
	}
	return out
}
