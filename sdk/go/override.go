package sluice

import (
	"encoding/json"
	"fmt"
	"maps"
	"sync"
	"sync/atomic"
)

// overrides are answers that the caller has fixed, for every user. They live
// behind a pointer like the rules, and cost one load when there are none. What
// an override decided is not logged: it says nothing about anybody's rules.
type overrides struct {
	writing sync.Mutex
	current atomic.Pointer[answers]
}

type answers struct {
	gates           map[string]bool
	configs, layers map[string]Object
}

func (o *overrides) edit(change func(*answers)) {
	o.writing.Lock()
	defer o.writing.Unlock()
	next := answers{gates: map[string]bool{}, configs: map[string]Object{}, layers: map[string]Object{}}
	if now := o.current.Load(); now != nil {
		maps.Copy(next.gates, now.gates)
		maps.Copy(next.configs, now.configs)
		maps.Copy(next.layers, now.layers)
	}
	change(&next)
	o.current.Store(&next)
}

// OverrideGate makes a gate answer value for everyone asked in this process.
func (c *Client) OverrideGate(name string, value bool) {
	c.override.edit(func(a *answers) { a.gates[name] = value })
}

// OverrideConfig makes a dynamic config or an experiment answer value, which
// must encode to a JSON object.
func (c *Client) OverrideConfig(name string, value any) error {
	object, err := encodeObject(value)
	if err != nil {
		return fmt.Errorf("overriding config %q: %w", name, err)
	}
	c.override.edit(func(a *answers) { a.configs[name] = object })
	return nil
}

// OverrideLayer makes a layer answer value, which must encode to a JSON object.
func (c *Client) OverrideLayer(name string, value any) error {
	object, err := encodeObject(value)
	if err != nil {
		return fmt.Errorf("overriding layer %q: %w", name, err)
	}
	c.override.edit(func(a *answers) { a.layers[name] = object })
	return nil
}

// ClearOverrides takes all overrides back.
func (c *Client) ClearOverrides() { c.override.current.Store(nil) }

func encodeObject(value any) (Object, error) {
	text, err := json.Marshal(value)
	if err != nil {
		return nil, err
	}
	if text[0] != '{' {
		return nil, fmt.Errorf("want a JSON object, got %.40s", text)
	}
	return Object(text), nil
}
