package results

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2"

	"github.com/sluice-flags/sluice/internal/warehouse"
	"github.com/sluice-flags/sluice/pkg/flags"
	"github.com/sluice-flags/sluice/pkg/stats"
)

// MaxPreviewDays is how far back a preview looks at most.
const MaxPreviewDays = 90

// A Preview shows which events a metric counts and what numbers they carry, day
// by day, over everybody: a definition that counts nothing shows before an
// experiment depends on it.
type Preview struct {
	Metric   string        `json:"metric"`
	Type     string        `json:"type"`
	TimeZone string        `json:"timeZone"` // in which days begin and end
	From     time.Time     `json:"from"`
	To       time.Time     `json:"to"`
	Parts    []PreviewPart `json:"parts"` // one; two of a ratio; the steps of a funnel
	SQL      []string      `json:"sql"`
}

// A PreviewPart is one measure of a metric.
type PreviewPart struct {
	Part  string       `json:"part"` // metric, numerator, denominator, or step 1, 2, …
	Event string       `json:"event"`
	Days  []PreviewDay `json:"days"` // without those on which nothing happened
	Total PreviewDay   `json:"total"`
}

// A PreviewDay is what a measure counted on a day.
type PreviewDay struct {
	Day    string         `json:"day,omitempty"` // as 2026-03-01; none in a total
	Logged uint64         `json:"logged"`        // events of the name
	Events uint64         `json:"events"`        // those that pass the filters
	Units  uint64         `json:"units"`         // with such an event
	Values uint64         `json:"values"`        // events that carry a number
	Sum    stats.Optional `json:"sum"`
	Mean   stats.Optional `json:"mean"`
	Min    stats.Optional `json:"min"`
	Max    stats.Optional `json:"max"`
	Median stats.Optional `json:"median"`
	P99    stats.Optional `json:"p99"`
}

// Preview looks at the last days of what a metric measures. The definition need
// not be saved. Errors: [ErrUnavailable], what ClickHouse refused, and ctx's.
func (s *Service) Preview(ctx context.Context, state *flags.State, doc *flags.Metric, days int) (Preview, error) {
	db, err := s.warehouse()
	if err != nil {
		return Preview{}, err
	}
	now, zone := s.now().UTC(), zoneOf(state)
	year, month, today := now.In(zone).Date()
	from := time.Date(year, month, today+1-days, 0, 0, 0, 0, zone).UTC()
	p := Preview{Metric: doc.Name, Type: string(doc.Type), TimeZone: zone.String(), From: from, To: now, Parts: []PreviewPart{}}
	for _, part := range partsOf(doc) {
		found, err := queryPreview(ctx, db, state, doc.UnitType, part, p.From, &p.SQL)
		if err != nil {
			return Preview{}, classify(ctx, fmt.Errorf("previewing metric %q: %w", doc.Name, err))
		}
		p.Parts = append(p.Parts, found)
	}
	return p, nil
}

// A part is one measure of a metric, with its name.
type part struct {
	name    string
	measure flags.Measure
}

func partsOf(doc *flags.Metric) []part {
	switch {
	case doc.Type == flags.MetricRatio && doc.Numerator != nil && doc.Denominator != nil:
		return []part{{"numerator", doc.Numerator.Measure}, {"denominator", doc.Denominator.Measure}}
	case doc.Type == flags.MetricFunnel && doc.Funnel != nil:
		steps := make([]part, len(doc.Funnel.Steps))
		for i, step := range doc.Funnel.Steps {
			steps[i] = part{fmt.Sprint("step ", i+1), flags.Measure{Event: step.Event, Filters: step.Filters}}
		}
		return steps
	}
	return []part{{"metric", doc.Measure}}
}

func queryPreview(ctx context.Context, db *warehouse.DB, state *flags.State, unitType string, of part, from time.Time, spelled *[]string) (PreviewPart, error) {
	s := newStatement(state.Project())
	passes, unit := s.filters(of.measure.Filters), s.bind(unitType)
	text := strings.Join([]string{
		"SELECT if(grouping(day) = 1, '', toString(day)) AS day_text, count() AS logged, countIf(passes) AS events, uniqExactIf(unit, passes) AS units,",
		"    countIf(passes AND isNotNull(v)) AS values, sumIf(v, passes) AS total, avgIf(v, passes), minIf(v, passes), maxIf(v, passes),",
		"    quantileExactInclusiveIf(0.5)(v, passes), quantileExactInclusiveIf(0.99)(v, passes)",
		"FROM (",
		"    SELECT " + s.dayOf("e.ts", zoneOf(state)) + " AS day, if(e.unit_type = " + unit + ", e.unit_id, " + idOfUnit(unit) + ") AS unit, " + s.valueOf(&of.measure) + " AS v, " + passes + " AS passes",
		"    FROM events AS e FINAL",
		"    WHERE e.project = {project:String} AND e.event = " + s.bind(of.measure.Event) + " AND e.environment = " + s.bind(warehouse.DefaultEnvironment),
		"      AND e.ts >= fromUnixTimestamp64Milli(" + s.integer(from.UnixMilli()) + ", 'UTC') AND unit != ''",
		")",
		"GROUP BY GROUPING SETS ((day), ())",
		"ORDER BY day_text",
	}, "\n")
	*spelled = append(*spelled, s.spell(text))
	rows, err := db.Conn().Query(clickhouse.Context(ctx, clickhouse.WithParameters(s.parameters)), text)
	if err != nil {
		return PreviewPart{}, err
	}
	defer rows.Close()
	found := PreviewPart{Part: of.name, Event: of.measure.Event, Days: []PreviewDay{}}
	for rows.Next() {
		var d PreviewDay
		var numbers [6]*float64
		if err := rows.Scan(&d.Day, &d.Logged, &d.Events, &d.Units, &d.Values, &numbers[0], &numbers[1], &numbers[2], &numbers[3], &numbers[4], &numbers[5]); err != nil {
			return PreviewPart{}, err
		}
		if d.Values > 0 {
			for i, into := range []*stats.Optional{&d.Sum, &d.Mean, &d.Min, &d.Max, &d.Median, &d.P99} {
				*into = optional(numbers[i])
			}
		}
		if d.Day == "" {
			found.Total = d
			continue
		}
		found.Days = append(found.Days, d)
	}
	return found, rows.Err()
}

// optional is a column that may be NULL, or no number.
func optional(v *float64) stats.Optional {
	if v == nil {
		return stats.Optional{}
	}
	return stats.Defined(*v)
}
