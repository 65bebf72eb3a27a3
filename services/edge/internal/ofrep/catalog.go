package ofrep

import (
	"cmp"
	"slices"
	"strings"
	"sync/atomic"

	"github.com/sluice-flags/sluice/internal/auth"
	"github.com/sluice-flags/sluice/pkg/eval"
	"github.com/sluice-flags/sluice/pkg/flags"
	"github.com/sluice-flags/sluice/services/edge/internal/access"
	"github.com/sluice-flags/sluice/services/edge/internal/follower"
)

// A flag is an entity as OpenFeature sees it.
type flag struct {
	key      string // under which it is listed
	name     string
	kind     flags.Kind
	ref      eval.Ref
	version  uint64
	deferred bool // clients keep the default in their code
}

// A catalog is the flags that the keys of a scope may ask for, at one version of
// its rules: made once, when somebody asks.
type catalog struct {
	epoch string
	gen   uint64
	state *flags.State
	list  []*flag            // by key
	named map[string][]*flag // by name, in the order of precedence
	refs  map[eval.Ref]*flag
	units map[string]string // unit types of the project by their lower case
}

// kept is the newest catalog of a scope.
type kept struct{ current atomic.Pointer[catalog] }

// catalog returns the flags of a scope at a version.
func (a *API) catalog(scope *follower.Scope, v *follower.Version, state *flags.State, key *flags.Key) *catalog {
	slot, ok := a.catalogs.Load(scope)
	if !ok {
		slot, _ = a.catalogs.LoadOrStore(scope, new(kept))
	}
	k := slot.(*kept)
	if c := k.current.Load(); c != nil && c.epoch == v.Epoch && c.gen == v.Gen {
		return c
	}
	c := newCatalog(v, state, key)
	// A request that came just before a change has the state of then: what was
	// made of it serves this request and no other.
	if state.LogID() == v.Epoch && state.Seq() >= v.Seq {
		k.current.Store(c)
	}
	return c
}

// precedence is the order in which kinds may have a name that they share.
var precedence = []flags.Kind{flags.KindGate, flags.KindExperiment, flags.KindConfig, flags.KindLayer}

func newCatalog(v *follower.Version, state *flags.State, key *flags.Key) *catalog {
	c := &catalog{
		epoch: v.Epoch, gen: v.Gen, state: state,
		named: map[string][]*flag{}, refs: map[eval.Ref]*flag{}, units: map[string]string{},
	}
	sees := seenBy(v, key)
	for _, kind := range precedence {
		for e := range state.All(kind) {
			c.unitsOf(e.Doc)
			f, ok := describe(e)
			if !ok || !sees(f.ref) {
				continue
			}
			c.named[f.name] = append(c.named[f.name], f)
			c.refs[f.ref] = f
			c.list = append(c.list, f)
		}
	}
	for _, kind := range []flags.Kind{flags.KindSegment, flags.KindHoldout} {
		for e := range state.All(kind) {
			c.unitsOf(e.Doc)
		}
	}
	for _, f := range c.list {
		if f.key = f.name; !c.means(f.key, f, "") {
			f.key = exact(f, "")
		}
	}
	slices.SortFunc(c.list, func(a, b *flag) int { return cmp.Compare(a.key, b.key) })
	return c
}

// seenBy tells which specs a key may ask for by name: a client what its payload
// has, a server all that its rules have.
func seenBy(v *follower.Version, key *flags.Key) func(eval.Ref) bool {
	if key.Kind == flags.KeyClient {
		o := (&access.Visit{Principal: auth.Principal{Key: key}}).Client(eval.HashNone)
		return func(ref eval.Ref) bool { return v.Rules.ClientSees(ref, o) }
	}
	defined := make(map[eval.Ref]bool)
	for _, section := range []eval.Section{eval.Gates, eval.Configs, eval.Layers} {
		for name := range v.Rules.Names(section) {
			defined[eval.Ref{Section: section, Name: name}] = true
		}
	}
	return func(ref eval.Ref) bool { return defined[ref] }
}

// describe returns an entity as a flag; ok is false for what is archived, and
// for kinds that are no flags.
func describe(e flags.Entity) (f *flag, ok bool) {
	f = &flag{name: e.Name, kind: e.Ref.Kind, version: e.Version}
	section := eval.Configs
	switch d := e.Doc.(type) {
	case *flags.Gate:
		section, f.deferred, ok = eval.Gates, d.DeferToCode, d.Status != flags.StatusArchived
	case *flags.Config:
		f.deferred, ok = d.DeferToCode, d.Status != flags.StatusArchived
	case *flags.Experiment:
		f.deferred, ok = d.DeferToCode, d.Status != flags.ExperimentArchived
	case *flags.Layer:
		section, f.deferred, ok = eval.Layers, d.DeferToCode, d.Status != flags.StatusArchived
	}
	f.ref = eval.Ref{Section: section, Name: e.Name}
	return f, ok
}

// exact is the key that names a flag, or one of its parameters, whatever else
// has its name.
func exact(f *flag, parameter string) string {
	key := string(f.kind) + ":" + f.name
	if parameter != "" {
		key += ":" + parameter
	}
	return key
}

// find returns what a key names: a flag, or one of its parameters.
func (c *catalog) find(key string) (f *flag, parameter string, ok bool) {
	kind, rest, prefixed := strings.Cut(key, ":")
	if prefixed && slices.Contains(precedence, flags.Kind(kind)) {
		if f := c.exactly(flags.Kind(kind), rest); f != nil {
			return f, "", true
		}
		// Names and parameters may hold colons: the longest name wins.
		for end := strings.LastIndexByte(rest, ':'); end > 0; end = strings.LastIndexByte(rest[:end], ':') {
			if f := c.exactly(flags.Kind(kind), rest[:end]); f != nil && f.kind != flags.KindGate && rest[end+1:] != "" {
				return f, rest[end+1:], true
			}
		}
	}
	if named := c.named[key]; len(named) > 0 {
		return named[0], "", true
	}
	return nil, "", false
}

func (c *catalog) exactly(kind flags.Kind, name string) *flag {
	for _, f := range c.named[name] {
		if f.kind == kind {
			return f
		}
	}
	return nil
}

// means reports whether a key names just this.
func (c *catalog) means(key string, f *flag, parameter string) bool {
	found, p, ok := c.find(key)
	return ok && found == f && p == parameter
}

// unitType returns the project's spelling of a unit type.
func (c *catalog) unitType(name string) string { return c.units[strings.ToLower(name)] }

// unitsOf notes the unit types that a document names.
func (c *catalog) unitsOf(d flags.Document) {
	switch d := d.(type) {
	case *flags.Gate:
		c.unit(d.UnitType)
		for unitType := range d.Overrides {
			c.unit(unitType)
		}
		c.unitsOfRules(d.Rules)
	case *flags.Config:
		c.unit(d.UnitType)
		c.unitsOfRules(d.Rules)
	case *flags.Experiment:
		c.unit(d.UnitType)
		for unitType := range d.Overrides {
			c.unit(unitType)
		}
		c.unitsOfRules(d.TargetingRules)
	case *flags.Layer:
		c.unit(d.UnitType)
	case *flags.Holdout:
		c.unit(d.UnitType)
	case *flags.Segment:
		c.unit(d.UnitType)
		c.unitsOfRules(d.Rules)
	}
}

func (c *catalog) unitsOfRules(rules []flags.Rule) {
	for i := range rules {
		for j := range rules[i].Conditions {
			c.unit(rules[i].Conditions[j].CustomID)
		}
	}
}

func (c *catalog) unit(unitType string) {
	lower := strings.ToLower(unitType)
	if lower == "" || lower == "userid" {
		return
	}
	if before, ok := c.units[lower]; !ok || unitType < before { // of several spellings always the same
		c.units[lower] = unitType
	}
}
