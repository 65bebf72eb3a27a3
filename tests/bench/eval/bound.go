package main

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"strings"
	"sync"
)

// bound is a yardstick and no product: the work of the seven workloads written
// out by hand, for exactly these users and rules. Fields are array indexes,
// versions are words, gates are pointers and answers are ready JSON; there are no
// reasons, no exposures, no names to report, no odd values to survive. What
// remains is a map look-up, the comparisons, and one block of SHA-256 per
// percentage, laid out beforehand and hashed by the processor's own instructions
// where it has them (by the standard library where not).
func bound() engine {
	set := newBoundSet(0)
	users := boundUsers()
	return engine{
		name: "hand-written bound",
		check: func(k kind) func(int) bool {
			key := k.key()
			return func(i int) bool { res := set.byKey[key].evaluate(&users[i]); return res.pass }
		},
		rule: func(i int) string {
			return fmt.Sprintf("rule_%02d_abcdef", set.byKey[tenRules.key()].evaluate(&users[i]).rule+1)
		},
		color: func(i int) string { return colors[set.byKey[variants.key()].evaluate(&users[i]).rule] },
		all: func() func(int) int {
			set, buffers := newBoundSet(1000), sync.Pool{New: func() any { return new([]byte) }}
			return func(i int) int {
				body := buffers.Get().(*[]byte)
				defer buffers.Put(body)
				*body = set.appendAll((*body)[:0], &users[i])
				return len(*body)
			}
		},
		loader: func(n int) func() (any, func()) {
			body := statsigBody(n)
			return func() (any, func()) { return must(decodeBody(body)), func() {} }
		},
	}
}

// Fields of a user, by index.
const (
	boundID = iota
	boundEmail
	boundCountry
	boundPlan
	boundVersion
	boundFields
)

type boundUser [boundFields]string

func boundUsers() []boundUser {
	out := make([]boundUser, len(subjects))
	for i, s := range subjects {
		out[i] = boundUser{s.id, s.email, s.country, s.plan, s.version}
	}
	return out
}

type boundOp uint8

const (
	boundSuffix boundOp = iota
	boundAny
	boundVersionAtLeast
	boundMember
	boundGate
)

type boundCondition struct {
	op      boundOp
	field   uint8
	texts   []string
	version uint64
	set     map[string]struct{}
	gate    *boundFlag
}

func (c *boundCondition) holds(u *boundUser) bool {
	v := u[c.field]
	switch c.op {
	case boundSuffix:
		return strings.HasSuffix(v, c.texts[0])
	case boundAny:
		for _, s := range c.texts {
			if v == s {
				return true
			}
		}
		return false
	case boundVersionAtLeast:
		return packed(v) >= c.version
	case boundMember:
		_, ok := c.set[v]
		return ok
	}
	return c.gate.evaluate(u).pass
}

// packed makes a word of up to four dotted numbers.
func packed(s string) uint64 {
	var v, part uint64
	shift := 48
	for i := range len(s) {
		if c := s[i]; c == '.' {
			v |= part << shift
			shift -= 16
			part = 0
		} else {
			part = part*10 + uint64(c-'0')
		}
	}
	return v | part<<shift
}

// A boundRule lists its conditions by their number in the flag, so that rules
// that ask the same share the answer.
type boundRule struct {
	conditions []uint8
	share      uint64 // of 10,000
	salt       boundSalt
	json       []byte
}

type boundFlag struct {
	conditions []boundCondition
	rules      []boundRule
	groups     [][]byte  // of an experiment
	salt       boundSalt // of an experiment
	off        []byte
}

type boundResult struct {
	pass bool
	rule int
	json []byte
}

func (f *boundFlag) evaluate(u *boundUser) boundResult {
	if f.groups != nil {
		bucket := int(f.salt.hash(u[boundID]) % 1000)
		group := 0
		for bucket >= bounds[group] {
			group++
		}
		return boundResult{true, group, f.groups[group]}
	}
	var known, held uint64
next:
	for i := range f.rules {
		r := &f.rules[i]
		for _, n := range r.conditions {
			bit := uint64(1) << (n & 63)
			if known&bit == 0 {
				known |= bit
				if f.conditions[n].holds(u) {
					held |= bit
				}
			}
			if held&bit == 0 {
				continue next
			}
		}
		if r.share < 10_000 && r.salt.hash(u[boundID])%10_000 >= r.share {
			return boundResult{false, i, f.off}
		}
		return boundResult{true, i, r.json}
	}
	return boundResult{false, -1, f.off}
}

// A boundSalt is a block that begins with a salt. It and the ids of all users fit.
type boundSalt struct {
	block [sha256.BlockSize]byte
	n     int
}

func newBoundSalt(salt string) (s boundSalt) {
	s.n = copy(s.block[:], salt)
	return s
}

func (s *boundSalt) hash(id string) uint64 {
	b := s.block
	n := s.n + copy(b[s.n:], id)
	b[n] = 0x80
	binary.BigEndian.PutUint16(b[62:], uint16(n*8))
	if first, ok := sumBlock(&b); ok {
		return first
	}
	sum := sha256.Sum256(b[:n])
	return binary.BigEndian.Uint64(sum[:])
}

type boundSet struct {
	byKey map[string]*boundFlag
	list  []*boundFlag
}

func newBoundSet(n int) *boundSet {
	members := make(map[string]struct{}, segmentSize)
	for _, id := range segmentIDs() {
		members[id] = struct{}{}
	}
	one := func(c ...boundCondition) *boundFlag {
		f := &boundFlag{conditions: c, rules: []boundRule{{share: 10_000}}}
		for i := range c {
			f.rules[0].conditions = append(f.rules[0].conditions, uint8(i))
		}
		return f
	}
	email := boundCondition{op: boundSuffix, field: boundEmail, texts: []string{emailDomain}}
	middle := one(boundCondition{op: boundGate, gate: one(email)})
	s := &boundSet{byKey: map[string]*boundFlag{}}
	for _, spec := range flags(n) {
		var f *boundFlag
		switch spec.kind {
		case onOff:
			f = one()
		case suffix:
			f = one(email)
		case bigSegment:
			f = one(boundCondition{op: boundMember, field: boundID, set: members})
		case nested:
			f = one(boundCondition{op: boundGate, gate: middle})
		case tenRules:
			f = boundTargetings(spec)
		case variants:
			f = &boundFlag{salt: newBoundSalt(spec.salt + ".")}
			for i := range bounds {
				f.groups = append(f.groups, boundEntry(spec.key, groupID(i), must(json.Marshal(configuration(i))), `,"is_device_based":false,"passed":true`))
			}
		}
		f.off = boundEntry(spec.key, "default", []byte("false"), "")
		for i := range f.rules {
			f.rules[i].json = boundEntry(spec.key, fmt.Sprintf("rule_%02d_abcdef", i+1), []byte("true"), "")
		}
		s.byKey[spec.key] = f
		s.list = append(s.list, f)
	}
	return s
}

func boundTargetings(spec flagSpec) *boundFlag {
	f := &boundFlag{}
	numbers := map[string]uint8{}
	for _, t := range targetings() {
		r := boundRule{share: 5_000, salt: newBoundSalt(spec.salt + "." + t.id + ".")}
		for _, c := range []boundCondition{
			{op: boundAny, field: boundCountry, texts: t.countries},
			{op: boundAny, field: boundPlan, texts: []string{t.plan}},
			{op: boundVersionAtLeast, field: boundVersion, version: packed(t.minVersion)},
		} {
			same := fmt.Sprint(c.op, c.texts, c.version)
			n, ok := numbers[same]
			if !ok {
				n = uint8(len(f.conditions))
				numbers[same], f.conditions = n, append(f.conditions, c)
			}
			r.conditions = append(r.conditions, n)
		}
		f.rules = append(f.rules, r)
	}
	return f
}

func boundEntry(key, rule string, value []byte, more string) []byte {
	return fmt.Appendf(nil, `"%s":{"name":"%s","value":%s,"rule_id":"%s","id_type":"userID"%s,"secondary_exposures":[]}`, key, key, value, rule, more)
}

func (s *boundSet) appendAll(dst []byte, u *boundUser) []byte {
	dst = append(dst, `{"feature_gates":{`...)
	for i, f := range s.list {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = append(dst, f.evaluate(u).json...)
	}
	return append(dst, `},"has_updates":true}`...)
}

// decodeBody is what reading costs at all: the standard library's decoder, into
// structs that hold just what evaluation needs, and nothing made of them.
func decodeBody(body []byte) (any, error) {
	type condition struct {
		Type, Operator, Field string
		TargetValue           json.RawMessage
	}
	type rule struct {
		ID             string
		PassPercentage float64
		Conditions     []condition
		ReturnValue    json.RawMessage
	}
	type spec struct {
		Name, Type, Salt string
		Enabled          bool
		Rules            []rule
	}
	var out struct {
		FeatureGates   []spec `json:"feature_gates"`
		DynamicConfigs []spec `json:"dynamic_configs"`
	}
	err := json.Unmarshal(body, &out)
	return &out, err
}
