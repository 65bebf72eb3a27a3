package results

import (
	"context"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/sluice-flags/sluice/internal/warehouse"
	"github.com/sluice-flags/sluice/pkg/stats"
)

// What follows makes moments of the values of units, in two passes: the means
// first, then sums about them, which lose no digits however far from zero the
// values are. That costs the engine a fraction of what its own stable variances
// and covariances do, since those divide for every row.

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
	sumsAt    = limitedAt + 4
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
// cells. The statements end with from, and slice says in which slice a row is.
func (p *plan) momentsOf(ask asking, r *rollup, slice, from string, take func(of cell, all []moments)) error {
	if len(p.metrics) == 0 {
		return nil
	}
	found := means{}
	if err := eachCell(ask, "", slice, p.meansSQL(r), from, func(c cell, four [][]float64) { found[c] = four }); err != nil {
		return err
	}
	changed := false
	err := eachCell(ask, found.named(p, slice), slice, p.sumsSQL(r), from, func(c cell, columns [][]float64) {
		if found[c] == nil {
			changed = true
			return
		}
		all := make([]moments, len(p.metrics))
		for i := range p.metrics {
			all[i] = p.metrics[i].moments(c.group, columns[i], r.caps[i], found[c][i])
		}
		take(c, all)
	})
	if err == nil && changed { // of replicas, one may be behind another
		err = fmt.Errorf("rollup %d has units in a group that it had none in a moment before", r.revision)
	}
	return err
}

// eachCell asks for an array of the numbers of every metric in every cell; what the
// numbers call by name, with says.
func eachCell(ask asking, with, slice, numbers, from string, take func(of cell, numbers [][]float64)) error {
	return ask(with+byCell(slice, numbers, from), func(scan func(...any) error) error {
		var of cell
		var numbers [][]float64
		if err := scan(&of.slice, &of.group, &numbers); err != nil {
			return err
		}
		take(of, numbers)
		return nil
	})
}

func byCell(slice, numbers, from string) string {
	return "SELECT " + slice + " AS of, group_index, " + numbers + from + "\nGROUP BY of, group_index\nORDER BY of, group_index"
}

// means are, by cell and metric, the means of its four values.
type means map[cell][][]float64

// meansOf are the means that moments of whole groups have.
func (p *plan) meansOf(all []moments) means {
	found := means{}
	for i := range all {
		c := cell{group: all[i].group}
		if found[c] == nil {
			found[c] = make([][]float64, len(p.metrics))
		}
		k := slices.IndexFunc(p.metrics, func(m measured) bool { return m.entity.Ref.ID == all[i].id })
		found[c][k] = all[i].values.Mean[:]
	}
	return found
}

// named is the head of a statement that gives names to means, each to those of one
// value of a metric in all cells.
func (found means) named(p *plan, slice string) string {
	var last cell
	for of := range found {
		last.slice, last.group = max(last.slice, of.slice), max(last.group, of.group)
	}
	groups := int(last.group) + 1
	at := "group_index + 1"
	if slice != wholeSQL {
		at = fmt.Sprintf("%s * %d + %s", slice, groups, at)
	}
	var names []string
	for i := range p.metrics {
		for k, slot := range p.metrics[i].slots() {
			if slot == 0 {
				continue
			}
			byCell := make([]string, (int(last.slice)+1)*groups)
			for c := range byCell {
				mean := 0.0
				if of := found[cell{uint16(c / groups), uint8(c % groups)}]; of != nil {
					mean = of[i][k]
				}
				byCell[c] = strconv.FormatFloat(mean, 'e', -1, 64) // a float to the engine, also if it is whole
			}
			names = append(names, "["+strings.Join(byCell, ", ")+"]["+at+"] AS "+meanName(i, k))
		}
	}
	return "WITH\n    " + strings.Join(names, ",\n    ") + "\n"
}

func meanName(metric, value int) string { return fmt.Sprintf("mean_%d_%d", metric, value) }

// meansSQL is, per metric, the means of its four values: 0 for those that it does
// not have, or nobody has.
func (p *plan) meansSQL(r *rollup) string {
	return p.perMetric(func(i int, m *measured) []string {
		four := make([]string, 4)
		for k, slot := range m.slots() {
			four[k] = "toFloat64(0)"
			if slot > 0 {
				four[k] = "ifNotFinite(avgIf(" + m.capped(k, r.caps[i]) + ", " + m.has(r) + "), 0)"
			}
		}
		return four
	})
}

// sumsSQL is, per metric, its column, about named means.
func (p *plan) sumsSQL(r *rollup) string {
	return p.perMetric(func(i int, m *measured) []string {
		return m.column(r, r.caps[i], func(k int) string { return meanName(i, k) })
	})
}

// perMetric is an array of an array for every metric.
func (p *plan) perMetric(numbers func(i int, m *measured) []string) string {
	all := make([]string, len(p.metrics))
	for i := range p.metrics {
		all[i] = "[" + strings.Join(numbers(i, &p.metrics[i]), ", ") + "]"
	}
	return "[\n    " + strings.Join(all, ",\n    ") + "\n]"
}

// has is the condition that a unit is analysed and has a value.
func (m *measured) has(r *rollup) string {
	return "excluded = '' AND " + m.mature(r) + fmt.Sprintf(" AND NOT isNaN(values[%d])", m.y)
}

// column are the numbers that a metric's moments are made of: counts, and of the
// values that it has sums of what they are above their means, and of products of
// that.
func (m *measured) column(r *rollup, caps []float64, mean func(k int) string) []string {
	mature := m.mature(r)
	kept, has := "excluded = '' AND "+mature, m.has(r)
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
	above := func(k int) string { return "(" + m.capped(k, caps) + " - " + mean(k) + ")" }
	m.each(func(j, k int) {
		if j < 0 {
			column = append(column, "sumIf("+above(k)+", "+has+")")
		} else {
			column = append(column, "sumIf("+above(j)+" * "+above(k)+", "+has+")")
		}
	})
	for i := range m.stepCount {
		column = append(column, fmt.Sprintf("sumIf(values[%d], %s)", m.steps+i, kept))
	}
	return column
}

// each calls do for each value that the metric has, with j < 0, and then for each
// pair of values, j ≤ k.
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

// moments reads what column asked for, of sums about means.
func (m *measured) moments(group uint8, column, caps, means []float64) moments {
	of := m.nothing(group, caps)
	of.analysed, of.immature = uint64(column[analysedAt]), uint64(column[immatureAt])
	v := &of.values
	v.N, v.WithCovariate = uint64(column[countAt]), uint64(column[coveredAt])
	for k := range of.caps {
		of.limited[k] = uint64(column[limitedAt+k])
	}
	rest := column[sumsAt:]
	var sums [4]float64
	m.each(func(j, k int) {
		x := rest[0]
		rest = rest[1:]
		if v.N == 0 { // means of nothing are no numbers
			return
		}
		n := float64(v.N)
		if j < 0 {
			sums[k], v.Mean[k] = x, means[k]
			return
		}
		v.C[j][k] = x - sums[j]*sums[k]/n
		v.C[k][j] = v.C[j][k]
	})
	for k := range v.C {
		if v.C[k][k] <= float64(v.N)*square(rounding*v.Mean[k]) { // they are all the same
			v.C[k] = [4]float64{}
			for j := range v.C {
				v.C[j][k] = 0
			}
		}
	}
	if v.N > 0 && m.d == 0 {
		v.Mean[stats.Denominator] = 1
	}
	for _, n := range rest {
		of.steps = append(of.steps, uint64(n))
	}
	return of
}

// rounding is how far, beside itself, a mean may be from values that are all the
// same: some of the last digits.
const rounding = 0x1p-48

func square(x float64) float64 { return x * x }
