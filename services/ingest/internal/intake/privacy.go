package intake

import (
	"slices"
	"strings"

	"github.com/sluice-flags/sluice/internal/bus/pseudonym"
	protocol "github.com/sluice-flags/sluice/internal/statsig"
	"github.com/sluice-flags/sluice/pkg/events"
	"github.com/sluice-flags/sluice/pkg/flags"
)

// Kept are the attributes of users that a project wants kept. Decoders read no
// others.
func Kept(s *flags.State) []string { return s.Settings().KeepAttributes }

// attributePrefix is what the name of a kept attribute begins with in metadata, so
// that it is not taken for something that the event said.
const attributePrefix = "user."

// privateAttributes is where SDKs put what must never be stored. They leave it out
// of what they log; who copies a user into metadata may not.
const privateAttributes = "privateAttributes"

// privacy is what a project's facts may not say.
type privacy struct {
	project *flags.Project
	key     *pseudonym.Key // hashes ids of units, nil if they stay
}

// drops reports whether a field is removed wherever it stands.
func (p *privacy) drops(name string) bool {
	return strings.EqualFold(name, privateAttributes) || p.project.Drops(name)
}

// apply removes from an entry what must not be stored. Nothing behind it has seen
// the entry as it came: neither ids of facts nor dead letters are made of that.
// The entry's slices are shared with the one that came, so they are never changed
// in place.
func (p *privacy) apply(entry *Entry) {
	entry.Metadata = p.strip(entry.Metadata)
	entry.Value = p.inside(entry.Value)
	entry.User.Others = p.strip(entry.User.Others)
	entry.User.Attributes = p.strip(entry.User.Attributes)
	if p.key == nil {
		return
	}
	entry.User.ID = p.key.Hash(entry.User.ID)
	entry.User.Others = slices.Clone(entry.User.Others)
	for i := range entry.User.Others {
		entry.User.Others[i].Value = p.key.Hash(entry.User.Others[i].Value)
	}
}

// strip leaves out the pairs that are dropped, and what is dropped inside of the
// others.
func (p *privacy) strip(pairs []events.Pair) []events.Pair {
	for i := range pairs {
		if p.drops(pairs[i].Name) || p.inside(pairs[i].Value) != pairs[i].Value {
			kept := slices.Clone(pairs[:i])
			for _, pair := range pairs[i:] {
				if !p.drops(pair.Name) {
					kept = append(kept, events.Pair{Name: pair.Name, Value: p.inside(pair.Value)})
				}
			}
			return kept
		}
	}
	return pairs
}

// inside removes members that are dropped from a value that is JSON.
func (p *privacy) inside(value string) string {
	if value == "" || value[0] != '{' && value[0] != '[' {
		return value
	}
	return protocol.WithoutMembers(value, p.drops)
}

// attributes are the kept attributes of a user as metadata.
func (u *User) attributes() []events.Pair {
	if len(u.Attributes) == 0 {
		return nil
	}
	pairs := make([]events.Pair, len(u.Attributes))
	for i, a := range u.Attributes {
		pairs[i] = events.Pair{Name: attributePrefix + a.Name, Value: a.Value}
	}
	return pairs
}
