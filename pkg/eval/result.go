package eval

import (
	"encoding/json"
	"strconv"
)

// A Result is one decision, with everything that an exposure of it records. It
// is a plain value and refers only to immutable data of the ruleset.
type Result struct {
	Name      string
	RuleID    string          // the rule that decided; "default", "disabled", or "" when nothing could
	GroupName string          // the rule's label, the experiment's group
	IDType    string          // unit type of the spec
	Value     json.RawMessage // configs and layers: a JSON object, not to be modified

	ExplicitParameters  []string // layers: parameters that the allocated experiment owns
	AllocatedExperiment string   // layers: the experiment that decided
	Version             int64    // of the spec that decided
	Time                int64    // of the ruleset, milliseconds
	Sequence            uint64   // of the ruleset

	Reason           Reason
	Source           Source // of the ruleset
	Found            bool   // the name is known
	Pass             bool   // gates: the answer; else: a rule matched and its percentage passed
	InExperiment     bool   // the deciding rule is one of an experiment's groups
	ExperimentActive bool

	exposures exposures
}

// A Reason says which step of evaluation decided.
type Reason uint8

// The reasons.
const (
	ReasonUnrecognized Reason = iota // no such name
	ReasonUnsupported                // a rule asks what this evaluator cannot answer
	ReasonDisabled                   // the spec is switched off
	ReasonDefault                    // no rule matched
	ReasonRule                       // a rule matched; its percentage decided
)

// String returns the reason as it appears in answers and exposures.
func (r Reason) String() string {
	switch r {
	case ReasonUnsupported:
		return "Unsupported"
	case ReasonDisabled:
		return "Disabled"
	case ReasonDefault:
		return "Default"
	case ReasonRule:
		return "Rule"
	}
	return "Unrecognized"
}

// A Source says where a ruleset's specs came from, as whoever compiled them says
// in [Options].
type Source uint8

// The sources.
const (
	SourceUnknown   Source = iota // nobody said
	SourceNetwork                 // a server, during this run
	SourceStore                   // what an earlier run had kept
	SourceBootstrap               // handed over by the program
)

// String returns the source as it appears in reasons, "" if it is not known.
func (s Source) String() string {
	switch s {
	case SourceNetwork:
		return "Network"
	case SourceStore:
		return "Store"
	case SourceBootstrap:
		return "Bootstrap"
	}
	return ""
}

// A SecondaryExposure is a gate that was consulted on the way to a decision.
type SecondaryExposure struct {
	Gate      string `json:"gate"`
	GateValue string `json:"gateValue"` // "true" or "false"
	RuleID    string `json:"ruleID"`
}

// SecondaryExposures returns the gates consulted, nested ones first, each once.
func (r Result) SecondaryExposures() []SecondaryExposure {
	return r.exposures.list(r.exposures.n)
}

// UndelegatedSecondaryExposures returns the gates that a layer itself consulted,
// without those of the experiment it delegated to.
func (r Result) UndelegatedSecondaryExposures() []SecondaryExposure {
	return r.exposures.list(r.exposures.undelegated)
}

// inlineExposures is how many exposures a Result holds without allocating.
const inlineExposures = 4

// exposures is a list of consulted gates, as the outcomes they had. What a layer
// consulted comes first, so that the undelegated list is a prefix.
type exposures struct {
	n, undelegated int32
	inline         [inlineExposures]*outcome
	more           []*outcome // those after the inline ones
}

func (x *exposures) at(i int32) *outcome {
	if i < inlineExposures {
		return x.inline[i]
	}
	return x.more[i-inlineExposures]
}

// add appends a gate's outcome, unless the gate was consulted before: within one
// evaluation it answers the same each time.
func (x *exposures) add(o *outcome) {
	for i := range x.n {
		if x.at(i) == o {
			return
		}
	}
	if x.n < inlineExposures {
		x.inline[x.n] = o
	} else {
		x.more = append(x.more, o)
	}
	x.n++
}

func (x *exposures) list(n int32) []SecondaryExposure {
	out := make([]SecondaryExposure, n)
	for i := range n {
		o := x.at(i)
		out[i] = SecondaryExposure{o.spec.name, strconv.FormatBool(o.pass), o.ruleID}
	}
	return out
}
