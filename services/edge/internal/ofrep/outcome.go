package ofrep

import (
	"bytes"
	"encoding/json"

	protocol "github.com/sluice-flags/sluice/internal/ofrep"
	"github.com/sluice-flags/sluice/pkg/eval"
	"github.com/sluice-flags/sluice/pkg/flags"
)

// evaluate decides a flag, or one of its parameters, and says it in the words of
// the protocol. Found is false if the rules have no such flag, or the answer no
// such parameter. The result is what an exposure records.
func (v *visit) evaluate(f *flag, parameter, key string) (e protocol.Evaluation, res eval.Result, found bool) {
	if res = v.decide(f); !res.Found {
		return e, res, false
	}
	value := res.Value
	switch {
	case f.kind == flags.KindGate:
		value = json.RawMessage("false")
		if res.Pass {
			value = json.RawMessage("true")
		}
	case parameter != "":
		var members map[string]json.RawMessage
		if err := json.Unmarshal(res.Value, &members); err != nil || members[parameter] == nil {
			return e, res, false
		}
		value = members[parameter]
	}
	e = protocol.Evaluation{Key: key}
	if v.user.UserID == "" {
		if unit, missing := v.Version.Rules.MissingUnit(&v.user, f.ref, excepts); missing {
			e.ErrorCode = protocol.TargetingKeyMissing
			e.ErrorDetails = "the answer depends on the " + unit + " of whom you ask for: send one in the context"
			if unit == "userID" {
				e.ErrorDetails = "the answer depends on whom you ask for: send a targetingKey in the context"
			}
			return e, res, true
		}
	}
	e.Metadata = &protocol.Metadata{
		Kind: string(f.kind), RuleID: res.RuleID, GroupName: res.GroupName, IDType: res.IDType, Version: f.version,
		Deferred: f.deferred, Experiment: res.AllocatedExperiment, Parameter: parameter,
	}
	if key != f.name {
		e.Metadata.Name = f.name // both may hold colons: the key alone does not tell
	}
	e.Reason, e.Variant = v.catalog.outcome(v.Version.Rules, f, &res, e.Metadata)
	if !f.deferred && !bytes.Equal(value, []byte("null")) { // a null is no value to the protocol
		e.Value = value
	}
	return e, res, true
}

func (v *visit) decide(f *flag) eval.Result {
	switch f.ref.Section {
	case eval.Gates:
		return v.Version.Rules.Gate(&v.user, f.name)
	case eval.Layers:
		return v.Version.Rules.Layer(&v.user, f.name)
	}
	return v.Version.Rules.Config(&v.user, f.name)
}

func excepts(ruleID string) bool { return flags.KindOfRule(ruleID) == flags.RuleOverride }

// outcome says how a result came to be, and what it is called; it adds to the
// metadata what only some results have.
func (c *catalog) outcome(rules *eval.Ruleset, f *flag, res *eval.Result, m *protocol.Metadata) (protocol.Reason, string) {
	if res.Reason == eval.ReasonUnsupported {
		return protocol.Unknown, ""
	}
	variant := variantOf(f, res)
	switch flags.KindOfRule(res.RuleID) {
	case flags.RuleDisabled:
		return protocol.Disabled, variant
	case flags.RuleLaunched:
		return protocol.Static, variant
	case flags.RuleDefault, flags.RuleOutside:
		return protocol.Default, variant
	case flags.RuleOverride:
		m.Override = true
		return protocol.TargetingMatch, variant
	}
	if e, ok := c.state.Get(flags.Ref{Kind: flags.KindHoldout, ID: res.RuleID}); ok {
		m.Holdout = e.Name
		return protocol.Split, variant
	}
	if x := c.experiment(f, res); x != nil {
		if x.Status == flags.ExperimentDecided {
			return protocol.Static, variant
		}
		return protocol.Split, variant
	}
	_, percentage, _, ok := flags.SplitRuleID(res.RuleID)
	switch {
	case ok && percentage > 0 && percentage < 100:
		return protocol.Split, variant
	case rules.Constant(f.ref):
		return protocol.Static, variant
	}
	return protocol.TargetingMatch, variant
}

// experiment returns the experiment whose group a result is.
func (c *catalog) experiment(f *flag, res *eval.Result) *flags.Experiment {
	name := f.name
	if f.kind == flags.KindLayer {
		name = res.AllocatedExperiment
	}
	if f.kind != flags.KindExperiment && f.kind != flags.KindLayer {
		return nil
	}
	e, ok := c.state.ByName(flags.KindExperiment, name)
	if !ok {
		return nil
	}
	return e.Doc.(*flags.Experiment)
}

// variantOf names the value: a gate's on and off, the group of an experiment,
// the rule of a config.
func variantOf(f *flag, res *eval.Result) string {
	if f.kind == flags.KindGate {
		if res.Pass {
			return "on"
		}
		return "off"
	}
	switch flags.KindOfRule(res.RuleID) {
	case flags.RuleOfDocument, flags.RuleOverride:
		if res.GroupName != "" && res.Pass {
			return res.GroupName
		}
		if base, _, _, ok := flags.SplitRuleID(res.RuleID); ok && res.Pass {
			return base // of a rule without a name
		}
	}
	return "default"
}
