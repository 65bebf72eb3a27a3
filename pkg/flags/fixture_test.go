package flags_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/sluice-flags/sluice/pkg/eval"
	"github.com/sluice-flags/sluice/pkg/flags"
)

// fatal is what tests and properties have in common.
type fatal interface {
	Helper()
	Fatalf(format string, args ...any)
}

// A project is a state under construction, changed as a service would: decode,
// advance, validate, put.
type project struct {
	t     fatal
	state *flags.State
	ids   int
}

// newProject has the three environments that every project is created with.
func newProject(t fatal) *project {
	p := &project{t: t, state: flags.NewState("demo")}
	for _, name := range []string{"development", "staging", "production"} {
		p.put(flags.KindEnvironment, fmt.Sprintf(`{"id": "env_%s", "name": %q}`, name, name))
	}
	return p
}

var testTime = time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)

func (p *project) newID(prefix string) string {
	p.ids++
	return fmt.Sprintf("%s%04d", prefix, p.ids)
}

// try does all that put does but changing the state.
func (p *project) try(kind flags.Kind, document string) (flags.Document, flags.Problems) {
	p.t.Helper()
	d, err := flags.Decode(kind, []byte(document))
	if err != nil {
		var problems flags.Problems
		if !errors.As(err, &problems) {
			p.t.Fatalf("Decode(%s, %s) = %v; want Problems", kind, document, err)
		}
		return nil, problems
	}
	flags.Advance(p.state, d, testTime, p.newID)
	return d, flags.Validate(p.state, d)
}

// put writes a document that has to be right.
func (p *project) put(kind flags.Kind, document string) flags.Document {
	p.t.Helper()
	d, problems := p.try(kind, document)
	if len(problems) > 0 {
		p.t.Fatalf("%s %s: %v", kind, document, problems)
	}
	p.write(d)
	return d
}

// write puts a document as the log would.
func (p *project) write(d flags.Document) {
	p.t.Helper()
	p.state = p.state.Put(p.next(d))
}

func (p *project) next(d flags.Document) flags.Entity {
	p.t.Helper()
	raw, err := flags.Encode(d)
	if err != nil {
		p.t.Fatalf("Encode(%s) = %v", d.Ref(), err)
	}
	version := uint64(1)
	if e, ok := p.state.Get(d.Ref()); ok {
		version = e.Version + 1
	}
	seq := p.state.Seq() + 1
	return flags.Entity{Ref: d.Ref(), Name: d.DocName(), Doc: d, Raw: raw, Version: version, Seq: seq, Time: int64(seq) * 1000}
}

func (p *project) remove(ref flags.Ref) {
	p.t.Helper()
	e, ok := p.state.Get(ref)
	if !ok {
		p.t.Fatalf("there is no %s to remove", ref)
	}
	seq := p.state.Seq() + 1
	p.state = p.state.Put(flags.Entity{Ref: ref, Name: e.Name, Deleted: true, Version: e.Version + 1, Seq: seq, Time: int64(seq) * 1000})
}

// rules compiles what a server key of some environments evaluates.
func (p *project) rules(environments ...string) *eval.Ruleset {
	return eval.Compile(flags.Lower(p.state, flags.Scope{Kind: flags.KeyServer, Environments: environments}), eval.Options{})
}

// everyone is a gate document that passes a percentage of all units.
func everyone(name string, percent float64) string {
	return fmt.Sprintf(`{"name": %q, "rules": [{"id": "all", "environments": null, "passPercentage": %v, "conditions": [{"type": "public"}]}]}`, name, percent)
}

// when is a gate document with one rule for everyone who meets the conditions.
func when(name string, conditions string) string {
	return fmt.Sprintf(`{"name": %q, "rules": [{"id": "only", "environments": null, "passPercentage": 100, "conditions": [%s]}]}`, name, conditions)
}

func user(id string) *eval.User { return &eval.User{UserID: id} }

func asMap(t *testing.T, raw json.RawMessage) map[string]any {
	t.Helper()
	var out map[string]any
	if err := json.Unmarshal(raw, &out); err != nil {
		t.Fatalf("not an object: %s: %v", raw, err)
	}
	return out
}
