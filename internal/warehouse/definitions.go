package warehouse

import (
	"cmp"
	"context"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"
)

// ExperimentRow is one row of table experiments: what analyses need to know of
// an experiment, mirrored from the log.
type ExperimentRow struct {
	Project      string
	Name         string
	ExperimentID string
	Status       string
	Environment  string
	UnitType     string
	StartedAt    time.Time  // zero if it has not started: no fact counts
	EndedAt      *time.Time // nil while it runs
	Groups       []GroupRow // by the index that exposures carry
	Metrics      []string   // ids
	Version      uint64     // the row with the highest one counts
	Crossovers   string     // what becomes of units that saw more than one group: exclude if empty, or first
	Gate         *GateRow   // what it is a step of; nil for an experiment
}

// GateRow is the step of a gate's rule that an [ExperimentRow] stands for.
type GateRow struct {
	Gate, Rule string
	Step       int
	RuleID     string // as in exposures
}

// GroupRow is one group of an [ExperimentRow].
type GroupRow struct {
	ID, Name string
	Share    float64
	Control  bool
}

// MetricRow is one row of table metrics, mirrored from the log.
type MetricRow struct {
	Project   string
	Name      string
	MetricID  string
	Type      string
	Event     string
	ValueKey  string // metadata key of the value; empty for the event's own value
	Filters   []FilterRow
	Window    time.Duration // 0 = to the end of the analysis
	Direction string
	Version   uint64
}

// FilterRow is one filter of a [MetricRow]: the metadata under Key is one of
// Values, or with Negate is none of them.
type FilterRow struct {
	Key    string
	Negate bool
	Values []string
}

const (
	insertExperiments = `INSERT INTO experiments (project, name, experiment_id, status, environment, unit_type,
		started_at, ended_at, groups, metrics, version, kind, gate, rule, step, rule_id, crossovers)`
	insertMetrics = `INSERT INTO metrics (project, name, metric_id, type, event, value_key, filters, window_ms, direction, version)`
)

// PutExperiments mirrors definitions, as one block under token.
func (db *DB) PutExperiments(ctx context.Context, token string, rows []ExperimentRow) error {
	return insert(ctx, db, "experiments", insertExperiments, token, rows, func(b driver.Batch, r *ExperimentRow) error {
		started := time.UnixMilli(latest).UTC()
		if !r.StartedAt.IsZero() {
			started = storable(r.StartedAt)
		}
		var ended *time.Time
		if r.EndedAt != nil {
			ended = new(storable(*r.EndedAt))
		}
		groups := make([]map[string]any, len(r.Groups))
		for i, g := range r.Groups {
			groups[i] = map[string]any{"id": g.ID, "name": g.Name, "share": g.Share, "control": g.Control}
		}
		kind, gate := KindExperiment, GateRow{}
		if r.Gate != nil {
			kind, gate = KindGate, *r.Gate
		}
		return b.Append(r.Project, r.Name, r.ExperimentID, r.Status, r.Environment, r.UnitType, started, ended, groups, r.Metrics, r.Version,
			kind, gate.Gate, gate.Rule, uint32(gate.Step), gate.RuleID, cmp.Or(r.Crossovers, "exclude"))
	})
}

// PutMetrics mirrors definitions, as one block under token.
func (db *DB) PutMetrics(ctx context.Context, token string, rows []MetricRow) error {
	return insert(ctx, db, "metrics", insertMetrics, token, rows, func(b driver.Batch, r *MetricRow) error {
		filters := make([]map[string]any, len(r.Filters))
		for i, f := range r.Filters {
			filters[i] = map[string]any{"key": f.Key, "negate": f.Negate, "values": f.Values}
		}
		return b.Append(r.Project, r.Name, r.MetricID, r.Type, r.Event, r.ValueKey, filters, uint64(r.Window.Milliseconds()), r.Direction, r.Version)
	})
}

// ProjectRow is one row of table projects, mirrored from the log.
type ProjectRow struct {
	Project  string
	TimeZone string // IANA name
	Version  uint64 // of the project; the row with the highest one counts
}

const insertProjects = `INSERT INTO projects (project, time_zone, version)`

// PutProjects mirrors settings, as one block under token.
func (db *DB) PutProjects(ctx context.Context, token string, rows []ProjectRow) error {
	return insert(ctx, db, "projects", insertProjects, token, rows, func(b driver.Batch, r *ProjectRow) error {
		return b.Append(r.Project, r.TimeZone, r.Version)
	})
}
