package warehouse

import (
	"context"
	"errors"
	"fmt"
	"maps"

	"github.com/ClickHouse/ch-go"
	"github.com/ClickHouse/clickhouse-go/v2"
	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"
)

// InsertsAtOnce is how many blocks a loader has under way: while the engine waits
// for its disk with one, it sorts the next.
const InsertsAtOnce = 2

// InsertExposures writes the exposures of b as one block under token. It returns
// nil only after ClickHouse has them on disk; after an error, send the same rows
// under the same token again.
func (db *DB) InsertExposures(ctx context.Context, token string, b *Block) error {
	return db.send(ctx, token, &b.exposures.table)
}

// InsertEvents writes the events of b as one block under token, as
// [DB.InsertExposures] does.
func (db *DB) InsertEvents(ctx context.Context, token string, b *Block) error {
	return db.send(ctx, token, &b.events.table)
}

// InsertDeadLetters writes the dead letters of b as one block under token, as
// [DB.InsertExposures] does.
func (db *DB) InsertDeadLetters(ctx context.Context, token string, b *Block) error {
	return db.send(ctx, token, &b.dead.table)
}

func (db *DB) send(ctx context.Context, token string, t *table) error {
	if t.rows == 0 {
		return nil
	}
	if err := insertable(token, t.rows); err != nil {
		return fmt.Errorf("inserting into %s: %w", t.name, err)
	}
	q := ch.Query{Body: t.statement(), Input: t.input}
	settings := onceSettings(token)
	maps.Copy(settings, db.config.clusterSettings())
	for name, value := range settings {
		q.Settings = append(q.Settings, ch.Setting{Key: name, Value: fmt.Sprint(value), Important: true})
	}
	// A block has each fact once. Looking for rows that replace one another would
	// take the engine five times as long as storing them.
	q.Settings = append(q.Settings, ch.Setting{Key: "optimize_on_insert", Value: "0", Important: true})
	if err := db.native.send(ctx, q); err != nil {
		return fmt.Errorf("inserting into %s: %w", t.name, err)
	}
	return nil
}

// insertable refuses what would be counted wrongly.
func insertable(token string, rows int) error {
	switch {
	case token == "":
		return errors.New("no token: a retry would count the rows twice")
	case rows > MaxInsertRows:
		return fmt.Errorf("%d rows in one batch, at most %d", rows, MaxInsertRows)
	}
	return nil
}

// insert writes rows that are few, by the driver.
func insert[Row any](ctx context.Context, db *DB, what, statement, token string, rows []Row, add func(driver.Batch, *Row) error) error {
	if len(rows) == 0 {
		return nil
	}
	if err := insertable(token, len(rows)); err != nil {
		return fmt.Errorf("inserting %s: %w", what, err)
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

// once makes the engine drop a repetition of the block that token names.
func once(ctx context.Context, token string) context.Context {
	return clickhouse.Context(ctx, clickhouse.WithSettings(onceSettings(token)))
}

// onceSettings make the engine drop a repetition of the block that token names,
// in the table itself and in each table that a view feeds from it. The defaults
// of the server do not matter.
func onceSettings(token string) clickhouse.Settings {
	return clickhouse.Settings{
		"async_insert":               0,
		"insert_deduplicate":         1,
		"insert_deduplication_token": token,
		"deduplicate_blocks_in_dependent_materialized_views": 1,
	}
}
