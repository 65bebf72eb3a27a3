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

// ExposureRow is one row of table exposures: this unit got this value by this rule.
type ExposureRow struct {
	Project     string
	Environment string // DefaultEnvironment if empty
	Kind        string // KindGate, KindConfig, KindExperiment or KindLayer
	Name        string // the gate, config or experiment that was decided; the layer's own name if it had no experiment
	RuleID      string
	GroupIndex  uint8 // position of the group in its experiment; NoGroup if in none
	Override    bool  // the unit was put there by hand
	UnitType    string
	UnitID      string
	Time        time.Time
	ReceivedAt  time.Time
	EventID     [16]byte
	Value       string
	Layer       string
	Parameter   string
	Sequence    uint64 // the project's version that decided, 0 if unknown
	SDKType     string
	SDKVersion  string
	Reason      string
}

// EventRow is one row of table events: something that a unit did.
type EventRow struct {
	Project     string
	Environment string // DefaultEnvironment if empty
	Event       string
	UnitType    string // the primary unit's
	UnitID      string
	UnitIDs     map[string]string // every unit id that came with the event, the primary one too
	Time        time.Time
	ReceivedAt  time.Time
	EventID     [16]byte
	Value       *float64 // nil if the event has none, or not a number
	ValueText   string
	Metadata    map[string]string
	SDKType     string
	SDKVersion  string
}

// DeadLetter is one row of table dead_letters: a fact set aside with its reason.
type DeadLetter struct {
	Project    string
	Reason     string // a stable code
	Detail     string // for people
	ReceivedAt time.Time
	EventID    [16]byte
	Body       []byte
}

// UnitKey is the 64-bit name of a unit by which facts are sorted and joined.
// ClickHouse computes the same as xxHash64(concat(unit_type, '\x1f', unit_id)).
func UnitKey(unitType, unitID string) uint64 {
	var d xxhash.Digest
	d.Reset()
	d.WriteString(unitType)
	d.WriteString("\x1f")
	d.WriteString(unitID)
	return d.Sum64()
}

// Bounds of the times that are stored. Facts carry what a stranger's clock
// said; beyond these a column, or the packing of a first exposure, would wrap.
var (
	earliest = time.UnixMilli(0).UTC()
	latest   = time.Date(2200, 1, 1, 0, 0, 0, 0, time.UTC)
)

func storable(t time.Time) time.Time {
	switch {
	case t.Before(earliest):
		return earliest
	case t.After(latest):
		return latest
	}
	return t
}
