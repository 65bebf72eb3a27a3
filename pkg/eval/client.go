package eval

import (
	"encoding/json"
	"slices"
	"strconv"
	"strings"
	"sync"
)

// ClientOptions say for which client a payload is made.
type ClientOptions struct {
	Hash      HashMode
	ClientKey string // finds the target app and the allow-list
	TargetApp string // wins over the key's
	// Discreet hashes the names of gates, on which an answer hung, that the client
	// may not ask about itself; in every mode of hashing.
	Discreet bool

	SDKType, SDKVersion string // echoed as sdkInfo
}

// clientSpec is what a spec contributes to payload entries, as JSON text.
type clientSpec struct {
	visible  bool              // clients may see it
	heads    [hashModes]string // "<name>":{"name":"<name>", by hash mode
	tail     string            // members that depend on the spec alone
	explicit string            // explicit parameters, for the layer that delegates here
	none     json.RawMessage   // the value if nothing can be decided
	apps     []string
}

// clientOutcome is what an outcome contributes.
type clientOutcome struct {
	value json.RawMessage // as clients see it: completed from the layer's defaults
	text  string          // rule and group
}

// heads returns how entries of a name begin.
func heads(name string) (out [hashModes]string) {
	var buf [256]byte
	for mode := range out {
		b := appendQuoted(buf[:0], HashName(HashMode(mode), name))
		n := len(b)
		b = append(append(b, `:{"name":`...), b[:n]...)
		out[mode] = string(append(b, ','))
	}
	return out
}

// quotedName returns the quoted, hashed name.
func (c *clientSpec) quotedName(mode HashMode) string {
	head := c.heads[mode]
	return head[:(len(head)-len(`:{"name":,`))/2]
}

func (s *spec) isExperiment() bool {
	return s.entity == EntityExperiment
}

// clientText returns what entries say of a rule.
func clientText(section Section, ruleID, group string) string {
	var buf [128]byte
	b := appendQuoted(append(buf[:0], `"rule_id":`...), ruleID)
	if section != Gates {
		b = appendQuoted(append(b, `,"group":`...), ruleID)
		if group != "" {
			b = appendQuoted(append(b, `,"group_name":`...), group)
		}
	}
	return string(b)
}

func (b *builder) clientSpec(s *spec, src *Spec) {
	c := &s.client
	c.apps = src.TargetAppIDs
	c.visible = s.entity != EntitySegment && s.entity != EntityHoldout
	c.none = emptyObject
	if s.shared != nil {
		c.none = b.layerDefault(s.name)
	}
	tail := appendQuoted([]byte(`,"id_type":`), s.idType)
	if s.ref.Section == Gates {
		c.tail = string(tail)
		return
	}
	tail = appendMember(tail, "is_device_based", strings.EqualFold(s.idType, "stableid"))
	explicit := []byte{'['}
	for i, p := range s.explicit {
		if i > 0 {
			explicit = append(explicit, ',')
		}
		explicit = appendQuoted(explicit, p)
	}
	c.explicit = string(append(explicit, ']'))
	if s.isExperiment() {
		tail = appendMember(tail, "is_experiment_active", s.active)
		if src.HasSharedParams != nil && *src.HasSharedParams {
			tail = appendMember(tail, "is_in_layer", true)
			tail = append(append(tail, `,"explicit_parameters":`...), c.explicit...)
		}
	}
	c.tail = string(tail)
}

func appendMember(dst []byte, name string, v bool) []byte {
	dst = append(append(append(dst, `,"`...), name...), `":`...)
	return strconv.AppendBool(dst, v)
}

// A client is a payload in the making.
type client struct {
	evaluation
	mode     HashMode
	app      string
	allow    *allowed
	discreet bool
}

// allowed is a compiled [KeyEntities].
type allowed [sections]map[string]bool

func (b *builder) setApps(a AppIDs) {
	b.apps = a
	b.allow = make(map[string]*allowed, len(a.HashedSDKKeysToEntities))
	for key, e := range a.HashedSDKKeysToEntities {
		var set allowed
		for section, list := range [...][]string{Gates: e.Gates, Configs: e.Configs} {
			set[section] = make(map[string]bool, len(list))
			for _, name := range list {
				set[section][name] = true
			}
		}
		b.allow[key] = &set
	}
}

func (r *Ruleset) client(u *User, o *ClientOptions) client {
	c := client{mode: min(o.Hash, hashModes-1), app: o.TargetApp, discreet: o.Discreet}
	c.begin(r, u)
	if o.ClientKey != "" && (r.allow != nil || o.TargetApp == "") {
		hashed := HashName(HashDJB2, o.ClientKey)
		c.allow = r.allow[hashed]
		if c.app == "" {
			c.app = r.apps.HashedSDKKeysToAppIDs[hashed]
		}
		if c.app == "" {
			c.app = r.apps.SDKKeysToAppIDs[o.ClientKey]
		}
	}
	if o.ClientKey != "" || c.app != "" { // a key without an app is of none, whatever the specs' own
		c.evaluation.app = c.app
	}
	return c
}

// sees reports whether the client may know of the spec.
func (c *client) sees(s *spec) bool {
	if !s.client.visible || c.app != "" && !slices.Contains(s.client.apps, c.app) {
		return false
	}
	return c.allow == nil || c.allow[s.ref.Section] == nil || c.allow[s.ref.Section][s.name]
}

var answersPool = sync.Pool{New: func() any { return new(answers) }}

// AppendClient appends the response to a client's initialize request: every
// entity that the client may see, decided for the user, under its hashed name.
func (r *Ruleset) AppendClient(dst []byte, u *User, o ClientOptions) []byte {
	c := r.client(u, &o)
	c.answers = answersPool.Get().(*answers)
	defer func() {
		*c.answers = answers{} // what is kept for later must not keep a ruleset
		answersPool.Put(c.answers)
	}()
	dst = append(dst, `{"has_updates":true,"time":`...)
	dst = strconv.AppendInt(dst, r.time, 10)
	dst = appendQuoted(append(dst, `,"hash_used":`...), c.mode.String())
	for section := range Section(sections) {
		dst = append(append(append(dst, `,"`...), section.String()...), `":{`...)
		sec := &r.sections[section]
		open := len(dst)
		for _, slot := range sec.order {
			s := sec.specs.at(slot)
			if !c.sees(s) {
				continue
			}
			if len(dst) > open {
				dst = append(dst, ',')
			}
			dst = append(dst, s.client.heads[c.mode]...)
			dst = c.appendEntry(dst, s)
		}
		dst = append(dst, '}')
	}
	dst = appendUser(append(dst, `,"user":`...), c.user)
	dst = appendKeys(append(dst, `,"evaluated_keys":`...), c.user)
	dst = append(dst, `,"sdkParams":{},"sdkInfo":{`...)
	if o.SDKType != "" {
		dst = appendQuoted(append(dst, `"sdkType":`...), o.SDKType)
		dst = appendQuoted(append(dst, `,"sdkVersion":`...), o.SDKVersion)
	}
	return append(dst, `},"generator":"sluice"}`...)
}

// AppendClientEntry appends the entry of one entity as [Ruleset.AppendClient]
// would show it, and returns the name under which it would. ok is false if the
// client may not see the entity, or there is none; dst is returned as it was.
func (r *Ruleset) AppendClientEntry(dst []byte, u *User, ref Ref, o ClientOptions) (out []byte, hashedName string, ok bool) {
	if ref.Section >= sections {
		return dst, "", false
	}
	c := r.client(u, &o)
	s := r.find(ref.Section, ref.Name)
	if s == nil || !s.known || !c.sees(s) {
		return dst, HashName(c.mode, ref.Name), false
	}
	quoted := s.client.quotedName(c.mode)
	hashedName = quoted[1 : len(quoted)-1] // hashes need no escapes
	if c.mode == HashNone {
		hashedName = s.name
	}
	dst = append(dst, s.client.heads[c.mode][len(quoted)+1:]...)
	return c.appendEntry(dst, s), hashedName, true
}

// appendEntry decides s and appends what follows the name in its entry.
func (c *client) appendEntry(dst []byte, s *spec) []byte {
	if c.exposures.n > 0 {
		c.exposures = exposures{}
	}
	c.depth, c.visits, c.known, c.delegate = 1, 1, nil, nil
	o := c.decide(s)
	switch s.ref.Section {
	case Gates:
		dst = strconv.AppendBool(append(dst, `"value":`...), o.pass)
		dst = append(append(append(dst, ','), o.client.text...), s.client.tail...)
	case Configs:
		value := o.client.value
		if o.reason == ReasonUnsupported {
			value = s.client.none
		}
		dst = append(append(dst, `"value":`...), value...)
		dst = append(append(append(dst, ','), o.client.text...), s.client.tail...)
		dst = appendMember(dst, "passed", o.pass)
		if s.isExperiment() {
			dst = appendMember(dst, "is_user_in_experiment", o.inside)
		}
	case Layers:
		dst = c.appendLayer(dst, s, o)
	}
	dst = c.appendExposures(append(dst, `,"secondary_exposures":[`...), c.exposures.n)
	return append(dst, "]}"...)
}

func (c *client) appendLayer(dst []byte, s *spec, o *outcome) []byte {
	dst = append(append(dst, `"value":`...), o.value...)
	dst = append(append(append(dst, ','), o.client.text...), s.client.tail...)
	explicit := s.client.explicit
	if d := c.delegate; d != nil {
		explicit = d.client.explicit
		dst = append(append(dst, `,"allocated_experiment_name":`...), d.client.quotedName(c.mode)...)
		dst = appendMember(dst, "is_experiment_active", d.active)
		dst = appendMember(dst, "is_user_in_experiment", o.inside)
	}
	dst = append(append(dst, `,"explicit_parameters":`...), explicit...)
	dst = c.appendExposures(append(dst, `,"undelegated_secondary_exposures":[`...), c.exposures.undelegated)
	return append(dst, ']')
}

func (c *client) appendExposures(dst []byte, n int32) []byte {
	for i := range n {
		if i > 0 {
			dst = append(dst, ',')
		}
		o := c.exposures.at(i)
		mode := c.mode
		if mode == HashNone && c.discreet && !c.sees(o.spec) {
			mode = HashSHA256
		}
		dst = append(append(dst, `{"gate":`...), o.spec.client.quotedName(mode)...)
		if o.pass {
			dst = append(dst, `,"gateValue":"true","ruleID":`...)
		} else {
			dst = append(dst, `,"gateValue":"false","ruleID":`...)
		}
		dst = append(append(dst, o.client.text[len(`"rule_id":`):]...), '}')
	}
	return dst
}
