package eval

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
