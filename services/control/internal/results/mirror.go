package results

import (
	"context"
	"fmt"
	"time"

	"github.com/sluice-flags/sluice/internal/warehouse"
	"github.com/sluice-flags/sluice/pkg/flags"
)

// mirror is how much of a project's definitions the warehouse has for certain.
type mirror struct {
	db    *warehouse.DB
	logID string
	seq   uint64
}

// Mirror brings the definitions in the warehouse to state, for the views that
// read them. It writes what changed since the last time, everything the first
// time, and nothing if nothing changed. An older state than the last changes nothing.
func (s *Service) Mirror(ctx context.Context, state *flags.State) error {
	db, err := s.warehouse()
	if err != nil {
		return err
	}
	project := state.Project()
	s.mu.Lock()
	last := s.mirrored[project]
	s.mu.Unlock()
	if last.db != db || last.logID != state.LogID() {
		last = mirror{db: db, logID: state.LogID()}
	}
	if state.Seq() <= last.seq && last.seq > 0 {
		return nil
	}

	var experiments []warehouse.ExperimentRow
	for e := range state.All(flags.KindExperiment) {
		if doc, ok := e.Doc.(*flags.Experiment); ok && e.Seq > last.seq {
			experiments = append(experiments, experimentRow(state, e, doc))
		}
	}
	var metrics []warehouse.MetricRow
	var versions []warehouse.MetricVersionRow
	for e := range state.All(flags.KindMetric) {
		if doc, ok := e.Doc.(*flags.Metric); ok && e.Seq > last.seq {
			metrics = append(metrics, metricRow(project, e, doc))
			definition, err := flags.Encode(doc)
			if err != nil {
				return fmt.Errorf("mirroring metric %q of project %q: %w", e.Name, project, err)
			}
			versions = append(versions, warehouse.MetricVersionRow{
				Project: project, MetricID: e.Ref.ID, Version: e.Seq, At: time.UnixMilli(e.Time).UTC(),
				Name: e.Name, Type: string(doc.Type), Direction: string(doc.Direction), Definition: string(definition),
			})
		}
	}
	var settings []warehouse.ProjectRow
	for e := range state.All(flags.KindProject) {
		if doc, ok := e.Doc.(*flags.Project); ok && e.Seq > last.seq {
			settings = append(settings, warehouse.ProjectRow{Project: project, TimeZone: doc.Zone().String(), Version: e.Seq})
		}
	}
	token := fmt.Sprintf("definitions:%s:%s:%d-%d", project, state.LogID(), last.seq, state.Seq())
	if err := db.PutProjects(ctx, token, settings); err != nil {
		return classify(ctx, fmt.Errorf("mirroring the settings of project %q: %w", project, err))
	}
	if err := db.PutMetricVersions(ctx, token, versions); err != nil {
		return classify(ctx, fmt.Errorf("mirroring the metrics of project %q: %w", project, err))
	}
	if err := db.PutMetrics(ctx, token, metrics); err != nil {
		return classify(ctx, fmt.Errorf("mirroring the metrics of project %q: %w", project, err))
	}
	if err := db.PutExperiments(ctx, token, experiments); err != nil {
		return classify(ctx, fmt.Errorf("mirroring the experiments of project %q: %w", project, err))
	}

	s.mu.Lock()
	defer s.mu.Unlock()
	if now := s.mirrored[project]; now.db != db || now.logID != state.LogID() || now.seq < state.Seq() {
		s.mirrored[project] = mirror{db, state.LogID(), state.Seq()}
	}
	return nil
}

func experimentRow(state *flags.State, e flags.Entity, doc *flags.Experiment) warehouse.ExperimentRow {
	row := warehouse.ExperimentRow{
		Project:      state.Project(),
		Name:         e.Name,
		ExperimentID: e.Ref.ID,
		Status:       string(doc.Status),
		Environment:  warehouse.DefaultEnvironment,
		UnitType:     doc.UnitType,
		EndedAt:      doc.EndedAt,
		Crossovers:   string(doc.Crossovers),
		Version:      uint64(e.Time),
	}
	if doc.StartedAt != nil {
		row.StartedAt = *doc.StartedAt
	}
	for _, g := range doc.Groups {
		row.Groups = append(row.Groups, warehouse.GroupRow{ID: g.ID, Name: g.Name, Share: g.Share, Control: g.Control})
	}
	for _, m := range metricsOf(state, doc) {
		row.Metrics = append(row.Metrics, m.Ref.ID)
	}
	return row
}

func metricRow(project string, e flags.Entity, doc *flags.Metric) warehouse.MetricRow {
	row := warehouse.MetricRow{
		Project:   project,
		Name:      e.Name,
		MetricID:  e.Ref.ID,
		Type:      string(doc.Type),
		Event:     doc.Event,
		ValueKey:  doc.ValueKey(),
		Window:    time.Duration(doc.WindowHours) * time.Hour,
		Direction: string(doc.Direction),
		Version:   uint64(e.Time),
	}
	for _, f := range doc.Filters {
		row.Filters = append(row.Filters, warehouse.FilterRow{Key: f.Metadata, Negate: f.Operator == "none", Values: f.Values})
	}
	return row
}

// metricsOf returns the metrics that an experiment names, by id or by name, each
// once, in its order.
func metricsOf(state *flags.State, doc *flags.Experiment) []flags.Entity {
	var found []flags.Entity
	seen := map[flags.Ref]bool{}
	for _, name := range doc.Metrics {
		if e, ok := state.Find(flags.KindMetric, name); ok && !seen[e.Ref] {
			seen[e.Ref] = true
			found = append(found, e)
		}
	}
	return found
}
