package flags

import "strings"

// A RuleKind is what a rule id of a decision says about how it came to be.
type RuleKind uint8

// The kinds of rule id.
const (
	RuleOfDocument RuleKind = iota // a rule, a group of an experiment, or a holdout
	RuleDefault                    // no rule matched, or none could
	RuleDisabled                   // disabled, killed, or of no environment
	RuleLaunched                   // everybody has it
	RuleOutside                    // an experiment that did not start, or left the unit out
	RuleOverride                   // somebody put the unit there by name
)

// KindOfRule reads the kind off the rule id of a decision.
func KindOfRule(id string) RuleKind {
	switch id {
	case "", ruleDefault:
		return RuleDefault
	case ruleDisabled:
		return RuleDisabled
	case ruleLaunched:
		return RuleLaunched
	case rulePrestart, ruleTargetingGate, ruleInlineTargeting, ruleLayerAssignment:
		return RuleOutside
	}
	if strings.HasSuffix(id, ":override") || strings.HasSuffix(id, overrideSuffix) {
		return RuleOverride
	}
	return RuleOfDocument
}
