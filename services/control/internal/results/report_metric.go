package results

import (
	"github.com/sluice-flags/sluice/pkg/flags"
	"github.com/sluice-flags/sluice/pkg/stats"
)

// A form is how the values of a metric's units are compared.
type form uint8

const (
	formMean form = iota
	formProportion
	formRatio
	formQuantile
)

// formOf says how a metric is compared, and whether units that did nothing have
// the value 0, rather than none.
func formOf(doc *flags.Metric) (f form, zeros bool) {
	switch doc.Type {
	case flags.MetricEventUser:
		return formProportion, true
	case flags.MetricRetention:
		return formProportion, false // of the matured units, which the warehouse knows
	case flags.MetricFunnel:
		if doc.Funnel != nil && doc.Funnel.FromExposure {
			return formProportion, true
		}
		return formRatio, false
	case flags.MetricMean, flags.MetricRatio:
		return formRatio, false
	case flags.MetricPercentile:
		return formQuantile, false
	case flags.MetricMin, flags.MetricMax, flags.MetricLatest:
		return formMean, doc.MissingAsZero
	}
	return formMean, true
}

// newMetric reads one metric's moments in every way; tests is how many
// comparisons the scorecard has.
func newMetric(entity flags.Entity, doc *flags.Metric, groups []Group, all []moments, o Options, tests int) Metric {
	m := Metric{Name: entity.Name, ID: entity.Ref.ID, Type: string(doc.Type), Direction: string(doc.Direction)}
	of := momentsOf(entity, doc, groups, all)
	how, _ := formOf(doc)
	control := 0
	for i, g := range groups {
		if g.Control {
			control = i
		}
	}
	method := o.method(doc.Direction == flags.Decrease)
	for i, g := range groups {
		// The comparison with itself boils the control down as the others are.
		// Most units of a retention are new, and did nothing before.
		l := analyze(how, &of[control], &of[i], method, o.Raw || doc.Type == flags.MetricRetention)
		if doc.Type == flags.MetricRetention {
			l.WhyNotAdjusted = stats.NotSupported
		}
		one := newMetricGroup(g, how, &of[i], l.Unadjusted.Treatment, o.Alpha)
		if !g.Control {
			one.Line = &l
			if how == formProportion {
				c, t := of[control].proportion(), of[i].proportion()
				z, p := stats.PooledZ(c, t, o.Tail)
				one.Newcombe, one.Pooled = new(stats.Newcombe(c, t, l.Comparison.Alpha)), &PooledTest{z, p}
			}
			if doc.Lookback() > 0 && of[control].values.WithCovariate+of[i].values.WithCovariate > 0 {
				one.PreExperiment = new(bias(how, &of[control], &of[i], tests))
			}
		}
		m.Groups = append(m.Groups, one)
	}
	return m
}

// momentsOf returns the moments of one metric by group, with the units that the
// warehouse does not list.
func momentsOf(entity flags.Entity, doc *flags.Metric, groups []Group, all []moments) []moments {
	of := make([]moments, len(groups)) // zero for a group where nobody did anything
	for _, x := range all {
		if x.metric == entity.Name && int(x.group) < len(groups) {
			of[x.group] = x
		}
	}
	if _, zeros := formOf(doc); zeros {
		for i, g := range groups {
			of[i].fill(g)
		}
	}
	return of
}

func newMetricGroup(g Group, how form, m *moments, boiled stats.Group, alpha float64) MetricGroup {
	out := MetricGroup{Group: g.Name, N: boiled.N, Mean: boiled.Value, Variance: boiled.Variance, Immature: m.immature, Steps: m.steps}
	switch how {
	case formProportion:
		p := m.proportion()
		out.Conversions, out.Wilson = new(p.Successes), new(p.Wilson(alpha))
		out.Total = stats.Defined(m.total())
	case formMean:
		out.Total = stats.Defined(m.total())
	}
	for i, limit := range m.caps {
		if !limit.IsZero() {
			out.Caps = append(out.Caps, Cap{Of: capped[i], At: limit, Units: m.limited[i]})
		}
	}
	return out
}

// fill adds the units that did nothing, where the warehouse does not list them.
// A unit that came between two questions may be in the later answer alone.
func (m *moments) fill(g Group) {
	units := g.Units - min(g.Units, m.immature)
	idle := max(units, m.values.N) - m.values.N
	m.values = m.values.Merge(stats.RatioCovaried{N: idle})
}

// analyze brings the moments of two groups into the form that they are compared
// in, and reads the comparison in every way.
func analyze(how form, control, treatment *moments, method stats.Method, raw bool) stats.Line {
	switch how {
	case formQuantile:
		return stats.Analyze(control.quantile, treatment.quantile, method)
	case formRatio:
		if raw {
			return stats.Analyze(control.values.Ratio(), treatment.values.Ratio(), method)
		}
		return stats.AnalyzeCUPEDRatio(control.values, treatment.values, method)
	case formProportion:
		plain := stats.Analyze(control.proportion(), treatment.proportion(), method)
		if raw {
			return plain
		}
		l := stats.AnalyzeCUPED(control.covaried(), treatment.covaried(), method)
		if !l.Adjusted { // the counts themselves are exact
			plain.WhyNotAdjusted, plain.VarianceReduction = l.WhyNotAdjusted, l.VarianceReduction
			return plain
		}
		l.BurnedIn = plain.BurnedIn
		return l
	}
	if raw {
		return stats.Analyze(control.covaried().Y(), treatment.covaried().Y(), method)
	}
	return stats.AnalyzeCUPED(control.covaried(), treatment.covaried(), method)
}

// bias compares what was there before.
func bias(how form, control, treatment *moments, tests int) stats.Bias {
	if how == formRatio {
		return stats.PreExperimentBias(control.before(), treatment.before(), tests)
	}
	return stats.PreExperimentBias(control.covaried().X(), treatment.covaried().X(), tests)
}

// before is the ratio of the units before their first exposure.
func (m *moments) before() stats.Ratio {
	v := &m.values
	return stats.Ratio{Pair: stats.Pair{
		N:     v.N,
		MeanY: v.Mean[stats.PreNumerator], LowY: v.MeanLow[stats.PreNumerator],
		MeanX: v.Mean[stats.PreDenominator], LowX: v.MeanLow[stats.PreDenominator],
		M2Y: v.C[stats.PreNumerator][stats.PreNumerator], M2X: v.C[stats.PreDenominator][stats.PreDenominator],
		CXY: v.C[stats.PreNumerator][stats.PreDenominator],
	}}
}

// capped are the names of what a cap limits, by their place in moments.caps.
var capped = [...]string{"value", "denominator", "covariate", "covariateDenominator"}
