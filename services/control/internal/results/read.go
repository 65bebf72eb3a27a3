package results

import (
	"context"
	"fmt"
	"math"
	"strconv"
	"strings"

	"github.com/ClickHouse/clickhouse-go/v2"

	"github.com/sluice-flags/sluice/internal/warehouse"
	"github.com/sluice-flags/sluice/pkg/stats"
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

var readSettings = clickhouse.Settings{"max_query_size": 1 << 20, "max_ast_elements": 500_000, "max_expanded_ast_elements": 2_000_000}

// mature is the condition that a unit's window has passed.
func (m *measured) mature(r *rollup) string {
	if m.matures == 0 {
		return "1"
	}
	return fmt.Sprintf("toUnixTimestamp64Milli(first_exposure) <= %d", r.asOf.UnixMilli()-m.matures.Milliseconds())
}

// slots are those of the four values, in the order of [moments].
func (m *measured) slots() [4]int { return [4]int{m.y, m.d, m.x, m.xd} }

// raw is a value as it was; that of a unit that has none is 0, but for y.
func (m *measured) raw(k int) string {
	v := fmt.Sprintf("values[%d]", m.slots()[k])
	if k == stats.PreNumerator {
		return "ifNotFinite(" + v + ", 0)"
	}
	return v
}

// capped is a value within its cap.
func (m *measured) capped(k int, caps []float64) string {
	if math.IsInf(caps[k], 1) {
		return m.raw(k)
	}
	return "least(" + m.raw(k) + ", " + float(caps[k]) + ")"
}

// float writes a number so that ClickHouse reads the same, and as a Float64.
func float(f float64) string { return "toFloat64(" + strconv.FormatFloat(f, 'g', -1, 64) + ")" }

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
	err = p.ask(ctx, db, r.revision, sequencesSQL, func(scan func(...any) error) error {
		return scan(&r.sequences.First, &r.sequences.Last)
	})
	if err != nil {
		return fmt.Errorf("reading the versions of experiment %q: %w", p.experiment, err)
	}
	return nil
}

// The head of a metric's column in the statement of moments.
const (
	analysedAt = iota
	immatureAt
	countAt
	coveredAt
	limitedAt // four
	meansAt   = limitedAt + 4
)

// readMoments reads the moments of all metrics in one pass over the rollup: per
// group a row, per metric a column of numbers.
func (p *plan) readMoments(ctx context.Context, db *warehouse.DB, r *rollup) (all []moments, err error) {
	if len(p.metrics) == 0 {
		return nil, nil
	}
	err = p.ask(ctx, db, r.revision, p.momentsSQL(r), func(scan func(...any) error) error {
		var group uint8
		var columns [][]float64
		if err := scan(&group, &columns); err != nil {
			return err
		}
		for i := range p.metrics {
			all = append(all, p.metrics[i].moments(group, columns[i], r.caps[i]))
		}
		return nil
	})
	return all, err
}

func (p *plan) momentsSQL(r *rollup) string {
	columns := make([]string, len(p.metrics))
	for i := range p.metrics {
		columns[i] = "[" + strings.Join(p.metrics[i].column(r, r.caps[i]), ", ") + "]"
	}
	return "SELECT group_index, [\n    " + strings.Join(columns, ",\n    ") + "\n]" + fromRollup + "\nGROUP BY group_index\nORDER BY group_index"
}

// column are the numbers that a metric's moments are made of: counts, means, and
// mean products of deviations, of the values that it has.
func (m *measured) column(r *rollup, caps []float64) []string {
	mature := m.mature(r)
	kept := "excluded = '' AND " + mature
	has := kept + fmt.Sprintf(" AND NOT isNaN(values[%d])", m.y)
	column := []string{
		"toFloat64(countIf(" + kept + "))",
		"toFloat64(countIf(excluded = '' AND NOT (" + mature + ")))",
		"toFloat64(countIf(" + has + "))",
	}
	covered := "0"
	if m.x > 0 {
		covered = fmt.Sprintf("countIf(%s AND NOT isNaN(values[%d]))", has, m.x)
	}
	column = append(column, "toFloat64("+covered+")")
	for k := range m.slots() {
		limited := "0"
		if !math.IsInf(caps[k], 1) {
			limited = "countIf(" + has + " AND " + m.raw(k) + " > " + float(caps[k]) + ")"
		}
		column = append(column, "toFloat64("+limited+")")
	}
	m.each(func(j, k int) {
		switch {
		case j < 0:
			column = append(column, "avgIf("+m.capped(k, caps)+", "+has+")")
		case j == k:
			column = append(column, "varPopStableIf("+m.capped(k, caps)+", "+has+")")
		default:
			column = append(column, "covarPopStableIf("+m.capped(j, caps)+", "+m.capped(k, caps)+", "+has+")")
		}
	})
	for i := range m.stepCount {
		column = append(column, fmt.Sprintf("sumIf(values[%d], %s)", m.steps+i, kept))
	}
	return column
}

// each calls do for the mean of each value that the metric has, with j < 0, and
// for each pair of values, j ≤ k.
func (m *measured) each(do func(j, k int)) {
	slots := m.slots()
	for k := range slots {
		if slots[k] > 0 {
			do(-1, k)
		}
	}
	for j := range slots {
		for k := j; k < len(slots); k++ {
			if slots[j] > 0 && slots[k] > 0 {
				do(j, k)
			}
		}
	}
}

// moments reads what column asked for.
func (m *measured) moments(group uint8, column, caps []float64) moments {
	of := m.nothing(group, caps)
	of.analysed, of.immature = uint64(column[analysedAt]), uint64(column[immatureAt])
	v := &of.values
	v.N, v.WithCovariate = uint64(column[countAt]), uint64(column[coveredAt])
	for k := range of.caps {
		of.limited[k] = uint64(column[limitedAt+k])
	}
	rest := column[meansAt:]
	if m.d == 0 {
		v.Mean[stats.Denominator] = 1
	}
	m.each(func(j, k int) {
		x := rest[0]
		rest = rest[1:]
		switch {
		case v.N == 0: // means of nothing are no numbers
		case j < 0:
			v.Mean[k] = x
		default:
			v.C[j][k], v.C[k][j] = x*float64(v.N), x*float64(v.N)
		}
	})
	if v.N == 0 {
		v.Mean = [4]float64{}
	}
	for _, n := range rest {
		of.steps = append(of.steps, uint64(n))
	}
	return of
}

// spelled are the statements behind a report, for people to run: how a unit's
// values come about, and what is made of them.
func (p *plan) spelled(r *rollup) []string {
	s := newStatement(p.project)
	perUnit := p.perUnit(s, unitsSQL, bucket(0, 1))
	s.name("experiment", p.experiment)
	moments := newStatement(p.project)
	moments.name("experiment", p.experiment)
	all := []string{s.spell(perUnit)}
	if len(p.metrics) > 0 {
		all = append(all, strings.ReplaceAll(moments.spell(p.momentsSQL(r)), "{revision:UInt64}", strconv.FormatUint(r.revision, 10)))
	}
	return all
}
