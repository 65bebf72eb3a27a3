package stats

// Estimate implements [Arm]: the mean of unit values and their variance.
func (m Moments) Estimate() Estimate {
	if !finite(m.Mean, m.MeanLow, m.M2) {
		return invalid(NonFinite)
	}
	if m.M2 < 0 {
		return invalid(NegativeVariance)
	}
	e := Estimate{N: m.N, Value: m.Mean, Low: m.MeanLow, Code: OK}
	switch m.N {
	case 0:
		e.Code = NoUnits
	case 1:
		e.Code = InsufficientUnits
	default:
		e.Variance = m.M2 / float64(m.N-1)
	}
	return e
}

// Estimate implements [Arm]. Sums that no sample has are [InvalidInput].
func (s Sums) Estimate() Estimate {
	m, reason, imprecise := s.moments()
	if reason != noReason {
		return invalid(reason)
	}
	e := m.Estimate()
	e.Imprecise = imprecise
	return e
}

// CompareWithBaseline tests one group's mean against a number known beforehand:
// Student's t test with n-1 degrees of freedom. The baseline has no variance, so
// that the lift's interval is the absolute one divided by it.
func CompareWithBaseline(m Moments, base float64, o Options) (r Comparison) {
	e := m.Estimate()
	alpha, reason := o.alpha()
	r = Comparison{Code: e.Code, Alpha: alpha, Tail: o.Tail, Lift: Lift{Code: NotApplicable}}
	if reason == noReason {
		reason = e.Reason
	}
	if !finite(base) {
		reason = NonFinite
	}
	if reason != noReason {
		r.Code, r.Reason = InvalidInput, reason
		return r
	}
	r.Control = Group{Value: Defined(base)}
	r.Treatment = e.group()
	if !e.hasValue() {
		return r
	}
	delta := e.minus(&Estimate{Value: base})
	r.Delta, r.Lift = Defined(delta), liftOf(delta, base)
	if r.Code != OK {
		return r
	}
	if e.Variance == 0 {
		r.Code = ZeroVariance
		return r
	}
	r.infer(delta, e.Variance/float64(e.N), float64(e.N-1), baseline{mean: base}, o)
	return r
}
