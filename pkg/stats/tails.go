package stats

import (
	"math"

	"gonum.org/v1/gonum/mathext"
)

// epsilon is the distance from 1 to the next number.
const epsilon = 0x1p-52

// halfLogTwoPi is ½·ln 2π.
const halfLogTwoPi = 0.91893853320467274178

// normalTail returns P(Z > x). A complementary error function keeps its relative
// accuracy where 1-CDF would have none left.
func normalTail(x float64) float64 { return 0.5 * math.Erfc(x/math.Sqrt2) }

// normalDensity returns φ(x).
func normalDensity(x float64) float64 { return math.Exp(-0.5*x*x - halfLogTwoPi) }

// normalUpperQuantile returns the x with P(Z > x) = p.
func normalUpperQuantile(p float64) float64 { return -mathext.NormalQuantile(p) }

// chiSquaredTail returns P(X > x) for df degrees of freedom.
func chiSquaredTail(x, df float64) float64 { return mathext.GammaIncRegComp(df/2, x/2) }

// beyondStudent is the number of degrees of freedom from which the t and the
// normal distribution agree to the last digit at every tail above 1e-300.
const beyondStudent = 1e20

// studentTail returns P(T > t) for df degrees of freedom, to about 1e-13
// relative however small it is.
//
// Near the centre it is one half minus a series of positive terms. In the tail it
// is the continued fraction of Didonato and Morris for the incomplete beta
// function (ACM TOMS 708), in the arrangement whose terms stay of order one; the
// textbook arrangement loses digits in proportion to df.
func studentTail(t, df float64) float64 {
	switch {
	case math.IsNaN(t) || math.IsNaN(df):
		return math.NaN()
	case t < 0:
		return 1 - studentTail(-t, df)
	case df >= beyondStudent:
		return normalTail(t)
	}
	w := t * t / df
	y := w / (1 + w) // t²/(df+t²)
	if t*t < 9 && y < 0.6 {
		return 0.5 - studentCentre(t, df, y)
	}
	logOnePlusW := math.Log1p(w)
	x := 1 / (1 + w)
	if math.IsInf(w, 1) { // t beyond 1e154: its square is not representable
		logOnePlusW, x, y = 2*math.Log(t)-math.Log(df), 0, 1
	}
	a := df / 2
	prefactor := math.Exp(-a*logOnePlusW) * math.Sqrt(y) * gammaHalfRatio(a) / math.Sqrt(math.Pi)
	lambda := (a+0.5)*y - 0.5
	return 0.5 * prefactor * betaFraction(a, 0.5, x, y, lambda)
}

// studentDensity returns the density of the t distribution.
func studentDensity(t, df float64) float64 {
	if df >= beyondStudent {
		return normalDensity(t)
	}
	w := t * t / df
	logOnePlusW := math.Log1p(w)
	if math.IsInf(w, 1) {
		logOnePlusW = 2*math.Log(t) - math.Log(df)
	}
	return math.Exp(-(df+1)/2*logOnePlusW) * gammaHalfRatio(df/2) / math.Sqrt(math.Pi*df)
}

// studentCentre returns P(0 < T < t) from the hypergeometric series in
// y = t²/(df+t²), all of whose terms are positive.
func studentCentre(t, df, y float64) float64 {
	sum, term := 1.0, 1.0
	for k := 0.0; k < 500; k++ {
		term *= ((df+1)/2 + k) / (1.5 + k) * y
		sum += term
		if term < sum*epsilon/4 {
			break
		}
	}
	return t * studentDensity(t, df) * sum
}

// studentUpperQuantile returns the t with P(T > t) = p. It starts from the
// Cornish–Fisher expansion (or the power tail, for few degrees of freedom) and
// refines by Newton steps, on logarithms where the tail is thin.
func studentUpperQuantile(p, df float64) float64 {
	switch {
	case !(p > 0 && p < 1):
		return math.NaN()
	case p > 0.5:
		return -studentUpperQuantile(1-p, df)
	case p == 0.5:
		return 0
	case df >= beyondStudent:
		return normalUpperQuantile(p)
	}
	t := studentStart(p, df)
	for range 60 {
		tail, density := studentTail(t, df), studentDensity(t, df)
		if !(tail > 0) || !(density > 0) {
			break
		}
		var next float64
		if p > 0.2 {
			next = t + (tail-p)/density
		} else { // Newton for ln P against ln t, nearly a straight line far out
			next = t * math.Exp(math.Log(tail/p)*tail/(t*density))
		}
		step := math.Abs(next - t)
		t = next
		// Convergence is quadratic: a step of 1e-8 leaves an error of 1e-15.
		if step <= 3e-9*math.Abs(t) {
			break
		}
	}
	return t
}

func studentStart(p, df float64) float64 {
	z := normalUpperQuantile(p)
	if df < 8 || z*z > df {
		// P(T > t) ≈ df^{df/2}·t^{-df}/(df·B(df/2,½)) far out.
		logTail := math.Log(gammaHalfRatio(df/2)/math.Sqrt(math.Pi)) + (df/2-1)*math.Log(df)
		if t := math.Exp((logTail - math.Log(p)) / df); t*t > df {
			return t
		}
	}
	z2 := z * z
	g1 := z * (z2 + 1) / 4
	g2 := z * ((5*z2+16)*z2 + 3) / 96
	g3 := z * (((3*z2+19)*z2+17)*z2 - 15) / 384
	return z + (g1+(g2+g3/df)/df)/df
}

// gammaHalfRatio returns Γ(a+½)/Γ(a). Small arguments are lifted by the
// recurrence to where the asymptotic series holds.
func gammaHalfRatio(a float64) float64 {
	ratio := 1.0
	for a < 20 {
		ratio *= a / (a + 0.5)
		a++
	}
	i := 1 / (a * a)
	series := (-1.0/8 + i*(1.0/192+i*(-1.0/640+i*(17.0/14336)))) / a
	return ratio * math.Sqrt(a) * math.Exp(series)
}

// betaFraction evaluates the continued fraction F in
// I_x(a,b) = x^a·y^b/B(a,b)·F, with y = 1-x and lambda = a-(a+b)x. It converges
// fast for lambda > 0.
func betaFraction(a, b, x, y, lambda float64) float64 {
	// Modified Lentz's algorithm on 1/(β₁ + α₂/(β₂ + …)).
	const tiny = 1e-300
	beta := a / (a + 1) * (lambda + 1)
	f := nonZero(beta, tiny)
	c, d := f, 0.0
	for n := 1.0; n < 100_000; n++ {
		s := a + 2*n - 1
		alpha := (a + n - 1) / s * ((a + b + n - 1) / s) * n * (b - n) * x * x
		beta = n + n*(b-n)*x/s + (a+n)/(s+2)*(lambda+1+n*(1+y))
		d = 1 / nonZero(beta+alpha*d, tiny)
		c = nonZero(beta+alpha/c, tiny)
		delta := c * d
		f *= delta
		if math.Abs(delta-1) < epsilon {
			break
		}
	}
	return 1 / f
}

func nonZero(v, tiny float64) float64 {
	if v == 0 {
		return tiny
	}
	return v
}

// betaTails returns P(X ≤ x) and P(X > x) for X ~ Beta(a,b), each to about
// 1e-12 relative where it is the smaller one. y is 1-x, which callers may know
// where x is 1 to the last digit.
func betaTails(x, y, a, b float64) (lower, upper float64) {
	switch {
	case x <= 0:
		return 0, 1
	case y <= 0:
		return 1, 0
	}
	lambda := a*y - b*x // a-(a+b)x
	if lambda >= 0 {
		lower = x * y * betaDensity(x, y, a, b) * betaFraction(a, b, x, y, lambda)
		return lower, 1 - lower
	}
	upper = x * y * betaDensity(x, y, a, b) * betaFraction(b, a, y, x, -lambda)
	return 1 - upper, upper
}

// betaDensity returns the density of Beta(a,b) at x = 1-y by Loader's
// saddle-point form, which neither overflows nor loses digits for parameters of
// many millions.
func betaDensity(x, y, a, b float64) float64 {
	n := a + b
	correction := stirlingError(n) - stirlingError(a) - stirlingError(b)
	exponent := correction - deviance(a, n*x) - deviance(b, n*y)
	return math.Exp(exponent) * math.Sqrt(a/n*b/(2*math.Pi)) / (x * y)
}

// stirlingError returns ln Γ(z) - [(z-½)ln z - z + ½ln 2π], the error of
// Stirling's formula.
func stirlingError(z float64) float64 {
	if z < 15 {
		// Lift by ln Γ(z) = ln Γ(z+1) - ln z; each step adds what it costs.
		shift := 0.0
		for z < 15 {
			shift += (z+0.5)*math.Log1p(1/z) - 1
			z++
		}
		return shift + stirlingError(z)
	}
	i := 1 / (z * z)
	return (1.0/12 - i*(1.0/360-i*(1.0/1260-i*(1.0/1680-i*(1.0/1188-i*691.0/360360))))) / z
}

// deviance returns x·ln(x/e) + e - x without cancellation near x = e.
func deviance(x, e float64) float64 {
	if x == 0 {
		return e
	}
	if d := x - e; math.Abs(d) < 0.1*(x+e) {
		// With v = d/(x+e): d·v + 2x·(v³/3 + v⁵/5 + …).
		v := d / (x + e)
		sum, power := d*v, 2*x*v
		for k := 1.0; k < 1000; k++ {
			power *= v * v
			next := sum + power/(2*k+1)
			if next == sum {
				break
			}
			sum = next
		}
		return sum
	}
	return x*math.Log(x/e) + e - x
}
