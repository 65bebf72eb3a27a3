package events

// FactID names one fact of measurement for ever. It is derived from what the
// fact says (or from the id its sender gave it), never from when or where it
// was received, so that a retry of the same fact has the same id.
type FactID [16]byte

// Kinds of decision that an [Exposure] can record.
const (
	ExposureGate       = "gate"
	ExposureConfig     = "config"
	ExposureExperiment = "experiment"
	ExposureLayer      = "layer"
)

// NoGroup is the group index of an exposure that belongs to no group of an
// experiment: gates, configs, and units that targeting or a holdout kept out.
const NoGroup = 255

// Exposure is a fact: this unit got this value by this rule, at this time.
//
// It holds the unit's id and nothing else about it, but attributes that the
// project lists. Others that decided the rule, and private ones always, never
// become part of a fact.
type Exposure struct {
	ID          FactID
	Time        int64 // when the unit was exposed, milliseconds
	Received    int64 // when it was accepted, milliseconds
	Environment string

	Kind     string // ExposureGate, ExposureConfig, ExposureExperiment, ExposureLayer
	Name     string // the gate, config, experiment or layer that was decided
	RuleID   string
	Group    uint8 // index of the experiment's group, or NoGroup
	Override bool  // somebody put this unit there by name; results leave it out

	UnitType string // canonical: "userID", "stableID", or a custom type's name
	UnitID   string

	Value     string // "true" or "false" of a gate, the group's name of an experiment
	Layer     string // the layer that a parameter was read from
	Parameter string
	Sequence  uint64 // the project's version that decided, 0 when the sender did not say

	SDKType    string
	SDKVersion string
	Reason     string // the evaluator's reason as the sender gave it

	Metadata []Pair // attributes that the project keeps, as "user.<name>"; marks, as "sluice.<mark>"
}
