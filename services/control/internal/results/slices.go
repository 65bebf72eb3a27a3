package results

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2"

	"github.com/sluice-flags/sluice/internal/warehouse"
	"github.com/sluice-flags/sluice/pkg/flags"
)

// A slicing divides the units of an experiment by what was true when each
// entered: by a dimension of its first exposure, or by time.
type slicing struct {
	dimension string      // of the view experiment_dimension; empty for one by time
	top       int         // values with a slice of their own, the most frequent ones
	bounds    []time.Time // at which slices by time begin, but for the first
}

// key names a slicing among the questions about an experiment.
func (s slicing) key() string {
	return fmt.Sprintf(" by %q %d %v", s.dimension, s.top, s.bounds)
}

// SliceKind says which units are in a slice.
type SliceKind string

// The kinds of slice.
const (
	SliceValue   SliceKind = "value"   // those with the value
	SliceOther   SliceKind = "other"   // those with any value that has no slice of its own
	SliceMissing SliceKind = "missing" // those of whom nothing is known
)

// A sliced is what the warehouse knows of a slicing.
type sliced struct {
	values uint64  // how many different values units have
	slices []slice // largest first, then other and missing; or in the order of time
}

// A slice is what it knows of the units of one.
type slice struct {
	value   string
	kind    SliceKind
	units   []unitCount
	moments []moments
}

// Numbers of slices in a statement: what a join does not find is missing.
const (
	numberMissing = iota
	numberOther
	numberFirst // of the first slice with a value, or period
)

// readSlices asks a rollup what [plan.read] asks, slice by slice.
func (p *plan) readSlices(ctx context.Context, db *warehouse.DB, r *rollup, by slicing) (all sliced, err error) {
	s := newStatement(p.project)
	s.parameters["revision"] = strconv.FormatUint(r.revision, 10)
	var from string
	if by.dimension == "" {
		from, all = sliceByTime(by.bounds)
	} else {
		var noted uint64
		if noted, err = p.note(ctx, db, r, by.dimension); err != nil {
			return sliced{}, err
		}
		defer func() { err = errors.Join(err, p.drop(ctx, db, noted)) }()
		if from, all, err = p.sliceByValue(ctx, db, s, noted, by.top); err != nil {
			return sliced{}, err
		}
	}
	return all, p.fillSlices(ctx, db, s, r, from, all)
}

// fillSlices reads what there is to know of all slices, by statements that end with from.
func (p *plan) fillSlices(ctx context.Context, db *warehouse.DB, s *statement, r *rollup, from string, all sliced) error {
	ask := func(text string, scan func(scan func(...any) error) error) error {
		return eachRow(p.context(ctx, s, readSettings, sliceSettings), db, text, scan)
	}
	bySlice := map[uint16]*slice{}
	for i := range all.slices {
		switch of := &all.slices[i]; of.kind {
		case SliceMissing:
			bySlice[numberMissing] = of
		case SliceOther:
			bySlice[numberOther] = of
		default:
			bySlice[numberFirst+uint16(i)] = of
		}
	}
	err := ask("SELECT slice, group_index, excluded, count() AS units"+from+"\nGROUP BY slice, group_index, excluded", func(scan func(...any) error) error {
		var number uint16
		var u unitCount
		if err := scan(&number, &u.group, &u.excluded, &u.units); err != nil {
			return err
		}
		if of := bySlice[number]; of != nil {
			of.units = append(of.units, u)
		}
		return nil
	})
	if err != nil || len(p.metrics) == 0 {
		return err
	}
	err = p.momentsOf(ask, r, "slice", from, func(c cell, all []moments) {
		if of := bySlice[c.slice]; of != nil {
			of.moments = append(of.moments, all...)
		}
	})
	if err != nil {
		return err
	}
	for i := range p.metrics {
		if p.metrics[i].doc.Type == flags.MetricPercentile {
			if err := sliceQuantiles(ask, from, &p.metrics[i], r, bySlice); err != nil {
				return err
			}
		}
	}
	return nil
}

// sliceSettings bound what it takes in memory to find the slice of each unit.
var sliceSettings = clickhouse.Settings{"join_algorithm": "grace_hash", "max_bytes_in_join": 64 << 20}

// ofRollup are the rows of a rollup, after what they may be joined with.
const ofRollup = `WHERE u.revision = {revision:UInt64} AND u.project = {project:String} AND u.experiment = {experiment:String}`

// sliceRows is the end of a statement that reads the rows of a rollup with the
// number of the slice of each, which an expression says of rows u, joined or not.
func sliceRows(number, join string) string {
	return `
FROM (
    SELECT u.group_index AS group_index, u.first_exposure AS first_exposure, u.excluded AS excluded, u.values AS values, u.samples AS samples, ` + number + ` AS slice
    FROM unit_values AS u
    ` + join + `
    ` + ofRollup + `
)`
}

// sliceByTime makes a slice of every stretch between bounds.
func sliceByTime(bounds []time.Time) (from string, all sliced) {
	all.slices = make([]slice, len(bounds)+1)
	for i := range all.slices {
		all.slices[i].kind = SliceValue
	}
	millis := make([]string, len(bounds))
	for i, at := range bounds {
		millis[i] = fmt.Sprint(at.UnixMilli())
	}
	return sliceRows(fmt.Sprintf("toUInt16(%d + arrayCount(b -> toUnixTimestamp64Milli(u.first_exposure) >= b, CAST([%s] AS Array(Int64))))",
		numberFirst, strings.Join(millis, ", ")), ""), all
}

// sliceByValue makes a slice of each of the most frequent values that were noted,
// one of all others, and one of the units without.
func (p *plan) sliceByValue(ctx context.Context, db *warehouse.DB, s *statement, noted uint64, top int) (from string, all sliced, err error) {
	known := fmt.Sprintf(notedSQL, noted)
	text := `SELECT value, units, count() OVER () AS values
FROM (
    SELECT d.value AS value, count() AS units
    FROM unit_values AS u
    INNER JOIN (
        ` + known + `
    ) AS d ON u.unit_key = d.unit_key
    ` + ofRollup + ` AND u.excluded = ''
    GROUP BY value
)
ORDER BY units DESC, value ASC
LIMIT ` + fmt.Sprint(top)
	var values []string
	err = eachRow(p.context(ctx, s, readSettings, sliceSettings), db, text, func(scan func(...any) error) error {
		var value string
		var units uint64
		err := scan(&value, &units, &all.values)
		values = append(values, value)
		all.slices = append(all.slices, slice{value: value, kind: SliceValue})
		return err
	})
	if err != nil {
		return "", sliced{}, fmt.Errorf("finding the most frequent values: %w", err)
	}
	all.slices = append(all.slices, slice{kind: SliceOther}, slice{kind: SliceMissing})
	number := fmt.Sprintf("toUInt16(multiIf(d.value = '', %d, has(%[2]s, d.value), %d + indexOf(%[2]s, d.value), %d))", numberMissing, s.list(values), numberFirst-1, numberOther)
	return sliceRows(number, "LEFT JOIN (\n        "+known+"\n    ) AS d ON u.unit_key = d.unit_key"), all, nil
}
