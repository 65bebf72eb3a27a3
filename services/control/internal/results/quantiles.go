package results

import (
	"context"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"

	"github.com/sluice-flags/sluice/internal/warehouse"
	"github.com/sluice-flags/sluice/pkg/flags"
	"github.com/sluice-flags/sluice/pkg/stats"
)

// readQuantiles adds the quantiles of percentile metrics. They are not merged
// from buckets: each is taken over all values of its group, which are in memory
// meanwhile, eight bytes each.
func (p *plan) readQuantiles(ctx context.Context, db *warehouse.DB, r *rollup, all []moments) error {
	percentiles := map[string]*measured{}
	for i := range p.metrics {
		if p.metrics[i].doc.Type == flags.MetricPercentile {
			percentiles[p.metrics[i].entity.Ref.ID] = &p.metrics[i]
		}
	}
	ask := func(text string, scan func(scan func(...any) error) error) error {
		return p.ask(ctx, db, r.revision, text, scan)
	}
	for i := range all {
		m := percentiles[all[i].id]
		if m == nil {
			continue
		}
		if err := m.quantiles(r, ask, fromRollup, []among{{"", &all[i]}}); err != nil {
			return err
		}
	}
	return nil
}

// sliceQuantiles adds the quantiles of a percentile metric in every slice and
// group, in one pass: finding the slices of units costs more than the memory.
func sliceQuantiles(ask asking, from string, m *measured, r *rollup, bySlice map[uint16]*slice) error {
	var all []among
	for _, number := range slices.Sorted(maps.Keys(bySlice)) {
		of := bySlice[number].moments
		for i := range of {
			if of[i].id == m.entity.Ref.ID {
				all = append(all, among{fmt.Sprintf("slice = %d AND ", number), &of[i]})
			}
		}
	}
	return m.quantiles(r, ask, from, all)
}

// asking runs a statement and hands each row to scan.
type asking func(text string, scan func(scan func(...any) error) error) error

// among are the units of a group that a condition, which ends with AND or is
// empty, picks.
type among struct {
	condition string
	*moments
}

// quantiles adds the quantiles of a percentile metric among some units each, in one
// pass for all of them, and another for the clusters that they are of.
func (m *measured) quantiles(r *rollup, ask asking, from string, all []among) error {
	level, function, values := m.doc.Percentile.Level, "quantilesExactInclusiveIf", fmt.Sprintf("values[%d]", m.y)
	if m.sample > 0 {
		function, values = "quantilesExactInclusiveArrayIf", fmt.Sprintf("samples[%d]", m.sample)
	}
	var conditions, columns []string
	var found []*stats.Quantile
	for _, a := range all {
		n := a.values.N
		if m.sample > 0 {
			n = uint64(math.Round(a.values.Mean[stats.Denominator] * float64(n)))
		}
		a.quantile = stats.Quantile{N: n, NStar: n, Level: level}
		if n == 0 {
			continue
		}
		lowest, highest := level, level
		if lower, upper := stats.QuantileLevels(level, n); lower.Or(0) > 0 {
			lowest, highest = lower.Or(level), upper.Or(level)
		}
		condition := fmt.Sprintf("%sgroup_index = %d AND excluded = '' AND %s", a.condition, a.group, m.mature(r))
		conditions = append(conditions, condition)
		columns = append(columns, fmt.Sprintf("%s(%v, %v, %v)(%s, %s)", function, level, lowest, highest, values, condition))
		found = append(found, &a.quantile)
	}
	if len(found) == 0 {
		return nil
	}
	read := func(take func(q *stats.Quantile, column []float64)) error {
		return ask("SELECT ["+strings.Join(columns, ",\n    ")+"]"+from, func(scan func(...any) error) error {
			var row [][]float64
			if err := scan(&row); err != nil {
				return err
			}
			for i, column := range row {
				take(found[i], column)
			}
			return nil
		})
	}
	err := read(func(q *stats.Quantile, three []float64) { q.Value, q.Lower, q.Upper = three[0], three[1], three[2] })
	if err != nil || m.sample == 0 {
		return err
	}
	// Events of one unit are not independent: how many of each unit's are below.
	for i, q := range found {
		below := fmt.Sprintf("toFloat64(arrayCount(v -> v <= %s, %s))", float(q.Value), values)
		events := "toFloat64(length(" + values + "))"
		has := conditions[i] + " AND notEmpty(" + values + ")"
		columns[i] = fmt.Sprintf("[toFloat64(countIf(%[1]s)), avgIf(%[2]s, %[1]s), avgIf(%[3]s, %[1]s), varPopStableIf(%[2]s, %[1]s), varPopStableIf(%[3]s, %[1]s), covarPopStableIf(%[2]s, %[3]s, %[1]s)]", has, below, events)
	}
	return read(func(q *stats.Quantile, six []float64) {
		k := six[0]
		q.Clusters = stats.Pair{N: uint64(k), MeanY: six[1], MeanX: six[2], M2Y: six[3] * k, M2X: six[4] * k, CXY: six[5] * k}
	})
}
