package results

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2"

	"github.com/sluice-flags/sluice/internal/warehouse"
	"github.com/sluice-flags/sluice/pkg/flags"
	"github.com/sluice-flags/sluice/pkg/stats"
)

// Health says whether an experiment's numbers can be trusted, and where to look
// if they cannot.
type Health struct {
	Project    string `json:"project"`
	Experiment string `json:"experiment"`
	Status     string `json:"status"`

	Groups   []Group           `json:"groups"`
	Excluded map[string]uint64 `json:"excluded"`
	Checks
	// Running is what looks at the split at the end of every day say together.
	Running RunningSplit `json:"running"`
	// Silent tests whether units that were never heard of again after their first
	// exposure are more frequent in one group: lost events look like that.
	Silent stats.RateCheck `json:"silent"`
	// PreExperiment has a line for each metric with a covariate and each treatment.
	PreExperiment []PreExperimentCheck `json:"preExperiment"`
	// Breakdown is the split of the units by what was known of their first
	// exposure, the least likely first. Its p-values are not corrected: among a
	// hundred slices of a healthy split one is below 0.01.
	Breakdown []Slice `json:"breakdown"`
	Freshness `json:"freshness"`

	Sequence SequenceRange `json:"sequence"`
	SQL      []string      `json:"sql"`
}

// A RunningSplit is the smallest anytime-valid p-value of the split, of the units
// that had entered by the end of each day. It holds however often one looked, and
// remembers a mismatch that later units have hidden.
type RunningSplit struct {
	PValue stats.Optional `json:"pValue"` // undefined where there are no units
	Looks  int            `json:"looks"`
}

// A PreExperimentCheck is a difference that was there before the experiment.
type PreExperimentCheck struct {
	Metric string `json:"metric"`
	Group  string `json:"group"`
	stats.Bias
}

// A Slice is the split of the units whose first exposure had a value in a
// dimension.
type Slice struct {
	Dimension string          `json:"dimension"` // sdk, sdkVersion, reason, rule, layer, day, or user.<name>
	Value     string          `json:"value"`
	Units     []uint64        `json:"units"` // by group
	SRM       stats.SRMResult `json:"srm"`
}

// Freshness says how recent the facts are.
type Freshness struct {
	LastExposure *time.Time `json:"lastExposure"` // of the experiment; null if there is none
	LastEvent    *time.Time `json:"lastEvent"`    // of the events that its metrics count
	LastReceived *time.Time `json:"lastReceived"` // of any of these, by our clock
	DeadLetters  uint64     `json:"deadLetters"`  // facts of the project set aside in the last day
}

const (
	// Each unit's first exposure, and whether it was heard of since.
	slicesSQL = `WITH units AS (
    SELECT unit_key, group_index, first_exposure
    FROM experiment_units(project = {project:String}, experiment = {experiment:String})
    WHERE excluded = ''
), about AS (
    SELECT e.unit_key AS unit_key, argMin((e.sdk_type, e.sdk_version, e.reason, e.rule_id, e.layer, arrayMap(k -> e.metadata[k], {kept:Array(String)})), (e.ts, e.event_id)) AS known
    FROM exposures AS e
    WHERE e.project = {project:String} AND e.name = {experiment:String} AND e.kind IN ('experiment', 'layer')
      AND e.environment = {environment:String} AND e.group_index != 255
      AND e.ts >= fromUnixTimestamp64Milli({start:Int64}, 'UTC')
    GROUP BY unit_key
)
SELECT slice.1 AS dimension, slice.2 AS value, u.group_index AS group_index, count() AS units
FROM units AS u INNER JOIN about AS a ON u.unit_key = a.unit_key
ARRAY JOIN arrayConcat(
    [('sdk', a.known.1), ('sdkVersion', concat(a.known.1, ' ', a.known.2)), ('reason', a.known.3), ('rule', a.known.4),
        ('layer', a.known.5), ('day', toString(toDate(u.first_exposure, {zone:String})))],
    arrayFilter(s -> s.2 != '', arrayZip({kept:Array(String)}, a.known.6))) AS slice
GROUP BY dimension, value, group_index`

	freshSQL = `WITH
    (SELECT (count(), max(ts), max(received_at)) FROM exposures FINAL WHERE project = {project:String} AND name = {experiment:String} AND kind IN ('experiment', 'layer') AND environment = {environment:String}) AS seen,
    (SELECT (count(), max(ts), max(received_at)) FROM events FINAL WHERE project = {project:String} AND event IN {events:Array(String)} AND environment = {environment:String}) AS done,
    (SELECT count() FROM dead_letters WHERE project = {project:String} AND received_at >= now64(3) - INTERVAL 1 DAY) AS dead
SELECT seen.1, seen.2, seen.3, done.1, done.2, done.3, dead`
)

var silentSQL = `SELECT u.group_index AS group_index, count() AS units, countIf(h.unit_key = 0) AS silent
FROM (
    SELECT unit_key, group_index, first_exposure
    FROM experiment_units(project = {project:String}, experiment = {experiment:String})
    WHERE excluded = ''
) AS u
LEFT JOIN (
    SELECT ` + keyOfUnit("{unit:String}") + ` AS unit_key, max(e.ts) AS last
    FROM events AS e
    WHERE e.project = {project:String} AND e.environment = {environment:String}
      AND (e.unit_type = {unit:String} OR ` + idOfUnit("{unit:String}") + ` != '')
    GROUP BY unit_key
) AS h ON u.unit_key = h.unit_key AND h.last >= u.first_exposure
GROUP BY group_index`

// Health looks into an experiment as [Service.Experiment] does, with its errors.
func (s *Service) Health(ctx context.Context, state *flags.State, experiment string, o Options) (Health, error) {
	r, err := s.Experiment(ctx, state, experiment, o)
	if err != nil {
		return Health{}, err
	}
	of, err := s.open(ctx, state, experiment)
	if err != nil {
		return Health{}, err
	}
	h, err := s.healths.do(ctx, of.key, func(ctx context.Context) (Health, error) { return queryHealth(ctx, of) })
	if err != nil {
		return Health{}, classify(ctx, err)
	}
	h.Project, h.Experiment, h.Status = r.Project, r.Experiment, r.Status
	h.Groups, h.Excluded, h.Checks, h.Sequence = r.Groups, r.Excluded, r.Checks, r.Sequence
	h.SQL = append(slices.Clone(r.SQL), h.SQL...)
	h.PreExperiment = []PreExperimentCheck{}
	for _, m := range r.Metrics {
		for _, g := range m.Groups {
			if g.PreExperiment != nil {
				h.PreExperiment = append(h.PreExperiment, PreExperimentCheck{m.Name, g.Group, *g.PreExperiment})
			}
		}
	}
	return h, nil
}

// queryHealth asks what the scorecard does not.
func queryHealth(ctx context.Context, of study) (Health, error) {
	names := []string{}
	for _, m := range metricsOf(of.state, of.doc) {
		if doc, ok := m.Doc.(*flags.Metric); ok {
			for _, p := range partsOf(doc) {
				names = append(names, p.measure.Event)
			}
		}
	}
	s := newStatement(of.state.Project())
	s.name("experiment", of.entity.Name)
	s.name("environment", warehouse.DefaultEnvironment)
	s.name("unit", of.doc.UnitType)
	s.name("zone", zoneOf(of.state).String())
	s.parameters["events"] = array(names)
	s.parameters["start"] = "0"
	if of.doc.StartedAt != nil { // before a restart, units were others in other groups
		s.parameters["start"] = fmt.Sprint(of.doc.StartedAt.UnixMilli())
	}
	kept := []string{}
	for _, name := range of.state.Settings().KeepAttributes {
		kept = append(kept, attributePrefix+name)
	}
	s.parameters["kept"] = array(kept)
	ctx = clickhouse.Context(ctx, clickhouse.WithParameters(s.parameters))

	var h Health
	for _, text := range []string{slicesSQL, silentSQL} {
		h.SQL = append(h.SQL, s.spell(text))
	}
	var err error
	if h.Breakdown, h.Running, err = querySlices(ctx, of); err != nil {
		return Health{}, err
	}
	if h.Silent, err = querySilent(ctx, of); err != nil {
		return Health{}, err
	}
	h.Freshness, err = queryFreshness(ctx, of.db)
	return h, err
}

func querySlices(ctx context.Context, of study) ([]Slice, RunningSplit, error) {
	rows, err := of.db.Conn().Query(ctx, slicesSQL)
	if err != nil {
		return nil, RunningSplit{}, fmt.Errorf("splitting the units of experiment %q: %w", of.entity.Name, err)
	}
	defer rows.Close()
	shares := make([]float64, len(of.doc.Groups))
	for i, g := range of.doc.Groups {
		shares[i] = g.Share
	}
	type place struct{ dimension, value string }
	found := map[place][]uint64{}
	for rows.Next() {
		var at place
		var group uint8
		var units uint64
		if err := rows.Scan(&at.dimension, &at.value, &group, &units); err != nil {
			return nil, RunningSplit{}, err
		}
		if at.dimension == "rule" && slices.ContainsFunc(of.doc.Groups, func(g flags.Group) bool { return g.ID == at.value }) {
			continue // SDKs name a group as the rule that gave it: all of its units are in it
		}
		if found[at] == nil {
			found[at] = make([]uint64, len(shares))
		}
		if int(group) < len(shares) {
			found[at][group] += units
		}
	}
	list, byDay := make([]Slice, 0, len(found)), map[string][]uint64{}
	for at, units := range found {
		if at.dimension == "day" {
			byDay[at.value] = units
		}
		list = append(list, Slice{at.dimension, at.value, units, stats.SRM(units, shares)})
	}
	slices.SortFunc(list, func(a, b Slice) int {
		return cmp.Or(cmp.Compare(a.SRM.PValue.Or(2), b.SRM.PValue.Or(2)), cmp.Compare(a.Dimension, b.Dimension), cmp.Compare(a.Value, b.Value))
	})
	return list[:min(len(list), maxSlices)], runningSplit(byDay, shares), rows.Err()
}

// runningSplit looks at the split at the end of each day, on which so many units
// of each group entered.
func runningSplit(byDay map[string][]uint64, shares []float64) (r RunningSplit) {
	total, least := make([]uint64, len(shares)), 1.0
	for _, day := range slices.Sorted(maps.Keys(byDay)) {
		for i, n := range byDay[day] {
			total[i] += n
		}
		if p, ok := stats.SRM(total, shares).AnytimePValue.Get(); ok {
			least = min(least, p)
			r.Looks++
			r.PValue = stats.Defined(least)
		}
	}
	return r
}

// maxSlices bounds an answer: the least likely slices are the ones to look at.
const maxSlices = 200

func querySilent(ctx context.Context, of study) (stats.RateCheck, error) {
	rows, err := of.db.Conn().Query(ctx, silentSQL)
	if err != nil {
		return stats.RateCheck{}, fmt.Errorf("looking for silent units of experiment %q: %w", of.entity.Name, err)
	}
	defer rows.Close()
	arms := make([]stats.Proportion, len(of.doc.Groups))
	for rows.Next() {
		var group uint8
		var one stats.Proportion
		if err := rows.Scan(&group, &one.N, &one.Successes); err != nil {
			return stats.RateCheck{}, err
		}
		if int(group) < len(arms) {
			arms[group] = one
		}
	}
	return stats.CompareRates(arms), rows.Err()
}

func queryFreshness(ctx context.Context, db *warehouse.DB) (Freshness, error) {
	var f Freshness
	var exposures, events uint64
	var times [4]time.Time
	err := db.Conn().QueryRow(ctx, freshSQL).
		Scan(&exposures, &times[0], &times[1], &events, &times[2], &times[3], &f.DeadLetters)
	if err != nil {
		return Freshness{}, fmt.Errorf("looking how recent the facts are: %w", err)
	}
	if exposures > 0 {
		f.LastExposure, f.LastReceived = &times[0], &times[1]
	}
	if events > 0 {
		f.LastEvent = &times[2]
		if f.LastReceived == nil || times[3].After(*f.LastReceived) {
			f.LastReceived = &times[3]
		}
	}
	return f, nil
}
