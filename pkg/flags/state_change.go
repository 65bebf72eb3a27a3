package flags

import "maps"

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
		entities: s.entities.edit(),
		live:     s.live,
		names:    s.names.edit(),
		retired:  s.retired.edit(),
		keys:     s.keys.edit(),
		lists:    s.lists.edit(),
		byName:   map[Kind]*listEdit[named]{},
		links:    map[mentionKey]*listEdit[Ref]{},
	}
	for _, e := range entities {
		c.put(e)
	}
	return &State{
		project: s.project, at: at,
		entities: c.entities.table, live: c.live,
		names: c.names.table, retired: c.retired.table,
		byName:     c.order(s.byName),
		dependents: c.graph(s.dependents), keys: c.keys.table, lists: c.lists.table,
	}
}

// change is a state in the making: all its indexes, under change.
type change struct {
	entities *tableEdit[Ref, Entity]
	live     int
	names    *tableEdit[nameKey, Ref]
	retired  *tableEdit[nameKey, Ref]
	keys     *tableEdit[[32]byte, Ref]
	lists    *tableEdit[string, *IDList]
	byName   map[Kind]*listEdit[named]
	links    map[mentionKey]*listEdit[Ref]
}

// editOf returns the entry of a map of edits.
func editOf[K, T comparable](edits map[K]*listEdit[T], key K) *listEdit[T] {
	if edits[key] == nil {
		edits[key] = new(listEdit[T])
	}
	return edits[key]
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
		editOf(c.byName, e.Ref.Kind).add(named{fold(e.Name), e.Ref})
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
	if e.Ref.Kind == KindIDs {
		c.relist(e)
	}
}

func (c *change) forgetName(old Entity) {
	key := nameOf(old.Ref.Kind, old.Name)
	if holder, ok := c.names.get(key); ok && holder == old.Ref {
		c.names.remove(key)
	}
	editOf(c.byName, old.Ref.Kind).remove(named{fold(old.Name), old.Ref})
}

// relink moves the entity's entries in the graph and among the keys.
func (c *change) relink(before, after Document, ref Ref) {
	was, is := mentionKeys(before), mentionKeys(after)
	for key := range was {
		if !is[key] {
			editOf(c.links, key).remove(ref)
		}
	}
	for key := range is {
		if !was[key] {
			editOf(c.links, key).add(ref)
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

// relist takes a batch into its list. Batches go only when their segment goes, and
// the whole list with them.
func (c *change) relist(e Entity) {
	segment, number, ok := splitBatch(e.Ref.ID)
	b, live := e.Doc.(*IDBatch)
	switch {
	case !ok:
	case live:
		before, _ := c.lists.get(segment)
		c.lists.set(segment, before.with(e, b, number))
	default:
		c.lists.remove(segment)
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

// order is the order by name after the change.
func (c *change) order(old map[Kind][]named) map[Kind][]named {
	if len(c.byName) == 0 {
		return old
	}
	out := make(map[Kind][]named, len(kinds))
	maps.Copy(out, old)
	for kind, edit := range c.byName {
		out[kind] = edit.apply(old[kind], named.compare)
	}
	return out
}

// graph is the graph of references after the change.
func (c *change) graph(old table[mentionKey, []Ref]) table[mentionKey, []Ref] {
	next := old.edit()
	for key, edit := range c.links {
		before, _ := old.get(key)
		if refs := edit.apply(before, Ref.compare); len(refs) > 0 {
			next.set(key, refs)
		} else {
			next.remove(key)
		}
	}
	return next.table
}
