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
	listKind
	objectKind
)

// A value is what a condition compares: one property of a user or of the
// surroundings. It is small enough to travel in registers, and never allocates.
// The elements of a list travel beside it.
type value struct {
	kind kind
	num  float64 // of numbers; 1 or 0 of booleans
	text string  // of text; of objects, their JSON
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

// empty reports whether the value says nothing, so that a lookup may.
func (v value) empty() bool { return v.kind == absent || v.kind == text && v.text == "" }

func boolValue(b bool) value {
	if b {
		return value{kind: boolean, num: 1}
	}
	return value{kind: boolean}
}

// valueOf converts what a caller put into a user's maps, or what a target holds.
func valueOf(v any) (value, items) {
	switch v := v.(type) {
	case nil:
		return value{}, nil
	case string:
		return textValue(v), nil
	case bool:
		return boolValue(v), nil
	case float64:
		return numberValue(v), nil
	case int:
		return numberValue(float64(v)), nil
	case int64:
		return numberValue(float64(v)), nil
	case []any, []string:
		return value{kind: listKind}, v
	case json.Number:
		f, _ := v.Float64()
		return numberValue(f), nil
	}
	return reflected(v)
}

// scalar converts a value that is no list; lists are absent.
func scalarOf(v any) value {
	out, list := valueOf(v)
	if list != nil {
		return value{}
	}
	return out
}

// reflected handles the rarer kinds that callers use: objects, named types, small
// integers, slices of numbers. Anything else is absent.
func reflected(v any) (value, items) {
	switch rv := reflect.ValueOf(v); rv.Kind() {
	case reflect.String:
		return textValue(rv.String()), nil
	case reflect.Bool:
		return boolValue(rv.Bool()), nil
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		return numberValue(float64(rv.Int())), nil
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		return numberValue(float64(rv.Uint())), nil
	case reflect.Float32, reflect.Float64:
		return numberValue(rv.Float()), nil
	case reflect.Slice, reflect.Array:
		out := make([]any, rv.Len())
		for i := range out {
			out[i] = rv.Index(i).Interface()
		}
		return value{kind: listKind}, out
	case reflect.Map:
		return value{kind: objectKind, text: string(appendAny(nil, v))}, nil
	case reflect.Pointer:
		if !rv.IsNil() {
			return valueOf(rv.Elem().Interface())
		}
	}
	return value{}, nil
}

// items are the elements of a list: []any or []string.
type items any

func length(list items) int {
	if s, ok := list.([]string); ok {
		return len(s)
	}
	s, _ := list.([]any)
	return len(s)
}

// element returns an element. Null, objects and lists among the elements count by
// a text that only their like has.
func element(list items, i int) value {
	if s, ok := list.([]string); ok {
		return textValue(s[i])
	}
	e := list.([]any)[i]
	v, nested := valueOf(e)
	if v.kind == absent || v.kind == objectKind || nested != nil {
		return textValue(string(appendAny([]byte{0}, e)))
	}
	return v
}

// elements returns the text of all elements of a target list.
func elements(target any) (out []string, ok bool) {
	list, ok := target.([]any)
	for i := range list {
		out = append(out, element(list, i).string())
	}
	return out, ok
}

// joined returns the text of all elements, however deep, between commas. Unlike
// numbers alone, the very large and very small ones have exponents there.
func joined(list items) string {
	var b []byte
	for i := range length(list) {
		if i > 0 {
			b = append(b, ',')
		}
		if s, ok := list.([]string); ok {
			b = append(b, s[i]...)
		} else if v, nested := valueOf(list.([]any)[i]); nested != nil {
			b = append(b, joined(nested)...)
		} else if size := math.Abs(v.num); v.kind == number && size != 0 && (size < 1e-6 || size >= 1e21) {
			b = appendAny(b, v.num)
		} else {
			b = append(b, v.string()...)
		}
	}
	return string(b)
}

// numberText is room for the text of every number that people use; longer ones
// are correct too, but allocate.
type numberText [32]byte

// asText converts a value to the text that list and string operators compare:
// numbers in shortest decimal form, objects all alike, as JavaScript has it. Text
// itself is returned as it is, without touching buf.
func (v value) asText(buf []byte) (s string, b []byte, ok bool) {
	switch v.kind {
	case text:
		return v.text, nil, true
	case number:
		return "", appendNumber(buf, v.num), true
	case boolean:
		return "", strconv.AppendBool(buf, v.num != 0), true
	case objectKind:
		return "", append(buf, "[object Object]"...), true
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
