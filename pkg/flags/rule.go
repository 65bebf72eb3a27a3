package flags

import "encoding/json"

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
// in conditions.go.
type Condition struct {
	Type        string          `json:"type" flags:"required"`
	Operator    string          `json:"operator,omitempty"`
	Field       string          `json:"field,omitempty"`    // custom_field: its name
	CustomID    string          `json:"customID,omitempty"` // unit_id: the unit type
	TargetValue json.RawMessage `json:"targetValue,omitempty"`
}
