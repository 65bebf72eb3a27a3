package stats

import (
	"math"
	"slices"
)

// The abscissae of the 15-point Kronrod rule with its weights, and the weights of
// the 7-point Gauss rule inside it (zero where it has no point).
var (
	kronrodPoints = [8]float64{
		0.991455371120812639206854697526329, 0.949107912342758524526189684047851,
		0.864864423359769072789712788640926, 0.741531185599394439863864773280788,
		0.586087235467691130294144258405868, 0.405845151377397166906606412076961,
		0.207784955007898467600689403773245, 0,
	}
	kronrodWeights = [8]float64{
		0.022935322010529224963732008058970, 0.063092092629978553290700663189204,
		0.104790010322250183839876322541518, 0.140653259715525918745189590510238,
		0.169004726639267902826583426598550, 0.190350578064785409913256402421014,
		0.204432940075298892414161999234649, 0.209482141084727828012999174891714,
	}
	gaussWeights = [8]float64{
		0, 0.129484966168869693270611432679082,
		0, 0.279705391489276667901467771423780,
		0, 0.381830050505118944950369775488975,
		0, 0.417959183673469387755102040816327,
	}
)

// integrate returns the integral of f over shares in (0,1), where f is given the
// share x = sin²θ, y = 1-x and dx = dx/dθ, with θ going over the range of points. It splits
// at the points, and then wherever two rules disagree.
func integrate(points []float64, f func(x, y, dx float64) float64) float64 {
	points = slices.Clone(points)
	slices.Sort(points)
	points = slices.Compact(points)
	g := func(theta float64) float64 {
		s, c := math.Sincos(theta)
		return f(s*s, c*c, 2*s*c)
	}
	rough := 0.0
	for i := 1; i < len(points); i++ {
		value, _ := kronrod(points[i-1], points[i], g)
		rough += value
	}
	total, tolerance := 0.0, 1e-11*rough
	for i := 1; i < len(points); i++ {
		total += refine(points[i-1], points[i], tolerance, 12, g)
	}
	return total
}

// refine integrates over [a,b], halving it until both rules agree or depth is used
// up.
func refine(a, b, tolerance float64, depth int, g func(float64) float64) float64 {
	value, difference := kronrod(a, b, g)
	if difference <= tolerance || depth == 0 {
		return value
	}
	middle := (a + b) / 2
	return refine(a, middle, tolerance/2, depth-1, g) + refine(middle, b, tolerance/2, depth-1, g)
}

func kronrod(a, b float64, g func(float64) float64) (value, difference float64) {
	centre, half := (a+b)/2, (b-a)/2
	gauss := 0.0
	for i, x := range kronrodPoints {
		y := g(centre + half*x)
		if x != 0 {
			y += g(centre - half*x)
		}
		value += kronrodWeights[i] * y
		gauss += gaussWeights[i] * y
	}
	return value * half, math.Abs(value-gauss) * half
}
