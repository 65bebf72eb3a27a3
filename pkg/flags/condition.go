package flags

import (
	"encoding/json"
	"errors"
	"maps"
	"net/netip"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// A target is the shape of value that an operator compares with.
type target uint8

const (
	noTarget        target = iota
	scalarList             // texts, numbers, true or false: compared as text
	textList               // texts and numbers
	pattern                // a regular expression
	number                 // one number
	version                // one version
	instant                // one moment
	networkList            // addresses and ranges of addresses
	entityName             // a gate or segment
	environmentList        // names of environments
)

// The operators by family, each with the target that it wants.
var (
	oneOf    = operators{"any": textList, "none": textList}
	oneOfAll = operators{"any": scalarList, "none": scalarList}
	text     = operators{
		"str_contains_any": textList, "str_contains_none": textList,
		"str_starts_with_any": textList, "str_ends_with_any": textList,
		"str_matches": pattern,
	}
	presence = operators{"is_null": noTarget, "non_null": noTarget}
	numeric  = operators{"gt": number, "gte": number, "lt": number, "lte": number}
	versions = operators{"version_gt": version, "version_gte": version, "version_lt": version, "version_lte": version}
	dates    = operators{"before": instant, "after": instant, "on": instant}
	arrays   = operators{"array_contains_any": textList, "array_contains_none": textList, "array_contains_all": textList}
	network  = operators{"ip_in_range": networkList}
)

type operators map[string]target

// A conditionType is a row of the condition reference: what the type compares on
// the wire, and the operators that it knows. A type with no operators stands for
// itself.
type conditionType struct {
	wire      string // the type that SDKs know
	field     string // and its field
	operators operators
	target    target // of a type without operators
}

// conditionTypes is the condition reference. Names are the vendor's, so that
// rules move over as they are; what is not in the table is refused, because some
// SDK would not evaluate it, or not as the others do.
var conditionTypes = map[string]conditionType{
	"public":           {wire: "public"},
	"user_id":          {wire: "user_field", field: "userID", operators: either(oneOf, text, presence)},
	"email":            {wire: "user_field", field: "email", operators: either(oneOf, text, presence)},
	"country":          {wire: "ip_based", field: "country", operators: either(oneOf, presence)},
	"ip_address":       {wire: "user_field", field: "ip", operators: either(oneOf, text, presence, network)},
	"locale":           {wire: "user_field", field: "locale", operators: either(oneOf, text, presence)},
	"app_version":      {wire: "user_field", field: "appVersion", operators: either(oneOf, text, presence, versions)},
	"os_name":          {wire: "ua_based", field: "os_name", operators: either(oneOf, text, presence)},
	"os_version":       {wire: "ua_based", field: "os_version", operators: either(oneOf, text, presence, versions)},
	"browser_name":     {wire: "ua_based", field: "browser_name", operators: either(oneOf, text, presence)},
	"browser_version":  {wire: "ua_based", field: "browser_version", operators: either(oneOf, text, presence, versions)},
	"device_model":     {wire: "user_field", field: "deviceModel", operators: either(oneOf, text, presence)},
	"url":              {wire: "user_field", field: "url", operators: either(oneOf, text, presence)},
	"custom_field":     {wire: "user_field", operators: either(oneOfAll, text, presence, numeric, versions, dates, arrays)},
	"unit_id":          {wire: "unit_id", operators: either(oneOf, text, presence)},
	"environment_tier": {wire: "environment_field", field: "tier", operators: operators{"any": environmentList, "none": environmentList}},
	"target_app":       {wire: "target_app", operators: oneOf},
	"time":             {wire: "current_time", operators: dates},
	"passes_gate":      {wire: "pass_gate", target: entityName},
	"fails_gate":       {wire: "fail_gate", target: entityName},
	"passes_segment":   {wire: "pass_gate", target: entityName},
	"fails_segment":    {wire: "fail_gate", target: entityName},
}

func either(families ...operators) operators {
	out := operators{}
	for _, f := range families {
		maps.Copy(out, f)
	}
	return out
}

// ConditionTypes lists the types of condition with the operators of each, for
// those who show them to people. Types without an operator have none.
func ConditionTypes() map[string][]string {
	out := make(map[string][]string, len(conditionTypes))
	for name, t := range conditionTypes {
		out[name] = slices.Sorted(maps.Keys(t.operators))
	}
	return out
}

// references yields what the condition mentions.
func (c *Condition) references(pointer string, yield func(mention)) {
	m := mention{pointer: at(pointer, "targetValue"), decides: true}
	switch c.Type {
	case "passes_gate", "fails_gate":
		m.kind = KindGate
	case "passes_segment", "fails_segment":
		m.kind = KindSegment
	case "environment_tier":
		var names []string
		if json.Unmarshal(c.TargetValue, &names) == nil {
			for i, name := range names {
				yield(mention{pointer: at(pointer, "targetValue", i), kind: KindEnvironment, name: name})
			}
		}
		return
	default:
		return
	}
	if json.Unmarshal(c.TargetValue, &m.name) == nil && m.name != "" {
		yield(m)
	}
}

// validate reports what is wrong with the condition on its own.
func (c *Condition) validate(pointer string, p *Problems) {
	t, ok := conditionTypes[c.Type]
	if !ok {
		p.add(at(pointer, "type"), CodeUnknown, "there is no condition type %q: it is one of %s",
			c.Type, strings.Join(slices.Sorted(maps.Keys(conditionTypes)), ", "))
		return
	}
	wants(p, at(pointer, "field"), "field", c.Field, c.Type == "custom_field")
	wants(p, at(pointer, "customID"), "customID", c.CustomID, c.Type == "unit_id")
	if c.CustomID != "" && !unitTypePattern.MatchString(c.CustomID) {
		p.add(at(pointer, "customID"), CodeInvalid, "%q is no unit type", c.CustomID)
	}

	want := t.target
	if len(t.operators) == 0 {
		if c.Operator != "" && c.Operator != "any" {
			p.add(at(pointer, "operator"), CodeUnknown, "%s takes no operator", c.Type)
		}
	} else if want, ok = t.operators[c.Operator]; !ok {
		code := CodeUnknown
		if c.Operator == "" {
			code = CodeRequired
		}
		p.add(at(pointer, "operator"), code, "%s does not know the operator %q: it is one of %s",
			c.Type, c.Operator, strings.Join(slices.Sorted(maps.Keys(t.operators)), ", "))
		return
	}
	checkTarget(p, at(pointer, "targetValue"), want, c.TargetValue)
}

// wants reports a member that is missing, too long, or has no meaning here.
func wants(p *Problems, pointer, name, value string, wanted bool) {
	switch {
	case wanted && value == "":
		p.add(pointer, CodeRequired, "this type of condition needs a %s", name)
	case !wanted && value != "":
		p.add(pointer, CodeUnknown, "this type of condition has no %s", name)
	case len(value) > 100:
		p.add(pointer, CodeTooLarge, "the %s is longer than 100 bytes", name)
	}
}

func checkTarget(p *Problems, pointer string, want target, raw json.RawMessage) {
	if want == noTarget {
		if raw != nil {
			p.add(pointer, CodeUnknown, "this condition takes no targetValue")
		}
		return
	}
	if raw == nil {
		p.add(pointer, CodeRequired, "a targetValue is required")
		return
	}
	switch want {
	case scalarList, textList, networkList, environmentList:
		checkList(p, pointer, want, raw)
	case pattern:
		var s string
		if json.Unmarshal(raw, &s) != nil || s == "" {
			p.add(pointer, CodeType, "want a regular expression as a string")
		} else if len(s) > maxPattern {
			p.add(pointer, CodeTooLarge, "the regular expression has %d bytes; at most %d", len(s), maxPattern)
		} else if problem := patternProblem(s); problem != "" {
			p.add(pointer, CodeInvalid, "%s", problem)
		}
	case number:
		var f float64
		if json.Unmarshal(raw, &f) != nil {
			p.add(pointer, CodeType, "want a number")
		}
	case version:
		var s string
		if json.Unmarshal(raw, &s) != nil {
			p.add(pointer, CodeType, `want a version as a string, such as "1.2.3"`)
		} else if !versionPattern.MatchString(s) {
			p.add(pointer, CodeInvalid, `%q is no version: want numbers with dots, such as "1.2.3"`, s)
		}
	case instant:
		if _, problem := parseInstant(raw); problem != "" {
			p.add(pointer, CodeInvalid, "%s", problem)
		}
	case entityName:
		var s string
		if json.Unmarshal(raw, &s) != nil || s == "" {
			p.add(pointer, CodeType, "want the name of a gate or segment as a string")
		}
	}
}

func checkList(p *Problems, pointer string, want target, raw json.RawMessage) {
	var list []any
	if json.Unmarshal(raw, &list) != nil || list == nil {
		p.add(pointer, CodeType, "want a list")
		return
	}
	switch {
	case len(list) == 0:
		p.add(pointer, CodeRequired, "the list is empty")
	case len(list) > maxValues:
		p.add(pointer, CodeTooLarge, "the list has %d values; at most %d", len(list), maxValues)
		return
	}
	if want == networkList && len(networkPattern(wireTexts(raw))) > maxNetworks {
		p.add(pointer, CodeTooLarge, "too many ranges for one condition: use several rules")
	}
	for i, v := range list {
		pointer := at(pointer, i)
		switch v := v.(type) {
		case string:
			switch {
			case v == "":
				p.add(pointer, CodeInvalid, `"" is no value to compare with: use is_null`)
			case len(v) > maxValue:
				p.add(pointer, CodeTooLarge, "the value has %d bytes; at most %d", len(v), maxValue)
			case want == networkList:
				if _, err := parseNetwork(v); err != nil {
					p.add(pointer, CodeInvalid, "%q is no IPv4 address or range such as 10.1.0.0/16", v)
				}
			}
		case float64:
			if want != scalarList && want != textList {
				p.add(pointer, CodeType, "want a string, got a number")
			}
		case bool:
			if want != scalarList {
				p.add(pointer, CodeType, "want a string, got true or false")
			}
		default:
			p.add(pointer, CodeType, "want a string")
		}
	}
}

var (
	versionPattern  = regexp.MustCompile(`^\d{1,9}(\.\d{1,9}){0,7}(-[0-9A-Za-z.+-]{1,64})?$`)
	unitTypePattern = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9_.-]{0,63}$`)
)

// Instants that can be meant: from 1973, which tells milliseconds from seconds,
// to the last year with four digits.
const (
	firstInstant = 1e11
	lastInstant  = 253402300799999
)

// parseInstant reads a moment: milliseconds, or a date with or without a time.
func parseInstant(raw json.RawMessage) (ms int64, problem string) {
	const want = "want milliseconds since 1970, or a date such as 2027-02-01T00:00:00Z"
	if json.Unmarshal(raw, &ms) == nil {
		if ms < firstInstant || ms > lastInstant {
			return 0, "the time " + string(raw) + " is out of range: " + want
		}
		return ms, ""
	}
	var s string
	if json.Unmarshal(raw, &s) != nil {
		return 0, want
	}
	for _, layout := range []string{time.RFC3339, time.DateOnly} {
		if t, err := time.Parse(layout, s); err == nil {
			if ms = t.UnixMilli(); ms < firstInstant || ms > lastInstant {
				return 0, "the time " + s + " is out of range"
			}
			return ms, ""
		}
	}
	return 0, strconv.Quote(s) + " is no time: " + want
}

// parseNetwork reads an IPv4 address or range. There is no operator for ranges on
// the wire; they become regular expressions, which only the one way to write an
// IPv4 address allows.
func parseNetwork(s string) (netip.Prefix, error) {
	if a, err := netip.ParseAddr(s); err == nil && a.Is4() {
		return netip.PrefixFrom(a, 32), nil
	}
	p, err := netip.ParsePrefix(s)
	if err != nil {
		return p, err
	}
	if !p.Addr().Is4() {
		return p, errors.New("not IPv4")
	}
	return p.Masked(), nil
}
