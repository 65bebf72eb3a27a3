package results

import (
	"github.com/sluice-flags/sluice/pkg/flags"
	"github.com/sluice-flags/sluice/pkg/stats"
)

// A Breakdown is a report slice by slice: by what was known of each unit when it
// entered, whatever became of it later.
type Breakdown struct {
	By     string `json:"by"`     // the dimension
	Values uint64 `json:"values"` // how many different values the units have
	// Slices are those of the most frequent values, the largest first, then of all
	// others together, then of the units of whom nothing is known; none is empty.
	// Corrections are over all of them, and apart from those of the report.
	Slices []ReportSlice `json:"slices"`
}

// A ReportSlice is the report on the units of one slice.
type ReportSlice struct {
	Value   string          `json:"value"` // empty unless Kind is value
	Kind    SliceKind       `json:"kind"`
	Groups  []Group         `json:"groups"`
	SRM     stats.SRMResult `json:"srm"`
	Metrics []Metric        `json:"metrics"`
}

// A Heterogeneity tests whether a slice's effect differs from that in all other
// units, without covariates; the verdict is by Bonferroni over all such tests of
// the breakdown. NOT_APPLICABLE for percentiles, whose variance is not one of units.
type Heterogeneity struct {
	stats.Difference
	Verdict stats.Heterogeneity `json:"verdict"`
}

// slicedMetrics are the metrics of all slices, corrected as one family. groups
// are those of each slice.
func slicedMetrics(state *flags.State, doc *flags.Experiment, all []slice, groups [][]Group, o Options, heterogeneous bool) [][]Metric {
	out := make([][]Metric, len(all))
	measured := metricsOf(state, doc)
	tests := len(measured) * (len(doc.Groups) - 1) * len(all)
	var family []Metric
	for _, e := range measured {
		metric, ok := e.Doc.(*flags.Metric)
		if !ok {
			continue
		}
		how, _ := formOf(metric)
		of := make([][]moments, len(all))
		for i := range all {
			of[i] = momentsOf(e, metric, groups[i], all[i].moments)
		}
		for i := range all {
			m := newMetric(e, metric, groups[i], all[i].moments, o, tests)
			for j := range m.Groups {
				if heterogeneous && m.Groups[j].Line != nil {
					m.Groups[j].Heterogeneity = new(heterogeneity(how, of, i, j, controlOf(doc), o, tests))
				}
			}
			out[i] = append(out[i], m)
			family = append(family, m)
		}
	}
	decide(family, o)
	return out
}

// heterogeneity compares the effect of a group in one slice with that in all others.
func heterogeneity(how form, of [][]moments, slice, group, control int, o Options, tests int) Heterogeneity {
	if how == formQuantile {
		return Heterogeneity{stats.Difference{Code: stats.NotApplicable}, stats.NoHeterogeneity}
	}
	var rest [2]moments
	for i := range of {
		if i != slice {
			rest[0].values = rest[0].values.Merge(of[i][control].values)
			rest[1].values = rest[1].values.Merge(of[i][group].values)
		}
	}
	arm := func(m *moments) stats.Moments {
		if how != formRatio {
			return m.covaried().Y()
		}
		e := m.values.Ratio().Estimate()
		if e.Code != stats.OK && e.Code != stats.InsufficientUnits {
			return stats.Moments{} // a ratio of nothing
		}
		return stats.Moments{N: e.N, Mean: e.Value, M2: e.Variance * (float64(e.N) - 1)}
	}
	d := stats.HeterogeneousEffect(
		stats.Stratum{Control: arm(&of[slice][control]), Treatment: arm(&of[slice][group])},
		stats.Stratum{Control: arm(&rest[0]), Treatment: arm(&rest[1])},
		stats.Options{Alpha: o.Alpha})
	return Heterogeneity{d, d.Heterogeneity(tests)}
}

// newBreakdown does the arithmetic of a breakdown.
func newBreakdown(state *flags.State, doc *flags.Experiment, by string, s sliced, o Options) *Breakdown {
	b := &Breakdown{By: by, Values: s.values, Slices: []ReportSlice{}}
	var kept []slice
	var of [][]Group
	for _, one := range s.slices {
		if len(one.units) == 0 {
			continue
		}
		g := groups(doc)
		count(g, one.units)
		kept, of = append(kept, one), append(of, g)
		b.Slices = append(b.Slices, ReportSlice{Value: one.value, Kind: one.kind, Groups: g, SRM: split(g)})
	}
	for i, metrics := range slicedMetrics(state, doc, kept, of, o, true) {
		b.Slices[i].Metrics = append([]Metric{}, metrics...)
	}
	return b
}

// split tests the sizes of groups.
func split(groups []Group) stats.SRMResult {
	units, shares := make([]uint64, len(groups)), make([]float64, len(groups))
	for i, g := range groups {
		units[i], shares[i] = g.Units, g.Share
	}
	return stats.SRM(units, shares)
}
