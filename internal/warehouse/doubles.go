package warehouse

import (
	"context"
	"fmt"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2"
)

// CountDoubles returns, of the tables of facts by name, how many rows that were
// received since some time have the id of another such row. A merge may make one
// row of them later. The question gives way to others: it has one thread, a
// gigabyte and twenty seconds.
func (db *DB) CountDoubles(ctx context.Context, since time.Time) (map[string]int64, error) {
	ctx = clickhouse.Context(ctx, clickhouse.WithSettings(clickhouse.Settings{
		"max_threads": 1, "max_memory_usage": 1 << 30, "max_execution_time": 20,
	}))
	doubles := make(map[string]int64)
	for _, table := range []string{"exposures", "events"} {
		var n int64
		err := db.conn.QueryRow(ctx, "SELECT count() - uniqExact(event_id) FROM "+table+" WHERE received_at >= fromUnixTimestamp64Milli(?)", since.UnixMilli()).Scan(&n)
		if err != nil {
			return nil, fmt.Errorf("counting doubles in %s: %w", table, err)
		}
		doubles[table] = n
	}
	return doubles, nil
}
