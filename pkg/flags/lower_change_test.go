package flags_test

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"

	"github.com/sluice-flags/sluice/pkg/eval"
	"github.com/sluice-flags/sluice/pkg/flags"
)

// apply changes a whole body as a reader of changes would.
func apply(s eval.Specs, c eval.Change) eval.Specs {
	sections := []*[]eval.Spec{&s.FeatureGates, &s.DynamicConfigs, &s.LayerConfigs}
	for _, ref := range c.Delete {
		list := sections[ref.Section]
		*list = slices.DeleteFunc(slices.Clone(*list), func(x eval.Spec) bool { return x.Name == ref.Name })
	}
	for _, spec := range c.Set {
		list := sections[spec.Section()]
		*list = slices.DeleteFunc(slices.Clone(*list), func(x eval.Spec) bool { return x.Name == spec.Name })
		*list = append(*list, spec)
		slices.SortFunc(*list, func(a, b eval.Spec) int { return strings.Compare(a.Name, b.Name) })
	}
	if c.Layers != nil {
		s.Layers = c.Layers
	}
	s.Time = c.Time
	return s
}

func encoded(t fatal, s eval.Specs) string {
	t.Helper()
	raw, err := json.Marshal(s)
	if err != nil {
		t.Fatalf("Marshal(specs) = %v", err)
	}
	return string(raw)
}

func TestAChangeLowersToTheDifferenceOfTheWholes(t *testing.T) {
	steps, applied := 0, 0
	rapid.Check(t, func(t *rapid.T) {
		m := &mutator{project: newProject(t), t: t}
		scope := scope(t)
		before := m.state
		body := flags.Lower(before, scope)
		ruleset := eval.Compile(body, eval.Options{})
		for range 25 {
			var changed []flags.Ref
			for range rapid.IntRange(1, 3).Draw(t, "commit") { // a commit may change several entities
				changed = append(changed, m.step()...)
				steps++
			}
			change := flags.LowerChange(before, m.state, changed, scope)
			body, before = apply(body, change), m.state
			want := flags.Lower(m.state, scope)
			if encoded(t, want) != encoded(t, body) {
				t.Fatalf("after %v the changes add up to something else than Lower (-want +got):\n%s", changed,
					cmp.Diff(want, body, cmpopts.IgnoreUnexported(eval.Spec{}), cmpopts.EquateEmpty()))
			}
			ruleset = ruleset.Apply(change)
			u := &eval.User{UserID: fmt.Sprint("u", rapid.IntRange(0, 99).Draw(t, "user")), Email: "a@b"}
			got := string(ruleset.AppendClient(nil, u, eval.ClientOptions{}))
			if whole := string(eval.Compile(want, eval.Options{}).AppendClient(nil, u, eval.ClientOptions{})); got != whole {
				t.Fatalf("after %v a client is told\n%s\nwant\n%s", changed, got, whole)
			}
		}
		applied += m.applied
	})
	if applied < steps/20 {
		t.Errorf("%d of %d random changes were lawful; want enough of them to mean something", applied, steps)
	}
}

func TestAChangeOfOneGateTouchesNothingElse(t *testing.T) {
	p := newProject(t)
	p.put(flags.KindSegment, `{"name":"s","rules":[]}`)
	for i := range 20 {
		p.put(flags.KindGate, when(fmt.Sprint("g", i), `{"type":"passes_segment","targetValue":"s"}`))
	}
	before := p.state
	segment, _ := p.state.ByName(flags.KindSegment, "s")
	p.put(flags.KindSegment, fmt.Sprintf(`{"id":%q,"name":"s","description":"new","rules":[]}`, segment.Ref.ID))
	change := flags.LowerChange(before, p.state, []flags.Ref{segment.Ref}, flags.Scope{Kind: flags.KeyServer})
	if len(change.Set) != 1 || change.Set[0].Name != "segment:s" || len(change.Delete) > 0 || change.Layers != nil {
		t.Errorf("LowerChange() sets %d specs, deletes %v; want the segment alone", len(change.Set), change.Delete)
	}
}

func TestFromNothingAChangeIsEverything(t *testing.T) {
	p := newProject(t)
	g := p.put(flags.KindGate, everyone("g", 50))
	change := flags.LowerChange(nil, p.state, []flags.Ref{g.Ref()}, flags.Scope{Kind: flags.KeyServer})
	if len(change.Set) != 1 || change.Time != p.state.Time() || change.Sequence != p.state.Seq() {
		t.Errorf("LowerChange(nil, …) = %+v; want gate g at %d", change, p.state.Seq())
	}
}
