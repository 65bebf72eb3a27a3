package stats

import (
	"fmt"
	"math"
	"slices"
)

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

var tailNames = [...]string{TwoSided: "two-sided", Greater: "greater", Less: "less"}

// String returns the tail's name: two-sided, greater or less. Whatever is none of
// the tails counts as two-sided everywhere.
func (t Tail) String() string {
	if int(t) >= len(tailNames) {
		t = TwoSided
	}
	return tailNames[t]
}

// MarshalText writes the tail's name.
func (t Tail) MarshalText() ([]byte, error) { return []byte(t.String()), nil }

// UnmarshalText reads what MarshalText writes.
func (t *Tail) UnmarshalText(name []byte) error {
	i := slices.Index(tailNames[:], string(name))
	if i < 0 {
		return fmt.Errorf("stats: %q is no tail; want one of %q", name, tailNames)
	}
	*t = Tail(i)
	return nil
}

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
	Low       float64 // what rounding took from Value: most of a small difference, if values are large
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
	Tail             Tail     `json:"tail"`
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
		r.Delta = Defined(treatment.minus(control))
		r.Lift = liftOf(treatment.minus(control), base.mean)
	}
	if r.Code = worst(control.Code, treatment.Code); r.Code != OK {
		return r
	}

	delta := treatment.minus(control)
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

// minus returns the difference of two values, with what rounding took from them.
func (e *Estimate) minus(other *Estimate) float64 {
	return (e.Value - other.Value) + (e.Low - other.Low)
}

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
