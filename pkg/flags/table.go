package flags

import (
	"hash/maphash"
	"maps"
)

// shards is how many parts a table has. Changing one entry copies one part: with
// 10,000 entries about 40 of them.
const shards = 256

// A table is an immutable map. The zero table is empty.
type table[K comparable, V any] struct {
	parts *[shards]map[K]V
	size  int
}

// seed makes shards differ between processes, and nothing else: no order of a
// table ever shows.
var seed = maphash.MakeSeed()

func (t table[K, V]) get(key K) (value V, ok bool) {
	if t.parts == nil {
		return value, false
	}
	value, ok = t.parts[maphash.Comparable(seed, key)%shards][key]
	return value, ok
}

// all yields the entries in no order.
func (t table[K, V]) all(yield func(K, V) bool) {
	if t.parts == nil {
		return
	}
	for _, part := range t.parts {
		for k, v := range part {
			if !yield(k, v) {
				return
			}
		}
	}
}

// A tableEdit is a table under change. It copies a part the first time it
// touches it, and the table that it came from stays as it was.
type tableEdit[K comparable, V any] struct {
	table[K, V]
	owned [shards]bool
}

func (t table[K, V]) edit() *tableEdit[K, V] {
	e := &tableEdit[K, V]{table: table[K, V]{parts: new([shards]map[K]V), size: t.size}}
	if t.parts != nil {
		*e.parts = *t.parts
	}
	return e
}

func (e *tableEdit[K, V]) part(key K) map[K]V {
	i := maphash.Comparable(seed, key) % shards
	if !e.owned[i] {
		e.owned[i] = true
		e.parts[i] = maps.Clone(e.parts[i])
		if e.parts[i] == nil {
			e.parts[i] = make(map[K]V)
		}
	}
	return e.parts[i]
}

func (e *tableEdit[K, V]) set(key K, value V) {
	part := e.part(key)
	if _, ok := part[key]; !ok {
		e.size++
	}
	part[key] = value
}

func (e *tableEdit[K, V]) remove(key K) {
	if _, ok := e.get(key); ok {
		delete(e.part(key), key)
		e.size--
	}
}
