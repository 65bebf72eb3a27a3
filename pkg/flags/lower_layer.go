package flags

import (
	"encoding/json"
	"maps"
	"slices"
	"strings"

	"github.com/sluice-flags/sluice/pkg/eval"
)

// layer lowers to rules that each hand over to an experiment: first units that an
// override puts into one, then, past the holdouts, each experiment's buckets.
func (l *lowering) layer(e Entity, d *Layer) eval.Spec {
	spec := eval.Spec{
		Name: d.Name, Type: typeConfig, Entity: eval.EntityLayer,
		Salt: d.salt(), IDType: d.UnitType, DefaultValue: encode(l.defaults(d)),
		Version: int64(e.Version), TargetAppIDs: d.TargetApps, DeferToCode: d.DeferToCode,
	}
	w := writer{spec: &spec}
	w.open()
	experiments := l.state.experimentsIn(e.Ref)
	for _, x := range experiments {
		if x.Status != ExperimentDraft && x.Status != ExperimentRunning {
			continue
		}
		for _, unitType := range sortedKeys(x.Overrides) {
			var ids []string
			for _, g := range x.Groups {
				ids = append(ids, x.Overrides[unitType][g.ID]...)
			}
			if len(ids) > 0 {
				w.delegate(x, units(unitType, ids))
			}
		}
	}
	l.holdouts(&w, d.Holdouts)
	for _, x := range experiments {
		if x.Status == ExperimentRunning {
			own := x.owned()
			w.delegate(x, bucket("any", encode(own.list()), d.salt(), d.UnitType))
		}
	}
	return spec
}

// delegate hands units that meet the condition to an experiment.
func (w *writer) delegate(x *Experiment, condition eval.Condition) {
	w.add(eval.Rule{
		ID: x.ID, PassPercentage: 100, ReturnValue: w.spec.DefaultValue,
		Conditions: []eval.Condition{condition}, ConfigDelegate: x.Name,
	})
}

// defaults is what the layer's parameters are outside of experiments: the layer's
// own values, and over them what its decided experiments shipped, the latest
// decision on top, until they are archived.
func (l *lowering) defaults(d *Layer) map[string]json.RawMessage {
	out := map[string]json.RawMessage{}
	maps.Copy(out, object(d.Parameters))
	var shipped []*Experiment
	for _, x := range l.state.experimentsIn(d.Ref()) {
		if x.Status == ExperimentDecided {
			shipped = append(shipped, x)
		}
	}
	slices.SortStableFunc(shipped, func(a, b *Experiment) int {
		if a.EndedAt == nil || b.EndedAt == nil {
			return 0 // validated: both have one
		}
		if c := a.EndedAt.Compare(*b.EndedAt); c != 0 {
			return c
		}
		return strings.Compare(a.ID, b.ID)
	})
	for _, x := range shipped {
		if g, ok := x.decided(); ok {
			maps.Copy(out, object(g.Parameters))
		}
	}
	return out
}

// salt is what units are drawn into the layer's buckets with.
func (l *Layer) salt() string { return orID(l.Salt, l.ID) }
