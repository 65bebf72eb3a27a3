package attribution

import (
	"cmp"
	"maps"
	"slices"
	"time"

	"github.com/sluice-flags/sluice/pkg/stats"
)

// A Study is the frame of an analysis.
type Study struct {
	Start, End time.Time // exposures and events count in [Start, End)
	Now        time.Time // units mature against the earlier of Now and End; zero means End
	Policy     Policy    // zero means Exclude
	Zone       *time.Location
}

// A Group is what the units of one group come to for one metric.
type Group struct {
	Units uint64 // enrolled and not excluded
	// Values describes unit values with their covariate, for metrics that are not
	// ratios.
	Values stats.Covaried
	// Ratio describes numerator and denominator, and the same before enrolment, of
	// the units whose denominator is not zero.
	Ratio stats.RatioCovaried
	// Steps counts the units that reached each step of a funnel.
	Steps []uint64
}

// A Result is what exposures and events come to. For each group, units plus
// exclusions are all units that were exposed to it first; units that saw several
// groups in the same instant are counted under the empty name.
type Result struct {
	Groups     map[string]Group
	Excluded   map[Exclusion]map[string]uint64
	Crossovers uint64 // units that saw more than one group, excluded or not
	Dropped    uint64 // exposures without a unit
}

// Enrol returns the enrolment of every unit that was exposed within the study,
// and the number of exposures that named no unit.
func (s Study) Enrol(exposures []Exposure) (enrolled map[string]Enrolment, dropped uint64) {
	enrolled = map[string]Enrolment{}
	for _, x := range exposures {
		switch {
		case x.Time.Before(s.Start) || !x.Time.Before(s.End):
		case x.Unit == "":
			dropped++
		default:
			if e := enrolled[x.Unit].Observe(x); len(e.Groups) > 0 {
				enrolled[x.Unit] = e
			}
		}
	}
	return enrolled, dropped
}

// Analyze attributes events to groups by each unit's enrolment.
func (s Study) Analyze(exposures []Exposure, events []Event, m Metric) Result {
	if s.Zone == nil {
		s.Zone = time.UTC
	}
	enrolled, dropped := s.Enrol(exposures)
	result := Result{
		Groups: map[string]Group{}, Excluded: map[Exclusion]map[string]uint64{}, Dropped: dropped,
	}
	byUnit := perUnit(events)
	// In a fixed order, so that sums round alike however facts arrived.
	for _, unit := range slices.Sorted(maps.Keys(enrolled)) {
		e := enrolled[unit]
		if e.crossed() {
			result.Crossovers++
		}
		why := e.exclusion(s.Policy)
		if why == Kept && s.immature(e, m) {
			why = Immature
		}
		if why != Kept {
			if result.Excluded[why] == nil {
				result.Excluded[why] = map[string]uint64{}
			}
			result.Excluded[why][e.group()]++
			continue
		}
		g := result.Groups[e.group()]
		g.add(s, m, e.At, byUnit[unit])
		result.Groups[e.group()] = g
	}
	return result
}

// immature reports whether a unit's window reaches past what is known.
func (s Study) immature(e Enrolment, m Metric) bool {
	if !m.MaturedOnly && m.Type != Retention {
		return false
	}
	known := s.End
	if !s.Now.IsZero() && s.Now.Before(known) {
		known = s.Now
	}
	return e.At.Add(m.horizon()).After(known)
}

// add puts one unit in.
func (g *Group) add(s Study, m Metric, enrolled time.Time, events []Event) {
	g.Units++
	from, to := m.period(enrolled, s.End)
	now := m.of(events, from, to, s.Zone)
	if m.Type == Funnel {
		g.Steps = append(g.Steps, make([]uint64, len(m.Steps)-len(g.Steps))...)
		for i := range now.steps {
			g.Steps[i]++
		}
	}
	if !now.present {
		return
	}
	var before value
	covered := false
	if m.Covariate > 0 {
		start := enrolled.Add(-m.Covariate)
		before = m.of(events, start, enrolled, s.Zone)
		covered = slices.ContainsFunc(events, func(e Event) bool {
			return m.concerns(e) && !e.Time.Before(start) && e.Time.Before(enrolled)
		})
		if !before.present {
			before = value{}
		}
	}
	if m.isRatio() {
		g.Ratio.Add([4]float64{now.y, now.d, before.y, before.d}, covered)
		return
	}
	g.Values.Add(now.y, before.y)
	if covered {
		g.Values.WithCovariate++
	}
}

// concerns reports whether a metric looks at an event.
func (m Metric) concerns(e Event) bool {
	return e.Name == m.Event || m.Type == Ratio && e.Name == m.Denominator ||
		m.Type == Funnel && slices.Contains(m.Steps, e.Name)
}

// perUnit returns each unit's events by time, without repetitions. Events without
// a unit belong to nobody.
func perUnit(events []Event) map[string][]Event {
	out := map[string][]Event{}
	seen := map[string]bool{}
	for _, e := range events {
		if e.Unit == "" || e.ID != "" && seen[e.ID] {
			continue
		}
		if e.ID != "" {
			seen[e.ID] = true
		}
		out[e.Unit] = append(out[e.Unit], e)
	}
	for _, list := range out {
		// Ties are broken by content, not by arrival.
		slices.SortFunc(list, func(a, b Event) int {
			return cmp.Or(a.Time.Compare(b.Time), cmp.Compare(a.ID, b.ID), cmp.Compare(a.Value, b.Value))
		})
	}
	return out
}
