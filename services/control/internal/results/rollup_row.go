package results

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/sluice-flags/sluice/internal/warehouse"
	"github.com/sluice-flags/sluice/pkg/stats"
)

// What follows is how a rollup stands in its row of table rollups.

const latestRollupSQL = `SELECT revision, as_of, watermark, definitions, cost_ms, metrics.caps,
	units.group_index, units.excluded, units.units, first_sequence, last_sequence,
	moments.metric_id, moments.group_index, moments.analysed, moments.immature, moments.n, moments.covered, moments.limited,
	moments.means, moments.products, moments.steps, moments.quantile, moments.clusters
FROM rollups
WHERE project = {project:String} AND experiment = {experiment:String}
ORDER BY revision DESC
LIMIT 1`

// latestRollup returns the rollup that counts; one with revision 0 if there is
// none. Of one by other definitions than p's it knows no moments.
func latestRollup(ctx context.Context, db *warehouse.DB, p *plan) (r rollup, err error) {
	var cost uint64
	var excluded, ids []string
	var groups, groupsOf []uint8
	var units, analysed, immature, n, covered []uint64
	var limited, steps [][]uint64
	var means, products, quantiles, clusters [][]float64
	row := db.Conn().QueryRow(p.context(ctx, newStatement(p.project)), latestRollupSQL)
	err = row.Scan(&r.revision, &r.asOf, &r.watermark, &r.definitions, &cost, &r.caps,
		&groups, &excluded, &units, &r.sequences.First, &r.sequences.Last,
		&ids, &groupsOf, &analysed, &immature, &n, &covered, &limited,
		&means, &products, &steps, &quantiles, &clusters)
	if errors.Is(err, sql.ErrNoRows) {
		return rollup{}, nil
	}
	r.cost = time.Duration(cost) * time.Millisecond
	if err != nil || r.definitions != p.version() {
		return r, err
	}
	for i := range groups {
		r.units = append(r.units, unitCount{groups[i], excluded[i], units[i]})
	}
	for i, id := range ids {
		k := slices.IndexFunc(p.metrics, func(m measured) bool { return m.entity.Ref.ID == id })
		if k < 0 || k >= len(r.caps) {
			return rollup{}, fmt.Errorf("rollup %d of experiment %q has moments of metric %s, and is not about it", r.revision, p.experiment, id)
		}
		one := p.metrics[k].nothing(groupsOf[i], r.caps[k])
		one.analysed, one.immature = analysed[i], immature[i]
		copy(one.limited[:], limited[i])
		v := &one.values
		v.N, v.WithCovariate = n[i], covered[i]
		copy(v.Mean[:], means[i])
		for j := range v.C {
			copy(v.C[j][:], products[i][4*j:])
		}
		if len(steps[i]) > 0 { // so that another metric has none, here as when it is measured
			one.steps = steps[i]
		}
		one.quantile = quantileFrom(p.metrics[k].level(), quantiles[i], clusters[i])
		r.moments = append(r.moments, one)
	}
	return r, nil
}

// row is what makes a rollup count.
func (p *plan) row(r *rollup) warehouse.RollupRow {
	row := warehouse.RollupRow{
		Project: p.project, Experiment: p.experiment, Revision: r.revision, AsOf: r.asOf,
		Watermark: r.watermark, Definitions: r.definitions, Cost: r.cost,
		FirstSequence: r.sequences.First, LastSequence: r.sequences.Last,
	}
	for i := range p.metrics {
		m := &p.metrics[i]
		one := warehouse.RollupMetric{
			MetricID: m.entity.Ref.ID, Name: m.entity.Name, Type: string(m.doc.Type), Version: m.entity.Seq,
			Y: m.y, D: m.d, X: m.x, XD: m.xd, Steps: m.steps, StepCount: m.stepCount, Sample: m.sample, Matures: m.matures, Level: m.level(),
		}
		copy(one.Caps[:], r.caps[i])
		row.Metrics = append(row.Metrics, one)
	}
	for _, u := range r.units {
		row.Units = append(row.Units, warehouse.RollupUnits{GroupIndex: u.group, Excluded: u.excluded, Units: u.units})
	}
	for i := range r.moments {
		m := &r.moments[i]
		one := warehouse.RollupMoments{
			MetricID: m.id, GroupIndex: m.group, Analysed: m.analysed, Immature: m.immature, N: m.values.N, Covered: m.values.WithCovariate,
			Limited: m.limited, Means: m.values.Mean, Products: m.values.C, Steps: m.steps,
		}
		if q := m.quantile; q.Level > 0 {
			c := q.Clusters
			one.Quantile = []float64{q.Value, q.Lower, q.Upper, float64(q.N)}
			one.Clusters = []float64{float64(c.N), c.MeanY, c.MeanX, c.M2Y, c.M2X, c.CXY}
		}
		row.Moments = append(row.Moments, one)
	}
	return row
}

// quantileFrom reads what row has written; without anything, the metric is no percentile.
func quantileFrom(level float64, q, c []float64) stats.Quantile {
	if len(q) == 0 {
		return stats.Quantile{}
	}
	return stats.Quantile{
		N: uint64(q[3]), NStar: uint64(q[3]), Level: level, Value: q[0], Lower: q[1], Upper: q[2],
		Clusters: stats.Pair{N: uint64(c[0]), MeanY: c[1], MeanX: c[2], M2Y: c[3], M2X: c[4], CXY: c[5]},
	}
}

// level is that of a percentile, else 0.
func (m *measured) level() float64 {
	if m.doc.Percentile == nil {
		return 0
	}
	return m.doc.Percentile.Level
}

// nothing are the moments of the metric in a group of whose units nothing is
// known yet.
func (m *measured) nothing(group uint8, caps []float64) moments {
	of := moments{metric: m.entity.Name, id: m.entity.Ref.ID, version: m.entity.Seq, group: group}
	for k := range of.caps {
		if !math.IsInf(caps[k], 1) {
			of.caps[k] = stats.Defined(caps[k])
		}
	}
	return of
}
