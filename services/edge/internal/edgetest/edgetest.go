// Package edgetest holds a project whose definitions tests change, as control
// would: through its log.
package edgetest

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/sluice-flags/sluice/internal/auth"
	"github.com/sluice-flags/sluice/pkg/events"
	"github.com/sluice-flags/sluice/pkg/events/memlog"
	"github.com/sluice-flags/sluice/pkg/flags"
)

// A Project is a project of one writer: the test.
type Project struct {
	Log events.Log

	mu       sync.Mutex
	state    *flags.State
	head     events.Head
	onChange []func(before, after *flags.State, changed []flags.Ref)
	commands int
}

// New returns a project in memory with one environment, production.
func New(t testing.TB, name string) *Project {
	t.Helper()
	return On(t, name, memlog.New("log-of-"+name))
}

// On returns a project on a log that is empty, with one environment.
func On(t testing.TB, name string, log events.Log) *Project {
	t.Helper()
	head, err := log.Head(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	p := &Project{Log: log, state: flags.NewState(name), head: head}
	p.Put(t, &flags.Environment{Name: "production"})
	return p
}

// OnChange calls f after every commit, as the follower of a log would.
func (p *Project) OnChange(f func(before, after *flags.State, changed []flags.Ref)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.onChange = append(p.onChange, f)
}

// State returns the project as it is.
func (p *Project) State() *flags.State {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.state
}

// Put commits documents, new ones and new versions, and returns the sequence.
func (p *Project) Put(t testing.TB, docs ...flags.Document) uint64 {
	t.Helper()
	p.mu.Lock()
	defer p.mu.Unlock()
	drafts := make([]events.Draft, len(docs))
	for i, d := range docs {
		d = flags.Clone(d) // with every default in its place, as if decoded
		flags.Advance(p.state, d, time.Now(), nil)
		if problems := flags.Validate(p.state, d); len(problems) > 0 && len(docs) == 1 {
			t.Fatalf("%s %q is not valid: %v", d.Ref().Kind, d.DocName(), problems)
		}
		raw, err := flags.Encode(d)
		if err != nil {
			t.Fatal(err)
		}
		e, _ := p.state.Get(d.Ref())
		drafts[i] = events.Draft{Kind: d.Ref().Kind, Entity: d.Ref().ID, EntityVersion: e.Version + 1,
			Name: d.DocName(), Created: e.Created, Document: raw}
	}
	return p.commit(t, drafts)
}

// Delete commits the end of an entity and returns the sequence.
func (p *Project) Delete(t testing.TB, kind flags.Kind, name string) uint64 {
	t.Helper()
	p.mu.Lock()
	defer p.mu.Unlock()
	e, ok := p.state.ByName(kind, name)
	if !ok {
		t.Fatalf("there is no %s %q to delete", kind, name)
	}
	return p.commit(t, []events.Draft{{Kind: kind, Entity: e.Ref.ID, EntityVersion: e.Version + 1, Name: name, Created: e.Created}})
}

func (p *Project) commit(t testing.TB, drafts []events.Draft) uint64 {
	t.Helper()
	p.commands++
	receipt, err := p.Log.Append(context.WithoutCancel(t.Context()), p.head, events.Command{
		ID: fmt.Sprintf("%s-%d", t.Name(), p.commands), Actor: events.Actor{Kind: "system", ID: "test"}, Drafts: drafts,
	})
	if err != nil {
		t.Fatal(err)
	}
	before, after := p.state, p.state
	var changed []flags.Ref
	for _, e := range receipt.Envelopes {
		if after, err = events.Apply(after, e); err != nil {
			t.Fatal(err)
		}
		changed = append(changed, e.Ref())
	}
	p.state, p.head = after, receipt.Last
	for _, f := range p.onChange {
		f(before, after, changed)
	}
	return receipt.Last.Seq
}

// Key makes a key of a kind and returns its token. Edit, if given, changes the
// document before it is committed.
func (p *Project) Key(t testing.TB, kind flags.KeyKind, edit ...func(*flags.Key)) string {
	t.Helper()
	token, hash := auth.Generate(kind, p.State().Project())
	key := &flags.Key{Name: fmt.Sprintf("%s key %d", kind, p.State().Seq()), Kind: kind,
		Hash: hex.EncodeToString(hash[:]), Environments: []string{"production"}}
	for _, f := range edit {
		f(key)
	}
	p.Put(t, key)
	return token
}

// KeyOf returns a copy of the key document of a token, to be edited and put.
func (p *Project) KeyOf(t testing.TB, token string) *flags.Key {
	t.Helper()
	key, ok := p.State().KeyByHash(auth.Hash(token))
	if !ok {
		t.Fatal("no such key")
	}
	return flags.Clone(key).(*flags.Key)
}

// Gate returns a gate that is new, or the next version of the one of that name,
// with the given rules.
func (p *Project) Gate(name string, rules ...flags.Rule) *flags.Gate {
	g := &flags.Gate{Name: name, Rules: rules, UnitType: "userID", Salt: "salt-of-" + name, Status: flags.StatusInProgress}
	if e, ok := p.State().ByName(flags.KindGate, name); ok {
		g.ID = e.Ref.ID
	}
	return g
}

// Config is [Project.Gate] for dynamic configs.
func (p *Project) Config(name, value string, rules ...flags.Rule) *flags.Config {
	c := &flags.Config{Name: name, DefaultValue: json.RawMessage(value), Rules: rules, UnitType: "userID",
		Salt: "salt-of-" + name, Status: flags.StatusInProgress}
	if e, ok := p.State().ByName(flags.KindConfig, name); ok {
		c.ID = e.Ref.ID
	}
	return c
}

// Everyone is the rule that passes for all.
func Everyone() flags.Rule {
	return flags.Rule{ID: "everyone", Name: "Everyone", PassPercentage: 100, Conditions: []flags.Condition{{Type: "public"}}}
}

// Nobody is the rule that passes for none.
func Nobody() flags.Rule {
	r := Everyone()
	r.PassPercentage = 0
	return r
}

// Only is the rule that passes for the users with the given ids.
func Only(ids ...string) flags.Rule {
	target, err := json.Marshal(ids)
	if err != nil {
		panic(err) // texts always encode
	}
	return flags.Rule{ID: "only", Name: "Only some", PassPercentage: 100,
		Conditions: []flags.Condition{{Type: "user_id", Operator: "any", TargetValue: target}}}
}

// When is the rule that passes for everybody who passes a gate.
func When(gate string) flags.Rule {
	target, err := json.Marshal(gate)
	if err != nil {
		panic(err) // texts always encode
	}
	return flags.Rule{ID: "when", Name: "When " + gate, PassPercentage: 100,
		Conditions: []flags.Condition{{Type: "passes_gate", TargetValue: target}}}
}

// After is the rule that passes for everybody from a moment on.
func After(at time.Time) flags.Rule {
	target, err := json.Marshal(at.UnixMilli())
	if err != nil {
		panic(err) // numbers always encode
	}
	return flags.Rule{ID: "after", Name: "From then on", PassPercentage: 100,
		Conditions: []flags.Condition{{Type: "time", Operator: "after", TargetValue: target}}}
}
