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
	DeferToCode   bool     `json:"deferToCode,omitempty"`   // OpenFeature clients keep the default in their code

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

func (g *Gate) header() header { return header{&g.ID, &g.Name, &g.About, g.Status == StatusArchived} }

// The types of gate and config, for people who clean up.
const (
	TypeTemporary  = "temporary"
	TypePermanent  = "permanent"
	TypeKillSwitch = "killSwitch"
)

func (g *Gate) normalize() {
	normalizeAbout(&g.About)
	normalizeStatus(&g.Status)
	normalizeTime(&g.ExpiresAt)
	g.UnitType = CanonicalUnitType(g.UnitType)
	unlist(&g.TargetApps)
	normalizeRules(&g.Rules)
	g.Overrides = canonicalKeys(g.Overrides)
	unlist(&g.OffIn)
	unlist(&g.Holdouts)
}

func (g *Gate) validate(v *validation) {
	v.length("/why", g.Why, 10_000)
	oneOfValues(v, "/type", g.Type, "", TypeTemporary, TypePermanent, TypeKillSwitch)
	oneOfValues(v, "/status", g.Status, StatusInProgress, StatusLaunched, StatusDisabled, StatusArchived)
	v.unitType("/unitType", g.UnitType)
	v.salt("/salt", g.Salt)
	v.texts("/targetApps", g.TargetApps, maxTags, 100)
	v.rules(g.Rules, rulesOf{pointer: "/rules"})
	v.texts("/offIn", g.OffIn, maxList, maxValue)
	v.texts("/holdouts", g.Holdouts, maxTags, maxValue)
	for unitType, o := range g.Overrides {
		pointer := at("/overrides", unitType)
		v.unitType(pointer, unitType)
		seen := map[string]string{}
		v.unitIDs(at(pointer, "pass"), o.Pass, seen)
		v.unitIDs(at(pointer, "fail"), o.Fail, seen)
		for environment, lists := range o.Environments {
			pointer, seen := at(pointer, "environments", environment), map[string]string{}
			v.unitIDs(at(pointer, "pass"), lists.Pass, seen)
			v.unitIDs(at(pointer, "fail"), lists.Fail, seen)
		}
	}
}

func (g *Gate) references(yield func(mention)) {
	mentionRules("/rules", g.Rules, yield)
	mentionEnvironments("/offIn", g.OffIn, yield)
	for unitType, o := range g.Overrides {
		for environment := range o.Environments {
			yield(mention{pointer: at("/overrides", unitType, "environments", environment), kind: KindEnvironment, name: environment})
		}
	}
	mentionHoldouts(g.Holdouts, yield)
}
