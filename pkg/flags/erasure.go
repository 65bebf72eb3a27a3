package flags

import (
	"encoding/hex"
	"time"
)

// An Erasure is the wish that nothing be kept of what a unit did up to some
// moment. It names the unit by the 64-bit hash under which its facts stand, so
// that the log, which forgets nothing, does not remember the id. It stays: facts
// that come back, from a stream or a backup, are erased again.
type Erasure struct {
	ID   string `json:"id,omitempty"`
	Name string `json:"name" flags:"required"` // the unit's key: 16 lower-case hexadecimal digits
	About

	UnitType string     `json:"unitType" flags:"required"`
	Before   *time.Time `json:"before" flags:"required"` // facts that were received up to here
}

// Ref implements [Document].
func (e *Erasure) Ref() Ref { return Ref{KindErasure, e.ID} }

// DocName implements [Document].
func (e *Erasure) DocName() string { return e.Name }

func (e *Erasure) header() header { return header{&e.ID, &e.Name, &e.About, false} }

func (e *Erasure) normalize() {
	normalizeAbout(&e.About)
	normalizeTime(&e.Before)
	e.UnitType = CanonicalUnitType(e.UnitType)
}

func (e *Erasure) validate(v *validation) {
	v.unitType("/unitType", e.UnitType)
	if key, err := hex.DecodeString(e.Name); err != nil || len(key) != 8 || hex.EncodeToString(key) != e.Name {
		v.add("/name", CodeInvalid, "an erasure is named by the key of its unit, 16 lower-case hexadecimal digits")
	}
	if before, ok := v.before.(*Erasure); ok && e.Before.Before(*before.Before) {
		v.add("/before", CodeInvalid, "what was erased up to %s cannot come back", before.Before.Format(time.RFC3339))
	}
}

func (e *Erasure) references(func(mention)) {}
