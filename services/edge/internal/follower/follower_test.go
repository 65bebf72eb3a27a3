package follower_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/sluice-flags/sluice/pkg/eval"
	"github.com/sluice-flags/sluice/pkg/flags"
	"github.com/sluice-flags/sluice/services/edge/internal/edgetest"
	"github.com/sluice-flags/sluice/services/edge/internal/follower"
)

var production = flags.Scope{Kind: flags.KeyServer, Environments: []string{"production"}}

func following(t *testing.T, p *edgetest.Project) *follower.Rulesets {
	t.Helper()
	r := follower.New(follower.Options{})
	t.Cleanup(r.Close)
	p.OnChange(r.Changed)
	return r
}

func passes(v *follower.Version, gate string) bool {
	return v.Rules.Gate(&eval.User{UserID: "u1"}, gate).Pass
}

func TestAChangeIsInTheNextVersion(t *testing.T) {
	p := edgetest.New(t, "shop")
	p.Put(t, p.Gate("checkout", edgetest.Nobody()))
	scope := following(t, p).Scope(p.State(), production)
	before := scope.Current()
	if passes(before, "checkout") {
		t.Fatal("checkout passes before it is switched on")
	}
	seq := p.Put(t, p.Gate("checkout", edgetest.Everyone()))
	after := scope.Current()
	if !passes(after, "checkout") || after.Seq != seq || after.Since != seq || after.Gen != before.Gen+1 || after.Time <= before.Time {
		t.Errorf("after the change: passes %v, version %+v; want true, sequence %d, the next generation, a later time", passes(after, "checkout"), after, seq)
	}
	if passes(before, "checkout") {
		t.Error("the old version changed")
	}
}

func TestACommitThatDoesNotConcernTheScopeKeepsItsTime(t *testing.T) {
	p := edgetest.New(t, "shop")
	scope := following(t, p).Scope(p.State(), production)
	before := scope.Current()
	calls := 0
	defer scope.Watch(func() { calls++ })()
	seq := p.Put(t, &flags.Metric{Name: "orders", Type: "event_count", Measure: flags.Measure{Event: "order"}})
	after := scope.Current()
	if after.Seq != seq || after.Time != before.Time || after.Gen != before.Gen {
		t.Errorf("after a metric: %+v; want sequence %d, and time and generation of %+v", after, seq, before)
	}
	if calls != 0 {
		t.Errorf("watchers were called %d times for nothing", calls)
	}
}

func TestWatchersHearOfEveryGenerationUntilTheyCancel(t *testing.T) {
	p := edgetest.New(t, "shop")
	scope := following(t, p).Scope(p.State(), production)
	calls := 0
	cancel := scope.Watch(func() { calls++ })
	p.Put(t, p.Gate("a", edgetest.Everyone()))
	cancel()
	p.Put(t, p.Gate("a", edgetest.Nobody()))
	if calls != 1 {
		t.Errorf("watcher was called %d times, want once", calls)
	}
}

func TestBetweenNamesWhatChangedAndWhatDependsOnIt(t *testing.T) {
	p := edgetest.New(t, "shop")
	p.Put(t, p.Gate("base", edgetest.Nobody()))
	p.Put(t, p.Gate("other", edgetest.Everyone()))
	p.Put(t, p.Gate("dependent", edgetest.When("base")))
	p.Put(t, p.Gate("gone", edgetest.Everyone()))
	scope := following(t, p).Scope(p.State(), production)
	from := scope.Current()
	p.Put(t, p.Gate("base", edgetest.Everyone()))
	p.Delete(t, flags.KindGate, "gone")
	d, ok := scope.Between(from, scope.Current())
	if !ok {
		t.Fatal("Between failed over two generations")
	}
	ref := func(name string) eval.Ref { return eval.Ref{Section: eval.Gates, Name: name} }
	if diff := cmp.Diff([]eval.Ref{ref("base"), ref("dependent"), ref("gone")}, d.Refs); diff != "" {
		t.Errorf("Refs (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]eval.Ref{ref("gone")}, d.Delete); diff != "" {
		t.Errorf("Delete (-want +got):\n%s", diff)
	}
	if len(d.Set) != 1 || d.Set[0].Name != "base" || !strings.Contains(string(mustJSON(t, d.Set[0])), `"passPercentage":100`) {
		t.Errorf("Set = %s, want the newest form of base", mustJSON(t, d.Set))
	}
}

func mustJSON(t *testing.T, v any) []byte {
	t.Helper()
	text, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func TestAPositionIsFoundWhileItIsRemembered(t *testing.T) {
	p := edgetest.New(t, "shop")
	p.Put(t, p.Gate("a", edgetest.Nobody()))
	scope := following(t, p).Scope(p.State(), production)
	first := scope.Current()
	var seqs []uint64
	for i := range 70 { // more than are remembered
		rule := edgetest.Everyone()
		rule.PassPercentage = float64(i)
		seqs = append(seqs, p.Put(t, p.Gate("a", rule)))
	}
	metric := p.Put(t, &flags.Metric{Name: "orders", Type: "event_count", Measure: flags.Measure{Event: "order"}})

	if _, ok := scope.Find(first.Epoch, first.Seq); ok {
		t.Error("Find(a position that was forgotten) succeeded")
	}
	if _, ok := scope.Find("another log", seqs[69]); ok {
		t.Error("Find(a position of another log) succeeded")
	}
	if _, ok := scope.Find(first.Epoch, metric+1); ok {
		t.Error("Find(a position of the future) succeeded")
	}
	for _, seq := range []uint64{seqs[69], metric} { // the commit between changed nothing here
		v, ok := scope.Find(first.Epoch, seq)
		if !ok || v.Since != seqs[69] {
			t.Errorf("Find(%d) = %+v, %v; want the generation of %d", seq, v, ok, seqs[69])
		}
	}
	v, ok := scope.Find(first.Epoch, seqs[20])
	if !ok || v.Since != seqs[20] {
		t.Errorf("Find(%d) = %+v, %v; want that generation", seqs[20], v, ok)
	}
	if d, ok := scope.Between(v, scope.Current()); !ok || len(d.Set) != 1 {
		t.Errorf("Between(49 generations) = %+v, %v; want one spec", d, ok)
	}
	if _, ok := scope.Between(first, scope.Current()); ok {
		t.Error("Between(a forgotten version) succeeded")
	}
}

func TestTimeThatPassesABoundaryIsAGeneration(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := edgetest.New(t, "shop")
		p.Put(t, p.Gate("launch", edgetest.After(time.Now().Add(time.Hour))))
		p.Put(t, p.Gate("dependent", edgetest.When("launch")))
		scope := following(t, p).Scope(p.State(), production)
		heard := make(chan struct{}, 1)
		defer scope.Watch(func() { heard <- struct{}{} })()
		from := scope.Current()
		if passes(from, "launch") {
			t.Fatal("launch passes an hour before its time")
		}
		began := time.Now()
		<-heard
		if waited := time.Since(began); waited > time.Hour+time.Second {
			t.Errorf("the generation came after %v, want an hour", waited)
		}
		to := scope.Current()
		if !passes(to, "launch") || to.Seq != from.Seq || to.Time != from.Time {
			t.Errorf("after the boundary: passes %v, %+v; want true at the same sequence and time", passes(to, "launch"), to)
		}
		d, ok := scope.Between(from, to)
		if !ok || len(d.Clock) != 2 || len(d.Set) != 0 {
			t.Errorf("Between = %+v, %v; want launch and its dependent by the clock, and no spec", d, ok)
		}
		refs, ok := scope.Elapsed(from)
		if !ok || len(refs) != 2 {
			t.Errorf("Elapsed = %v, %v; want launch and its dependent", refs, ok)
		}
	})
}

func TestAnotherLogStartsAnew(t *testing.T) {
	p := edgetest.New(t, "shop")
	p.Put(t, p.Gate("a", edgetest.Everyone()))
	r := following(t, p)
	scope := r.Scope(p.State(), production)
	from := scope.Current()

	other := edgetest.New(t, "shop") // restored with less in it
	restored := other.State().With(flags.Position{LogID: "restored", Seq: 1, Time: from.Time + 1})
	r.Changed(p.State(), restored, nil)
	to := scope.Current()
	if to.Epoch != "restored" || to.Rules.Gate(&eval.User{UserID: "u"}, "a").Found {
		t.Errorf("after another log: epoch %q; want restored, without gate a", to.Epoch)
	}
	if to.Gen <= from.Gen {
		t.Errorf("generation went from %d to %d", from.Gen, to.Gen)
	}
	if _, ok := scope.Between(from, to); ok {
		t.Error("Between(two logs) succeeded")
	}
}

func TestKeysWithEqualScopesShareOne(t *testing.T) {
	p := edgetest.New(t, "shop")
	r := following(t, p)
	a := r.Scope(p.State(), flags.Scope{Kind: flags.KeyServer, Environments: []string{"production", "staging"}})
	b := r.Scope(p.State(), flags.Scope{Kind: flags.KeyServer, Environments: []string{"staging", "production"}})
	c := r.Scope(p.State(), production)
	if a != b || a == c || a.ID() == c.ID() {
		t.Errorf("scopes: equal ones share %v, different ones share %v", a == b, a == c)
	}
}

func TestDownloadsAreMadeOnceAndNameTheirContent(t *testing.T) {
	p := edgetest.New(t, "shop")
	p.Put(t, p.Gate("a", edgetest.Everyone()))
	scope := following(t, p).Scope(p.State(), production)
	first, err := scope.Current().V1()
	if err != nil {
		t.Fatal(err)
	}
	p.Put(t, &flags.Metric{Name: "orders", Type: "event_count", Measure: flags.Measure{Event: "order"}})
	same, _ := scope.Current().V1()
	if first != same {
		t.Error("a commit that concerns nobody made a new body")
	}
	v2, err := scope.Current().V2()
	if err != nil || v2.ETag("") == first.ETag("") {
		t.Errorf("V2 = tag %q, %v; want another tag than v1's", v2.ETag(""), err)
	}
	p.Put(t, p.Gate("a", edgetest.Nobody()))
	changed, _ := scope.Current().V1()
	if changed.ETag("") == first.ETag("") {
		t.Error("another body has the same tag")
	}
	specs, err := eval.ParseSpecs(changed.Body(""))
	if err != nil || specs.Time != scope.Current().Time {
		t.Errorf("body has time %d, %v; want the version's %d", specs.Time, err, scope.Current().Time)
	}
}

func TestTheTimeOfAScopeOnlyRises(t *testing.T) {
	p := edgetest.New(t, "shop")
	p.Put(t, &flags.Environment{Name: "staging"})
	r := following(t, p)
	token := p.Key(t, flags.KeyServer)
	staging := r.Scope(p.State(), flags.Scope{Kind: flags.KeyServer, Environments: []string{"staging"}})
	old := staging.Current()
	p.Put(t, p.Gate("a", edgetest.Everyone())) // in both
	scope := r.Scope(p.State(), production)
	p.Put(t, p.Gate("b", edgetest.Everyone()))

	// The holder of the key has rules of production; now it sees staging. Nothing
	// there has changed, and its rules must not look older than what it holds.
	held := scope.Current().Time
	key := p.KeyOf(t, token)
	key.Environments = []string{"staging"}
	p.Put(t, key)
	moved := staging.Current()
	if moved.Time <= held || moved.Time <= old.Time || moved.Gen == old.Gen {
		t.Errorf("a key moved here, and the scope's time is %d; want a new generation later than %d", moved.Time, held)
	}
	if d, err := moved.V1(); err != nil || !strings.Contains(string(d.Body("")), fmt.Sprintf(`"time":%d`, moved.Time)) {
		t.Errorf("the body of a scope that a key moved to has another time than %d", moved.Time)
	}
	if got := moved.Rules.Time(); got != moved.Time {
		t.Errorf("the rules have the time %d, the version %d", got, moved.Time)
	}

	// A log that was restored may end before what clients have seen.
	restored := edgetest.New(t, "shop").State().With(flags.Position{LogID: "restored", Seq: 1, Time: 1})
	r.Changed(p.State(), restored, nil)
	if got := staging.Current(); got.Time <= moved.Time {
		t.Errorf("with another log the time went from %d to %d", moved.Time, got.Time)
	}
}
