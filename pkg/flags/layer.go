package flags

import "encoding/json"

// Buckets is how many buckets a layer, and each experiment, divides its units
// into.
const Buckets = 1000

// A Layer is a set of parameters that experiments share. Each experiment in it
// owns buckets of its own, so that no unit is in two of them.
type Layer struct {
	ID   string `json:"id,omitempty"`
	Name string `json:"name" flags:"required"`
	About

	Status     Status          `json:"status,omitempty"`
	UnitType   string          `json:"unitType,omitempty"`
	Salt       string          `json:"salt,omitempty"`
	TargetApps []string        `json:"targetApps,omitempty"`
	Parameters json.RawMessage `json:"parameters" flags:"required"` // object: name to default value
	Holdouts   []string        `json:"holdouts,omitempty"`
}

// Ref implements [Document].
func (l *Layer) Ref() Ref { return Ref{KindLayer, l.ID} }

// DocName implements [Document].
func (l *Layer) DocName() string { return l.Name }

func (l *Layer) header() header { return header{&l.ID, &l.Name, &l.About} }
