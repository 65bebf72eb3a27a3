package eval

import (
	"cmp"
	"encoding/json"
	"maps"
	"slices"
	"strings"
)

// Compile makes a ruleset. It never fails and never panics: an entity that
// cannot be compiled is quarantined alone, with its reason.
func Compile(s Specs, o Options) *Ruleset {
	b := newBuilder(&Ruleset{time: s.Time, sequence: o.Sequence, options: o})
	b.bulk = true
	b.options.IDLists = nil
	b.setApps(s.appIDs())
	b.setLayers(s.Layers)
	for name, l := range o.IDLists {
		b.setList(name, l)
	}
	for i, specs := range [sections][]Spec{s.FeatureGates, s.DynamicConfigs, s.LayerConfigs} {
		sec := &b.sections[i]
		sec.names.recent = make(map[string]int32, len(specs))
		b.ownNames[i] = true
	}
	for i := range s.LayerConfigs { // first: experiments show their layer's defaults
		b.define(Layers, &s.LayerConfigs[i])
	}
	for i := range s.DynamicConfigs {
		b.define(Configs, &s.DynamicConfigs[i])
	}
	for i := range s.FeatureGates {
		b.define(Gates, &s.FeatureGates[i])
	}
	for _, q := range s.Unreadable {
		b.refuse(q)
	}
	return b.finish()
}

func (s *Specs) appIDs() AppIDs {
	return AppIDs{
		AppID: s.AppID, SDKKeysToAppIDs: s.SDKKeysToAppIDs, HashedSDKKeysToAppIDs: s.HashedSDKKeysToAppIDs,
		HashedSDKKeysToEntities: s.HashedSDKKeysToEntities, DefaultEnvironment: s.DefaultEnvironment,
	}
}

// A Change is what differs between two rulesets.
type Change struct {
	Time     int64 // 0: unchanged, as are a zero Sequence and Source
	Sequence uint64
	Source   Source

	Set    []Spec // new or changed entities, whole
	Delete []Ref

	Layers        map[string][]string // nil: unchanged
	IDLists       map[string]*IDList  // lists to set
	DeleteIDLists []string
	AppIDs        *AppIDs // nil: unchanged
}

// AppIDs is what a ruleset knows of target apps; see the fields of [Specs].
type AppIDs struct {
	AppID                   string
	SDKKeysToAppIDs         map[string]string
	HashedSDKKeysToAppIDs   map[string]string
	HashedSDKKeysToEntities map[string]KeyEntities
	DefaultEnvironment      string
}

// Apply returns the ruleset with the change made. It compiles what changed,
// shares everything else with r, and takes microseconds; r stays as it was, and
// whoever evaluates by it is not disturbed.
func (r *Ruleset) Apply(c Change) *Ruleset {
	b := newBuilder(r)
	b.time, b.sequence = cmp.Or(c.Time, b.time), cmp.Or(c.Sequence, b.sequence)
	b.options.Source = cmp.Or(c.Source, b.options.Source)
	if c.AppIDs != nil {
		b.setApps(*c.AppIDs)
	}
	relayer := map[string]bool{} // experiments to show with other defaults
	if c.Layers != nil {
		before := b.layerOf
		b.setLayers(c.Layers)
		for experiment, layer := range b.layerOf {
			relayer[experiment] = before[experiment] != layer
		}
		for experiment := range before {
			relayer[experiment] = relayer[experiment] || b.layerOf[experiment] == ""
		}
	}
	for name, l := range c.IDLists {
		b.setList(name, l)
	}
	for _, name := range c.DeleteIDLists {
		b.setList(name, nil)
	}
	for _, ref := range c.Delete {
		b.remove(ref)
		if ref.Section == Layers {
			for _, experiment := range b.layers[ref.Name] {
				relayer[experiment] = true
			}
		}
	}
	for _, section := range [...]Section{Layers, Configs, Gates} {
		for i := range c.Set {
			if c.Set[i].Section() != section {
				continue
			}
			b.define(section, &c.Set[i])
			if section == Layers {
				for _, experiment := range b.layers[c.Set[i].Name] {
					relayer[experiment] = true
				}
			}
			if section == Configs {
				delete(relayer, c.Set[i].Name)
			}
		}
	}
	for experiment, differs := range relayer {
		if s := b.find(Configs, experiment); differs && s != nil && s.shared != nil {
			b.define(Configs, s.shared)
		}
	}
	return b.finish()
}

// newBuilder starts a copy of r.
func newBuilder(r *Ruleset) *builder {
	next := *r
	for i := range next.sections {
		next.sections[i].specs.fork()
		next.sections[i].users.fork()
	}
	next.lists.fork()
	next.quarantine = maps.Clone(r.quarantine)
	if next.quarantine == nil {
		next.quarantine = map[Ref]string{}
	}
	return &builder{
		Ruleset: &next, conditions: map[string]*condition{}, fields: map[fieldName]*field{}, values: map[string]json.RawMessage{},
	}
}

func (b *builder) setLayers(layers map[string][]string) {
	b.layers = layers
	b.layerOf = make(map[string]string, len(layers))
	for layer, experiments := range layers {
		for _, experiment := range experiments {
			b.layerOf[experiment] = layer
		}
	}
}

// slot returns the slot of a name, making one if the name is new.
func (b *builder) slot(section Section, name string) int32 {
	sec := &b.sections[section]
	if i, ok := sec.names.slot(name); ok {
		return i
	}
	i := sec.specs.push(nil)
	sec.users.push(nil)
	sec.names.add(name, i, &b.ownNames[section])
	b.mentioned = append(b.mentioned, mention{node{section, i}, name})
	return i
}

func (n *names) add(name string, i int32, own *bool) {
	switch {
	case *own:
	case len(n.recent) >= maxRecentNames:
		merged := make(map[string]int32, len(n.base)+len(n.recent)+1)
		maps.Copy(merged, n.base)
		maps.Copy(merged, n.recent)
		n.base, n.recent = merged, map[string]int32{}
	default:
		n.recent = maps.Clone(n.recent)
		if n.recent == nil {
			n.recent = map[string]int32{}
		}
	}
	*own = true
	n.recent[name] = i
}

// put makes s the spec of its name.
func (b *builder) put(s *spec) {
	section := s.ref.Section
	slot := b.slot(section, s.name)
	place := b.sections[section].specs.edit(slot)
	old := *place
	*place = s
	if old == nil {
		old = &spec{}
	}
	b.reorder(section, slot, old.known, s.known)
	b.relink(node{section, slot}, old.refs, s.refs)
	b.staleBoundaries = b.staleBoundaries || len(old.boundaries)+len(s.boundaries) > 0
}

// reorder keeps the list of known specs sorted by name.
func (b *builder) reorder(section Section, slot int32, was, is bool) {
	if was == is {
		return
	}
	sec := &b.sections[section]
	if b.bulk {
		sec.order = append(sec.order, slot) // finish sorts
		return
	}
	if !b.ownOrder[section] {
		b.ownOrder[section] = true
		sec.order = slices.Clone(sec.order)
	}
	i, found := slices.BinarySearchFunc(sec.order, sec.specs.at(slot).name, func(slot int32, name string) int {
		return strings.Compare(sec.specs.at(slot).name, name)
	})
	if found {
		sec.order = slices.Delete(sec.order, i, i+1)
	} else {
		sec.order = slices.Insert(sec.order, i, slot)
	}
}

// relink moves n from the users of what it referred to, to those of what it
// refers to now. Most changes leave references as they are.
func (b *builder) relink(n node, before, now []node) {
	if slices.Equal(before, now) {
		return
	}
	for _, ref := range before {
		users := b.sections[ref.section].users.edit(ref.slot)
		*users = slices.DeleteFunc(slices.Clone(*users), func(u node) bool { return u == n })
	}
	for _, ref := range now {
		users := b.sections[ref.section].users.edit(ref.slot)
		if last := len(*users) - 1; last >= 0 && (*users)[last] == n {
			continue // several rules refer to the same
		}
		if !b.bulk {
			*users = slices.Clip(*users)
		}
		*users = append(*users, n)
	}
}

func (b *builder) remove(ref Ref) {
	if ref.Section >= sections {
		return
	}
	delete(b.quarantine, ref)
	if s := b.find(ref.Section, ref.Name); s != nil && s.known {
		b.put(b.undefined(ref.Section, s.name))
	}
}

// refuse puts an entity that cannot be used into its slot.
func (b *builder) refuse(q Quarantine) {
	b.quarantine[q.Ref] = q.Reason
	if q.Ref.Name != "" {
		b.put(b.unusable(q.Ref.Section, q.Ref.Name))
	}
}

func (b *builder) listSlot(name string) int32 {
	if i, ok := b.listSlots.slot(name); ok {
		return i
	}
	i := b.lists.push(nil)
	b.listSlots.add(name, i, &b.ownListNames)
	return i
}

func (b *builder) setList(name string, l *IDList) { *b.lists.edit(b.listSlot(name)) = l }

// finish completes the indexes that are cheaper to make once.
func (b *builder) finish() *Ruleset {
	for _, m := range b.mentioned {
		if b.sections[m.section].specs.at(m.slot) == nil {
			b.put(b.undefined(m.section, m.name))
		}
	}
	if b.bulk {
		for i := range b.sections {
			sec := &b.sections[i]
			sec.names.base, sec.names.recent = sec.names.recent, nil
			slices.SortFunc(sec.order, func(x, y int32) int { return cmp.Compare(sec.specs.at(x).name, sec.specs.at(y).name) })
			sec.order = slices.Compact(sec.order)
		}
		b.listSlots.base, b.listSlots.recent = b.listSlots.recent, nil
	}
	if b.staleBoundaries {
		b.Ruleset.boundaries = nil
		for i := range b.sections {
			specs := &b.sections[i].specs
			for j := range specs.n {
				s := specs.at(j)
				for _, at := range s.boundaries {
					b.Ruleset.boundaries = append(b.Ruleset.boundaries, boundary{at, s.ref})
				}
			}
		}
		slices.SortFunc(b.Ruleset.boundaries, func(x, y boundary) int {
			return cmp.Or(cmp.Compare(x.at, y.at), compareRefs(x.ref, y.ref))
		})
		b.Ruleset.boundaries = slices.Compact(b.Ruleset.boundaries)
	}
	return b.Ruleset
}
