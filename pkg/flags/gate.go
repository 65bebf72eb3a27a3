package flags

import (
	"time"
)

// A Gate answers yes or no.
type Gate struct {
	ID   string `json:"id,omitempty"`
	Name string `json:"name" flags:"required"`
	About

	Why       string     `json:"why,omitempty"`  // aim, measure, kill date
	Type      string     `json:"type,omitempty"` // temporary, permanent, killSwitch
	ExpiresAt *time.Time `json:"expiresAt,omitempty"`

	Status        Status   `json:"status,omitempty"`
	UnitType      string   `json:"unitType,omitempty"`
	Salt          string   `json:"salt,omitempty"`
	TargetApps    []string `json:"targetApps,omitempty"`
	ClientVisible *bool    `json:"clientVisible,omitempty"` // nil means visible

	Rules     []Rule               `json:"rules"`
	Overrides map[string]Overrides `json:"overrides,omitempty"` // by unit type
	OffIn     []string             `json:"offIn,omitempty"`     // environments where the gate is killed
	Holdouts  []string             `json:"holdouts,omitempty"`
}

// Status is where a gate, config or segment is in its life.
type Status string

// The statuses. A segment, layer, holdout or metric is in progress or archived.
const (
	StatusInProgress Status = "inProgress"
	StatusLaunched   Status = "launched" // passes for everyone
	StatusDisabled   Status = "disabled" // passes for nobody
	StatusArchived   Status = "archived" // gone from every SDK, kept for its history
)

// Overrides are the unit ids of one type that bypass the rules of a gate.
type Overrides struct {
	Pass []string `json:"pass,omitempty"`
	Fail []string `json:"fail,omitempty"`
	// Environments holds lists that count in one environment only, and there
	// before the general ones.
	Environments map[string]PassFail `json:"environments,omitempty"`
}

// PassFail lists who passes and who fails.
type PassFail struct {
	Pass []string `json:"pass,omitempty"`
	Fail []string `json:"fail,omitempty"`
}

// Ref implements [Document].
func (g *Gate) Ref() Ref { return Ref{KindGate, g.ID} }

// DocName implements [Document].
func (g *Gate) DocName() string { return g.Name }

func (g *Gate) header() header { return header{&g.ID, &g.Name, &g.About} }
