package sluice

import (
	"encoding/json"

	"github.com/sluice-flags/sluice/pkg/eval"
)

// A User is whom a decision is for. PrivateAttributes take part in decisions and
// are never sent anywhere.
type User = eval.User

// The reasons of a decision.
const (
	ReasonNoDefinitions = "NoDefinitions" // the client holds nothing yet
	ReasonUnrecognized  = "Unrecognized"  // no such name
	ReasonUnsupported   = "Unsupported"   // a rule asks what this version cannot answer
	ReasonDisabled      = "Disabled"      // switched off
	ReasonDefault       = "Default"       // no rule matched
	ReasonRule          = "Rule"          // a rule matched; its percentage decided
	ReasonOverride      = "Override"      // this client was told what to answer
)

// The sources of the definitions that a decision was made by.
const (
	SourceNetwork   = "Network"   // an edge, since the client was made
	SourceStore     = "Store"     // what an earlier run had kept
	SourceBootstrap = "Bootstrap" // what [WithBootstrap] was given
)

// A Decision is what gates, configs, experiments and layers have in common.
type Decision struct {
	Name     string
	RuleID   string // the rule that decided; "" when none could
	Group    string // the group of an experiment, the label of a rule
	IDType   string // of the unit that was decided for; "" when none was
	Reason   string // one of the Reason constants
	Source   string // one of the Source constants; "" if no definitions were asked
	Sequence uint64 // of the change that made the definitions; see [Status]
	Found    bool   // the name is defined, or overridden
}

// A Gate is the decision of a feature gate: false unless a rule says otherwise.
type Gate struct {
	Decision
	Value bool
}

// A Config is the decision of a dynamic config or of an experiment.
type Config struct {
	Decision
	Object
}

// A Layer is the decision of a layer. Reading a parameter is what exposes the
// user to the experiment behind it, so each getter logs; [Layer.Value] does not.
type Layer struct {
	Decision
	object Object

	user   *User
	client *Client // nil when reads are not logged
	result eval.Result
}

// An Evaluator decides for users. [Client.Silent] returns one that logs nothing.
type Evaluator struct {
	client *Client
	silent bool
}

// Silent returns an evaluator whose decisions are not logged as exposures.
func (c *Client) Silent() Evaluator { return Evaluator{client: c, silent: true} }

// Gate decides a feature gate for a user, and logs the exposure.
func (c *Client) Gate(u *User, name string) Gate { return Evaluator{client: c}.Gate(u, name) }

// Config decides a dynamic config for a user, and logs the exposure.
func (c *Client) Config(u *User, name string) Config { return Evaluator{client: c}.Config(u, name) }

// Experiment decides an experiment for a user, and logs the exposure. The group
// is in Decision.Group, the group's parameters are the object's.
func (c *Client) Experiment(u *User, name string) Config { return Evaluator{client: c}.Config(u, name) }

// Layer decides a layer for a user. Exposures are logged as parameters are read,
// so the user must stay as it is until then.
func (c *Client) Layer(u *User, name string) Layer { return Evaluator{client: c}.Layer(u, name) }

// Gate decides a feature gate for a user.
func (e Evaluator) Gate(u *User, name string) Gate {
	if o := e.client.override.current.Load(); o != nil {
		if value, ok := o.gates[name]; ok {
			return Gate{e.overridden(name), value}
		}
	}
	rules := e.client.rules.Load()
	if rules == nil {
		return Gate{Decision: Decision{Name: name, Reason: ReasonNoDefinitions}}
	}
	res := rules.Gate(u, name)
	if r := e.client.recorder; r != nil && !e.silent && res.Found {
		r.gate(u, &res)
	}
	return Gate{decision(&res), res.Pass}
}

// Config decides a dynamic config or an experiment for a user.
func (e Evaluator) Config(u *User, name string) Config {
	if o := e.client.override.current.Load(); o != nil {
		if value, ok := o.configs[name]; ok {
			return Config{e.overridden(name), value}
		}
	}
	rules := e.client.rules.Load()
	if rules == nil {
		return Config{Decision: Decision{Name: name, Reason: ReasonNoDefinitions}}
	}
	res := rules.Config(u, name)
	if r := e.client.recorder; r != nil && !e.silent && res.Found {
		r.config(u, &res)
	}
	return Config{decision(&res), Object(res.Value)}
}

// Experiment decides an experiment for a user.
func (e Evaluator) Experiment(u *User, name string) Config { return e.Config(u, name) }

// Layer decides a layer for a user.
func (e Evaluator) Layer(u *User, name string) Layer {
	if o := e.client.override.current.Load(); o != nil {
		if value, ok := o.layers[name]; ok {
			return Layer{Decision: e.overridden(name), object: value}
		}
	}
	rules := e.client.rules.Load()
	if rules == nil {
		return Layer{Decision: Decision{Name: name, Reason: ReasonNoDefinitions}}
	}
	l := Layer{user: u, result: rules.Layer(u, name)}
	l.Decision, l.object = decision(&l.result), Object(l.result.Value)
	if e.client.recorder != nil && !e.silent && l.result.Found {
		l.client = e.client
	}
	return l
}

func (e Evaluator) overridden(name string) Decision {
	d := Decision{Name: name, Reason: ReasonOverride, Found: true}
	if rules := e.client.rules.Load(); rules != nil {
		d.Sequence = rules.Sequence()
	}
	return d
}

func decision(r *eval.Result) Decision {
	return Decision{
		Name: r.Name, RuleID: r.RuleID, Group: r.GroupName, IDType: r.IDType, Reason: r.Reason.String(),
		Source: r.Source.String(), Sequence: r.Sequence, Found: r.Found,
	}
}

// Value returns all parameters. It logs nothing.
func (l *Layer) Value() Object { return l.object }

// Bool returns a parameter, or other if there is no such boolean.
func (l *Layer) Bool(name string, other bool) bool { return l.read(name).Bool(name, other) }

// Int returns a parameter, or other if there is no such whole number.
func (l *Layer) Int(name string, other int64) int64 { return l.read(name).Int(name, other) }

// Float returns a parameter, or other if there is no such number.
func (l *Layer) Float(name string, other float64) float64 { return l.read(name).Float(name, other) }

// Text returns a parameter, or other if there is no such string.
func (l *Layer) Text(name, other string) string { return l.read(name).Text(name, other) }

// Get reads a parameter into v, and reports whether there is one and fits.
func (l *Layer) Get(name string, v any) bool { return l.read(name).Get(name, v) }

// read logs the exposure to a parameter, if the layer has it.
func (l *Layer) read(parameter string) Object {
	if l.client != nil {
		if _, ok := l.object.member(parameter); ok {
			l.client.recorder.layer(l.user, &l.result, parameter)
		}
	}
	return l.object
}

// An Object is the JSON object that a config or a layer answers with. The zero
// Object has no members.
type Object json.RawMessage

// Bool returns a member, or other if there is no such boolean.
func (o Object) Bool(name string, other bool) bool { return get(o, name, other) }

// Int returns a member, or other if there is no such whole number.
func (o Object) Int(name string, other int64) int64 { return get(o, name, other) }

// Float returns a member, or other if there is no such number.
func (o Object) Float(name string, other float64) float64 { return get(o, name, other) }

// Text returns a member, or other if there is no such string.
func (o Object) Text(name, other string) string { return get(o, name, other) }

// Get reads a member into v, and reports whether there is one and fits. A v that
// it reports false for may be half written.
func (o Object) Get(name string, v any) bool {
	raw, ok := o.member(name)
	return ok && json.Unmarshal(raw, v) == nil
}

// Decode reads the whole object into v. Members that it lacks leave v as it is.
func (o Object) Decode(v any) error {
	if len(o) == 0 {
		return nil
	}
	return json.Unmarshal(o, v)
}

func get[T any](o Object, name string, other T) T {
	var v *T // a null is no value
	if o.Get(name, &v) && v != nil {
		return *v
	}
	return other
}

// member finds a member without decoding its neighbours. The text is valid JSON:
// whoever made the object has checked it.
func (o Object) member(name string) (json.RawMessage, bool) {
	s := scanner{text: o}
	if s.next() != '{' {
		return nil, false
	}
	s.at++
	for s.next() == '"' {
		key := s.value()
		s.next() // the colon
		s.at++
		value := s.value()
		if keyIs(key, name) {
			return json.RawMessage(value), true
		}
		if s.next() != ',' {
			return nil, false
		}
		s.at++
	}
	return nil, false
}

func keyIs(quoted []byte, name string) bool {
	if string(quoted[1:len(quoted)-1]) == name {
		return true
	}
	for _, c := range quoted {
		if c == '\\' {
			var key string
			return json.Unmarshal(quoted, &key) == nil && key == name
		}
	}
	return false
}

// A scanner walks valid JSON text.
type scanner struct {
	text []byte
	at   int
}

// next passes white space and returns what comes after it, 0 at the end.
func (s *scanner) next() byte {
	for ; s.at < len(s.text); s.at++ {
		switch c := s.text[s.at]; c {
		case ' ', '\t', '\r', '\n':
		default:
			return c
		}
	}
	return 0
}

// value passes one value and returns its text.
func (s *scanner) value() []byte {
	s.next()
	start, depth := s.at, 0
	for ; s.at < len(s.text); s.at++ {
		switch s.text[s.at] {
		case '"':
			for s.at++; s.at < len(s.text) && s.text[s.at] != '"'; s.at++ {
				if s.text[s.at] == '\\' {
					s.at++
				}
			}
			if depth == 0 {
				s.at++
				return s.text[start:min(s.at, len(s.text))]
			}
		case '{', '[':
			depth++
		case '}', ']':
			if depth == 0 { // the end of what a number or a word stands in
				return s.text[start:s.at]
			}
			if depth--; depth == 0 {
				s.at++
				return s.text[start:s.at]
			}
		case ',', ' ', '\t', '\r', '\n':
			if depth == 0 {
				return s.text[start:s.at]
			}
		}
	}
	return s.text[start:]
}
