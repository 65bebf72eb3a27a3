package results

import (
	"fmt"
	"strings"
	"time"

	"github.com/sluice-flags/sluice/pkg/flags"
)

// A gathering is what is made of the units' events before it is made into
// values: aggregates, each made once however many metrics need it.
//
// It has a branch per event name, since facts are sorted by it and then by unit:
// a branch reads its events in the order in which it groups them, only those
// columns that its aggregates need, and asks no row for its name.
type gathering struct {
	*statement
	branches []branch
	branchOf map[string]int    // by event
	made     map[string]string // names of aggregates, by branch and text
}

type branch struct {
	events     []string
	aggregates []string
	from       time.Duration // earliest start of a period that was asked for, from the first exposure
}

// maxBranches bounds the statement where there are many events: beyond it they
// share branches, in which rows are asked for their names.
const maxBranches = 8

func newGathering(s *statement, events []string) *gathering {
	g := &gathering{statement: s, branchOf: map[string]int{}, made: map[string]string{}}
	g.branches = make([]branch, min(len(events), maxBranches))
	for i, event := range events {
		b := i % maxBranches
		g.branchOf[event] = b
		g.branches[b].events = append(g.branches[b].events, event)
	}
	return g
}

// aggregate returns the name under which an aggregate of a unit's events stands:
// function, with a condition at its %s, over those that count for a measure in a
// period and meet the other conditions.
func (g *gathering) aggregate(m *flags.Measure, t period, function string, and ...string) string {
	i := g.branchOf[m.Event]
	b := &g.branches[i]
	all := []string{t.condition()}
	if len(b.events) > 1 {
		all = append(all, "e.event = "+g.bind(m.Event))
	}
	if len(m.Filters) > 0 {
		all = append(all, g.filters(m.Filters))
	}
	all = append(all, and...)
	b.from = min(b.from, t.from)
	text := strings.Replace(function, "%s", strings.Join(all, " AND "), 1)
	key := fmt.Sprint(i, " ", text)
	name := g.made[key]
	if name == "" {
		name = fmt.Sprintf("e%d_%d", i, len(b.aggregates))
		g.made[key] = name
		b.aggregates = append(b.aggregates, text+" AS "+name)
	}
	return name
}

// hasValue is the condition that an event carries a number for a measure.
func (g *gathering) hasValue(m *flags.Measure) string { return "isNotNull(" + g.valueOf(m) + ")" }

// concerns counts the events of a period that a metric looks at; those that
// several of its parts look at more than once.
func (g *gathering) concerns(doc *flags.Metric, t period) string {
	var all []string
	for _, one := range partsOf(doc) {
		all = append(all, g.aggregate(&one.measure, t, "countIf(%s)"))
	}
	return strings.Join(all, " + ")
}

// keptOnly are the units of a statement that are not excluded.
func keptOnly(units string) string {
	return "SELECT unit_key, first FROM (\n" + units + "\n) WHERE excluded = ''"
}

// unitsSQL asks the view who takes part.
const unitsSQL = `SELECT unit_key, group_index, toUnixTimestamp64Milli(first_exposure) AS first, excluded
FROM experiment_units(project = {project:String}, experiment = {experiment:String})`

// perUnit is the statement for units, whose keys are in a range: a row each, with
// unit_key, group_index, first, excluded, values and samples.
func (p *plan) perUnit(s *statement, units string, r keyRange) string {
	g := newGathering(s, p.events())
	var values, samples []string
	for i := range p.metrics {
		m := &p.metrics[i]
		values = append(values, p.numbers(g, m)...)
		if m.sample > 0 {
			samples = append(samples, g.sample(m.doc))
		}
	}
	text := []string{
		"SELECT u.unit_key AS unit_key, u.group_index AS group_index, u.first AS first, u.excluded AS excluded,",
		"    CAST([" + strings.Join(values, ",\n        ") + "] AS Array(Float64)) AS values,",
		"    CAST([" + strings.Join(samples, ", ") + "] AS Array(Array(Float64))) AS samples",
		"FROM (\n" + units + "\n) AS u",
	}
	for i := range g.branches {
		name := fmt.Sprintf("e%d", i)
		text = append(text, "LEFT ANY JOIN (\n"+p.gather(g, &g.branches[i], units, r)+"\n) AS "+name+" ON u.unit_key = "+name+".unit_key")
	}
	return strings.Join(text, "\n")
}

// gather is the statement of a branch: a row for each unit with events of it.
func (p *plan) gather(g *gathering, b *branch, units string, r keyRange) string {
	key, mine := "e.unit_key", r.condition("e.unit_key")
	if p.unitType != flags.DefaultUnitType { // such a unit is the primary one of every event that names it
		var named string
		key, named = g.unitOf(p.unitType)
		mine = named + " AND " + r.condition("("+key+")")
	}
	which := "e.event IN " + g.list(b.events)
	if len(b.events) == 1 {
		which = "e.event = " + g.bind(b.events[0])
	}
	until := "e.ts < fromUnixTimestamp64Milli(" + g.integer(p.end.UnixMilli()) + ", 'UTC')"
	if !p.start.IsZero() {
		until += " AND e.ts >= fromUnixTimestamp64Milli(" + g.integer(p.start.Add(b.from).UnixMilli()) + ", 'UTC')"
	}
	return strings.Join([]string{
		"    SELECT e.unit_key AS unit_key,",
		"        " + strings.Join(b.aggregates, ",\n        "),
		"    FROM (",
		"        SELECT " + key + " AS unit_key, e.event AS event, e.ts AS ts, e.value AS value, e.value_text AS value_text, e.metadata AS metadata, e.event_id AS event_id",
		"        FROM events AS e FINAL",
		"        WHERE e.project = {project:String} AND " + which + " AND e.environment = " + g.bind(p.environment),
		"          AND " + until + " AND " + mine,
		"    ) AS e",
		"    LEFT SEMI JOIN (\n" + keptOnly(units) + "\n) AS u ON e.unit_key = u.unit_key",
		"    GROUP BY e.unit_key",
	}, "\n")
}
