package results

import (
	"context"
	"database/sql/driver"
	"errors"
	"fmt"
	"io"
	"strings"
	"syscall"

	"github.com/ClickHouse/clickhouse-go/v2"

	"github.com/sluice-flags/sluice/internal/warehouse"
	"github.com/sluice-flags/sluice/pkg/stats"
)

// The questions. Names travel as parameters, never as text.
const (
	unitsSQL = `SELECT group_index, excluded, count() AS units
FROM experiment_units(project = {project:String}, experiment = {experiment:String})
GROUP BY group_index, excluded`

	momentsSQL = `SELECT metric, group_index, units, mean, m2, weight_mean, weight_m2, co_moment
FROM experiment_moments(project = {project:String}, experiment = {experiment:String})`

	sequencesSQL = `SELECT minIf(sequence, sequence > 0), max(sequence)
FROM exposures
WHERE project = {project:String} AND name = {experiment:String} AND kind IN ('experiment', 'layer')`
)

// facts are what the warehouse knows of an experiment.
type facts struct {
	units     []unitCount
	moments   []moments
	sequences SequenceRange
	sql       []string
}

// unitCount counts the units first seen in a group: those that are analysed if
// excluded is empty, else those that are not, for that reason.
type unitCount struct {
	group    uint8
	excluded string
	units    uint64
}

func query(ctx context.Context, db *warehouse.DB, project, experiment string) (facts, error) {
	ctx = clickhouse.Context(ctx,
		clickhouse.WithParameters(clickhouse.Parameters{"project": project, "experiment": experiment}),
		clickhouse.WithSettings(clickhouse.Settings{"join_algorithm": "parallel_hash"}),
	)
	var f facts
	rows := func(statement string, scan func(scan func(...any) error) error) error {
		f.sql = append(f.sql, spelled(statement, project, experiment))
		rows, err := db.Conn().Query(ctx, statement)
		if err != nil {
			return err
		}
		defer rows.Close()
		for rows.Next() {
			if err := scan(rows.Scan); err != nil {
				return err
			}
		}
		return rows.Err()
	}

	err := rows(unitsSQL, func(scan func(...any) error) error {
		var u unitCount
		err := scan(&u.group, &u.excluded, &u.units)
		f.units = append(f.units, u)
		return err
	})
	if err != nil {
		return facts{}, fmt.Errorf("counting the units of experiment %q: %w", experiment, err)
	}
	err = rows(momentsSQL, func(scan func(...any) error) error {
		var m moments
		v := &m.values
		err := scan(&m.metric, &m.group, &v.N, &v.Mean[stats.Numerator], &v.C[stats.Numerator][stats.Numerator],
			&v.Mean[stats.Denominator], &v.C[stats.Denominator][stats.Denominator], &v.C[stats.Numerator][stats.Denominator])
		v.C[stats.Denominator][stats.Numerator] = v.C[stats.Numerator][stats.Denominator]
		m.analysed, m.units, m.mean, m.m2 = v.N, v.N, v.Mean[stats.Numerator], v.C[stats.Numerator][stats.Numerator]
		m.weightMean, m.weightM2, m.common = v.Mean[stats.Denominator], v.C[stats.Denominator][stats.Denominator], v.C[stats.Numerator][stats.Denominator]
		f.moments = append(f.moments, m)
		return err
	})
	if err != nil {
		return facts{}, fmt.Errorf("measuring experiment %q: %w", experiment, err)
	}
	err = rows(sequencesSQL, func(scan func(...any) error) error {
		return scan(&f.sequences.First, &f.sequences.Last)
	})
	if err != nil {
		return facts{}, fmt.Errorf("reading the versions of experiment %q: %w", experiment, err)
	}
	return f, nil
}

// spelled is a statement with its parameters written out, for people to run.
// Project ids and names of experiments hold no quote, but who knows tomorrow.
func spelled(statement, project, experiment string) string {
	quote := func(s string) string {
		return "'" + strings.NewReplacer(`\`, `\\`, `'`, `\'`).Replace(s) + "'"
	}
	return strings.NewReplacer("{project:String}", quote(project), "{experiment:String}", quote(experiment)).Replace(statement)
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
