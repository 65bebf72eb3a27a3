package stats

import "math"

// The levels at which a sample ratio mismatch is reported.
const (
	srmAlertLevel  = 0.001
	srmNoticeLevel = 0.01
	srmAlertShare  = 0.001 // a tenth of a percentage point
)

// A Verdict says how loud a check of trustworthiness should be.
type Verdict string

// The verdicts.
const (
	Fine   Verdict = "ok"
	Notice Verdict = "notice" // worth a look
	Alert  Verdict = "alert"  // do not trust the results
)

// An SRMResult tells whether groups have the sizes that their weights promise.
type SRMResult struct {
	Code   Code   `json:"code"`
	Reason Reason `json:"reason,omitempty"`
	// Verdict is undecided, and empty, where no test was possible.
	Verdict Verdict `json:"verdict,omitempty"`
	// ChiSquared has DegreesOfFreedom degrees of freedom if the split is right.
	ChiSquared       Optional `json:"chiSquared"`
	DegreesOfFreedom int      `json:"degreesOfFreedom"`
	PValue           Optional `json:"pValue"`
	// LogE is the logarithm of the evidence against the split that may be looked
	// at any number of times; AnytimePValue is min(1, 1/e) of this look.
	LogE          Optional `json:"logE"`
	AnytimePValue Optional `json:"anytimePValue"`
	// MaxShareError is the largest difference between a group's share of the units
	// and its share of the weights.
	MaxShareError Optional `json:"maxShareError"`
}

// SRM tests observed group sizes against the weights of the split (any positive
// scale; zero for a group that should be empty).
//
// Pearson's χ² answers for one look. For daily looks there is the Bayes factor of
// a Dirichlet prior around the weights, with hundred times the number of groups
// as its strength: Lindon and Malek, "Anytime-valid inference for multinomial
// count data" (2022).
//
// Codes: [NoUnits]; [NotApplicable] with fewer than two groups of positive
// weight; [UnexpectedArm], with p = 0, when a group of weight zero has units;
// [TooFewUnits] when an expected size is below five; [InvalidInput].
func SRM(observed []uint64, weights []float64) SRMResult {
	if len(observed) != len(weights) {
		return SRMResult{Code: InvalidInput, Reason: LengthsDiffer}
	}
	var units, weight float64
	arms, unexpected := 0, false
	for i, w := range weights {
		switch {
		case !finite(w):
			return SRMResult{Code: InvalidInput, Reason: NonFinite}
		case w < 0:
			return SRMResult{Code: InvalidInput, Reason: NegativeCount}
		case w == 0:
			unexpected = unexpected || observed[i] > 0
			continue
		}
		arms++
		weight += w
		units += float64(observed[i])
	}
	switch {
	case !finite(weight):
		return SRMResult{Code: InvalidInput, Reason: NonFinite}
	case unexpected:
		return SRMResult{Code: UnexpectedArm, Verdict: Alert, PValue: Defined(0), AnytimePValue: Defined(0)}
	case arms < 2:
		return SRMResult{Code: NotApplicable}
	case units == 0:
		return SRMResult{Code: NoUnits}
	}

	r := SRMResult{Code: OK, DegreesOfFreedom: arms - 1}
	chi, worstShare := 0.0, 0.0
	for i, w := range weights {
		if w == 0 {
			continue
		}
		expected := units * (w / weight)
		if expected < 5 {
			r.Code = TooFewUnits
		}
		d := float64(observed[i]) - expected
		chi += d * d / expected
		worstShare = max(worstShare, math.Abs(d)/units)
	}
	logE := dirichletLogE(observed, weights, units, weight, arms)
	r.LogE, r.AnytimePValue = Defined(logE), Defined(min(1, math.Exp(-logE)))
	r.MaxShareError = Defined(worstShare)
	if r.Code != OK {
		return r
	}
	r.ChiSquared = Defined(chi)
	r.judge()
	return r
}

// judge sets the p-value of the χ² and the verdict.
func (r *SRMResult) judge() {
	p := chiSquaredTail(r.ChiSquared.value, float64(r.DegreesOfFreedom))
	r.PValue = Defined(p)
	r.Verdict = Fine
	switch {
	case p < srmAlertLevel && r.MaxShareError.value >= srmAlertShare:
		r.Verdict = Alert
	case p < srmNoticeLevel:
		r.Verdict = Notice
	}
}

// dirichletLogE returns the log Bayes factor of the Dirichlet(100k·w) mixture
// against the exact weights:
//
//	lnΓ(A) - lnΓ(A+n) + Σ[lnΓ(a+o) - lnΓ(a) - o·ln w].
//
// Those terms grow like n·ln n while their sum does not, so it is rearranged:
// Stirling's formula leaves a sum of deviances, halves of logarithms and the
// formula's own small errors, none of which cancels.
func dirichletLogE(observed []uint64, weights []float64, units, weight float64, arms int) float64 {
	strength := 100 * float64(arms)
	total := strength + units
	logE := 0.5*math.Log(total/strength) + stirlingError(strength) - stirlingError(total)
	for i, w := range weights {
		if w == 0 {
			continue
		}
		share := w / weight
		prior := strength * share
		posterior := prior + float64(observed[i])
		logE += deviance(posterior, total*share) - 0.5*math.Log(posterior/prior)
		logE += stirlingError(posterior) - stirlingError(prior)
	}
	return logE
}

// A Period is a stretch of an experiment during which its weights did not change.
type Period struct {
	Observed []uint64
	Weights  []float64
}

// SRMOver tests an experiment whose weights changed while it ran: every period
// by itself, with the χ² and the degrees of freedom added up. The anytime-valid
// evidence of independent periods multiplies. Periods without units are left out;
// a period that cannot be tested gives its code to the whole.
func SRMOver(periods []Period) SRMResult {
	sum := SRMResult{Code: OK}
	chi, logE, share, tested := 0.0, 0.0, 0.0, 0
	for _, period := range periods {
		r := SRM(period.Observed, period.Weights)
		if r.Code == NoUnits {
			continue
		}
		if r.Code != OK {
			return r
		}
		tested++
		chi += r.ChiSquared.value
		logE += r.LogE.value
		share = max(share, r.MaxShareError.value)
		sum.DegreesOfFreedom += r.DegreesOfFreedom
	}
	if tested == 0 {
		return SRMResult{Code: NoUnits}
	}
	sum.ChiSquared, sum.MaxShareError = Defined(chi), Defined(share)
	sum.LogE, sum.AnytimePValue = Defined(logE), Defined(min(1, math.Exp(-logE)))
	sum.judge()
	return sum
}
