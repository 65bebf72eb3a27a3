package stats

import "cmp"

// A Method says how a scorecard is to be read. The zero value works.
type Method struct {
	// Options of the fixed-horizon comparison. Their level and tail are those of the
	// sequential and Bayesian readings too, where these name none.
	Options Options
	// Sequence tunes the confidence sequence.
	Sequence SequenceOptions
	// Bayes holds the prior and the direction of the metric.
	Bayes BayesOptions
	// Peeking makes corrections work on the confidence sequence, for experiments
	// that are looked at before they end.
	Peeking bool
}

// A Line is what the engine says about one metric of one treatment group: one set
// of aggregates, read in every way.
type Line struct {
	// Comparison is the fixed-horizon result to show: adjusted where that was worth
	// it. Unadjusted is the same without.
	Comparison        Comparison  `json:"comparison"`
	Unadjusted        Comparison  `json:"unadjusted"`
	Adjusted          bool        `json:"adjusted"`
	WhyNotAdjusted    CUPEDReason `json:"cupedReason,omitempty"`
	VarianceReduction Optional    `json:"varianceReduction"`

	Sequence  Sequence  `json:"sequence"`  // valid at any look, once BurnedIn
	BurnedIn  bool      `json:"burnedIn"`  // large enough for a first look
	Posterior Posterior `json:"posterior"` // of the lift; without one the chance to beat alone

	// What [Correct] adds: the p-value corrected for the family, whether it is
	// significant, and the intervals of the difference and of the lift that go
	// with it.
	CorrectedPValue   Optional `json:"correctedPValue"`
	CorrectedInterval Interval `json:"correctedInterval"`
	CorrectedLift     Interval `json:"correctedLift"`
	Significant       bool     `json:"significant"`

	method Method
}

// Analyze compares a treatment group with control and reads the result in every
// way. Quantiles have no sequential reading: its code is [NotApplicable].
func Analyze[A Arm](control, treatment A, m Method) Line {
	r := Compare(control, treatment, m.Options)
	l := Line{Comparison: r, Unadjusted: r, BurnedIn: BurnedIn(control, treatment), method: m}
	if _, quantile := any(control).(Quantile); quantile {
		l.WhyNotAdjusted = NotSupported
		l.read()
		l.Sequence = Sequence{Code: NotApplicable}
		return l
	}
	l.read()
	return l
}

// AnalyzeCUPED is [Analyze] for means with a covariate.
func AnalyzeCUPED(control, treatment Covaried, m Method) Line {
	l := lineOf(CUPED(control, treatment, m.Options), m)
	l.BurnedIn = BurnedIn(control.Y(), treatment.Y())
	return l
}

// AnalyzeCUPEDRatio is [Analyze] for ratios with a covariate.
func AnalyzeCUPEDRatio(control, treatment RatioCovaried, m Method) Line {
	l := lineOf(CUPEDRatio(control, treatment, m.Options), m)
	l.BurnedIn = BurnedIn(control.Ratio(), treatment.Ratio())
	return l
}

func lineOf(a Adjusted, m Method) Line {
	l := Line{
		Comparison: a.Comparison, Unadjusted: a.Unadjusted, Adjusted: a.Applied,
		WhyNotAdjusted: a.Why, VarianceReduction: a.VarianceReduction, method: m,
	}
	l.read()
	return l
}

// read adds the sequential and the Bayesian reading.
func (l *Line) read() {
	l.Sequence = ConfidenceSequence(l.Comparison, l.sequenceOptions())
	bayes := l.method.Bayes
	bayes.Alpha = cmp.Or(bayes.Alpha, l.method.Options.Alpha)
	bayes.Scale = Relative
	if l.Posterior = NormalPosterior(l.Comparison, bayes); l.Posterior.Code == ZeroControlMean && bayes.Prior.SD == 0 {
		bayes.Scale = Absolute // which group is ahead takes no lift
		l.Posterior.ChanceToBeat = NormalPosterior(l.Comparison, bayes).ChanceToBeat
	}
}

func (l *Line) sequenceOptions() SequenceOptions {
	o := l.method.Sequence
	o.Alpha = cmp.Or(o.Alpha, l.method.Options.Alpha)
	o.Tail = cmp.Or(o.Tail, l.method.Options.Tail)
	return o
}

// pValue is the one that decisions are made by.
func (l *Line) pValue() Optional {
	if !l.method.Peeking {
		return l.Comparison.PValue
	}
	if !l.BurnedIn {
		return Optional{}
	}
	return l.Sequence.PValue
}

// Correct fills in the corrected p-values, decisions and intervals of a family of
// lines: the metrics of one role times the treatment groups. Lines without a
// p-value leave the family. Levels are corrected inside the bounds only: the
// tuning of a confidence sequence stays that of the design.
func Correct(family []Line, c Correction, alpha float64) {
	alpha = cmp.Or(alpha, DefaultAlpha)
	pValues := make([]Optional, len(family))
	for i := range family {
		pValues[i] = family[i].pValue()
	}
	f := c.Adjust(pValues, alpha)
	for i := range family {
		l := &family[i]
		l.CorrectedPValue, l.Significant = f.Adjusted[i], f.Rejected[i]
		l.CorrectedInterval, l.CorrectedLift = Interval{}, Interval{}
		if !pValues[i].defined || !f.IntervalAlpha.defined {
			continue
		}
		if !l.method.Peeking {
			at := l.Comparison.At(f.IntervalAlpha.value)
			l.CorrectedInterval, l.CorrectedLift = at.Interval, at.Lift.Interval
			continue
		}
		o := l.sequenceOptions()
		o.TuningAlpha = cmp.Or(o.TuningAlpha, o.Alpha, DefaultAlpha)
		o.Alpha = f.IntervalAlpha.value
		l.CorrectedInterval = ConfidenceSequence(l.Comparison, o).Interval
		o.Scale = Relative
		l.CorrectedLift = ConfidenceSequence(l.Comparison, o).Interval
	}
}
