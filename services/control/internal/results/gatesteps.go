package results

import (
	"fmt"
	"iter"
	"slices"
	"strings"
	"time"

	"github.com/sluice-flags/sluice/internal/warehouse"
	"github.com/sluice-flags/sluice/pkg/flags"
)

// A gateStep is a stretch of time during which a rule of a gate let the same
// part of its units pass: an experiment of two groups that nobody had to set up.
type gateStep struct {
	rule       string // id
	name       string
	percentage float64
	step       int
	ruleID     string // as in exposures
	unitType   string
	salt       string
	start      time.Time
	end        *time.Time // nil while it runs
}

// gateSteps finds the steps of a gate in its versions, oldest first. A step
// runs from the version that made it to the one that changed its percentage,
// removed it, launched the gate or turned it off in the environment that is
// analysed. Other conditions do not end it: units that came stay. A step that
// begins again, or whose units are drawn anew, forgets what was before.
func gateSteps(versions iter.Seq2[flags.Entity, error], analysed func(environment string) bool) ([]gateStep, error) {
	var steps []gateStep
	for v, err := range versions {
		if err != nil {
			return nil, err
		}
		at := time.UnixMilli(v.Time).UTC()
		running := partialRules(v, analysed)
		for i := range steps {
			if s := &steps[i]; s.end == nil && !slices.ContainsFunc(running, s.goesOn) {
				s.end = new(at)
			}
		}
		for _, r := range running {
			i := slices.IndexFunc(steps, func(s gateStep) bool { return s.ruleID == r.ruleID })
			switch {
			case i < 0:
				r.start = at
				steps = append(steps, r)
			case steps[i].end != nil:
				r.start = at
				steps[i] = r
			default:
				steps[i].name = r.name
			}
		}
	}
	slices.SortStableFunc(steps, func(a, b gateStep) int { return b.start.Compare(a.start) })
	return steps, nil
}

// goesOn reports whether r is s still.
func (s *gateStep) goesOn(r gateStep) bool {
	return s.ruleID == r.ruleID && s.unitType == r.unitType && s.salt == r.salt
}

// partialRules are the rules of one version that let a part of their units pass,
// as steps without times.
func partialRules(v flags.Entity, analysed func(environment string) bool) []gateStep {
	g, ok := v.Doc.(*flags.Gate)
	if !ok || v.Deleted || g.Status != flags.StatusInProgress || slices.ContainsFunc(g.OffIn, analysed) {
		return nil
	}
	var running []gateStep
	for i := range g.Rules {
		r := &g.Rules[i]
		here := r.Environments == nil || slices.ContainsFunc(r.Environments, analysed)
		if r.Disabled || !here || !(r.PassPercentage > 0 && r.PassPercentage < 100) {
			continue
		}
		running = append(running, gateStep{
			rule: r.ID, name: r.Name, percentage: r.PassPercentage, step: max(r.Step, 1), ruleID: r.WireID(), unitType: g.UnitType, salt: r.Salt,
		})
	}
	return running
}

// study names the step among experiments. No name of an experiment has a slash.
func (s *gateStep) study(gate string) string {
	return strings.Join([]string{"gate", gate, s.rule, fmt.Sprint(s.step)}, "/")
}

// Names of the groups of a step, by their index.
const (
	groupFail = "Fail" // control
	groupPass = "Pass"
)

// experiment is the experiment that a step is, about all metrics of the project
// that are about its units.
func (s *gateStep) experiment(state *flags.State, gate flags.Entity) (flags.Entity, *flags.Experiment) {
	doc := &flags.Experiment{
		ID: gate.Ref.ID, Name: s.study(gate.Name), Status: flags.ExperimentRunning, StartedAt: &s.start, EndedAt: s.end,
		UnitType: s.unitType, Allocation: 100,
		Groups: []flags.Group{
			{ID: "fail", Name: groupFail, Share: 100 - s.percentage, Control: true},
			{ID: "pass", Name: groupPass, Share: s.percentage},
		},
	}
	if s.end != nil {
		doc.Status = flags.ExperimentDecided
	}
	for e := range state.All(flags.KindMetric) {
		if m, ok := e.Doc.(*flags.Metric); ok && m.Status != flags.StatusArchived && (m.UnitType == "" || m.UnitType == s.unitType) {
			doc.Metrics = append(doc.Metrics, e.Ref.ID)
		}
	}
	gate.Name, gate.Doc = doc.Name, doc
	return gate, doc
}

// row is how the warehouse knows the step.
func (s *gateStep) row(state *flags.State, gate flags.Entity) warehouse.ExperimentRow {
	study, doc := s.experiment(state, gate)
	row := experimentRow(state, study, doc)
	row.Version = uint64(state.Time()) // metrics come and go without the gate
	row.Gate = &warehouse.GateRow{Gate: gate.Name, Rule: s.rule, Step: s.step, RuleID: s.ruleID}
	return row
}
