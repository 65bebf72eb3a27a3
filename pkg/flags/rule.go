package flags

import (
	"encoding/json"
	"regexp"
	"slices"
	"strings"
)

// A Rule decides for the units that meet all its conditions: those within its
// percentage get its value, the others the default, and in both cases later
// rules are not asked.
type Rule struct {
	ID   string `json:"id,omitempty"`
	Name string `json:"name,omitempty"`
	// Environments limits the rule to these; nil means all.
	Environments   []string    `json:"environments"`
	PassPercentage float64     `json:"passPercentage" flags:"required"`
	Conditions     []Condition `json:"conditions" flags:"required"`
	// Value is what a config's rule returns; absent elsewhere.
	Value json.RawMessage `json:"value,omitempty"`
	// Disabled keeps the rule in the document but out of every evaluation.
	Disabled bool `json:"disabled,omitempty"`
	// Salt is what the percentage is drawn with; empty means the id. It stays
	// when the percentage changes, so that raising it keeps everyone who is in.
	Salt string `json:"salt,omitempty"`
	// Step counts the changes of the percentage from 1. [Advance] keeps it.
	Step int `json:"step,omitempty"`
}

// A Condition compares one attribute of the user, or of the surroundings, with a
// target. Which operators a type knows, and what target each wants, is the table
// in condition.go.
type Condition struct {
	Type        string          `json:"type" flags:"required"`
	Operator    string          `json:"operator,omitempty"`
	Field       string          `json:"field,omitempty"`    // custom_field: its name
	CustomID    string          `json:"customID,omitempty"` // unit_id: the unit type
	TargetValue json.RawMessage `json:"targetValue,omitempty"`
}

// rulesOf says what the rules of a document may hold.
type rulesOf struct {
	pointer string
	values  bool // each rule has a value, or none has
}

func (v *validation) rules(rules []Rule, of rulesOf) {
	if len(rules) > maxRules {
		v.add(of.pointer, CodeTooLarge, "%d rules; at most %d", len(rules), maxRules)
		return
	}
	seen := map[string]bool{}
	for i := range rules {
		r := &rules[i]
		pointer := at(of.pointer, i)
		v.partID(at(pointer, "id"), "rule", r.ID, seen)
		v.length(at(pointer, "name"), r.Name, 200)
		v.salt(at(pointer, "salt"), r.Salt)
		v.percentage(at(pointer, "passPercentage"), r.PassPercentage, 2)
		if r.Step < 0 {
			v.add(at(pointer, "step"), CodeInvalid, "steps count from 1")
		}
		v.environments(at(pointer, "environments"), r.Environments)
		switch {
		case of.values && r.Value == nil:
			v.add(at(pointer, "value"), CodeRequired, "the rule has no value")
		case of.values:
			v.object(at(pointer, "value"), r.Value)
		case r.Value != nil:
			v.add(at(pointer, "value"), CodeUnknown, "rules have values in configs only")
		}
		if len(r.Conditions) == 0 {
			v.add(at(pointer, "conditions"), CodeRequired, `a rule for everyone has the condition {"type":"public"}`)
		}
		if len(r.Conditions) > maxConditions {
			v.add(at(pointer, "conditions"), CodeTooLarge, "%d conditions; at most %d", len(r.Conditions), maxConditions)
			continue
		}
		for j := range r.Conditions {
			r.Conditions[j].validate(at(pointer, "conditions", j), &v.problems)
		}
	}
}

var partIDPattern = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9_-]{0,63}$`)

// reservedIDs are rule ids that mean something by themselves in what SDKs log.
var reservedIDs = []string{
	ruleDefault, ruleDisabled, ruleLaunched, rulePrestart, ruleTargetingGate, ruleInlineTargeting, ruleLayerAssignment,
}

// partID checks the id of a rule or group. It goes into the wire's rule ids, where
// ':' divides, and is looked up without its case.
func (v *validation) partID(pointer, what, id string, seen map[string]bool) {
	switch {
	case id == "":
		v.add(pointer, CodeRequired, "the %s has no id", what)
	case !partIDPattern.MatchString(id):
		v.add(pointer, CodeInvalid, "%q is no id of a %s: up to 64 letters, digits, _ and -", clip(id), what)
	case slices.ContainsFunc(reservedIDs, func(r string) bool { return strings.EqualFold(r, id) }):
		v.add(pointer, CodeInvalid, "the id %q is reserved", id)
	case seen[fold(id)]:
		v.add(pointer, CodeDuplicate, "another %s has the id %q", what, id)
	}
	seen[fold(id)] = true
}

// environments checks a limitation to environments; whether they are there is
// checked with all other mentions.
func (v *validation) environments(pointer string, list []string) {
	if list != nil && len(list) == 0 {
		v.add(pointer, CodeRequired, "limited to no environment at all: null means all, disabled means none")
	}
	v.texts(pointer, list, maxList, maxValue)
}

// mentionRules yields what rules mention.
func mentionRules(pointer string, rules []Rule, yield func(mention)) {
	for i := range rules {
		mentionEnvironments(at(pointer, i, "environments"), rules[i].Environments, yield)
		for j := range rules[i].Conditions {
			rules[i].Conditions[j].references(at(pointer, i, "conditions", j), yield)
		}
	}
}

func mentionEnvironments(pointer string, names []string, yield func(mention)) {
	for i, name := range names {
		yield(mention{pointer: at(pointer, i), kind: KindEnvironment, name: name})
	}
}

func mentionHoldouts(names []string, yield func(mention)) {
	for i, name := range names {
		yield(mention{pointer: at("/holdouts", i), kind: KindHoldout, name: name, decides: true})
	}
}
