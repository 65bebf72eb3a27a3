package flags_test

import (
	"crypto/sha256"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/sluice-flags/sluice/pkg/flags"
)

// describe is all that a state answers, as plain data.
func describe(s *flags.State) map[string]any {
	out := map[string]any{"len": s.Len(), "seq": s.Seq(), "time": s.Time()}
	for _, kind := range flags.Kinds() {
		var names []string
		for e := range s.All(kind) {
			names = append(names, e.Name)
			key := string(kind) + " " + e.Ref.ID
			out[key] = string(e.Raw)
			out[key+" references"] = s.References(e.Ref)
			out[key+" dependents"] = s.Dependents(e.Ref)
			found, ok := s.ByName(kind, strings.ToUpper(e.Name))
			out[key+" found"] = ok && found.Ref == e.Ref
		}
		out[string(kind)] = names
	}
	for e := range s.Entities() {
		if e.Deleted {
			out["retired "+e.Ref.ID] = s.Retired(e.Ref.Kind, e.Name)
		}
	}
	return out
}

func TestOneByOneAndAllAtOnceGiveTheSameState(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m := &mutator{project: newProject(t), t: t}
		for range 30 {
			m.step()
		}
		all := slices.Collect(m.state.Entities())
		shuffled := rapid.Permutation(all).Draw(t, "order")
		built := flags.NewState("demo").With(m.state.Position(), shuffled...)
		if diff := cmp.Diff(describe(m.state), describe(built)); diff != "" {
			t.Fatalf("With(all entities) differs from one Put after the other (-one by one +at once):\n%s", diff)
		}
	})
}

func TestIndexesSayWhatTheDocumentsSay(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m := &mutator{project: newProject(t), t: t}
		for range 30 {
			m.step()
		}
		for _, kind := range flags.Kinds() {
			var last string
			for e := range m.state.All(kind) {
				if name := strings.ToLower(e.Name); name < last {
					t.Fatalf("All(%s): %q comes after %q", kind, name, last)
				} else {
					last = name
				}
				for _, to := range m.state.References(e.Ref) {
					if !slices.Contains(m.state.Dependents(to), e.Ref) {
						t.Fatalf("%s refers to %s, whose dependents are %v", e.Ref, to, m.state.Dependents(to))
					}
				}
				for _, from := range m.state.Dependents(e.Ref) {
					if !slices.Contains(m.state.References(from), e.Ref) {
						t.Fatalf("%s depends on %s, but refers to %v", from, e.Ref, m.state.References(from))
					}
				}
			}
		}
	})
}

func TestAStateNeverChanges(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m := &mutator{project: newProject(t), t: t}
		for range 15 {
			m.step()
		}
		kept, was := m.state, describe(m.state)
		for range 15 {
			m.step()
		}
		if diff := cmp.Diff(was, describe(kept)); diff != "" {
			t.Fatalf("later changes show in an earlier state:\n%s", diff)
		}
	})
}

func TestADeletedNameStaysRetiredAndARenamedOneDoesNot(t *testing.T) {
	p := newProject(t)
	g := p.put(flags.KindGate, everyone("Gone", 1)).(*flags.Gate)
	p.remove(g.Ref())
	if _, ok := p.state.Get(g.Ref()); ok || !p.state.Retired(flags.KindGate, "gone") || !p.state.Retired(flags.KindHoldout, "GONE") {
		t.Error("a deleted gate is there, or its name is not retired for gates and holdouts")
	}
	if p.state.Retired(flags.KindConfig, "gone") {
		t.Error("a gate's name is retired for configs")
	}
	if e, ok := p.state.Tombstone(g.Ref()); !ok || e.Name != "Gone" || e.Doc != nil {
		t.Errorf("Tombstone() = %+v, %v; want the name and no document", e, ok)
	}
	h := p.put(flags.KindGate, everyone("old", 1)).(*flags.Gate)
	p.put(flags.KindGate, fmt.Sprintf(`{"id":%q,"name":"new","rules":[]}`, h.ID))
	if _, ok := p.state.ByName(flags.KindGate, "old"); ok || p.state.Retired(flags.KindGate, "old") {
		t.Error("the name before a rename is found or retired")
	}
}

func TestKeysAreFoundByTheHashOfTheirText(t *testing.T) {
	p := newProject(t)
	sum := sha256.Sum256([]byte("secret-demo-x"))
	doc := fmt.Sprintf(`{"id":"key_1","name":"backend","kind":"server","hash":"%x","environments":["production"]`, sum)
	p.put(flags.KindKey, doc+`}`)
	k, ok := p.state.KeyByHash(sum)
	if !ok || k.Name != "backend" || !k.Active(testTime) {
		t.Fatalf("KeyByHash() = %+v, %v; want the key, active", k, ok)
	}
	if got := k.Scope(); got.Kind != flags.KeyServer || !slices.Equal(got.Environments, []string{"production"}) {
		t.Errorf("Scope() = %+v; want a server key of production", got)
	}
	p.put(flags.KindKey, doc+`,"revoked":true}`)
	if k, ok := p.state.KeyByHash(sum); !ok || k.Active(testTime) {
		t.Errorf("KeyByHash() after revoking = %+v, %v; want it found and inactive", k, ok)
	}
	p.remove(flags.Ref{Kind: flags.KindKey, ID: "key_1"})
	if _, ok := p.state.KeyByHash(sum); ok {
		t.Error("a deleted key is found")
	}
}
