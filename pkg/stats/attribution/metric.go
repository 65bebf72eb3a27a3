package attribution

import (
	"slices"
	"time"
)

// An Event is a fact about a unit that metrics count.
type Event struct {
	ID         string // the same fact twice has the same ID; empty never repeats
	Unit       string
	Name       string
	Time       time.Time
	Value      float64
	HasValue   bool // events without a value count as events, and are skipped by sums
	Properties map[string]string
}

// A Type is how a unit's events become its value.
type Type string

// The types.
const (
	Count         Type = "event_count"    // number of events
	Participation Type = "event_user"     // 1 with an event, else 0
	ActiveDays    Type = "event_dau"      // share of the unit's days that have an event
	Sum           Type = "sum"            // sum of values; no event: 0
	Min           Type = "min"            // smallest value; no value: unit absent
	Max           Type = "max"            // largest value; no value: unit absent
	Latest        Type = "latest"         // last value; no value: unit absent
	CountDistinct Type = "count_distinct" // distinct values of a property
	Mean          Type = "mean"           // Σ values over number of events
	Ratio         Type = "ratio"          // events named Event over events named Denominator
	Funnel        Type = "funnel"         // ordered steps; last over first
	Retention     Type = "retention"      // 1 with an event on day Day, for Days days
)

// day is the length of a day of windows and retention; calendar days are asked
// for by [ActiveDays] only.
const day = 24 * time.Hour

// A Metric is a definition of unit values.
type Metric struct {
	Type        Type
	Event       string
	Denominator string   // of Ratio
	Property    string   // of CountDistinct
	Steps       []string // of Funnel
	// FromExposure makes being exposed the first step of a funnel.
	FromExposure bool
	// Completion bounds the time from a funnel's first step to its last.
	Completion time.Duration
	Day, Days  int // of Retention
	// Window is how long after enrolment events count; zero means to the end.
	Window time.Duration
	// MaturedOnly leaves out units whose window has not passed. Retention always
	// does.
	MaturedOnly bool
	// MissingAsZero keeps units without a value for Min, Max and Latest.
	MissingAsZero bool
	// Covariate is how long before enrolment the covariate of CUPED is taken;
	// zero means none.
	Covariate time.Duration
}

// isRatio reports whether a unit has a numerator and a denominator.
func (m Metric) isRatio() bool { return m.Type == Mean || m.Type == Ratio || m.Type == Funnel }

// horizon is how much time after enrolment a unit's value needs; zero if it has no
// end of its own.
func (m Metric) horizon() time.Duration {
	if m.Type == Retention {
		return time.Duration(m.Day+m.Days) * day
	}
	return m.Window
}

// period returns the half-open range in which a unit's events count.
func (m Metric) period(enrolled, end time.Time) (from, to time.Time) {
	from, to = enrolled, end
	if m.Type == Retention {
		from = enrolled.Add(time.Duration(m.Day) * day)
	}
	if h := m.horizon(); h > 0 && enrolled.Add(h).Before(end) {
		to = enrolled.Add(h)
	}
	return from, to
}

// A value is what one unit contributes.
type value struct {
	y, d    float64
	present bool
	steps   int // steps of a funnel that were reached
}

// of returns the value of one unit from its events in [from, to), sorted by time.
func (m Metric) of(events []Event, from, to time.Time, zone *time.Location) value {
	named := func(name string) []Event {
		var out []Event
		for _, e := range events {
			if e.Name == name && !e.Time.Before(from) && e.Time.Before(to) {
				out = append(out, e)
			}
		}
		return out
	}
	mine := named(m.Event)
	v := value{present: true, d: 1}
	switch m.Type {
	case Count:
		v.y = float64(len(mine))
	case Participation, Retention:
		v.y = indicator(len(mine) > 0)
	case ActiveDays:
		v.y = activeShare(mine, from, to, zone)
	case CountDistinct:
		seen := map[string]bool{}
		for _, e := range mine {
			if p, ok := e.Properties[m.Property]; ok {
				seen[p] = true
			}
		}
		v.y = float64(len(seen))
	case Ratio:
		v.y, v.d = float64(len(mine)), float64(len(named(m.Denominator)))
		v.present = v.d > 0
	case Funnel:
		v.steps = m.reached(named)
		v.y, v.d = indicator(v.steps == len(m.Steps)), indicator(v.steps > 0 || m.FromExposure)
		v.present = v.d > 0
	default:
		v.y, v.d, v.present = m.aggregate(mine)
	}
	return v
}

// aggregate is of the types that look at values; events without one are skipped.
func (m Metric) aggregate(events []Event) (y, d float64, present bool) {
	n := 0.0
	for _, e := range events {
		if !e.HasValue {
			continue
		}
		switch {
		case m.Type == Sum, m.Type == Mean:
			y += e.Value
		case n == 0, m.Type == Latest:
			y = e.Value
		case m.Type == Min:
			y = min(y, e.Value)
		case m.Type == Max:
			y = max(y, e.Value)
		}
		n++
	}
	switch m.Type {
	case Sum:
		return y, 1, true
	case Mean:
		return y, n, n > 0
	}
	return y, 1, n > 0 || m.MissingAsZero
}

// reached returns how many steps of a funnel a unit took: each by the first
// matching event strictly after that of the step before.
func (m Metric) reached(named func(string) []Event) int {
	var first, last time.Time
	for i, step := range m.Steps {
		found := slices.IndexFunc(named(step), func(e Event) bool { return i == 0 || e.Time.After(last) })
		if found < 0 {
			return i
		}
		last = named(step)[found].Time
		if i == 0 {
			first = last
		}
		if m.Completion > 0 && !last.Before(first.Add(m.Completion)) {
			return i
		}
	}
	return len(m.Steps)
}

// activeShare returns the share of the calendar days of [from, to) that have an
// event.
func activeShare(events []Event, from, to time.Time, zone *time.Location) float64 {
	days := map[int64]bool{}
	for _, e := range events {
		days[dayNumber(e.Time, zone)] = true
	}
	total := dayNumber(to.Add(-time.Nanosecond), zone) - dayNumber(from, zone) + 1
	if total <= 0 {
		return 0
	}
	return float64(len(days)) / float64(total)
}

// dayNumber counts calendar days in a time zone.
func dayNumber(t time.Time, zone *time.Location) int64 {
	year, month, dayOfMonth := t.In(zone).Date()
	return time.Date(year, month, dayOfMonth, 0, 0, 0, 0, time.UTC).Unix() / int64(day/time.Second)
}

func indicator(yes bool) float64 {
	if yes {
		return 1
	}
	return 0
}
