package flags

import (
	"encoding/json"
	"strings"
	"time"
)

// An Experiment divides its units into groups whose metrics are compared.
type Experiment struct {
	ID   string `json:"id,omitempty"`
	Name string `json:"name" flags:"required"`
	About

	Hypothesis string           `json:"hypothesis,omitempty"`
	Status     ExperimentStatus `json:"status,omitempty"`
	StartedAt  *time.Time       `json:"startedAt,omitempty"`
	EndedAt    *time.Time       `json:"endedAt,omitempty"`
	Decision   *Decision        `json:"decision,omitempty"`

	UnitType   string   `json:"unitType,omitempty"`
	Salt       string   `json:"salt,omitempty"`
	TargetApps []string `json:"targetApps,omitempty"`
	// DeferToCode leaves OpenFeature clients with the default in their code.
	DeferToCode bool `json:"deferToCode,omitempty"`

	// Allocation is the percentage of units that may take part, in steps of 0.1.
	Allocation float64 `json:"allocation" flags:"required"`
	// Layer names the layer whose parameters the experiment sets, if any, and
	// Buckets the half-open ranges of the layer's buckets that it owns, as many
	// as Allocation says. [Advance] finds them.
	Layer   string   `json:"layer,omitempty"`
	Buckets [][2]int `json:"buckets,omitempty"`

	// Units that fail the targeting get the defaults and are not counted.
	TargetingGate  string `json:"targetingGate,omitempty"`
	TargetingRules []Rule `json:"targetingRules,omitempty"`

	Groups    []Group                        `json:"groups" flags:"required"`
	Overrides map[string]map[string][]string `json:"overrides,omitempty"` // unit type → group id → unit ids
	Holdouts  []string                       `json:"holdouts,omitempty"`
	Metrics   []string                       `json:"metrics,omitempty"` // names or ids
	// Crossovers says what becomes of units that saw more than one group.
	Crossovers CrossoverPolicy `json:"crossovers,omitempty"`
}

// CrossoverPolicy says what an analysis does with units that saw more than one group.
type CrossoverPolicy string

// The policies about crossovers.
const (
	CrossoversExcluded  CrossoverPolicy = ""      // they are left out, and counted
	CrossoversKeepFirst CrossoverPolicy = "first" // they stay in the group that they saw first
)

// A Group is one arm of an experiment. Its place among the groups is its index in
// stored facts, so once the experiment has started groups keep their place.
type Group struct {
	ID          string `json:"id,omitempty"`
	Name        string `json:"name" flags:"required"`
	Description string `json:"description,omitempty"`
	// Share is the percentage of the allocated units, in steps of 0.1.
	Share      float64         `json:"share" flags:"required"`
	Parameters json.RawMessage `json:"parameters" flags:"required"` // object
	Control    bool            `json:"control,omitempty"`           // the baseline
}

// A Decision ends an experiment: the group whose parameters everybody gets.
type Decision struct {
	Group string `json:"group" flags:"required"` // id
	Note  string `json:"note,omitempty"`
}

// ExperimentStatus is where an experiment is in its life.
type ExperimentStatus string

// The statuses of an experiment, in the order of its life.
const (
	ExperimentDraft     ExperimentStatus = "draft"     // everyone but overrides gets the defaults
	ExperimentRunning   ExperimentStatus = "running"   // units are in groups
	ExperimentDecided   ExperimentStatus = "decided"   // everyone gets the decided group's parameters
	ExperimentAbandoned ExperimentStatus = "abandoned" // everyone gets the defaults
	ExperimentArchived  ExperimentStatus = "archived"
)

// Ref implements [Document].
func (e *Experiment) Ref() Ref { return Ref{KindExperiment, e.ID} }

// DocName implements [Document].
func (e *Experiment) DocName() string { return e.Name }

func (e *Experiment) header() header {
	return header{&e.ID, &e.Name, &e.About, e.Status == ExperimentArchived}
}

const overrideSuffix = ":id_override"

// Arm says what a logged rule id means: the index of the group that the unit was
// in, and whether an override put it there. ok is false for every rule that is
// not a group's: not targeted, not allocated, not started, held out.
//
// The index is dense from 0 and stable for the life of the experiment.
func (e *Experiment) Arm(ruleID string) (index int, override, ok bool) {
	group := ruleID
	if head, found := strings.CutSuffix(ruleID, overrideSuffix); found {
		group, _, _ = strings.Cut(head, ":")
		override = true
	}
	for i := range e.Groups {
		if e.Groups[i].ID == group {
			return i, override, true
		}
	}
	return 0, false, false
}
