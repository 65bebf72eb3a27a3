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
	DeferToCode   bool     `json:"deferToCode,omitempty"` // OpenFeature clients keep the default in their code

	DefaultValue json.RawMessage `json:"defaultValue" flags:"required"`
	Rules        []Rule          `json:"rules"` // each with a value
	OffIn        []string        `json:"offIn,omitempty"`
	Holdouts     []string        `json:"holdouts,omitempty"`
}

// Ref implements [Document].
func (c *Config) Ref() Ref { return Ref{KindConfig, c.ID} }

// DocName implements [Document].
func (c *Config) DocName() string { return c.Name }

func (c *Config) header() header { return header{&c.ID, &c.Name, &c.About, c.Status == StatusArchived} }

func (c *Config) normalize() {
	normalizeAbout(&c.About)
	normalizeStatus(&c.Status)
	normalizeTime(&c.ExpiresAt)
	c.UnitType = CanonicalUnitType(c.UnitType)
	unlist(&c.TargetApps)
	c.DefaultValue = compact(c.DefaultValue)
	normalizeRules(&c.Rules)
	unlist(&c.OffIn)
	unlist(&c.Holdouts)
}

func (c *Config) validate(v *validation) {
	v.length("/why", c.Why, 10_000)
	oneOfValues(v, "/type", c.Type, "", TypeTemporary, TypePermanent, TypeKillSwitch)
	oneOfValues(v, "/status", c.Status, StatusInProgress, StatusLaunched, StatusDisabled, StatusArchived)
	if c.Status == StatusLaunched && len(c.Rules) != 1 {
		v.add("/status", CodeInvalid, "a launched config has exactly one rule: the one whose value everyone gets")
	}
	v.unitType("/unitType", c.UnitType)
	v.salt("/salt", c.Salt)
	v.texts("/targetApps", c.TargetApps, maxTags, 100)
	v.object("/defaultValue", c.DefaultValue)
	v.rules(c.Rules, rulesOf{pointer: "/rules", values: true})
	v.texts("/offIn", c.OffIn, maxList, maxValue)
	v.texts("/holdouts", c.Holdouts, maxTags, maxValue)
}

func (c *Config) references(yield func(mention)) {
	mentionRules("/rules", c.Rules, yield)
	mentionEnvironments("/offIn", c.OffIn, yield)
	mentionHoldouts(c.Holdouts, yield)
}
