package flags

import (
	"bytes"
	"encoding/json"
	"strings"
	"time"
)

// DefaultUnitType is bucketed when a document does not say otherwise.
const DefaultUnitType = "userID"

// CanonicalUnitType gives the unit types that every SDK knows their one spelling.
func CanonicalUnitType(s string) string {
	switch strings.ReplaceAll(strings.ToLower(s), "_", "") {
	case "", "userid":
		return DefaultUnitType
	case "stableid":
		return "stableID"
	}
	return s
}

func normalizeAbout(a *About) {
	if len(a.Tags) == 0 {
		a.Tags = nil
	}
	a.Metadata = compact(a.Metadata)
}

func normalizeStatus(s *Status) {
	if *s == "" {
		*s = StatusInProgress
	}
}

func normalizeTime(t **time.Time) {
	if *t != nil {
		*t = new((*t).UTC().Truncate(time.Millisecond))
	}
}

func normalizeRules(rules *[]Rule) {
	if *rules == nil {
		*rules = []Rule{}
	}
	for i := range *rules {
		r := &(*rules)[i]
		if r.Conditions == nil {
			r.Conditions = []Condition{}
		}
		r.Value = compact(r.Value)
		for j := range r.Conditions {
			c := &r.Conditions[j]
			c.TargetValue = compact(c.TargetValue)
			if c.CustomID != "" {
				c.CustomID = CanonicalUnitType(c.CustomID)
			}
		}
	}
}

// unlist makes an empty list the same as none.
func unlist[T any](list *[]T) {
	if len(*list) == 0 {
		*list = nil
	}
}

// compact is raw without insignificant space. The order of members stays: it is
// how the author wants to read them. Null is the same as absent.
func compact(raw json.RawMessage) json.RawMessage {
	if len(raw) == 0 || string(raw) == "null" {
		return nil
	}
	var b bytes.Buffer
	if json.Compact(&b, raw) != nil {
		return raw // not JSON; only Go code can have put it there, and Encode says so
	}
	return b.Bytes()
}

// canonicalKeys gives a map by unit type its canonical keys. Where that would
// make one of two, it leaves them for validation to find.
func canonicalKeys[V any](m map[string]V) map[string]V {
	if len(m) == 0 {
		return nil
	}
	out := make(map[string]V, len(m))
	for key, value := range m {
		out[CanonicalUnitType(key)] = value
	}
	if len(out) != len(m) {
		return m
	}
	return out
}
