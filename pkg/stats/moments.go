package stats

import "math"

// Moments describe one sample of one value: the number of units, their mean, and
// M2, the sum of squared deviations from that mean. Unlike sums of squares they
// keep their digits when values are large and vary little. The zero Moments
// describe no units.
//
// The mean is Mean + MeanLow: what rounding takes from Mean is kept, because the
// distance between two means decides how much M2 grows when they are merged.
// Moments that come from elsewhere may leave MeanLow at zero.
//
// Source of the updates: Chan, Golub and LeVeque, "Updating formulae and a
// pairwise algorithm for computing sample variances" (1979).
type Moments struct {
	N       uint64  `json:"n"`
	Mean    float64 `json:"mean"`
	MeanLow float64 `json:"meanLow,omitzero"`
	M2      float64 `json:"m2"`
}

// Add puts one unit's value in.
func (m *Moments) Add(value float64) {
	m.N++
	delta := value - m.Mean - m.MeanLow
	m.Mean, m.MeanLow = addExact(m.Mean, m.MeanLow, delta/float64(m.N))
	m.M2 += delta * (value - m.Mean - m.MeanLow)
}

// Merge returns the moments of both samples taken together.
func (m Moments) Merge(other Moments) Moments {
	switch {
	case other.N == 0:
		return m
	case m.N == 0:
		return other
	}
	na, nb := float64(m.N), float64(other.N)
	n := na + nb
	delta := (other.Mean - m.Mean) + (other.MeanLow - m.MeanLow)
	merged := Moments{N: m.N + other.N, M2: m.M2 + other.M2 + delta*delta*(na/n*nb)}
	merged.Mean, merged.MeanLow = addExact(m.Mean, m.MeanLow, delta*(nb/n))
	return merged
}

// Shift returns the moments of every value plus k: for sums that a warehouse took
// of values minus k, to keep their digits.
func (m Moments) Shift(k float64) Moments {
	if m.N > 0 {
		m.Mean, m.MeanLow = addExact(m.Mean, m.MeanLow, k)
	}
	return m
}

// addExact returns (high + low) + v as a rounded sum and what the rounding left.
func addExact(high, low, v float64) (sum, rest float64) {
	sum = high + v
	back := sum - high
	rest = (high - (sum - back)) + (v - back) + low
	return sum + rest, rest - ((sum + rest) - sum)
}

// meanOf returns sum/n and what the rounding left.
func meanOf(sum, n float64) (mean, rest float64) {
	mean = sum / n
	return mean, math.FMA(-mean, n, sum) / n
}

// Variance returns the sample variance, with n-1 in the divisor; undefined below
// two units.
func (m Moments) Variance() Optional {
	if m.N < 2 {
		return Optional{}
	}
	return Defined(m.M2 / float64(m.N-1))
}

// Sums are the raw sums of one value over the units of a group, as a warehouse
// returns them.
type Sums struct {
	N          uint64  `json:"n"`
	Sum        float64 `json:"sum"`
	SumSquares float64 `json:"sumSquares"`
}

// Moments converts the sums. It returns [NonFinite] or [NegativeVariance], as a
// [Reason], when no sample has such sums.
func (s Sums) Moments() (Moments, error) {
	m, reason, _ := s.moments()
	if reason != noReason {
		return Moments{}, reason
	}
	return m, nil
}

func (s Sums) moments() (m Moments, reason Reason, imprecise bool) {
	m2, reason, imprecise := centredSquares(s.N, s.Sum, s.SumSquares)
	if reason != noReason || s.N == 0 {
		return Moments{}, reason, false
	}
	m = Moments{N: s.N, M2: m2}
	m.Mean, m.MeanLow = meanOf(s.Sum, float64(s.N))
	return m, noReason, imprecise
}

// centredSquares returns Σ(y-ȳ)² from raw sums. The numerator n·Σy²-(Σy)² is
// formed with error-free products, so that only the rounding already present in
// the sums is left; imprecise tells that this has cost half the digits.
func centredSquares(n uint64, sum, squares float64) (m2 float64, reason Reason, imprecise bool) {
	if !finite(sum, squares) {
		return 0, NonFinite, false
	}
	if n == 0 {
		return 0, noReason, false
	}
	count := float64(n)
	numerator := productDifference(count, squares, sum, sum)
	scale := count * squares
	switch {
	case !finite(numerator, scale):
		return 0, NonFinite, false
	case numerator < -16*epsilon*scale || squares < 0:
		return 0, NegativeVariance, false
	case numerator <= 0:
		return 0, noReason, false
	}
	return numerator / count, noReason, scale/numerator > 1e10
}

// productDifference returns a·b - c·d with the rounding error of one operation.
func productDifference(a, b, c, d float64) float64 {
	w := c * d
	e := math.FMA(c, d, -w)
	return math.FMA(a, b, -w) - e
}

// A Pair describes one sample of two values per unit: y, the value measured, and
// x, the value beside it — the denominator of a ratio, or the covariate of CUPED.
// M2Y and M2X are sums of squared deviations, CXY is the sum of products of
// deviations. The zero Pair describes no units.
//
// As in [Moments], LowY and LowX hold what rounding took from the means.
type Pair struct {
	N     uint64  `json:"n"`
	MeanY float64 `json:"meanY"`
	MeanX float64 `json:"meanX"`
	LowY  float64 `json:"lowY,omitzero"`
	LowX  float64 `json:"lowX,omitzero"`
	M2Y   float64 `json:"m2Y"`
	M2X   float64 `json:"m2X"`
	CXY   float64 `json:"cXY"`
}

// Add puts one unit's values in.
func (p *Pair) Add(y, x float64) {
	p.N++
	n := float64(p.N)
	dy, dx := y-p.MeanY-p.LowY, x-p.MeanX-p.LowX
	p.MeanY, p.LowY = addExact(p.MeanY, p.LowY, dy/n)
	p.MeanX, p.LowX = addExact(p.MeanX, p.LowX, dx/n)
	restX := x - p.MeanX - p.LowX
	p.M2Y += dy * (y - p.MeanY - p.LowY)
	p.M2X += dx * restX
	p.CXY += dy * restX
}

// Merge returns the moments of both samples taken together.
func (p Pair) Merge(other Pair) Pair {
	switch {
	case other.N == 0:
		return p
	case p.N == 0:
		return other
	}
	na, nb := float64(p.N), float64(other.N)
	n := na + nb
	dy := (other.MeanY - p.MeanY) + (other.LowY - p.LowY)
	dx := (other.MeanX - p.MeanX) + (other.LowX - p.LowX)
	weight := na / n * nb
	merged := Pair{
		N:   p.N + other.N,
		M2Y: p.M2Y + other.M2Y + dy*dy*weight,
		M2X: p.M2X + other.M2X + dx*dx*weight,
		CXY: p.CXY + other.CXY + dy*dx*weight,
	}
	merged.MeanY, merged.LowY = addExact(p.MeanY, p.LowY, dy*(nb/n))
	merged.MeanX, merged.LowX = addExact(p.MeanX, p.LowX, dx*(nb/n))
	return merged
}

// Y returns the moments of y alone.
func (p Pair) Y() Moments { return Moments{N: p.N, Mean: p.MeanY, MeanLow: p.LowY, M2: p.M2Y} }

// X returns the moments of x alone.
func (p Pair) X() Moments { return Moments{N: p.N, Mean: p.MeanX, MeanLow: p.LowX, M2: p.M2X} }

// Covariance returns the sample covariance, undefined below two units.
func (p Pair) Covariance() Optional {
	if p.N < 2 {
		return Optional{}
	}
	return Defined(p.CXY / float64(p.N-1))
}

// residual returns Σ(y-b·x)² about its mean: what is left of y beside b times x.
func (p Pair) residual(b float64) float64 {
	return residue(p.M2Y, -2*b*p.CXY, b*b*p.M2X)
}

// residue returns the sum of a variance's terms. Where they cancel, as those of
// y and b·x do for units whose y is b times x, what rounding leaves of them is
// zero: taken for a variance, it would make any difference significant.
func residue(a, b, c float64) float64 {
	sum := a + b + c
	if sum <= 16*epsilon*(math.Abs(a)+math.Abs(b)+math.Abs(c)) {
		return 0
	}
	return sum
}

// check refuses moments that no sample has.
func (p Pair) check() Reason {
	switch {
	case !finite(p.MeanY, p.MeanX, p.LowY, p.LowX, p.M2Y, p.M2X, p.CXY):
		return NonFinite
	case p.M2Y < 0 || p.M2X < 0:
		return NegativeVariance
	case math.Abs(p.CXY) > math.Sqrt(p.M2Y)*math.Sqrt(p.M2X)*(1+1e-9):
		return CovarianceBound
	}
	return noReason
}

// PairSums are the raw sums of two values over the units of a group.
type PairSums struct {
	N           uint64  `json:"n"`
	SumY        float64 `json:"sumY"`
	SumX        float64 `json:"sumX"`
	SumSquaresY float64 `json:"sumSquaresY"`
	SumSquaresX float64 `json:"sumSquaresX"`
	SumProducts float64 `json:"sumProducts"`
}

// Pair converts the sums. It returns [NonFinite], [NegativeVariance] or
// [CovarianceBound], as a [Reason], when no sample has such sums.
func (s PairSums) Pair() (Pair, error) {
	p, reason, _ := s.pair()
	if reason != noReason {
		return Pair{}, reason
	}
	return p, nil
}

func (s PairSums) pair() (p Pair, reason Reason, imprecise bool) {
	if !finite(s.SumProducts) {
		return Pair{}, NonFinite, false
	}
	m2y, reason, impreciseY := centredSquares(s.N, s.SumY, s.SumSquaresY)
	if reason != noReason {
		return Pair{}, reason, false
	}
	m2x, reason, impreciseX := centredSquares(s.N, s.SumX, s.SumSquaresX)
	if reason != noReason || s.N == 0 {
		return Pair{}, reason, false
	}
	n := float64(s.N)
	cxy, reason := centredProducts(n, s.SumY, s.SumX, s.SumProducts, m2y, m2x)
	if reason != noReason {
		return Pair{}, reason, false
	}
	p = Pair{N: s.N, M2Y: m2y, M2X: m2x, CXY: cxy}
	p.MeanY, p.LowY = meanOf(s.SumY, n)
	p.MeanX, p.LowX = meanOf(s.SumX, n)
	return p, noReason, impreciseY || impreciseX
}

// centredProducts returns Σ(y-ȳ)(x-x̄) from raw sums. A value beyond the
// Cauchy–Schwarz bound is pulled back to it if the rounding of the sums explains
// the excess, and refused otherwise.
func centredProducts(n, sumY, sumX, products, m2y, m2x float64) (float64, Reason) {
	numerator := productDifference(n, products, sumY, sumX)
	c := numerator / n
	if !finite(c) {
		return 0, NonFinite
	}
	bound := math.Sqrt(m2y) * math.Sqrt(m2x)
	if math.Abs(c) <= bound {
		return c, noReason
	}
	rounding := 16 * epsilon * (math.Abs(products) + math.Abs(sumY/n*sumX))
	if math.Abs(c) > bound*(1+1e-9)+rounding {
		return 0, CovarianceBound
	}
	return math.Copysign(bound, c), noReason
}
