package stats

import "math"

// quantileAlpha is the level of the bounds that a quantile's variance is read
// from, whatever the level of the test.
const quantileAlpha = 0.05

// A Quantile is a percentile of a group's values with what its variance needs:
// the percentiles a little below and above it, at the levels that
// [QuantileLevels] returns.
//
// Source: Liu, Sun, Varshney and Xu, "Large-scale online experimentation with
// quantile metrics" (2019).
type Quantile struct {
	N     uint64  `json:"n"`     // values
	NStar uint64  `json:"nStar"` // size that the levels were taken for, at most N; zero means N
	Level float64 `json:"level"` // 0.5 for the median
	Value float64 `json:"value"`
	Lower float64 `json:"lower"`
	Upper float64 `json:"upper"`
	// Clusters describes the units when values are events: y counts a unit's events
	// at or below Value, x all of its events. Without units, values are independent.
	Clusters Pair `json:"clusters,omitzero"`
}

// QuantileLevels returns the levels of the bounds of the quantile at level for n
// values. They are undefined where one would leave (0,1): there are too few
// values.
func QuantileLevels(level float64, n uint64) (lower, upper Optional) {
	if n == 0 || !(level > 0 && level < 1) {
		return Optional{}, Optional{}
	}
	h := normalUpperQuantile(quantileAlpha/2) * math.Sqrt(level*(1-level)/float64(n))
	if level-h <= 0 || level+h >= 1 {
		return Optional{}, Optional{}
	}
	return Defined(level - h), Defined(level + h)
}

// QuantileOf returns the quantile of sorted values with its bounds. Where there
// are too few values for bounds, they equal the quantile, and comparing it is
// [InsufficientUnits].
func QuantileOf(sorted []float64, level float64) Quantile {
	n := uint64(len(sorted))
	value := LinearQuantile(sorted, level)
	q := Quantile{N: n, NStar: n, Level: level, Value: value.Or(0)}
	q.Lower, q.Upper = q.Value, q.Value
	if lower, upper := QuantileLevels(level, n); lower.defined {
		q.Lower = LinearQuantile(sorted, lower.value).value
		q.Upper = LinearQuantile(sorted, upper.value).value
	}
	return q
}

// Estimate implements [Arm]. Bounds that coincide are [ZeroVariance]: the values
// around the quantile are all the same, which says nothing about its variance.
func (q Quantile) Estimate() Estimate {
	switch {
	case !finite(q.Value, q.Lower, q.Upper):
		return invalid(NonFinite)
	case !(q.Level > 0 && q.Level < 1):
		return invalid(ParameterOutOfRange)
	case q.Upper < q.Lower:
		return invalid(NegativeVariance)
	}
	e := Estimate{N: q.N, Value: q.Value, Code: OK}
	if q.N == 0 {
		e.Code = NoUnits
		return e
	}
	at := q.NStar
	if at == 0 || at > q.N {
		at = q.N
	}
	if lower, _ := QuantileLevels(q.Level, at); !lower.defined || q.N < 2 {
		e.Code = InsufficientUnits
		return e
	}
	if q.Lower == q.Upper {
		e.Code = ZeroVariance
		return e
	}
	n := float64(q.N)
	sd := (q.Upper - q.Lower) / (2 * normalUpperQuantile(quantileAlpha/2))
	e.Variance = float64(at) / n * (n - 1) * sd * sd
	if q.Clusters.N > 0 {
		share := Ratio{q.Clusters}.Estimate()
		if share.Code != OK {
			e.Code, e.Reason = share.Code, share.Reason
			return e
		}
		independent := q.Level * (1 - q.Level) / n
		e.Variance *= share.Variance / float64(q.Clusters.N) / independent
	}
	return e
}
