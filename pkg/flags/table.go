package flags

import (
	"hash/maphash"
	"maps"
	"slices"
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
	touched bool // parts is a copy
	owned   [shards]bool
}

func (t table[K, V]) edit() *tableEdit[K, V] { return &tableEdit[K, V]{table: t} }

// part returns the part that the key belongs to, for writing.
func (e *tableEdit[K, V]) part(key K) map[K]V {
	if !e.touched {
		parts := new([shards]map[K]V)
		if e.parts != nil {
			*parts = *e.parts
		}
		e.parts, e.touched = parts, true
	}
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

// A listEdit is what comes into a sorted list and what goes out of it, merged in
// one pass however much it is.
type listEdit[T comparable] struct {
	came []T
	went map[T]bool
}

func (e *listEdit[T]) add(x T) {
	if e.went[x] {
		delete(e.went, x)
		return
	}
	e.came = append(e.came, x)
}

func (e *listEdit[T]) remove(x T) {
	if i := slices.Index(e.came, x); i >= 0 {
		e.came = slices.Delete(e.came, i, i+1)
		return
	}
	if e.went == nil {
		e.went = map[T]bool{}
	}
	e.went[x] = true
}

// apply returns the list that old becomes; old stays as it was.
func (e *listEdit[T]) apply(old []T, compare func(a, b T) int) []T {
	came := e.came
	slices.SortFunc(came, compare)
	out := make([]T, 0, len(old)+len(came))
	for _, x := range old {
		for len(came) > 0 && compare(came[0], x) < 0 {
			out, came = append(out, came[0]), came[1:]
		}
		if !e.went[x] {
			out = append(out, x)
		}
	}
	return append(out, came...)
}
