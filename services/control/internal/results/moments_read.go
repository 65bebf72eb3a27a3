package results

import (
	"context"
	"fmt"
	"math"
	"strconv"
	"strings"

	"github.com/sluice-flags/sluice/internal/warehouse"
	"github.com/sluice-flags/sluice/pkg/stats"
)

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

// The head of a metric's column in the statement of moments.
const (
	analysedAt = iota
	immatureAt
	countAt
	coveredAt
	limitedAt // four
	meansAt   = limitedAt + 4
)

// A cell is a group of the experiment, in one slice of its units.
type cell struct {
	slice uint16 // 0 if they are not sliced
	group uint8
}

// readMoments reads the moments of all metrics in every group.
func (p *plan) readMoments(ctx context.Context, db *warehouse.DB, r *rollup) (all []moments, err error) {
	ask := func(text string, scan func(scan func(...any) error) error) error {
		return p.ask(ctx, db, r.revision, text, scan)
	}
	err = p.momentsOf(ask, r, wholeSQL, fromRollup, func(_ cell, of []moments) { all = append(all, of...) })
	return all, err
}

// wholeSQL is the slice of units that are not sliced.
const wholeSQL = "toUInt16(0)"

// momentsOf hands the moments of all metrics in every cell to take, in the order of
// cells. The statement ends with from, and slice says in which slice a row is.
func (p *plan) momentsOf(ask asking, r *rollup, slice, from string, take func(of cell, all []moments)) error {
	if len(p.metrics) == 0 {
		return nil
	}
	return ask(p.momentsSQL(r, slice, from), func(scan func(...any) error) error {
		var of cell
		var columns [][]float64
		if err := scan(&of.slice, &of.group, &columns); err != nil {
			return err
		}
		all := make([]moments, len(p.metrics))
		for i := range p.metrics {
			all[i] = p.metrics[i].moments(of.group, columns[i], r.caps[i])
		}
		take(of, all)
		return nil
	})
}

// momentsSQL asks in one pass for the columns of all metrics in every cell.
func (p *plan) momentsSQL(r *rollup, slice, from string) string {
	columns := make([]string, len(p.metrics))
	for i := range p.metrics {
		columns[i] = "[" + strings.Join(p.metrics[i].column(r, r.caps[i]), ", ") + "]"
	}
	return "SELECT " + slice + " AS of, group_index, [\n    " + strings.Join(columns, ",\n    ") + "\n]" + from +
		"\nGROUP BY of, group_index\nORDER BY of, group_index"
}

// column are the numbers that a metric's moments are made of: counts, sums, and
// mean products of deviations, of the values that it has. The engine's stable
// functions and compensated sums lose no digits however far from zero the values
// are, and take no longer than plain ones do here.
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
			column = append(column, "sumKahanIf("+m.capped(k, caps)+", "+has+")")
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

// each calls do for the sum of each value that the metric has, with j < 0, and
// then for each pair of values, j ≤ k.
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
	m.each(func(j, k int) {
		x := rest[0]
		rest = rest[1:]
		switch {
		case v.N == 0: // means of nothing are no numbers
		case j < 0:
			v.Mean[k] = x / float64(v.N)
		default:
			v.C[j][k], v.C[k][j] = x*float64(v.N), x*float64(v.N)
		}
	})
	if v.N > 0 && m.d == 0 {
		v.Mean[stats.Denominator] = 1
	}
	for _, n := range rest {
		of.steps = append(of.steps, uint64(n))
	}
	return of
}
