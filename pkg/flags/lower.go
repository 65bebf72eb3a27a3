package flags

import (
	"encoding/json"
	"slices"
	"strings"

	"github.com/sluice-flags/sluice/pkg/eval"
)

// A Scope is what a key may see of a project.
type Scope struct {
	Kind KeyKind
	// Environments limits the scope to these, by name or id; none means all. With
	// one, rules of other environments do not travel at all. With several or
	// all, the user's own tier decides.
	Environments []string
	// TargetApps limits the scope to entities for one of these apps, entities for
	// every app, and what they refer to; none means all.
	TargetApps []string
}

// Sees reports whether an entity is one that the scope's keys can decide: where it
// is not, an exposure of it was made up, or comes from a state long past. Archived
// entities were seen once.
func (scope Scope) Sees(s *State, e Entity) bool {
	if scope.Kind == KeyClient {
		switch d := e.Doc.(type) {
		case *Gate:
			if d.ClientVisible != nil && !*d.ClientVisible {
				return false
			}
		case *Config:
			if d.ClientVisible != nil && !*d.ClientVisible {
				return false
			}
		}
	}
	l := lowering{state: s, scope: scope}
	return l.visible(e)
}

// Lower returns everything that a key of the scope evaluates, each section in the
// order of names.
//
// What it returns keeps to the subset of the model on which all SDKs agree:
// lower-case operators, a unit type on every condition, dates in milliseconds,
// salts that are never empty, no rules on what is disabled, gates that return
// true and default to false, and no comparison of a date that may be absent.
func Lower(s *State, scope Scope) eval.Specs {
	l := newLowering(s, scope)
	out := eval.Specs{
		HasUpdates:     true,
		Time:           s.Time(),
		FeatureGates:   []eval.Spec{},
		DynamicConfigs: []eval.Spec{},
		LayerConfigs:   []eval.Spec{},
		Layers:         l.layers(),
	}
	if len(scope.TargetApps) == 1 {
		out.AppID = scope.TargetApps[0] // the same app that a client's payload is made for
	}
	for name := range l.lists() {
		if out.IDLists == nil {
			out.IDLists = map[string]bool{}
		}
		out.IDLists[name] = true
	}
	for _, kind := range lowered {
		for e := range s.All(kind) {
			for _, spec := range l.entity(e) {
				switch spec.Section() {
				case eval.Gates:
					out.FeatureGates = append(out.FeatureGates, spec)
				case eval.Configs:
					out.DynamicConfigs = append(out.DynamicConfigs, spec)
				case eval.Layers:
					out.LayerConfigs = append(out.LayerConfigs, spec)
				}
			}
		}
	}
	for _, section := range [][]eval.Spec{out.FeatureGates, out.DynamicConfigs, out.LayerConfigs} {
		slices.SortFunc(section, func(a, b eval.Spec) int { return strings.Compare(a.Name, b.Name) })
	}
	return out
}

// lowered lists the kinds that become specs.
var lowered = []Kind{KindSegment, KindHoldout, KindGate, KindConfig, KindLayer, KindExperiment}

// lowering lowers the entities of one state for one scope.
type lowering struct {
	state        *State
	scope        Scope
	environments []string // of the scope, by name; nil means all
}

func newLowering(s *State, scope Scope) *lowering {
	l := &lowering{state: s, scope: scope}
	for _, name := range scope.Environments {
		l.environments = append(l.environments, l.environment(name))
	}
	return l
}

// environment is the name of an environment given by name or id.
func (l *lowering) environment(nameOrID string) string {
	if e, ok := l.state.Find(KindEnvironment, nameOrID); ok {
		return e.Name
	}
	return nameOrID
}

// entity lowers one entity: to nothing if it is archived or out of scope, and to
// two specs if it needs a hidden one besides.
func (l *lowering) entity(e Entity) []eval.Spec {
	if e.Doc.header().archived || !l.visible(e) {
		return nil
	}
	switch d := e.Doc.(type) {
	case *Gate:
		return []eval.Spec{l.gate(e, d)}
	case *Config:
		return l.config(e, d)
	case *Segment:
		return []eval.Spec{l.segment(e, d)}
	case *Holdout:
		return []eval.Spec{l.holdout(e, d)}
	case *Layer:
		return []eval.Spec{l.layer(e, d)}
	case *Experiment:
		return l.experiment(e, d)
	}
	return nil
}

// visible reports whether the entity is for one of the scope's apps, or needed by
// something that might be. That is decided by looking at direct neighbours only,
// so that a change knows what it touches.
func (l *lowering) visible(e Entity) bool {
	if len(l.scope.TargetApps) == 0 {
		return true
	}
	layer := e.Ref
	switch d := e.Doc.(type) {
	case *Gate:
		return l.targeted(d.TargetApps) || len(l.state.Users(e.Ref)) > 0
	case *Config:
		return l.targeted(d.TargetApps)
	case *Experiment:
		found, ok := l.state.Find(KindLayer, d.Layer)
		if !ok {
			return l.targeted(d.TargetApps)
		}
		layer = found.Ref
	case *Layer:
	default:
		return true // segments and holdouts are for whoever needs them
	}
	// A layer and its experiments need one another.
	if found, ok := l.state.Get(layer); ok && l.targeted(found.Doc.(*Layer).TargetApps) {
		return true
	}
	return slices.ContainsFunc(l.state.experimentsIn(layer), func(x *Experiment) bool {
		return x.Status != ExperimentArchived && l.targeted(x.TargetApps)
	})
}

func (l *lowering) targeted(apps []string) bool {
	return len(apps) == 0 || slices.ContainsFunc(apps, func(app string) bool { return slices.Contains(l.scope.TargetApps, app) })
}

var (
	yes = json.RawMessage("true")
	no  = json.RawMessage("false")
)

const (
	typeGate   = "feature_gate"
	typeConfig = "dynamic_config"
)

func (l *lowering) gate(e Entity, g *Gate) eval.Spec {
	spec := eval.Spec{
		Name: g.Name, Type: typeGate, Entity: eval.EntityGate,
		Salt: orID(g.Salt, g.ID), IDType: g.UnitType, DefaultValue: no,
		Version: int64(e.Version), TargetAppIDs: g.TargetApps, DeferToCode: g.DeferToCode,
	}
	if g.ClientVisible != nil && !*g.ClientVisible {
		// Whoever makes a client's payload, we or a server's SDK, leaves holdouts
		// out of it; rules and servers can ask them like any gate.
		spec.Entity = eval.EntityHoldout
	}
	w := writer{spec: &spec}
	if !l.open(&w, g.Status, g.OffIn) {
		return spec
	}
	if g.Status == StatusLaunched {
		w.everyone(ruleLaunched, yes)
		return spec
	}
	l.overrides(&w, g)
	l.holdouts(&w, g.Holdouts)
	l.rules(&w, g.Rules)
	return spec
}

func (l *lowering) config(e Entity, c *Config) []eval.Spec {
	if l.scope.Kind == KeyClient && c.ClientVisible != nil && !*c.ClientVisible {
		return nil // nothing can ask a config
	}
	spec := eval.Spec{
		Name: c.Name, Type: typeConfig, Entity: eval.EntityConfig,
		Salt: orID(c.Salt, c.ID), IDType: c.UnitType, DefaultValue: c.DefaultValue,
		Version: int64(e.Version), TargetAppIDs: c.TargetApps, DeferToCode: c.DeferToCode,
	}
	w := writer{spec: &spec}
	if !l.open(&w, c.Status, c.OffIn) {
		return []eval.Spec{spec}
	}
	if c.Status == StatusLaunched && len(c.Rules) > 0 {
		w.everyone(ruleLaunched, c.Rules[0].Value)
		return []eval.Spec{spec}
	}
	l.holdouts(&w, c.Holdouts)
	l.rules(&w, c.Rules)
	return []eval.Spec{spec}
}

func (l *lowering) segment(e Entity, s *Segment) eval.Spec {
	spec := eval.Spec{
		Name: segmentPrefix + s.Name, Type: typeGate, Entity: eval.EntitySegment,
		Salt: orID(s.Salt, s.ID), IDType: s.UnitType, DefaultValue: no,
		Version: int64(e.Version),
	}
	w := writer{spec: &spec}
	w.open()
	if s.Type == SegmentIDList {
		w.add(eval.Rule{ID: s.ID, PassPercentage: 100, ReturnValue: yes, Conditions: []eval.Condition{{
			Type: "unit_id", Operator: "in_segment_list", TargetValue: encode(s.ID), IDType: s.UnitType,
		}}})
		return spec
	}
	l.rules(&w, s.Rules)
	return spec
}

func (l *lowering) holdout(e Entity, h *Holdout) eval.Spec {
	spec := eval.Spec{
		Name: h.Name, Type: typeGate, Entity: eval.EntityHoldout,
		Salt: orID(h.Salt, h.ID), IDType: h.UnitType, DefaultValue: no,
		Version: int64(e.Version),
	}
	w := writer{spec: &spec}
	w.open()
	w.add(eval.Rule{ID: h.ID, PassPercentage: h.Share, ReturnValue: yes, Conditions: w.public()})
	return spec
}

// open begins the rules of a gate or config, unless it is off wherever the scope
// reaches. Where it is off in some places, the first rule says so.
func (l *lowering) open(w *writer, status Status, offIn []string) bool {
	off, tier := len(offIn) > 0, []eval.Condition(nil)
	if off {
		off, tier = l.tier(offIn, w.spec.IDType)
	}
	if status == StatusDisabled || off && tier == nil {
		w.spec.Enabled, w.spec.Rules = false, []eval.Rule{}
		return false
	}
	w.open()
	if off {
		w.decline(ruleDisabled, tier)
	}
	return true
}

// tier says how something that holds in some environments travels: not at all
// (false), freely (no condition), or with a condition on the user's tier.
func (l *lowering) tier(names []string, unitType string) (travels bool, guard []eval.Condition) {
	if names == nil {
		return true, nil
	}
	var within []string
	for _, name := range names {
		name = l.environment(name)
		if l.environments == nil || slices.ContainsFunc(l.environments, func(e string) bool { return strings.EqualFold(e, name) }) {
			within = append(within, name)
		}
	}
	switch {
	case len(within) == 0:
		return false, nil
	case len(l.environments) == 1:
		return true, nil
	}
	return true, []eval.Condition{{
		Type: "environment_field", Field: "tier", Operator: "any", TargetValue: encode(within), IDType: unitType,
	}}
}

// overrides puts unit ids before every rule: those of single environments first.
func (l *lowering) overrides(w *writer, g *Gate) {
	for _, unitType := range sortedKeys(g.Overrides) {
		o := g.Overrides[unitType]
		for _, environment := range sortedKeys(o.Environments) {
			if travels, guard := l.tier([]string{environment}, unitType); travels {
				in := o.Environments[environment]
				w.override(g.ID, unitType, in.Pass, in.Fail, guard)
			}
		}
		w.override(g.ID, unitType, o.Pass, o.Fail, nil)
	}
}

// holdouts keeps the units of holdouts at the default.
func (l *lowering) holdouts(w *writer, names []string) {
	for _, name := range names {
		id, wire := name, name
		if e, ok := l.state.Find(KindHoldout, name); ok {
			id, wire = e.Ref.ID, e.Name
		}
		w.decline(id, []eval.Condition{{Type: "pass_gate", TargetValue: encode(wire), IDType: w.spec.IDType}})
	}
}

// rules appends the rules that travel in the scope.
func (l *lowering) rules(w *writer, rules []Rule) {
	for i := range rules {
		r := &rules[i]
		travels, conditions := l.tier(r.Environments, w.spec.IDType)
		if r.Disabled || !travels {
			continue
		}
		for j := range r.Conditions {
			conditions = append(conditions, l.condition(&r.Conditions[j], w.spec.IDType)...)
		}
		value := r.Value
		if w.spec.Type == typeGate {
			value = yes
		}
		w.add(eval.Rule{
			ID: r.WireID(), GroupName: r.Name, PassPercentage: r.PassPercentage, ReturnValue: value,
			Salt: new(orID(r.Salt, r.ID)), Conditions: conditions,
		})
	}
}

// layers lists the experiments of each layer.
func (l *lowering) layers() map[string][]string {
	out := map[string][]string{}
	for e := range l.state.All(KindLayer) {
		if e.Doc.header().archived || !l.visible(e) {
			continue
		}
		names := []string{}
		for _, x := range l.state.experimentsIn(e.Ref) {
			if x.Status != ExperimentArchived {
				names = append(names, x.Name)
			}
		}
		out[e.Name] = names
	}
	return out
}
