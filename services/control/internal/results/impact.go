package results

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/sluice-flags/sluice/internal/warehouse"
	"github.com/sluice-flags/sluice/pkg/flags"
	"github.com/sluice-flags/sluice/pkg/stats"
)

// An Impact is what a group's treatment made of a metric in a day, and what it
// would make if everybody got it: differences without covariates, for what is
// adjusted does not add up to totals. NOT_APPLICABLE for metrics that do not add
// up over units, and before a first instant has passed.
type Impact struct {
	stats.ImpactResult
	Days           float64        `json:"days"`           // from the start to the end, or to asOf
	TreatmentShare float64        `json:"treatmentShare"` // of all units that the experiment is for, in the group
	DailyTotal     stats.Optional `json:"dailyTotal"`     // of the metric over everybody; undefined unless it was asked for
}

// addsUp reports whether the values of units make a total that somebody wants to
// know the growth of.
func addsUp(doc *flags.Metric) bool {
	switch doc.Type {
	case flags.MetricEventCount, flags.MetricEventUser, flags.MetricSum, flags.MetricCountDistinct, flags.MetricRetention:
		return true
	case flags.MetricFunnel:
		return doc.Funnel != nil && doc.Funnel.FromExposure
	}
	return false
}

// newImpact reads the impact of one group against control from their moments.
// daily is the metric's total of a day over everybody, if that is known.
func newImpact(doc *flags.Metric, control, treatment *moments, top stats.Topline, o Options) *Impact {
	i := &Impact{Days: top.Days, TreatmentShare: top.TreatmentShare, DailyTotal: top.DailyTotal}
	options := stats.Options{Alpha: o.Alpha, Tail: o.Tail}
	how, _ := formOf(doc)
	switch {
	case !addsUp(doc):
		i.ImpactResult = stats.ImpactResult{Code: stats.NotApplicable}
	case how == formProportion:
		i.ImpactResult = stats.Impact(control.proportion(), treatment.proportion(), top, options)
	default:
		i.ImpactResult = stats.Impact(control.covaried().Y(), treatment.covaried().Y(), top, options)
	}
	return i
}

// addImpacts puts the impact of each treatment group beside its comparison.
func addImpacts(metrics []Metric, measured []flags.Entity, doc *flags.Experiment, groups []Group, f facts, o Options) {
	control := controlOf(doc)
	top := stats.Topline{Days: lasted(doc, f.asOf)}
	allocation := allocated(doc, o.Periods, f.asOf)
	for _, e := range measured {
		metric, ok := e.Doc.(*flags.Metric)
		if !ok {
			continue
		}
		of := momentsOf(e, metric, groups, f.moments)
		top.DailyTotal = stats.Optional{}
		if total, known := f.topline.totals[e.Ref.ID]; known && top.Days > 0 {
			top.DailyTotal = stats.Defined(total / top.Days)
		}
		for i := range groups {
			if i == control {
				continue
			}
			top.TreatmentShare = allocation * groups[i].Share / 100
			metrics[0].Groups[i].Impact = newImpact(metric, &of[control], &of[i], top, o)
		}
		metrics = metrics[1:]
	}
}

// lasted is for how many days an experiment had run at a time.
func lasted(doc *flags.Experiment, asOf time.Time) float64 {
	if doc.StartedAt == nil {
		return 0
	}
	return max(asOf.Sub(*doc.StartedAt).Hours()/24, 0)
}

// allocated is the share of the units that took part, over all periods by their
// length.
func allocated(doc *flags.Experiment, periods []Period, asOf time.Time) float64 {
	sum, length := 0.0, 0.0
	for i, p := range periods {
		until := asOf
		if i+1 < len(periods) {
			until = periods[i+1].From
		}
		if hours := until.Sub(p.From).Hours(); hours > 0 {
			sum, length = sum+hours*p.Allocation, length+hours
		}
	}
	if length == 0 {
		return doc.Allocation / 100
	}
	return sum / length / 100
}

// toplineSQL is the question for the totals of metrics over everybody, of the
// events between the start and asOf: as they were logged, without windows and
// caps. The metrics that it is about are returned in the order of its numbers.
func (p *plan) toplineSQL(s *statement, asOf time.Time) (text string, ids []string) {
	var columns, events []string
	for i := range p.metrics {
		m := p.metrics[i].doc
		counts := "e.event = " + s.bind(m.Event) + " AND " + s.filters(m.Filters)
		var column string
		switch m.Type {
		case flags.MetricEventCount:
			column = "toFloat64(countIf(" + counts + "))"
		case flags.MetricEventUser:
			column = "toFloat64(uniqExactIf(unit, " + counts + "))"
		case flags.MetricSum:
			column = "sumIf(ifNull(" + s.valueOf(&m.Measure) + ", 0.), " + counts + ")"
		case flags.MetricCountDistinct:
			of := s.textOf(m.ValueKey())
			column = "toFloat64(uniqExactIf((unit, " + of + "), " + counts + " AND " + of + " != ''))"
		default:
			continue // not there without a first exposure
		}
		columns, events, ids = append(columns, column), append(events, m.Event), append(ids, p.metrics[i].entity.Ref.ID)
	}
	if len(columns) == 0 || p.start.IsZero() {
		return "", nil
	}
	unit, named := s.unitOf(p.unitType)
	return strings.Join([]string{
		"SELECT [" + strings.Join(columns, ",\n    ") + "]",
		"FROM (",
		"    SELECT " + unit + " AS unit, e.event AS event, e.value AS value, e.value_text AS value_text, e.metadata AS metadata",
		"    FROM events AS e FINAL",
		"    WHERE e.project = {project:String} AND e.event IN " + s.list(events) + " AND e.environment = " + s.bind(p.environment),
		"      AND e.ts >= fromUnixTimestamp64Milli(" + s.integer(p.start.UnixMilli()) + ", 'UTC') AND e.ts < fromUnixTimestamp64Milli(" + s.integer(asOf.UnixMilli()) + ", 'UTC')",
		"      AND " + named,
		") AS e",
	}, "\n"), ids
}

// readTopline asks for the totals of metrics over everybody, by their ids.
func (p *plan) readTopline(ctx context.Context, db *warehouse.DB, asOf time.Time) (topline, error) {
	of := topline{totals: map[string]float64{}}
	s := newStatement(p.project)
	text, ids := p.toplineSQL(s, asOf)
	if text == "" {
		return of, nil
	}
	of.sql = s.spell(text)
	err := eachRow(p.context(ctx, s, readSettings), db, text, func(scan func(...any) error) error {
		var totals []float64
		if err := scan(&totals); err != nil {
			return err
		}
		for i, id := range ids {
			of.totals[id] = totals[i]
		}
		return nil
	})
	if err != nil {
		return topline{}, fmt.Errorf("measuring everybody beside experiment %q: %w", p.experiment, err)
	}
	return of, nil
}

// A topline is what the metrics of an experiment come to over everybody.
type topline struct {
	totals map[string]float64 // by the metric's id
	sql    string
}
