package eval

import (
	"encoding/json"
	"fmt"
	"strings"
)

// A condition is one comparison, resolved when the spec is compiled: where its
// value comes from, and the test that the value must pass.
//
// Conditions are immutable and shared between rules that ask the same.
type condition struct {
	source   source
	field    *field // of user, environment and agent sources
	unit     unit   // of unit and bucket sources
	bucket   *bucket
	direct   property // of the user, tested as it is
	ranged   bool     // a bucket, tested by its range
	among    bucketRange
	texts    *textList    // the test, if it is of this kind, or
	versions *versionTest // of this one, with a target that fits a word
	test     test         // of every source but public and the gates

	slot   int32 // of the gate or the id list that is asked
	want   bool  // the answer of that gate or list that makes the condition hold
	listed bool  // membership in an id list is the test

	shared bool      // more than one rule asks it
	place  int       // of its answer, if shared
	asked  Condition // as written, for traces
}

// A test compares a value with a target that was parsed at compile time. Tests
// never fail: a value of the wrong kind simply does not pass, or does pass where
// the operator is a negation.
type test interface{ match(v value) bool }

// A listTest is a test that understands lists. Others see a list as a value of
// the wrong kind.
type listTest interface {
	test
	matchList(list items) bool
}

// A source says where a condition's value comes from.
type source uint8

const (
	fromNothing source = iota // public: holds for everybody
	fromGate
	fromUser
	fromIP
	fromAgent
	fromEnvironment
	fromClock
	fromBucket
	fromUnit
	fromApp
	unsupported
)

// sources maps condition types to sources. multi_pass_gate, multi_fail_gate and
// experiment_group exist in single SDKs only and are unsupported in the others;
// agreeing with the majority means not to answer them.
var sources = map[string]source{
	"public":            fromNothing,
	"pass_gate":         fromGate,
	"fail_gate":         fromGate,
	"user_field":        fromUser,
	"ip_based":          fromIP,
	"ua_based":          fromAgent,
	"environment_field": fromEnvironment,
	"current_time":      fromClock,
	"user_bucket":       fromBucket,
	"unit_id":           fromUnit,
	"target_app":        fromApp,
}

// An operator builds the test for a target. A target of the wrong kind makes a
// test that never passes, or always if it is a negation; an error means that the
// entity must not be used at all.
type operator func(target any) (test, error)

// operators maps operator names to the tests they make. A new one needs a line
// here, a type with one method, and a vector.
var operators = map[string]operator{
	"any":                 textIn(equals, true, false),
	"none":                textIn(equals, true, true),
	"any_case_sensitive":  textIn(equals, false, false),
	"none_case_sensitive": textIn(equals, false, true),
	"str_starts_with_any": textIn(startsWith, true, false),
	"str_ends_with_any":   textIn(endsWith, true, false),
	"str_contains_any":    textIn(contains, true, false),
	"str_contains_none":   textIn(contains, true, true),
	"str_matches":         newPattern,

	// Ours: SDKs of others answer Unsupported, and text prefixes say the same
	// portably for ranges that end at a dot.
	"ip_in_range":     newNetworks(false),
	"ip_not_in_range": newNetworks(true),

	"gt":  newNumber(greater),
	"gte": newNumber(greater | equal),
	"lt":  newNumber(less),
	"lte": newNumber(less | equal),

	"version_gt":  newVersion(greater),
	"version_gte": newVersion(greater | equal),
	"version_lt":  newVersion(less),
	"version_lte": newVersion(less | equal),
	"version_eq":  newVersion(equal),
	"version_neq": newVersion(less | greater),

	"before": newTime(less),
	"after":  newTime(greater),
	"on":     newDay,

	"eq":  newEquality(false),
	"neq": newEquality(true),

	"array_contains_any":     newArray(containsAny),
	"array_contains_none":    newArray(containsNone),
	"array_contains_all":     newArray(containsAll),
	"not_array_contains_all": newArray(containsNotAll),
}

// order is a set of outcomes of a comparison.
type order uint8

const (
	less order = 1 << iota
	equal
	greater
)

// compare returns the order of a and b, none if they cannot be ordered (NaN).
func compare[T int | int64 | uint64 | float64 | string](a, b T) order {
	switch {
	case a < b:
		return less
	case a > b:
		return greater
	case a == b:
		return equal
	}
	return 0
}

// constant is the test whose answer its target settles.
type constant bool

func (c constant) match(value) bool { return bool(c) }

// condition compiles c. References to gates and id lists become slots of the
// ruleset being built.
func (b *builder) condition(c *Condition) (*condition, error) {
	out := &condition{unit: newUnit(c.IDType)}
	out.asked = Condition{
		Type: c.Type, Operator: c.Operator, Field: c.Field, IDType: c.IDType,
		TargetValue: append(json.RawMessage(nil), c.TargetValue...),
	}
	typ := lowerASCII(c.Type)
	var known bool
	if out.source, known = sources[typ]; !known {
		out.source = unsupported
		return out, nil
	}
	if out.source == fromNothing {
		return out, nil
	}
	out.field = b.field(c.Field, out.source)
	r := reader{data: out.asked.TargetValue}
	if len(r.data) == 0 {
		r.data = json.RawMessage("null")
	}
	target := r.any()
	if r.end(); r.err != nil {
		return nil, fmt.Errorf("target of condition %s: %w", c.Type, r.err)
	}
	if out.source == fromGate {
		out.want = typ == "pass_gate"
		b.gateCondition(out, target)
		return out, nil
	}

	if out.source == fromBucket {
		salt, _ := c.AdditionalValues["salt"].(string)
		out.bucket = b.bucket(bucket{newSalt(salt + "."), out.unit})
	}
	switch op := lowerASCII(c.Operator); op {
	case "in_segment_list", "not_in_segment_list":
		out.want = op == "in_segment_list"
		b.listCondition(out, target)
		return out, nil
	default:
		build, known := operators[op]
		if !known {
			out.source = unsupported
			return out, nil
		}
		if out.source == fromBucket && (op == "any" || op == "none") {
			out.test = newBuckets(target, op == "none")
			return out, nil
		}
		var err error
		if out.test, err = build(target); err != nil {
			return nil, fmt.Errorf("condition %s %s: %w", c.Type, c.Operator, err)
		}
	}
	if out.source == fromUser {
		out.direct = out.field.property
		out.texts, _ = out.test.(*textList)
		if t, ok := out.test.(*versionTest); ok && t.target.fits {
			out.versions = t
		}
	}
	if t, ok := out.test.(numberTest); ok && out.source == fromBucket {
		out.ranged, out.among = true, bucketsOf(t)
	}
	return out, nil
}

// gateCondition resolves the gate that c asks. A target that is no name is a
// gate that nobody has: it does not pass, and is not worth an exposure.
func (b *builder) gateCondition(c *condition, target any) {
	name, ok := target.(string)
	if !ok {
		c.source, c.test = fromUser, constant(!c.want)
		return
	}
	c.slot = b.slot(Gates, name)
}

// listCondition resolves the id list that c asks.
func (b *builder) listCondition(c *condition, target any) {
	name, ok := target.(string)
	if !ok {
		c.test = constant(!c.want)
		return
	}
	c.listed, c.slot = true, b.listSlot(name)
}

// A unit is a compiled id type.
type unit struct {
	user  bool // the user id
	exact string
	lower string
}

func newUnit(idType string) unit {
	return unit{user: isUserID(idType), exact: idType, lower: strings.ToLower(idType)}
}

// id returns the user's id of the type, "" when missing.
func (t *unit) id(u *User) string {
	if t.user {
		return u.UserID
	}
	if id, ok := u.CustomIDs[t.exact]; ok {
		return id
	}
	return u.CustomIDs[t.lower]
}

func lowerASCII(s string) string {
	for i := range len(s) {
		if 'A' <= s[i] && s[i] <= 'Z' {
			return strings.ToLower(s)
		}
	}
	return s
}
