package eval

import (
	"encoding/json"
	"math"
	"reflect"
	"strconv"
	"strings"
)

// A kind is the JSON type of a value.
type kind uint8

const (
	absent kind = iota
	text
	number
	boolean
	list
)

// A value is what a condition compares: one property of a user or of the
// surroundings. It is passed by value, so that no comparison allocates.
type value struct {
	kind  kind
	truth bool
	num   float64
	text  string
	items any // []any or []string
}

func textValue(s string) value    { return value{kind: text, text: s} }
func numberValue(f float64) value { return value{kind: number, num: f} }

// present returns s as a value, absent when empty.
func present(s string) value {
	if s == "" {
		return value{}
	}
	return textValue(s)
}

// valueOf converts what a caller put into a user's maps.
func valueOf(v any) value {
	switch v := v.(type) {
	case nil:
		return value{}
	case string:
		return textValue(v)
	case bool:
		return value{kind: boolean, truth: v}
	case float64:
		return numberValue(v)
	case int:
		return numberValue(float64(v))
	case int64:
		return numberValue(float64(v))
	case []any:
		return value{kind: list, items: v}
	case []string:
		return value{kind: list, items: v}
	case json.Number:
		f, _ := v.Float64()
		return numberValue(f)
	}
	return reflected(v)
}

// reflected handles the rarer kinds that callers use: named types, small
// integers, slices of numbers. Anything else is absent.
func reflected(v any) value {
	switch rv := reflect.ValueOf(v); rv.Kind() {
	case reflect.String:
		return textValue(rv.String())
	case reflect.Bool:
		return value{kind: boolean, truth: rv.Bool()}
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		return numberValue(float64(rv.Int()))
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		return numberValue(float64(rv.Uint()))
	case reflect.Float32, reflect.Float64:
		return numberValue(rv.Float())
	case reflect.Slice, reflect.Array:
		items := make([]any, rv.Len())
		for i := range items {
			items[i] = rv.Index(i).Interface()
		}
		return value{kind: list, items: items}
	case reflect.Pointer:
		if !rv.IsNil() {
			return valueOf(rv.Elem().Interface())
		}
	}
	return value{}
}

func (v value) len() int {
	if s, ok := v.items.([]string); ok {
		return len(s)
	}
	items, _ := v.items.([]any)
	return len(items)
}

func (v value) item(i int) value {
	if s, ok := v.items.([]string); ok {
		return textValue(s[i])
	}
	return valueOf(v.items.([]any)[i])
}

// numberText is room for the text of every number that people use; longer ones
// are correct too, but allocate.
type numberText [32]byte

// asText converts a value to the text that list and string operators compare:
// numbers in shortest decimal form, lists joined by commas. Text itself is
// returned as it is, without touching buf.
func (v value) asText(buf []byte) (s string, b []byte, ok bool) {
	switch v.kind {
	case text:
		return v.text, nil, true
	case number:
		return "", appendNumber(buf, v.num), true
	case boolean:
		return "", strconv.AppendBool(buf, v.truth), true
	case list:
		for i := range v.len() {
			if i > 0 {
				buf = append(buf, ',')
			}
			buf = append(buf, v.item(i).string()...)
		}
		return "", buf, true
	}
	return "", nil, false
}

// string is asText for places that may allocate; absent is empty.
func (v value) string() string {
	if v.kind == text {
		return v.text
	}
	_, b, _ := v.asText(nil)
	return string(b)
}

// float converts a value for numeric comparison: numbers, and text that is a
// plain decimal or infinity. Spaces, hex and booleans are not numbers.
func (v value) float() (float64, bool) {
	switch v.kind {
	case number:
		return v.num, true
	case text:
		return parseNumber(v.text)
	}
	return 0, false
}

// parseNumber reads what every SDK takes for a number: decimals with optional
// sign and exponent, and infinity spelled out. No spaces, no hex.
func parseNumber(s string) (float64, bool) {
	start := 0
	if s != "" && (s[0] == '+' || s[0] == '-') {
		start = 1
	}
	if s[start:] == "Infinity" {
		return math.Inf(1 - 2*strings.Count(s[:start], "-")), true
	}
	i := digits(s, start)
	found := i - start
	if i < len(s) && s[i] == '.' {
		from := i + 1
		i = digits(s, from)
		found += i - from
	}
	if found == 0 || exponent(s, i) != len(s) {
		return 0, false
	}
	f, _ := strconv.ParseFloat(s, 64) // out of range is infinite
	return f, true
}

func appendNumber(dst []byte, f float64) []byte { return strconv.AppendFloat(dst, f, 'f', -1, 64) }

func formatNumber(f float64) string { return strconv.FormatFloat(f, 'f', -1, 64) }
