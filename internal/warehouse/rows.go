package warehouse

import (
	"time"

	"github.com/cespare/xxhash/v2"

	"github.com/sluice-flags/sluice/pkg/flags"
)

// Kinds of decision that an exposure can tell of.
const (
	KindGate       = "gate"
	KindConfig     = "config"
	KindExperiment = "experiment"
	KindLayer      = "layer" // an experiment read through a layer's parameter; Name is the experiment
)

// NoGroup is the group index of an exposure that puts its unit in no group:
// not targeted, outside the allocation, held out, or by a rule that nobody knows.
const NoGroup uint8 = 255

// DefaultEnvironment is that of a fact that names none.
const DefaultEnvironment = flags.Production

// UnitKey is the 64-bit name of a unit by which facts are sorted and joined.
// ClickHouse computes the same as xxHash64(concat(unit_type, '\x1f', unit_id)).
func UnitKey(unitType, unitID string) uint64 {
	return xxhash.Sum64String(unitType + string(unitSeparator) + unitID)
}

// unitSeparator stands in no name of a unit's type.
const unitSeparator = '\x1f'

// Bounds of the times that are stored, in milliseconds. Facts carry what a
// stranger's clock said; beyond these a column, or the packing of a first
// exposure, would wrap.
const (
	earliest = 0
	latest   = 7_258_118_400_000 // the year 2200
)

func storable(t time.Time) time.Time {
	switch {
	case t.Before(time.UnixMilli(earliest)):
		return time.UnixMilli(earliest).UTC()
	case t.After(time.UnixMilli(latest)):
		return time.UnixMilli(latest).UTC()
	}
	return t
}
