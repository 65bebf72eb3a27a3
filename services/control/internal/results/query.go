package results

import (
	"database/sql/driver"
	"errors"
	"io"
	"syscall"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2"
)

const sequencesSQL = `SELECT minIf(sequence, sequence > 0), max(sequence)
FROM exposures
WHERE project = {project:String} AND name = {experiment:String} AND kind IN ('experiment', 'layer')`

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

// isConnectionError reports whether err is of the connection rather than the query.
func isConnectionError(err error) bool {
	for _, e := range []error{io.EOF, io.ErrUnexpectedEOF, syscall.EPIPE, driver.ErrBadConn, clickhouse.ErrAcquireConnTimeout, clickhouse.ErrConnectionClosed} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}
