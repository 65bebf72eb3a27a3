package flags

import (
	"encoding/json"
	"time"
)

// A Config answers with a JSON object: that of the first rule that matches, or
// the default.
type Config struct {
	ID   string `json:"id,omitempty"`
	Name string `json:"name" flags:"required"`
	About

	Why       string     `json:"why,omitempty"`
	Type      string     `json:"type,omitempty"`
	ExpiresAt *time.Time `json:"expiresAt,omitempty"`

	Status        Status   `json:"status,omitempty"`
	UnitType      string   `json:"unitType,omitempty"`
	Salt          string   `json:"salt,omitempty"`
	TargetApps    []string `json:"targetApps,omitempty"`
	ClientVisible *bool    `json:"clientVisible,omitempty"`

	DefaultValue json.RawMessage `json:"defaultValue" flags:"required"`
	Rules        []Rule          `json:"rules"` // each with a value
	OffIn        []string        `json:"offIn,omitempty"`
	Holdouts     []string        `json:"holdouts,omitempty"`
}

// Ref implements [Document].
func (c *Config) Ref() Ref { return Ref{KindConfig, c.ID} }

// DocName implements [Document].
func (c *Config) DocName() string { return c.Name }

func (c *Config) header() header { return header{&c.ID, &c.Name, &c.About} }
