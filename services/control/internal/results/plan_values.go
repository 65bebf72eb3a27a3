package results

import (
	"fmt"
	"strings"

	"github.com/sluice-flags/sluice/pkg/flags"
)

// A unitValue is what a metric, or a part of it, makes of what was gathered of a
// unit's events: SQL of a number, and of the condition that there is one ("1" for
// always). A unit without events has nothing gathered: zeros and empty lists.
type unitValue struct {
	y       string
	d       string // empty if there is none
	present string
	steps   []string
}

// value is what a metric makes of the events in a period.
func (p *plan) value(g *gathering, doc *flags.Metric, t period) unitValue {
	switch doc.Type {
	case flags.MetricRatio:
		y := p.part(g, doc.Numerator.Type, &doc.Numerator.Measure, t, 0)
		d := p.part(g, doc.Denominator.Type, &doc.Denominator.Measure, t, 0)
		return unitValue{y: y.y, d: d.y, present: d.y + " > 0"}
	case flags.MetricFunnel:
		return funnelValue(g, doc.Funnel, t)
	case flags.MetricPercentile:
		sum := p.part(g, flags.MetricSum, &doc.Measure, t, 0)
		if ofEvents(doc) {
			sum.d = "toFloat64(" + g.aggregate(&doc.Measure, t, "countIf(%s)", g.hasValue(&doc.Measure)) + ")"
		}
		return sum
	}
	perDay := 0.0
	if doc.Cap != nil {
		perDay = doc.Cap.PerDay
	}
	return p.part(g, doc.Type, &doc.Measure, t, perDay)
}

// part is what a measure makes of the events in a period.
func (p *plan) part(g *gathering, kind flags.MetricType, m *flags.Measure, t period, perDay float64) unitValue {
	number, has := "ifNull("+g.valueOf(m)+", 0)", g.hasValue(m)
	of := func(function string, and ...string) string { return g.aggregate(m, t, function, and...) }
	value := func(y string) unitValue { return unitValue{y: y, present: "1"} }
	valued := func(y string) unitValue { return unitValue{y: y, present: of("countIf(%s)", has) + " > 0"} }
	if perDay > 0 {
		one := "toFloat64(1)"
		if kind == flags.MetricSum {
			one = number
		}
		return value(fmt.Sprintf("arraySum(a -> least(a, %s), %s.2)", g.number(perDay), of("sumMapIf(["+g.dayOf("e.ts", p.zone)+"], ["+one+"], %s)")))
	}
	switch kind {
	case flags.MetricEventCount:
		return value("toFloat64(" + of("countIf(%s)") + ")")
	case flags.MetricEventUser, flags.MetricRetention:
		return value("toFloat64(" + of("countIf(%s)") + " > 0)")
	case flags.MetricEventDAU:
		return value(of("uniqExactIf("+g.dayOf("e.ts", p.zone)+", %s)") + " / " + p.days(g.statement, t))
	case flags.MetricSum:
		return value(of("sumIf(" + number + ", %s)"))
	case flags.MetricMean:
		v := valued(of("sumIf(" + number + ", %s)"))
		v.d = "toFloat64(" + of("countIf(%s)", has) + ")"
		return v
	case flags.MetricCountDistinct:
		text := g.textOf(m.ValueKey())
		return value("toFloat64(" + of("uniqExactIf("+text+", %s)", text+" != ''") + ")")
	case flags.MetricMin:
		return valued(of("minIf("+number+", %s)", has))
	case flags.MetricMax:
		return valued(of("maxIf("+number+", %s)", has))
	case flags.MetricLatest:
		return valued(of("argMaxIf("+number+", (e.ts, toString(e.event_id)), %s)", has))
	}
	return unitValue{y: "nan", present: "0"} // a type beyond this version
}

// funnelValue walks through the steps of each session, or of the unit: each step
// is the first of its events strictly after that of the step before.
func funnelValue(g *gathering, f *flags.Funnel, t period) unitValue {
	lists := make([]string, len(f.Steps))
	for i, step := range f.Steps {
		lists[i] = g.stepList(f, step, t, "")
	}
	reached := reachedSQL(f, lists)
	v := unitValue{present: "1"}
	for i := range f.Steps {
		v.steps = append(v.steps, fmt.Sprintf("toFloat64(arrayCount(n -> n > %d, %s))", i, reached))
	}
	v.y = v.steps[len(v.steps)-1]
	if !f.FromExposure {
		v.d = v.steps[0]
		v.present = v.d + " > 0"
	}
	return v
}

// stepList is the list of a step's events, as (session, time) and what more there
// is to say of each.
func (g *gathering) stepList(f *flags.Funnel, step flags.FunnelStep, t period, more string) string {
	session, and := "''", []string(nil)
	if f.SessionKey != "" {
		session = g.textOf(f.SessionKey)
		and = []string{session + " != ''"}
	}
	return g.aggregate(&flags.Measure{Event: step.Event, Filters: step.Filters}, t, "groupArrayIf(("+session+", toUnixTimestamp64Milli(e.ts)"+more+"), %s)", and...)
}

// reachedSQL is, for every session, how many steps it took. Of each step there is a
// list of its events, as (session, time, …): they are put together and parted by
// session, so that each session is looked through once, however many there are.
func reachedSQL(f *flags.Funnel, lists []string) string {
	var all, numbers []string
	for i, list := range lists {
		number := fmt.Sprintf("toUInt8(%d)", i+1)
		all = append(all, "arrayMap(h -> (h.1, "+number+", h.2), "+list+")")
		numbers = append(numbers, number)
	}
	next, late := "h.2 = step AND h.3 > seen.1", "seen.4"
	if f.CompletionSeconds > 0 {
		next += " AND h.3 < seen.4"
		late = fmt.Sprintf("if(seen.2 = 0, toInt64(at + %d), seen.4)", 1000*int64(f.CompletionSeconds))
	}
	// Seen are the time of the last step, how many were taken, whether the next may
	// be, and when it is too late for it.
	took := "arrayFold((seen, step) -> if(seen.3 AND arrayExists(h -> " + next + ", one), " +
		"arrayMap(at -> (at, seen.2 + 1, true, " + late + "), [arrayMin(h -> h.3, arrayFilter(h -> " + next + ", one))])[1], (seen.1, seen.2, false, seen.4)), " +
		"[" + strings.Join(numbers, ", ") + "], (toInt64(-1), toInt64(0), true, toInt64(9223372036854775807))).2"
	return "arrayMap(one -> " + took + ", arrayMap(sorted -> arraySplit((h, before) -> h.1 != before, sorted, arrayPopBack(arrayPushFront(sorted.1, ''))), " +
		"[arraySort(h -> h.1, arrayConcat(" + strings.Join(all, ", ") + "))])[1])"
}

// numbers are the slots of one metric, in their order.
func (p *plan) numbers(g *gathering, m *measured) (slots []string) {
	now, before := periods(m.doc)
	v := p.value(g, m.doc, now)
	y := v.y
	if v.present != "1" {
		missing := "nan"
		if m.doc.MissingAsZero {
			missing = "0"
		}
		y = "if(" + v.present + ", " + v.y + ", " + missing + ")"
	}
	slots = append(slots, y)
	if m.d > 0 {
		slots = append(slots, v.d)
	}
	if m.x > 0 {
		w := p.value(g, m.doc, before)
		x := w.y
		if w.present != "1" {
			x = "if(" + w.present + ", " + w.y + ", 0)"
		}
		slots = append(slots, "if("+g.concerns(m.doc, before)+" > 0, "+x+", nan)")
		if m.xd > 0 {
			slots = append(slots, "if("+w.present+", "+w.d+", 0)")
		}
	}
	return append(slots, v.steps...)
}

// sample is the list of values of a percentile of events.
func (g *gathering) sample(doc *flags.Metric) string {
	now, _ := periods(doc)
	return g.aggregate(&doc.Measure, now, "groupArrayIf(ifNull("+g.valueOf(&doc.Measure)+", 0), %s)", g.hasValue(&doc.Measure))
}
