package stats

import "math"

// A Prior is a normal belief about the relative effect before the experiment. The
// zero Prior is flat: any effect is as likely as any other.
type Prior struct {
	Mean float64 // of the lift
	SD   float64 // of the lift; zero for a flat prior
}

// A Posterior is the belief about an effect after the experiment.
type Posterior struct {
	Code   Code     `json:"code"`
	Reason Reason   `json:"reason,omitempty"`
	Mean   Optional `json:"mean"`
	SD     Optional `json:"sd"`
	// ChanceToBeat is the probability that treatment is better than control.
	ChanceToBeat Optional `json:"chanceToBeat"`
	Credible     Interval `json:"credible"`
	// The losses are what each choice is expected to cost, in the unit of the
	// effect.
	LossOfTreatment Optional `json:"lossOfTreatment"`
	LossOfControl   Optional `json:"lossOfControl"`
}

// BayesOptions of a posterior. The zero value works.
type BayesOptions struct {
	Alpha         float64 // one minus the credible level; zero means DefaultAlpha
	Scale         Scale
	Prior         Prior
	LowerIsBetter bool
}

// NormalPosterior combines a comparison with a normal prior. Everything is normal,
// so that the posterior is exact.
func NormalPosterior(r Comparison, o BayesOptions) Posterior {
	alpha, reason := Options{Alpha: o.Alpha}.alpha()
	if reason == noReason && (!finite(o.Prior.Mean, o.Prior.SD) || o.Prior.SD < 0) {
		reason = ParameterOutOfRange
	}
	if reason != noReason {
		return Posterior{Code: InvalidInput, Reason: reason}
	}
	d, se, code := r.effect(o.Scale)
	if code != OK {
		return Posterior{Code: code, Reason: r.Reason}
	}
	mean, sd := d, se
	if o.Prior.SD > 0 {
		scale := 1.0
		if o.Scale == Absolute {
			scale = math.Abs(r.base.mean)
		}
		if scale == 0 {
			return Posterior{Code: ZeroControlMean}
		}
		v, v0 := se*se, o.Prior.SD*scale*o.Prior.SD*scale
		mean = (d*v0 + o.Prior.Mean*scale*v) / (v + v0)
		sd = math.Sqrt(v / (v + v0) * v0)
	}
	z := normalUpperQuantile(alpha / 2)
	worse, better := mean/sd, -mean/sd // how far each loss is from zero
	if o.LowerIsBetter {
		worse, better = better, worse
	}
	return Posterior{
		Code: OK, Mean: Defined(mean), SD: Defined(sd),
		ChanceToBeat:    Defined(normalTail(better)),
		Credible:        interval(mean-z*sd, mean+z*sd),
		LossOfTreatment: Defined(sd * normalLoss(worse)),
		LossOfControl:   Defined(sd * normalLoss(better)),
	}
}

// normalLoss returns E[max(0, Z-z)] = φ(z) - z·P(Z > z). Beyond five, where the
// two terms cancel, it takes a continued fraction of Mills' ratio.
func normalLoss(z float64) float64 {
	if z <= 5 {
		return normalDensity(z) - z*normalTail(z)
	}
	k := 0.0 // P(Z > z)/φ(z) = 1/(z + k), k = 1/(z + 2/(z + 3/(z + …)))
	for j := 60.0; j >= 1; j-- {
		k = j / (z + k)
	}
	return normalDensity(z) * k / (z + k)
}

// normalBetaUnits is the group size above which the posterior of two shares is
// taken as normal.
const normalBetaUnits = 100_000

// BetaPosterior compares two shares under independent Beta(a, b) priors. Above
// 100,000 units in both groups the posteriors are taken as normal; below, the
// integrals are evaluated numerically to about 1e-10. Credible is left undefined.
func BetaPosterior(control, treatment Proportion, a, b float64) Posterior {
	switch {
	case control.Successes > control.N || treatment.Successes > treatment.N:
		return Posterior{Code: InvalidInput, Reason: SuccessesExceedUnits}
	case !(a > 0 && b > 0) || !finite(a, b):
		return Posterior{Code: InvalidInput, Reason: ParameterOutOfRange}
	case control.N == 0 || treatment.N == 0:
		return Posterior{Code: NoUnits}
	}
	c, t := betaOf(control, a, b), betaOf(treatment, a, b)
	mean := t.mean() - c.mean()
	sd := math.Sqrt(t.variance() + c.variance())
	r := Posterior{Code: OK, Mean: Defined(mean), SD: Defined(sd)}
	if control.N > normalBetaUnits && treatment.N > normalBetaUnits {
		r.ChanceToBeat = Defined(normalTail(-mean / sd))
		r.LossOfTreatment = Defined(sd * normalLoss(mean/sd))
		r.LossOfControl = Defined(sd * normalLoss(-mean/sd))
		return r
	}
	points := betaPoints(c, t)
	// Losses as ∫P(T < x < C)dx: every integrand is positive, nothing cancels.
	r.ChanceToBeat = Defined(min(1, integrate(points, func(x, y, dx float64) float64 {
		below, _ := betaTails(x, y, c.a, c.b)
		return betaDensity(x, y, t.a, t.b) * dx * below
	})))
	r.LossOfTreatment = Defined(integrate(points, func(x, y, dx float64) float64 {
		below, _ := betaTails(x, y, t.a, t.b)
		_, above := betaTails(x, y, c.a, c.b)
		return below * above * dx
	}))
	r.LossOfControl = Defined(integrate(points, func(x, y, dx float64) float64 {
		below, _ := betaTails(x, y, c.a, c.b)
		_, above := betaTails(x, y, t.a, t.b)
		return below * above * dx
	}))
	return r
}

type betaParameters struct{ a, b float64 }

func betaOf(p Proportion, a, b float64) betaParameters {
	return betaParameters{a + float64(p.Successes), b + float64(p.N-p.Successes)}
}

func (p betaParameters) mean() float64 { return p.a / (p.a + p.b) }

func (p betaParameters) variance() float64 {
	n := p.a + p.b
	return p.a / n * (p.b / n) / (n + 1)
}

// betaPoints returns where the integrands over an angle θ, with share = sin²θ,
// change their pace. On that scale every posterior has a standard deviation of
// about ½/√n, and densities that are infinite at 0 or 1 are not.
func betaPoints(all ...betaParameters) []float64 {
	points := []float64{0, math.Pi / 2}
	for _, p := range all {
		centre, sd := math.Asin(math.Sqrt(p.mean())), 0.5/math.Sqrt(p.a+p.b+1)
		for _, k := range [...]float64{-40, -12, -6, -3, -1, 0, 1, 3, 6, 12, 40} {
			if at := centre + k*sd; at > 0 && at < math.Pi/2 {
				points = append(points, at)
			}
		}
	}
	return points
}
