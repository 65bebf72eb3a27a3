package warehouse

import (
	"context"
	"fmt"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2"
	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"
)

// RollupRow is one row of table rollups: it makes the rows of unit_values with
// its revision the ones that count.
type RollupRow struct {
	Project     string
	Experiment  string
	Revision    uint64
	AsOf        time.Time
	Watermark   string
	Definitions string
	Cost        time.Duration
	Metrics     []RollupMetric

	Units                       []RollupUnits
	Moments                     []RollupMoments
	FirstSequence, LastSequence uint64
}

// RollupMetric says where a rollup keeps what a metric needs. Slots count from 1;
// 0 is none.
type RollupMetric struct {
	MetricID, Name, Type string
	Version              uint64
	Y, D, X, XD          int
	Steps, StepCount     int
	Sample               int
	Matures              time.Duration
	Level                float64    // of a percentile
	Caps                 [4]float64 // of the four values; +Inf = none
}

// RollupUnits counts the units of a group, or those that are excluded for a reason.
type RollupUnits struct {
	GroupIndex uint8
	Excluded   string
	Units      uint64
}

// RollupMoments are what a report needs of a metric in one group.
type RollupMoments struct {
	MetricID                       string
	GroupIndex                     uint8
	Analysed, Immature, N, Covered uint64
	Limited                        [4]uint64
	Means                          [4]float64
	Products                       [4][4]float64
	Steps                          []uint64
	Quantile, Clusters             []float64 // of a percentile
}

const insertRollups = `INSERT INTO rollups (project, experiment, revision, as_of, watermark, definitions, cost_ms, metrics,
		units, moments, first_sequence, last_sequence)`

// PutRollup makes a rollup count.
func (db *DB) PutRollup(ctx context.Context, row RollupRow) error {
	token := fmt.Sprintf("rollup:%s:%s:%d", row.Project, row.Experiment, row.Revision)
	return insert(ctx, db, "rollups", insertRollups, token, []RollupRow{row}, func(b driver.Batch, r *RollupRow) error {
		metrics := make([]map[string]any, len(r.Metrics))
		for i, m := range r.Metrics {
			metrics[i] = map[string]any{
				"metric_id": m.MetricID, "name": m.Name, "type": m.Type, "version": m.Version,
				"y": uint32(m.Y), "d": uint32(m.D), "x": uint32(m.X), "x_d": uint32(m.XD),
				"steps": uint32(m.Steps), "step_count": uint32(m.StepCount), "sample": uint32(m.Sample),
				"matures_ms": uint64(m.Matures.Milliseconds()), "level": m.Level, "caps": m.Caps[:],
			}
		}
		units := make([]map[string]any, len(r.Units))
		for i, u := range r.Units {
			units[i] = map[string]any{"group_index": u.GroupIndex, "excluded": u.Excluded, "units": u.Units}
		}
		moments := make([]map[string]any, len(r.Moments))
		for i, m := range r.Moments {
			var products []float64
			for _, row := range m.Products {
				products = append(products, row[:]...)
			}
			moments[i] = map[string]any{
				"metric_id": m.MetricID, "group_index": m.GroupIndex, "analysed": m.Analysed, "immature": m.Immature, "n": m.N, "covered": m.Covered,
				"limited": m.Limited[:], "means": m.Means[:], "products": products, "steps": m.Steps, "quantile": m.Quantile, "clusters": m.Clusters,
			}
		}
		return b.Append(r.Project, r.Experiment, r.Revision, r.AsOf, r.Watermark, r.Definitions, uint64(r.Cost.Milliseconds()), metrics,
			units, moments, r.FirstSequence, r.LastSequence)
	})
}

// RollupsLast bounds how long a rollup is made, and how long anything stands beside
// one, under an odd revision. What is older was left behind by a process that died:
// nobody waits for it, and whoever finds it drops it.
const RollupsLast = time.Hour

// AnnounceRollup says that a rollup of a project is being made, from before it asks
// for the first unit until [DB.DropRollup] of the same revision: an odd one, so many
// times 2^20 as it is milliseconds since 1970, and something. The row is of no
// experiment, so that nobody reads it as one of a unit.
func (db *DB) AnnounceRollup(ctx context.Context, project string, revision uint64) error {
	if err := db.conn.Exec(ctx, "INSERT INTO unit_values (revision, project, experiment, unit_key) VALUES (?, ?, '', 0)", revision, project); err != nil {
		return fmt.Errorf("announcing rollup %d: %w", revision, err)
	}
	return nil
}

// announced returns the odd revisions of a project that somebody may work with.
func (db *DB) announced(ctx context.Context, project string) (revisions []uint64, err error) {
	err = db.conn.QueryRow(ctx, "SELECT groupUniqArray(revision) FROM unit_values WHERE project = ? AND revision % 2 = 1 AND intDiv(revision, 1048576) > ?",
		project, time.Now().Add(-RollupsLast).UnixMilli()).Scan(&revisions)
	return revisions, err
}

// DropRollup removes the rows of a rollup that counts no more, or never did. In a
// cluster it does not wait for servers that are away: they do it when they are back.
func (db *DB) DropRollup(ctx context.Context, revision uint64) error {
	v := variant{db.config.Cluster}
	if v.cluster != "" {
		ctx = clickhouse.Context(ctx, clickhouse.WithSettings(clickhouse.Settings{"distributed_ddl_task_timeout": 0}))
	}
	err := db.define(ctx, fmt.Sprintf("ALTER TABLE %s%s DROP PARTITION %d", v.Local("unit_values"), v.OnCluster(), revision))
	if err != nil {
		return fmt.Errorf("dropping rollup %d: %w", revision, err)
	}
	return nil
}

// MetricVersionRow is one row of table metric_versions.
type MetricVersionRow struct {
	Project    string
	MetricID   string
	Version    uint64 // of the project
	At         time.Time
	Name       string
	Type       string
	Direction  string
	Definition string // JSON
}

const insertMetricVersions = `INSERT INTO metric_versions (project, metric_id, version, at, name, type, direction, definition)`

// PutMetricVersions mirrors definitions, as one block under token.
func (db *DB) PutMetricVersions(ctx context.Context, token string, rows []MetricVersionRow) error {
	return insert(ctx, db, "metric_versions", insertMetricVersions, token, rows, func(b driver.Batch, r *MetricVersionRow) error {
		return b.Append(r.Project, r.MetricID, r.Version, r.At, r.Name, r.Type, r.Direction, r.Definition)
	})
}
