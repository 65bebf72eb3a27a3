package eval

import "encoding/json"

// A Trace explains a decision: every rule that was asked, every condition of it
// with what it saw, and the bucket against the percentage. Values of private
// attributes are not shown.
type Trace struct {
	Section  string      `json:"section"`
	Name     string      `json:"name"`
	Found    bool        `json:"found"`
	Reason   string      `json:"reason"`
	RuleID   string      `json:"ruleID"`
	Pass     bool        `json:"pass"`
	Value    any         `json:"value,omitempty"` // json.RawMessage of configs and layers
	Rules    []RuleTrace `json:"rules,omitempty"` // up to the one that decided
	Delegate *Trace      `json:"delegate,omitempty"`
}

// A RuleTrace explains one rule.
type RuleTrace struct {
	ID         string           `json:"id"`
	GroupName  string           `json:"groupName,omitempty"`
	Percentage float64          `json:"percentage"` // of those who match, from 0 to 100
	Matched    bool             `json:"matched"`
	Conditions []ConditionTrace `json:"conditions,omitempty"`
	Rollout    *RolloutTrace    `json:"rollout,omitempty"` // of a rule that matched, unless nobody or everybody passes
}

// A ConditionTrace explains one condition.
type ConditionTrace struct {
	Type        string          `json:"type"`
	Operator    string          `json:"operator,omitempty"`
	Field       string          `json:"field,omitempty"`
	IDType      string          `json:"idType,omitempty"`
	Input       any             `json:"input"` // nil when absent
	Expected    json.RawMessage `json:"expected,omitempty"`
	Holds       bool            `json:"holds"`
	Unsupported bool            `json:"unsupported,omitempty"`
	Gate        *Trace          `json:"gate,omitempty"` // the gate that was asked
}

// A RolloutTrace explains a percentage: the unit passes if its bucket is below
// the threshold.
type RolloutTrace struct {
	IDType    string  `json:"idType"`
	UnitID    string  `json:"unitID"`
	Bucket    int     `json:"bucket"` // of 10,000
	Threshold float64 `json:"threshold"`
}

// Trace decides as [Ruleset.Gate], [Ruleset.Config] and [Ruleset.Layer] do, and
// explains the decision. It is for people; it takes its time and memory.
func (r *Ruleset) Trace(u *User, ref Ref) (Result, *Trace) {
	var res Result
	if ref.Section >= sections {
		return res, &Trace{Section: ref.Section.String(), Name: ref.Name, Reason: res.Reason.String()}
	}
	r.decide(&res, ref.Section, u, ref.Name)
	s := r.find(ref.Section, ref.Name)
	if s == nil {
		return res, &Trace{Section: ref.Section.String(), Name: ref.Name, Reason: res.Reason.String()}
	}
	t := tracer{}
	var e evaluation
	e.begin(r, u)
	e.trace = &t
	e.depth, e.visits = 0, 0 // the tracer counts the first spec too
	t.run(&e, s)
	return res, t.last
}

// maxTraced is how many specs a trace tells of. Nobody reads the rest.
const maxTraced = 1000

// A tracer writes down what an evaluation does.
type tracer struct{ last *Trace }

// run does what [evaluation.run] does, rule by rule and without its short cuts.
func (t *tracer) run(e *evaluation, s *spec) *outcome {
	out := &Trace{Section: s.ref.Section.String(), Name: s.name, Found: s.known}
	o := t.walk(e, s, out)
	out.Reason, out.RuleID, out.Pass = o.reason.String(), o.ruleID, o.pass
	if o.value != nil {
		out.Value = o.value
	}
	t.last = out
	return o
}

func (t *tracer) walk(e *evaluation, s *spec, out *Trace) *outcome {
	if len(s.rules) == 0 {
		return s.always
	}
	ok := e.enter()
	defer func() { e.depth-- }()
	if !ok || e.visits > maxTraced {
		return unsupportedOutcome(s.ref.Section)
	}
	for i := range s.rules {
		r := &s.rules[i]
		rt := RuleTrace{ID: r.id, GroupName: r.pass.group, Percentage: r.percentage(), Matched: true}
		supported := true
		for _, c := range r.asked {
			ct := t.condition(e, c)
			rt.Conditions = append(rt.Conditions, ct)
			rt.Matched = rt.Matched && ct.Holds
			supported = supported && !ct.Unsupported
		}
		rt.Matched = rt.Matched && supported
		if rt.Matched && r.fail != nil {
			id := r.unit.id(e.user)
			rt.Rollout = &RolloutTrace{
				IDType: r.unit.exact, UnitID: id, Threshold: r.threshold,
				Bucket: int(r.salt.hash(id) % rolloutBuckets),
			}
		}
		out.Rules = append(out.Rules, rt)
		switch {
		case !supported:
			return unsupportedOutcome(s.ref.Section)
		case rt.Matched:
			before := t.last
			t.last = nil
			o := e.matched(s, r)
			out.Delegate, t.last = t.last, before
			return o
		}
	}
	return s.fallback
}

// percentage is the share of the rule's users who pass.
func (r *rule) percentage() float64 {
	switch {
	case r.fail != nil:
		return r.threshold / (rolloutBuckets / 100)
	case r.pass.pass:
		return 100
	}
	return 0
}

func (t *tracer) condition(e *evaluation, c *condition) ConditionTrace {
	ct := ConditionTrace{
		Type: c.asked.Type, Operator: c.asked.Operator, Field: c.asked.Field,
		IDType: c.asked.IDType, Expected: c.asked.TargetValue,
	}
	switch c.source {
	case unsupported:
		ct.Unsupported = true
	case fromNothing:
		ct.Holds = true
	case fromGate:
		holds, ok := e.asks(c)
		ct.Holds, ct.Unsupported, ct.Gate = holds, !ok, t.last
		ct.Input = ct.Gate.Pass
	default:
		ct.Holds = e.holds(c)
		v, list := e.value(c)
		ct.Input = v.shown(list)
		if c.private(e.user) {
			ct.Input = "[private]"
		}
	}
	return ct
}

// private reports whether the condition's value came from a private attribute.
func (c *condition) private(u *User) bool {
	switch c.source {
	case fromUser, fromIP, fromAgent:
		if c.field.property != noProperty && c.field.property.of(u) != "" {
			return false
		}
		if _, ok := c.field.in(u.Custom); ok {
			return false
		}
		_, ok := c.field.in(u.PrivateAttributes)
		return ok
	}
	return false
}

// shown returns the value as JSON would have it.
func (v value) shown(list items) any {
	switch v.kind {
	case text:
		return v.text
	case number:
		return v.num
	case boolean:
		return v.num != 0
	case listKind:
		return list
	case objectKind:
		return json.RawMessage(v.text)
	}
	return nil
}
