package stats_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"

	"github.com/sluice-flags/sluice/pkg/stats"
)

// number decodes what the vectors hold: a number, the name of one that JSON cannot
// write, or null, which is a value that is not there.
type number float64

func (n *number) UnmarshalJSON(raw []byte) error {
	switch string(raw) {
	case `"nan"`, "null":
		*n = number(math.NaN())
		return nil
	case `"inf"`:
		*n = number(math.Inf(1))
		return nil
	case `"-inf"`:
		*n = number(math.Inf(-1))
		return nil
	}
	return json.Unmarshal(raw, (*float64)(n))
}

// count decodes a number of units. The engine counts in unsigned numbers, so that
// a negative one is refused where it is read.
type count uint64

func (n *count) UnmarshalJSON(raw []byte) error {
	var v number // counts may be written as 100.0, too
	if err := v.UnmarshalJSON(raw); err != nil {
		return err
	}
	switch f := float64(v); {
	case math.IsNaN(f) || math.IsInf(f, 0):
		return stats.NonFinite
	case f < 0:
		return stats.NegativeCount
	default:
		*n = count(f)
	}
	return nil
}

// options are the parameters that most methods share.
type options struct {
	Alpha      level  `json:"alpha"`
	Tails      string `json:"tails"`
	Difference string `json:"difference"`
}

// level decodes an alpha. Zero stands for the default in the engine's options, so
// that an explicit zero is told apart here.
type level float64

func (l *level) UnmarshalJSON(raw []byte) error {
	if err := (*number)(l).UnmarshalJSON(raw); err != nil {
		return err
	}
	if *l == 0 {
		*l = -1
	}
	return nil
}

func (o options) alpha() float64 { return float64(o.Alpha) }

func (o options) tail() stats.Tail {
	switch o.Tails {
	case "greater":
		return stats.Greater
	case "less":
		return stats.Less
	}
	return stats.TwoSided
}

func (o options) options() stats.Options { return stats.Options{Alpha: o.alpha(), Tail: o.tail()} }

type meanArm struct {
	N          count  `json:"n"`
	Sum        number `json:"sum"`
	SumSquares number `json:"sum_squares"`
}

func (a meanArm) sums() stats.Sums {
	return stats.Sums{N: uint64(a.N), Sum: float64(a.Sum), SumSquares: float64(a.SumSquares)}
}

type proportionArm struct {
	N         count `json:"n"`
	Successes count `json:"successes"`
}

func (a proportionArm) proportion() stats.Proportion {
	return stats.Proportion{N: uint64(a.N), Successes: uint64(a.Successes)}
}

func decode(c vectorCase, input, params any) error {
	if err := json.Unmarshal(c.Input, input); err != nil {
		return fmt.Errorf("input: %w", err)
	}
	if params == nil || len(c.Params) == 0 {
		return nil
	}
	if err := json.Unmarshal(c.Params, params); err != nil {
		return fmt.Errorf("params: %w", err)
	}
	return nil
}

type twoArms[A any] struct {
	Control   A `json:"control"`
	Treatment A `json:"treatment"`
}

func pair(i stats.Interval) []stats.Optional { return []stats.Optional{i.Lower, i.Upper} }

// comparison names the fields of a comparison as the vectors do.
func comparison(r stats.Comparison) answers {
	relative := r.Lift.Code
	a := answers{
		"code": r.Code, "reason": r.Reason, "relative_code": relative,
		"mean_control": r.Control.Value, "mean_treatment": r.Treatment.Value,
		"unadjusted_mean_control": r.Control.Value, "unadjusted_mean_treatment": r.Treatment.Value,
		"var_control": r.Control.Variance, "var_treatment": r.Treatment.Variance,
		"abs_delta": r.Delta, "abs_se": r.StandardError, "df": r.DegreesOfFreedom,
		"t": r.T, "p_value": r.PValue, "abs_ci": pair(r.Interval),
		"rel_delta": r.Lift.Value, "rel_se_delta": r.Lift.StandardError,
		"rel_ci_delta": pair(r.Lift.Delta), "p_value_delta": r.Lift.DeltaPValue,
		"rel_ci_fieller": pair(r.Lift.Interval), "rel_ci_log": pair(r.Lift.Log),
		"rel_ci_fieller_kind": nil,
	}
	if r.Lift.Kind != "" {
		a["rel_ci_fieller_kind"] = r.Lift.Kind
	}
	return a
}

// refused is the answer when aggregates cannot even be built.
func refused(err error) (answers, error) {
	var reason stats.Reason
	if !errors.As(err, &reason) {
		return nil, err
	}
	return answers{"code": stats.InvalidInput, "reason": reason}, nil
}

func init() {
	methods["distribution"] = distribution
	methods["moments"] = moments
	methods["mean_test"] = meanTest
	methods["one_sample_test"] = oneSampleTest
	methods["proportion_test"] = proportionTest
	methods["srm"] = srm
}

func distribution(c vectorCase) (answers, error) {
	var in struct {
		Fn   string    `json:"fn"`
		Args []float64 `json:"args"`
	}
	if err := decode(c, &in, nil); err != nil {
		return nil, err
	}
	a, value := in.Args, 0.0
	switch in.Fn {
	case "normal_sf":
		value = stats.NormalTail(a[0])
	case "normal_isf":
		value = stats.NormalUpperQuantile(a[0])
	case "t_sf":
		value = stats.StudentTail(a[0], a[1])
	case "t_isf":
		value = stats.StudentUpperQuantile(a[0], a[1])
	case "chi2_sf":
		value = stats.ChiSquaredTail(a[0], a[1])
	case "beta_cdf":
		value, _ = stats.BetaTails(a[0], a[1], a[2])
	default:
		return nil, fmt.Errorf("unknown function %q", in.Fn)
	}
	return answers{"value": value}, nil
}

func moments(c vectorCase) (answers, error) {
	var in struct {
		X, Y    []float64
		SplitAt int `json:"split_at"`
	}
	if err := decode(c, &in, nil); err != nil {
		return nil, err
	}
	var a, b stats.Pair
	for i := range in.X {
		if i < in.SplitAt {
			a.Add(in.Y[i], in.X[i])
		} else {
			b.Add(in.Y[i], in.X[i])
		}
	}
	m, reversed := a.Merge(b), b.Merge(a)
	for _, pair := range [][2]float64{{m.MeanX, reversed.MeanX}, {m.M2X, reversed.M2X}, {m.M2Y, reversed.M2Y}} {
		if math.Abs(pair[0]-pair[1]) > 1e-12*math.Abs(pair[0]) {
			return nil, fmt.Errorf("merging in another order gives %v, want %v", pair[1], pair[0])
		}
	}
	return answers{
		"n": m.N, "mean_x": m.MeanX, "mean_y": m.MeanY,
		"var_x": m.X().Variance(), "var_y": m.Y().Variance(), "cov_xy": m.Covariance(),
	}, nil
}

func meanTest(c vectorCase) (answers, error) {
	var in twoArms[meanArm]
	var o options
	if err := decode(c, &in, &o); err != nil {
		return nil, err
	}
	return comparison(stats.Compare(in.Control.sums(), in.Treatment.sums(), o.options())), nil
}

func oneSampleTest(c vectorCase) (answers, error) {
	var in struct{ Values []float64 }
	var p struct {
		options
		Baseline float64 `json:"baseline"`
	}
	if err := decode(c, &in, &p); err != nil {
		return nil, err
	}
	var m stats.Moments
	for _, v := range in.Values {
		m.Add(v)
	}
	a := comparison(stats.CompareWithBaseline(m, p.Baseline, p.options.options()))
	a["mean"] = a["mean_treatment"]
	return a, nil
}

func proportionTest(c vectorCase) (answers, error) {
	var in twoArms[proportionArm]
	var o options
	if err := decode(c, &in, &o); err != nil {
		return nil, err
	}
	control, treatment := in.Control.proportion(), in.Treatment.proportion()
	a := comparison(stats.Compare(control, treatment, o.options()))
	a["newcombe_ci"] = pair(stats.Newcombe(control, treatment, o.alpha()))
	a["wilson_ci_control"] = pair(control.Wilson(o.alpha()))
	a["wilson_ci_treatment"] = pair(treatment.Wilson(o.alpha()))
	a["z_pooled"], a["p_value_z_pooled"] = stats.PooledZ(control, treatment, o.tail())
	a["p_value_ddof0"] = stats.PopulationVariancePValue(control, treatment, o.tail())
	return a, nil
}

func srm(c vectorCase) (answers, error) {
	var in struct {
		Observed []count
		Weights  []number
	}
	if err := decode(c, &in, nil); err != nil {
		return nil, err
	}
	observed := make([]uint64, len(in.Observed))
	for i, n := range in.Observed {
		observed[i] = uint64(n)
	}
	weights := make([]float64, len(in.Weights))
	for i, w := range in.Weights {
		weights[i] = float64(w)
	}
	r := stats.SRM(observed, weights)
	return answers{
		"code": r.Code, "reason": r.Reason, "chi2": r.ChiSquared, "df": r.DegreesOfFreedom, "p_value": r.PValue,
		"log_e_value": r.LogE, "p_value_anytime_single": r.AnytimePValue,
	}, nil
}
