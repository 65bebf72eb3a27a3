package flags

import (
	"math"
	"strconv"
	"strings"
)

// A Measure says which events count, and what number each of them carries.
type Measure struct {
	Event string `json:"event,omitempty"` // the event's name
	// ValueFrom says where the number of an event is: "value", its own, or
	// "metadata.<key>".
	ValueFrom string         `json:"valueFrom,omitempty"`
	Filters   []MetricFilter `json:"filters,omitempty"` // all must hold
}

// A MetricFilter keeps the events of which it holds. An event that lacks what
// the filter looks at is dropped, except by none and is_null.
type MetricFilter struct {
	// Metadata is the key that the filter looks at. Without one it looks at the
	// event's own value.
	Metadata string         `json:"metadata,omitempty"`
	Operator FilterOperator `json:"operator" flags:"required"`
	// Values are what is looked for: any number of texts for the operators on
	// texts, one number for those on numbers, nothing for is_null and non_null.
	Values []string `json:"values,omitempty"`
}

// FilterOperator is how a filter compares.
type FilterOperator string

// The operators of filters. They have the names of the conditions that ask the
// same of a user.
const (
	FilterAny        FilterOperator = "any"                 // equal to one of the values
	FilterNone       FilterOperator = "none"                // equal to none
	FilterContains   FilterOperator = "str_contains_any"    // has one in it
	FilterStartsWith FilterOperator = "str_starts_with_any" // begins with one
	FilterGreater    FilterOperator = "gt"                  // a number above the value
	FilterAtLeast    FilterOperator = "gte"                 // or equal to it
	FilterLess       FilterOperator = "lt"                  // a number below the value
	FilterAtMost     FilterOperator = "lte"                 // or equal to it
	FilterIsNull     FilterOperator = "is_null"             // absent or empty
	FilterNonNull    FilterOperator = "non_null"            // there
)

const (
	valueOfEvent    = "value"
	valueOfMetadata = "metadata."
)

// ValueKey is the metadata key that holds the number, empty for the event's own
// value.
func (m *Measure) ValueKey() string {
	key, _ := strings.CutPrefix(m.ValueFrom, valueOfMetadata)
	if key == m.ValueFrom {
		return ""
	}
	return key
}

// normalize fills in where the number is, for a type that needs one.
func (m *Measure) normalize(of MetricType) {
	if m.ValueFrom == "" && of.hasValue() {
		m.ValueFrom = valueOfEvent
	}
	unlist(&m.Filters)
	for i := range m.Filters {
		unlist(&m.Filters[i].Values)
	}
}

// validate reports what is wrong with the measure of a metric of that type.
func (m *Measure) validate(v *validation, pointer string, of MetricType) {
	if m.Event == "" {
		v.add(at(pointer, "event"), CodeRequired, "no event is named")
	}
	v.length(at(pointer, "event"), m.Event, maxValue)
	if m.ValueFrom != "" && m.ValueFrom != valueOfEvent && m.ValueKey() == "" {
		v.add(at(pointer, "valueFrom"), CodeInvalid, `want "value" or "metadata.<key>"`)
	}
	if m.ValueFrom != "" && !of.hasValue() {
		v.add(at(pointer, "valueFrom"), CodeUnknown, "a metric of type %s has no value", of)
	}
	v.length(at(pointer, "valueFrom"), m.ValueFrom, maxValue)
	if len(m.Filters) > maxConditions {
		v.add(at(pointer, "filters"), CodeTooLarge, "%d filters; at most %d", len(m.Filters), maxConditions)
	}
	for i := range m.Filters {
		m.Filters[i].validate(v, at(at(pointer, "filters"), i))
	}
}

func (f *MetricFilter) validate(v *validation, pointer string) {
	v.length(at(pointer, "metadata"), f.Metadata, maxValue)
	oneOfValues(v, at(pointer, "operator"), f.Operator,
		FilterAny, FilterNone, FilterContains, FilterStartsWith,
		FilterGreater, FilterAtLeast, FilterLess, FilterAtMost, FilterIsNull, FilterNonNull)
	values := at(pointer, "values")
	switch f.Operator {
	case FilterIsNull, FilterNonNull:
		if len(f.Values) > 0 {
			v.add(values, CodeUnknown, "%s takes no values", f.Operator)
		}
	case FilterGreater, FilterAtLeast, FilterLess, FilterAtMost:
		if len(f.Values) != 1 || !isNumber(f.Values[0]) {
			v.add(values, CodeInvalid, "%s takes one number", f.Operator)
		}
	default:
		if len(f.Values) == 0 {
			v.add(values, CodeRequired, "the filter has no values")
		}
		v.texts(values, f.Values, maxValues, maxValue)
	}
}

// isNumber reports whether s is a finite number, written as in JSON.
func isNumber(s string) bool {
	f, err := strconv.ParseFloat(s, 64)
	return err == nil && !math.IsInf(f, 0) && !math.IsNaN(f) && !strings.ContainsAny(s, "xXpP_")
}
