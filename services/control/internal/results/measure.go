package results

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/ClickHouse/clickhouse-go/v2"

	"github.com/sluice-flags/sluice/pkg/flags"
)

// A statement is SQL that is made of fixed pieces: whatever somebody chose, a
// name, a key, a value to look for, is a bound parameter and never text.
type statement struct {
	parameters clickhouse.Parameters // as they are sent
	texts      map[string]string     // those that are texts, as they are
	bindings   map[string]string     // placeholders by kind and value: equal ones are bound once
}

func newStatement(project string) *statement {
	s := &statement{parameters: clickhouse.Parameters{}, texts: map[string]string{}, bindings: map[string]string{}}
	s.name("project", project)
	return s
}

// bind returns the placeholder of a text.
func (s *statement) bind(value string) string {
	return s.bound("String", value, s.name)
}

// name gives a text to a placeholder. Texts are sent as in a file of separated
// values: what ends one there is written with a backslash.
func (s *statement) name(placeholder, text string) {
	s.texts[placeholder] = text
	s.parameters[placeholder] = strings.NewReplacer("\\", "\\\\", "\n", "\\n", "\r", "\\r", "\t", "\\t", "\x00", "\\0").Replace(text)
}

func (s *statement) number(value float64) string {
	return s.bound("Float64", strconv.FormatFloat(value, 'g', -1, 64), s.put)
}

func (s *statement) integer(value int64) string {
	return s.bound("Int64", strconv.FormatInt(value, 10), s.put)
}

func (s *statement) list(values []string) string {
	return s.bound("Array(String)", array(values), s.put)
}

func (s *statement) put(placeholder, value string) { s.parameters[placeholder] = value }

// array writes texts as the value of a parameter.
func array(texts []string) string {
	quoted := make([]string, len(texts))
	for i, t := range texts {
		quoted[i] = quote(t)
	}
	return "[" + strings.Join(quoted, ",") + "]"
}

// bound returns the placeholder of a value, which put makes a parameter.
func (s *statement) bound(kind, value string, put func(placeholder, value string)) string {
	key := kind + " " + value
	if s.bindings[key] == "" {
		name := fmt.Sprintf("p%d", len(s.parameters))
		put(name, value)
		s.bindings[key] = "{" + name + ":" + kind + "}"
	}
	return s.bindings[key]
}

// spell writes the parameters out, for people to run the statement.
func (s *statement) spell(text string) string {
	var pairs []string
	for name, value := range s.parameters {
		for _, kind := range [...]string{"Array(String)", "Array(Int64)", "Float64", "Int64", "String"} {
			written := value
			if kind == "String" {
				written = quote(s.texts[name])
			}
			pairs = append(pairs, "{"+name+":"+kind+"}", written)
		}
	}
	return strings.NewReplacer(pairs...).Replace(text)
}

func quote(s string) string {
	return "'" + strings.NewReplacer(`\`, `\\`, `'`, `\'`).Replace(s) + "'"
}

// unitOf is the key of an event's unit of a type, and the condition that the event
// names one.
func (s *statement) unitOf(unitType string) (key, named string) {
	t := s.bind(unitType)
	return keyOfUnit(t), "(e.unit_type = " + t + " OR " + idOfUnit(t) + " != '')"
}

// keyOfUnit is the key of an event's unit, whose type a placeholder says.
func keyOfUnit(t string) string {
	return "if(e.unit_type = " + t + ", e.unit_key, xxHash64(concat(" + t + ", '\\x1f', " + idOfUnit(t) + ")))"
}

// idOfUnit is the id that an event names of a type, as it is found for decisions:
// by the name of the type, or by that in lower case.
func idOfUnit(t string) string {
	return "if(e.unit_ids[" + t + "] != '', e.unit_ids[" + t + "], e.unit_ids[lowerUTF8(" + t + ")])"
}

// valueOf is the number that an event carries for a measure, NULL without one.
func (s *statement) valueOf(m *flags.Measure) string {
	if key := m.ValueKey(); key != "" {
		return numberIn("e.metadata[" + s.bind(key) + "]")
	}
	return "e.value"
}

// numberIn is the number that a text says, NULL if it says none: "nan" and "inf" are
// none either, since one of them would spoil what others did.
func numberIn(text string) string {
	return "if(isFinite(toFloat64OrNull(" + text + ")), toFloat64OrNull(" + text + "), NULL)"
}

// textOf is what an event carries as text under a metadata key, or with an empty
// one as its own value; empty without one.
func (s *statement) textOf(key string) string {
	if key == "" {
		return "if(e.value_text = '', ifNull(toString(e.value), ''), e.value_text)"
	}
	return "e.metadata[" + s.bind(key) + "]"
}

// filters is the condition that all filters of a measure hold for an event. One
// that lacks what a filter looks at does not pass it, but for none and is_null.
func (s *statement) filters(filters []flags.MetricFilter) string {
	all := []string{"1"}
	for _, f := range filters {
		text, number := s.textOf(f.Metadata), "e.value"
		absent := "(e.value IS NULL AND e.value_text = '')"
		if f.Metadata != "" {
			number, absent = numberIn(text), "("+text+" = '')"
		}
		compare := func(sign string) string {
			bound, _ := strconv.ParseFloat(first(f.Values), 64) // validated with the definition
			return fmt.Sprintf("ifNull(%s %s %s, 0)", number, sign, s.number(bound))
		}
		var one string
		switch f.Operator {
		case flags.FilterAny:
			one = fmt.Sprintf("(NOT %s AND has(%s, %s))", absent, s.list(f.Values), text)
		case flags.FilterNone:
			one = fmt.Sprintf("NOT has(%s, %s)", s.list(f.Values), text)
		case flags.FilterContains:
			one = fmt.Sprintf("(NOT %s AND arrayExists(x -> position(%s, x) > 0, %s))", absent, text, s.list(f.Values))
		case flags.FilterStartsWith:
			one = fmt.Sprintf("(NOT %s AND arrayExists(x -> startsWith(%s, x), %s))", absent, text, s.list(f.Values))
		case flags.FilterGreater:
			one = compare(">")
		case flags.FilterAtLeast:
			one = compare(">=")
		case flags.FilterLess:
			one = compare("<")
		case flags.FilterAtMost:
			one = compare("<=")
		case flags.FilterIsNull:
			one = absent
		case flags.FilterNonNull:
			one = "NOT " + absent
		default:
			one = "0" // an operator beyond this version lets nothing pass
		}
		all = append(all, one)
	}
	return strings.Join(all, " AND ")
}

func first(values []string) string {
	if len(values) == 0 {
		return ""
	}
	return values[0]
}
