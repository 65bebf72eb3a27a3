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
// Metrics share what is read: every event is looked up once among the units, and
// what several metrics need of it is made once ([gathering]). The statement is
// made of fixed pieces, and of what people chose (names, keys, values, levels)
// only as bound parameters.
type plan struct {
	project     string
	experiment  string // name
	environment string
	unitType    string
	start       time.Time // no unit is first exposed before it; zero = not started
	end         time.Time // facts count before it: when the experiment ended, or now
	metrics     []measured
	slots       int            // numbers of a unit
	samples     int            // lists of numbers of a unit
	zone        *time.Location // in which days begin and end
	definitions string

	by, periods *slicing // what is asked beside the whole; nil for nothing

	left *leftovers // of those that its maker will drop
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

// day is the length of a day of windows and retention. Calendar days are those of
// the project's zone.
const day = 24 * time.Hour

// newPlan plans the analysis of an experiment as state defines it, with the
// facts before now.
func newPlan(state *flags.State, entity flags.Entity, doc *flags.Experiment, now time.Time) *plan {
	p := &plan{
		project: state.Project(), experiment: entity.Name,
		environment: warehouse.DefaultEnvironment, unitType: doc.UnitType, end: now, zone: zoneOf(state), left: &leftovers{},
	}
	if doc.StartedAt != nil {
		p.start = *doc.StartedAt
	}
	ended := doc.EndedAt != nil && !doc.EndedAt.After(now)
	if ended {
		p.end = *doc.EndedAt
	}
	p.end = p.end.UTC().Truncate(time.Millisecond)
	versions := []string{fmt.Sprint(entity.Seq)}
	if zone := zoneVersion(state); zone != "" {
		versions = append(versions, zone)
	}
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
func (p *plan) days(s *statement, t period) string {
	until := fmt.Sprint(p.end.UnixMilli())
	if !t.open {
		until = fmt.Sprintf("least(u.first + %d, %s)", t.until.Milliseconds(), until)
	}
	return fmt.Sprintf("greatest(%s - %s + 1, 1)", s.dayOfMilli(until+" - 1", p.zone), s.dayOfMilli(fmt.Sprintf("u.first + %d", t.from.Milliseconds()), p.zone))
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
