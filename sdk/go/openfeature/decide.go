package openfeature

import (
	"encoding/json"
	"slices"
	"strconv"
	"strings"

	of "github.com/open-feature/go-sdk/openfeature"

	sluice "github.com/sluice-flags/sluice/sdk/go"
)

// A decided is what a flag is worth to a user.
type decided struct {
	sluice.Decision
	sluice.Inspection
	name      string
	parameter string          // that the key names
	value     json.RawMessage // nil where the code keeps its default
	on        bool            // what a gate answers
}

// precedence is the order in which kinds may have a name that they share.
var precedence = []sluice.Kind{sluice.KindGate, sluice.KindExperiment, sluice.KindConfig, sluice.KindLayer}

// decide finds what a key names and decides it, without logging it: see
// [Provider.expose].
func (p *Provider) decide(u *sluice.User, key string) (decided, bool) {
	kind, rest, exact := strings.Cut(key, ":")
	if exact && slices.Contains(precedence, sluice.Kind(kind)) {
		if d, ok := p.exactly(u, sluice.Kind(kind), rest, ""); ok {
			return d, true
		}
		for end := strings.LastIndexByte(rest, ':'); end > 0 && kind != "gate"; end = strings.LastIndexByte(rest[:end], ':') {
			if d, ok := p.exactly(u, sluice.Kind(kind), rest[:end], rest[end+1:]); ok {
				return d, true
			}
		}
	}
	var d decided
	for _, kind := range precedence {
		var ok bool
		if d, ok = p.exactly(u, kind, key, ""); ok {
			return d, true
		}
	}
	return d, false
}

// exactly decides an entity of a kind, or a parameter of it.
func (p *Provider) exactly(u *sluice.User, kind sluice.Kind, name, parameter string) (d decided, ok bool) {
	silent := p.client.Silent()
	d.name, d.parameter = name, parameter
	var object sluice.Object
	switch kind {
	case sluice.KindGate:
		g := silent.Gate(u, name)
		d.Decision, d.on, d.value = g.Decision, g.Value, json.RawMessage(strconv.FormatBool(g.Value))
	case sluice.KindLayer:
		l := silent.Layer(u, name)
		d.Decision, object = l.Decision, l.Value()
	default:
		c := silent.Config(u, name)
		d.Decision, object = c.Decision, c.Object
	}
	inspected, defined := p.client.Inspect(u, kind, name)
	overridden := d.Reason == sluice.ReasonOverride
	if !defined && !overridden {
		return d, false
	}
	d.Inspection = inspected
	d.Kind = kind
	if overridden { // by this process, for everybody
		d.Missing, d.DeferToCode = "", false
	}
	switch {
	case kind == sluice.KindGate:
	case parameter == "":
		d.value = json.RawMessage(object)
	default:
		var value json.RawMessage // apart: the object is everybody's
		if !object.Get(parameter, &value) {
			return d, false
		}
		d.value = value
	}
	if d.DeferToCode {
		d.value = nil
	}
	return d, true
}

// expose logs that a user was served a flag. Of a layer, parameters are what is
// logged.
func (p *Provider) expose(u *sluice.User, d *decided) {
	switch {
	case d.Kind == sluice.KindGate:
		p.client.Gate(u, d.name)
	case d.Kind != sluice.KindLayer:
		p.client.Config(u, d.name)
	case d.parameter != "":
		l := p.client.Layer(u, d.name)
		l.Get(d.parameter, new(json.RawMessage))
	}
}

// details say how the decision came to be, in the words of the protocol. The edge
// says the same over the network (services/edge/internal/ofrep): a test of both
// holds them together.
func (d *decided) details() of.ProviderResolutionDetail {
	metadata := of.FlagMetadata{
		"kind": string(d.Kind), "ruleID": d.RuleID, "groupName": d.Group, "idType": d.IDType, "version": d.Version,
		"name": d.name, "parameter": d.parameter, "experiment": d.Experiment,
	}
	if d.DeferToCode {
		metadata["deferred"] = true
	}
	out := of.ProviderResolutionDetail{FlagMetadata: metadata}
	out.Reason, out.Variant = d.outcome()
	if isOverride(d.RuleID) {
		metadata["override"] = true
	}
	for name, value := range metadata { // what there is nothing to say of is not said
		if value == "" || value == int64(0) {
			delete(metadata, name)
		}
	}
	return out
}

// outcome is the reason, and what the value is called.
func (d *decided) outcome() (of.Reason, string) {
	base, share, isRule := rule(d.RuleID)
	unnamed := "default" // where no rule or group of people's own decided
	switch {
	case d.Kind == sluice.KindGate && d.on:
		unnamed = "on"
	case d.Kind == sluice.KindGate:
		unnamed = "off"
	}
	switch {
	case d.Reason == sluice.ReasonUnsupported:
		return of.UnknownReason, ""
	case d.Reason == sluice.ReasonOverride:
		return of.TargetingMatchReason, unnamed
	}
	switch d.RuleID {
	case "disabled":
		return of.DisabledReason, unnamed
	case "launched":
		return of.StaticReason, unnamed
	case "", "default", "prestart", "layerAssignment", "targetingGate", "inlineTargetingRules":
		return of.DefaultReason, unnamed
	}
	variant := unnamed
	switch {
	case d.Kind == sluice.KindGate, !d.Passed:
	case d.Group != "":
		variant = d.Group
	case isRule:
		variant = base
	}
	experiment := d.Kind == sluice.KindExperiment || d.Experiment != ""
	switch {
	case isOverride(d.RuleID):
		return of.TargetingMatchReason, variant
	case isHoldout(d.RuleID), experiment && d.Running:
		return of.SplitReason, variant
	case experiment:
		return of.StaticReason, variant // it was decided
	case isRule && share > 0 && share < 100:
		return of.SplitReason, variant
	case d.Constant:
		return of.StaticReason, variant
	}
	return of.TargetingMatchReason, variant
}

// isOverride tells the rules that put units somewhere by name.
func isOverride(ruleID string) bool {
	return strings.HasSuffix(ruleID, ":override") || strings.HasSuffix(ruleID, ":id_override")
}

// isHoldout tells the rule of a holdout by its id, which is the holdout's own.
func isHoldout(ruleID string) bool { return strings.HasPrefix(ruleID, "hold_") }

// rule takes the id of a rule apart: <rule>:<percentage>:<step>.
func rule(id string) (base string, share float64, ok bool) {
	parts := strings.Split(id, ":")
	if len(parts) != 3 {
		return id, 0, false
	}
	share, err := strconv.ParseFloat(parts[1], 64)
	return parts[0], share, err == nil
}
