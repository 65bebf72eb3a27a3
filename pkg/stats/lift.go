package stats

import "math"

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

// A baseline is what a lift is relative to.
type baseline struct {
	mean       float64
	variance   float64 // of mean
	covariance float64 // of mean with the difference
}

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

// fieller solves (L-l)² ≤ c²(V-2l·cov+l²·V_b) for l, with the lift L and all
// variances relative to b², so that values of any size neither overflow nor
// underflow. With the same c and V as the test of Δ, l = 0 solves it exactly when
// that test does not reject.
func (l *Lift) fieller(delta, v, b, baseVar, cov float64, test student) {
	lift, c, c2 := delta/b, test.critical, test.critical*test.critical
	v, baseVar, cov = v/b/b, baseVar/b/b, cov/b/b
	qa := 1 - c2*baseVar
	qb := lift - c2*cov
	qc := lift*lift - c2*v
	// qb²-qa·qc over c², without the terms of it that cancel.
	discriminant := v - 2*lift*cov + lift*lift*baseVar - c2*(v*baseVar-cov*cov)
	if !(qa > 0) {
		l.Code, l.Kind = FiellerUnbounded, Unbounded
		if discriminant > 0 {
			l.Kind = Exclusive
		}
		return
	}
	// The estimate always lies in the set, so that only rounding makes the
	// discriminant negative.
	root := math.Abs(c) * math.Sqrt(max(discriminant, 0))
	q := qb + math.Copysign(root, qb)
	l1, l2 := q/qa, qc/q
	if q == 0 {
		l2 = math.Sqrt(max(-qc/qa, 0))
		l1 = -l2
	}
	// One-sided levels above one half have a critical value below zero, and bounds
	// beyond the estimate.
	if (l1 > l2) != (c < 0) {
		l1, l2 = l2, l1
	}
	if !finite(l1, l2) {
		l.Code = FiellerUnbounded
		return
	}
	l.Kind = Bounded
	l.Interval = test.open(l1, l2)
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
