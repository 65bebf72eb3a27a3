package stats_test

import (
	"math"

	"github.com/sluice-flags/sluice/pkg/stats"
)

// Answers of the methods that decide: sequential, Bayesian, many comparisons,
// planning and checks.
func init() {
	methods["sequential_asymptotic_cs"] = sequentialCS
	methods["sequential_msprt"] = sequentialMSPRT
	methods["sequential_statsig_compat"] = sequentialCompatible
	methods["multiple_comparisons"] = multipleComparisons
	methods["alpha_split"] = alphaSplit
	methods["bayes_normal"] = bayesNormal
	methods["bayes_beta_binomial"] = bayesBeta
	methods["sample_size"] = sampleSize
	methods["sample_size_proportion"] = sampleSizeProportion
	methods["power"] = power
	methods["mde"] = mde
	methods["mid_experiment_power"] = midExperimentPower
	methods["heterogeneous_effect"] = heterogeneousEffect
	methods["interaction_effect"] = interactionEffect
	methods["topline_impact"] = toplineImpact
	methods["pre_experiment_bias"] = preExperimentBias
}

func (o options) scale() stats.Scale {
	if o.Difference == "relative" {
		return stats.Relative
	}
	return stats.Absolute
}

type sequentialParams struct {
	options
	NStar      float64 `json:"n_star"`
	TauSquared float64 `json:"tau_squared"`
}

func sequential(c vectorCase) (r stats.Comparison, p sequentialParams, err error) {
	var in twoArms[meanArm]
	if err := decode(c, &in, &p); err != nil {
		return r, p, err
	}
	return stats.Compare(in.Control.sums(), in.Treatment.sums(), p.options.options()), p, nil
}

func sequentialCS(c vectorCase) (answers, error) {
	r, p, err := sequential(c)
	if err != nil {
		return nil, err
	}
	s := stats.ConfidenceSequence(r, stats.SequenceOptions{
		Alpha: p.alpha(), Tail: p.tail(), Scale: p.scale(), TuningUnits: p.NStar,
	})
	return answers{
		"code": s.Code, "reason": s.Reason, "rho": s.Rho, "estimate": s.Estimate, "se": s.StandardError, "ci": pair(s.Interval),
		"p_value": s.PValue, "log_e_value": s.LogE,
	}, nil
}

func sequentialMSPRT(c vectorCase) (answers, error) {
	r, p, err := sequential(c)
	if err != nil {
		return nil, err
	}
	s := stats.MixtureSPRT(r, p.TauSquared, p.alpha())
	return answers{
		"code": s.Code, "reason": s.Reason,
		"log_likelihood_ratio": s.LogE, "p_value": s.PValue, "abs_ci": pair(s.Interval),
	}, nil
}

func sequentialCompatible(c vectorCase) (answers, error) {
	r, p, err := sequential(c)
	if err != nil {
		return nil, err
	}
	s := stats.CompatibleSequential(r, p.alpha())
	return answers{
		"code": s.Code, "reason": s.Reason,
		"z_star": s.ZStar, "p_value": s.PValue, "abs_ci": pair(s.Interval),
	}, nil
}

func multipleComparisons(c vectorCase) (answers, error) {
	var in struct {
		PValues []stats.Optional `json:"p_values"`
	}
	var o options
	if err := decode(c, &in, &o); err != nil {
		return nil, err
	}
	a := answers{}
	for name, correction := range map[string]stats.Correction{
		"bonferroni": stats.Bonferroni, "holm": stats.Holm,
		"bh": stats.BenjaminiHochberg, "by": stats.BenjaminiYekutieli,
	} {
		f := correction.Adjust(in.PValues, o.alpha())
		a[name], a[name+"_rejected"] = f.Adjusted, f.Rejected
		if name == "bh" {
			a["fcr_ci_alpha"] = f.IntervalAlpha
		}
	}
	return a, nil
}

func alphaSplit(c vectorCase) (answers, error) {
	var in struct {
		Primary    int     `json:"n_primary"`
		Secondary  int     `json:"n_secondary"`
		Weight     float64 `json:"primary_weight"`
		Treatments int     `json:"n_treatments"`
	}
	var o options
	if err := decode(c, &in, &o); err != nil {
		return nil, err
	}
	p, s := stats.SplitAlpha(o.alpha(), in.Weight, in.Primary, in.Secondary, in.Treatments)
	return answers{"alpha_primary": p, "alpha_secondary": s}, nil
}

func posterior(p stats.Posterior) answers {
	return answers{
		"code": p.Code, "reason": p.Reason, "posterior_mean": p.Mean, "posterior_sd": p.SD,
		"chance_to_beat_control": p.ChanceToBeat, "credible_interval": pair(p.Credible),
		"expected_loss_choosing_treatment": p.LossOfTreatment,
		"expected_loss_choosing_control":   p.LossOfControl,
	}
}

func bayesNormal(c vectorCase) (answers, error) {
	var in twoArms[meanArm]
	var p struct {
		options
		LowerIsBetter bool `json:"lower_is_better"`
		Prior         struct {
			Proper   bool
			Mean, SD float64
		}
	}
	if err := decode(c, &in, &p); err != nil {
		return nil, err
	}
	o := stats.BayesOptions{Alpha: p.alpha(), Scale: p.scale(), LowerIsBetter: p.LowerIsBetter}
	if p.Prior.Proper {
		o.Prior = stats.Prior{Mean: p.Prior.Mean, SD: p.Prior.SD}
	}
	r := stats.Compare(in.Control.sums(), in.Treatment.sums(), stats.Options{})
	return posterior(stats.NormalPosterior(r, o)), nil
}

func bayesBeta(c vectorCase) (answers, error) {
	var in twoArms[stats.Proportion]
	var p struct {
		A float64 `json:"prior_alpha"`
		B float64 `json:"prior_beta"`
	}
	if err := decode(c, &in, &p); err != nil {
		return nil, err
	}
	return posterior(stats.BetaPosterior(in.Control, in.Treatment, p.A, p.B)), nil
}

type planInput struct {
	Mean, SD, Alpha, Power, Baseline float64
	Ratio                            float64 `json:"ratio_treatment_to_control"`
	Tails                            string
	RelativeEffect                   float64 `json:"relative_effect"`
	Control                          float64 `json:"n_control"`
}

func (p planInput) plan() stats.Plan {
	return stats.Plan{
		Mean: p.Mean, Variance: p.SD * p.SD, Ratio: p.Ratio, Alpha: p.Alpha,
		OneSided: p.Tails == "one-sided",
	}
}

func size(s stats.Size) answers {
	return answers{
		"code": s.Code, "reason": s.Reason,
		"n_control_exact": s.ControlExact, "n_control": s.Control, "n_treatment": s.Treatment,
	}
}

func sampleSize(c vectorCase) (answers, error) {
	var in planInput
	if err := decode(c, &in, nil); err != nil {
		return nil, err
	}
	return size(in.plan().SampleSize(in.Mean*in.RelativeEffect, in.Power)), nil
}

func sampleSizeProportion(c vectorCase) (answers, error) {
	var in planInput
	if err := decode(c, &in, nil); err != nil {
		return nil, err
	}
	treated := in.Baseline * (1 + in.RelativeEffect)
	return size(stats.ProportionSampleSize(in.Baseline, treated, in.Power, in.plan())), nil
}

func power(c vectorCase) (answers, error) {
	var in planInput
	if err := decode(c, &in, nil); err != nil {
		return nil, err
	}
	return answers{"power": in.plan().Power(in.Control, in.Mean*in.RelativeEffect)}, nil
}

func mde(c vectorCase) (answers, error) {
	var in planInput
	if err := decode(c, &in, nil); err != nil {
		return nil, err
	}
	effect := in.plan().MDE(in.Control, in.Power)
	return answers{
		"mde_absolute": effect,
		"mde_relative": stats.Defined(effect.Or(math.NaN()) / in.Mean),
	}, nil
}

func midExperimentPower(c vectorCase) (answers, error) {
	var in twoArms[meanArm]
	var p struct {
		options
		Target     float64 `json:"target_relative_effect"`
		Sequential bool
		NStar      float64 `json:"n_star"`
	}
	if err := decode(c, &in, &p); err != nil {
		return nil, err
	}
	r := stats.Compare(in.Control.sums(), in.Treatment.sums(), p.options.options())
	var sequence *stats.SequenceOptions
	if p.Sequential {
		sequence = &stats.SequenceOptions{TuningUnits: p.NStar}
	}
	return answers{"power_now": stats.PowerNow(r, p.Target, sequence)}, nil
}

func stratum(in twoArms[meanArm]) (s stats.Stratum, err error) {
	if s.Control, err = in.Control.sums().Moments(); err != nil {
		return s, err
	}
	s.Treatment, err = in.Treatment.sums().Moments()
	return s, err
}

func differenceOf(d stats.Difference, value string) answers {
	return answers{"code": d.Code, "reason": d.Reason, value: d.Value, "se": d.StandardError, "df": d.DegreesOfFreedom, "p_value": d.PValue}
}

func heterogeneousEffect(c vectorCase) (answers, error) {
	var in struct{ Segment, Rest twoArms[meanArm] }
	if err := decode(c, &in, nil); err != nil {
		return nil, err
	}
	segment, err := stratum(in.Segment)
	if err != nil {
		return nil, err
	}
	rest, err := stratum(in.Rest)
	if err != nil {
		return nil, err
	}
	return differenceOf(stats.HeterogeneousEffect(segment, rest, stats.Options{}), "effect_difference"), nil
}

func interactionEffect(c vectorCase) (answers, error) {
	var in struct {
		CC meanArm `json:"control_control"`
		CT meanArm `json:"control_treatment"`
		TC meanArm `json:"treatment_control"`
		TT meanArm `json:"treatment_treatment"`
	}
	if err := decode(c, &in, nil); err != nil {
		return nil, err
	}
	first, err := stratum(twoArms[meanArm]{Control: in.CC, Treatment: in.CT})
	if err != nil {
		return nil, err
	}
	second, err := stratum(twoArms[meanArm]{Control: in.TC, Treatment: in.TT})
	if err != nil {
		return nil, err
	}
	return differenceOf(stats.Interaction(stats.Crossing{
		ControlControl: first.Control, ControlTreatment: first.Treatment,
		TreatmentControl: second.Control, TreatmentTreatment: second.Treatment,
	}, stats.Options{}), "interaction"), nil
}

func toplineImpact(c vectorCase) (answers, error) {
	var in struct {
		twoArms[meanArm]
		Days  float64
		Daily float64 `json:"topline_daily_total"`
		Share float64 `json:"treatment_share_of_all_units"`
	}
	var o options
	if err := decode(c, &in, &o); err != nil {
		return nil, err
	}
	i := stats.Impact(in.Control.sums(), in.Treatment.sums(),
		stats.Topline{Days: in.Days, DailyTotal: stats.Defined(in.Daily), TreatmentShare: in.Share}, o.options())
	return answers{
		"code": i.Code, "reason": i.Reason,
		"impact_absolute_per_day": i.PerDay, "impact_ci": pair(i.Interval), "impact_relative": i.Relative,
		"projected_absolute_per_day": i.ProjectedPerDay, "projected_relative": i.ProjectedRelative,
	}, nil
}

func preExperimentBias(c vectorCase) (answers, error) {
	var in twoArms[meanArm]
	p := struct{ Threshold float64 }{0.01}
	if err := decode(c, &in, &p); err != nil {
		return nil, err
	}
	tests := int(math.Round(0.01 / p.Threshold)) // which the threshold is shared by
	b := stats.PreExperimentBias(in.Control.sums(), in.Treatment.sums(), tests)
	return answers{"code": b.Comparison.Code, "reason": b.Comparison.Reason, "p_value": b.Comparison.PValue, "flagged": b.Flagged}, nil
}
