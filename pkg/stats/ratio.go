package stats

import "math"

// A Ratio is Σy/Σx over the units of a group, with the unit as the cluster: y
// and x of one unit may depend on each other, units may not. Its variance is the
// delta method's: Deng, Knoblich and Lu, "Applying the delta method in metric
// analytics" (2018).
type Ratio struct{ Pair }

// Merge returns the ratio of both samples taken together.
func (r Ratio) Merge(other Ratio) Ratio { return Ratio{r.Pair.Merge(other.Pair)} }

// Estimate implements [Arm]. A denominator of zero is [ZeroDenominator].
func (r Ratio) Estimate() Estimate {
	if reason := r.check(); reason != noReason {
		return invalid(reason)
	}
	e := Estimate{N: r.N, Code: OK}
	switch {
	case r.N == 0:
		e.Code = NoUnits
		return e
	case r.MeanX == 0:
		e.Code = ZeroDenominator
		return e
	}
	e.Value = r.MeanY / r.MeanX
	if !finite(e.Value) {
		return invalid(NonFinite)
	}
	e.Low = (math.FMA(-e.Value, r.MeanX, r.MeanY) + r.LowY - e.Value*r.LowX) / r.MeanX
	if r.N == 1 {
		e.Code = InsufficientUnits
		return e
	}
	e.Variance = r.residual(e.Value) / float64(r.N-1) / r.MeanX / r.MeanX // of y-r·x
	return e
}

// RatioSums are the raw sums behind a [Ratio].
type RatioSums struct{ PairSums }

// Estimate implements [Arm]. Sums that no sample has are [InvalidInput].
func (s RatioSums) Estimate() Estimate {
	p, reason, imprecise := s.pair()
	if reason != noReason {
		return invalid(reason)
	}
	e := Ratio{p}.Estimate()
	e.Imprecise = imprecise
	return e
}
