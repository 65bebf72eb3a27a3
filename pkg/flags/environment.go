package flags

import "regexp"

// An Environment is a place where flags are used: development, staging,
// production. Its name is the tier that SDKs report and never changes.
type Environment struct {
	ID   string `json:"id,omitempty"`
	Name string `json:"name" flags:"required"`
	About

	Order     int    `json:"order,omitempty"`
	Color     string `json:"color,omitempty"` // "#rrggbb"
	Protected bool   `json:"protected,omitempty"`
	Status    Status `json:"status,omitempty"`
}

// Ref implements [Document].
func (e *Environment) Ref() Ref { return Ref{KindEnvironment, e.ID} }

// DocName implements [Document].
func (e *Environment) DocName() string { return e.Name }

func (e *Environment) header() header {
	return header{&e.ID, &e.Name, &e.About, e.Status == StatusArchived}
}

func (e *Environment) normalize() {
	normalizeAbout(&e.About)
	normalizeStatus(&e.Status)
}

var colorPattern = regexp.MustCompile(`^#[0-9a-fA-F]{6}$`)

func (e *Environment) validate(v *validation) {
	oneOfValues(v, "/status", e.Status, StatusInProgress, StatusArchived)
	if e.Color != "" && !colorPattern.MatchString(e.Color) {
		v.add("/color", CodeInvalid, "%q is no color: write it as #3366ff", clip(e.Color))
	}
}

func (e *Environment) references(func(mention)) {}
