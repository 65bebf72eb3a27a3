package eval

import (
	"time"
)

// Guards against definitions that would run away. Control refuses cycles; an
// evaluator meets whatever it is given.
const (
	maxDepth   = 300 // gates within gates
	manyVisits = 100 // specs asked within one evaluation, beyond which none is asked twice
)

// Gate decides a gate, segment or holdout.
func (r *Ruleset) Gate(u *User, name string) (res Result) {
	r.decide(&res, Gates, u, name)
	return res
}

// Config decides a dynamic config or an experiment.
func (r *Ruleset) Config(u *User, name string) (res Result) {
	r.decide(&res, Configs, u, name)
	return res
}

// Layer decides a layer's parameters.
func (r *Ruleset) Layer(u *User, name string) (res Result) {
	r.decide(&res, Layers, u, name)
	return res
}

func (r *Ruleset) decide(res *Result, section Section, u *User, name string) {
	s := r.find(section, name)
	if s == nil {
		res.Name, res.Time, res.Sequence, res.Source = name, r.time, r.sequence, r.options.Source
		if section != Gates {
			res.Value = emptyObject
		}
		return
	}
	if s.always != nil {
		r.fill(res, s, s.always)
		return
	}
	var e evaluation
	e.begin(r, u)
	o := e.walk(s)
	if e.exposures.n > 0 {
		e.settle(o)
		res.exposures = e.exposures
	}
	r.fill(res, s, o)
	if d := e.delegate; d != nil {
		if o.spec != nil {
			res.Version = o.spec.version
		}
		res.ExperimentActive = d.active
		res.AllocatedExperiment, res.ExplicitParameters = d.name, d.explicit
	}
}

// fill writes what an outcome means for the spec that was asked.
func (r *Ruleset) fill(res *Result, s *spec, o *outcome) {
	res.Name, res.IDType = s.name, s.idType
	res.RuleID, res.GroupName, res.Value = o.ruleID, o.group, o.value
	res.Reason, res.Source, res.Found = o.reason, r.options.Source, s.known
	res.Pass, res.InExperiment, res.ExperimentActive = o.pass, o.inside, s.active
	res.Version, res.Time, res.Sequence = s.version, r.time, r.sequence
}

// An evaluation is the state of one decision, or of one payload. It lives on the
// stack of the call.
type evaluation struct {
	rules *Ruleset
	user  *User
	app   string
	trace *tracer // nil unless asked for

	delegate *spec // that the spec which was asked names, if another decided

	depth, visits int32              // the spec that was asked counts
	known         map[*spec]*outcome // from manyVisits on
	exposures     exposures
	before        int32 // exposures when a delegate was asked last

	attribute struct { // the last one that was read
		of    *field
		value value
		list  items
	}
	version struct { // the last one that was parsed
		of     property
		packed uint64
	}
	answers *answers // of payloads: what shared conditions answered
	now     int64    // milliseconds, read once
	bucket  struct {
		of *bucket
		n  int32
	}
}

// nobody is whom a nil user stands for.
var nobody User

// begin prepares a zero evaluation.
func (e *evaluation) begin(r *Ruleset, u *User) {
	if u == nil {
		u = &nobody
	}
	e.rules, e.user, e.app = r, u, r.apps.AppID
	e.depth, e.visits = 1, 1
}

// decide decides a spec from the start.
func (e *evaluation) decide(s *spec) *outcome {
	o := s.always
	if o == nil {
		o = e.walk(s)
	}
	e.settle(o)
	return o
}

// settle completes the exposures of a decision. What is unsupported exposes
// nothing, but those do that delegated to it.
func (e *evaluation) settle(o *outcome) {
	switch {
	case e.delegate == nil && o.reason == ReasonUnsupported:
		e.exposures = exposures{}
	case e.delegate == nil:
		e.exposures.undelegated = e.exposures.n
	case o.reason == ReasonUnsupported:
		e.exposures.n = e.before
	}
}

// run returns the outcome of a spec that another one asks or delegates to.
func (e *evaluation) run(s *spec) *outcome {
	switch {
	case e.trace != nil:
		return e.trace.run(e, s)
	case s.always != nil:
		return s.always
	}
	o, known := e.known[s]
	if known { // and what it consulted is among the exposures
		return o
	}
	o = unsupportedOutcome(s.ref.Section)
	if e.enter() {
		o = e.walk(s)
	}
	e.depth--
	if e.visits > manyVisits {
		e.remember(s, o)
	}
	return o
}

// remember keeps what a spec answered for the rest of the evaluation. Gates that
// ask several others, which ask several in turn, would be asked without end.
func (e *evaluation) remember(s *spec, o *outcome) {
	if e.known == nil {
		e.known = map[*spec]*outcome{}
	}
	e.known[s] = o
}

// walk asks the rules of a spec in order; the first that matches decides.
func (e *evaluation) walk(s *spec) *outcome {
	var held, failed uint64 // conditions already asked, by their answer
rules:
	for i := int32(0); int(i) < len(s.rules); {
		r := &s.rules[i]
		i++
		if r.eager {
			switch holds, ok := e.gates(r); {
			case !ok:
				return unsupportedOutcome(s.ref.Section)
			case !holds:
				continue
			}
		}
		if r.bits&failed != 0 {
			continue
		}
		for _, c := range r.conditions {
			if held&c.bit != 0 { // never so for conditions without a bit
				continue
			}
			holds := false
			if e.answers == nil {
				holds = e.holds(c.condition)
			} else {
				holds = e.remembered(c.condition)
			}
			if !holds {
				failed |= c.bit
				i = c.next
				continue rules
			}
			held |= c.bit
		}
		return e.matched(s, r)
	}
	return s.fallback
}

func (e *evaluation) enter() bool {
	e.depth++
	e.visits++
	return e.depth <= maxDepth
}

// gates asks every gate of a rule and reports whether all gave the wanted answer.
func (e *evaluation) gates(r *rule) (holds, ok bool) {
	if r.unsupported {
		return false, false
	}
	holds = true
	for _, c := range r.gates {
		held, ok := e.asks(c)
		if !ok {
			return false, false
		}
		holds = holds && held
	}
	return holds, true
}

// asks asks one gate. The gates that it asks come before it in the exposures.
func (e *evaluation) asks(c *condition) (holds, ok bool) {
	s := e.rules.sections[Gates].specs.at(c.slot)
	o := e.run(s)
	if o.reason == ReasonUnsupported {
		return false, false
	}
	if !s.hidden {
		e.exposures.add(o)
	}
	return o.pass == c.want, true
}

// matched decides for a user who meets all conditions of a rule.
func (e *evaluation) matched(s *spec, r *rule) *outcome {
	if r.delegate >= 0 {
		if d := e.rules.sections[Configs].specs.at(r.delegate); d.known {
			if e.depth == 1 {
				e.delegate, e.exposures.undelegated = d, e.exposures.n
			}
			if s.ref.Section == Gates {
				return e.instead(s, d)
			}
			e.before = e.exposures.n
			return e.run(d)
		}
	}
	if r.fail != nil && float64(r.salt.hash(r.unit.id(e.user))%rolloutBuckets) >= r.threshold {
		return r.fail
	}
	return r.pass
}

// instead answers a gate with what a config decides that the gate delegates to. The
// answer is the gate's, so that exposures carry its name; it is remembered because
// they know an answer that was given before by its address.
func (e *evaluation) instead(s, d *spec) *outcome {
	before := e.before
	e.before = e.exposures.n
	o := e.run(d)
	if e.depth > 1 {
		e.before = before
	}
	answer := s.outcome(outcome{ruleID: o.ruleID, group: o.group, reason: o.reason, pass: o.pass, inside: o.inside})
	e.remember(s, answer)
	return answer
}

// answers are those that shared conditions gave last. One may displace another,
// which then is asked again.
type answers [64]struct {
	of    *condition
	holds bool
}

// remembered is holds in payloads, where specs ask the same of one user many times.
func (e *evaluation) remembered(c *condition) bool {
	if !c.shared {
		return e.holds(c)
	}
	a := &e.answers[c.place%len(e.answers)]
	if a.of != c {
		a.of, a.holds = c, e.holds(c)
	}
	return a.holds
}

// holds answers a condition that asks no gate. The kinds that most rules are made
// of come first, on ways of their own.
func (e *evaluation) holds(c *condition) bool {
	if c.direct != noProperty {
		if s := c.direct.of(e.user); s != "" {
			switch {
			case c.texts != nil:
				return c.texts.relates(s) != c.texts.negate
			case c.versions != nil:
				return e.versioned(c, s)
			}
			return c.test.match(textValue(s))
		}
	}
	if c.ranged {
		return c.among.has(e.userBucket(c))
	}
	v, list := e.value(c)
	if v.kind == text && c.texts != nil {
		return c.texts.relates(v.text) != c.texts.negate
	}
	if list != nil {
		if t, ok := c.test.(listTest); ok {
			return t.matchList(list)
		}
	}
	if c.listed {
		return (v.kind == text && e.rules.lists.at(c.slot).contains(v.text)) == c.want
	}
	return c.test.match(v)
}

// value reads what a condition compares.
func (e *evaluation) value(c *condition) (value, items) {
	if c.source == fromUser {
		return e.read(c.field)
	}
	switch c.source {
	case fromUnit:
		return present(c.unit.id(e.user)), nil
	case fromBucket:
		return numberValue(float64(e.userBucket(c))), nil
	case fromIP:
		return e.address(c)
	case fromAgent:
		return e.agent(c)
	case fromEnvironment:
		return e.environment(c), nil
	case fromClock:
		return numberValue(float64(e.millis())), nil
	case fromApp:
		return present(e.app), nil
	}
	return value{}, nil
}

// read returns the user's value of a field. Rules ask for the same one again and
// again, so the last is remembered: looking into maps is what costs.
func (e *evaluation) read(f *field) (value, items) {
	if e.attribute.of != f {
		e.attribute.of = f
		e.attribute.value, e.attribute.list = f.of(e.user)
	}
	return e.attribute.value, e.attribute.list
}

// versioned answers a condition on a version that is text of the user's own. The
// last is remembered, as rules ask for the same one with different targets.
func (e *evaluation) versioned(c *condition, s string) bool {
	if e.version.of != c.direct {
		packed, ok := packVersion(s)
		if !ok {
			return c.versions.match(textValue(s))
		}
		e.version.of, e.version.packed = c.direct, packed
	}
	return c.versions.passes(e.version.packed)
}

// userBucket returns the user's bucket of 1,000. The arms of an experiment ask
// for the same one in turn, so the last is remembered.
func (e *evaluation) userBucket(c *condition) int32 {
	if e.bucket.of != c.bucket {
		e.bucket.of = c.bucket
		e.bucket.n = int32(c.bucket.salt.hash(c.unit.id(e.user)) % userBuckets)
	}
	return e.bucket.n
}

// address reads a field of ip_based conditions: what the user says, else for the
// country what the lookup knows of the user's address.
func (e *evaluation) address(c *condition) (value, items) {
	v, list := c.field.of(e.user)
	if !v.empty() || c.field.exact != "country" {
		return v, list
	}
	lookup := e.rules.options.Country
	if lookup == nil || !isIPv4(e.user.IP) {
		return value{}, nil
	}
	code, _ := lookup.Country(e.user.IP)
	return present(code), nil
}

func isIPv4(s string) bool {
	parts, digits, n := 1, 0, 0
	for i := range len(s) {
		switch c := s[i]; {
		case '0' <= c && c <= '9' && digits < 3:
			n = n*10 + int(c-'0')
			digits++
		case c == '.' && digits > 0 && parts < 4:
			parts++
			digits, n = 0, 0
		default:
			return false
		}
		if n > 255 {
			return false
		}
	}
	return parts == 4 && digits > 0
}

// maxAgent is the length beyond which user agents are not worth parsing.
const maxAgent = 1000

// agent reads a field of ua_based conditions: what the user says, else what the
// parser makes of the user agent.
func (e *evaluation) agent(c *condition) (value, items) {
	v, list := c.field.of(e.user)
	if !v.empty() || c.field.facet == noFacet {
		return v, list
	}
	parser, agent := e.rules.options.UserAgent, e.user.UserAgent
	if parser == nil || agent == "" || len(agent) > maxAgent {
		return value{}, nil
	}
	return present(c.field.facet.of(parser.ParseUserAgent(agent))), nil
}

// environment reads the user's environment, whose tier the specs may default.
func (e *evaluation) environment(c *condition) value {
	if s, ok := c.field.ofEnvironment(e.user.StatsigEnvironment); ok {
		return textValue(s)
	}
	if c.field.lower == "tier" {
		return present(e.rules.apps.DefaultEnvironment)
	}
	return value{}
}

// millis returns the time of the evaluation.
func (e *evaluation) millis() int64 {
	if e.now == 0 {
		now := e.rules.options.Now
		if now == nil {
			now = time.Now
		}
		e.now = now().UnixMilli()
	}
	return e.now
}
