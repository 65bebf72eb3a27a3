package results

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2"

	"github.com/sluice-flags/sluice/internal/warehouse"
	"github.com/sluice-flags/sluice/pkg/flags"
	"github.com/sluice-flags/sluice/pkg/stats"
)

// seriesRow is what a day adds to the sums of a metric in a group: once to those
// of the day alone, once to those of all days so far.
type seriesRow struct {
	day               string
	group             uint8
	daily, cumulative stats.PairSums

	quantiles [2]stats.Quantile // of the day alone, and of all days so far: of percentiles, in place of sums
}

// What the rows of who entered when stand under, beside those of metrics under
// their ids: everybody, and with a metric's id those whose window had passed.
const (
	whoEntered = ""
	whoMatured = "matured "
)

// querySeries asks for the series of all metrics. The units are found once, and
// stand under a revision of their own until that is done, as for a rollup.
func (s *Service) querySeries(ctx context.Context, of study, now time.Time) (all map[string][]seriesRow, err error) {
	p := s.plan(of.state, of.entity, of.doc, now)
	revision := revisionAt(time.Now()) | rand.Uint64N(1<<20) | 1
	defer func() { err = errors.Join(err, p.drop(ctx, of.db, revision)) }()
	if err := of.db.AnnounceRollup(ctx, p.project, revision); err != nil {
		return nil, err
	}
	if err := execute(p.context(ctx, newStatement(p.project), rollSettings), of.db, fmt.Sprintf(enrolSQL, revision, p.end.UnixMilli())); err != nil {
		return nil, fmt.Errorf("finding the units of experiment %q: %w", p.experiment, err)
	}
	units := fmt.Sprintf(enrolledSQL, revision, "1")
	all = map[string][]seriesRow{}
	if all[whoEntered], err = queryEntered(ctx, of, units); err != nil {
		return nil, err
	}
	for i := range p.metrics {
		reportPart(ctx, i, len(p.metrics))
		e, doc := p.metrics[i].entity, p.metrics[i].doc
		if mature := matureOf(of, doc, now, units); mature != units {
			if all[whoMatured+e.Ref.ID], err = queryEntered(ctx, of, mature); err != nil {
				return nil, err
			}
		}
		q := newSeriesQuery(of, e, doc, now, units)
		if all[e.Ref.ID], err = q.ask(ctx, of); err != nil {
			return nil, fmt.Errorf("measuring %q of experiment %q by day: %w", e.Name, p.experiment, err)
		}
	}
	return all, nil
}

// matureOf is the statement for those of units that a metric's report has: once an
// experiment has ended, not those whose window had not passed.
func matureOf(of study, doc *flags.Metric, now time.Time, units string) string {
	ended := of.doc.EndedAt != nil && !of.doc.EndedAt.After(now)
	if !ended || doc.WindowHours == 0 {
		return units
	}
	return fmt.Sprintf("SELECT unit_key, group_index, first, excluded FROM (%s) WHERE first <= %d", units, of.doc.EndedAt.Add(-window(doc)).UnixMilli())
}

func queryEntered(ctx context.Context, of study, units string) ([]seriesRow, error) {
	s := newStatement(of.state.Project())
	s.name("experiment", of.entity.Name)
	text := "SELECT toString(" + s.dayOf("fromUnixTimestamp64Milli(first, 'UTC')", zoneOf(of.state)) + ") AS day, group_index, count() AS units\nFROM (" +
		units + ")\nWHERE excluded = ''\nGROUP BY day, group_index\nORDER BY day"
	rows, err := of.db.Conn().Query(clickhouse.Context(ctx, clickhouse.WithParameters(s.parameters)), text)
	if err != nil {
		return nil, fmt.Errorf("counting the units of experiment %q by day: %w", of.entity.Name, err)
	}
	defer rows.Close()
	var found []seriesRow
	for rows.Next() {
		var r seriesRow
		if err := rows.Scan(&r.day, &r.group, &r.daily.N); err != nil {
			return nil, err
		}
		found = append(found, r)
	}
	return found, rows.Err()
}

// A seriesQuery is the question for the series of one metric.
type seriesQuery struct {
	text  string
	bound *statement
	plan  *plan // of the metric alone, if its days do not add up
}

// newSeriesQuery makes the question, about units as [unitsSQL] tells them.
func newSeriesQuery(of study, e flags.Entity, doc *flags.Metric, now time.Time, units string) (q seriesQuery) {
	units = matureOf(of, doc, now, units)
	switch {
	case byUnit(doc):
		q.plan = alone(of, e, now)
		q.bound = newStatement(of.state.Project())
		q.bound.name("experiment", of.entity.Name)
		if doc.Type == flags.MetricPercentile {
			q.text = q.plan.quantilesByUnitSQL(q.bound, units)
		} else {
			q.text = q.plan.sumsByUnitSQL(q.bound, units)
		}
	case doc.Type == flags.MetricRetention:
		q.text, q.bound = retentionSeriesSQL(of, doc, now, units)
	default:
		q.text, q.bound = seriesSQL(of, doc, units)
	}
	return q
}

func (q *seriesQuery) ask(ctx context.Context, of study) ([]seriesRow, error) {
	if q.plan == nil {
		return querySums(ctx, of, q.text, q.bound)
	}
	return queryByUnit(ctx, of, q.plan, q.text, q.bound)
}

// seriesSQL is the question for one metric. Each unit's days are put in order;
// what a day adds to the sums over all units is what the unit's value is after
// it less what it was before, so that one pass gives every day's sums.
func seriesSQL(of study, doc *flags.Metric, units string) (string, *statement) {
	over, _ := accumulates(doc.Type)
	s := newStatement(of.state.Project())
	s.name("experiment", of.entity.Name)
	unit, named := s.unitOf(of.doc.UnitType)
	day := s.dayOf("h.ts", zoneOf(of.state))
	end := "1"
	if of.doc.EndedAt != nil {
		end = "e.ts < fromUnixTimestamp64Milli(" + s.integer(of.doc.EndedAt.UnixMilli()) + ", 'UTC')"
	}
	window := "1"
	if doc.WindowHours > 0 {
		window = "h.ts < u.first_exposure + toIntervalHour(" + s.integer(int64(doc.WindowHours)) + ")"
	}
	// One row per event: what it is worth to the numerator and the denominator.
	events := func(m *flags.Measure, y, d string) string {
		return strings.Join([]string{
			"SELECT " + unit + " AS unit_key, e.ts AS ts, " + y + " AS y, " + d + " AS d",
			"        FROM events AS e FINAL",
			"        WHERE e.project = {project:String} AND e.event = " + s.bind(m.Event) + " AND e.environment = " + s.bind(warehouse.DefaultEnvironment),
			"          AND " + named + " AND " + end + " AND " + s.filters(m.Filters),
		}, "\n")
	}
	worth := func(t flags.MetricType, m *flags.Measure) string {
		switch t {
		case flags.MetricEventCount, flags.MetricEventUser:
			return "toNullable(1.)"
		}
		return s.valueOf(m)
	}
	var facts string
	switch doc.Type {
	case flags.MetricRatio:
		facts = events(&doc.Numerator.Measure, worth(doc.Numerator.Type, &doc.Numerator.Measure), "0.") + "\n        UNION ALL\n        " +
			events(&doc.Denominator.Measure, "toNullable(0.)", "ifNull("+worth(doc.Denominator.Type, &doc.Denominator.Measure)+", 0.)")
	case flags.MetricMean:
		facts = events(&doc.Measure, worth(doc.Type, &doc.Measure), "toFloat64(isNotNull(y))")
	default:
		facts = events(&doc.Measure, worth(doc.Type, &doc.Measure), "1.")
	}
	days := `    SELECT u.unit_key AS unit_key, any(u.group_index) AS group_index, ` + day + ` AS day, %s AS y_day, y_day AS y_more, sum(d) AS d_day
    FROM (
        %s
    ) AS h
    INNER JOIN units AS u ON h.unit_key = u.unit_key
    WHERE h.ts >= u.first_exposure AND %s AND isNotNull(h.y)
    GROUP BY unit_key, day`
	perDay := map[string]string{"sum": "sum(y)", "max": "max(y)", "min": "min(y)", "last_value": "argMax(y, ts)"}[over]
	if doc.Cap != nil && doc.Cap.PerDay > 0 {
		perDay = "least(" + perDay + ", " + s.number(doc.Cap.PerDay) + ")"
	}
	if doc.Type == flags.MetricCountDistinct {
		facts, perDay = events(&doc.Measure, s.textOf(doc.ValueKey()), "1."), "toFloat64(count())"
		days = `    SELECT unit_key, any(group_index) AS group_index, day, %s AS y_day, toFloat64(countIf(day = first_day)) AS y_more, toFloat64(count()) AS d_day
    FROM (
        SELECT unit_key, any(group_index) AS group_index, text, day, min(day) OVER (PARTITION BY unit_key, text) AS first_day
        FROM (
            SELECT u.unit_key AS unit_key, u.group_index AS group_index, h.y AS text, ` + day + ` AS day
            FROM (
        %s
            ) AS h
            INNER JOIN units AS u ON h.unit_key = u.unit_key
            WHERE h.ts >= u.first_exposure AND %s AND h.y != ''
        )
        GROUP BY unit_key, text, day
    )
    GROUP BY unit_key, day`
	}
	text := `WITH units AS (
    SELECT unit_key, group_index, fromUnixTimestamp64Milli(first, 'UTC') AS first_exposure
    FROM (` + units + `)
    WHERE excluded = ''
), days AS (
` + fmt.Sprintf(days, perDay, facts, window) + `
), so_far AS (
    SELECT unit_key, group_index, day, y_day, d_day,
        ` + over + `(y_more) OVER before_and_now AS y, sum(d_day) OVER before_and_now AS d,
        row_number() OVER before_and_now AS place
    FROM days
    WINDOW before_and_now AS (PARTITION BY unit_key ORDER BY day ASC ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW)
), steps AS (
    SELECT *, lagInFrame(y, 1, 0.) OVER one_before AS y0, lagInFrame(d, 1, 0.) OVER one_before AS d0
    FROM so_far
    WINDOW one_before AS (PARTITION BY unit_key ORDER BY day ASC ROWS BETWEEN 1 PRECEDING AND CURRENT ROW)
)
SELECT toString(day) AS date, group_index,
    countIf(d_day > 0) AS n1, sumIf(y_day, d_day > 0) AS y1, sumIf(d_day, d_day > 0) AS d1,
    sumIf(y_day * y_day, d_day > 0) AS yy1, sumIf(d_day * d_day, d_day > 0) AS dd1, sumIf(y_day * d_day, d_day > 0) AS yd1,
    countIf(d > 0 AND NOT (d0 > 0)) AS n2,
    sum(if(d > 0, y, 0.) - if(d0 > 0, y0, 0.)) AS y2, sum(d - d0) AS d2,
    sum(if(d > 0, y * y, 0.) - if(d0 > 0, y0 * y0, 0.)) AS yy2, sum(d * d - d0 * d0) AS dd2, sum(y * d - y0 * d0) AS yd2
FROM steps
GROUP BY date, group_index
ORDER BY date`
	return text, s
}

// retentionSeriesSQL is the question for a retention: a unit enters on the day on
// which its time has passed, with what it is from then on.
func retentionSeriesSQL(of study, doc *flags.Metric, now time.Time, units string) (string, *statement) {
	s := newStatement(of.state.Project())
	s.name("experiment", of.entity.Name)
	unit, named := s.unitOf(of.doc.UnitType)
	end := now
	if of.doc.EndedAt != nil && of.doc.EndedAt.Before(now) {
		end = *of.doc.EndedAt
	}
	counted, _ := periods(doc)
	from, until := s.integer(counted.from.Milliseconds()), s.integer(counted.until.Milliseconds())
	return `WITH units AS (
    SELECT unit_key, group_index, first
    FROM (` + units + `)
    WHERE excluded = '' AND first + ` + until + ` <= ` + s.integer(end.UnixMilli()) + `
), came AS (
    SELECT DISTINCT u.unit_key AS unit_key
    FROM (
        SELECT ` + unit + ` AS unit_key, toUnixTimestamp64Milli(e.ts) AS at
        FROM events AS e FINAL
        WHERE e.project = {project:String} AND e.event = ` + s.bind(doc.Event) + ` AND e.environment = ` + s.bind(warehouse.DefaultEnvironment) + `
          AND ` + named + ` AND ` + s.filters(doc.Filters) + `
    ) AS h
    INNER JOIN units AS u ON h.unit_key = u.unit_key
    WHERE h.at >= u.first + ` + from + ` AND h.at < u.first + ` + until + `
)
SELECT toString(` + s.dayOf("fromUnixTimestamp64Milli(least(first + "+until+", "+s.integer(end.UnixMilli())+" - 1), 'UTC')", zoneOf(of.state)) + `) AS date, group_index,
    count() AS n1, toFloat64(countIf(unit_key IN came)) AS y1, toFloat64(n1) AS d1, y1 AS yy1, d1 AS dd1, y1 AS yd1,
    n1 AS n2, y1 AS y2, d1 AS d2, y1 AS yy2, d1 AS dd2, y1 AS yd2
FROM units
GROUP BY date, group_index
ORDER BY date`, s
}

func querySums(ctx context.Context, of study, text string, bound *statement) ([]seriesRow, error) {
	rows, err := of.db.Conn().Query(clickhouse.Context(ctx, clickhouse.WithParameters(bound.parameters)), text)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var found []seriesRow
	for rows.Next() {
		var r seriesRow
		into := []any{&r.day, &r.group}
		var numbers [2][5]*float64
		for i, sums := range []*stats.PairSums{&r.daily, &r.cumulative} {
			into = append(into, &sums.N)
			for k := range numbers[i] {
				into = append(into, &numbers[i][k])
			}
		}
		if err := rows.Scan(into...); err != nil {
			return nil, err
		}
		for i, sums := range []*stats.PairSums{&r.daily, &r.cumulative} {
			for k, to := range []*float64{&sums.SumY, &sums.SumX, &sums.SumSquaresY, &sums.SumSquaresX, &sums.SumProducts} {
				if v := numbers[i][k]; v != nil {
					*to = *v
				}
			}
		}
		found = append(found, r)
	}
	return found, rows.Err()
}
