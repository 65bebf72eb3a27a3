package flags_test

import (
	"testing"

	"github.com/sluice-flags/sluice/pkg/eval"
	"github.com/sluice-flags/sluice/pkg/flags"
)

func TestWireRefNamesWhatLowerMakes(t *testing.T) {
	p := newProject(t)
	p.put(flags.KindSegment, `{"name":"vips","rules":[]}`)
	p.put(flags.KindHoldout, `{"name":"quiet","share":5}`)
	p.put(flags.KindGate, `{"name":"checkout","rules":[]}`)
	p.put(flags.KindConfig, `{"name":"banner","defaultValue":{},"rules":[]}`)
	p.put(flags.KindLayer, `{"name":"home","parameters":{}}`)
	specs := flags.Lower(p.state, flags.Scope{Kind: flags.KeyServer})
	made := map[eval.Ref]bool{}
	for _, section := range [][]eval.Spec{specs.FeatureGates, specs.DynamicConfigs, specs.LayerConfigs} {
		for i := range section {
			made[section[i].Ref()] = true
		}
	}
	for kind, name := range map[flags.Kind]string{
		flags.KindSegment: "vips", flags.KindHoldout: "quiet", flags.KindGate: "checkout", flags.KindConfig: "banner", flags.KindLayer: "home",
	} {
		if ref, ok := flags.WireRef(kind, name); !ok || !made[ref] {
			t.Errorf("WireRef(%s, %q) = %v, %v; want one of %v", kind, name, ref, ok, made)
		}
	}
	if ref, ok := flags.WireRef(flags.KindMetric, "orders"); ok {
		t.Errorf("WireRef(a metric) = %v; want none", ref)
	}
}

func TestKindOfRuleReadsIDsOnTheWire(t *testing.T) {
	for id, want := range map[string]flags.RuleKind{
		"": flags.RuleDefault, "default": flags.RuleDefault, "disabled": flags.RuleDisabled, "launched": flags.RuleLaunched,
		"prestart": flags.RuleOutside, "layerAssignment": flags.RuleOutside, "targetingGate": flags.RuleOutside, "inlineTargetingRules": flags.RuleOutside,
		"gate_1:override": flags.RuleOverride, "grp_1:userID:id_override": flags.RuleOverride,
		"rule_1:50.00:1": flags.RuleOfDocument, "grp_1": flags.RuleOfDocument, "hold_1": flags.RuleOfDocument,
	} {
		if got := flags.KindOfRule(id); got != want {
			t.Errorf("KindOfRule(%q) = %v, want %v", id, got, want)
		}
	}
}
