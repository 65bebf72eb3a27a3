// Package stats turns the aggregates of an experiment into answers: how large
// the difference between two groups is, how sure that is, and whether the split
// that produced it can be trusted.
//
// # Promise
//
// Every function is pure: aggregates in, results out, with no clock, no
// randomness and no I/O. The same merged aggregates always give the same result,
// and merging them in another order moves it by no more than rounding. Nothing
// panics and no result holds a NaN: what cannot be computed is an undefined
// [Optional] beside a [Code] that says why.
//
// # The path of a number
//
// A warehouse returns counts and sums per group and metric, never rows. [Sums],
// [PairSums] and [RatioCovariedSums] carry them as they come; [Moments], [Pair]
// and [RatioCovaried] are the same facts in a form that merges without losing
// digits. Each type of metric boils down to one [Estimate] per group, and all
// types share one comparison, [Compare]:
//
//	Moments, Sums      mean of unit values
//	Proportion         share of units that did something
//	Ratio, RatioSums   Σy/Σx with the unit as the cluster
//	Quantile           percentile of unit or of event values
//
// The comparison has one standard error, one number of degrees of freedom and one
// critical value. The absolute interval, Fieller's interval of the lift and the
// p-value are three readings of these, so that they cannot disagree about whether
// a difference is significant; a property test asks a million random experiments.
//
// Everything after that takes a [Comparison] and adds a reading. [CUPED] and
// [CUPEDRatio] take out what was already different before the experiment,
// [PostStratify] what differs between segments. [ConfidenceSequence] may be looked
// at on any day. [NormalPosterior] and [BetaPosterior] say how likely treatment is
// better, and what a wrong choice costs. [Correction] keeps many metrics honest
// together. [Analyze] and [Correct] do all of it for a scorecard.
//
// Before any of it comes the question whether the numbers can be trusted: [SRM]
// for the sizes of the groups, [PreExperimentBias] for what they were like before,
// [CompareRates] for crossovers and losses. And before the experiment, [Plan] says
// how many units it takes.
//
// # Conventions
//
// Variances are of one unit, with n-1 in the divisor; the variance of an estimate
// is that divided by n. Differences are treatment minus control. A lift is
// relative to the absolute value of the control's mean, so that a positive lift is
// always an increase; 0.03 means three percent. Alpha is the level of the test,
// 1-alpha that of the intervals; zero means [DefaultAlpha]. The t distribution is
// used for any number of degrees of freedom.
//
// Counts are exact up to 2^53. Values may be negative.
//
// # Codes
//
// A result that is not [OK] gives what is still meaningful and leaves the rest
// undefined:
//
//	NO_UNITS            a group is empty: the other group's value
//	INSUFFICIENT_UNITS  a group has one unit, or too few for a percentile: values, difference, lift
//	ZERO_VARIANCE       nothing varies: values, difference, lift
//	ZERO_DENOMINATOR    a ratio has nothing to divide by: the other group's value
//	INVALID_INPUT       nothing; a [Reason] tells what contradicts itself
//
// A lift has a code of its own, because a difference stands where a lift does not:
// ZERO_CONTROL_MEAN, and FIELLER_UNBOUNDED where the control's mean cannot be told
// from zero at the level asked for.
//
// # Numerics
//
// Tail probabilities are computed as tails and keep their relative accuracy down
// to 1e-300: 1-CDF would be nothing but rounding from eight standard errors on.
// Normal quantiles, χ² tails and nothing else come from gonum; its t quantile is
// wrong for many degrees of freedom, and its t and beta tails lose digits there,
// so that these are our own. Raw sums become moments through error-free products;
// where they had already lost half of their digits, PrecisionWarning says so.
//
// What remains is as exact as the formulas, which are given with their sources at
// each method. The formulas' own promises — levels, coverage, harmless peeking —
// are held by simulations of this engine.
package stats
