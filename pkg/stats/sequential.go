package stats

import "math"

// DefaultTuningUnits is the sample size at which a confidence sequence is
// tightest where options name none.
const DefaultTuningUnits = 5000

// The units per group, and the successes and failures for proportions, below
// which the normal approximation behind a confidence sequence is not trusted.
const (
	burnInUnits     = 250
	burnInSuccesses = 25
)

// A Scale says whether an effect is a difference or a lift.
type Scale uint8

// The scales.
const (
	Absolute Scale = iota // Delta
	Relative              // Lift, by the delta method
)

// effect returns a comparison's estimate and standard error on a scale.
func (r *Comparison) effect(scale Scale) (value, se float64, code Code) {
	switch {
	case r.Code != OK:
		return 0, 0, r.Code
	case scale == Absolute:
		return r.Delta.value, r.StandardError.value, OK
	case !r.Lift.StandardError.defined:
		return 0, 0, ZeroControlMean
	case r.Lift.StandardError.value == 0:
		return 0, 0, ZeroVariance
	}
	return r.Lift.Value.value, r.Lift.StandardError.value, OK
}

// SequenceOptions of a confidence sequence. The zero value works.
type SequenceOptions struct {
	Alpha float64 // zero means DefaultAlpha
	Tail  Tail
	Scale Scale
	// TuningUnits, over both groups, is where the sequence is tightest: the size at
	// which a decision is expected. Zero means [DefaultTuningUnits]. It belongs to
	// the experiment's design and must not follow the data.
	TuningUnits float64
	// TuningAlpha is the level the design was made for, where Alpha has since been
	// corrected for multiplicity. Zero means Alpha.
	TuningAlpha float64
}

// A Sequence is one look at an experiment that may be looked at any number of
// times: the probability that any of the intervals ever misses is at most alpha.
type Sequence struct {
	Code          Code     `json:"code"`
	Reason        Reason   `json:"reason,omitempty"`
	Rho           Optional `json:"rho"` // fixed by the tuning
	Estimate      Optional `json:"estimate"`
	StandardError Optional `json:"standardError"`
	Interval      Interval `json:"interval"`
	LogE          Optional `json:"logE"`   // log of the evidence against no effect
	PValue        Optional `json:"pValue"` // of this look; its minimum over looks is valid too
}

// TuningRho returns the ρ of a confidence sequence that is tightest at so many
// units; undefined for a level outside (0,1) or no units.
func TuningRho(alpha float64, tail Tail, units float64) Optional {
	if tail != TwoSided {
		alpha *= 2
	}
	if !(alpha > 0 && alpha < 1 && units > 0) {
		return Optional{}
	}
	l := -2 * math.Log(alpha)
	return Defined(math.Sqrt((l + math.Log1p(l)) / units))
}

// ConfidenceSequence returns the asymptotic confidence sequence of a comparison.
// It takes any comparison, adjusted ones included, except those of quantiles,
// which are for a fixed horizon. Interval and p-value are two readings of one
// bound and always agree.
//
// Source: Waudby-Smith, Arbour, Sinha, Kennedy and Ramdas, "Time-uniform central
// limit theory and asymptotic confidence sequences" (2021).
func ConfidenceSequence(r Comparison, o SequenceOptions) Sequence {
	alpha, reason := Options{Alpha: o.Alpha}.alpha()
	tuningAlpha := o.TuningAlpha
	if tuningAlpha == 0 {
		tuningAlpha = alpha
	}
	tuningUnits := o.TuningUnits
	if tuningUnits == 0 {
		tuningUnits = DefaultTuningUnits
	}
	rho := TuningRho(tuningAlpha, o.Tail, tuningUnits)
	switch {
	case reason != noReason:
		return Sequence{Code: InvalidInput, Reason: reason}
	case !rho.defined:
		return Sequence{Code: InvalidInput, Reason: ParameterOutOfRange}
	}
	estimate, se, code := r.effect(o.Scale)
	if code != OK {
		return Sequence{Code: code, Reason: r.Reason, Rho: rho}
	}

	n := float64(r.Control.N) + float64(r.Treatment.N)
	nr := n * rho.value * rho.value
	half := se * sequentialCritical(alpha, o.Tail, nr)
	logE := sequentialLogE(estimate/se, o.Tail, nr)
	return Sequence{
		Code: OK, Rho: rho, Estimate: Defined(estimate), StandardError: Defined(se),
		Interval: openEnd(o.Tail, estimate-half, estimate+half),
		LogE:     Defined(logE), PValue: Defined(min(1, math.Exp(-logE))),
	}
}

// sequentialCritical is what takes the place of the t quantile; nr is N·ρ².
func sequentialCritical(alpha float64, tail Tail, nr float64) float64 {
	u := nr + 1
	if tail == TwoSided {
		return math.Sqrt(2 * u / nr * (0.5*math.Log(u) - math.Log(alpha)))
	}
	return math.Sqrt(2 * u / nr * math.Log1p(math.Sqrt(u)/(2*alpha)))
}

func sequentialLogE(t float64, tail Tail, nr float64) float64 {
	u := nr + 1
	x := t * t * nr / (2 * u)
	if tail == TwoSided {
		return x - 0.5*math.Log(u)
	}
	if tail == Greater && t <= 0 || tail == Less && t >= 0 {
		x = 0
	}
	// ln of 2(e^x - 1)/√u, without forming e^x.
	logE := x + math.Log(-math.Expm1(-x)) + math.Ln2 - 0.5*math.Log(u)
	return max(logE, math.Log(math.SmallestNonzeroFloat64))
}

// BurnedIn reports whether two groups are large enough for the first look: 250
// units each and, for proportions, 25 successes and 25 failures each.
func BurnedIn[A Arm](control, treatment A) bool {
	for _, arm := range [...]A{control, treatment} {
		e := arm.Estimate()
		if e.Code == InvalidInput || e.N < burnInUnits {
			return false
		}
		if p, ok := any(arm).(Proportion); ok &&
			(p.Successes < burnInSuccesses || p.N-p.Successes < burnInSuccesses) {
			return false
		}
	}
	return true
}

// SequentialEmptyIntersection says that intervals of earlier looks have nothing
// in common: an assumption of the experiment does not hold. The current interval
// is the one to show.
const SequentialEmptyIntersection Code = "SEQUENTIAL_EMPTY_INTERSECTION"

// A Running is what all looks so far say together. The zero value has seen none.
type Running struct {
	Code     Code     `json:"code"`
	PValue   Optional `json:"pValue"`   // smallest so far
	Interval Interval `json:"interval"` // common to all looks
	Looks    int      `json:"looks"`
}

// Update returns the state after one more look. Looks without a result leave it
// as it is.
func (r Running) Update(look Sequence) Running {
	if look.Code != OK {
		return r
	}
	r.Looks++
	if r.Looks == 1 {
		r.Code, r.PValue, r.Interval = OK, look.PValue, look.Interval
		return r
	}
	r.PValue = Defined(min(r.PValue.value, look.PValue.value))
	common := r.Interval
	if look.Interval.Lower.value > common.Lower.value {
		common.Lower = look.Interval.Lower
	}
	if look.Interval.Upper.value < common.Upper.value {
		common.Upper = look.Interval.Upper
	}
	if r.Code == SequentialEmptyIntersection || common.Lower.value > common.Upper.value {
		r.Code, common = SequentialEmptyIntersection, look.Interval
	}
	r.Interval = common
	return r
}

// MixtureSPRT tests a comparison's difference with a normal mixture of variance
// tauSquared, which belongs to the design (the square of the effect worth
// detecting) and must not follow the data. LogE is the log likelihood ratio.
//
// Source: Johari, Koomen, Pekelis and Walsh, "Peeking at A/B tests" (2017).
func MixtureSPRT(r Comparison, tauSquared, alpha float64) Sequence {
	alpha, reason := Options{Alpha: alpha}.alpha()
	if !(tauSquared > 0) || math.IsInf(tauSquared, 1) {
		reason = ParameterOutOfRange
	}
	if reason != noReason {
		return Sequence{Code: InvalidInput, Reason: reason}
	}
	delta, se, code := r.effect(Absolute)
	if code != OK {
		return Sequence{Code: code, Reason: r.Reason}
	}
	v := se * se
	total := v + tauSquared
	t := delta / se
	logLambda := tauSquared/total*t*t/2 - 0.5*math.Log1p(tauSquared/v)
	half := se * math.Sqrt(total/tauSquared*(math.Log1p(tauSquared/v)-2*math.Log(alpha)))
	return Sequence{
		Code: OK, Estimate: Defined(delta), StandardError: Defined(se),
		Interval: interval(delta-half, delta+half),
		LogE:     Defined(logLambda), PValue: Defined(min(1, math.Exp(-logLambda))),
	}
}

// A Compatible is a sequential result in the manner that Statsig documents.
type Compatible struct {
	Code     Code     `json:"code"`
	Reason   Reason   `json:"reason,omitempty"`
	ZStar    Optional `json:"zStar"`
	Interval Interval `json:"interval"`
	PValue   Optional `json:"pValue"`
}

// CompatibleSequential returns the two-sided sequential result that Statsig's
// documentation describes, for comparing numbers side by side. It estimates its
// mixing variance from the data, so that no theory gives it a guarantee under
// peeking; [ConfidenceSequence] is the one to decide by.
func CompatibleSequential(r Comparison, alpha float64) Compatible {
	alpha, reason := Options{Alpha: alpha}.alpha()
	if reason != noReason {
		return Compatible{Code: InvalidInput, Reason: reason}
	}
	delta, se, code := r.effect(Absolute)
	if code != OK {
		return Compatible{Code: code, Reason: r.Reason}
	}
	z := normalUpperQuantile(alpha / 2)
	n := float64(r.Control.N) + float64(r.Treatment.N)
	tau := z * z * (r.Treatment.Variance.value + r.Control.Variance.value) / n
	v := se * se
	zStar := math.Sqrt((v + tau) / tau * (math.Log1p(tau/v) - 2*math.Log(alpha/2)))
	p := 2 * normalTail(math.Abs(delta/se)*z/zStar)
	return Compatible{
		Code: OK, ZStar: Defined(zStar), PValue: Defined(p),
		Interval: interval(delta-zStar*se, delta+zStar*se),
	}
}
