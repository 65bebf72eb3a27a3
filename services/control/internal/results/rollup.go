package results

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"strconv"
	"strings"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2"

	"github.com/sluice-flags/sluice/internal/warehouse"
	"github.com/sluice-flags/sluice/pkg/flags"
)

// A rollup holds the values of the units of an experiment, so that whoever looks
// again, the API or an analyst, reads one row a unit and not its events. It is
// made from the facts bucket by bucket and counts once it is whole; until then
// the one before it does. It is made anew when facts or definitions have changed.
type rollup struct {
	revision    uint64
	enrolled    uint64 // of its units alone, which stand beside it until it counts
	asOf        time.Time
	watermark   string
	definitions string
	cost        time.Duration
	caps        [][]float64 // by metric, then as moments.caps

	// What reports need of it, so that most of them read no unit.
	units     []unitCount
	moments   []moments
	sequences SequenceRange
}

// layout names the way in which values stand in a rollup; another is not read.
const layout = "3"

// When a rollup of an experiment that runs is good for another look though time
// has passed (windows close, days go by) or facts have come.
const (
	goodFor     = time.Minute
	cheap       = time.Second // what takes no longer is made anew whenever facts have come
	restPerCost = 20          // the others rest so many times as long as they took to make
)

// answers reports whether r still says what p asks, with the facts at m. An
// expensive one rests while facts keep coming, unless they are many more already.
func (r *rollup) answers(p *plan, m mark) bool {
	if r.revision == 0 || r.definitions != p.version() || p.end.Before(r.asOf) {
		return false
	}
	age, same := p.end.Sub(r.asOf), r.watermark == m.name
	if r.cost > cheap && age < restPerCost*r.cost {
		return same || m.still < r.cost && !m.much(r.watermark)
	}
	return same && age < goodFor
}

// version names everything but the facts that a rollup depends on.
func (p *plan) version() string { return layout + " " + p.definitions }

// context is ctx with the parameters of a statement.
func (p *plan) context(ctx context.Context, s *statement, settings ...clickhouse.Settings) context.Context {
	s.name("experiment", p.experiment)
	all := clickhouse.Settings{"join_algorithm": "hash"}
	for _, some := range settings {
		for name, value := range some {
			all[name] = value
		}
	}
	return clickhouse.Context(ctx, clickhouse.WithParameters(s.parameters), clickhouse.WithSettings(all))
}

// A Claim takes a piece of work for this process, so that no other does the same
// meanwhile; ok is false while another has it. A nil Claim is that of a process
// that is alone.
type Claim func(ctx context.Context, work string, lasting time.Duration) (release func(), ok bool)

// How long a claim lasts, and how often those look who wait for another's work.
const (
	claimFor  = 30 * time.Second // or three times what it took the last time
	lookEvery = 250 * time.Millisecond
)

// measure answers a plan: from the rollup that there is if that is good, else
// from one that it makes, or that another process is making.
//
// A plan of definitions that have been replaced since, of a past state, gets a
// rollup of its own that nobody else sees.
func measure(ctx context.Context, db *warehouse.DB, claim Claim, p *plan) (f facts, err error) {
	last, err := latestRollup(ctx, db, p)
	if err != nil {
		return facts{}, fmt.Errorf("looking for a rollup of experiment %q: %w", p.experiment, err)
	}
	if p.sequence() < sequenceOf(last.definitions) {
		return measurePast(ctx, db, p)
	}
	r, err := fresh(ctx, db, claim, p)
	if err != nil {
		return facts{}, fmt.Errorf("rolling up experiment %q: %w", p.experiment, err)
	}
	return p.read(ctx, db, &r)
}

// measurePast answers a plan from a rollup that is gone afterwards.
func measurePast(ctx context.Context, db *warehouse.DB, p *plan) (f facts, err error) {
	r, err := roll(ctx, db, p, ofPast)
	if err != nil {
		return facts{}, fmt.Errorf("rolling up experiment %q: %w", p.experiment, err)
	}
	defer func() { err = errors.Join(err, p.drop(ctx, db, r.revision)) }()
	return p.read(ctx, db, &r)
}

// sequence is the version of the project that the newest definition of p came with.
func (p *plan) sequence() uint64 { return sequenceOf(p.version()) }

// sequenceOf is the highest sequence in what version returned once.
func sequenceOf(version string) (highest uint64) {
	for i, word := range strings.Fields(version) {
		if i == 0 {
			continue // the layout
		}
		n, _ := strconv.ParseUint(word[strings.LastIndexByte(word, '@')+1:], 10, 64)
		highest = max(highest, n)
	}
	return highest
}

// fresh returns a rollup that answers p, and counts.
func fresh(ctx context.Context, db *warehouse.DB, claim Claim, p *plan) (rollup, error) {
	for {
		mark, err := watermark(ctx, db)
		if err != nil {
			return rollup{}, err
		}
		last, err := latestRollup(ctx, db, p)
		if err != nil || last.answers(p, mark) {
			return last, err
		}
		release, ok := func() {}, true
		if claim != nil {
			release, ok = claim(ctx, "rollup "+p.project+" "+p.experiment, max(claimFor, 3*last.cost))
		}
		if ok {
			defer release()
			r, err := roll(ctx, db, p, mark.name)
			if err != nil {
				return rollup{}, err
			}
			if err := errors.Join(db.PutRollup(ctx, p.row(&r)), p.drop(ctx, db, r.enrolled)); err != nil {
				return rollup{}, err
			}
			return r, sweep(ctx, db, p, last.revision)
		}
		select {
		case <-ctx.Done():
			return rollup{}, context.Cause(ctx)
		case <-time.After(lookEvery):
		}
	}
}

// refreshAfter is how old a rollup gets at most though no facts come: windows
// close as time goes by.
const refreshAfter = time.Hour

// Refresh makes the rollups anew of the experiments that run, or have ended since
// theirs was made, where facts or definitions have changed: for analysts, who ask
// rollups and nobody else. What it has to do is shared with other processes.
func (s *Service) Refresh(ctx context.Context, state *flags.State) error {
	db, err := s.warehouse()
	if err != nil {
		return err
	}
	mark, err := watermark(ctx, db)
	if err != nil {
		return classify(ctx, err)
	}
	var errs []error
	for e := range state.All(flags.KindExperiment) {
		doc, ok := e.Doc.(*flags.Experiment)
		if !ok || doc.StartedAt == nil || doc.Status == flags.ExperimentDraft || doc.Status == flags.ExperimentArchived {
			continue
		}
		errs = append(errs, s.refresh(ctx, db, mark, s.plan(state, e, doc, s.now())))
	}
	return errors.Join(errs...)
}

// refresh makes one rollup anew, if it says something else than facts at m do, and
// does not rest because it has failed.
func (s *Service) refresh(ctx context.Context, db *warehouse.DB, m mark, p *plan) error {
	if s.rests.hold(p, s.now()) {
		return nil
	}
	last, err := latestRollup(ctx, db, p)
	if err == nil && !last.settled(p, m) && !last.answers(p, m) {
		_, err = fresh(ctx, db, s.claim, p)
	}
	if err != nil {
		s.rests.begin(p, s.now())
		return classify(ctx, fmt.Errorf("refreshing experiment %q: %w", p.experiment, err))
	}
	s.rests.end(p)
	return nil
}

// settled reports whether nothing but a little time has gone by since r was made.
func (r *rollup) settled(p *plan, m mark) bool {
	return r.revision != 0 && r.definitions == p.version() && r.watermark == m.name && p.end.Sub(r.asOf) < refreshAfter
}

const (
	// The units are found once, and stand beside the rollup until it is made: as
	// rows without values under a revision of their own.
	enrolSQL = `INSERT INTO unit_values (revision, project, experiment, unit_key, group_index, first_exposure, excluded)
SELECT %d, {project:String}, {experiment:String}, unit_key, group_index, first_exposure, excluded
FROM experiment_units(project = {project:String}, experiment = {experiment:String})
WHERE first_exposure < fromUnixTimestamp64Milli(%d, 'UTC')`

	enrolledSQL = `SELECT unit_key, group_index, toUnixTimestamp64Milli(first_exposure) AS first, excluded
FROM unit_values
WHERE revision = %d AND project = {project:String} AND experiment = {experiment:String} AND %s`

	countEnrolledSQL = `SELECT count() FROM unit_values
WHERE revision = {revision:UInt64} AND project = {project:String} AND experiment = {experiment:String}`

	rollSQL = `INSERT INTO unit_values (revision, project, experiment, unit_key, group_index, first_exposure, excluded, values, samples)
SELECT %d, {project:String}, {experiment:String}, unit_key, group_index, fromUnixTimestamp64Milli(first, 'UTC'), excluded, values, samples
FROM (
%s
)`
)

// ofPast is the mark of a rollup that never counts. Its revision is odd, so that
// it is not swept away while somebody reads it.
const ofPast = ""

// revisionAt is the lowest revision of a rollup that was begun then: later ones
// are higher.
func revisionAt(begun time.Time) uint64 { return uint64(begun.UnixMilli()) << 20 }

// roll makes a rollup from the facts, in as many buckets as bound its memory.
func roll(ctx context.Context, db *warehouse.DB, p *plan, mark string) (rollup, error) {
	return rollIn(ctx, db, p, mark, 0)
}

// rollIn makes a rollup in n buckets, as many as there should be if 0. It does not
// count yet, and until it does its units stay enrolled, for erasures to wait for it;
// what was given up is taken away.
func rollIn(ctx context.Context, db *warehouse.DB, p *plan, mark string, n int) (r rollup, err error) {
	begun := time.Now()
	revision := revisionAt(begun) | rand.Uint64N(1<<20)&^1
	if mark == ofPast {
		revision |= 1
	}
	enrolled := revision ^ 2 | 1 // of the units alone: odd, for those who sweep, and another than the rollup's own
	r = rollup{revision: revision, enrolled: enrolled, asOf: p.end, watermark: mark, definitions: p.version()}
	ctx, cancel := context.WithTimeoutCause(ctx, warehouse.RollupsLast, fmt.Errorf("a rollup took longer than %v", warehouse.RollupsLast))
	defer cancel()
	defer func() {
		if err == nil && mark != ofPast {
			return
		}
		err = errors.Join(err, p.drop(ctx, db, enrolled))
		if err != nil {
			err = errors.Join(err, p.drop(ctx, db, revision))
		}
	}()
	if err := db.AnnounceRollup(ctx, p.project, enrolled); err != nil {
		return rollup{}, err
	}
	if err := execute(p.context(ctx, newStatement(p.project), rollSettings), db, fmt.Sprintf(enrolSQL, enrolled, p.end.UnixMilli())); err != nil {
		return rollup{}, fmt.Errorf("finding the units: %w", err)
	}
	if n == 0 {
		var units uint64
		err := p.ask(ctx, db, enrolled, countEnrolledSQL, func(scan func(...any) error) error { return scan(&units) })
		if err != nil {
			return rollup{}, fmt.Errorf("counting the units: %w", err)
		}
		n = bucketsFor(units, p.slots, p.unitType == flags.DefaultUnitType)
	}
	err = p.eachBucket(ctx, n, func(ctx context.Context, of keyRange) error {
		s := newStatement(p.project)
		units := fmt.Sprintf(enrolledSQL, enrolled, of.condition("unit_key"))
		return execute(p.context(ctx, s, rollSettings), db, fmt.Sprintf(rollSQL, revision, p.perUnit(s, units, of)))
	})
	if err != nil {
		return rollup{}, err
	}
	if r.caps, err = p.findCaps(ctx, db, r.revision); err != nil {
		return rollup{}, fmt.Errorf("finding caps: %w", err)
	}
	if err := p.sumUp(ctx, db, &r); err != nil {
		return rollup{}, err
	}
	r.cost = time.Since(begun)
	return r, nil
}

// rollSettings make a bucket cheap. Its rows are one block.
var rollSettings = clickhouse.Settings{
	"insert_deduplicate":            0, // a bucket is written once
	"max_insert_threads":            1,
	"max_threads":                   2,
	"optimize_on_insert":            0,
	"optimize_aggregation_in_order": 1, // facts are sorted by unit: no table of all units is held
	"query_plan_join_swap_table":    "false",
	"enable_join_runtime_filters":   0,       // nearly every event has a unit
	"max_query_size":                1 << 20, // many metrics with many filters
	"max_ast_elements":              500_000,
	"max_expanded_ast_elements":     2_000_000,
}

// endTimeout is how long it may take to end what was begun and given up.
const endTimeout = 10 * time.Second

// execute runs a statement, and sees to it that it ends when ctx does: the
// driver hangs up, which the server may notice late.
func execute(ctx context.Context, db *warehouse.DB, text string) error {
	if ctx.Err() != nil {
		return context.Cause(ctx) // nothing was begun
	}
	id := fmt.Sprintf("sluice-%016x", rand.Uint64())
	err := db.Conn().Exec(clickhouse.Context(ctx, clickhouse.WithQueryID(id)), text)
	if err == nil || ctx.Err() == nil {
		return err
	}
	killing, cancel := context.WithTimeout(context.WithoutCancel(ctx), endTimeout)
	defer cancel()
	killing = clickhouse.Context(killing, clickhouse.WithParameters(clickhouse.Parameters{"id": id}))
	return errors.Join(context.Cause(ctx), db.Conn().Exec(killing, "KILL QUERY WHERE query_id = {id:String} SYNC"))
}

const staleSQL = `SELECT DISTINCT revision FROM unit_values
WHERE project = {project:String} AND experiment IN ({experiment:String}, '')
  AND revision < if(revision % 2 = 0, {before:UInt64}, {abandoned:UInt64})`

// sweep drops rollups that nobody reads: all but the one that counts, and the one
// that counted before it, which somebody may be reading.
func sweep(ctx context.Context, db *warehouse.DB, p *plan, before uint64) error {
	s := newStatement(p.project)
	s.parameters["before"] = fmt.Sprint(before)
	s.parameters["abandoned"] = fmt.Sprint(revisionAt(time.Now().Add(-warehouse.RollupsLast)))
	rows, err := db.Conn().Query(p.context(ctx, s), staleSQL)
	if err != nil {
		return err
	}
	defer rows.Close()
	var stale []uint64
	for rows.Next() {
		var revision uint64
		if err := rows.Scan(&revision); err != nil {
			return err
		}
		stale = append(stale, revision)
	}
	if err := rows.Err(); err != nil {
		return err
	}
	for _, revision := range stale {
		if err := db.DropRollup(ctx, revision); err != nil {
			return err
		}
	}
	return nil
}

// uncapped are the caps of a metric without any.
func uncapped() []float64 {
	return []float64{math.Inf(1), math.Inf(1), math.Inf(1), math.Inf(1)}
}
