package eval

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
)

// A spec is a compiled [Spec].
type spec struct {
	ref      Ref
	name     string
	entity   string
	idType   string
	version  int64
	known    bool // false: only referred to, never defined
	hidden   bool // never listed as an exposure: segments
	active   bool // experiments: running
	deferred bool // clients of some protocols keep the default in their code
	explicit []string

	always   *outcome // the answer for everybody, if there is one
	rules    []rule
	fallback *outcome // no rule matched

	refs       []node // what evaluation asks
	lists      []int32
	boundaries []int64 // instants at which a current_time condition changes its answer

	client clientSpec
	shared *Spec // experiments with shared parameters: what to compile again when their layer changes
}

// A node is the place of a spec in its section.
type node struct {
	section Section
	slot    int32
}

// A rule is a compiled [Rule].
//
// Conditions on gates are all asked, in order, since asking is what exposes
// them; all others stop at the first that fails, which nobody can observe.
type rule struct {
	conditions  []conditionRef
	bits        uint64 // of all conditions
	eager       bool   // has gates, or is unsupported: to be asked whatever its conditions say
	unsupported bool
	delegate    int32 // slot of the config that decides instead, -1 if none
	gates       []*condition

	pass      *outcome // what everybody who matches gets, if fail is nil
	fail      *outcome
	threshold float64 // buckets below pass, if fail is not nil
	salt      *salt   // with both salts and both dots; nil without fail
	unit      unit

	id    string       // for traces, as are
	asked []*condition // all conditions in order
}

// A conditionRef is a condition with its number within the spec as a bit, so
// that rules that ask the same share the answer; 0 beyond the 64th.
type conditionRef struct {
	*condition
	bit  uint64
	next int32 // the rule to go on with if it fails: the first that does not ask the same
}

// An outcome is one possible answer of a spec, precomputed.
type outcome struct {
	spec   *spec
	ruleID string
	group  string
	value  json.RawMessage
	reason Reason
	pass   bool
	inside bool // in the experiment

	client clientOutcome
}

// A builder makes the next ruleset from the last one. It copies what it changes
// and shares the rest.
type builder struct {
	*Ruleset
	bulk            bool           // everything is new: sort and index once, at the end
	ownNames        [sections]bool // private copies already
	ownOrder        [sections]bool
	ownListNames    bool
	mentioned       []mention
	staleBoundaries bool

	conditions map[string]*condition // by everything that is asked
	fields     map[fieldName]*field
	values     map[string]json.RawMessage
	places     int // of answers given away so far
	lastBucket *bucket
	key        []byte
}

// A mention is a slot that was made for a name, which may stay undefined.
type mention struct {
	node
	name string
}

// define compiles a spec into its slot. What cannot be compiled is quarantined:
// the spec evaluates as unsupported, and says why.
func (b *builder) define(section Section, src *Spec) {
	s, err := b.compile(section, src)
	delete(b.quarantine, Ref{section, src.Name})
	if err != nil {
		b.quarantine[Ref{section, src.Name}] = err.Error()
		s = b.unusable(section, src.Name)
	}
	b.put(s)
}

func (b *builder) compile(section Section, src *Spec) (s *spec, err error) {
	defer func() {
		if p := recover(); p != nil {
			s, err = nil, fmt.Errorf("compiling: %v", p)
		}
	}()
	s = b.newSpec(section, src.Name)
	s.known = true
	s.entity, s.idType, s.version = src.Entity, src.IDType, src.Version
	s.hidden = section == Gates && strings.HasPrefix(s.name, "segment:")
	s.active = src.IsActive != nil && *src.IsActive
	s.deferred = src.DeferToCode
	s.explicit = src.ExplicitParameters
	if src.HasSharedParams != nil && *src.HasSharedParams && s.isExperiment() {
		s.shared = cloneSpec(src)
	}
	d := draft{builder: b, src: src, spec: s, numbers: map[*condition]uint64{}}
	if err := d.compile(); err != nil {
		return nil, err
	}
	b.clientSpec(s, src)
	return s, nil
}

// unusable returns a spec that answers nobody.
func (b *builder) unusable(section Section, name string) *spec {
	s := b.newSpec(section, name)
	s.known = true
	s.entity = [sections]string{EntityGate, EntityConfig, EntityLayer}[section]
	s.always = unsupportedOutcome(section)
	b.clientSpec(s, &Spec{})
	return s
}

// undefined returns the spec of a name that is referred to and not defined: not
// passing, and listed as an exposure with no rule.
func (b *builder) undefined(section Section, name string) *spec {
	s := b.newSpec(section, name)
	s.hidden = section == Gates && strings.HasPrefix(s.name, "segment:")
	o := outcome{reason: ReasonUnrecognized}
	if section != Gates {
		o.value = emptyObject
	}
	s.always = s.outcome(o)
	return s
}

func (b *builder) newSpec(section Section, name string) *spec {
	s := &spec{name: name}
	s.ref = Ref{section, s.name}
	s.client.heads = heads(s.name)
	return s
}

// outcome makes o one of the spec's answers.
func (s *spec) outcome(o outcome) *outcome {
	o.spec = s
	o.client.value = o.value
	if o.client.text == "" {
		o.client.text = clientText(s.ref.Section, o.ruleID, o.group)
	}
	return &o
}

// unsupportedOutcome returns the answer of every spec that cannot answer.
func unsupportedOutcome(section Section) *outcome { return unsupportedOutcomes[section] }

var unsupportedOutcomes = [sections]*outcome{
	Gates:   newUnsupported(Gates, nil),
	Configs: newUnsupported(Configs, emptyObject),
	Layers:  newUnsupported(Layers, emptyObject),
}

func newUnsupported(section Section, value json.RawMessage) *outcome {
	return &outcome{
		reason: ReasonUnsupported, value: value,
		client: clientOutcome{value: value, text: clientText(section, "", "")},
	}
}

// A draft is a spec on its way to be compiled.
type draft struct {
	*builder
	src     *Spec
	spec    *spec
	off     json.RawMessage       // the default value
	numbers map[*condition]uint64 // bits of the conditions so far
}

func (d *draft) compile() (err error) {
	s := d.spec
	if d.off, err = d.value(d.src.DefaultValue, "defaultValue"); err != nil {
		return err
	}
	if !d.src.Enabled {
		s.always = d.outcome(outcome{ruleID: "disabled", reason: ReasonDisabled, value: d.off})
		s.fallback = s.always
		return nil
	}
	s.fallback = d.outcome(outcome{ruleID: "default", reason: ReasonDefault, value: d.off})
	s.rules = make([]rule, len(d.src.Rules))
	for i := range d.src.Rules {
		if err := d.rule(&s.rules[i], &d.src.Rules[i]); err != nil {
			return fmt.Errorf("rule %q: %w", d.src.Rules[i].ID, err)
		}
	}
	for i := len(s.rules) - 1; i >= 0; i-- {
		for j := range s.rules[i].conditions {
			c := &s.rules[i].conditions[j]
			c.next = s.afterFailed(int32(i+1), c.bit)
		}
	}
	if len(s.rules) == 0 {
		s.always = s.fallback
	} else if r := &s.rules[0]; r.fail == nil && r.delegate < 0 && !r.unsupported && len(r.gates)+len(r.conditions) == 0 {
		s.always = r.pass
	}
	return nil
}

// afterFailed returns the first rule, from the given one on, that may match
// although a condition does not hold, or asks gates. Later rules know already.
func (s *spec) afterFailed(i int32, bit uint64) int32 {
	if int(i) < len(s.rules) && !s.rules[i].eager && s.rules[i].bits&bit != 0 {
		for _, c := range s.rules[i].conditions {
			if c.bit == bit {
				return c.next
			}
		}
	}
	return i
}

// outcome makes an answer of the spec, with the value that clients see.
func (d *draft) outcome(o outcome) *outcome {
	out := d.spec.outcome(o)
	if d.spec.shared != nil {
		out.client.value = overlay(d.layerDefault(d.spec.name), out.value)
	}
	return out
}

func (d *draft) rule(r *rule, src *Rule) error {
	r.id, r.delegate = src.ID, -1
	if src.ConfigDelegate != "" {
		r.delegate = d.slot(Configs, src.ConfigDelegate)
		d.spec.refs = append(d.spec.refs, node{Configs, r.delegate})
	}
	for i := range src.Conditions {
		c, err := d.sharedCondition(&src.Conditions[i])
		if err != nil {
			return err
		}
		d.ask(r, c)
	}
	return d.rollout(r, src)
}

// ask adds a condition to the rule.
func (d *draft) ask(r *rule, c *condition) {
	r.asked = append(r.asked, c)
	switch c.source {
	case fromNothing: // holds for everybody
	case unsupported:
		r.eager, r.unsupported = true, true
	case fromGate:
		r.eager, r.gates = true, append(r.gates, c)
		d.spec.refs = append(d.spec.refs, node{Gates, c.slot})
	default:
		bit, ok := d.numbers[c]
		if !ok {
			bit = 1 << len(d.numbers) // 0 from the 65th on
			d.numbers[c] = bit
			d.spec.boundaries = append(d.spec.boundaries, c.boundaries()...)
			if c.listed {
				d.spec.lists = append(d.spec.lists, c.slot)
			}
		}
		r.bits |= bit
		r.conditions = append(r.conditions, conditionRef{condition: c, bit: bit})
	}
}

// rollout compiles the rule's percentage and what each side of it gets.
func (d *draft) rollout(r *rule, src *Rule) error {
	on, err := d.value(src.ReturnValue, "returnValue")
	if err != nil {
		return err
	}
	o := outcome{
		ruleID: src.ID, group: src.GroupName, reason: ReasonRule, value: d.off,
		inside: src.IsExperimentGroup != nil && *src.IsExperimentGroup,
	}
	o.client.text = clientText(d.spec.ref.Section, o.ruleID, o.group)
	if !(src.PassPercentage > 0) { // nobody passes
		r.pass = d.outcome(o)
		return nil
	}
	if src.PassPercentage < 100 {
		r.fail = d.outcome(o)
		r.threshold = src.PassPercentage * (rolloutBuckets / 100)
		r.unit = newUnit(src.IDType)
		own := src.ID
		if src.Salt != nil {
			own = *src.Salt
		}
		r.salt = new(newSalt(d.src.Salt + "." + own + "."))
	}
	o.value, o.pass = on, true
	r.pass = d.outcome(o)
	return nil
}

// sharedCondition compiles a condition, or returns the one that asks exactly the same.
func (b *builder) sharedCondition(src *Condition) (*condition, error) {
	salt, _ := src.AdditionalValues["salt"].(string)
	b.key = b.key[:0]
	for _, part := range [...]string{src.Type, src.Operator, src.Field, src.IDType, salt} {
		b.key = append(append(b.key, part...), 0)
	}
	b.key = append(b.key, src.TargetValue...)
	if c, ok := b.conditions[string(b.key)]; ok {
		if !c.shared {
			c.shared, c.place = true, b.places
			b.places++
		}
		return c, nil
	}
	key := string(b.key)
	c, err := b.condition(src)
	if err != nil {
		return nil, err
	}
	b.conditions[key] = c
	return c, nil
}

// cloneSpec returns a deep copy that shares no bytes with a download's body.
func cloneSpec(src *Spec) *Spec {
	s := *src
	s.DefaultValue = slices.Clone(s.DefaultValue)
	s.Rules = slices.Clone(s.Rules)
	for i := range s.Rules {
		r := &s.Rules[i]
		r.ReturnValue = slices.Clone(r.ReturnValue)
		r.Conditions = slices.Clone(r.Conditions)
		for j := range r.Conditions {
			r.Conditions[j].TargetValue = slices.Clone(r.Conditions[j].TargetValue)
		}
	}
	return &s
}
