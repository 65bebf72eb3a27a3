package results

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"
	"strings"
	"sync"

	"github.com/ClickHouse/clickhouse-go/v2"

	"github.com/sluice-flags/sluice/internal/warehouse"
	"github.com/sluice-flags/sluice/pkg/flags"
)

// ErrUnknownGate is returned for a name that the project does not have.
var ErrUnknownGate = errors.New("no such gate")

// ErrUnknownStep is returned for a rule or a number that no step of the gate has;
// the error names those that there are.
var ErrUnknownStep = errors.New("no such step of the gate")

// A History yields an entity as each change left it, oldest first.
type History func(ctx context.Context, project string, ref flags.Ref) iter.Seq2[flags.Entity, error]

// Gates is a [Service] that also reports on gates. When a step of a rule began
// and ended is in no state but in the history of the gate. Its methods may be
// called from many goroutines.
type Gates struct {
	*Service
	history History

	mu   sync.Mutex
	seen map[string]*gateMirror // by project
}

// gateMirror is which steps of a project's gates the warehouse has.
type gateMirror struct {
	mirror
	steps map[flags.Ref][]gateStep
}

// NewGates makes a service over another, and over the history of definitions.
func NewGates(s *Service, history History) *Gates {
	return &Gates{Service: s, history: history, seen: map[string]*gateMirror{}}
}

// A GateReport says what the rules of a gate that let a part of their units pass
// did to the metrics of the project: Pass against Fail, step by step.
type GateReport struct {
	Project string     `json:"project"`
	Gate    string     `json:"gate"`
	GateID  string     `json:"gateId"`
	Status  string     `json:"status"`
	Steps   []GateStep `json:"steps"` // the newest first; none if the gate never had a partial rollout
}

// A GateStep is the report of one step. Its experiment is the name that the
// warehouse's views know it by.
type GateStep struct {
	Rule       string  `json:"rule"` // id
	RuleName   string  `json:"ruleName,omitempty"`
	Percentage float64 `json:"percentage"`
	Step       int     `json:"step"`
	RuleID     string  `json:"ruleId"` // as in exposures
	Report
}

// GateOptions choose steps; the zero value means all.
type GateOptions struct {
	Options
	Rule string // id of a rule
	Step int    // number of a step
}

func (o GateOptions) chooses(s gateStep) bool {
	return (o.Rule == "" || o.Rule == s.rule) && (o.Step == 0 || o.Step == s.step)
}

// listed says in words which steps there are.
func listed(steps []gateStep) string {
	const most = 20
	var all []string
	for i, s := range steps {
		if i == most {
			all = append(all, fmt.Sprintf("%d more", len(steps)-most))
			break
		}
		all = append(all, fmt.Sprintf("rule=%s&step=%d", s.rule, s.step))
	}
	if len(all) == 0 {
		return "none: no rule of it ever let a part of its units pass"
	}
	return strings.Join(all, ", ")
}

// Gate reports on one gate, by its name or id, as [Service.Experiment] does on an
// experiment. Besides that one's errors it returns [ErrUnknownGate] and [ErrUnknownStep].
func (g *Gates) Gate(ctx context.Context, state *flags.State, gate string, o GateOptions) (GateReport, error) {
	entity, ok := state.Find(flags.KindGate, gate)
	if !ok {
		return GateReport{}, fmt.Errorf("%w: %q", ErrUnknownGate, gate)
	}
	doc, ok := entity.Doc.(*flags.Gate)
	if !ok {
		return GateReport{}, fmt.Errorf("%w: %q is beyond this version", ErrUnknownGate, gate)
	}
	if err := g.Mirror(ctx, state); err != nil {
		return GateReport{}, err
	}
	steps, err := g.steps(ctx, state, entity)
	if err != nil {
		return GateReport{}, err
	}
	if !slices.ContainsFunc(steps, o.chooses) && (o.Rule != "" || o.Step != 0) {
		return GateReport{}, fmt.Errorf("%w: it has %s", ErrUnknownStep, listed(steps))
	}
	r := GateReport{Project: state.Project(), Gate: entity.Name, GateID: entity.Ref.ID, Status: string(doc.Status), Steps: []GateStep{}}
	for i := range steps {
		s := &steps[i]
		if !o.chooses(*s) {
			continue
		}
		as, experiment := s.experiment(state, entity)
		study, err := g.study(ctx, state, as, experiment)
		if err != nil {
			return GateReport{}, err
		}
		report, err := g.report(ctx, study, o.Options)
		if err != nil {
			return GateReport{}, err
		}
		if report.Sequence.First, report.Sequence.Last, err = gateSequences(ctx, study.db, state.Project(), entity.Name, s.ruleID); err != nil {
			return GateReport{}, classify(ctx, err)
		}
		r.Steps = append(r.Steps, GateStep{Rule: s.rule, RuleName: s.name, Percentage: s.percentage, Step: s.step, RuleID: s.ruleID, Report: report})
	}
	return r, nil
}

const gateSequencesSQL = `SELECT minIf(sequence, sequence > 0), max(sequence)
FROM exposures
WHERE project = {project:String} AND name = {gate:String} AND kind = 'gate' AND rule_id = {rule:String}`

func gateSequences(ctx context.Context, db *warehouse.DB, project, gate, ruleID string) (first, last uint64, err error) {
	ctx = clickhouse.Context(ctx, clickhouse.WithParameters(clickhouse.Parameters{"project": project, "gate": gate, "rule": ruleID}))
	if err := db.Conn().QueryRow(ctx, gateSequencesSQL).Scan(&first, &last); err != nil {
		return 0, 0, fmt.Errorf("reading the versions of gate %q: %w", gate, err)
	}
	return first, last, nil
}

// steps finds the steps of a gate up to state.
func (g *Gates) steps(ctx context.Context, state *flags.State, gate flags.Entity) ([]gateStep, error) {
	versions := func(yield func(flags.Entity, error) bool) {
		if gate.Version == 1 {
			yield(gate, nil) // it never changed
			return
		}
		for v, err := range g.history(ctx, state.Project(), gate.Ref) {
			if err == nil && v.Seq > state.Seq() || !yield(v, err) {
				return
			}
		}
	}
	steps, err := gateSteps(versions, func(environment string) bool {
		if e, ok := state.Find(flags.KindEnvironment, environment); ok {
			environment = e.Name
		}
		return strings.EqualFold(environment, warehouse.DefaultEnvironment)
	})
	if err != nil {
		return nil, fmt.Errorf("reading the history of gate %q: %w", gate.Name, err)
	}
	return steps, nil
}

// Mirror brings the definitions in the warehouse to state, as [Service.Mirror]
// does, and the steps of gates.
func (g *Gates) Mirror(ctx context.Context, state *flags.State) error {
	if err := g.Service.Mirror(ctx, state); err != nil {
		return err
	}
	db, err := g.warehouse()
	if err != nil {
		return err
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	project := state.Project()
	last := g.seen[project]
	if last == nil || last.db != db || last.logID != state.LogID() {
		last = &gateMirror{mirror: mirror{db: db, logID: state.LogID()}, steps: map[flags.Ref][]gateStep{}}
	}
	if state.Seq() <= last.seq {
		return nil
	}
	metrics := false // whether another set of metrics is to be looked at
	for e := range state.Entities() {
		metrics = metrics || e.Ref.Kind == flags.KindMetric && e.Seq > last.seq
	}
	var rows []warehouse.ExperimentRow
	steps := map[flags.Ref][]gateStep{}
	for e := range state.Entities() {
		if e.Ref.Kind != flags.KindGate {
			continue
		}
		of, changed := last.steps[e.Ref], e.Seq > last.seq
		if changed {
			if of, err = g.steps(ctx, state, e); err != nil {
				return err
			}
		}
		if len(of) > 0 {
			steps[e.Ref] = of
		}
		if changed || metrics {
			for i := range of {
				rows = append(rows, of[i].row(state, e))
			}
		}
	}
	token := fmt.Sprintf("gates:%s:%s:%d-%d", project, state.LogID(), last.seq, state.Seq())
	if err := db.PutExperiments(ctx, token, rows); err != nil {
		return classify(ctx, fmt.Errorf("mirroring the gates of project %q: %w", project, err))
	}
	g.seen[project] = &gateMirror{mirror: mirror{db, state.LogID(), state.Seq()}, steps: steps}
	return nil
}

// Refresh makes rollups anew as [Service.Refresh] does, those of the steps of
// gates too. There may be many of these, and few are looked at: one that runs
// waits for a minute, and of one that has ended one rollup is enough.
func (g *Gates) Refresh(ctx context.Context, state *flags.State) error {
	errs := []error{g.Service.Refresh(ctx, state)}
	db, err := g.warehouse()
	if err != nil {
		return errors.Join(append(errs, err)...)
	}
	if err := g.Mirror(ctx, state); err != nil {
		return errors.Join(append(errs, err)...)
	}
	mark, err := watermark(ctx, db)
	if err != nil {
		return errors.Join(append(errs, classify(ctx, err))...)
	}
	g.mu.Lock()
	steps := g.seen[state.Project()].steps // replaced as a whole, never changed
	g.mu.Unlock()
	for ref, of := range steps {
		gate, ok := state.Get(ref)
		if !ok {
			continue
		}
		for i := range of {
			study, doc := of[i].experiment(state, gate)
			p := g.plan(state, study, doc, g.now())
			last, err := latestRollup(ctx, db, p)
			if err != nil {
				errs = append(errs, classify(ctx, fmt.Errorf("refreshing a step of gate %q: %w", gate.Name, err)))
				continue
			}
			made := last.revision != 0 && last.definitions == p.version() && p.end.Sub(last.asOf) < goodFor
			if !made {
				errs = append(errs, g.refresh(ctx, db, mark, p))
			}
		}
	}
	return errors.Join(errs...)
}

// Table implements [Table]: the lines of each step's report.
func (r GateReport) Table() (columns []string, lines [][]string) {
	columns, _ = Report{}.Table()
	for _, s := range r.Steps {
		var of [][]string
		columns, of = s.Report.Table()
		for _, line := range of {
			lines = append(lines, append([]string{s.Rule, fmt.Sprint(s.Percentage), fmt.Sprint(s.Step)}, line...))
		}
	}
	return append([]string{"rule", "percentage", "step"}, columns...), lines
}
