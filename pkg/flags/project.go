package flags

// A Project is the settings of a project.
type Project struct {
	ID   string `json:"id,omitempty"`
	Name string `json:"name" flags:"required"`
	About

	// ReasonRequired refuses changes that do not say why.
	ReasonRequired bool `json:"reasonRequired,omitempty"`
	// OFREPServerKeysOnly refuses client keys where names travel in clear.
	OFREPServerKeysOnly bool `json:"ofrepServerKeysOnly,omitempty"`
}

// Ref implements [Document].
func (p *Project) Ref() Ref { return Ref{KindProject, p.ID} }

// DocName implements [Document].
func (p *Project) DocName() string { return p.Name }

func (p *Project) header() header { return header{&p.ID, &p.Name, &p.About, false} }

func (p *Project) normalize() { normalizeAbout(&p.About) }

func (p *Project) validate(*validation) {}

func (p *Project) references(func(mention)) {}
