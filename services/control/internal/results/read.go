package results

import (
	"context"
	"fmt"
	"math"
	"strconv"
	"strings"

	"github.com/ClickHouse/clickhouse-go/v2"

	"github.com/sluice-flags/sluice/internal/warehouse"
)

// What follows asks a rollup. Its rows are all of one instant, so that the counts
// and the moments of a report always add up.

const unitsOfSQL = `SELECT group_index, excluded, count() AS units
FROM unit_values
WHERE revision = {revision:UInt64} AND project = {project:String} AND experiment = {experiment:String}
GROUP BY group_index, excluded`

// fromRollup is the end of a statement that reads the rows of a rollup.
const fromRollup = "\nFROM unit_values\nWHERE revision = {revision:UInt64} AND project = {project:String} AND experiment = {experiment:String}"

// ask runs a statement over a rollup and hands each row to scan.
func (p *plan) ask(ctx context.Context, db *warehouse.DB, revision uint64, text string, scan func(scan func(...any) error) error) error {
	s := newStatement(p.project)
	s.parameters["revision"] = strconv.FormatUint(revision, 10)
	return eachRow(p.context(ctx, s, readSettings), db, text, scan)
}

// eachRow runs a statement, with the parameters of its context, and hands each
// row to scan.
func eachRow(ctx context.Context, db *warehouse.DB, text string, scan func(scan func(...any) error) error) error {
	rows, err := db.Conn().Query(ctx, text)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		if err := scan(rows.Scan); err != nil {
			return err
		}
	}
	return rows.Err()
}

var readSettings = clickhouse.Settings{"max_query_size": 16 << 20, // means of many slices are long
	"max_ast_elements": 500_000, "max_expanded_ast_elements": 2_000_000}

// findCaps finds what values are limited to: percentiles of those of all groups
// together.
func (p *plan) findCaps(ctx context.Context, db *warehouse.DB, revision uint64) ([][]float64, error) {
	caps := make([][]float64, len(p.metrics))
	var columns []string
	var into []*float64
	for i := range p.metrics {
		caps[i] = uncapped()
		m := &p.metrics[i]
		c := m.doc.Cap
		if c == nil || c.Percentile == 0 {
			continue
		}
		for k, slot := range m.slots() {
			if slot == 0 {
				continue
			}
			among := "excluded = '' AND " + m.mature(&rollup{asOf: p.end}) + fmt.Sprintf(" AND NOT isNaN(values[%d])", m.y)
			if c.IgnoreZeros == nil || *c.IgnoreZeros {
				among += " AND " + m.raw(k) + " != 0"
			}
			columns = append(columns, "quantileExactInclusiveIf("+strconv.FormatFloat(c.Percentile, 'g', -1, 64)+")("+m.raw(k)+", "+among+")")
			into = append(into, &caps[i][k])
		}
	}
	if len(columns) == 0 {
		return caps, nil
	}
	var found []float64
	err := p.ask(ctx, db, revision, "SELECT ["+strings.Join(columns, ",\n    ")+"]"+fromRollup, func(scan func(...any) error) error { return scan(&found) })
	for i := range found {
		if !math.IsNaN(found[i]) { // of no value at all
			*into[i] = found[i]
		}
	}
	return caps, err
}

// read takes from a rollup what a report needs: what was summed up with it, and
// from its units the slices that are asked for.
func (p *plan) read(ctx context.Context, db *warehouse.DB, r *rollup) (facts, error) {
	f := facts{asOf: r.asOf, sql: p.spelled(r), units: r.units, moments: r.moments, sequences: r.sequences}
	for _, one := range []struct {
		by   *slicing
		into **sliced
	}{{p.by, &f.by}, {p.periods, &f.periods}} {
		if one.by == nil {
			continue
		}
		found, err := p.readSlices(ctx, db, r, *one.by)
		if err != nil {
			return facts{}, fmt.Errorf("slicing experiment %q: %w", p.experiment, err)
		}
		*one.into = &found
	}
	return f, nil
}

// sumUp asks the units of a rollup for what reports need of it.
func (p *plan) sumUp(ctx context.Context, db *warehouse.DB, r *rollup) (err error) {
	err = p.ask(ctx, db, r.revision, unitsOfSQL, func(scan func(...any) error) error {
		var u unitCount
		err := scan(&u.group, &u.excluded, &u.units)
		r.units = append(r.units, u)
		return err
	})
	if err != nil {
		return fmt.Errorf("counting the units of experiment %q: %w", p.experiment, err)
	}
	if r.moments, err = p.readMoments(ctx, db, r); err != nil {
		return fmt.Errorf("measuring experiment %q: %w", p.experiment, err)
	}
	if err := p.readQuantiles(ctx, db, r, r.moments); err != nil {
		return fmt.Errorf("finding the quantiles of experiment %q: %w", p.experiment, err)
	}
	s := newStatement(p.project)
	text := fmt.Sprintf(sequencesSQL, s.bind(p.environment), s.integer(max(p.start.UnixMilli(), 0)), s.integer(p.end.UnixMilli()))
	err = eachRow(p.context(ctx, s, readSettings), db, text, func(scan func(...any) error) error {
		return scan(&r.sequences.First, &r.sequences.Last)
	})
	if err != nil {
		return fmt.Errorf("reading the versions of experiment %q: %w", p.experiment, err)
	}
	return nil
}

// spelled are the statements behind a report, for people to run: how a unit's
// values come about, and what is made of them.
func (p *plan) spelled(r *rollup) []string {
	s := newStatement(p.project)
	perUnit := p.perUnit(s, unitsSQL, bucket(0, 1))
	s.name("experiment", p.experiment)
	all := []string{s.spell(perUnit)}
	if len(p.metrics) == 0 {
		return all
	}
	s = newStatement(p.project)
	s.name("experiment", p.experiment)
	moments := s.spell(p.momentsSQL(r, wholeSQL, fromRollup))
	return append(all, strings.ReplaceAll(moments, "{revision:UInt64}", strconv.FormatUint(r.revision, 10)))
}
