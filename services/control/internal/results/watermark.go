package results

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2"

	"github.com/sluice-flags/sluice/internal/warehouse"
)

// Both are answered from what the engine knows of its tables, without reading.
const watermarkSQL = `SELECT (SELECT count() FROM exposures), (SELECT count() FROM events),
	(SELECT sum(latest) FROM (SELECT max(sequence) AS latest FROM load_progress GROUP BY stream, partition))`

// watermark names how far the facts have come: a question has another answer
// only when this has changed.
func watermark(ctx context.Context, db *warehouse.DB) (string, error) {
	var exposures, events, loaded uint64
	if err := db.Conn().QueryRow(ctx, watermarkSQL).Scan(&exposures, &events, &loaded); err != nil {
		return "", fmt.Errorf("looking how far the facts have come: %w", err)
	}
	return fmt.Sprintf("%d+%d/%d", exposures, events, loaded), nil
}

const periodsSQL = `SELECT toUInt64(arrayCount(b -> toUnixTimestamp64Milli(first_exposure) >= b, {bounds:Array(Int64)})) AS period, group_index, count() AS units
FROM experiment_units(project = {project:String}, experiment = {experiment:String})
WHERE excluded = ''
GROUP BY period, group_index`

// queryPeriods counts who entered when. The first period takes everybody who
// came before the second, whatever clocks say.
func queryPeriods(ctx context.Context, db *warehouse.DB, project, experiment string, periods []Period) ([]periodUnits, error) {
	bounds := make([]string, 0, len(periods))
	for _, p := range periods[1:] {
		bounds = append(bounds, fmt.Sprint(p.From.Truncate(time.Millisecond).UnixMilli()))
	}
	ctx = clickhouse.Context(ctx, clickhouse.WithParameters(clickhouse.Parameters{
		"project": project, "experiment": experiment, "bounds": "[" + strings.Join(bounds, ",") + "]",
	}))
	rows, err := db.Conn().Query(ctx, periodsSQL)
	if err != nil {
		return nil, fmt.Errorf("counting the units of experiment %q by period: %w", experiment, err)
	}
	defer rows.Close()
	var found []periodUnits
	for rows.Next() {
		var one periodUnits
		if err := rows.Scan(&one.period, &one.group, &one.units); err != nil {
			return nil, err
		}
		found = append(found, one)
	}
	return found, rows.Err()
}
