package flags

// Rule ids on the wire that stand for themselves rather than for a rule or group
// of a document.
const (
	ruleDefault         = "default"  // no rule matched
	ruleDisabled        = "disabled" // disabled, killed, or of no environment
	ruleLaunched        = "launched"
	rulePrestart        = "prestart" // the experiment has not started
	ruleTargetingGate   = "targetingGate"
	ruleInlineTargeting = "inlineTargetingRules"
	ruleLayerAssignment = "layerAssignment" // the unit is not allocated
)

// segmentPrefix sets the names of segments apart from those of gates, with which
// they share a table on the wire.
const segmentPrefix = "segment:"
