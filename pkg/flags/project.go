package flags

import (
	"slices"
	"strings"
)

// A Project is the settings of a project.
type Project struct {
	ID   string `json:"id,omitempty"`
	Name string `json:"name" flags:"required"`
	About

	// ReasonRequired refuses changes that do not say why.
	ReasonRequired bool `json:"reasonRequired,omitempty"`
	// OFREPServerKeysOnly refuses client keys where names travel in clear.
	OFREPServerKeysOnly bool `json:"ofrepServerKeysOnly,omitempty"`

	// What exposures and events may say of users. Without these, ids only.

	KeepAttributes []string `json:"keepAttributes,omitempty"` // names of attributes that are stored
	DropFields     []string `json:"dropFields,omitempty"`     // names that are removed wherever they stand, in any case
	HashUnitIDs    bool     `json:"hashUnitIDs,omitempty"`    // keyed hashes stand in for ids
	RetentionDays  int      `json:"retentionDays,omitempty"`  // for which facts are kept after they were received; 0 for ever
}

// Settings are the project's settings: empty ones as long as it has none.
func (s *State) Settings() *Project {
	if e, ok := s.Get(Ref{KindProject, KindProject.IDPrefix() + s.Project()}); ok {
		return e.Doc.(*Project)
	}
	return &Project{}
}

// Ref implements [Document].
func (p *Project) Ref() Ref { return Ref{KindProject, p.ID} }

// DocName implements [Document].
func (p *Project) DocName() string { return p.Name }

func (p *Project) header() header { return header{&p.ID, &p.Name, &p.About, false} }

func (p *Project) normalize() {
	normalizeAbout(&p.About)
	unlist(&p.KeepAttributes)
	unlist(&p.DropFields)
}

// Drops reports whether a name is one of the fields that nothing may store. Case
// does not matter: who wants e-mail addresses gone wants those of "Email" gone.
func (p *Project) Drops(name string) bool {
	return slices.ContainsFunc(p.DropFields, func(drop string) bool { return strings.EqualFold(drop, name) })
}

func (p *Project) validate(v *validation) {
	if p.RetentionDays < 0 || p.RetentionDays > maxRetention {
		v.add("/retentionDays", CodeInvalid, "facts are kept for 1 to %d days, or for ever with 0", maxRetention)
	}
	v.texts("/keepAttributes", p.KeepAttributes, maxTags, maxField)
	v.texts("/dropFields", p.DropFields, maxTags, maxField)
	for i, name := range p.KeepAttributes {
		switch {
		case strings.EqualFold(name, "privateAttributes"):
			v.add(at("/keepAttributes", i), CodeInvalid, "private attributes are never stored")
		case slices.Contains([]string{"userID", "customIDs", "custom", "statsigEnvironment"}, name):
			v.add(at("/keepAttributes", i), CodeInvalid, "%q is no attribute: list attributes by their own names, custom ones too", name)
		case p.Drops(name):
			v.add(at("/keepAttributes", i), CodeInvalid, "%q is one of dropFields too", clip(name))
		}
	}
	for i, name := range p.DropFields {
		if strings.EqualFold(name, "userID") {
			v.add(at("/dropFields", i), CodeInvalid, "results count users by this id: set hashUnitIDs, and a hash stands in for it")
		}
	}
}

func (p *Project) references(func(mention)) {}
