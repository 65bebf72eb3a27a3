package flags

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

func (e *Environment) header() header { return header{&e.ID, &e.Name, &e.About} }
