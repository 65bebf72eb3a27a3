package stats

import "math"

// DefaultAlpha is the level used where options name none.
const DefaultAlpha = 0.05

// A Tail says which differences count as evidence.
type Tail uint8

// The tails.
const (
	TwoSided Tail = iota // treatment differs from control
	Greater              // treatment is above control
	Less                 // treatment is below control
)

// Options of a comparison. The zero value works: two-sided at five percent.
type Options struct {
	// Alpha is the level of the test, one minus that of the intervals. Zero means
	// [DefaultAlpha]; other values outside (0,1) are refused.
	Alpha float64
	// Tail is the alternative. One-sided alternatives give intervals with one
	// infinite end.
	Tail Tail
	// NormalFrom replaces the t by the normal distribution from this many degrees
	// of freedom on, for parity with tools that do so. Zero means never.
	NormalFrom float64
}

func (o Options) alpha() (float64, Reason) {
	if o.Alpha == 0 {
		return DefaultAlpha, noReason
	}
	if !(o.Alpha > 0 && o.Alpha < 1) {
		return 0, AlphaOutOfRange
	}
	return o.Alpha, noReason
}

// An Estimate is one group's answer to a metric: what every metric type boils
// down to before two groups are compared.
type Estimate struct {
	N         uint64  // units, or observations for event-level quantiles
	Value     float64 // the mean, share, ratio or quantile
	Variance  float64 // of one unit; that of Value is Variance/N
	Code      Code    // OK, or why Value or Variance is missing
	Reason    Reason  // with InvalidInput
	Imprecise bool    // raw sums have lost half of the digits
}

// An Arm is what a group's units come to for one metric: [Moments], [Sums],
// [Proportion], [Ratio] or [Quantile].
type Arm interface {
	// Estimate boils the aggregates down.
	Estimate() Estimate
}

// A Comparison is the difference of one treatment group from control, for one
// metric.
type Comparison struct {
	Code   Code   `json:"code"`
	Reason Reason `json:"reason,omitempty"`
	// PrecisionWarning tells that the raw sums had lost half of their digits.
	PrecisionWarning bool `json:"precisionWarning,omitempty"`

	Control   Group `json:"control"`
	Treatment Group `json:"treatment"`

	Alpha            float64  `json:"alpha"`
	Tail             Tail     `json:"-"`
	Delta            Optional `json:"delta"` // treatment minus control
	StandardError    Optional `json:"standardError"`
	DegreesOfFreedom Optional `json:"degreesOfFreedom"`
	Critical         Optional `json:"critical"` // quantile behind both intervals
	T                Optional `json:"t"`        // Delta over StandardError
	PValue           Optional `json:"pValue"`   // of Delta
	Interval         Interval `json:"interval"` // of Delta
	Lift             Lift     `json:"lift"`

	base    baseline // what the lift is relative to
	options Options
}

// A Group is one side of a comparison.
type Group struct {
	N        uint64   `json:"n"`
	Value    Optional `json:"value"`
	Variance Optional `json:"variance"` // of one unit
}

// A FiellerKind is the shape of Fieller's confidence set for a lift.
type FiellerKind string

// The shapes.
const (
	Bounded   FiellerKind = "bounded"   // an interval
	Exclusive FiellerKind = "exclusive" // everything but an interval
	Unbounded FiellerKind = "unbounded" // everything
)

// A Lift is a difference relative to the absolute value of the control's mean.
type Lift struct {
	Code          Code        `json:"code"`
	Value         Optional    `json:"value"`
	StandardError Optional    `json:"standardError"` // delta method
	Interval      Interval    `json:"interval"`      // Fieller; excludes 0 exactly when PValue < Alpha
	Kind          FiellerKind `json:"kind,omitempty"`
	Delta         Interval    `json:"deltaInterval"` // delta method
	DeltaPValue   Optional    `json:"deltaPValue"`   // delta method, for parity with other tools
	Log           Interval    `json:"logInterval"`   // log scale, if both means are positive
}

// Compare compares a treatment group with control: Welch's t test on the
// difference, its interval, and the lift with the intervals of Fieller and of
// the delta method.
//
// When a result is not OK its Code is [NoUnits], [InsufficientUnits],
// [ZeroVariance], [ZeroDenominator] or [InvalidInput], and what is still
// meaningful is given. Lift.Code is separate, because a difference stands where
// a lift does not.
//
// Sources: Welch (1947) and Satterthwaite (1946) for the degrees of freedom;
// Fieller, "Some problems in interval estimation" (1954).
func Compare[A Arm](control, treatment A, o Options) Comparison {
	c, t := control.Estimate(), treatment.Estimate()
	return compareEstimates(&c, &t, o)
}

// compareEstimates compares estimates that are independent of each other.
func compareEstimates(control, treatment *Estimate, o Options) Comparison {
	variance := 0.0
	if control.N > 0 {
		variance = control.Variance / float64(control.N)
	}
	r := contrast(control, treatment, baseline{control.Value, variance, -variance}, o)
	r.logLift()
	return r
}

// A baseline is what a lift is relative to.
type baseline struct {
	mean       float64
	variance   float64 // of mean
	covariance float64 // of mean with the difference
}

func contrast(control, treatment *Estimate, base baseline, o Options) (r Comparison) {
	alpha, reason := o.alpha()
	r = Comparison{Code: OK, Alpha: alpha, Tail: o.Tail, Lift: Lift{Code: NotApplicable}}
	r.PrecisionWarning = control.Imprecise || treatment.Imprecise
	if reason == noReason {
		reason = firstReason(control, treatment)
	}
	if reason != noReason {
		r.Code, r.Reason = InvalidInput, reason
		return r
	}
	r.Control, r.Treatment = control.group(), treatment.group()
	if control.hasValue() && treatment.hasValue() {
		r.Delta = Defined(treatment.Value - control.Value)
		r.Lift = liftOf(treatment.Value-control.Value, base.mean)
	}
	if r.Code = worst(control.Code, treatment.Code); r.Code != OK {
		return r
	}

	delta := treatment.Value - control.Value
	wc, wt := control.Variance/float64(control.N), treatment.Variance/float64(treatment.N)
	v := wc + wt
	if !finite(delta, v) {
		r.Code, r.Reason = InvalidInput, NonFinite
		return r
	}
	if v == 0 {
		r.Code = ZeroVariance
		return r
	}
	// Scaled by v before squaring, so that tiny variances do not underflow.
	sc, st := wc/v, wt/v
	df := 1 / (sc*sc/float64(control.N-1) + st*st/float64(treatment.N-1))
	r.infer(delta, v, df, base, o)
	return r
}

// infer adds everything that follows from a difference, its variance and its
// degrees of freedom.
func (r *Comparison) infer(delta, v, df float64, base baseline, o Options) {
	se, test := math.Sqrt(v), newStudent(r.Alpha, df, o)
	r.StandardError, r.DegreesOfFreedom = Defined(se), Defined(df)
	r.Critical, r.T = Defined(test.critical), Defined(delta/se)
	r.PValue = Defined(test.pValue(delta / se))
	r.Interval = test.interval(delta, se)
	r.base, r.options = base, o
	r.Lift.uncertainty(delta, v, base, test)
}

// At returns the comparison at another level: the same difference, standard error
// and p-value with other intervals, as corrections for many comparisons ask for.
// A result without intervals is returned as it is.
func (r Comparison) At(alpha float64) Comparison {
	if !r.PValue.defined {
		return r
	}
	if !(alpha > 0 && alpha < 1) {
		return Comparison{Code: InvalidInput, Reason: AlphaOutOfRange, Lift: Lift{Code: NotApplicable}}
	}
	se, log := r.StandardError.value, r.Lift.Log.Lower.defined || r.Lift.Log.Upper.defined
	o := r.options
	o.Alpha, r.Alpha = alpha, alpha
	r.Lift = liftOf(r.Delta.value, r.base.mean)
	r.infer(r.Delta.value, se*se, r.DegreesOfFreedom.value, r.base, o)
	if log {
		r.logLift()
	}
	return r
}

// logLift adds the interval of the lift on the log scale, for positive means of
// independent groups.
func (r *Comparison) logLift() {
	c, t := r.Control.Value.value, r.Treatment.Value.value
	if !r.PValue.defined || !(c > 0 && t > 0) {
		return
	}
	wc := r.Control.Variance.value / float64(r.Control.N)
	wt := r.Treatment.Variance.value / float64(r.Treatment.N)
	half := r.Critical.value * math.Sqrt(wt/t/t+wc/c/c)
	r.Lift.Log = openEnd(r.Tail, t/c*math.Exp(-half)-1, t/c*math.Exp(half)-1)
}

func firstReason(estimates ...*Estimate) Reason {
	for _, e := range estimates {
		if e.Code == InvalidInput {
			return e.Reason
		}
	}
	return noReason
}

// worst returns the code that describes a comparison of two groups: the one
// that leaves the least to say.
func worst(codes ...Code) Code {
	for _, code := range [...]Code{NoUnits, ZeroDenominator, InsufficientUnits, ZeroVariance} {
		for _, c := range codes {
			if c == code {
				return code
			}
		}
	}
	return OK
}

func (e *Estimate) hasValue() bool { return e.Code != NoUnits && e.Code != ZeroDenominator }

func (e *Estimate) group() Group {
	g := Group{N: e.N}
	if e.hasValue() {
		g.Value = Defined(e.Value)
	}
	if e.Code == OK {
		g.Variance = Defined(e.Variance)
	}
	return g
}

// invalid is the estimate of aggregates that contradict themselves.
func invalid(reason Reason) Estimate { return Estimate{Code: InvalidInput, Reason: reason} }

func liftOf(delta, base float64) Lift {
	lift := Defined(delta / math.Abs(base))
	if !lift.defined {
		return Lift{Code: ZeroControlMean}
	}
	return Lift{Code: OK, Value: lift}
}

// uncertainty adds what is known about a lift once the variance v of the
// difference is: the delta method and Fieller's set.
func (l *Lift) uncertainty(delta, v float64, base baseline, test student) {
	if l.Code != OK {
		return
	}
	// Relative to |b|: the sign of b moves into the covariance.
	b, cov := math.Abs(base.mean), base.covariance
	if base.mean < 0 {
		cov = -cov
	}
	se := math.Sqrt(liftVariance(delta, v, b, base.variance, cov))
	if finite(se) {
		l.StandardError = Defined(se)
		l.Delta = test.interval(l.Value.value, se)
		if se > 0 {
			l.DeltaPValue = Defined(test.pValue(l.Value.value / se))
		}
	}
	l.fieller(delta, v, b, base.variance, cov, test)
}

// liftVariance is the delta method's variance of delta/b for b > 0.
func liftVariance(delta, v, b, baseVar, cov float64) float64 {
	l := delta / b
	return max(0, (v-2*l*cov+l*l*baseVar)/b/b)
}

// fieller solves (Δ-l·b)² ≤ c²(V-2l·cov+l²·V_b) for l. With the same c and V as
// the test of Δ, l = 0 solves it exactly when that test does not reject.
func (l *Lift) fieller(delta, v, b, baseVar, cov float64, test student) {
	c2 := test.critical * test.critical
	qa := b*b - c2*baseVar
	qb := delta*b - c2*cov
	qc := delta*delta - c2*v
	discriminant := qb*qb - qa*qc
	if !(qa > 0) {
		l.Code, l.Kind = FiellerUnbounded, Unbounded
		if discriminant > 0 {
			l.Kind = Exclusive
		}
		return
	}
	// The estimate always lies in the set, so that only rounding makes the
	// discriminant negative.
	root := math.Sqrt(max(discriminant, 0))
	q := qb + math.Copysign(root, qb)
	l1, l2 := q/qa, qc/q
	if q == 0 {
		l2 = math.Sqrt(max(-qc/qa, 0))
		l1 = -l2
	}
	if l1 > l2 {
		l1, l2 = l2, l1
	}
	if !finite(l1, l2) {
		l.Code = FiellerUnbounded
		return
	}
	l.Kind = Bounded
	l.Interval = test.open(l1, l2)
}

// A student is a t test at one level: a single critical value for everything.
type student struct {
	df       float64
	tail     Tail
	critical float64
}

func newStudent(alpha, df float64, o Options) student {
	if o.NormalFrom > 0 && df >= o.NormalFrom {
		df = math.Inf(1)
	}
	p := alpha
	if o.Tail == TwoSided {
		p = alpha / 2
	}
	return student{df: df, tail: o.Tail, critical: studentUpperQuantile(p, df)}
}

func (s student) pValue(t float64) float64 {
	switch s.tail {
	case Greater:
		return studentTail(t, s.df)
	case Less:
		return studentTail(-t, s.df)
	}
	return min(1, 2*studentTail(math.Abs(t), s.df))
}

func (s student) interval(centre, se float64) Interval {
	half := s.critical * se
	return s.open(centre-half, centre+half)
}

func (s student) open(lower, upper float64) Interval { return openEnd(s.tail, lower, upper) }

// openEnd removes the end that a one-sided alternative does not bound.
func openEnd(tail Tail, lower, upper float64) Interval {
	i := interval(lower, upper)
	switch {
	case !i.Lower.defined:
	case tail == Greater:
		i.Upper = unbounded(1)
	case tail == Less:
		i.Lower = unbounded(-1)
	}
	return i
}
