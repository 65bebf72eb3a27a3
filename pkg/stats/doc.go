// Package stats turns the aggregates of an experiment into answers: how large
// the difference between two groups is, how sure that is, and whether the
// split that produced it can be trusted.
//
// # Promise
//
// Every function is pure: aggregates in, results out, with no clock, no
// randomness and no I/O. The same merged aggregates always give the same
// result, and merging them in another order moves it by no more than rounding.
// Nothing panics and no result holds a NaN: what cannot be computed is an
// undefined [Optional] beside a [Code] that says why.
//
// # The path of a number
//
// A warehouse returns counts and sums per group. [Sums] and [PairSums] carry
// them as they come; [Moments] and [Pair] are the same facts in a form that
// merges safely. Each metric type supplies an [Estimate] per group, and all
// types then share one comparison, [Compare]:
//
//	Sums, Moments    mean of unit values
//	Proportion       share of units that did something
//	Ratio            Σy/Σd with the unit as the cluster
//	Quantile         percentile of unit or event values
//
// The comparison holds one standard error, one number of degrees of freedom and
// one critical value. The absolute interval, the relative interval of Fieller
// and the p-value all come from these three, so that they cannot disagree about
// whether a difference is significant.
//
// # Conventions
//
// Variances are of one unit, with n-1 in the divisor; the variance of an
// estimate is that divided by n. Differences are treatment minus control. A lift
// is relative to the absolute value of the control's mean, so that a positive
// lift is always an increase; 0.03 means three percent. Tail probabilities are
// computed as tails and hold their relative accuracy down to 1e-300.
package stats
