package flags

import (
	"encoding/json"
	"slices"
	"strings"
)

// Buckets is how many buckets a layer, and each experiment, divides its units
// into.
const Buckets = 1000

// A Layer is a set of parameters that experiments share. Each experiment in it
// owns buckets of its own, so that no unit is in two of them.
type Layer struct {
	ID   string `json:"id,omitempty"`
	Name string `json:"name" flags:"required"`
	About

	Status      Status          `json:"status,omitempty"`
	UnitType    string          `json:"unitType,omitempty"`
	Salt        string          `json:"salt,omitempty"`
	TargetApps  []string        `json:"targetApps,omitempty"`
	DeferToCode bool            `json:"deferToCode,omitempty"`       // as a gate's
	Parameters  json.RawMessage `json:"parameters" flags:"required"` // object: name to default value
	Holdouts    []string        `json:"holdouts,omitempty"`
}

// Ref implements [Document].
func (l *Layer) Ref() Ref { return Ref{KindLayer, l.ID} }

// DocName implements [Document].
func (l *Layer) DocName() string { return l.Name }

func (l *Layer) header() header { return header{&l.ID, &l.Name, &l.About, l.Status == StatusArchived} }

func (l *Layer) normalize() {
	normalizeAbout(&l.About)
	normalizeStatus(&l.Status)
	l.UnitType = CanonicalUnitType(l.UnitType)
	unlist(&l.TargetApps)
	l.Parameters = compact(l.Parameters)
	unlist(&l.Holdouts)
}

func (l *Layer) validate(v *validation) {
	oneOfValues(v, "/status", l.Status, StatusInProgress, StatusArchived)
	v.unitType("/unitType", l.UnitType)
	v.salt("/salt", l.Salt)
	v.texts("/targetApps", l.TargetApps, maxTags, 100)
	v.texts("/holdouts", l.Holdouts, maxTags, maxValue)
	v.object("/parameters", l.Parameters)
	if v.before != nil {
		l.validateUse(v, v.before.(*Layer))
	}
}

// validateUse keeps what the layer's experiments rely on.
func (l *Layer) validateUse(v *validation, before *Layer) {
	defaults := object(l.Parameters)
	for _, e := range v.state.experimentsIn(v.ref) {
		if e.Status == ExperimentArchived || e.Status == ExperimentAbandoned {
			continue
		}
		for _, name := range e.parameters() {
			value, ok := defaults[name]
			if !ok {
				v.add(at("/parameters", name), CodeInUse, "the experiment %q sets this parameter", e.Name)
			} else if was, ok := object(before.Parameters)[name]; ok && jsonType(was) != jsonType(value) {
				v.add(at("/parameters", name), CodeInUse, "the experiment %q sets this parameter to %s", e.Name, jsonType(was))
			}
		}
		if e.Status != ExperimentRunning {
			continue
		}
		if before.UnitType != l.UnitType {
			v.add("/unitType", CodeImmutable, "the experiment %q is running", e.Name)
		}
		if before.Salt != l.Salt {
			v.add("/salt", CodeImmutable, "the experiment %q is running", e.Name)
		}
	}
}

func (l *Layer) references(yield func(mention)) { mentionHoldouts(l.Holdouts, yield) }

// experimentsIn lists the experiments of a layer in the order of their names.
func (s *State) experimentsIn(layer Ref) []*Experiment {
	var out []*Experiment
	for _, r := range s.Dependents(layer) {
		if e, ok := s.Get(r); ok {
			if x, ok := e.Doc.(*Experiment); ok {
				out = append(out, x)
			}
		}
	}
	slices.SortFunc(out, func(a, b *Experiment) int { return strings.Compare(fold(a.Name), fold(b.Name)) })
	return out
}

// object is the members of a JSON object; none if it is something else.
func object(raw json.RawMessage) map[string]json.RawMessage {
	var out map[string]json.RawMessage
	if json.Unmarshal(raw, &out) != nil {
		return nil
	}
	return out
}

// jsonType names the type of a JSON value.
func jsonType(raw json.RawMessage) string {
	if len(raw) == 0 {
		return "nothing"
	}
	switch c := raw[0]; c {
	case '{', '[', '"', 'n':
		return typeNames[c]
	case 't', 'f':
		return typeNames['t']
	}
	return typeNames['0']
}
