package eval

import (
	"fmt"
)

// ParseSpecs reads the body of a spec download, in the v1 shape (arrays, with
// conditions in their rules) or the v2 shape (maps by name, conditions shared).
//
// Only text that is not JSON, or whose outline is wrong, is an error. An entity
// with a member of the wrong type is listed in Specs.Unreadable instead, and the
// others are read. Values of the result alias body.
func ParseSpecs(body []byte) (Specs, error) {
	p := parser{reader: reader{data: body, intern: make(map[string]string, 256)}}
	s := p.specs()
	p.end()
	if p.problem != "" {
		p.fail("%s", p.problem)
	}
	if p.err != nil {
		return Specs{}, fmt.Errorf("reading specs: %w", p.err)
	}
	return s, nil
}

// sharedCondition is the type that marks a condition standing for an entry of
// the condition map until the whole body has been read.
const sharedCondition = "shared"

type parser struct {
	reader
	problem string // first wrong type in the current entity

	rules      []Rule // of arrays not yet complete, so that each is made in its size
	conditions []Condition
}

func (p *parser) specs() (s Specs) {
	var shared map[string]Condition
	var layerOf map[string]string
	lists := [sections]*[]Spec{&s.FeatureGates, &s.DynamicConfigs, &s.LayerConfigs}
	for ok := p.open('{'); ok; ok = p.more('}') {
		switch key := p.key(); string(key) {
		case "has_updates":
			s.HasUpdates = p.flag(key)
		case "time":
			s.Time = p.integer(key)
		case "feature_gates":
			*lists[Gates] = p.section(&s, Gates)
		case "dynamic_configs":
			*lists[Configs] = p.section(&s, Configs)
		case "layer_configs":
			*lists[Layers] = p.section(&s, Layers)
		case "layers":
			s.Layers = object(p, key, func() []string { return p.texts(key) })
		case "experiment_to_layer":
			layerOf = object(p, key, func() string { return p.string(key) })
		case "condition_map":
			shared = object(p, key, p.condition)
		case "id_lists":
			s.IDLists = object(p, key, func() bool { return p.flag(key) })
		case "app_id":
			s.AppID = p.string(key)
		case "sdk_keys_to_app_ids":
			s.SDKKeysToAppIDs = object(p, key, func() string { return p.string(key) })
		case "hashed_sdk_keys_to_app_ids":
			s.HashedSDKKeysToAppIDs = object(p, key, func() string { return p.string(key) })
		case "hashed_sdk_keys_to_entities":
			s.HashedSDKKeysToEntities = object(p, key, p.keyEntities)
		case "default_environment":
			s.DefaultEnvironment = p.string(key)
		default:
			p.skip()
		}
	}
	if shared != nil {
		for _, list := range lists {
			resolveShared(*list, shared)
		}
	}
	if s.Layers == nil && layerOf != nil {
		s.Layers = map[string][]string{}
		for experiment, layer := range layerOf {
			s.Layers[layer] = append(s.Layers[layer], experiment)
		}
	}
	return s
}

// resolveShared puts the shared conditions into the rules that name them. An
// unknown name stays a condition of a type that nobody supports.
func resolveShared(specs []Spec, shared map[string]Condition) {
	for i := range specs {
		for j := range specs[i].Rules {
			for k, c := range specs[i].Rules[j].Conditions {
				if c.Type != sharedCondition {
					continue
				}
				if found, ok := shared[c.Field]; ok {
					specs[i].Rules[j].Conditions[k] = found
				}
			}
		}
	}
}

// section reads an array of specs, or a map of them by name.
func (p *parser) section(s *Specs, section Section) []Spec {
	var out []Spec
	if section != Layers {
		out = make([]Spec, 0, len(p.data)/2048) // a guess that is seldom too big
	}
	add := func(name string) {
		p.problem = ""
		spec := p.spec(name)
		if p.problem == "" && spec.Name == "" {
			p.problem = "no name"
		}
		if p.problem != "" {
			s.Unreadable = append(s.Unreadable, Quarantine{Ref{section, spec.Name}, p.problem})
			return
		}
		out = append(out, spec)
	}
	switch p.peek() {
	case '[':
		for ok := p.open('['); ok; ok = p.more(']') {
			add("")
		}
	case '{':
		for ok := p.open('{'); ok; ok = p.more('}') {
			add(string(p.key()))
		}
	default:
		if !p.literal("null") {
			p.fail("want a list of %s", section)
		}
	}
	p.problem = "" // noted with its entity
	return out
}

func (p *parser) spec(name string) (s Spec) {
	s.Name = name
	if p.peek() != '{' {
		p.mismatch([]byte("spec"), "an object")
		return s
	}
	for ok := p.open('{'); ok; ok = p.more('}') {
		switch key := p.key(); string(key) {
		case "name":
			s.Name = p.string(key)
		case "type":
			s.Type = p.string(key)
		case "salt":
			s.Salt = p.string(key)
		case "enabled":
			s.Enabled = p.flag(key)
		case "defaultValue":
			s.DefaultValue = p.raw()
		case "rules":
			s.Rules = array(p, key, &p.rules, p.rule)
		case "idType":
			s.IDType = p.string(key)
		case "entity":
			s.Entity = p.string(key)
		case "version":
			s.Version = p.count()
		case "isActive":
			s.IsActive = p.optionalFlag(key)
		case "hasSharedParams":
			s.HasSharedParams = p.optionalFlag(key)
		case "explicitParameters":
			s.ExplicitParameters = p.texts(key)
		case "targetAppIDs":
			s.TargetAppIDs = p.texts(key)
		case "forwardAllExposures":
			s.ForwardAllExposures = p.flag(key)
		case "deferToCode":
			s.DeferToCode = p.flag(key)
		default:
			p.skip()
		}
	}
	return s
}

func (p *parser) rule() (r Rule) {
	if p.peek() != '{' {
		p.mismatch([]byte("rule"), "an object")
		return r
	}
	for ok := p.open('{'); ok; ok = p.more('}') {
		switch key := p.key(); string(key) {
		case "name":
			r.Name = p.string(key)
		case "id":
			r.ID = p.string(key)
		case "groupName":
			r.GroupName = p.string(key)
		case "passPercentage":
			r.PassPercentage = p.number64(key)
		case "salt":
			if !p.literal("null") {
				r.Salt = new(p.string(key))
			}
		case "conditions":
			r.Conditions = array(p, key, &p.conditions, p.condition)
		case "returnValue":
			r.ReturnValue = p.raw()
		case "idType":
			r.IDType = p.string(key)
		case "configDelegate":
			r.ConfigDelegate = p.string(key)
		case "isExperimentGroup":
			r.IsExperimentGroup = p.optionalFlag(key)
		case "samplingRate":
			r.SamplingRate = p.count()
		default:
			p.skip()
		}
	}
	return r
}

func (p *parser) condition() (c Condition) {
	switch p.peek() {
	case '"':
		return Condition{Type: sharedCondition, Field: p.text()}
	case '{':
	default:
		p.mismatch([]byte("condition"), "an object")
		return c
	}
	for ok := p.open('{'); ok; ok = p.more('}') {
		switch key := p.key(); string(key) {
		case "type":
			c.Type = p.string(key)
		case "operator":
			c.Operator = p.string(key)
		case "field":
			c.Field = p.string(key)
		case "targetValue":
			c.TargetValue = p.raw()
		case "additionalValues":
			c.AdditionalValues = object(p, key, p.any)
		case "idType":
			c.IDType = p.string(key)
		default:
			p.skip()
		}
	}
	return c
}

func (p *parser) keyEntities() (e KeyEntities) {
	if p.peek() != '{' {
		p.skip()
		return e
	}
	for ok := p.open('{'); ok; ok = p.more('}') {
		switch key := p.key(); string(key) {
		case "gates":
			e.Gates = p.texts(key)
		case "configs":
			e.Configs = p.texts(key)
		default:
			p.skip()
		}
	}
	return e
}

// mismatch notes that a member has the wrong type, and passes it.
func (p *parser) mismatch(key []byte, want string) {
	if p.problem == "" {
		p.problem = fmt.Sprintf("%s: want %s", key, want)
	}
	p.skip()
}

func (p *parser) string(key []byte) string {
	if p.peek() == '"' {
		return p.text()
	}
	if !p.literal("null") {
		p.mismatch(key, "text")
	}
	return ""
}

func (p *parser) number64(key []byte) float64 {
	switch c := p.peek(); {
	case c == '-' || '0' <= c && c <= '9':
		return p.float()
	case !p.literal("null"):
		p.mismatch(key, "a number")
	}
	return 0
}

func (p *parser) integer(key []byte) int64 { return int64(p.number64(key)) }

// count reads a number that no decision needs: whatever else stands there is 0,
// and costs nobody the entity.
func (p *parser) count() int64 {
	if c := p.peek(); c == '-' || '0' <= c && c <= '9' {
		return int64(p.float())
	}
	p.skip()
	return 0
}

func (p *parser) flag(key []byte) bool {
	switch {
	case p.literal("true"):
		return true
	case !p.literal("false") && !p.literal("null"):
		p.mismatch(key, "true or false")
	}
	return false
}

func (p *parser) optionalFlag(key []byte) *bool {
	if p.literal("null") {
		return nil
	}
	return new(p.flag(key))
}

func (p *parser) texts(key []byte) []string {
	var scratch []string
	return array(p, key, &scratch, func() string { return p.string(key) })
}

// array reads an array; a missing one is nil. Elements are gathered in scratch.
func array[T any](p *parser, key []byte, scratch *[]T, element func() T) []T {
	if p.peek() != '[' {
		if !p.literal("null") {
			p.mismatch(key, "an array")
		}
		return nil
	}
	from := len(*scratch)
	for ok := p.open('['); ok; ok = p.more(']') {
		v := element() // may use scratch itself
		*scratch = append(*scratch, v)
	}
	out := append(make([]T, 0, len(*scratch)-from), (*scratch)[from:]...)
	*scratch = (*scratch)[:from]
	return out
}

// object reads a map; an empty or missing one is nil.
func object[T any](p *parser, key []byte, value func() T) (out map[string]T) {
	if p.peek() != '{' {
		if !p.literal("null") {
			p.mismatch(key, "an object")
		}
		return nil
	}
	for ok := p.open('{'); ok; ok = p.more('}') {
		if out == nil {
			out = map[string]T{}
		}
		name := string(p.key())
		out[name] = value()
	}
	return out
}
