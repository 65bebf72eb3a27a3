package flags

// A Holdout keeps a share of the units out of everything that lists it, so that
// the effect of all of it together can be measured.
type Holdout struct {
	ID   string `json:"id,omitempty"`
	Name string `json:"name" flags:"required"`
	About

	Status   Status  `json:"status,omitempty"`
	UnitType string  `json:"unitType,omitempty"`
	Salt     string  `json:"salt,omitempty"`
	Share    float64 `json:"share" flags:"required"` // percent of units held out
}

// Ref implements [Document].
func (h *Holdout) Ref() Ref { return Ref{KindHoldout, h.ID} }

// DocName implements [Document].
func (h *Holdout) DocName() string { return h.Name }

func (h *Holdout) header() header {
	return header{&h.ID, &h.Name, &h.About, h.Status == StatusArchived}
}

func (h *Holdout) normalize() {
	normalizeAbout(&h.About)
	normalizeStatus(&h.Status)
	h.UnitType = CanonicalUnitType(h.UnitType)
}

func (h *Holdout) validate(v *validation) {
	oneOfValues(v, "/status", h.Status, StatusInProgress, StatusArchived)
	v.unitType("/unitType", h.UnitType)
	v.salt("/salt", h.Salt)
	v.percentage("/share", h.Share, 2)
}

func (h *Holdout) references(func(mention)) {}
