package follower

import (
	"log/slog"
	"maps"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sluice-flags/sluice/pkg/eval"
	"github.com/sluice-flags/sluice/pkg/flags"
)

// A Version is the rules of one scope at one position of the project's log. It
// is immutable.
type Version struct {
	Rules *eval.Ruleset
	Epoch string // identity of the log
	Seq   uint64 // the project's version
	// Sequence is Seq as the values of a header, which answers share.
	Sequence []string
	Time     int64 // of the last change that concerned the scope, milliseconds
	// SpecTime is the time of the last change of the specs themselves. Members of
	// id lists come and go without them.
	SpecTime int64

	// Gen counts the changes that concerned the scope, since this process began
	// to follow it. Versions of one generation differ in Seq only.
	Gen uint64
	// Since is the sequence of the change that made this generation.
	Since uint64

	downloads *downloads
}

// remembered is how many generations a scope can tell the difference to. A
// client that is further behind gets everything.
const remembered = 64

// clockSkew is how far the clocks of two machines may be apart where it
// decides whether a time boundary lies between two moments.
const clockSkew = time.Minute

// A step is what made one generation out of the one before.
type step struct {
	version *Version // the first of the generation
	change  eval.Change
	refs    []eval.Ref // changed entities and those that depend on them
	clock   bool       // time passed a boundary that refs depend on; nothing else changed
}

// A Scope is what all keys of one scope see, kept current.
type Scope struct {
	id      string
	scope   flags.Scope
	options eval.Options
	logger  *slog.Logger

	current atomic.Pointer[Version]

	mu       sync.Mutex
	steps    []step // the latest, oldest first; the last one made the current generation
	clock    *time.Timer
	stopped  bool
	watchers map[*watcher]struct{}
}

// watcher is one subscription to a scope.
type watcher struct{ notify func() }

// ID is equal for equal scopes of one project, and says what they see.
func (s *Scope) ID() string { return s.id }

// Current returns the newest version.
func (s *Scope) Current() *Version { return s.current.Load() }

// Watch calls notify after every new generation, until cancel is called.
// Notify must not block; it reads what is new from [Scope.Current].
func (s *Scope) Watch(notify func()) (cancel func()) {
	w := &watcher{notify}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.watchers == nil {
		s.watchers = make(map[*watcher]struct{})
	}
	s.watchers[w] = struct{}{}
	return func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		delete(s.watchers, w)
	}
}

// restart compiles everything anew.
func (s *Scope) restart(state *flags.State) {
	s.mu.Lock()
	defer s.mu.Unlock()
	options := s.options
	options.Sequence = state.Seq()
	gen := uint64(1)
	if v := s.current.Load(); v != nil {
		gen = v.Gen + 1
	}
	at := state.Time()
	if v := s.Current(); v != nil {
		// SDKs discard what is older than what they hold. Another log may be
		// behind the one before, so it is as old as the moment it was found.
		at = max(at, v.Time+1)
		if v.Epoch != state.LogID() {
			at = max(at, time.Now().UnixMilli())
		}
	}
	options.IDLists = map[string]*eval.IDList{}
	for name, list := range flags.IDLists(state, s.scope) {
		options.IDLists[name] = list.Members()
	}
	specs := flags.Lower(state, s.scope)
	specs.Time = at
	v := &Version{
		Rules: eval.Compile(specs, options), Epoch: state.LogID(), Seq: state.Seq(), Sequence: headerOf(state.Seq()), Time: at, SpecTime: at,
		Gen: gen, Since: state.Seq(), downloads: newDownloads(state, s.scope, at),
	}
	for _, q := range v.Rules.Quarantined() {
		s.logger.Warn("entity quarantined", slog.String("section", q.Ref.Section.String()), slog.String("reason", q.Reason))
	}
	s.steps = []step{step{version: v}.past()}
	s.publish(v)
}

// advance applies what changed between two states of the project.
func (s *Scope) advance(before, after *flags.State, changed []flags.Ref) {
	v := s.Current()
	switch {
	case after.LogID() == v.Epoch && after.Seq() == v.Seq:
		return // the scope was made from this state
	case after.LogID() != v.Epoch, before == nil, after.Seq() < v.Seq, before.Seq() > v.Seq:
		s.restart(after) // another log, or a jump: nothing to build on
		return
	}
	change := flags.LowerChange(before, after, changed, s.scope)

	s.mu.Lock()
	defer s.mu.Unlock()
	v = s.Current() // the clock may have moved it meanwhile
	change.Time, change.Sequence = max(after.Time(), v.Time+1), after.Seq()
	next := &Version{
		Rules: v.Rules, Epoch: v.Epoch, Seq: after.Seq(), Sequence: headerOf(after.Seq()), Time: v.Time, SpecTime: v.SpecTime,
		Gen: v.Gen, Since: v.Since, downloads: v.downloads,
	}
	joined := s.joined(before, after, changed)
	if unaffected(change) && !joined {
		s.current.Store(next)
		return
	}
	next.Rules = v.Rules.Apply(change)
	next.Time, next.Since, next.Gen = change.Time, after.Seq(), v.Gen+1
	if joined || !listsOnly(change) {
		next.SpecTime, next.downloads = next.Time, newDownloads(after, s.scope, next.Time)
	}

	touched := make([]eval.Ref, 0, len(change.Set)+len(change.Delete))
	for i := range change.Set {
		touched = append(touched, change.Set[i].Ref())
	}
	touched = append(touched, change.Delete...)
	// What depended on an entity that is gone depends on nothing now, but
	// answers differently: ask both sides.
	refs := append(v.Rules.Dependents(touched...), next.Rules.Dependents(touched...)...)
	if lists := listsOf(change); len(lists) > 0 {
		refs = append(append(refs, v.Rules.IDListDependents(lists...)...), next.Rules.IDListDependents(lists...)...)
	}
	s.remember(step{version: next, change: change, refs: sortRefs(append(refs, touched...))})
	s.publish(next)
}

func headerOf(seq uint64) []string { return []string{strconv.FormatUint(seq, 10)} }

// unaffected reports whether a change does not concern the scope.
func unaffected(c eval.Change) bool {
	return len(c.Set) == 0 && len(c.Delete) == 0 && c.Layers == nil &&
		len(c.IDLists) == 0 && len(c.DeleteIDLists) == 0 && c.AppIDs == nil
}

// listsOnly reports whether a change is of id lists and of nothing that is in a
// download.
func listsOnly(c eval.Change) bool {
	c.IDLists, c.DeleteIDLists = nil, nil
	return unaffected(c)
}

// listsOf names the id lists that a change is about.
func listsOf(c eval.Change) []string {
	return slices.AppendSeq(slices.Clone(c.DeleteIDLists), maps.Keys(c.IDLists))
}

// joined reports whether a key saw something else before and now sees the scope.
// Whoever holds the key has rules of a time that may be later than the scope's,
// and would never ask for these.
func (s *Scope) joined(before, after *flags.State, changed []flags.Ref) bool {
	for _, ref := range changed {
		if ref.Kind != flags.KindKey {
			continue
		}
		was, _ := before.Get(ref)
		is, _ := after.Get(ref)
		from, existed := was.Doc.(*flags.Key)
		to, exists := is.Doc.(*flags.Key)
		if existed && exists && scopeID(to.Scope()) == s.id && scopeID(from.Scope()) != s.id {
			return true
		}
	}
	return false
}

// tick makes a new generation when time has passed a boundary that rules name.
func (s *Scope) tick(at time.Time, refs []eval.Ref) {
	s.mu.Lock()
	defer s.mu.Unlock()
	v := s.Current()
	next := *v
	next.Gen++
	s.remember(step{version: &next, refs: sortRefs(append(slices.Clone(refs), v.Rules.Dependents(refs...)...)), clock: true})
	s.publishAfter(&next, at)
}

func (s *Scope) remember(st step) {
	if len(s.steps) == remembered {
		s.steps = slices.Delete(s.steps, 0, 1)
	}
	s.steps = append(s.steps, st.past())
}

// past is the step as it is remembered: without the bodies that were made for
// downloading, which are large and which nobody asks of the past.
func (st step) past() step {
	v := *st.version
	v.downloads = nil
	st.version = &v
	return st
}

// publish makes v current. The caller holds mu.
func (s *Scope) publish(v *Version) { s.publishAfter(v, time.Now()) }

// publishAfter makes v current and sets the clock to the first boundary after
// the given time. The caller holds mu.
func (s *Scope) publishAfter(v *Version, after time.Time) {
	s.current.Store(v)
	for w := range s.watchers {
		w.notify()
	}
	if s.clock != nil {
		s.clock.Stop()
		s.clock = nil
	}
	at, refs := v.Rules.NextBoundary(after)
	if at.IsZero() || s.stopped {
		return
	}
	gen := v.Gen
	s.clock = time.AfterFunc(max(time.Until(at), 0), func() {
		if s.Current().Gen == gen { // else a newer version has set its own clock
			s.tick(at, refs)
		}
	})
}

// stop ends the clock.
func (s *Scope) stop() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.stopped = true
	if s.clock != nil {
		s.clock.Stop()
	}
}

// A Difference is what lies between two versions of a scope.
type Difference struct {
	From, To *Version

	// Refs are the entities whose answer may differ, sorted by section and name.
	Refs []eval.Ref
	// Clock are those whose answer may differ under the very same rules, because
	// time has passed. Sorted likewise, and part of Refs.
	Clock []eval.Ref

	// Set and Delete are the changed specs themselves, newest form.
	Set    []eval.Spec
	Delete []eval.Ref
	// Layers is set when experiments moved between layers.
	Layers map[string][]string
	// IDLists names the id lists that have other members, sorted.
	IDLists []string
}

// Find returns the version that was current at a position, if it is remembered.
func (s *Scope) Find(epoch string, seq uint64) (*Version, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	current := s.Current()
	if epoch != current.Epoch || seq > current.Seq {
		return nil, false
	}
	for i := len(s.steps) - 1; i >= 0; i-- {
		// Steps of the clock repeat a sequence: take the oldest, since nobody
		// knows on which side of the boundary the position was taken.
		if v := s.steps[i].version; v.Since <= seq && !s.steps[i].clock {
			return v, true
		}
	}
	return nil, false
}

// Between returns what lies between a version and a later one. It fails when
// the way from one to the other is no longer remembered.
func (s *Scope) Between(from, to *Version) (Difference, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	d := Difference{From: from, To: to}
	if from.Epoch != to.Epoch || from.Gen > to.Gen || from.Gen < s.steps[0].version.Gen {
		return d, false
	}
	latest := make(map[eval.Ref]*eval.Spec)
	for _, st := range s.steps {
		if st.version.Gen <= from.Gen || st.version.Gen > to.Gen {
			continue
		}
		d.Refs = append(d.Refs, st.refs...)
		if st.clock {
			d.Clock = append(d.Clock, st.refs...)
		}
		for i := range st.change.Set {
			latest[st.change.Set[i].Ref()] = &st.change.Set[i]
		}
		for _, ref := range st.change.Delete {
			latest[ref] = nil
		}
		if st.change.Layers != nil {
			d.Layers = st.change.Layers
		}
		d.IDLists = append(d.IDLists, listsOf(st.change)...)
	}
	d.Refs, d.Clock = sortRefs(d.Refs), sortRefs(d.Clock)
	for ref, spec := range latest {
		if spec == nil {
			d.Delete = append(d.Delete, ref)
		} else {
			d.Set = append(d.Set, *spec)
		}
	}
	slices.SortFunc(d.Set, func(a, b eval.Spec) int { return Compare(a.Ref(), b.Ref()) })
	d.Delete = sortRefs(d.Delete)
	slices.Sort(d.IDLists)
	d.IDLists = slices.Compact(d.IDLists)
	return d, true
}

// maxBoundaries bounds the search of [Scope.Elapsed].
const maxBoundaries = 64

// Elapsed returns the entities whose time conditions may have turned since v was
// made. It fails when they are too many to name.
func (s *Scope) Elapsed(v *Version) ([]eval.Ref, bool) {
	rules := s.Current().Rules
	var out []eval.Ref
	at, end := time.UnixMilli(v.Time).Add(-clockSkew), time.Now()
	for range maxBoundaries {
		boundary, refs := rules.NextBoundary(at)
		if boundary.IsZero() || boundary.After(end) {
			return sortRefs(append(out, rules.Dependents(out...)...)), true
		}
		out, at = append(out, refs...), boundary
	}
	return nil, false
}

func sortRefs(refs []eval.Ref) []eval.Ref {
	slices.SortFunc(refs, Compare)
	return slices.Compact(refs)
}

// Compare orders references by section, then name.
func Compare(a, b eval.Ref) int {
	if a.Section != b.Section {
		return int(a.Section) - int(b.Section)
	}
	switch {
	case a.Name < b.Name:
		return -1
	case a.Name > b.Name:
		return 1
	}
	return 0
}
