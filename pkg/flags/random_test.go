package flags_test

import (
	"fmt"
	"strings"

	"pgregory.net/rapid"

	"github.com/sluice-flags/sluice/pkg/flags"
)

// A mutator changes a project at random, through the door that everyone uses:
// what validation refuses does not happen.
type mutator struct {
	*project
	t       *rapid.T
	applied int
}

var entityKinds = []flags.Kind{
	flags.KindGate, flags.KindConfig, flags.KindSegment, flags.KindHoldout, flags.KindLayer, flags.KindExperiment, flags.KindMetric,
}

// step makes one change and returns what changed, nothing if it was refused.
func (m *mutator) step() []flags.Ref {
	kind := rapid.SampledFrom(entityKinds).Draw(m.t, "kind")
	id := fmt.Sprint(kind.IDPrefix(), rapid.IntRange(0, 4).Draw(m.t, "id"))
	ref := flags.Ref{Kind: kind, ID: id}
	if rapid.IntRange(0, 9).Draw(m.t, "delete") == 0 {
		if len(flags.ValidateDelete(m.state, ref)) > 0 {
			return nil
		}
		m.remove(ref)
		m.applied++
		return []flags.Ref{ref}
	}
	name := fmt.Sprint(kind, "-", rapid.SampledFrom([]string{"a", "b", "c", "d", "e", "f", "G"}).Draw(m.t, "name"))
	d, problems := m.try(kind, fmt.Sprintf(`{"id":%q,"name":%q,%s}`, id, name, m.body(kind)))
	if len(problems) > 0 {
		return nil
	}
	m.write(d)
	m.applied++
	return []flags.Ref{ref}
}

func (m *mutator) pick(label string, of ...string) string {
	return rapid.SampledFrom(of).Draw(m.t, label)
}

// other names some entity of a kind: by name, or by id.
func (m *mutator) other(kind flags.Kind) string {
	var all []string
	for e := range m.state.All(kind) {
		all = append(all, e.Name, e.Ref.ID)
	}
	if len(all) == 0 {
		return "nobody"
	}
	return rapid.SampledFrom(all).Draw(m.t, "other")
}

func (m *mutator) body(kind flags.Kind) string {
	status := `"status":` + m.pick("status", `"inProgress"`, `"inProgress"`, `"inProgress"`, `"archived"`)
	flagStatus := `"status":` + m.pick("status", `"inProgress"`, `"inProgress"`, `"inProgress"`, `"launched"`, `"disabled"`, `"archived"`)
	apps := `"targetApps":` + m.pick("apps", `[]`, `["web"]`, `["ios"]`)
	holdouts := `"holdouts":[]`
	if m.state.Count(flags.KindHoldout) > 0 && rapid.IntRange(0, 3).Draw(m.t, "held") == 0 {
		holdouts = fmt.Sprintf(`"holdouts":[%q]`, m.other(flags.KindHoldout))
	}
	off := `"offIn":` + m.pick("off", `[]`, `[]`, `["staging"]`, `["production","env_development"]`)
	switch kind {
	case flags.KindGate:
		return strings.Join([]string{flagStatus, apps, holdouts, off, `"rules":[` + m.rules(false) + `]`}, ",")
	case flags.KindConfig:
		return strings.Join([]string{flagStatus, apps, holdouts, off, `"defaultValue":{"v":0}`, `"rules":[` + m.rules(true) + `]`}, ",")
	case flags.KindSegment:
		return status + `,"rules":[` + m.rules(false) + `]`
	case flags.KindHoldout:
		return status + `,"share":` + m.pick("share", "0", "10", "50")
	case flags.KindLayer:
		return status + "," + apps + "," + holdouts + `,"parameters":{"p":` + m.pick("p", "0", "1") + `,"q":"x"}`
	case flags.KindExperiment:
		layer := ""
		if rapid.Bool().Draw(m.t, "layered") {
			layer = m.other(flags.KindLayer)
		}
		gate := ""
		if rapid.IntRange(0, 3).Draw(m.t, "gated") == 0 {
			gate = m.other(flags.KindGate)
		}
		decision := "null"
		life := m.pick("life", "draft", "running", "running", "decided", "abandoned", "archived")
		if life == "decided" {
			decision = `{"group":"g1"}`
		}
		return fmt.Sprintf(`"status":%q,%s,%s,"layer":%q,"targetingGate":%q,"decision":%s,"allocation":%s,"salt":%q,
			"targetingRules":[%s],"overrides":{"userID":{"g1":[%s]}},"groups":[
			{"id":"g0","name":"C","share":50,"parameters":{"p":1}},{"id":"g1","name":"T","share":50,"parameters":{"p":2}}]`,
			life, apps, holdouts, layer, gate, decision, m.pick("allocation", "5", "20", "40"),
			m.pick("salt", "", "", "again"), m.rules(false), m.pick("override", "", `"vip"`))
	case flags.KindMetric:
		return status + `,"type":"event_count","event":"buy"`
	}
	panic("no body for " + string(kind))
}

func (m *mutator) rules(values bool) string {
	var out []string
	for i := range rapid.IntRange(0, 2).Draw(m.t, "rules") {
		value := ""
		if values {
			value = `"value":{"v":1},`
		}
		out = append(out, fmt.Sprintf(`{"id":"r%d","environments":%s,"passPercentage":%s,%s"conditions":[%s]}`, i,
			m.pick("environments", "null", `["production"]`, `["env_staging","development"]`),
			m.pick("percent", "0", "10", "33.33", "100"), value, m.condition()))
	}
	return strings.Join(out, ",")
}

func (m *mutator) condition() string {
	switch m.pick("condition", "public", "email", "gate", "segment", "tier") {
	case "email":
		return `{"type":"email","operator":"str_contains_any","targetValue":["a"]}`
	case "gate":
		return fmt.Sprintf(`{"type":"passes_gate","targetValue":%q}`, m.other(flags.KindGate))
	case "segment":
		return fmt.Sprintf(`{"type":"fails_segment","targetValue":%q}`, m.other(flags.KindSegment))
	case "tier":
		return `{"type":"environment_tier","operator":"none","targetValue":["production"]}`
	}
	return `{"type":"public"}`
}

// scope draws what a key may see.
func scope(t *rapid.T) flags.Scope {
	return flags.Scope{
		Kind:         rapid.SampledFrom([]flags.KeyKind{flags.KeyServer, flags.KeyClient}).Draw(t, "key"),
		Environments: rapid.SampledFrom([][]string{nil, {"production"}, {"staging", "development"}}).Draw(t, "environments"),
		TargetApps:   rapid.SampledFrom([][]string{nil, {"web"}, {"ios", "tv"}}).Draw(t, "apps"),
	}
}
