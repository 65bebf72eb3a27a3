package stats

import (
	"cmp"
	"slices"
)

// A Correction is a way to keep many comparisons honest together.
type Correction string

// The corrections.
const (
	Uncorrected        Correction = "none"
	Bonferroni         Correction = "bonferroni"          // any false positive
	Holm               Correction = "holm"                // the same, never less powerful
	BenjaminiHochberg  Correction = "benjamini_hochberg"  // share of false positives
	BenjaminiYekutieli Correction = "benjamini_yekutieli" // the same under any dependence
)

// A Family is a set of p-values judged together. Lists keep the input's order.
type Family struct {
	Adjusted []Optional `json:"adjusted"`
	Rejected []bool     `json:"rejected"`
	// IntervalAlpha is the level at which the family's intervals are to be computed:
	// alpha/m for Bonferroni and Holm, and the false-coverage rate alpha·R/m for the
	// other two. Holm's decisions may be sharper than its intervals.
	IntervalAlpha Optional `json:"intervalAlpha"`
}

// Adjust corrects p-values for each other. Undefined ones leave the family and
// stay undefined; equal ones stay equal. A level outside (0,1) rejects nothing
// and gives no interval level.
//
// Sources: Holm (1979), Benjamini and Hochberg (1995), Benjamini and Yekutieli
// (2001; 2005 for the intervals).
func (c Correction) Adjust(pValues []Optional, alpha float64) Family {
	f := Family{Adjusted: make([]Optional, len(pValues)), Rejected: make([]bool, len(pValues))}
	order := make([]int, 0, len(pValues))
	for i, p := range pValues {
		if p.defined {
			order = append(order, i)
		}
	}
	slices.SortStableFunc(order, func(a, b int) int { return cmp.Compare(pValues[a].value, pValues[b].value) })
	c.fill(f.Adjusted, pValues, order)

	if !(alpha > 0 && alpha < 1) {
		return f
	}
	rejected := 0
	for i, p := range f.Adjusted {
		if p.defined && p.value <= alpha {
			f.Rejected[i] = true
			rejected++
		}
	}
	if m := float64(len(order)); m > 0 {
		switch c {
		case Bonferroni, Holm:
			f.IntervalAlpha = Defined(alpha / m)
		case BenjaminiHochberg, BenjaminiYekutieli:
			f.IntervalAlpha = Defined(alpha * float64(max(rejected, 1)) / m)
		default:
			f.IntervalAlpha = Defined(alpha)
		}
	}
	return f
}

// fill sets the adjusted values; order lists the family from the smallest p on.
func (c Correction) fill(adjusted, p []Optional, order []int) {
	m := float64(len(order))
	switch c {
	case Bonferroni:
		for _, i := range order {
			adjusted[i] = Defined(min(1, m*p[i].value))
		}
	case Holm:
		highest := 0.0
		for rank, i := range order {
			highest = max(highest, (m-float64(rank))*p[i].value)
			adjusted[i] = Defined(min(1, highest))
		}
	case BenjaminiHochberg, BenjaminiYekutieli:
		factor := m
		if c == BenjaminiYekutieli {
			harmonic := 0.0
			for j := range order {
				harmonic += 1 / float64(j+1)
			}
			factor *= harmonic
		}
		lowest := 1.0
		for rank, i := range slices.Backward(order) {
			lowest = min(lowest, factor*p[i].value/float64(rank+1))
			adjusted[i] = Defined(lowest)
		}
	default:
		for _, i := range order {
			adjusted[i] = p[i]
		}
	}
}

// SplitAlpha shares a level among the metrics of a scorecard: primaryWeight of it
// to the primary metrics, the rest to the secondary ones, evenly over metrics and
// treatment groups. Where one kind has no metrics, the other has everything and
// its own level is undefined.
func SplitAlpha(alpha, primaryWeight float64, primary, secondary, treatments int) (p, s Optional) {
	if !(alpha > 0 && alpha < 1) || !(primaryWeight >= 0 && primaryWeight <= 1) || treatments < 1 {
		return Optional{}, Optional{}
	}
	switch {
	case secondary <= 0:
		primaryWeight = 1
	case primary <= 0:
		primaryWeight = 0
	}
	if primary > 0 {
		p = Defined(alpha * primaryWeight / float64(primary) / float64(treatments))
	}
	if secondary > 0 {
		s = Defined(alpha * (1 - primaryWeight) / float64(secondary) / float64(treatments))
	}
	return p, s
}
