package stats

import (
	"math"
	"slices"
)

// LinearQuantile returns the p-quantile of sorted values by linear interpolation
// between order statistics (type 7 of Hyndman and Fan 1996; ClickHouse's
// quantileExactInclusive). It is undefined without values or for p outside [0,1].
func LinearQuantile(sorted []float64, p float64) Optional {
	if len(sorted) == 0 || !(p >= 0 && p <= 1) {
		return Optional{}
	}
	position := p * float64(len(sorted)-1)
	i := int(position)
	if i >= len(sorted)-1 {
		return Defined(sorted[len(sorted)-1])
	}
	return Defined(sorted[i] + (position-float64(i))*(sorted[i+1]-sorted[i]))
}

// Winsor says where to cap unit values. The zero value caps nothing.
type Winsor struct {
	Upper float64 // percentile of the upper cap; zero for none. 0.999 is the usual choice
	Lower float64 // percentile of the lower cap; zero for none
	// KeepZeros takes percentiles over the non-zero values only, and leaves zeros
	// where they are: most units of most metrics are zero.
	KeepZeros bool
}

// Caps are the bounds that unit values are pulled to.
type Caps struct {
	Lower     Optional `json:"lower"`
	Upper     Optional `json:"upper"`
	KeepZeros bool     `json:"keepZeros"`
}

// Caps returns the bounds for values pooled over all groups, so that every group
// is treated alike. A NaN among the values stands for none and is skipped. There
// is no bound where there are no values, or for a percentile outside (0,1).
func (w Winsor) Caps(pooled []float64) Caps {
	values := make([]float64, 0, len(pooled))
	for _, v := range pooled {
		if math.IsNaN(v) || w.KeepZeros && v == 0 {
			continue
		}
		values = append(values, v)
	}
	slices.Sort(values)
	caps := Caps{KeepZeros: w.KeepZeros}
	if w.Upper > 0 && w.Upper < 1 {
		caps.Upper = LinearQuantile(values, w.Upper)
	}
	if w.Lower > 0 && w.Lower < 1 {
		caps.Lower = LinearQuantile(values, w.Lower)
	}
	return caps
}

// Apply returns v within the bounds, and whether it had to be moved.
func (c Caps) Apply(v float64) (capped float64, moved bool) {
	switch {
	case c.KeepZeros && v == 0:
		return v, false
	case c.Upper.defined && v > c.Upper.value:
		return c.Upper.value, true
	case c.Lower.defined && v < c.Lower.value:
		return c.Lower.value, true
	}
	return v, false
}

// Moments returns the moments of the values within the bounds, and how many
// values had to be moved.
func (c Caps) Moments(values []float64) (m Moments, moved uint64) {
	for _, v := range values {
		if math.IsNaN(v) {
			continue
		}
		capped, was := c.Apply(v)
		m.Add(capped)
		if was {
			moved++
		}
	}
	return m, moved
}
