package results

import (
	"context"
	"fmt"
	"slices"
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

// readSlices asks a rollup what [plan.read] asks, slice by slice. Dimensions are
// those of the exposures as they are now, asked by each statement: one that comes
// meanwhile, and is earlier than what was known of its unit, may be in some only.
func (p *plan) readSlices(ctx context.Context, db *warehouse.DB, r *rollup, by slicing) (sliced, error) {
	all := sliced{}
	s := newStatement(p.project)
	s.parameters["revision"] = strconv.FormatUint(r.revision, 10)
	from, err := p.sliceSource(ctx, db, r, by, s, &all)
	if err != nil {
		return sliced{}, err
	}
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
	err = ask("SELECT slice, group_index, excluded, count() AS units"+from+"\nGROUP BY slice, group_index, excluded", func(scan func(...any) error) error {
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
		return all, err
	}
	columns := make([]string, len(p.metrics))
	for i := range p.metrics {
		columns[i] = "[" + strings.Join(p.metrics[i].column(r, r.caps[i]), ", ") + "]"
	}
	text := "SELECT slice, group_index, [\n    " + strings.Join(columns, ",\n    ") + "\n]" + from + "\nGROUP BY slice, group_index"
	err = ask(text, func(scan func(...any) error) error {
		var number uint16
		var group uint8
		var columns [][]float64
		if err := scan(&number, &group, &columns); err != nil {
			return err
		}
		if of := bySlice[number]; of != nil {
			for i := range p.metrics {
				of.moments = append(of.moments, p.metrics[i].moments(group, columns[i], r.caps[i]))
			}
		}
		return nil
	})
	if err != nil {
		return sliced{}, err
	}
	for i := range p.metrics {
		if p.metrics[i].doc.Type == flags.MetricPercentile {
			if err := sliceQuantiles(ask, from, &p.metrics[i], r, bySlice); err != nil {
				return sliced{}, err
			}
		}
	}
	return all, nil
}

// sliceSettings bound what a unit's value takes in memory until it is counted.
var sliceSettings = clickhouse.Settings{"max_bytes_before_external_group_by": 64 << 20}

// sliceSource finds the slices, and returns the end of a statement that reads the
// rows of a rollup with the number of the slice of each.
func (p *plan) sliceSource(ctx context.Context, db *warehouse.DB, r *rollup, by slicing, s *statement, all *sliced) (from string, err error) {
	const rows = "unit_values AS u\n    %s\n    WHERE u.revision = {revision:UInt64} AND u.project = {project:String} AND u.experiment = {experiment:String}\n)"
	const columns = "\nFROM (\n    SELECT u.group_index AS group_index, u.first_exposure AS first_exposure, u.excluded AS excluded, u.values AS values, u.samples AS samples, %s AS slice\n    FROM " + rows
	if by.dimension == "" {
		bounds := make([]string, len(by.bounds))
		all.slices = make([]slice, len(by.bounds)+1)
		for i, at := range by.bounds {
			bounds[i] = fmt.Sprint(at.UnixMilli())
		}
		for i := range all.slices {
			all.slices[i].kind = SliceValue
		}
		number := fmt.Sprintf("toUInt16(%d + arrayCount(b -> toUnixTimestamp64Milli(u.first_exposure) >= b, CAST([%s] AS Array(Int64))))", numberFirst, strings.Join(bounds, ", "))
		return fmt.Sprintf(columns, number, ""), nil
	}
	s.name("dimension", by.dimension)
	const dimension = "experiment_dimension(project = {project:String}, experiment = {experiment:String}, dimension = {dimension:String})"
	top := "SELECT value, units, count() OVER () AS values FROM (\n    SELECT d.value AS value, count() AS units\n    FROM " +
		fmt.Sprintf(strings.TrimSuffix(rows, "\n)"), "INNER JOIN "+dimension+" AS d ON u.unit_key = d.unit_key") +
		" AND u.excluded = '' AND d.value != ''\n    GROUP BY value\n)\nORDER BY units DESC, value ASC\nLIMIT " + fmt.Sprint(by.top)
	var values []string
	err = eachRow(p.context(ctx, s, readSettings, sliceSettings), db, top, func(scan func(...any) error) error {
		var value string
		var units uint64
		err := scan(&value, &units, &all.values)
		values = append(values, value)
		all.slices = append(all.slices, slice{value: value, kind: SliceValue})
		return err
	})
	if err != nil {
		return "", err
	}
	all.slices = append(all.slices, slice{kind: SliceOther}, slice{kind: SliceMissing})
	number := fmt.Sprintf("toUInt16(multiIf(value = '', %d, has(%[2]s, value), %d + indexOf(%[2]s, value), %d))", numberMissing, s.list(values), numberFirst-1, numberOther)
	return fmt.Sprintf(columns, "d.slice", "LEFT ANY JOIN (SELECT unit_key, "+number+" AS slice FROM "+dimension+") AS d ON u.unit_key = d.unit_key"), nil
}

// MaxSlices bounds how many values can have a slice of their own.
const MaxSlices = 100

// Dimensions of every exposure, beside the attributes of users that a project
// keeps; also by the names of their columns.
var (
	dimensions = []string{"sdk", "sdkVersion", "reason", "rule", "layer", "day"}
	alsoCalled = map[string]string{"sdk_type": "sdk", "sdk_version": "sdkVersion", "rule_id": "rule"}
)

const attributePrefix = "user."

// ParseDimension returns the dimension that somebody means. Attributes that the
// project keeps may be named with and without "user.". The error says what there is.
func ParseDimension(project *flags.Project, name string) (string, error) {
	if column, ok := alsoCalled[name]; ok {
		name = column
	}
	if slices.Contains(dimensions, name) {
		return name, nil
	}
	attribute := strings.TrimPrefix(name, attributePrefix)
	if slices.Contains(project.KeepAttributes, attribute) {
		return attributePrefix + attribute, nil
	}
	known := slices.Clone(dimensions)
	for _, kept := range project.KeepAttributes {
		known = append(known, attributePrefix+kept)
	}
	return "", fmt.Errorf("there is no dimension %q, but %s; an attribute of users is one once the project lists it in keepAttributes, for exposures from then on",
		clip(name), strings.Join(known, ", "))
}

func clip(text string) string {
	if len(text) > 60 {
		return strings.ToValidUTF8(text[:60], "") + "…"
	}
	return text
}
