package results

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/sluice-flags/sluice/pkg/flags"
	"github.com/sluice-flags/sluice/pkg/stats"
)

// What follows makes series of metrics whose days do not add up: active days are
// over another number of days each day, the steps of a funnel are events of
// several days, and percentiles are not sums at all. Each unit's events are
// gathered once, as lists with the day of each; then each unit has a row for
// every day from its first exposure on, with what its value is by the events up
// to the day, and by those of the day alone.

// byUnit reports whether the series of a metric is made so.
func byUnit(doc *flags.Metric) bool {
	switch doc.Type {
	case flags.MetricEventDAU, flags.MetricFunnel, flags.MetricPercentile:
		return true
	case flags.MetricRatio:
		for _, part := range []*flags.MetricPart{doc.Numerator, doc.Denominator} {
			if part == nil || part.Type != flags.MetricEventCount && part.Type != flags.MetricSum {
				return true
			}
		}
	}
	return false
}

// A dayList is the list of a unit's events of one measure, as tuples.
type dayList struct {
	gathered string // aggregate that makes it
	day      string // the member of a tuple that is its day
}

// lists are those of a metric's parts, one each.
func (p *plan) lists(g *gathering, doc *flags.Metric) (all []dayList) {
	day := "toInt32(" + g.dayOf("e.ts", p.zone) + ")"
	now, _ := periods(doc)
	list := func(kind flags.MetricType, m *flags.Measure) {
		of, and := "0", []string(nil)
		switch kind {
		case flags.MetricSum, flags.MetricPercentile:
			of, and = "ifNull("+g.valueOf(m)+", 0)", []string{g.hasValue(m)}
		case flags.MetricCountDistinct:
			of = g.textOf(m.ValueKey())
			and = []string{of + " != ''"}
		}
		all = append(all, dayList{g.aggregate(m, now, "groupArrayIf(("+of+", "+day+"), %s)", and...), "h.2"})
	}
	switch doc.Type {
	case flags.MetricRatio:
		list(doc.Numerator.Type, &doc.Numerator.Measure)
		list(doc.Denominator.Type, &doc.Denominator.Measure)
	case flags.MetricFunnel:
		for _, step := range doc.Funnel.Steps {
			all = append(all, dayList{g.stepList(doc.Funnel, step, now, ", "+day), "h.3"})
		}
	default:
		list(doc.Type, &doc.Measure)
	}
	return all
}

// valueOfLists is what a metric makes of its lists; d is "1." where there is no
// denominator. days is over how many days active ones are counted.
func valueOfLists(doc *flags.Metric, lists []string, days string) (y, d string) {
	part := func(kind flags.MetricType, list string) string {
		switch kind {
		case flags.MetricEventUser:
			return "toFloat64(notEmpty(" + list + "))"
		case flags.MetricEventDAU:
			return "arrayUniq(arrayMap(h -> h.2, " + list + ")) / " + days
		case flags.MetricSum, flags.MetricPercentile:
			return "arraySum(h -> h.1, " + list + ")"
		case flags.MetricCountDistinct:
			return "toFloat64(arrayUniq(arrayMap(h -> h.1, " + list + ")))"
		}
		return "toFloat64(length(" + list + "))"
	}
	switch doc.Type {
	case flags.MetricRatio:
		return part(doc.Numerator.Type, lists[0]), part(doc.Denominator.Type, lists[1])
	case flags.MetricFunnel:
		took := func(steps int) string {
			return fmt.Sprintf("toFloat64(arrayCount(n -> n >= %d, %s))", steps, reachedSQL(doc.Funnel, lists))
		}
		if doc.Funnel.FromExposure {
			return took(len(lists)), "1."
		}
		return took(len(lists)), took(1)
	}
	return part(doc.Type, lists[0]), "1."
}

// byUnitSQL is the question for a metric that p is about alone: a row for each
// unit and day, with y and d of the day alone (1) and of all days up to it (2),
// and for a percentile of events their values, v1 and v2.
func (p *plan) byUnitSQL(s *statement, units string) string {
	m := &p.metrics[0]
	doc := m.doc
	g := newGathering(s, p.events())
	end := fmt.Sprint(p.end.UnixMilli())
	now, _ := periods(doc)
	until := end // of the unit's period
	if !now.open {
		until = fmt.Sprintf("least(first + %d, %s)", now.until.Milliseconds(), end)
	}
	lists := p.lists(g, doc)
	gathered, today, soFar := make([]string, len(lists)), make([]string, len(lists)), make([]string, len(lists))
	for i, l := range lists {
		gathered[i] = fmt.Sprintf("%s AS l%d", l.gathered, i)
		today[i] = fmt.Sprintf("arrayFilter(h -> %s = day, l%d)", l.day, i)
		soFar[i] = fmt.Sprintf("arrayFilter(h -> %s <= day, l%d)", l.day, i)
	}
	y1, d1 := valueOfLists(doc, today, "1.")
	y2, d2 := valueOfLists(doc, soFar, "(least(day, closed) - entered + 1)")
	v1, v2 := "CAST([] AS Array(Float64))", "CAST([] AS Array(Float64))"
	if ofEvents(doc) {
		v1, v2 = "arrayMap(h -> h.1, "+today[0]+")", "arrayMap(h -> h.1, "+soFar[0]+")"
	}
	text := []string{
		"SELECT day, group_index, day <= closed AS open, " + y1 + " AS y1, " + d1 + " AS d1, " + y2 + " AS y2, " + d2 + " AS d2, " + v1 + " AS v1, " + v2 + " AS v2",
		"FROM (",
		"    SELECT u.group_index AS group_index, u.entered AS entered, u.closed AS closed, " + strings.Join(gathered, ", ") + ",",
		"        arrayJoin(range(u.entered, " + s.dayOfMilli(end+" - 1", p.zone) + " + 1)) AS day",
		"    FROM (",
		"        SELECT unit_key, group_index, " + s.dayOfMilli("first", p.zone) + " AS entered, " + s.dayOfMilli("greatest("+until+" - 1, first)", p.zone) + " AS closed",
		"        FROM (\n" + units + "\n)",
		fmt.Sprintf("        WHERE excluded = '' AND first + %d <= %s", m.matures.Milliseconds(), end),
		"    ) AS u",
	}
	for i := range g.branches {
		name := fmt.Sprintf("e%d", i)
		text = append(text, "    LEFT ANY JOIN (\n"+p.gather(g, &g.branches[i], units, bucket(0, 1))+"\n) AS "+name+" ON u.unit_key = "+name+".unit_key")
	}
	return strings.Join(append(text, ")"), "\n")
}

// sumsByUnitSQL is the question for a metric of means, shares or ratios.
func (p *plan) sumsByUnitSQL(s *statement, units string) string {
	sums := func(of string, has string) string {
		return strings.NewReplacer("#", of, "?", has).Replace(
			"countIf(?) AS n#, sumIf(y#, ?) AS sy#, sumIf(d#, ?) AS sd#, sumIf(y# * y#, ?) AS yy#, sumIf(d# * d#, ?) AS dd#, sumIf(y# * d#, ?) AS yd#")
	}
	return "SELECT toString(toDate(day)) AS date, group_index,\n    " + sums("1", "open AND d1 > 0") + ",\n    " + sums("2", "d2 > 0") +
		"\nFROM (\n" + p.byUnitSQL(s, units) + "\n)\nGROUP BY date, group_index\nORDER BY date"
}

// quantileNumbers are what is asked of each sample: how many values, the quantile
// and its bounds; how many clusters, and their moments.
const quantileNumbers = 10

// quantilesByUnitSQL is the question for a percentile: of each day, numbers of
// the sample of the day alone, and of that of all days up to it.
func (p *plan) quantilesByUnitSQL(s *statement, units string) string {
	doc := p.metrics[0].doc
	level := s.number(doc.Percentile.Level)
	// The bounds of a quantile are at level ± half / √n.
	const many = 1e6
	lower, _ := stats.QuantileLevels(0.5, many)
	half := s.number(2*(0.5-lower.Or(0))*1e3) + " * sqrt(" + level + " * (1 - " + level + "))"
	samples := "groupArrayIf([y1], open) AS s1, groupArray([y2]) AS s2"
	if ofEvents(doc) {
		samples = "groupArrayIf(v1, open AND notEmpty(v1)) AS s1, groupArrayIf(v2, notEmpty(v2)) AS s2"
	}
	at := "q -> sorted[toInt64(q) + 1] + (q - toInt64(q)) * (sorted[least(toInt64(q) + 2, n)] - sorted[toInt64(q) + 1])"
	place := func(p string) string {
		// Lambdas cannot be named: one is applied by mapping a list of one over it.
		return "arrayMap(" + at + ", [(" + p + ") * (n - 1)])[1]"
	}
	clusters := ", 0., 0., 0., 0., 0., 0."
	if ofEvents(doc) {
		clusters = ", toFloat64(length(below)), arrayAvg(below), arrayAvg(sizes), arrayReduce('varPopStable', below), arrayReduce('varPopStable', sizes), arrayReduce('covarPopStable', below, sizes)"
	}
	return strings.Join([]string{
		"SELECT toString(toDate(day)) AS date, group_index, which, if(n = 0, [], [toFloat64(n), quantile, lower, upper" + clusters + "]) AS numbers",
		"FROM (",
		"    SELECT *, arrayMap(one -> toFloat64(arrayCount(x -> x <= quantile, one)), sample) AS below, arrayMap(one -> toFloat64(length(one)), sample) AS sizes",
		"    FROM (",
		"        SELECT *, " + place(level) + " AS quantile,",
		"            if(bounded, " + place(level+" - half") + ", quantile) AS lower, if(bounded, " + place(level+" + half") + ", quantile) AS upper",
		"        FROM (",
		"            SELECT *, " + half + " / sqrt(n) AS half, n > 0 AND " + level + " - half > 0 AND " + level + " + half < 1 AS bounded",
		"            FROM (",
		"                SELECT day, group_index, which, sample, arraySort(arrayFlatten(sample)) AS sorted, toInt64(length(sorted)) AS n",
		"                FROM (SELECT day, group_index, " + samples + " FROM (\n" + p.byUnitSQL(s, units) + "\n) GROUP BY day, group_index)",
		"                ARRAY JOIN [s1, s2] AS sample, [1, 2] AS which",
		"            )",
		"        )",
		"    )",
		")",
		"ORDER BY date",
	}, "\n")
}

// queryByUnit asks for the series of a metric, whose every row is whole.
func queryByUnit(ctx context.Context, of study, p *plan, text string, s *statement) ([]seriesRow, error) {
	if p.metrics[0].doc.Type != flags.MetricPercentile {
		return querySums(p.context(ctx, s, readSettings), of, text, s)
	}
	type place struct {
		day   string
		group uint8
	}
	byPlace := map[place]*seriesRow{}
	var found []*seriesRow
	level := p.metrics[0].doc.Percentile.Level
	err := eachRow(p.context(ctx, s, readSettings), of.db, text, func(scan func(...any) error) error {
		var at place
		var which uint8
		var numbers []float64
		if err := scan(&at.day, &at.group, &which, &numbers); err != nil {
			return err
		}
		row := byPlace[at]
		if row == nil {
			row = &seriesRow{day: at.day, group: at.group}
			byPlace[at], found = row, append(found, row)
		}
		q := stats.Quantile{Level: level}
		if len(numbers) == quantileNumbers {
			q.N, q.Value, q.Lower, q.Upper = uint64(numbers[0]), numbers[1], numbers[2], numbers[3]
			k := numbers[4]
			q.Clusters = stats.Pair{N: uint64(k), MeanY: numbers[5], MeanX: numbers[6], M2Y: numbers[7] * k, M2X: numbers[8] * k, CXY: numbers[9] * k}
		}
		row.quantiles[which-1] = q
		return nil
	})
	rows := make([]seriesRow, len(found))
	for i, row := range found {
		rows[i] = *row
	}
	return rows, err
}

// alone is a plan of the same analysis for one metric.
func alone(of study, e flags.Entity, now time.Time) *plan {
	doc := *of.doc
	doc.Metrics = []string{e.Ref.ID}
	return newPlan(of.state, of.entity, &doc, now)
}
