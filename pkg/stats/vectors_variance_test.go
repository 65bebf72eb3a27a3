package stats_test

import (
	"slices"

	"github.com/sluice-flags/sluice/pkg/stats"
)

// Answers of the methods that need more than one value per unit, or that shape
// the values before they are compared.
func init() {
	methods["ratio_test"] = ratioTest
	methods["cuped_mean"] = cupedMean
	methods["cuped_ratio"] = cupedRatio
	methods["poststratified_mean"] = poststratifiedMean
	methods["winsorize"] = winsorize
	methods["quantile_test"] = quantileTest
	methods["quantile_bounds_raw"] = quantileBounds
}

type ratioArm struct {
	N       count  `json:"n"`
	Y       number `json:"main_sum"`
	YY      number `json:"main_sum_squares"`
	D       number `json:"denominator_sum"`
	DD      number `json:"denominator_sum_squares"`
	YD      number `json:"main_denominator_sum_product"`
	X       number `json:"covariate_sum"`
	XX      number `json:"covariate_sum_squares"`
	YX      number `json:"main_covariate_sum_product"`
	Covered *count `json:"n_with_covariate"`
}

func (a ratioArm) ratio() stats.RatioSums {
	return stats.RatioSums{PairSums: pairSums(a.N, a.Y, a.D, a.YY, a.DD, a.YD)}
}

func (a ratioArm) covaried() (stats.Pair, error) {
	return pairSums(a.N, a.Y, a.X, a.YY, a.XX, a.YX).Pair()
}

func (a ratioArm) covered() uint64 {
	if a.Covered == nil {
		return 0
	}
	return uint64(*a.Covered)
}

func pairSums(n count, y, x, yy, xx, yx number) stats.PairSums {
	return stats.PairSums{
		N: uint64(n), SumY: float64(y), SumX: float64(x),
		SumSquaresY: float64(yy), SumSquaresX: float64(xx), SumProducts: float64(yx),
	}
}

func ratioTest(c vectorCase) (answers, error) {
	var in twoArms[ratioArm]
	var o options
	if err := decode(c, &in, &o); err != nil {
		return nil, err
	}
	return comparison(stats.Compare(in.Control.ratio(), in.Treatment.ratio(), o.options())), nil
}

func adjusted(r stats.Adjusted) answers {
	a := comparison(r.Comparison)
	a["theta"], a["variance_reduction"] = r.Theta, r.VarianceReduction
	a["cuped_applied"], a["cuped_reason"] = r.Applied, r.Why
	a["adjusted_mean_control"] = r.Comparison.Control.Value
	a["adjusted_mean_treatment"] = r.Comparison.Treatment.Value
	a["unadjusted_mean_control"] = r.Unadjusted.Control.Value
	a["unadjusted_mean_treatment"] = r.Unadjusted.Treatment.Value
	return a
}

func cupedMean(c vectorCase) (answers, error) {
	var in twoArms[ratioArm]
	var o options
	if err := decode(c, &in, &o); err != nil {
		return nil, err
	}
	control, err := in.Control.covaried()
	if err != nil {
		return nil, err
	}
	treatment, err := in.Treatment.covaried()
	if err != nil {
		return nil, err
	}
	if in.Control.Covered == nil && in.Treatment.Covered == nil {
		return adjusted(stats.CompareAdjusted(control, treatment, o.options())), nil
	}
	return adjusted(stats.CUPED(
		stats.Covaried{Pair: control, WithCovariate: in.Control.covered()},
		stats.Covaried{Pair: treatment, WithCovariate: in.Treatment.covered()},
		o.options())), nil
}

type ratioCovariedArm struct {
	N     count  `json:"n"`
	Y     number `json:"main_post_sum"`
	D     number `json:"denominator_post_sum"`
	PY    number `json:"main_pre_sum"`
	PD    number `json:"denominator_pre_sum"`
	YY    number `json:"main_post_sum_squares"`
	DD    number `json:"denominator_post_sum_squares"`
	PYPY  number `json:"main_pre_sum_squares"`
	PDPD  number `json:"denominator_pre_sum_squares"`
	YD    number `json:"main_post_denominator_post_sum_product"`
	YPY   number `json:"main_post_main_pre_sum_product"`
	YPD   number `json:"main_post_denominator_pre_sum_product"`
	DPY   number `json:"main_pre_denominator_post_sum_product"`
	DPD   number `json:"denominator_post_denominator_pre_sum_product"`
	PYxPD number `json:"main_pre_denominator_pre_sum_product"`
}

func (a ratioCovariedArm) covaried() (stats.RatioCovaried, error) {
	return stats.RatioCovariedSums{
		N:   uint64(a.N),
		Sum: [4]float64{float64(a.Y), float64(a.D), float64(a.PY), float64(a.PD)},
		Products: [4][4]float64{
			{float64(a.YY), float64(a.YD), float64(a.YPY), float64(a.YPD)},
			{0, float64(a.DD), float64(a.DPY), float64(a.DPD)},
			{0, 0, float64(a.PYPY), float64(a.PYxPD)},
			{0, 0, 0, float64(a.PDPD)},
		},
	}.RatioCovaried()
}

func cupedRatio(c vectorCase) (answers, error) {
	var in twoArms[ratioCovariedArm]
	var o options
	if err := decode(c, &in, &o); err != nil {
		return nil, err
	}
	control, err := in.Control.covaried()
	if err != nil {
		return nil, err
	}
	treatment, err := in.Treatment.covaried()
	if err != nil {
		return nil, err
	}
	return adjusted(stats.CompareAdjustedRatios(control, treatment, o.options())), nil
}

func poststratifiedMean(c vectorCase) (answers, error) {
	var in struct{ Strata []twoArms[meanArm] }
	var o options
	if err := decode(c, &in, &o); err != nil {
		return nil, err
	}
	strata := make([]stats.Stratum, len(in.Strata))
	for i, s := range in.Strata {
		var err error
		if strata[i].Control, err = s.Control.sums().Moments(); err != nil {
			return nil, err
		}
		if strata[i].Treatment, err = s.Treatment.sums().Moments(); err != nil {
			return nil, err
		}
	}
	a := comparison(stats.PostStratify(strata, o.options()))
	a["control_mean"] = a["mean_control"]
	return a, nil
}

func winsorize(c vectorCase) (answers, error) {
	var in twoArms[[]number]
	var p struct {
		Upper, Lower float64
		IgnoreZeros  bool `json:"ignore_zeros"`
	}
	if err := decode(c, &in, &p); err != nil {
		return nil, err
	}
	control, treatment := floats(in.Control), floats(in.Treatment)
	w := stats.Winsor{Upper: p.Upper, Lower: p.Lower, KeepZeros: p.IgnoreZeros}
	caps := w.Caps(slices.Concat(control, treatment))
	a := answers{"cap_upper": caps.Upper, "cap_lower": caps.Lower}
	for name, values := range map[string][]float64{"control": control, "treatment": treatment} {
		m, moved := caps.Moments(values)
		n := float64(m.N)
		a[name] = answers{
			"n": m.N, "sum": n * m.Mean, "sum_squares": m.M2 + n*m.Mean*m.Mean, "n_capped": moved,
		}
	}
	return a, nil
}

func floats(numbers []number) []float64 {
	out := make([]float64, len(numbers))
	for i, n := range numbers {
		out[i] = float64(n)
	}
	return out
}

type quantileArm struct {
	ratioArm
	NStar    uint64 `json:"n_star"`
	Quantile number `json:"quantile"`
	Lower    number `json:"quantile_lower"`
	Upper    number `json:"quantile_upper"`
	Clusters uint64 `json:"n_clusters"`
}

func (a quantileArm) quantile(level float64, clustered bool) (stats.Quantile, error) {
	q := stats.Quantile{
		N: uint64(a.N), NStar: a.NStar, Level: level, Value: float64(a.Quantile), Lower: float64(a.Lower), Upper: float64(a.Upper),
	}
	if !clustered {
		return q, nil
	}
	sums := a.ratio().PairSums
	sums.N = a.Clusters
	var err error
	q.Clusters, err = sums.Pair()
	return q, err
}

func quantileTest(c vectorCase) (answers, error) {
	var in twoArms[quantileArm]
	var p struct {
		options
		Nu        float64 `json:"nu"`
		Clustered bool    `json:"clustered"`
	}
	if err := decode(c, &in, &p); err != nil {
		return nil, err
	}
	control, err := in.Control.quantile(p.Nu, p.Clustered)
	if err != nil {
		return nil, err
	}
	treatment, err := in.Treatment.quantile(p.Nu, p.Clustered)
	if err != nil {
		return nil, err
	}
	return comparison(stats.Compare(control, treatment, p.options.options())), nil
}

func quantileBounds(c vectorCase) (answers, error) {
	var in struct{ Values []float64 }
	var p struct{ Nu float64 }
	if err := decode(c, &in, &p); err != nil {
		return nil, err
	}
	slices.Sort(in.Values)
	lower, upper := stats.QuantileLevels(p.Nu, uint64(len(in.Values)))
	q := stats.QuantileOf(in.Values, p.Nu)
	e := q.Estimate()
	return answers{
		"level_lower": lower, "level_upper": upper, "quantile": q.Value,
		"quantile_lower": q.Lower, "quantile_upper": q.Upper,
		"variance_defined": e.Code == stats.OK, "code": e.Code,
	}, nil
}
