package sluice

import (
	"strings"

	"github.com/sluice-flags/sluice/pkg/eval"
)

// A Kind is a kind of definition that can be decided.
type Kind string

// The kinds of definition.
const (
	KindGate       Kind = "gate"
	KindConfig     Kind = "config"
	KindExperiment Kind = "experiment"
	KindLayer      Kind = "layer"
)

// An Inspection is what adapters of other protocols tell of a definition, beside
// what it decides.
type Inspection struct {
	Kind        Kind
	Version     int64  // of the definition
	Running     bool   // experiments, and layers for the experiment that decides: it has started and not ended
	Constant    bool   // everybody gets the same answer
	Passed      bool   // the rule that decided took the user into its percentage
	DeferToCode bool   // OpenFeature clients keep the default in their code
	Experiment  string // layers: the experiment that decides for the user
	Missing     string // type of the id on which the answer hung and that the user has not; "" if none
}

// sections are where the kinds stand.
var sections = map[Kind]eval.Section{KindGate: eval.Gates, KindConfig: eval.Configs, KindExperiment: eval.Configs, KindLayer: eval.Layers}

// Inspect looks at a definition of a kind, as it is for a user; false if there is
// none. Nothing is logged. What [Client.OverrideGate] and its like say is not a
// definition.
func (c *Client) Inspect(u *User, kind Kind, name string) (Inspection, bool) {
	rules := c.rules.Load()
	section, known := sections[kind]
	if rules == nil || !known {
		return Inspection{}, false
	}
	ref := eval.Ref{Section: section, Name: name}
	d, ok := rules.Describe(ref)
	if !ok || kind != kindOf(d.Entity) {
		return Inspection{}, false
	}
	out := Inspection{Kind: kind, Version: d.Version, Running: d.Active, Constant: d.Constant, DeferToCode: d.DeferToCode}
	switch kind {
	case KindGate:
		out.Passed = rules.Gate(u, name).Pass
	case KindLayer:
		res := rules.Layer(u, name)
		out.Passed, out.Experiment = res.Pass, res.AllocatedExperiment
		x, _ := rules.Describe(eval.Ref{Section: eval.Configs, Name: out.Experiment})
		out.Running = x.Active
	default:
		out.Passed = rules.Config(u, name).Pass
	}
	out.Missing, _ = rules.MissingUnit(u, ref, isOverride)
	return out, true
}

// kindOf is the kind that a spec's entity stands for; "" for segments. Gates that
// are for servers alone are written as holdouts are.
func kindOf(entity string) Kind {
	switch entity {
	case eval.EntityGate, eval.EntityHoldout:
		return KindGate
	case eval.EntityConfig:
		return KindConfig
	case eval.EntityExperiment:
		return KindExperiment
	case eval.EntityLayer:
		return KindLayer
	}
	return ""
}

// isOverride reports whether a rule puts units somewhere by name: who has no name
// is not one of them.
func isOverride(ruleID string) bool {
	return strings.HasSuffix(ruleID, ":override") || strings.HasSuffix(ruleID, ":id_override")
}
