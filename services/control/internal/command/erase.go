package command

import "github.com/sluice-flags/sluice/pkg/flags"

// Erase asks that nothing be kept of what a unit did up to now.
type Erase struct {
	UnitType string
	UnitKey  string // see [flags.Erasure]
}

// Decide implements [Command].
func (c Erase) Decide(s *flags.State, env Env) (Decision, error) {
	doc := &flags.Erasure{Name: c.UnitKey, UnitType: c.UnitType, Before: new(env.Now)}
	current, ok := s.ByName(flags.KindErasure, c.UnitKey)
	if ok {
		doc.ID = current.Ref.ID
	}
	return write(s, env, current, doc)
}
