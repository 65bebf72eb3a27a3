package results

import (
	"fmt"
	"strings"
	"time"

	"github.com/sluice-flags/sluice/internal/warehouse"
	"github.com/sluice-flags/sluice/pkg/flags"
)

// A plan is what an analysis has to find out about each unit, and how to ask for
// it in one pass over the facts.
//
// Metrics share what is read: every event is looked up once among the units and
// gives each metric what it is to it. The statement is made of fixed pieces, and
// of what people chose (names, keys, values, levels) only as bound parameters.
type plan struct {
	project     string
	experiment  string // name
	environment string
	unitType    string
	end         time.Time // facts count before it: when the experiment ended, or now
	metrics     []measured
	slots       int // numbers of a unit
	samples     int // lists of numbers of a unit
	definitions string
}

// measured is a metric with the slots of its numbers, counted from 1; 0 is none.
type measured struct {
	entity      flags.Entity
	doc         *flags.Metric
	y, d, x, xd int
	steps       int // first of the steps of a funnel
	stepCount   int
	sample      int
	matures     time.Duration // how long after its first exposure a unit counts; 0 = at once
}

// day is the length of a day of windows and retention, and of calendar days,
// which are those of UTC.
const day = 24 * time.Hour

// newPlan plans the analysis of an experiment as state defines it, with the
// facts before now.
func newPlan(state *flags.State, entity flags.Entity, doc *flags.Experiment, now time.Time) *plan {
	p := &plan{
		project: state.Project(), experiment: entity.Name,
		environment: warehouse.DefaultEnvironment, unitType: doc.UnitType, end: now,
	}
	ended := doc.EndedAt != nil && !doc.EndedAt.After(now)
	if ended {
		p.end = *doc.EndedAt
	}
	p.end = p.end.UTC().Truncate(time.Millisecond)
	versions := []string{fmt.Sprint(entity.Seq)}
	for _, e := range metricsOf(state, doc) {
		metric, ok := e.Doc.(*flags.Metric)
		if !ok {
			continue
		}
		p.metrics = append(p.metrics, p.measure(e, metric, ended))
		versions = append(versions, fmt.Sprintf("%s@%d", e.Ref.ID, e.Seq))
	}
	p.definitions = strings.Join(versions, " ")
	return p
}

func (p *plan) measure(e flags.Entity, doc *flags.Metric, ended bool) measured {
	slot := func(wanted bool) int {
		if !wanted {
			return 0
		}
		p.slots++
		return p.slots
	}
	m := measured{entity: e, doc: doc}
	ratio := isRatio(doc)
	before := doc.Lookback() > 0 && doc.Type != flags.MetricPercentile
	m.y, m.d, m.x, m.xd = slot(true), slot(ratio || ofEvents(doc)), slot(before), slot(before && ratio)
	if doc.Funnel != nil {
		m.stepCount = len(doc.Funnel.Steps)
		m.steps = p.slots + 1
		p.slots += m.stepCount
	}
	if ofEvents(doc) {
		p.samples++
		m.sample = p.samples
	}
	switch {
	case doc.Retention != nil:
		m.matures = time.Duration(doc.Retention.Day+doc.Retention.Days) * day
	case ended:
		m.matures = window(doc)
	}
	return m
}

// isRatio reports whether a unit has a denominator beside its value.
func isRatio(doc *flags.Metric) bool {
	switch doc.Type {
	case flags.MetricMean, flags.MetricRatio:
		return true
	case flags.MetricFunnel:
		return doc.Funnel != nil && !doc.Funnel.FromExposure
	}
	return false
}

// ofEvents reports whether a metric is a quantile of events.
func ofEvents(doc *flags.Metric) bool {
	return doc.Percentile != nil && doc.Percentile.Of == flags.PercentileOfEvents
}

func window(doc *flags.Metric) time.Duration { return time.Duration(doc.WindowHours) * time.Hour }

// A period is a range of time around a unit's first exposure, half-open; until
// may be the end of the analysis.
type period struct {
	from, until time.Duration
	open        bool // to the end of the analysis
}

// condition is that an event, after milliseconds behind the first exposure of
// its unit, is in the period.
func (t period) condition() string {
	c := fmt.Sprintf("toUnixTimestamp64Milli(e.ts) - u.first >= %d", t.from.Milliseconds())
	if !t.open {
		c += fmt.Sprintf(" AND toUnixTimestamp64Milli(e.ts) - u.first < %d", t.until.Milliseconds())
	}
	return c
}

// periods are when a metric's events count, and when those of its covariate do.
func periods(doc *flags.Metric) (now, before period) {
	before = period{from: -time.Duration(doc.Lookback()) * day}
	switch {
	case doc.Retention != nil:
		from := time.Duration(doc.Retention.Day) * day
		return period{from: from, until: from + time.Duration(doc.Retention.Days)*day}, before
	case doc.WindowHours > 0:
		return period{until: window(doc)}, before
	}
	return period{open: true}, before
}

// days is the number of calendar days that a unit's period touches, of a unit
// whose first exposure is at first milliseconds.
func (p *plan) days(t period) string {
	until := fmt.Sprint(p.end.UnixMilli())
	if !t.open {
		until = fmt.Sprintf("least(any(u.first) + %d, %s)", t.until.Milliseconds(), until)
	}
	const length = int64(day / time.Millisecond)
	return fmt.Sprintf("greatest(intDiv(%s - 1, %d) - intDiv(any(u.first) + %d, %d) + 1, 1)", until, length, t.from.Milliseconds(), length)
}

const dayOfEvent = "intDiv(toUnixTimestamp64Milli(e.ts), 86400000)"

// A unitValue is what a metric, or a part of it, makes of a unit's events: SQL
// of a number, and of the condition that there is one ("1" for always).
type unitValue struct {
	y       string
	d       string // empty if there is none
	present string
	steps   []string
}

// value is what a metric makes of the events in a period.
func (p *plan) value(s *statement, doc *flags.Metric, t period) unitValue {
	switch doc.Type {
	case flags.MetricRatio:
		y := p.part(s, doc.Numerator.Type, &doc.Numerator.Measure, t, 0)
		d := p.part(s, doc.Denominator.Type, &doc.Denominator.Measure, t, 0)
		return unitValue{y: y.y, d: d.y, present: d.y + " > 0"}
	case flags.MetricFunnel:
		return funnelValue(s, doc.Funnel, t)
	case flags.MetricPercentile:
		sum := p.part(s, flags.MetricSum, &doc.Measure, t, 0)
		if ofEvents(doc) {
			sum.d = "toFloat64(" + countIf(s, &doc.Measure, t, true) + ")"
		}
		return sum
	}
	perDay := 0.0
	if doc.Cap != nil {
		perDay = doc.Cap.PerDay
	}
	return p.part(s, doc.Type, &doc.Measure, t, perDay)
}

// counts is the condition that an event counts for a measure.
func counts(s *statement, m *flags.Measure, t period) string {
	return "e.event = " + s.bind(m.Event) + " AND " + s.filters(m.Filters) + " AND " + t.condition()
}

func countIf(s *statement, m *flags.Measure, t period, withValue bool) string {
	c := counts(s, m, t)
	if withValue {
		c += " AND isNotNull(" + s.valueOf(m) + ")"
	}
	return "countIf(" + c + ")"
}

// part is what a measure makes of the events in a period.
func (p *plan) part(s *statement, kind flags.MetricType, m *flags.Measure, t period, perDay float64) unitValue {
	c := counts(s, m, t)
	v := s.valueOf(m)
	number := "ifNull(" + v + ", 0)"
	has := c + " AND isNotNull(" + v + ")"
	value := func(y string) unitValue { return unitValue{y: y, present: "1"} }
	if perDay > 0 {
		one := "toFloat64(1)"
		if kind == flags.MetricSum {
			one = number
		}
		return value(fmt.Sprintf("arraySum(a -> least(a, %s), sumMapIf([%s], [%s], %s).2)", s.number(perDay), dayOfEvent, one, c))
	}
	switch kind {
	case flags.MetricEventCount:
		return value("toFloat64(countIf(" + c + "))")
	case flags.MetricEventUser, flags.MetricRetention:
		return value("toFloat64(countIf(" + c + ") > 0)")
	case flags.MetricEventDAU:
		return value("uniqExactIf(" + dayOfEvent + ", " + c + ") / " + p.days(t))
	case flags.MetricSum:
		return value("sumIf(" + number + ", " + c + ")")
	case flags.MetricMean:
		n := "countIf(" + has + ")"
		return unitValue{y: "sumIf(" + number + ", " + c + ")", d: "toFloat64(" + n + ")", present: n + " > 0"}
	case flags.MetricCountDistinct:
		text := "if(e.value_text = '', ifNull(toString(e.value), ''), e.value_text)"
		if key := m.ValueKey(); key != "" {
			text = "e.metadata[" + s.bind(key) + "]"
		}
		return value("toFloat64(uniqExactIf(" + text + ", " + c + " AND " + text + " != ''))")
	case flags.MetricMin:
		return unitValue{y: "minIf(" + number + ", " + has + ")", present: "countIf(" + has + ") > 0"}
	case flags.MetricMax:
		return unitValue{y: "maxIf(" + number + ", " + has + ")", present: "countIf(" + has + ") > 0"}
	case flags.MetricLatest:
		return unitValue{y: "argMaxIf(" + number + ", (e.ts, toString(e.event_id)), " + has + ")", present: "countIf(" + has + ") > 0"}
	}
	return unitValue{y: "nan", present: "0"} // a type beyond this version
}

// funnelValue walks through the steps of each session, or of the unit: each step
// is the first of its events strictly after that of the step before.
func funnelValue(s *statement, f *flags.Funnel, t period) unitValue {
	session := "''"
	if f.SessionKey != "" {
		session = "e.metadata[" + s.bind(f.SessionKey) + "]"
	}
	lists := make([]string, len(f.Steps))
	for i, step := range f.Steps {
		c := counts(s, &flags.Measure{Event: step.Event, Filters: step.Filters}, t)
		if f.SessionKey != "" {
			c += " AND " + session + " != ''"
		}
		lists[i] = "groupArrayIf((" + session + ", toUnixTimestamp64Milli(e.ts)), " + c + ")"
	}
	steps := "[" + strings.Join(lists, ", ") + "]"
	// For every session that took the first step, how many steps it took.
	reached := "arrayMap(one -> arrayFold((seen, step) -> if(seen.3 AND arrayExists(h -> h.1 = one AND h.2 > seen.1, step), " +
		"(arrayMin(h -> h.2, arrayFilter(h -> h.1 = one AND h.2 > seen.1, step)), seen.2 + 1, true), (seen.1, seen.2, false)), " +
		steps + ", (toInt64(-1), toInt64(0), true)).2, arrayDistinct(arrayMap(h -> h.1, " + lists[0] + ")))"
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

// numbers are the slots of one metric, and what is in them for a unit without any
// event.
func (p *plan) numbers(s *statement, m *measured) (sql, idle []string) {
	now, before := periods(m.doc)
	v := p.value(s, m.doc, now)
	put := func(slot int, expression, without string) {
		if slot > 0 {
			sql, idle = append(sql, expression), append(idle, without)
		}
	}
	y, none := v.y, "0"
	if v.present != "1" {
		missing := "nan"
		if m.doc.MissingAsZero {
			missing = "0"
		}
		y, none = "if("+v.present+", "+v.y+", "+missing+")", missing
	}
	put(m.y, y, none)
	put(m.d, v.d, "0")
	if m.x > 0 {
		w := p.value(s, m.doc, before)
		covered := p.concerns(s, m.doc, before) + " > 0"
		x := w.y
		if w.present != "1" {
			x = "if(" + w.present + ", " + w.y + ", 0)"
		}
		put(m.x, "if("+covered+", "+x+", nan)", "nan")
		if m.xd > 0 {
			put(m.xd, "if("+w.present+", "+w.d+", 0)", "0")
		}
	}
	for _, step := range v.steps {
		put(m.steps, step, "0")
	}
	return sql, idle
}

// concerns counts the events of a period that a metric looks at.
func (p *plan) concerns(s *statement, doc *flags.Metric, t period) string {
	var all []string
	for _, one := range partsOf(doc) {
		all = append(all, "("+counts(s, &one.measure, t)+")")
	}
	return "countIf(" + strings.Join(all, " OR ") + ")"
}

// events are the names of all events that the metrics look at.
func (p *plan) events() []string {
	var all []string
	seen := map[string]bool{}
	for i := range p.metrics {
		for _, one := range partsOf(p.metrics[i].doc) {
			if name := one.measure.Event; !seen[name] {
				seen[name] = true
				all = append(all, name)
			}
		}
	}
	return all
}

// unitsSQL are the units whose keys are in a range.
func (p *plan) unitsSQL(s *statement, r keyRange) string {
	return "SELECT unit_key, group_index, toUnixTimestamp64Milli(first_exposure) AS first, excluded\n" +
		"FROM experiment_units(project = {project:String}, experiment = {experiment:String})\n" +
		"WHERE " + r.condition("unit_key")
}

// perUnit is the statement for the units whose keys are in a range: a row each,
// with unit_key, group_index, first, excluded, values and samples.
func (p *plan) perUnit(s *statement, r keyRange) string {
	units := p.unitsSQL(s, r)
	if len(p.metrics) == 0 {
		return "SELECT unit_key, group_index, first, excluded, CAST([] AS Array(Float64)) AS values, CAST([] AS Array(Array(Float64))) AS samples\nFROM (\n" + units + "\n)"
	}
	var values, idle, samples []string
	for i := range p.metrics {
		m := &p.metrics[i]
		sql, without := p.numbers(s, m)
		values, idle = append(values, sql...), append(idle, without...)
		if m.sample > 0 {
			now, _ := periods(m.doc)
			v := s.valueOf(&m.doc.Measure)
			samples = append(samples, "groupArrayIf(ifNull("+v+", 0), "+counts(s, &m.doc.Measure, now)+" AND isNotNull("+v+"))")
		}
	}
	own := p.unitType == "userID" // such a unit is the primary one of every event that names it
	key, mine := "e.unit_key", r.condition("e.unit_key")
	if !own {
		unitType := s.bind(p.unitType)
		key = "if(e.unit_type = " + unitType + ", e.unit_key, xxHash64(concat(" + unitType + ", '\\x1f', e.unit_ids[" + unitType + "])))"
		mine = "(e.unit_type = " + unitType + " OR e.unit_ids[" + unitType + "] != '') AND " + r.condition("("+key+")")
	}
	return strings.Join([]string{
		"SELECT u.unit_key AS unit_key, u.group_index AS group_index, u.first AS first, u.excluded AS excluded,",
		"    if(v.hits > 0, v.values, CAST([" + strings.Join(idle, ", ") + "] AS Array(Float64))) AS values, v.samples AS samples",
		"FROM (\n" + units + "\n) AS u",
		"LEFT ANY JOIN (",
		"    SELECT u.unit_key AS unit_key, count() AS hits,",
		"        CAST([" + strings.Join(values, ",\n            ") + "] AS Array(Float64)) AS values,",
		"        CAST([" + strings.Join(samples, ", ") + "] AS Array(Array(Float64))) AS samples",
		"    FROM (",
		"        SELECT " + key + " AS unit_key, e.event AS event, e.ts AS ts, e.value AS value, e.value_text AS value_text, e.metadata AS metadata, e.event_id AS event_id",
		"        FROM events AS e FINAL",
		"        WHERE e.project = {project:String} AND e.event IN " + s.list(p.events()) + " AND e.environment = " + s.bind(p.environment),
		"          AND e.ts < fromUnixTimestamp64Milli(" + s.integer(p.end.UnixMilli()) + ", 'UTC')",
		"          AND " + mine,
		"    ) AS e",
		"    INNER JOIN (\n" + units + " AND excluded = ''\n) AS u ON e.unit_key = u.unit_key",
		"    GROUP BY u.unit_key",
		") AS v ON u.unit_key = v.unit_key",
	}, "\n")
}
