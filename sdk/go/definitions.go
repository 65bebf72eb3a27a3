package sluice

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/sluice-flags/sluice/pkg/eval"
	"github.com/sluice-flags/sluice/pkg/events/live"
)

// definitions are what a client holds: compiled rules, and the position that it
// offers to come back. They do not change; a frame makes the next ones.
type definitions struct {
	rules *eval.Ruleset // nil if it holds nothing
	live.Position

	asksLists bool // some rules ask id lists, whose members come apart
	lists     map[string]*eval.IDList
}

// errGap says that a change does not build on what is held: something between
// was missed.
var errGap = errors.New("a change is missing")

// errUnreadable says that an entry of a change could not be read. In a full
// state such an entry is put into quarantine alone.
var errUnreadable = errors.New("an entry cannot be read")

// parse compiles the body of a spec download.
func (o *options) parse(body []byte, at live.Position, from eval.Source) (definitions, error) {
	specs, err := eval.ParseSpecs(body)
	if err != nil {
		return definitions{}, err
	}
	return o.compile(specs, at, from), nil
}

func (o *options) compile(specs eval.Specs, at live.Position, from eval.Source) definitions {
	if o.environment != "" {
		specs.DefaultEnvironment = o.environment
	}
	return definitions{
		rules:    eval.Compile(specs, eval.Options{Country: o.country, UserAgent: o.userAgent, Sequence: at.Seq, Source: from}),
		Position: at, asksLists: len(specs.IDLists) > 0,
	}
}

// withLists returns the definitions with these id lists and no others, and what may
// answer differently from before.
func (d definitions) withLists(lists map[string]*eval.IDList) (next definitions, changed []eval.Ref) {
	edit := eval.Change{IDLists: map[string]*eval.IDList{}}
	var names []string
	for name, members := range lists {
		if d.lists[name] != members {
			edit.IDLists[name] = members
			names = append(names, name)
		}
	}
	for name := range d.lists {
		if lists[name] == nil {
			edit.DeleteIDLists = append(edit.DeleteIDLists, name)
			names = append(names, name)
		}
	}
	if len(names) == 0 {
		return d, nil
	}
	next = d
	next.rules, next.lists = d.rules.Apply(edit), lists
	return next, next.rules.IDListDependents(names...)
}

// behind reports whether a state at another position is older than what is held.
// Positions of other logs, and of other views of this one, do not compare.
func (d definitions) behind(p live.Position) bool {
	return d.rules != nil && d.Epoch != "" && p.Epoch == d.Epoch && p.Context == d.Context && p.Seq < d.Seq
}

// time returns when the newest change was made that d knows.
func (d definitions) time() int64 {
	if d.rules == nil {
		return 0
	}
	return d.rules.Time()
}

// change returns the definitions after a change, and what may answer differently
// from before. The error is [errGap] or [errUnreadable].
func (d definitions) change(c live.Change) (next definitions, changed []eval.Ref, err error) {
	if d.rules == nil || c.Prev > d.Seq {
		return d, nil, fmt.Errorf("%w: at %d, got one that builds on %d", errGap, d.Seq, c.Prev)
	}
	if c.Seq <= d.Seq {
		return d, []eval.Ref{}, nil // from an edge that is behind us: already in
	}
	edit := eval.Change{Time: c.Time, Sequence: c.Seq, Source: eval.SourceNetwork}
	var refs []eval.Ref
	for _, e := range c.Entries {
		ref, ok := refOf(e)
		if !ok {
			continue
		}
		refs = append(refs, ref)
		if e.Value == nil {
			edit.Delete = append(edit.Delete, ref)
		}
	}
	specs, err := eval.ParseSpecs(download(c))
	if err != nil {
		return d, nil, fmt.Errorf("%w: %w", errUnreadable, err)
	}
	if len(specs.Unreadable) > 0 {
		q := specs.Unreadable[0]
		return d, nil, fmt.Errorf("%w: %s %q: %s", errUnreadable, q.Ref.Section, q.Ref.Name, q.Reason)
	}
	edit.Set = append(append(specs.LayerConfigs, specs.DynamicConfigs...), specs.FeatureGates...)
	edit.Layers = specs.Layers

	next = d
	next.rules, next.Seq = d.rules.Apply(edit), c.Seq
	next.asksLists = d.asksLists || len(c.IDLists) > 0
	// Who depended on something before the change, and who does after it.
	return next, union(next.rules.Dependents(refs...), d.rules.Dependents(refs...)), nil
}

// union is both, each reference once.
func union(a, b []eval.Ref) []eval.Ref {
	seen := make(map[eval.Ref]bool, len(a))
	for _, ref := range a {
		seen[ref] = true
	}
	for _, ref := range b {
		if !seen[ref] {
			a = append(a, ref)
		}
	}
	return a
}

func refOf(e live.Entry) (eval.Ref, bool) {
	for _, s := range [...]eval.Section{eval.Gates, eval.Configs, eval.Layers} {
		if e.Section == s.String() {
			return eval.Ref{Section: s, Name: e.Name}, true
		}
	}
	return eval.Ref{}, false
}

// download writes what a change sets in the form of a spec download.
func download(c live.Change) []byte {
	var b bytes.Buffer
	b.WriteString(`{"has_updates":true`)
	for _, section := range live.Sections {
		fmt.Fprintf(&b, `,%q:[`, section)
		first := true
		for _, e := range c.Entries {
			if e.Section != section || e.Value == nil {
				continue
			}
			if !first {
				b.WriteByte(',')
			}
			first = false
			b.Write(e.Value)
		}
		b.WriteByte(']')
	}
	if c.Layers != nil {
		b.WriteString(`,"layers":`)
		b.Write(c.Layers)
	}
	b.WriteByte('}')
	return b.Bytes()
}

// A document is the text of the definitions, kept up to date for the store.
type document struct {
	at       live.Position
	time     int64
	sections map[string]map[string]json.RawMessage
	rest     map[string]json.RawMessage // other members of the download
}

// newDocument reads the body of a v1 download.
func newDocument(body []byte, at live.Position, time int64) (*document, error) {
	d := &document{at: at, time: time, sections: map[string]map[string]json.RawMessage{}}
	if err := json.Unmarshal(body, &d.rest); err != nil {
		return nil, fmt.Errorf("reading definitions to keep: %w", err)
	}
	for _, section := range live.Sections {
		var entries []json.RawMessage
		if raw, ok := d.rest[section]; ok {
			if err := json.Unmarshal(raw, &entries); err != nil {
				return nil, fmt.Errorf("reading %s to keep: %w", section, err)
			}
		}
		delete(d.rest, section)
		d.sections[section] = make(map[string]json.RawMessage, len(entries))
		for _, raw := range entries {
			var named struct{ Name string }
			if json.Unmarshal(raw, &named) == nil { // else it is in quarantine, and not worth keeping
				d.sections[section][named.Name] = raw
			}
		}
	}
	return d, nil
}

func (d *document) apply(c live.Change) {
	for _, e := range c.Entries {
		if e.Value == nil {
			delete(d.sections[e.Section], e.Name)
		} else {
			d.sections[e.Section][e.Name] = e.Value
		}
	}
	if c.Layers != nil {
		d.rest["layers"] = c.Layers
	}
	d.at.Seq, d.time = c.Seq, c.Time
}

// frame returns the document as the full frame that an edge would send.
func (d *document) frame() (live.Full, error) {
	body := make(map[string]any, len(d.rest)+len(d.sections))
	for name, raw := range d.rest {
		body[name] = raw
	}
	for section, entries := range d.sections {
		body[section] = sortedValues(entries)
	}
	body["time"] = d.time
	payload, err := json.Marshal(body)
	return live.Full{Position: d.at, Time: d.time, Payload: payload}, err
}
