package results

import (
	"context"
	"database/sql/driver"
	"errors"
	"fmt"
	"io"
	"syscall"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2"

	"github.com/sluice-flags/sluice/internal/warehouse"
)

const sequencesSQL = `SELECT minIf(sequence, sequence > 0), max(sequence)
FROM exposures
WHERE project = {project:String} AND name = {experiment:String} AND kind IN ('experiment', 'layer')
  AND environment = %s AND ts >= fromUnixTimestamp64Milli(%s, 'UTC') AND ts < fromUnixTimestamp64Milli(%s, 'UTC')`

// facts are what the warehouse knows of an experiment.
type facts struct {
	units     []unitCount
	moments   []moments
	sequences SequenceRange
	asOf      time.Time // facts before it were looked at
	sql       []string
	by        *sliced  // by the dimension that was asked for
	periods   *sliced  // by when the allocation changed
	topline   topline  // if it was asked for
	crossed   []uint64 // by group, units that saw another one later and are analysed; nil where none is
}

// unitCount counts the units first seen in a group: those that are analysed if
// excluded is empty, else those that are not, for that reason.
type unitCount struct {
	group    uint8
	excluded string
	units    uint64
}

const crossedSQL = `SELECT group_index, countIf(crossed)
FROM experiment_units(project = {project:String}, experiment = {experiment:String})
WHERE excluded = ''
GROUP BY group_index`

// countCrossed counts the units of each group that saw another one later and are
// analysed all the same.
func (p *plan) countCrossed(ctx context.Context, db *warehouse.DB, groups int) ([]uint64, error) {
	crossed := make([]uint64, groups)
	err := eachRow(p.context(ctx, newStatement(p.project)), db, crossedSQL, func(scan func(...any) error) error {
		var group uint8
		var units uint64
		err := scan(&group, &units)
		if int(group) < groups {
			crossed[group] = units
		}
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("counting the crossovers of experiment %q: %w", p.experiment, err)
	}
	return crossed, nil
}

// isConnectionError reports whether err is of the connection rather than the query.
func isConnectionError(err error) bool {
	for _, e := range []error{io.EOF, io.ErrUnexpectedEOF, syscall.EPIPE, driver.ErrBadConn, clickhouse.ErrAcquireConnTimeout, clickhouse.ErrConnectionClosed} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}
