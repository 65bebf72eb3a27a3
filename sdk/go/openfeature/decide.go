package openfeature

import (
	"encoding/json"
	"strconv"
	"strings"

	of "github.com/open-feature/go-sdk/openfeature"

	sluice "github.com/sluice-flags/sluice/sdk/go"
)

// A decided is what a flag is worth to a user.
type decided struct {
	sluice.Decision
	kind   string
	value  json.RawMessage
	passed bool // gates
	reason string
}

// decide finds what a key names and decides it. Only what is asked for is
// exposed: names are tried out in silence.
func (p *Provider) decide(u *sluice.User, key string) (decided, bool) {
	kind, rest, exact := strings.Cut(key, ":")
	if exact {
		switch kind {
		case "gate", "config", "experiment", "layer":
			if d, ok := p.exactly(u, kind, rest, ""); ok {
				return d, true
			}
			for end := strings.LastIndexByte(rest, ':'); end > 0 && kind != "gate"; end = strings.LastIndexByte(rest[:end], ':') {
				if d, ok := p.exactly(u, kind, rest[:end], rest[end+1:]); ok {
					return d, true
				}
			}
		}
	}
	var d decided
	for _, kind := range []string{"gate", "config", "layer"} {
		var ok bool
		if d, ok = p.exactly(u, kind, key, ""); ok {
			return d, true
		}
	}
	return d, false
}

// exactly decides an entity of a kind, or a parameter of it.
func (p *Provider) exactly(u *sluice.User, kind, name, parameter string) (d decided, ok bool) {
	silent := p.client.Silent()
	d.kind = kind
	switch kind {
	case "gate":
		if g := silent.Gate(u, name); !g.Found {
			d.reason = g.Reason
			return d, false
		}
		g := p.client.Gate(u, name)
		d.Decision, d.passed = g.Decision, g.Value
		d.value = json.RawMessage(strconv.FormatBool(g.Value))
	case "layer":
		l := silent.Layer(u, name)
		d.Decision, d.value = l.Decision, json.RawMessage(l.Value())
		if !l.Found {
			d.reason = l.Reason
			return d, false
		}
		if parameter == "" {
			break // parameters are what is exposed
		}
		var value json.RawMessage // apart: the object is everybody's
		if !l.Get(parameter, &value) {
			return d, false
		}
		d.value = value
		exposed := p.client.Layer(u, name)
		exposed.Get(parameter, new(json.RawMessage))
	default:
		c := silent.Config(u, name)
		if !c.Found {
			d.reason = c.Reason
			return d, false
		}
		d.Decision, d.value = c.Decision, json.RawMessage(c.Object)
		var value json.RawMessage // as above
		if parameter != "" {
			if !c.Get(parameter, &value) {
				return d, false
			}
			d.value = value
		}
		p.client.Config(u, name)
	}
	d.reason = d.Reason
	return d, true
}

// details say how the decision came to be, in the words of the protocol.
func (d *decided) details() of.ProviderResolutionDetail {
	out := of.ProviderResolutionDetail{Reason: of.TargetingMatchReason, FlagMetadata: of.FlagMetadata{
		"kind": d.kind, "ruleID": d.RuleID, "groupName": d.Group, "version": strconv.FormatUint(d.Sequence, 10),
	}}
	base, share, isRule := rule(d.RuleID)
	switch d.Reason {
	case sluice.ReasonDisabled:
		out.Reason = of.DisabledReason
	case sluice.ReasonDefault:
		out.Reason = of.DefaultReason
	case sluice.ReasonUnsupported:
		out.Reason = of.UnknownReason
		return out
	case sluice.ReasonRule:
		switch {
		case d.RuleID == "disabled":
			out.Reason = of.DisabledReason
		case d.RuleID == "launched":
			out.Reason = of.StaticReason
		case d.RuleID == "prestart", d.RuleID == "layerAssignment", d.RuleID == "targetingGate", d.RuleID == "inlineTargetingRules":
			out.Reason = of.DefaultReason
		case strings.HasSuffix(d.RuleID, "override"):
			out.FlagMetadata["override"] = true
		case !isRule, share > 0 && share < 100: // a group, or a holdout
			out.Reason = of.SplitReason
		}
	}
	switch {
	case d.kind == "gate" && d.passed:
		out.Variant = "on"
	case d.kind == "gate":
		out.Variant = "off"
	case isRule && share > 0 && share < 100: // the SDK does not say on which side the unit is
	case d.Group != "" && (!isRule || share > 0):
		out.Variant = d.Group
	case isRule && share > 0:
		out.Variant = base
	default:
		out.Variant = "default"
	}
	return out
}

// rule takes the id of a rule apart: <rule>:<percentage>:<step>.
func rule(id string) (base string, share float64, ok bool) {
	parts := strings.Split(id, ":")
	if len(parts) != 3 {
		return id, 0, false
	}
	share, err := strconv.ParseFloat(parts[1], 64)
	return parts[0], share, err == nil
}
