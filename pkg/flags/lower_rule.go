package flags

import (
	"encoding/json"
	"maps"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/sluice-flags/sluice/pkg/eval"
)

// WireID is what SDKs log for the rule. It names the rollout step, so that each
// has results of its own, while the salt stays the rule's.
func (r *Rule) WireID() string {
	return r.ID + ":" + strconv.FormatFloat(r.PassPercentage, 'f', 2, 64) + ":" + strconv.Itoa(max(r.Step, 1))
}

// SplitRuleID takes a logged rule id apart: the rule's own id, the percentage and
// the step. ok is false for ids of other forms, which stand for themselves.
func SplitRuleID(wire string) (rule string, percentage float64, step int, ok bool) {
	parts := strings.Split(wire, ":")
	if len(parts) != 3 {
		return wire, 0, 0, false
	}
	percentage, err := strconv.ParseFloat(parts[1], 64)
	if err != nil {
		return wire, 0, 0, false
	}
	step, err = strconv.Atoi(parts[2])
	if err != nil {
		return wire, 0, 0, false
	}
	return parts[0], percentage, step, true
}

// A writer appends rules to a spec and sees to what every rule needs.
type writer struct{ spec *eval.Spec }

func (w *writer) open() { w.spec.Enabled, w.spec.Rules = true, []eval.Rule{} }

func (w *writer) add(r eval.Rule) {
	if r.Name == "" {
		r.Name = r.ID
	}
	if r.IDType == "" {
		r.IDType = w.spec.IDType
	}
	if r.Salt == nil {
		r.Salt = new(r.ID)
	}
	w.spec.Rules = append(w.spec.Rules, r)
}

func (w *writer) public() []eval.Condition {
	return []eval.Condition{{Type: "public", IDType: w.spec.IDType}}
}

// everyone gives all units that come so far one value.
func (w *writer) everyone(id string, value json.RawMessage) {
	w.add(eval.Rule{ID: id, PassPercentage: 100, ReturnValue: value, Conditions: w.public()})
}

// decline leaves units that meet the conditions with the default. A gate says no
// by not passing, anything else by returning the default.
func (w *writer) decline(id string, conditions []eval.Condition) {
	r := eval.Rule{ID: id, Conditions: conditions}
	if w.spec.Type == typeGate {
		r.ReturnValue = yes
	} else {
		r.PassPercentage, r.ReturnValue = 100, w.spec.DefaultValue
	}
	w.add(r)
}

// override decides for single units of a gate.
func (w *writer) override(gate, unitType string, pass, fail []string, guard []eval.Condition) {
	for _, side := range []struct {
		ids     []string
		percent float64
	}{{pass, 100}, {fail, 0}} {
		if len(side.ids) == 0 {
			continue
		}
		w.add(eval.Rule{
			ID: gate + ":override", PassPercentage: side.percent, ReturnValue: yes,
			Conditions: append(slices.Clone(guard), units(unitType, side.ids)), IDType: unitType,
		})
	}
}

// units matches single units. Ids are exact: no case is folded.
func units(unitType string, ids []string) eval.Condition {
	return eval.Condition{Type: "unit_id", Operator: "any_case_sensitive", TargetValue: encode(ids), IDType: unitType}
}

// condition lowers one condition to those that mean it on the wire.
func (l *lowering) condition(c *Condition, unitType string) []eval.Condition {
	t := conditionTypes[c.Type]
	out := eval.Condition{Type: t.wire, Field: t.field, Operator: c.Operator, IDType: unitType}
	switch c.Type {
	case "public":
		out.Operator = ""
		return []eval.Condition{out}
	case "passes_gate", "fails_gate", "passes_segment", "fails_segment":
		out.Operator, out.TargetValue = "", encode(l.target(c))
		return []eval.Condition{out}
	case "custom_field":
		out.Field = c.Field
	case "unit_id":
		out.IDType = c.CustomID
	}

	switch t.operators[c.Operator] {
	case noTarget:
		out.Operator, out.TargetValue = map[string]string{"is_null": "eq", "non_null": "neq"}[c.Operator], null
	case scalarList, textList:
		out.TargetValue = encode(wireTexts(c.TargetValue))
	case environmentList:
		names := wireTexts(c.TargetValue)
		for i := range names {
			names[i] = l.environment(names[i])
		}
		out.TargetValue = encode(names)
	case networkList:
		out.Operator, out.TargetValue = "str_matches", encode(networkPattern(wireTexts(c.TargetValue)))
	case instant:
		ms, _ := parseInstant(c.TargetValue)
		out.TargetValue = encode(ms)
		if c.Operator == "before" && t.wire != "current_time" {
			// To one family of SDKs an absent date is before everything.
			present := out
			present.Operator, present.TargetValue = "neq", null
			return []eval.Condition{present, out}
		}
	default:
		out.TargetValue = c.TargetValue
	}
	return []eval.Condition{out}
}

var null = json.RawMessage("null")

// target is the wire name of the gate or segment that a condition asks.
func (l *lowering) target(c *Condition) string {
	var name string
	_ = json.Unmarshal(c.TargetValue, &name) // validated; what is none names nothing
	kind, prefix := KindGate, ""
	if c.Type == "passes_segment" || c.Type == "fails_segment" {
		kind, prefix = KindSegment, segmentPrefix
	}
	if e, ok := l.state.Find(kind, name); ok {
		name = e.Name
	}
	return prefix + name
}

// wireTexts is a list of values as the texts that SDKs compare.
func wireTexts(raw json.RawMessage) []string {
	var list []any
	_ = json.Unmarshal(raw, &list) // validated; what is no list matches nothing
	out := make([]string, 0, len(list))
	for _, v := range list {
		switch v := v.(type) {
		case string:
			out = append(out, v)
		case float64:
			out = append(out, strconv.FormatFloat(v, 'f', -1, 64))
		case bool:
			out = append(out, strconv.FormatBool(v))
		}
	}
	return out
}

// networkPattern is a regular expression for addresses within the ranges: no SDK
// knows ranges, all know expressions.
func networkPattern(ranges []string) string {
	var parts []string
	for _, r := range ranges {
		if p, err := parseNetwork(r); err == nil {
			parts = append(parts, networkPart(p))
		}
	}
	return "^(?:" + strings.Join(parts, "|") + ")$"
}

// networkPart spells a range out, octet by octet.
func networkPart(p netip.Prefix) string {
	const anyOctet = `\d{1,3}`
	address, bits := p.Addr().As4(), p.Bits()
	octets := make([]string, 4)
	for i := range octets {
		switch fixed := min(max(bits-8*i, 0), 8); fixed {
		case 8:
			octets[i] = strconv.Itoa(int(address[i]))
		case 0:
			octets[i] = anyOctet
		default:
			first := int(address[i])
			octets[i] = octetRange(first, first+1<<(8-fixed)-1)
		}
	}
	return strings.Join(octets, `\.`)
}

// octetRange matches the numbers from first to last: tens that are whole in one
// part each.
func octetRange(first, last int) string {
	var parts []string
	for n := first; n <= last; {
		tens := n / 10
		end := min(last, tens*10+9)
		for n%10 == 0 && end == tens*10+9 && end+10 <= last && (tens+1)%10 != 0 && tens > 0 {
			tens++
			end += 10
		}
		switch {
		case n/10 == end/10 && n == end:
			parts = append(parts, strconv.Itoa(n))
		case n/10 == end/10:
			parts = append(parts, head(n/10)+digits(n%10, end%10))
		default: // whole tens within one hundred
			parts = append(parts, head(n/100)+digits(n/10%10, end/10%10)+`\d`)
		}
		n = end + 1
	}
	return "(?:" + strings.Join(parts, "|") + ")"
}

func head(n int) string {
	if n == 0 {
		return ""
	}
	return strconv.Itoa(n)
}

func digits(from, to int) string {
	switch {
	case from == 0 && to == 9:
		return `\d`
	case from == to:
		return strconv.Itoa(from)
	}
	return "[" + strconv.Itoa(from) + "-" + strconv.Itoa(to) + "]"
}

// encode is the JSON of plain data.
func encode(v any) json.RawMessage {
	raw, err := json.Marshal(v)
	if err != nil {
		panic(err) // texts, numbers and lists of them always have JSON
	}
	return raw
}

func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }
