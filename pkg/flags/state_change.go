package flags

import (
	"maps"
	"slices"
)

// Put returns the state with one entity more, or another version of it, at the
// entity's own position. See [State.With].
func (s *State) Put(e Entity) *State {
	return s.With(Position{LogID: s.at.LogID, Seq: e.Seq, Time: e.Time}, e)
}

// With returns the state at another position of the log, where the entities are
// as given. An entity that is marked deleted leaves its name behind, retired.
//
// With checks nothing: what the log holds has been decided. The order of the
// entities does not matter, nor does whether what they refer to is there.
func (s *State) With(at Position, entities ...Entity) *State {
	if len(entities) == 0 {
		next := *s
		next.at = at
		return &next
	}
	c := change{
		entities:   s.entities.edit(),
		live:       s.live,
		names:      s.names.edit(),
		retired:    s.retired.edit(),
		dependents: s.dependents.edit(),
		keys:       s.keys.edit(),
		came:       map[Kind][]named{},
		went:       map[Kind]map[named]bool{},
	}
	for _, e := range entities {
		c.put(e)
	}
	return &State{
		project: s.project, at: at,
		entities: c.entities.table, live: c.live,
		names: c.names.table, retired: c.retired.table,
		byName:     c.order(s.byName),
		dependents: c.dependents.table, keys: c.keys.table,
	}
}

// change is a state in the making: all its indexes, under change.
type change struct {
	entities   *tableEdit[Ref, Entity]
	live       int
	names      *tableEdit[nameKey, Ref]
	retired    *tableEdit[nameKey, Ref]
	dependents *tableEdit[mentionKey, []Ref]
	keys       *tableEdit[[32]byte, Ref]
	came       map[Kind][]named
	went       map[Kind]map[named]bool
}

func (c *change) put(e Entity) {
	old, had := c.entities.get(e.Ref)
	if e.Deleted {
		e.Doc, e.Raw = nil, nil
	}
	c.entities.set(e.Ref, e)

	wasLive, isLive := had && !old.Deleted, !e.Deleted
	if wasLive && (!isLive || old.Name != e.Name) {
		c.forgetName(old)
	}
	if isLive && (!wasLive || old.Name != e.Name) {
		c.names.set(nameOf(e.Ref.Kind, e.Name), e.Ref)
		c.came[e.Ref.Kind] = append(c.came[e.Ref.Kind], named{fold(e.Name), e.Ref})
	}
	switch {
	case isLive && !wasLive:
		c.live++
	case wasLive && !isLive:
		c.live--
	}
	if e.Deleted {
		c.retired.set(nameOf(e.Ref.Kind, e.Name), e.Ref)
	}
	c.relink(old.Doc, e.Doc, e.Ref)
}

func (c *change) forgetName(old Entity) {
	key := nameOf(old.Ref.Kind, old.Name)
	if holder, ok := c.names.get(key); ok && holder == old.Ref {
		c.names.remove(key)
	}
	kind, entry := old.Ref.Kind, named{fold(old.Name), old.Ref}
	if i := slices.Index(c.came[kind], entry); i >= 0 {
		c.came[kind] = slices.Delete(c.came[kind], i, i+1)
		return
	}
	if c.went[kind] == nil {
		c.went[kind] = map[named]bool{}
	}
	c.went[kind][entry] = true
}

// relink moves the entity's entries in the graph and among the keys.
func (c *change) relink(before, after Document, ref Ref) {
	was, is := mentionKeys(before), mentionKeys(after)
	for key := range was {
		if is[key] {
			continue
		}
		refs, _ := c.dependents.get(key)
		if i, ok := slices.BinarySearchFunc(refs, ref, Ref.compare); ok {
			if len(refs) == 1 {
				c.dependents.remove(key)
			} else {
				c.dependents.set(key, slices.Delete(slices.Clone(refs), i, i+1))
			}
		}
	}
	for key := range is {
		if was[key] {
			continue
		}
		refs, _ := c.dependents.get(key)
		if i, ok := slices.BinarySearchFunc(refs, ref, Ref.compare); !ok {
			c.dependents.set(key, slices.Insert(slices.Clone(refs), i, ref))
		}
	}
	if k, ok := before.(*Key); ok {
		if sum, ok := k.digest(); ok {
			c.keys.remove(sum)
		}
	}
	if k, ok := after.(*Key); ok {
		if sum, ok := k.digest(); ok {
			c.keys.set(sum, ref)
		}
	}
}

// mentionKeys is the set of what a document mentions, environments left out.
func mentionKeys(d Document) map[mentionKey]bool {
	out := map[mentionKey]bool{}
	if d == nil {
		return out
	}
	d.references(func(m mention) {
		if m.kind == KindEnvironment {
			return
		}
		out[mentionKey{m.kind, fold(m.name)}] = true
	})
	return out
}

// order merges the names that came into the order by name, and leaves out those
// that went.
func (c *change) order(old map[Kind][]named) map[Kind][]named {
	if len(c.came) == 0 && len(c.went) == 0 {
		return old
	}
	out := maps.Clone(old)
	if out == nil {
		out = map[Kind][]named{}
	}
	for _, kind := range Kinds() {
		came, went := c.came[kind], c.went[kind]
		if len(came) == 0 && len(went) == 0 {
			continue
		}
		slices.SortFunc(came, named.compare)
		merged := make([]named, 0, len(old[kind])+len(came))
		for _, entry := range old[kind] {
			if went[entry] {
				continue
			}
			for len(came) > 0 && came[0].compare(entry) < 0 {
				merged, came = append(merged, came[0]), came[1:]
			}
			merged = append(merged, entry)
		}
		out[kind] = append(merged, came...)
	}
	return out
}
