package results

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2"

	"github.com/sluice-flags/sluice/internal/warehouse"
	"github.com/sluice-flags/sluice/pkg/flags"
)

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

const (
	// What units are is asked once, and stands beside the rollup while it is sliced,
	// as its units do while it is made: in rows under an odd revision, each with its
	// value in the place of a reason. So all numbers of a breakdown are of one
	// moment, whatever exposures come meanwhile.
	noteSQL = `INSERT INTO unit_values (revision, project, experiment, unit_key, excluded)
SELECT %d, {project:String}, {experiment:String}, unit_key, value
FROM experiment_dimension(project = {project:String}, experiment = {experiment:String}, dimension = {dimension:String})
WHERE value != '' AND %s`

	notedSQL = `SELECT unit_key, excluded AS value
        FROM unit_values
        WHERE revision = %d AND project = {project:String} AND experiment = {experiment:String}`
)

// noteSettings bound what it takes to find out what the units of a bucket are.
var noteSettings = clickhouse.Settings{"max_bytes_before_external_group_by": 64 << 20}

// note writes down what the units of a rollup are in a dimension, bucket by
// bucket, and returns the revision under which; whoever has read it drops that.
func (p *plan) note(ctx context.Context, db *warehouse.DB, r *rollup, dimension string) (noted uint64, err error) {
	noted = revisionAt(time.Now()) | rand.Uint64N(1<<20) | 1
	defer func() {
		if err != nil {
			err = errors.Join(err, p.drop(ctx, db, noted))
		}
	}()
	if err := db.AnnounceRollup(ctx, p.project, noted); err != nil {
		return 0, err
	}
	var units uint64
	for _, u := range r.units {
		units += u.units
	}
	n := bucketsFor(units, 0, p.unitType == flags.DefaultUnitType)
	err = p.eachBucket(ctx, n, func(ctx context.Context, of keyRange) error {
		s := newStatement(p.project)
		s.name("dimension", dimension)
		return execute(p.context(ctx, s, rollSettings, noteSettings), db, fmt.Sprintf(noteSQL, noted, of.condition("unit_key")))
	})
	if err != nil {
		return 0, fmt.Errorf("reading what the units are: %w", err)
	}
	return noted, nil
}
