package warehouse

import (
	"context"
	"fmt"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2"
)

// Retention is for how many days the exposures and events of projects are kept,
// counted from when they were received. A project that is not in it keeps its
// facts for ever. First exposures, which name no unit but by a hash, stay.
type Retention map[string]uint16

// ReadRetention returns what [DB.SetRetention] said last of each project.
func (db *DB) ReadRetention(ctx context.Context) (Retention, error) {
	rows, err := db.conn.Query(ctx, "SELECT project, days FROM retention FINAL WHERE days > 0")
	if err != nil {
		return nil, fmt.Errorf("reading how long facts are kept: %w", err)
	}
	defer rows.Close()
	all := make(Retention)
	for rows.Next() {
		var project string
		var days uint16
		if err := rows.Scan(&project, &days); err != nil {
			return nil, fmt.Errorf("reading how long facts are kept: %w", err)
		}
		all[project] = days
	}
	return all, rows.Err()
}

// SetRetention keeps the facts of a project for some days, 0 for ever, those too
// that are stored already. The engine rewrites them in its own time, and drops
// what is too old when it merges. A loader learns it within a minute; whoever
// shortens retention by law says it again after that.
func (db *DB) SetRetention(ctx context.Context, project string, days uint16, at time.Time) error {
	err := db.conn.Exec(ctx, "INSERT INTO retention (project, days, version) VALUES (?, ?, ?)", project, days, uint64(at.UnixMilli()))
	v := variant{cluster: db.config.Cluster}
	for _, table := range []string{"exposures", "events"} {
		if err != nil {
			break
		}
		err = db.define(ctx, "ALTER TABLE "+v.Local(table)+v.OnCluster()+
			" UPDATE retention_days = {days:UInt16} WHERE project = {project:String} AND retention_days != {days:UInt16}",
			clickhouse.Named("days", fmt.Sprint(days)), clickhouse.Named("project", project))
	}
	if err != nil {
		return fmt.Errorf("keeping the facts of project %s for %d days: %w", project, days, err)
	}
	return nil
}
