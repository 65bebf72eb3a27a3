package eval

import (
	"time"
)

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
