package warehouse

import (
	"cmp"
	"context"
	"fmt"

	"github.com/ClickHouse/clickhouse-go/v2"
	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"
	"github.com/google/uuid"
)

// MaxInsertRows bounds one insert: the engine cuts larger ones into several
// blocks, of which each would be taken for a repetition of the first.
const MaxInsertRows = 500_000

// Column lists are spelled out, so that a column added by a later migration
// does not break an older loader.
const (
	insertExposures = `INSERT INTO exposures (project, environment, kind, name, rule_id, group_index, override,
		unit_type, unit_id, unit_key, ts, received_at, event_id, value, layer, parameter, sequence, sdk_type, sdk_version, reason)`
	insertEvents = `INSERT INTO events (project, environment, event, unit_type, unit_id, unit_key, unit_ids,
		ts, received_at, event_id, value, value_text, metadata, sdk_type, sdk_version)`
	insertDeadLetters = `INSERT INTO dead_letters (project, reason, detail, received_at, event_id, body)`
)

// InsertExposures writes rows as one block under token. It returns nil only
// after ClickHouse has them on disk; after an error, send the same rows under
// the same token again.
func (db *DB) InsertExposures(ctx context.Context, token string, rows []ExposureRow) error {
	return insert(ctx, db, "exposures", insertExposures, token, rows, func(b driver.Batch, r *ExposureRow) error {
		return b.Append(
			r.Project, cmp.Or(r.Environment, DefaultEnvironment), r.Kind, r.Name, r.RuleID, r.GroupIndex, r.Override,
			r.UnitType, r.UnitID, UnitKey(r.UnitType, r.UnitID), storable(r.Time), storable(r.ReceivedAt), uuid.UUID(r.EventID),
			r.Value, r.Layer, r.Parameter, r.Sequence, r.SDKType, r.SDKVersion, r.Reason,
		)
	})
}

// InsertEvents writes rows as one block under token, as [DB.InsertExposures] does.
func (db *DB) InsertEvents(ctx context.Context, token string, rows []EventRow) error {
	return insert(ctx, db, "events", insertEvents, token, rows, func(b driver.Batch, r *EventRow) error {
		return b.Append(
			r.Project, cmp.Or(r.Environment, DefaultEnvironment), r.Event, r.UnitType, r.UnitID, UnitKey(r.UnitType, r.UnitID), present(r.UnitIDs),
			storable(r.Time), storable(r.ReceivedAt), uuid.UUID(r.EventID), r.Value, r.ValueText, present(r.Metadata), r.SDKType, r.SDKVersion,
		)
	})
}

// InsertDeadLetters writes rows as one block under token, as [DB.InsertExposures] does.
func (db *DB) InsertDeadLetters(ctx context.Context, token string, rows []DeadLetter) error {
	return insert(ctx, db, "dead letters", insertDeadLetters, token, rows, func(b driver.Batch, r *DeadLetter) error {
		return b.Append(r.Project, r.Reason, r.Detail, storable(r.ReceivedAt), uuid.UUID(r.EventID), string(r.Body))
	})
}

func insert[Row any](ctx context.Context, db *DB, what, statement, token string, rows []Row, add func(driver.Batch, *Row) error) error {
	switch {
	case len(rows) == 0:
		return nil
	case token == "":
		return fmt.Errorf("inserting %s: no token: a retry would count them twice", what)
	case len(rows) > MaxInsertRows:
		return fmt.Errorf("inserting %s: %d rows in one batch, at most %d", what, len(rows), MaxInsertRows)
	}
	b, err := db.conn.PrepareBatch(once(ctx, token), statement, driver.WithReleaseConnection())
	if err != nil {
		return fmt.Errorf("inserting %s: %w", what, err)
	}
	defer b.Close()
	for i := range rows {
		if err := add(b, &rows[i]); err != nil {
			return fmt.Errorf("inserting %s: row %d: %w", what, i, err)
		}
	}
	if err := b.Send(); err != nil {
		return fmt.Errorf("inserting %s: %w", what, err)
	}
	return nil
}

// once makes the engine drop a repetition of the block that token names, in the
// table itself and in each table that a view feeds from it. The defaults of the
// server do not matter.
func once(ctx context.Context, token string) context.Context {
	return clickhouse.Context(ctx, clickhouse.WithSettings(clickhouse.Settings{
		"async_insert":               0,
		"insert_deduplicate":         1,
		"insert_deduplication_token": token,
		"deduplicate_blocks_in_dependent_materialized_views": 1,
	}))
}

func present(m map[string]string) map[string]string {
	if m == nil {
		return map[string]string{}
	}
	return m
}
