package eval

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
)

var emptyObject = json.RawMessage("{}")

// value checks and copies a value; gates have none worth keeping. To SDKs, what is
// no object is an empty one, and so here.
func (d *draft) value(raw json.RawMessage, what string) (json.RawMessage, error) {
	if d.spec.ref.Section == Gates {
		return nil, nil
	}
	b := d.builder
	if v, ok := b.values[string(raw)]; ok {
		return v, nil
	}
	r := reader{data: raw}
	if len(raw) == 0 {
		return emptyObject, nil
	}
	object := r.peek() == '{'
	v := compacted(r.raw())
	if r.end(); r.err != nil {
		return nil, fmt.Errorf("%s: %w", what, r.err)
	}
	if !object {
		v = emptyObject
	}
	b.values[string(raw)] = v
	return v, nil
}

// compacted returns a copy of JSON text without white space between its tokens.
func compacted(raw json.RawMessage) json.RawMessage {
	var out bytes.Buffer
	if bytes.ContainsAny(raw, " \t\r\n") && json.Compact(&out, raw) == nil {
		return slices.Clip(out.Bytes())
	}
	return slices.Clone(raw)
}

// layerDefault returns the default value of the layer that an experiment is in.
func (b *builder) layerDefault(experiment string) json.RawMessage {
	if layer, ok := b.layerOf[experiment]; ok {
		if s := b.find(Layers, layer); s != nil && s.fallback != nil {
			return s.fallback.value
		}
	}
	return emptyObject
}

// overlay returns the object base with the members of over in their place.
func overlay(base, over json.RawMessage) json.RawMessage {
	var names []string
	members := map[string]json.RawMessage{}
	for _, object := range []json.RawMessage{base, over} {
		r := reader{data: object}
		for ok := r.open('{'); ok; ok = r.more('}') {
			name := string(r.key())
			if _, seen := members[name]; !seen {
				names = append(names, name)
			}
			members[name] = r.raw()
		}
	}
	out := json.RawMessage{'{'}
	for i, name := range names {
		if i > 0 {
			out = append(out, ',')
		}
		out = append(append(appendQuoted(out, name), ':'), members[name]...)
	}
	return append(out, '}')
}
