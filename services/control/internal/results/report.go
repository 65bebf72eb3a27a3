package results

import (
	"time"

	"github.com/sluice-flags/sluice/internal/warehouse"
	"github.com/sluice-flags/sluice/pkg/flags"
	"github.com/sluice-flags/sluice/pkg/stats"
)

// A Report says what an experiment did to its metrics.
type Report struct {
	Project      string     `json:"project"`
	Experiment   string     `json:"experiment"`
	ExperimentID string     `json:"experimentId"`
	Status       string     `json:"status"`
	Environment  string     `json:"environment"` // whose facts count
	UnitType     string     `json:"unitType"`
	Start        *time.Time `json:"start"` // facts count from here; null if it has not started
	End          *time.Time `json:"end"`   // to here; null while it runs

	Groups   []Group           `json:"groups"`
	Excluded map[string]uint64 `json:"excluded"` // units seen but not analysed, by reason
	SRM      stats.SRMResult   `json:"srm"`
	Metrics  []Metric          `json:"metrics"`

	Sequence SequenceRange `json:"sequence"`
	SQL      []string      `json:"sql"` // the statements behind the numbers, to be run by anyone
}

// SequenceRange says which versions of the project a report rests on.
type SequenceRange struct {
	First      uint64 `json:"first"`      // lowest version that an exposure was decided by; 0 if none says
	Last       uint64 `json:"last"`       // highest
	Definition uint64 `json:"definition"` // version of the experiment that says how to count
}

// A Group is one arm of the experiment.
type Group struct {
	Index   int     `json:"index"`
	ID      string  `json:"id"`
	Name    string  `json:"name"`
	Control bool    `json:"control"` // the one that the others are compared with
	Share   float64 `json:"share"`   // percentage of the units that it should have

	Exposed  uint64            `json:"exposed"`  // units seen in this group first
	Units    uint64            `json:"units"`    // those of them that are analysed
	Excluded map[string]uint64 `json:"excluded"` // the others, by reason: override, crossover
}

// reasonKept marks the units that are analysed. The view experiment_units names
// the reasons for leaving others out; those of unknown_group, whose first
// exposure names a group that the experiment does not have, belong to none of
// its groups and are only counted in the report's total.
const reasonKept = ""

// A Metric is one metric's outcome in every group.
type Metric struct {
	Name      string        `json:"name"`
	ID        string        `json:"id"`
	Type      string        `json:"type"`
	Direction string        `json:"direction"`
	Groups    []MetricGroup `json:"groups"` // as Report.Groups
}

// A MetricGroup is one metric in one group.
type MetricGroup struct {
	Group string `json:"group"`
	// N counts the units behind Mean: those of the group, or for a mean per event
	// those with an event.
	N           uint64         `json:"n"`
	Conversions *uint64        `json:"conversions,omitempty"` // units that did it, for type event_user
	Total       stats.Optional `json:"total"`                 // over all units; undefined for a mean
	Mean        stats.Optional `json:"mean"`                  // per unit, a share for event_user, per event for mean
	Variance    stats.Optional `json:"variance"`              // of one unit
	// Comparison is with the control group, and absent in it. Its codes say why a
	// number is missing.
	Comparison *stats.Comparison `json:"comparison,omitempty"`
}

// newReport does the arithmetic: it is a function of its arguments alone.
func newReport(state *flags.State, entity flags.Entity, f facts) Report {
	doc, _ := entity.Doc.(*flags.Experiment)
	r := Report{
		Project:      state.Project(),
		Experiment:   entity.Name,
		ExperimentID: entity.Ref.ID,
		Status:       string(doc.Status),
		Environment:  warehouse.DefaultEnvironment,
		UnitType:     doc.UnitType,
		Start:        doc.StartedAt,
		End:          doc.EndedAt,
		Excluded:     map[string]uint64{},
		Metrics:      []Metric{},
		Sequence:     f.sequences,
		SQL:          f.sql,
	}
	r.Sequence.Definition = entity.Seq
	r.Groups = groups(doc)
	for _, u := range f.units {
		if u.excluded != reasonKept {
			r.Excluded[u.excluded] += u.units
		}
		if int(u.group) >= len(r.Groups) {
			continue // counted above, as unknown_group or for a reason that weighs more
		}
		g := &r.Groups[u.group]
		g.Exposed += u.units
		if u.excluded == reasonKept {
			g.Units += u.units
		} else {
			g.Excluded[u.excluded] += u.units
		}
	}
	r.SRM = ratioCheck(r.Groups)
	for _, m := range metricsOf(state, doc) {
		if metric, ok := m.Doc.(*flags.Metric); ok {
			r.Metrics = append(r.Metrics, newMetric(m, metric, r.Groups, f.moments))
		}
	}
	return r
}

func groups(doc *flags.Experiment) []Group {
	all := make([]Group, len(doc.Groups))
	control := controlOf(doc)
	for i, g := range doc.Groups {
		all[i] = Group{Index: i, ID: g.ID, Name: g.Name, Share: g.Share, Control: i == control, Excluded: map[string]uint64{}}
	}
	return all
}

// controlOf returns the index of the baseline: the group marked so, else the first.
func controlOf(doc *flags.Experiment) int {
	for i, g := range doc.Groups {
		if g.Control {
			return i
		}
	}
	return 0
}

func ratioCheck(groups []Group) stats.SRMResult {
	units, shares := make([]uint64, len(groups)), make([]float64, len(groups))
	for i, g := range groups {
		units[i], shares[i] = g.Units, g.Share
	}
	return stats.SRM(units, shares)
}

func newMetric(entity flags.Entity, doc *flags.Metric, groups []Group, all []moments) Metric {
	m := Metric{Name: entity.Name, ID: entity.Ref.ID, Type: string(doc.Type), Direction: string(doc.Direction)}
	of := make([]moments, len(groups)) // zero for a group where nobody did anything
	for _, x := range all {
		if x.metric == entity.Name && int(x.group) < len(groups) {
			of[x.group] = x
		}
	}
	switch doc.Type {
	case flags.MetricEventUser:
		m.Groups = compare(groups, of, proportion)
		for i := range m.Groups {
			m.Groups[i].Conversions = new(of[i].units)
		}
	case flags.MetricMean:
		m.Groups = compare(groups, of, ratio)
	default:
		m.Groups = compare(groups, of, perUnit)
	}
	if doc.Type != flags.MetricMean {
		for i := range m.Groups {
			m.Groups[i].Total = stats.Defined(of[i].mean * float64(of[i].units))
		}
	}
	return m
}

func proportion(g Group, m moments) stats.Proportion {
	return stats.Proportion{N: max(g.Units, m.units), Successes: m.units}
}

// perUnit adds the units that did nothing, which the warehouse does not list.
// A unit that came between two questions may be in the later answer alone.
func perUnit(g Group, m moments) stats.Moments {
	idle := max(g.Units, m.units) - m.units
	return stats.Moments{N: m.units, Mean: m.mean, M2: m.m2}.Merge(stats.Moments{N: idle})
}

func ratio(_ Group, m moments) stats.Ratio {
	return stats.Ratio{Pair: stats.Pair{N: m.units, MeanY: m.mean, MeanX: m.weightMean, M2Y: m.m2, M2X: m.weightM2, CXY: m.common}}
}

// compare brings each group's moments into the form that its metric type is
// tested in, and tests it against the control group.
func compare[A stats.Arm](groups []Group, of []moments, arm func(Group, moments) A) []MetricGroup {
	arms := make([]A, len(groups))
	var control A
	for i, g := range groups {
		arms[i] = arm(g, of[i])
		if g.Control {
			control = arms[i]
		}
	}
	out := make([]MetricGroup, len(groups))
	for i, g := range groups {
		// The comparison with itself boils the control down as the others are.
		c := stats.Compare(control, arms[i], stats.Options{})
		out[i] = MetricGroup{Group: g.Name, N: c.Treatment.N, Mean: c.Treatment.Value, Variance: c.Treatment.Variance}
		if !g.Control {
			out[i].Comparison = &c
		}
	}
	return out
}
