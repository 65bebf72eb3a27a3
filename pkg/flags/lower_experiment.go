package flags

import (
	"encoding/json"
	"maps"
	"slices"

	"github.com/sluice-flags/sluice/pkg/eval"
)

// experiment lowers to the usual order of rules: overrides, holdouts, prestart or
// targeting, allocation, and one arm for each group. Its values are whole: what a
// group does not set has the layer's default, because SDKs merge nothing.
func (l *lowering) experiment(e Entity, x *Experiment) []eval.Spec {
	base := map[string]json.RawMessage{}
	layer, inLayer := l.state.Find(KindLayer, x.Layer)
	var layerDoc *Layer
	if inLayer {
		layerDoc = layer.Doc.(*Layer)
		base = l.defaults(layerDoc)
	}
	spec := eval.Spec{
		Name: x.Name, Type: typeConfig, Entity: eval.EntityExperiment,
		Salt: x.salt(), IDType: x.UnitType, DefaultValue: encode(base),
		Version: int64(e.Version), TargetAppIDs: x.TargetApps, DeferToCode: x.DeferToCode,
		IsActive: new(x.Status == ExperimentRunning), HasSharedParams: new(inLayer),
	}
	if inLayer {
		spec.ExplicitParameters = x.parameters()
	}
	w := writer{spec: &spec}
	if x.Status == ExperimentAbandoned {
		spec.Rules = []eval.Rule{}
		return []eval.Spec{spec}
	}
	w.open()
	if x.Status != ExperimentDecided {
		x.overrideRules(&w, base)
	}
	l.holdouts(&w, x.heldOutBy(layerDoc))

	specs := []eval.Spec{}
	switch x.Status {
	case ExperimentDraft:
		w.decline(rulePrestart, w.public())
	case ExperimentDecided:
		if g, ok := x.decided(); ok {
			r := eval.Rule{ID: g.ID, GroupName: g.Name, PassPercentage: 100, ReturnValue: merge(base, g.Parameters), Conditions: w.public()}
			w.add(r)
		}
	case ExperimentRunning:
		specs = l.targeting(&w, e, x)
		x.allocationRule(&w, layerDoc)
		x.arms(&w, base)
	}
	return append(specs, spec)
}

// heldOutBy lists the experiment's holdouts and those of its layer.
func (e *Experiment) heldOutBy(layer *Layer) []string {
	out := slices.Clone(e.Holdouts)
	if layer == nil {
		return out
	}
	for _, h := range layer.Holdouts {
		if !slices.Contains(out, h) {
			out = append(out, h)
		}
	}
	return out
}

// decided is the group that the decision names.
func (e *Experiment) decided() (Group, bool) {
	if e.Decision == nil {
		return Group{}, false
	}
	for _, g := range e.Groups {
		if g.ID == e.Decision.Group {
			return g, true
		}
	}
	return Group{}, false
}

func (e *Experiment) overrideRules(w *writer, base map[string]json.RawMessage) {
	for _, unitType := range sortedKeys(e.Overrides) {
		for _, g := range e.Groups {
			ids := e.Overrides[unitType][g.ID]
			if len(ids) == 0 {
				continue
			}
			w.add(eval.Rule{
				ID: g.ID + ":" + unitType + overrideSuffix, GroupName: g.Name, PassPercentage: 100,
				ReturnValue: merge(base, g.Parameters), Conditions: []eval.Condition{units(unitType, ids)},
				IsExperimentGroup: new(true),
			})
		}
	}
}

// targeting declines units outside the audience. Rules that say who is in can be
// asked for who is out only through a gate, so inline rules become a hidden
// segment whose name nobody can have.
func (l *lowering) targeting(w *writer, e Entity, x *Experiment) []eval.Spec {
	specs := []eval.Spec{}
	if x.TargetingGate != "" {
		name := x.TargetingGate
		if g, ok := l.state.Find(KindGate, name); ok {
			name = g.Name
		}
		w.decline(ruleTargetingGate, []eval.Condition{{Type: "fail_gate", TargetValue: encode(name), IDType: x.UnitType}})
	}
	if len(x.TargetingRules) > 0 {
		hidden := eval.Spec{
			Name: segmentPrefix + x.ID + "/targeting", Type: typeGate, Entity: eval.EntitySegment,
			Salt: x.salt() + ".targeting", IDType: x.UnitType, DefaultValue: no, Version: int64(e.Version),
		}
		inner := writer{spec: &hidden}
		inner.open()
		l.rules(&inner, x.TargetingRules)
		specs = append(specs, hidden)
		w.decline(ruleInlineTargeting, []eval.Condition{{Type: "fail_gate", TargetValue: encode(hidden.Name), IDType: x.UnitType}})
	}
	return specs
}

// allocationRule declines units that are not allocated: outside the experiment's
// buckets of the layer, or above its share of a division of its own, which grows
// from below so that raising it keeps every unit that is in.
func (e *Experiment) allocationRule(w *writer, layer *Layer) {
	if layer != nil {
		own := e.owned()
		w.decline(ruleLayerAssignment, []eval.Condition{bucket("none", encode(own.list()), layer.salt(), e.UnitType)})
		return
	}
	if n := tenths(e.Allocation); n < Buckets {
		w.decline(ruleLayerAssignment, []eval.Condition{bucket("gte", encode(n), e.salt()+".allocation", e.UnitType)})
	}
}

// arms divides the rest by cumulative bounds: the first that is above wins.
func (e *Experiment) arms(w *writer, base map[string]json.RawMessage) {
	total := 0.0
	for _, g := range e.Groups {
		total += g.Share
		w.add(eval.Rule{
			ID: g.ID, GroupName: g.Name, PassPercentage: 100, ReturnValue: merge(base, g.Parameters),
			Conditions:        []eval.Condition{bucket("lt", encode(tenths(total)), e.salt(), e.UnitType)},
			IsExperimentGroup: new(true),
		})
	}
}

// bucket compares the bucket of a unit, of a thousand.
func bucket(operator string, target json.RawMessage, salt, unitType string) eval.Condition {
	return eval.Condition{
		Type: "user_bucket", Operator: operator, TargetValue: target, IDType: unitType,
		AdditionalValues: map[string]any{"salt": salt},
	}
}

// merge puts a group's parameters over the defaults.
func merge(base map[string]json.RawMessage, parameters json.RawMessage) json.RawMessage {
	out := maps.Clone(base)
	maps.Copy(out, object(parameters))
	return encode(out)
}
