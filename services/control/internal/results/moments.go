package results

import "github.com/sluice-flags/sluice/pkg/stats"

// moments are what is handed from the facts to the arithmetic: all that package
// stats needs to compare one metric in one group, and no unit of it.
type moments struct {
	metric  string // name
	id      string
	version uint64 // of the project, that the metric's definition came with
	group   uint8  // index of the group in its experiment

	// analysed counts the units that are: those first exposed to the group less
	// those that the experiment leaves out ([unitCount]) and, for this metric, the
	// immature, whose window has not passed. So for every metric and group
	// exposed = analysed + immature + what the experiment excludes.
	analysed uint64
	immature uint64

	// values describe y, d, x and x_d of each unit, in the order of
	// stats.Numerator, Denominator, PreNumerator and PreDenominator: the value, what
	// it is divided by, and the same two from before the first exposure. Units that
	// did nothing are in it with zeros. d is 1 and x_d is 0 but for ratios (mean,
	// ratio, funnel), and units without a value (no event for min, max and latest; a
	// ratio's d of 0) are not in it, so that values.N may be below analysed. x is 0
	// for metrics without a look-back; values.WithCovariate counts units with an
	// event in theirs.
	//
	// For percentiles of units y is the value that the quantile is taken of; for
	// those of events y is their sum, d their number.
	values stats.RatioCovaried

	// quantile is that of a percentile metric, with clusters if it is of events.
	quantile stats.Quantile

	// steps counts the units (sessions, for a funnel of sessions) that reached each
	// step of a funnel.
	steps []uint64

	// caps are what the four values were limited to, for a metric with a percentile
	// cap; limited counts the units of this group that were above.
	caps    [4]stats.Optional
	limited [4]uint64
}

// covaried are the moments of a metric that is a mean or a share per unit.
func (m *moments) covaried() stats.Covaried {
	v := &m.values
	return stats.Covaried{
		Pair: stats.Pair{
			N:     v.N,
			MeanY: v.Mean[stats.Numerator], LowY: v.MeanLow[stats.Numerator],
			MeanX: v.Mean[stats.PreNumerator], LowX: v.MeanLow[stats.PreNumerator],
			M2Y: v.C[stats.Numerator][stats.Numerator], M2X: v.C[stats.PreNumerator][stats.PreNumerator],
			CXY: v.C[stats.Numerator][stats.PreNumerator],
		},
		WithCovariate: v.WithCovariate,
	}
}

// proportion are the moments of a metric whose values are 0 and 1.
func (m *moments) proportion() stats.Proportion {
	return stats.Proportion{N: m.values.N, Successes: m.successes()}
}

// successes counts the units with value 1, of a metric whose values are 0 and 1.
func (m *moments) successes() uint64 {
	return uint64(m.values.Mean[stats.Numerator]*float64(m.values.N) + 0.5)
}

// total is the sum of y over the units of the group.
func (m *moments) total() float64 {
	return (m.values.Mean[stats.Numerator] + m.values.MeanLow[stats.Numerator]) * float64(m.values.N)
}
