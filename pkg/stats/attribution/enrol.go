// Package attribution turns exposures and events into the aggregates that
// package stats compares: who is in which group, since when, and which of their
// events count.
//
// It is the readable statement of rules that a warehouse carries out in SQL, and
// the oracle that its queries are tested against. It is pure, keeps everything in
// memory, and does not depend on the order or the batching of its input: an
// [Enrolment] is a minimum and a set, and merges as such.
package attribution

import (
	"slices"
	"time"
)

// An Exposure is the fact that a unit was shown a group. Exposures of other unit
// types than the experiment's are not for this package.
type Exposure struct {
	Unit     string
	Group    string // empty if the unit was not in the experiment at that moment
	Time     time.Time
	Override bool // the group was set by hand
}

// An Enrolment is what all exposures of one unit come to. The zero Enrolment has
// seen none.
type Enrolment struct {
	At       time.Time // the earliest exposure to a group
	First    []string  // groups seen at that very moment, sorted
	Override bool      // one of the exposures at that moment was set by hand
	Groups   []string  // all groups ever seen, sorted
}

// Observe returns the enrolment after one more exposure. Exposures without a
// group change nothing: a unit that stops qualifying stays where it was.
func (e Enrolment) Observe(x Exposure) Enrolment {
	if x.Group == "" {
		return e
	}
	group := []string{x.Group}
	return e.Merge(Enrolment{At: x.Time, First: group, Override: x.Override, Groups: group})
}

// Merge returns the enrolment of both sets of exposures. It is associative,
// commutative and idempotent.
func (e Enrolment) Merge(other Enrolment) Enrolment {
	switch {
	case len(other.Groups) == 0:
		return e
	case len(e.Groups) == 0:
		return other
	}
	merged := e
	switch c := other.At.Compare(e.At); {
	case c < 0:
		merged = other
	case c == 0:
		merged.First = union(e.First, other.First)
		merged.Override = e.Override || other.Override
	}
	merged.Groups = union(e.Groups, other.Groups)
	return merged
}

func union(a, b []string) []string {
	all := slices.Concat(a, b)
	slices.Sort(all)
	return slices.Compact(all)
}

// An Exclusion is why a unit that was exposed is not analysed.
type Exclusion string

// The exclusions.
const (
	Kept      Exclusion = ""
	Override  Exclusion = "override"  // put into its group by hand
	Crossover Exclusion = "crossover" // saw more than one group
	Immature  Exclusion = "immature"  // its window has not passed yet
)

// A Policy says what happens to units that saw more than one group.
type Policy string

// The policies.
const (
	Exclude   Policy = "exclude" // leave them out; the default
	KeepFirst Policy = "first"   // leave them in the group that they saw first
)

// crossed reports whether a unit saw more than one group.
func (e Enrolment) crossed() bool { return len(e.Groups) > 1 }

// group returns the group a unit belongs to, empty if it saw several at first.
func (e Enrolment) group() string {
	if len(e.First) != 1 {
		return ""
	}
	return e.First[0]
}

// exclusion judges a unit apart from its age. Two groups in the same instant have
// no first, so that no policy keeps the unit.
func (e Enrolment) exclusion(policy Policy) Exclusion {
	switch {
	case e.Override:
		return Override
	case len(e.First) > 1, e.crossed() && policy != KeepFirst:
		return Crossover
	}
	return Kept
}
