package results

import (
	"slices"
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
	AsOf         time.Time  `json:"asOf"`  // facts that had been loaded by then are in it, and none from later on

	// How the corrected numbers and the decisions below were made.
	Method     Method           `json:"method"`
	Alpha      float64          `json:"alpha"`
	Tail       stats.Tail       `json:"tail"`
	Correction stats.Correction `json:"correction"`

	Groups   []Group           `json:"groups"`
	Excluded map[string]uint64 `json:"excluded"` // units seen but not analysed, by reason
	Checks
	Metrics []Metric `json:"metrics"`
	// Breakdown is the same, slice by slice; absent unless asked for.
	Breakdown *Breakdown `json:"breakdown,omitempty"`

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
	// N counts the units behind Mean: those of the group, or for a ratio those with
	// a denominator, or for a percentile of events the events.
	N           uint64          `json:"n"`
	Immature    uint64          `json:"immature,omitempty"`    // units whose window has not passed, and who are not in N
	Conversions *uint64         `json:"conversions,omitempty"` // units that did it, where Mean is a share
	Wilson      *stats.Interval `json:"wilson,omitempty"`      // of that share: the one to show for a few conversions
	Steps       []uint64        `json:"steps,omitempty"`       // units, or sessions, that reached each step of a funnel
	Caps        []Cap           `json:"caps,omitempty"`        // what values were limited to
	Total       stats.Optional  `json:"total"`                 // over all units; undefined for ratios and percentiles
	Mean        stats.Optional  `json:"mean"`                  // per unit; a share, a ratio or a percentile by the metric's type
	Variance    stats.Optional  `json:"variance"`              // of one unit
	// Line is the comparison with the control group, read in every way, and absent
	// in it. Its codes say why a number is missing.
	*stats.Line
	// Newcombe is the interval of the difference of two shares to show where few
	// units did, or did not.
	Newcombe *stats.Interval `json:"newcombe,omitempty"`
	// Pooled is the textbook's z-test of two shares, for who wants to compare with
	// that; decisions are by the comparison.
	Pooled *PooledTest `json:"pooled,omitempty"`
	// PreExperiment compares what the units did before their first exposure, which
	// no treatment can have changed; absent without a covariate.
	PreExperiment *stats.Bias `json:"preExperiment,omitempty"`
	// Impact is the difference as a total of a day; absent in the control group, and
	// of slices and periods.
	Impact *Impact `json:"impact,omitempty"`
	// Heterogeneity is of slices alone, and absent in the control group.
	Heterogeneity *Heterogeneity `json:"heterogeneity,omitempty"`
}

// A PooledTest compares two shares as if they had one variance.
type PooledTest struct {
	Z      stats.Optional `json:"z"`
	PValue stats.Optional `json:"pValue"`
}

// A Cap is a limit on the values of units, taken over all groups.
type Cap struct {
	Of    string         `json:"of"` // value, denominator, covariate or covariateDenominator
	At    stats.Optional `json:"at"`
	Units uint64         `json:"units"` // of this group that were above
}

// newReport does the arithmetic: it is a function of its arguments alone.
func newReport(state *flags.State, entity flags.Entity, f facts, o Options) Report {
	o = o.withDefaults()
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
		AsOf:         f.asOf,
		Method:       o.Method,
		Alpha:        o.Alpha,
		Tail:         o.Tail,
		Correction:   o.Correction,
		Excluded:     map[string]uint64{},
		Metrics:      []Metric{},
		Sequence:     f.sequences,
		SQL:          f.sql,
	}
	if f.topline.sql != "" {
		r.SQL = append(slices.Clone(f.sql), f.topline.sql)
	}
	r.Sequence.Definition = entity.Seq
	r.Groups = groups(doc)
	for _, u := range f.units {
		if u.excluded != reasonKept {
			r.Excluded[u.excluded] += u.units
		}
	}
	count(r.Groups, f.units)
	r.Checks = newChecks(r.Groups, r.Excluded, o.Periods, f)
	measured := metricsOf(state, doc)
	for _, m := range measured {
		if metric, ok := m.Doc.(*flags.Metric); ok {
			r.Metrics = append(r.Metrics, newMetric(m, metric, r.Groups, f.moments, o, len(measured)*(len(r.Groups)-1)))
		}
	}
	addImpacts(r.Metrics, measured, doc, r.Groups, f, o)
	decide(r.Metrics, o)
	if f.periods != nil && len(f.periods.slices) == len(r.Periods) {
		of := make([][]Group, len(r.Periods))
		for i := range of {
			of[i] = groups(doc)
			count(of[i], f.periods.slices[i].units)
		}
		for i, metrics := range slicedMetrics(state, doc, f.periods.slices, of, o, false) {
			r.Periods[i].Metrics = append([]Metric{}, metrics...)
		}
	}
	if f.by != nil {
		r.Breakdown = newBreakdown(state, doc, o.By, *f.by, o)
	}
	return r
}

// count puts units into their groups. Those of a group that the experiment does
// not have are in none.
func count(groups []Group, units []unitCount) {
	for _, u := range units {
		if int(u.group) >= len(groups) {
			continue // counted in the report's total, as unknown_group or for a reason that weighs more
		}
		g := &groups[u.group]
		g.Exposed += u.units
		if u.excluded == reasonKept {
			g.Units += u.units
		} else {
			g.Excluded[u.excluded] += u.units
		}
	}
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

// decide corrects the lines of a scorecard for each other, and says by the
// method asked for which of them are significant.
func decide(metrics []Metric, o Options) {
	var family []*stats.Line
	for i := range metrics {
		for _, g := range metrics[i].Groups {
			if g.Line != nil {
				family = append(family, g.Line)
			}
		}
	}
	if o.Method == Bayesian {
		for _, l := range family {
			believe(l, o)
		}
		return
	}
	lines := make([]stats.Line, len(family))
	for i, l := range family {
		lines[i] = *l
	}
	stats.Correct(lines, o.Correction, o.Alpha)
	for i, l := range family {
		*l = lines[i]
	}
}

// believe puts the posterior where decisions are read from: no p-value, the
// credible intervals, and a decision where one of them leaves out zero.
func believe(l *stats.Line, o Options) {
	l.CorrectedLift = l.Posterior.Credible
	l.CorrectedInterval = stats.NormalPosterior(l.Comparison, stats.BayesOptions{Alpha: o.Alpha, Prior: o.Prior}).Credible
	_, known := l.CorrectedInterval.Lower.Get()
	l.Significant = known && !l.CorrectedInterval.Contains(0)
}
