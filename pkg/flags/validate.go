package flags

import (
	"encoding/json"
	"math"
	"slices"
	"strings"
)

// ValidName reports whether name can be the name of an entity: up to 100 letters,
// digits, spaces and _ . : -, the first a letter or digit. Names are ASCII, so that
// every SDK folds and hashes them alike, and have no '/', '*' or '>', which paths
// and subjects give a meaning.
func ValidName(name string) bool {
	if len(name) == 0 || len(name) > 100 {
		return false
	}
	for i := range len(name) {
		switch c := name[i]; {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9':
		case i > 0 && (c == '_' || c == '.' || c == ':' || c == '-' || c == ' '):
		default:
			return false
		}
	}
	return true
}

// Validate reports everything that keeps d from becoming part of s: what is wrong
// with the document on its own, with its name, with what it refers to, and with
// the step from the version of it that s has. An empty result means that d may be
// written.
func Validate(s *State, d Document) Problems {
	v := validation{state: s, doc: d, ref: d.Ref()}
	if e, ok := s.Get(v.ref); ok {
		v.before = e.Doc
	}
	v.identity()
	v.about()
	d.validate(&v)
	v.mentions()
	v.graph()
	v.size()
	return v.problems
}

// ValidateDelete reports what keeps the entity from being deleted: others that
// refer to it. Archived ones do not count.
func ValidateDelete(s *State, ref Ref) Problems {
	var p Problems
	e, ok := s.Get(ref)
	if !ok {
		p.add("", CodeMissing, "there is no %s", ref)
		return p
	}
	if users := s.Users(ref); len(users) > 0 {
		p.add("", CodeInUse, "%s %q is used by %s", ref.Kind, e.Name, s.list(users))
	}
	return p
}

// Users lists the live entities that refer to the entity and are not archived:
// those that keep it from going away.
func (s *State) Users(ref Ref) []Ref {
	return slices.DeleteFunc(s.Dependents(ref), func(r Ref) bool {
		e, ok := s.Get(r)
		return !ok || r == ref || e.Doc.header().archived
	})
}

// list names a few entities for a message.
func (s *State) list(refs []Ref) string {
	const few = 5
	var names []string
	for _, r := range refs[:min(few, len(refs))] {
		name := r.ID
		if e, ok := s.Get(r); ok {
			name = e.Name
		}
		names = append(names, string(r.Kind)+" "+name)
	}
	if len(refs) > few {
		names = append(names, "others")
	}
	return strings.Join(names, ", ")
}

// validation is one call of [Validate].
type validation struct {
	state    *State
	doc      Document
	ref      Ref
	before   Document // the version that the state has, if any
	problems Problems
}

func (v *validation) add(pointer, code, format string, args ...any) {
	v.problems.add(pointer, code, format, args...)
}

// identity checks id and name.
func (v *validation) identity() {
	h := v.doc.header()
	switch _, dead := v.state.Tombstone(v.ref); {
	case *h.id == "":
		v.add("/id", CodeRequired, "the entity has no id yet")
	case !v.ref.Kind.ValidID(*h.id):
		v.add("/id", CodeInvalid, "%q is no id of a %s: it begins with %q and goes on with a-z, 0-9, _ or -",
			*h.id, v.ref.Kind, v.ref.Kind.IDPrefix())
	case dead:
		v.add("/id", CodeRetired, "the entity %q was deleted", *h.id)
	}

	name := *h.name
	if !ValidName(name) {
		v.add("/name", CodeName, "%q is no name: up to 100 letters, digits, spaces and _ . : - in ASCII, the first a letter or digit", clip(name))
		return
	}
	if v.ref.Kind.space() == KindGate.space() && strings.HasPrefix(fold(name), segmentPrefix) {
		v.add("/name", CodeName, "names that begin with %q are segments'", segmentPrefix)
	}
	if holder, ok := v.state.names.get(nameOf(v.ref.Kind, name)); ok && holder != v.ref {
		v.add("/name", CodeTaken, "the name %q belongs to %s", name, holder)
	} else if holder, ok := v.state.Get(Ref{v.ref.Kind, name}); ok && holder.Ref != v.ref {
		v.add("/name", CodeTaken, "%q is the id of another %s", name, v.ref.Kind)
	} else if v.state.Retired(v.ref.Kind, name) {
		v.add("/name", CodeRetired, "the name %q belonged to a deleted entity and stays retired", name)
	}
	if v.before != nil && v.before.DocName() != name {
		v.rename(v.before.DocName())
	}
}

// rename refuses to pull a name away from those who use it. Who refers to the
// entity by its id does not notice.
func (v *validation) rename(old string) {
	if v.ref.Kind == KindEnvironment {
		v.add("/name", CodeImmutable, "an environment keeps its name: SDKs report it")
		return
	}
	if fold(old) == fold(v.doc.DocName()) {
		return
	}
	users, _ := v.state.dependents.get(mentionKey{v.ref.Kind, fold(old)})
	users = slices.DeleteFunc(slices.Clone(users), func(r Ref) bool { return r == v.ref })
	if len(users) > 0 {
		v.add("/name", CodeInUse, "%q is how %s refers to it: use the id there first", old, v.state.list(users))
	}
}

func (v *validation) about() {
	a := v.doc.header().about
	v.length("/displayName", a.DisplayName, 200)
	v.length("/description", a.Description, 10_000)
	v.length("/owner", a.Owner, 200)
	v.length("/team", a.Team, 200)
	v.texts("/tags", a.Tags, maxTags, 100)
	if a.Metadata != nil && !isObject(a.Metadata) {
		v.add("/metadata", CodeType, "want an object")
	}
}

func (v *validation) length(pointer, text string, limit int) {
	if len(text) > limit {
		v.add(pointer, CodeTooLarge, "the text has %d bytes; at most %d", len(text), limit)
	}
}

// texts checks a list of names without a meaning of their own.
func (v *validation) texts(pointer string, list []string, most, longest int) {
	if len(list) > most {
		v.add(pointer, CodeTooLarge, "the list has %d elements; at most %d", len(list), most)
		return
	}
	seen := map[string]bool{}
	for i, text := range list {
		switch {
		case text == "":
			v.add(at(pointer, i), CodeRequired, "the text is empty: leave it out")
		case len(text) > longest:
			v.add(at(pointer, i), CodeTooLarge, "the text has %d bytes; at most %d", len(text), longest)
		case seen[text]:
			v.add(at(pointer, i), CodeDuplicate, "%q is listed twice", text)
		}
		seen[text] = true
	}
}

// oneOfValues checks a member that has a fixed set of values.
func oneOfValues[T ~string](v *validation, pointer string, value T, lawful ...T) {
	if slices.Contains(lawful, value) {
		return
	}
	names := make([]string, len(lawful))
	for i, l := range lawful {
		names[i] = string(l)
	}
	v.add(pointer, CodeInvalid, "%q is not one of %s", clip(string(value)), strings.Join(names, ", "))
}

// percentage checks a number between 0 and 100 with at most so many decimals.
func (v *validation) percentage(pointer string, p float64, decimals int) {
	if !(p >= 0 && p <= 100) {
		v.add(pointer, CodeInvalid, "%v is no percentage: want 0 to 100", p)
		return
	}
	scaled := p * math.Pow10(decimals)
	if math.Abs(scaled-math.Round(scaled)) > 1e-6 {
		v.add(pointer, CodeInvalid, "%v is finer than %v, the smallest step of a percentage here", p, math.Pow10(-decimals))
	}
}

func (v *validation) unitType(pointer, unitType string) {
	if !unitTypePattern.MatchString(unitType) {
		v.add(pointer, CodeInvalid, "%q is no unit type, such as userID or stableID", clip(unitType))
	} else if canonical := CanonicalUnitType(unitType); canonical != unitType {
		v.add(pointer, CodeDuplicate, "%q is another spelling of %q, which is given too", unitType, canonical)
	}
}

func (v *validation) salt(pointer, salt string) {
	v.length(pointer, salt, 128)
}

// object checks a value that has to be a JSON object.
func (v *validation) object(pointer string, raw json.RawMessage) {
	if !isObject(raw) {
		v.add(pointer, CodeType, "want an object")
	}
}

// unitIDs checks a list of overridden ids. One id may be in one list only.
func (v *validation) unitIDs(pointer string, ids []string, seen map[string]string) {
	if len(ids) > maxValues {
		v.add(pointer, CodeTooLarge, "the list has %d ids; at most %d", len(ids), maxValues)
		return
	}
	for i, id := range ids {
		pointer := at(pointer, i)
		switch other, twice := seen[id]; {
		case id == "":
			v.add(pointer, CodeRequired, "an empty id")
		case len(id) > maxValue:
			v.add(pointer, CodeTooLarge, "the id has %d bytes; at most %d", len(id), maxValue)
		case twice:
			v.add(pointer, CodeDuplicate, "%q is overridden already at %s", clip(id), other)
		}
		seen[id] = pointer
	}
}

// mentions checks that what the document refers to is there and alive. An
// archived document may refer to what it likes: nothing evaluates it.
func (v *validation) mentions() {
	if v.doc.header().archived {
		v.archive()
		return
	}
	v.doc.references(func(m mention) {
		e, ok := v.state.Find(m.kind, m.name)
		switch {
		case m.kind == v.ref.Kind && (m.name == v.ref.ID || fold(m.name) == fold(v.doc.DocName())):
			v.add(m.pointer, CodeCycle, "the %s refers to itself", m.kind)
		case !ok:
			v.add(m.pointer, CodeMissing, "there is no %s %q", m.kind, clip(m.name))
		case e.Doc.header().archived:
			v.add(m.pointer, CodeArchived, "the %s %q is archived", m.kind, e.Name)
		}
	})
}

func (v *validation) archive() {
	if v.before == nil || v.before.header().archived {
		return
	}
	if users := v.state.Users(v.ref); len(users) > 0 {
		v.add("/status", CodeInUse, "it is used by %s", v.state.list(users))
	}
}

// graph checks that evaluating the document comes to an end, and soon.
func (v *validation) graph() {
	if v.doc.header().archived {
		return
	}
	walk := walker{state: v.state, target: v.ref, depths: map[Ref]int{}}
	v.doc.references(func(m mention) {
		if !m.decides {
			return
		}
		e, ok := v.state.Find(m.kind, m.name)
		if !ok || e.Ref == v.ref {
			return
		}
		if path := walk.path(e.Ref, nil); path != nil {
			v.add(m.pointer, CodeCycle, "%s refers back to it by way of %s", e.Name, v.state.list(path))
		}
	})
	if slices.ContainsFunc(v.problems, func(p Problem) bool { return p.Code == CodeCycle }) {
		return
	}
	below := 0
	for _, r := range v.state.mentioned(v.doc, func(m mention) bool { return m.decides }) {
		below = max(below, walk.below(r))
	}
	if chain := below + 1 + v.state.above(v.ref, map[Ref]int{}); chain > maxReference {
		v.add("", CodeTooLarge, "a chain of %d references leads through it; at most %d", chain, maxReference)
	}
}

// walker walks the graph of references downwards.
type walker struct {
	state  *State
	target Ref
	depths map[Ref]int
}

// next lists what evaluating r evaluates.
func (w *walker) next(r Ref) []Ref {
	e, ok := w.state.Get(r)
	if !ok {
		return nil
	}
	return w.state.mentioned(e.Doc, func(m mention) bool { return m.decides })
}

// path finds a way from r to the target.
func (w *walker) path(r Ref, seen map[Ref]bool) []Ref {
	if seen == nil {
		seen = map[Ref]bool{}
	}
	if r == w.target {
		return []Ref{}
	}
	if seen[r] {
		return nil
	}
	seen[r] = true
	for _, n := range w.next(r) {
		if p := w.path(n, seen); p != nil {
			return append([]Ref{r}, p...)
		}
	}
	return nil
}

// below is how many entities the longest chain from r has, r among them.
func (w *walker) below(r Ref) int {
	if d, ok := w.depths[r]; ok {
		return d
	}
	w.depths[r] = 1 // should the state hold a cycle after all, it ends here
	d := 0
	for _, n := range w.next(r) {
		d = max(d, w.below(n))
	}
	w.depths[r] = d + 1
	return d + 1
}

// above is how many entities the longest chain that leads to r has, without r.
func (s *State) above(r Ref, known map[Ref]int) int {
	if d, ok := known[r]; ok {
		return d
	}
	known[r] = 0
	d := 0
	if r.Kind == KindGate || r.Kind == KindSegment || r.Kind == KindHoldout {
		for _, up := range s.Dependents(r) {
			d = max(d, s.above(up, known)+1)
		}
	}
	known[r] = d
	return d
}

// size checks the limits on the whole.
func (v *validation) size() {
	raw, err := Encode(v.doc)
	if err != nil {
		v.add("", CodeInvalid, "%v", err)
		return
	}
	if len(raw) > maxDocument {
		v.add("", CodeTooLarge, "the document has %d bytes; at most %d", len(raw), maxDocument)
	}
	if v.ref.Kind == KindIDs || v.ref.Kind == KindErasure {
		return // people define neither
	}
	if n := v.state.Len() - v.state.Count(KindIDs) - v.state.Count(KindErasure); v.before == nil && n >= maxEntities {
		v.add("", CodeTooLarge, "the project has %d definitions; at most %d", n, maxEntities)
	}
}

// clip keeps a message short.
func clip(s string) string {
	if len(s) > 120 {
		return strings.ToValidUTF8(s[:120], "") + "…"
	}
	return s
}

func isObject(raw json.RawMessage) bool {
	return len(raw) > 0 && raw[0] == '{'
}
