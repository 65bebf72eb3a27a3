package stats

import (
	"cmp"
	"math"
)

// A Plan describes an experiment before it runs: one treatment group against
// control.
type Plan struct {
	Mean     float64 // of control
	Variance float64 // of one unit of control
	// TreatmentVariance is that of one treated unit; zero means the same.
	TreatmentVariance float64
	// Ratio is the number of treated units per control unit; zero means one.
	Ratio float64
	Alpha float64 // zero means DefaultAlpha
	// OneSided tests in the direction of the effect only.
	OneSided bool
	// VarianceReduction is what CUPED is expected to take away, in [0,1).
	VarianceReduction float64
	// TuningUnits, if positive, plans for a confidence sequence tuned so.
	TuningUnits float64
}

// A Size is how many units a plan needs.
type Size struct {
	Code         Code     `json:"code"`
	Reason       Reason   `json:"reason,omitempty"`
	ControlExact Optional `json:"controlExact"` // before rounding up
	Control      uint64   `json:"control"`
	Treatment    uint64   `json:"treatment"`
}

// design is a plan with its defaults filled in.
type design struct {
	Plan
	alpha    float64
	variance float64 // of the difference, times the units in control
}

func (p Plan) design() (design, Reason) {
	alpha, reason := Options{Alpha: p.Alpha}.alpha()
	if reason != noReason {
		return design{}, reason
	}
	if p.Ratio == 0 {
		p.Ratio = 1
	}
	if p.TreatmentVariance == 0 {
		p.TreatmentVariance = p.Variance
	}
	switch {
	case !finite(p.Mean, p.Variance, p.TreatmentVariance, p.Ratio, p.VarianceReduction, p.TuningUnits):
		return design{}, NonFinite
	case p.Variance < 0 || p.TreatmentVariance < 0:
		return design{}, NegativeVariance
	case p.Ratio < 0 || p.TuningUnits < 0 || p.VarianceReduction < 0 || p.VarianceReduction >= 1:
		return design{}, ParameterOutOfRange
	}
	v := (p.Variance + p.TreatmentVariance/p.Ratio) * (1 - p.VarianceReduction)
	return design{Plan: p, alpha: alpha, variance: v}, noReason
}

// critical is how many standard errors an effect must reach with n control units.
func (d *design) critical(n float64) float64 {
	tail, alpha := TwoSided, d.alpha
	if d.OneSided {
		tail = Greater
	} else {
		alpha /= 2
	}
	if d.TuningUnits == 0 {
		return normalUpperQuantile(alpha)
	}
	rho := TuningRho(d.alpha, tail, d.TuningUnits).value
	return sequentialCritical(d.alpha, tail, n*(1+d.Ratio)*rho*rho)
}

// powerAt returns the chance that an effect of so many standard errors is found.
func (d *design) powerAt(effect, critical float64) float64 {
	power := normalTail(critical - effect)
	if !d.OneSided {
		power += normalTail(critical + effect)
	}
	return power
}

// Power returns the chance to find an effect, on the absolute scale, with so many
// units in control. It is undefined for a plan that makes no sense.
func (p Plan) Power(control, effect float64) Optional {
	d, reason := p.design()
	if reason != noReason || !(control > 0) || !(d.variance > 0) {
		return Optional{}
	}
	return Defined(d.powerAt(math.Abs(effect)/math.Sqrt(d.variance/control), d.critical(control)))
}

// SampleSize returns the units needed to find an effect, on the absolute scale,
// with the given power. An effect of zero is [NotApplicable]: no size finds it.
func (p Plan) SampleSize(effect, power float64) Size {
	d, reason := p.design()
	switch {
	case reason != noReason:
	case !finite(effect):
		reason = NonFinite
	case !(power > 0 && power < 1):
		reason = AlphaOutOfRange
	}
	if reason != noReason {
		return Size{Code: InvalidInput, Reason: reason}
	}
	switch {
	case effect == 0 || power <= d.powerAt(0, d.critical(1)):
		return Size{Code: NotApplicable}
	case d.variance == 0:
		return Size{Code: ZeroVariance}
	}
	perUnit := math.Abs(effect) / math.Sqrt(d.variance)
	log, ok := bisect(math.Log(1e-6), math.Log(1e18), func(log float64) bool {
		n := math.Exp(log)
		return d.powerAt(perUnit*math.Sqrt(n), d.critical(n)) >= power
	})
	if !ok {
		return Size{Code: NotApplicable}
	}
	return sizeOf(math.Exp(log), d.Ratio)
}

func sizeOf(control, ratio float64) Size {
	return Size{
		Code: OK, ControlExact: Defined(control),
		Control: uint64(math.Ceil(control)), Treatment: uint64(math.Ceil(control * ratio)),
	}
}

// MDE returns the smallest effect, on the absolute scale, that so many control
// units find with the given power. It is undefined for a plan that makes no
// sense; divide by the mean for the relative one.
func (p Plan) MDE(control, power float64) Optional {
	d, reason := p.design()
	if reason != noReason || !(control > 0) || !(power > 0 && power < 1) {
		return Optional{}
	}
	critical := d.critical(control)
	effect, ok := bisect(0, critical+40, func(effect float64) bool {
		return d.powerAt(effect, critical) >= power
	})
	if !ok {
		return Optional{}
	}
	return Defined(effect * math.Sqrt(d.variance/control))
}

// bisect returns the smallest x in [low, high] for which reached holds, given that
// it holds for everything above; false if it does not hold at high.
func bisect(low, high float64, reached func(float64) bool) (float64, bool) {
	if !reached(high) {
		return 0, false
	}
	for range 200 {
		middle := low + (high-low)/2
		if middle <= low || middle >= high {
			break
		}
		if reached(middle) {
			high = middle
		} else {
			low = middle
		}
	}
	return high, true
}

// ProportionSampleSize returns the units needed to tell the share treated from
// the share baseline with the given power: the closed form of the normal
// approximation, with each group's own variance.
func ProportionSampleSize(baseline, treated, power float64, p Plan) Size {
	p.Mean, p.Variance, p.TreatmentVariance = baseline, baseline*(1-baseline), treated*(1-treated)
	d, reason := p.design()
	if reason == noReason && !(baseline > 0 && baseline < 1 && treated > 0 && treated < 1 && power > 0 && power < 1) {
		reason = AlphaOutOfRange
	}
	switch {
	case reason != noReason:
		return Size{Code: InvalidInput, Reason: reason}
	case baseline == treated:
		return Size{Code: NotApplicable}
	}
	d.TuningUnits = 0
	z := d.critical(1) + normalUpperQuantile(1-power)
	effect := treated - baseline
	return sizeOf(z*z*d.variance/(effect*effect), d.Ratio)
}

// PowerNow returns the chance that an experiment at its current size finds a lift
// of target, at the comparison's own level. With sequence options it is the
// chance that this look of a confidence sequence finds it.
func PowerNow(r Comparison, target float64, sequence *SequenceOptions) Optional {
	_, se, code := r.effect(Relative)
	if code != OK || !finite(target) {
		return Optional{}
	}
	d := design{alpha: r.Alpha, Plan: Plan{OneSided: r.Tail != TwoSided}}
	critical := d.critical(1)
	if sequence != nil {
		look := ConfidenceSequence(r, SequenceOptions{
			Alpha: cmp.Or(sequence.Alpha, r.Alpha), Scale: Relative,
			TuningUnits: sequence.TuningUnits, TuningAlpha: sequence.TuningAlpha,
		})
		if look.Code != OK {
			return Optional{}
		}
		critical = (look.Interval.Upper.value - look.Estimate.value) / se
		d.OneSided = false
	}
	return Defined(d.powerAt(math.Abs(target)/se, critical))
}

// Traffic is what arrives for an experiment.
type Traffic struct {
	NewUnits   []float64 // new units expected on each day, from the first day on
	Allocation float64   // share of them in the experiment
	Shares     []float64 // share of those in each group
}

// Days returns the first day, counted from one, by whose end every group has the
// units it needs; false if the forecast ends before.
func (t Traffic) Days(need []float64) (day int, ok bool) {
	if len(need) != len(t.Shares) || len(need) == 0 {
		return 0, false
	}
	total := 0.0
	for i, units := range t.NewUnits {
		total += max(0, units) * t.Allocation
		enough := true
		for arm, n := range need {
			enough = enough && total*t.Shares[arm] >= n
		}
		if enough {
			return i + 1, true
		}
	}
	return 0, false
}

// A Week is a metric at the end of a week of an experiment: values accumulate, so
// that mean and variance grow with the window.
type Week struct {
	Control  float64 // units in control
	Mean     float64
	Variance float64
}

// MDEByWeek returns the smallest relative effect that each week's end would find;
// undefined where a week has no units or no mean.
func (p Plan) MDEByWeek(weeks []Week, power float64) []Optional {
	out := make([]Optional, len(weeks))
	for i, w := range weeks {
		p.Mean, p.Variance, p.TreatmentVariance = w.Mean, w.Variance, 0
		if effect, ok := p.MDE(w.Control, power).Get(); ok && w.Mean != 0 {
			out[i] = Defined(effect / math.Abs(w.Mean))
		}
	}
	return out
}
