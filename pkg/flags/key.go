package flags

import (
	"encoding/hex"
	"slices"
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

func (k *Key) header() header { return header{&k.ID, &k.Name, &k.About} }

// Active reports whether the key lets anyone in at the given time.
func (k *Key) Active(now time.Time) bool {
	return !k.Revoked && (k.ExpiresAt == nil || now.Before(*k.ExpiresAt))
}

// Scope is what the key may see.
func (k *Key) Scope() Scope {
	return Scope{Kind: k.Kind, Environments: slices.Clone(k.Environments), TargetApps: slices.Clone(k.TargetApps)}
}

// digest is the hash as bytes.
func (k *Key) digest() (sum [32]byte, ok bool) {
	b, err := hex.DecodeString(k.Hash)
	if err != nil || len(b) != len(sum) {
		return sum, false
	}
	return [32]byte(b), true
}
