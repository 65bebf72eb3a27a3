package flags

import (
	"errors"
	"regexp"
	"slices"
	"strings"
	"time"
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

	// TimeZone is the IANA name of the zone in which the days of results begin and
	// end; empty is UTC.
	TimeZone string `json:"timeZone,omitempty"`
}

// Zone is the zone in which the project's days begin and end: UTC as long as it
// has none, or one that this system does not know.
func (p *Project) Zone() *time.Location {
	if zone, err := loadZone(p.TimeZone); err == nil {
		return zone
	}
	return time.UTC
}

// zonePattern is what names of zones look like that everybody knows, and not
// only the files of one system, such as "posix/…".
var zonePattern = regexp.MustCompile(`^[A-Z][A-Za-z0-9_+/-]*$`)

func loadZone(name string) (*time.Location, error) {
	if name == "" {
		return time.UTC, nil
	}
	if name == "Local" || !zonePattern.MatchString(name) {
		return nil, errors.New("no name of a zone")
	}
	return time.LoadLocation(name)
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
	if _, err := loadZone(p.TimeZone); err != nil {
		v.add("/timeZone", CodeInvalid, "%q is no time zone: use a name of the IANA database, such as Europe/Berlin or America/New_York, or UTC", clip(p.TimeZone))
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
