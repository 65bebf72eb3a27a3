package eval

import (
	"crypto/sha256"
	"encoding/base64"
)

// HashID returns the form in which id lists travel: the first eight characters
// of the base64 of the id's SHA-256.
func HashID(id string) string {
	sum := sha256.Sum256([]byte(id))
	return base64.StdEncoding.EncodeToString(sum[:6])
}

// An IDList is an immutable set of unit ids, kept as their hashes.
type IDList struct {
	members map[string]struct{}
}

// NewIDList returns the set of the given hashed ids, each as [HashID] makes it.
func NewIDList(hashed []string) *IDList { return (&IDList{}).Add(hashed...) }

// Len returns the number of members.
func (l *IDList) Len() int { return len(l.members) }

// Add returns the list with hashed ids added; l is not changed.
func (l *IDList) Add(hashed ...string) *IDList { return l.with(hashed, nil) }

// Remove returns the list without hashed ids; l is not changed.
func (l *IDList) Remove(hashed ...string) *IDList { return l.with(nil, hashed) }

func (l *IDList) with(add, remove []string) *IDList {
	m := make(map[string]struct{}, len(l.members)+len(add))
	for k := range l.members {
		m[k] = struct{}{}
	}
	for _, k := range add {
		m[k] = struct{}{}
	}
	for _, k := range remove {
		delete(m, k)
	}
	return &IDList{m}
}
