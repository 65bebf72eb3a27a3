package eval

// Questions about specs and decisions that protocols of others ask, beside the
// decision itself. Deciding pays nothing for them.

// A Description is what a spec says of itself, beside what it decides.
type Description struct {
	Entity      string // one of the Entity constants
	Version     int64  // of the definition
	Active      bool   // experiments: running
	Constant    bool   // it answers everybody the same; see [Ruleset.Constant]
	DeferToCode bool   // OpenFeature clients keep the default in their code
}

// Describe returns what a spec says of itself; false if there is none.
func (r *Ruleset) Describe(ref Ref) (Description, bool) {
	if ref.Section >= sections {
		return Description{}, false
	}
	s := r.find(ref.Section, ref.Name)
	if s == nil || !s.known {
		return Description{}, false
	}
	return Description{
		Entity: s.entity, Version: s.version, Active: s.active,
		Constant: r.Constant(ref), DeferToCode: s.deferred,
	}, true
}

// Constant reports whether a spec answers everybody the same, whoever asks: it
// is switched off, or its first rule takes all.
func (r *Ruleset) Constant(ref Ref) bool {
	if ref.Section >= sections {
		return false
	}
	s := r.find(ref.Section, ref.Name)
	return s != nil && s.known && s.always != nil
}

// ClientSees reports whether a client's payload has an entry for a spec.
func (r *Ruleset) ClientSees(ref Ref, o ClientOptions) bool {
	if ref.Section >= sections {
		return false
	}
	c := r.client(nil, &o)
	s := r.find(ref.Section, ref.Name)
	return s != nil && s.known && c.sees(s)
}

// MissingUnit returns the type of the unit id on which the decision for a user
// hung although the user has none: a percentage that splits, a bucket, or a list
// of units was asked for it on the way. Somebody else's answer would be chance.
//
// Rules that except names are not asked about the nameless: an id that is
// absent is in no list of exceptions, and a rule that hands listed units to an
// experiment is such a rule always.
func (r *Ruleset) MissingUnit(u *User, ref Ref, excepts func(ruleID string) bool) (idType string, ok bool) {
	if ref.Section >= sections {
		return "", false
	}
	s := r.find(ref.Section, ref.Name)
	if s == nil {
		return "", false
	}
	m := needs{excepts: excepts, asked: make(map[*spec]bool)}
	m.begin(r, u)
	found := m.of(s)
	if found == nil {
		return "", false
	}
	if found.user {
		return "userID", true
	}
	return found.exact, true
}

// needs walks as an evaluation does, and looks for absent units.
type needs struct {
	evaluation
	excepts func(ruleID string) bool
	asked   map[*spec]bool
}

// of returns the first absent unit that deciding s asks for.
func (m *needs) of(s *spec) *unit {
	if s.always != nil || m.asked[s] {
		return nil
	}
	m.asked[s] = true
	for i := range s.rules {
		r := &s.rules[i]
		if r.unsupported {
			return nil
		}
		holds := true
		for _, c := range r.gates {
			if absent := m.of(m.rules.sections[Gates].specs.at(c.slot)); absent != nil {
				return absent
			}
			held, ok := m.answer(c)
			if !ok {
				return nil
			}
			holds = holds && held
		}
		if !holds {
			continue
		}
		absent, matched := m.conditions(r)
		switch {
		case absent != nil:
			return absent
		case !matched:
			continue
		case r.delegate >= 0:
			if d := m.rules.sections[Configs].specs.at(r.delegate); d.known {
				return m.of(d)
			}
		}
		if r.fail != nil && r.unit.id(m.user) == "" {
			return &r.unit
		}
		return nil
	}
	return nil
}

// conditions asks the conditions of a rule in order, as far as an evaluation
// would.
func (m *needs) conditions(r *rule) (absent *unit, matched bool) {
	lists := r.delegate < 0 && (m.excepts == nil || !m.excepts(r.id))
	for _, c := range r.conditions {
		if u := c.unitOf(); u != nil && u.id(m.user) == "" && (lists || c.source == fromBucket) {
			return u, false
		}
		if !m.holds(c.condition) {
			return nil, false
		}
	}
	return nil, true
}

// answer asks a gate from a fresh start: what it exposes is nobody's concern
// here.
func (m *needs) answer(c *condition) (holds, ok bool) {
	var e evaluation
	e.begin(m.rules, m.user)
	return e.asks(c)
}

// unitOf returns the unit that a condition compares, nil if it compares
// something else.
func (c *condition) unitOf() *unit {
	switch {
	case c.source == fromUnit, c.source == fromBucket:
		return &c.unit
	case c.source == fromUser && c.field.property == userID:
		return &unit{user: true}
	}
	return nil
}
