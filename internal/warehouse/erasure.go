package warehouse

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2"
)

// An Erasure is a unit of whom nothing is kept that was received up to Before.
type Erasure struct {
	Project  string
	UnitType string
	UnitKey  uint64 // see [UnitKey]
	Before   time.Time
	Done     bool // the rows are gone
}

// Erasures are the units of each project of whom nothing is kept.
type Erasures map[string]erased

// erased are the units of one project of whom nothing is kept. The zero value is
// nobody.
type erased struct {
	before map[uint64]time.Time // up to when, by key
	types  map[string][]string  // their types by the lower case under which events may name them, too
}

// ReadErasures returns every erasure on record.
func (db *DB) ReadErasures(ctx context.Context) (all []Erasure, err error) {
	rows, err := db.conn.Query(ctx, "SELECT project, unit_type, unit_key, before, done FROM erasures FINAL")
	if err != nil {
		return nil, fmt.Errorf("reading erasures: %w", err)
	}
	defer rows.Close()
	for rows.Next() {
		var e Erasure
		if err := rows.Scan(&e.Project, &e.UnitType, &e.UnitKey, &e.Before, &e.Done); err != nil {
			return nil, fmt.Errorf("reading erasures: %w", err)
		}
		all = append(all, e)
	}
	return all, rows.Err()
}

// ByUnit sorts erasures by whom they are about.
func ByUnit(all []Erasure) Erasures {
	out := make(Erasures)
	for _, e := range all {
		if out[e.Project].before == nil {
			out[e.Project] = erased{make(map[uint64]time.Time), make(map[string][]string)}
		}
		of := out[e.Project]
		of.before[e.UnitKey] = e.Before
		if lower := strings.ToLower(e.UnitType); lower != e.UnitType && !slices.Contains(of.types[lower], e.UnitType) {
			of.types[lower] = append(of.types[lower], e.UnitType)
		}
	}
	return out
}

// WriteErasure puts an erasure on record, for loaders to heed and, when it is
// done, for whoever asks.
func (db *DB) WriteErasure(ctx context.Context, e Erasure) error {
	version := uint64(e.Before.UnixMilli()) * 2
	if e.Done {
		version++
	}
	err := db.conn.Exec(ctx, "INSERT INTO erasures (project, unit_type, unit_key, before, done, version) VALUES (?, ?, ?, fromUnixTimestamp64Milli(?, 'UTC'), ?, ?)",
		e.Project, e.UnitType, e.UnitKey, e.Before.UnixMilli(), e.Done, version) // a time as such would lose its milliseconds
	if err != nil {
		return fmt.Errorf("recording an erasure in project %s: %w", e.Project, err)
	}
	return nil
}

// Erase deletes what the tables have of a unit, from the disk and not from sight
// alone, and returns when it is gone. Doing it again changes nothing. Progress is
// called after each table; and with what it waits for, before it waits.
//
// Every table with a column unit_key is one of them. Rows of first_exposures and
// of rollups go whole: they tell of all times at once; and a rollup that had one
// counts no more, so that reports are made anew without the unit. Dead letters tell of a unit
// if its id stands in them as a text; those that nobody could read go too, since
// nobody can tell. An event may name the type in lower case, as for reports.
func (db *DB) Erase(ctx context.Context, e Erasure, progress func(done, total int, waits string)) error {
	tables, err := db.tablesOfUnits(ctx)
	if err != nil {
		return fmt.Errorf("erasing a unit: %w", err)
	}
	done, total := 0, len(tables)
	progress(done, total, "")
	erase := func(tables []unitTable) error {
		for _, t := range tables {
			// mutations_sync waits for the rows to be rewritten, on all replicas.
			statement := "ALTER TABLE " + quoteIdentifier(t.name) + variant{db.config.Cluster}.OnCluster() +
				" DELETE WHERE project = {project:String} AND " + t.condition + " SETTINGS mutations_sync = 2"
			err := db.define(ctx, statement, clickhouse.Named("project", e.Project), clickhouse.Named("unit_type", e.UnitType),
				clickhouse.Named("unit_key", fmt.Sprint(e.UnitKey)), clickhouse.Named("before", fmt.Sprint(e.Before.UnixMilli())))
			if err != nil {
				return fmt.Errorf("erasing a unit from %s: %w", t.name, err)
			}
			done++
			progress(done, total, "")
		}
		return nil
	}
	// What is made of the facts goes after them, or it could be made of them again.
	values := slices.IndexFunc(tables, func(t unitTable) bool { return t.name == variant{db.config.Cluster}.Local("unit_values") })
	if values < 0 {
		return errors.New("erasing a unit: there is no table unit_values")
	}
	made := tables[values]
	if err := erase(slices.Concat(tables[:values], tables[values+1:])); err != nil {
		return err
	}
	if err := db.forgetRollups(ctx, e, func(waits string) { progress(done, total, waits) }); err != nil {
		return fmt.Errorf("erasing a unit from rollups: %w", err)
	}
	return erase([]unitTable{made})
}

const lookAgain = 200 * time.Millisecond

// forgetRollups takes away what makes the rollups count that have a unit, once its
// facts are gone. Those that were begun before are waited for, since they may have
// it, or get it from a query that is under way: each is announced by an odd
// revision, which is made of the time ([DB.AnnounceRollup]). Waits is called with
// what it waits for, and with "" when it does no more.
func (db *DB) forgetRollups(ctx context.Context, e Erasure, waits func(what string)) error {
	begun, err := db.announced(ctx, e.Project)
	if err == nil && len(begun) > 0 {
		newest := time.UnixMilli(int64(slices.Max(begun) >> 20)).UTC()
		waits(fmt.Sprintf("what is being made of the project's facts since %s, which ends by itself, or counts as left behind at %s",
			newest.Format(time.RFC3339), newest.Add(RollupsLast).Format(time.RFC3339)))
		defer waits("")
	}
	for err == nil && len(begun) > 0 {
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(lookAgain):
		}
		var now []uint64
		now, err = db.announced(ctx, e.Project)
		begun = slices.DeleteFunc(begun, func(revision uint64) bool { return !slices.Contains(now, revision) })
	}
	if err != nil {
		return err
	}
	var counting []uint64
	err = db.conn.QueryRow(ctx, "SELECT groupUniqArray(revision) FROM unit_values WHERE project = ? AND unit_key = ? AND revision % 2 = 0", e.Project, e.UnitKey).Scan(&counting)
	if err != nil || len(counting) == 0 {
		return err
	}
	return db.define(ctx, "ALTER TABLE rollups"+variant{db.config.Cluster}.OnCluster()+" DELETE WHERE project = ? AND revision IN (?) SETTINGS mutations_sync = 2", e.Project, counting)
}

type unitTable struct{ name, condition string }

// tablesOfUnits finds the tables that hold rows of units.
func (db *DB) tablesOfUnits(ctx context.Context) (out []unitTable, err error) {
	rows, err := db.conn.Query(ctx, `
		SELECT table, groupArray(name)
		FROM system.columns
		WHERE database = currentDatabase()
		  AND table IN (SELECT name FROM system.tables WHERE database = currentDatabase() AND engine LIKE '%MergeTree')
		GROUP BY table
		ORDER BY table`)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	dead := variant{db.config.Cluster}.Local("dead_letters")
	for rows.Next() {
		var name string
		var columns []string
		if err := rows.Scan(&name, &columns); err != nil {
			return nil, err
		}
		has := make(map[string]bool)
		for _, c := range columns {
			has[c] = true
		}
		condition := ""
		switch {
		case name == "erasures":
			continue
		case name == dead:
			condition = `(reason = 'undecodable' OR arrayExists(id -> xxHash64(concat({unit_type:String}, '\x1f', id)) = {unit_key:UInt64}, extractAll(body, '"((?:[^"\\\\]|\\\\.)*)"')))`
		case has["unit_ids"]:
			condition = `(unit_key = {unit_key:UInt64} OR arrayExists(id -> id != '' AND xxHash64(concat({unit_type:String}, '\x1f', id)) = {unit_key:UInt64},
				[unit_ids[{unit_type:String}], unit_ids[lowerUTF8({unit_type:String})]]))`
		case has["unit_key"] && has["project"]:
			condition = `unit_key = {unit_key:UInt64}`
		default:
			continue
		}
		if has["received_at"] {
			condition += ` AND received_at <= fromUnixTimestamp64Milli({before:Int64}, 'UTC')`
		}
		out = append(out, unitTable{name, condition})
	}
	return out, rows.Err()
}
