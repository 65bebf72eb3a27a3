package flags

import (
	"encoding/hex"
	"net/url"
	"slices"
	"strings"
	"time"
)

// A Key is what a program shows to be let in. Only the hash of its text is
// stored.
type Key struct {
	ID   string `json:"id,omitempty"`
	Name string `json:"name" flags:"required"`
	About

	Kind KeyKind `json:"kind" flags:"required"`
	Hash string  `json:"hash" flags:"required"` // SHA-256 of the key's text, lower-case hexadecimal
	Hint string  `json:"hint,omitempty"`        // the last characters, for people to tell keys apart

	Environments []string   `json:"environments,omitempty"` // none means all
	TargetApps   []string   `json:"targetApps,omitempty"`   // none means all
	Origins      []string   `json:"origins,omitempty"`      // client keys: pages that may use it, such as https://shop.example; none means all
	Scopes       []string   `json:"scopes,omitempty"`       // console keys: what they may do
	ExpiresAt    *time.Time `json:"expiresAt,omitempty"`
	Revoked      bool       `json:"revoked,omitempty"`
}

// KeyKind is what a key is for.
type KeyKind string

// The kinds of key.
const (
	KeyServer  KeyKind = "server"  // evaluates: sees all rules of its scope
	KeyClient  KeyKind = "client"  // is public: sees values, never rules
	KeyConsole KeyKind = "console" // edits definitions
)

// Ref implements [Document].
func (k *Key) Ref() Ref { return Ref{KindKey, k.ID} }

// DocName implements [Document].
func (k *Key) DocName() string { return k.Name }

func (k *Key) header() header { return header{&k.ID, &k.Name, &k.About, false} }

// Active reports whether the key lets anyone in at the given time.
func (k *Key) Active(now time.Time) bool {
	return !k.Revoked && (k.ExpiresAt == nil || now.Before(*k.ExpiresAt))
}

// AllowsOrigin reports whether pages of an origin, as browsers name it in the
// header Origin, may use the key. Programs that are no browser name none, and
// may: a list of origins keeps other people's pages away, and nobody else.
func (k *Key) AllowsOrigin(origin string) bool {
	return origin == "" || len(k.Origins) == 0 || slices.Contains(k.Origins, origin)
}

// Scope is what the key may see.
func (k *Key) Scope() Scope {
	return Scope{Kind: k.Kind, Environments: slices.Clone(k.Environments), TargetApps: slices.Clone(k.TargetApps)}
}

// isOrigin reports whether a text is an origin just as browsers write it: another
// form would never match what they send.
func isOrigin(text string) bool {
	u, err := url.Parse(text)
	if err != nil || u.Scheme == "" || u.Hostname() == "" || text != strings.ToLower(u.Scheme+"://"+u.Host) {
		return false
	}
	port := u.Port()
	return !strings.HasSuffix(u.Host, ":") && !(u.Scheme == "https" && port == "443") && !(u.Scheme == "http" && port == "80")
}

// digest is the hash as bytes.
func (k *Key) digest() (sum [32]byte, ok bool) {
	b, err := hex.DecodeString(k.Hash)
	if err != nil || len(b) != len(sum) {
		return sum, false
	}
	return [32]byte(b), true
}

func (k *Key) normalize() {
	normalizeAbout(&k.About)
	unlist(&k.Environments)
	unlist(&k.TargetApps)
	unlist(&k.Origins)
	unlist(&k.Scopes)
	normalizeTime(&k.ExpiresAt)
}

func (k *Key) validate(v *validation) {
	oneOfValues(v, "/kind", k.Kind, KeyServer, KeyClient, KeyConsole)
	sum, ok := k.digest()
	if !ok || k.Hash != hex.EncodeToString(sum[:]) {
		v.add("/hash", CodeInvalid, "the hash is 64 lower-case hexadecimal digits")
	} else if other, ok := v.state.KeyByHash(sum); ok && other.ID != k.ID {
		v.add("/hash", CodeTaken, "another key has this hash")
	}
	v.length("/hint", k.Hint, 16)
	v.texts("/environments", k.Environments, maxTags, maxValue)
	v.texts("/targetApps", k.TargetApps, maxTags, 100)
	v.texts("/scopes", k.Scopes, maxTags, 100)
	v.texts("/origins", k.Origins, maxTags, maxValue)
	if len(k.Origins) > 0 && k.Kind != KeyClient {
		v.add("/origins", CodeInvalid, "only client keys are used by pages: leave the origins out")
	}
	for i, origin := range k.Origins {
		if !isOrigin(origin) {
			v.add(at("/origins", i), CodeInvalid, "an origin is what browsers call it: https://shop.example, with the port unless it is the usual one, in lower case and without a path")
		}
	}
	if before, ok := v.before.(*Key); ok {
		if before.Kind != k.Kind {
			v.add("/kind", CodeImmutable, "a key stays a %s key", before.Kind)
		}
		if before.Hash != k.Hash {
			v.add("/hash", CodeImmutable, "a key keeps its text: make another key instead")
		}
		if before.Revoked && !k.Revoked {
			v.add("/revoked", CodeImmutable, "a revoked key stays revoked")
		}
	}
}

func (k *Key) references(yield func(mention)) {
	mentionEnvironments("/environments", k.Environments, yield)
}
