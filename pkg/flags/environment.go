package flags

import (
	"regexp"
	"slices"
	"strings"
)

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

// Production is the environment of what happens to a client that names none, as
// in SDKs.
const Production = "production"

// EnvironmentsOf lists the environments that a key is for, by name: those that it
// names, or else all.
func (s *State) EnvironmentsOf(k *Key) (of []string) {
	for _, name := range k.Environments {
		if e, ok := s.Find(KindEnvironment, name); ok {
			of = append(of, e.Name)
		}
	}
	if len(k.Environments) == 0 {
		for e := range s.All(KindEnvironment) {
			of = append(of, e.Name)
		}
	}
	return of
}

// EnvironmentOf decides where a fact belongs that the holder of a key tells: into
// the environment that the client names as its tier, if the key is for it; else
// into production, if the key is for it or for none; else into the key's first.
func EnvironmentOf(environments []string, tier string) string {
	if tier != "" {
		for _, name := range environments {
			if strings.EqualFold(name, tier) {
				return name
			}
		}
	}
	if len(environments) == 0 || slices.Contains(environments, Production) {
		return Production
	}
	return environments[0]
}
