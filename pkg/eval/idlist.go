package eval

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"iter"
)

// HashID returns the form in which id lists travel: the first eight characters
// of the base64 of the id's SHA-256.
func HashID(id string) string {
	sum := sha256.Sum256([]byte(id))
	return base64.StdEncoding.EncodeToString(sum[:6])
}

// idListShards is how many parts a list has, so that a change copies a few only:
// with a million members, adding one copies about 2,000 of them.
const idListShards = 512

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
func (l *IDList) Add(hashed ...string) *IDList { return l.each(hashed, true) }

// Remove returns the list without hashed ids; l is not changed.
func (l *IDList) Remove(hashed ...string) *IDList { return l.each(hashed, false) }

func (l *IDList) each(hashed []string, in bool) *IDList {
	return l.Edit(len(hashed), func(yield func(string, bool) bool) {
		for _, h := range hashed {
			if !yield(h, in) {
				return
			}
		}
	})
}

// Edit returns the list after changes, one after the other: each says which
// hashed id, and whether it is in from then on. About how many there are is a
// hint. l is not changed.
func (l *IDList) Edit(about int, changes iter.Seq2[string, bool]) *IDList {
	next := *l.hashed()
	var own [idListShards]bool
	for h, in := range changes {
		k, ok := memberKey(h)
		if !ok {
			continue
		}
		i := k % idListShards
		if !own[i] {
			own[i] = true
			m := make(map[uint64]struct{}, len(next.shards[i])+about/idListShards)
			for k := range next.shards[i] {
				m[k] = struct{}{}
			}
			next.shards[i] = m
		}
		before := len(next.shards[i])
		if in {
			next.shards[i][k] = struct{}{}
		} else {
			delete(next.shards[i], k)
		}
		next.n += len(next.shards[i]) - before
	}
	return &next
}

// Has reports whether a hashed id is a member; nobody is in a nil list.
func (l *IDList) Has(hashed string) bool {
	k, ok := memberKey(hashed)
	if l == nil || l.n == 0 || !ok {
		return false
	}
	l = l.hashed()
	_, ok = l.shards[k%idListShards][k]
	return ok
}

// All yields the members, hashed, in no order.
func (l *IDList) All(yield func(hashed string) bool) {
	if l == nil {
		return
	}
	for _, m := range l.hashed().shards {
		for k := range m {
			if !yield(memberText(k)) {
				return
			}
		}
	}
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

// unsalted hashes ids alone.
var unsalted salt

// memberKey packs the 48 bits of a hashed id into a word.
func memberKey(hashed string) (uint64, bool) {
	var b [8]byte
	if len(hashed) != 8 {
		return 0, false
	}
	n, err := base64.StdEncoding.Decode(b[2:], []byte(hashed))
	return binary.BigEndian.Uint64(b[:]), n == 6 && err == nil
}

// memberText is the inverse of memberKey.
func memberText(k uint64) string {
	var b [8]byte
	binary.BigEndian.PutUint64(b[:], k)
	return base64.StdEncoding.EncodeToString(b[2:])
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
	k := unsalted.hash(id) >> 16
	_, ok := l.shards[k%idListShards][k]
	return ok
}
