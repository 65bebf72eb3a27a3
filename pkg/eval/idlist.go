package eval

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
)

// HashID returns the form in which id lists travel: the first eight characters
// of the base64 of the id's SHA-256.
func HashID(id string) string {
	sum := sha256.Sum256([]byte(id))
	return base64.StdEncoding.EncodeToString(sum[:6])
}

// idListShards is how many parts a list has, so that a change copies a few only.
const idListShards = 64

// An IDList is an immutable set of unit ids. Members are known by hash, as they
// travel; a list made from plain ids is asked without hashing.
type IDList struct {
	shards [idListShards]map[uint64]struct{}
	plain  map[string]struct{}
	n      int
}

// NewIDList returns the set of the given hashed ids, each as [HashID] makes it;
// anything else is no member.
func NewIDList(hashed []string) *IDList { return new(IDList).Add(hashed...) }

// NewIDListOf returns the set of the given plain ids.
func NewIDListOf(ids []string) *IDList {
	l := &IDList{plain: make(map[string]struct{}, len(ids))}
	for _, id := range ids {
		l.plain[id] = struct{}{}
	}
	l.n = len(l.plain)
	return l
}

// Len returns the number of members.
func (l *IDList) Len() int { return l.n }

// Add returns the list with hashed ids added; l is not changed.
func (l *IDList) Add(hashed ...string) *IDList {
	return l.edit(hashed, func(m map[uint64]struct{}, k uint64) { m[k] = struct{}{} })
}

// Remove returns the list without hashed ids; l is not changed.
func (l *IDList) Remove(hashed ...string) *IDList {
	return l.edit(hashed, func(m map[uint64]struct{}, k uint64) { delete(m, k) })
}

func (l *IDList) edit(hashed []string, change func(map[uint64]struct{}, uint64)) *IDList {
	next := *l.hashed()
	var own [idListShards]bool
	for _, h := range hashed {
		k, ok := memberKey(h)
		if !ok {
			continue
		}
		i := k % idListShards
		if !own[i] {
			own[i] = true
			m := make(map[uint64]struct{}, len(next.shards[i])+len(hashed)/idListShards)
			for k := range next.shards[i] {
				m[k] = struct{}{}
			}
			next.shards[i] = m
		}
		before := len(next.shards[i])
		change(next.shards[i], k)
		next.n += len(next.shards[i]) - before
	}
	return &next
}

// hashed returns the list with all members in hashed form.
func (l *IDList) hashed() *IDList {
	if l.plain == nil {
		return l
	}
	ids := make([]string, 0, len(l.plain))
	for id := range l.plain {
		ids = append(ids, HashID(id))
	}
	return NewIDList(ids)
}

// memberKey packs the 48 bits of a hashed id into a word.
func memberKey(hashed string) (uint64, bool) {
	var b [8]byte
	if len(hashed) != 8 {
		return 0, false
	}
	n, err := base64.StdEncoding.Decode(b[2:], []byte(hashed))
	return binary.BigEndian.Uint64(b[:]), n == 6 && err == nil
}

// contains reports whether the id is a member; nobody is in a nil list.
func (l *IDList) contains(id string) bool {
	if l == nil || l.n == 0 {
		return false
	}
	if l.plain != nil {
		_, ok := l.plain[id]
		return ok
	}
	k := hash64("", id) >> 16
	_, ok := l.shards[k%idListShards][k]
	return ok
}
