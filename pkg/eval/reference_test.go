package eval_test

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"math/big"
	"net/netip"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/sluice-flags/sluice/pkg/eval"
)

// reference is a slow and obvious evaluator, written from the protocol for
// comparison only: it compiles nothing, remembers nothing and reads specs as
// they are.
type reference struct {
	specs eval.Specs
	lists map[string][]string // hashed ids
	now   time.Time
}

type refResult struct {
	Value       any // configs and layers
	RuleID      string
	Group       string
	Pass        bool
	Unsupported bool
	Exposures   []eval.SecondaryExposure
	Undelegated []eval.SecondaryExposure
	Delegate    string
}

func find(specs []eval.Spec, name string) *eval.Spec {
	for i := range specs {
		if specs[i].Name == name {
			return &specs[i]
		}
	}
	return nil
}

func (r *reference) evaluate(specs []eval.Spec, name string, u *eval.User) refResult {
	s := find(specs, name)
	if s == nil {
		return refResult{Value: map[string]any{}}
	}
	off := decode(s.DefaultValue)
	if !s.Enabled {
		return refResult{Value: off, RuleID: "disabled"}
	}
	var exposures []eval.SecondaryExposure
	for _, rule := range s.Rules {
		matched := true
		for _, c := range rule.Conditions {
			holds, ok, more := r.condition(c, u)
			if !ok {
				return refResult{Value: map[string]any{}, Unsupported: true}
			}
			matched = matched && holds
			exposures = append(exposures, more...)
		}
		if !matched {
			continue
		}
		if find(r.specs.DynamicConfigs, rule.ConfigDelegate) != nil && rule.ConfigDelegate != "" {
			res := r.evaluate(r.specs.DynamicConfigs, rule.ConfigDelegate, u)
			res.Undelegated = dedupe(exposures)
			res.Exposures = dedupe(append(slices.Clone(exposures), res.Exposures...))
			res.Delegate = rule.ConfigDelegate
			return res
		}
		salt := rule.ID
		if rule.Salt != nil {
			salt = *rule.Salt
		}
		hash := new(big.Int).SetBytes(sum(s.Salt + "." + salt + "." + unitID(u, rule.IDType))[:8])
		bucket := float64(hash.Mod(hash, big.NewInt(10_000)).Int64())
		res := refResult{Value: off, RuleID: rule.ID, Group: rule.GroupName, Pass: bucket < rule.PassPercentage*100}
		if res.Pass {
			res.Value = decode(rule.ReturnValue)
		}
		res.Exposures, res.Undelegated = dedupe(exposures), dedupe(exposures)
		return res
	}
	return refResult{Value: off, RuleID: "default", Exposures: dedupe(exposures), Undelegated: dedupe(exposures)}
}

func dedupe(in []eval.SecondaryExposure) (out []eval.SecondaryExposure) {
	for _, x := range in {
		if !slices.Contains(out, x) {
			out = append(out, x)
		}
	}
	return out
}

func sum(s string) []byte { h := sha256.Sum256([]byte(s)); return h[:] }

func decode(raw json.RawMessage) any {
	var v any
	_ = json.Unmarshal(raw, &v)
	return v
}

func unitID(u *eval.User, idType string) string {
	if idType == "" || strings.EqualFold(idType, "userid") {
		return u.UserID
	}
	if id, ok := u.CustomIDs[idType]; ok {
		return id
	}
	return u.CustomIDs[strings.ToLower(idType)]
}

func (r *reference) condition(c eval.Condition, u *eval.User) (holds, ok bool, exposures []eval.SecondaryExposure) {
	target := decode(c.TargetValue)
	switch c.Type {
	case "public":
		return true, true, nil
	case "pass_gate", "fail_gate":
		name := target.(string)
		res := r.evaluate(r.specs.FeatureGates, name, u)
		if res.Unsupported {
			return false, false, nil
		}
		exposures = res.Exposures
		if !strings.HasPrefix(name, "segment:") {
			exposures = append(slices.Clone(exposures), eval.SecondaryExposure{Gate: name, GateValue: strconv.FormatBool(res.Pass), RuleID: res.RuleID})
		}
		return res.Pass == (c.Type == "pass_gate"), true, exposures
	case "user_field", "ip_based":
		holds, ok = r.operator(c.Operator, r.field(u, c.Field), target)
	case "environment_field":
		var v any
		if tier, given := u.StatsigEnvironment[strings.ToLower(c.Field)]; given {
			v = tier
		}
		holds, ok = r.operator(c.Operator, v, target)
	case "unit_id":
		holds, ok = r.operator(c.Operator, orNil(unitID(u, c.IDType)), target)
	case "user_bucket":
		salt, _ := c.AdditionalValues["salt"].(string)
		hash := new(big.Int).SetBytes(sum(salt + "." + unitID(u, c.IDType))[:8])
		holds, ok = r.operator(c.Operator, float64(hash.Mod(hash, big.NewInt(1000)).Int64()), target)
	case "current_time":
		holds, ok = r.operator(c.Operator, float64(r.now.UnixMilli()), target)
	case "target_app":
		holds, ok = r.operator(c.Operator, orNil(r.specs.AppID), target)
	default:
		return false, false, nil
	}
	return holds, ok, nil
}

func orNil(s string) any {
	if s == "" {
		return nil
	}
	return s
}

func (r *reference) field(u *eval.User, field string) any {
	top := map[string]string{
		"userid": u.UserID, "email": u.Email, "ip": u.IP, "useragent": u.UserAgent,
		"country": u.Country, "locale": u.Locale, "appversion": u.AppVersion,
	}
	if s := top[strings.ToLower(field)]; s != "" {
		return s
	}
	for _, m := range []map[string]any{u.Custom, u.PrivateAttributes} {
		for _, key := range []string{field, strings.ToLower(field)} {
			if v, ok := m[key]; ok {
				return v
			}
		}
	}
	return nil
}

// refElement is the text of an element; what is no scalar has one of its own.
func refElement(v any) string {
	switch v.(type) {
	case nil, []any, map[string]any:
		text, _ := json.Marshal(v)
		return "not a scalar: " + string(text)
	}
	return refText(v)
}

func refText(v any) string {
	switch v := v.(type) {
	case string:
		return v
	case bool:
		return strconv.FormatBool(v)
	case float64:
		return strconv.FormatFloat(v, 'f', -1, 64)
	case []any:
		parts := make([]string, len(v))
		for i := range v {
			parts[i] = refText(v[i])
			if f, ok := v[i].(float64); ok {
				b, _ := json.Marshal(f) // with an exponent, if large or small
				parts[i] = string(b)
			}
		}
		return strings.Join(parts, ",")
	}
	return ""
}

var refNumber = regexp.MustCompile(`^[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?$`)

func refFloat(v any) (float64, bool) {
	switch v := v.(type) {
	case float64:
		return v, true
	case string:
		if refNumber.MatchString(v) || strings.TrimLeft(v, "+-") == "Infinity" {
			f, _ := strconv.ParseFloat(v, 64)
			return f, true
		}
	}
	return 0, false
}

func refVersion(v any) ([]*big.Int, bool) {
	s, ok := v.(string)
	if !ok {
		return nil, false
	}
	s, _, _ = strings.Cut(s, "-")
	var out []*big.Int
	for _, part := range strings.Split(s, ".") {
		part = strings.TrimPrefix(strings.TrimSpace(part), "+")
		n, ok := new(big.Int).SetString(part, 10)
		if !ok || strings.ContainsAny(part, "+-_") {
			return nil, false
		}
		out = append(out, n)
	}
	return out, true
}

func refMillis(v any) (int64, bool) {
	if s, ok := v.(string); ok {
		if n, err := strconv.ParseInt(s, 10, 64); err == nil {
			v = float64(n)
		} else {
			for _, layout := range []string{time.RFC3339, time.DateTime} {
				if at, err := time.Parse(layout, s); err == nil {
					return at.UnixMilli(), true
				}
			}
			return 0, false
		}
	}
	f, ok := v.(float64)
	if f < 10_000_000_000 && f > -10_000_000_000 {
		return int64(f * 1000), ok
	}
	return int64(f), ok
}

func (r *reference) operator(op string, v, target any) (holds, ok bool) {
	list, isList := target.([]any)
	some := func(relates func(v, element string) bool, fold bool) bool {
		if v == nil {
			return false
		}
		for _, e := range list {
			x, y := refText(v), refText(e)
			if fold {
				x, y = strings.ToLower(x), strings.ToLower(y)
			}
			if relates(x, y) {
				return true
			}
		}
		return false
	}
	same := func(a, b string) bool { return a == b }
	switch op {
	case "any":
		return some(same, true), true
	case "none":
		return !some(same, true), true
	case "any_case_sensitive":
		return some(same, false), true
	case "none_case_sensitive":
		return !some(same, false), true
	case "str_starts_with_any":
		return some(strings.HasPrefix, true), true
	case "str_ends_with_any":
		return some(strings.HasSuffix, true), true
	case "str_contains_any":
		return some(strings.Contains, true), true
	case "str_contains_none":
		return !some(strings.Contains, true), true
	case "str_matches":
		re, err := regexp.Compile(refText(target))
		text := refText(v)
		if list, isList := v.([]any); isList {
			b, _ := json.Marshal(list)
			text = string(b)
		}
		return v != nil && err == nil && re.MatchString(text), true
	case "ip_in_range":
		a, err := netip.ParseAddr(refText(v))
		return err == nil && slices.ContainsFunc(list, func(e any) bool {
			p, err := netip.ParsePrefix(refText(e))
			return err == nil && p.Contains(a)
		}), true
	case "gt", "gte", "lt", "lte":
		a, okA := refFloat(v)
		b, okB := refFloat(target)
		return okA && okB && (a > b && op[0] == 'g' || a < b && op[0] == 'l' || a == b && len(op) == 3), true
	case "version_gt", "version_gte", "version_lt", "version_lte", "version_eq", "version_neq":
		a, okA := refVersion(v)
		b, okB := refVersion(target)
		if !okA || !okB {
			return false, true
		}
		order := 0
		for i := 0; order == 0 && i < max(len(a), len(b)); i++ {
			x, y := new(big.Int), new(big.Int)
			if i < len(a) {
				x = a[i]
			}
			if i < len(b) {
				y = b[i]
			}
			order = x.Cmp(y)
		}
		return map[string]bool{
			"version_gt": order > 0, "version_gte": order >= 0, "version_lt": order < 0,
			"version_lte": order <= 0, "version_eq": order == 0, "version_neq": order != 0,
		}[op], true
	case "before", "after", "on":
		a, okA := refMillis(v)
		b, okB := refMillis(target)
		day := func(ms int64) string { return time.UnixMilli(ms).UTC().Format(time.DateOnly) }
		return okA && okB && (op == "before" && a < b || op == "after" && a > b || op == "on" && day(a) == day(b)), true
	case "eq", "neq":
		equal := false
		switch target := target.(type) {
		case nil:
			equal = v == nil
		case bool:
			equal = v == target
		case float64:
			f, ok := refFloat(v)
			equal = ok && f == target
		case string:
			_, isList := v.([]any)
			equal = v != nil && !isList && refText(v) == target
		case []any:
			items, ok := v.([]any)
			equal = ok && slices.EqualFunc(items, target, func(a, b any) bool { return refElement(a) == refElement(b) })
		}
		return equal == (op == "eq"), true
	case "array_contains_any", "array_contains_none", "array_contains_all", "not_array_contains_all":
		items, ok := v.([]any)
		if !ok || !isList {
			return false, true
		}
		has := func(e any) bool {
			return slices.ContainsFunc(items, func(i any) bool { return refElement(i) == refElement(e) })
		}
		all := !slices.ContainsFunc(list, func(e any) bool { return !has(e) })
		return map[string]bool{
			"array_contains_any": slices.ContainsFunc(list, has), "array_contains_none": !slices.ContainsFunc(list, has),
			"array_contains_all": all, "not_array_contains_all": !all,
		}[op], true
	case "in_segment_list", "not_in_segment_list":
		s, isText := v.(string)
		in := isText && slices.Contains(r.lists[refText(target)], base64.StdEncoding.EncodeToString(sum(s))[:8])
		return in == (op == "in_segment_list"), true
	}
	return false, false
}
