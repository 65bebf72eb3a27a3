package eval

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
