package flags

import (
	"bytes"
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// Decode reads a document that somebody wrote. It is strict, and says everything
// that is wrong at once: text that is not JSON, members that are not known or
// given twice, other types than wanted, members that are missing. The error is
// [Problems]; whether the document makes sense is for [Validate].
//
// The result is in canonical form: what was left out has its default.
func Decode(kind Kind, raw []byte) (Document, error) {
	d, err := newDocument(kind)
	if err != nil {
		return nil, err
	}
	root, problems := parse(raw)
	if len(problems) > 0 {
		return nil, problems
	}
	s := shape{problems: &problems}
	s.check("", root, reflect.TypeOf(d).Elem())
	if len(problems) > 0 {
		return nil, problems
	}
	if err := json.Unmarshal(raw, d); err != nil {
		problems.add("", CodeType, "not a %s: %v", kind, err)
		return nil, problems
	}
	d.normalize()
	return d, nil
}

// Load reads a document that the log holds. It has been validated when it was
// written, perhaps by a newer program: members that this one does not know are
// passed over, as a reader of a log must.
func Load(kind Kind, raw []byte) (Document, error) {
	d, err := newDocument(kind)
	if err != nil {
		return nil, err
	}
	if err := json.Unmarshal(raw, d); err != nil {
		return nil, fmt.Errorf("reading a %s: %w", kind, err)
	}
	d.normalize()
	return d, nil
}

// Encode returns the canonical bytes of a document: equal documents have equal
// bytes, and decoding them gives the document back.
func Encode(d Document) ([]byte, error) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(d); err != nil {
		return nil, fmt.Errorf("writing %s: %w", d.Ref(), err)
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n")), nil
}

// Clone returns a copy of d that shares nothing with it.
func Clone(d Document) Document {
	raw, err := Encode(d)
	if err != nil {
		panic(err) // a document is plain data, and its free parts were JSON when it was read
	}
	c, err := Load(d.Ref().Kind, raw)
	if err != nil {
		panic(err) // the same data
	}
	return c
}

func newDocument(kind Kind) (Document, error) {
	for _, k := range kinds {
		if k.kind == kind {
			return k.empty(), nil
		}
	}
	return nil, Problems{{Code: CodeUnknown, Message: fmt.Sprintf("there is no kind %q", kind)}}
}

// A shape compares parsed JSON with the Go type that it is meant for.
type shape struct{ problems *Problems }

var (
	rawType  = reflect.TypeFor[json.RawMessage]()
	timeType = reflect.TypeFor[time.Time]()
)

// check reports where n could not be a t.
func (s shape) check(pointer string, n node, t reflect.Type) {
	switch {
	case t == rawType:
		s.free(pointer, n)
	case t == timeType:
		s.time(pointer, n)
	case t.Kind() == reflect.Pointer:
		if n.kind != 'n' {
			s.check(pointer, n, t.Elem())
		}
	case t.Kind() == reflect.Struct:
		s.object(pointer, n, t)
	case t.Kind() == reflect.Map:
		s.mapping(pointer, n, t)
	case t.Kind() == reflect.Slice, t.Kind() == reflect.Array:
		s.list(pointer, n, t)
	case t.Kind() == reflect.String:
		if s.want(pointer, n, '"') && len(n.text) > maxString {
			s.problems.add(pointer, CodeTooLarge, "the text has %d bytes; at most %d", len(n.text), maxString)
		}
	case t.Kind() == reflect.Bool:
		s.want(pointer, n, 't')
	case t.Kind() == reflect.Int, t.Kind() == reflect.Int64:
		if s.want(pointer, n, '0') {
			if v, err := strconv.ParseInt(string(n.raw), 10, 64); err != nil || v > maxInteger || v < -maxInteger {
				s.problems.add(pointer, CodeType, "want a whole number, got %s", clip(string(n.raw)))
			}
		}
	case t.Kind() == reflect.Float64:
		if s.want(pointer, n, '0') {
			s.number(pointer, n)
		}
	}
}

// want reports a problem unless n is of the JSON type.
func (s shape) want(pointer string, n node, kind byte) bool {
	if n.kind == kind {
		return true
	}
	s.problems.add(pointer, CodeType, "want %s, got %s", typeNames[kind], typeNames[n.kind])
	return false
}

var typeNames = map[byte]string{
	'{': "an object", '[': "a list", '"': "a string", '0': "a number", 't': "true or false", 'n': "null",
}

func (s shape) number(pointer string, n node) {
	if _, err := strconv.ParseFloat(string(n.raw), 64); err != nil {
		s.problems.add(pointer, CodeTooLarge, "the number %s is too large", clip(string(n.raw)))
	} else if !bytes.ContainsAny(n.raw, ".eE") {
		if v, err := strconv.ParseInt(string(n.raw), 10, 64); err != nil || v > maxInteger || v < -maxInteger {
			s.problems.add(pointer, CodeTooLarge, "the whole number %s is beyond 2^53: write it as a string", clip(string(n.raw)))
		}
	}
}

// object compares members by their exact names.
func (s shape) object(pointer string, n node, t reflect.Type) {
	if !s.want(pointer, n, '{') {
		return
	}
	fields := fieldsOf(t)
	for _, m := range n.members {
		i := slices.IndexFunc(fields, func(f field) bool { return f.name == m.name })
		if i >= 0 {
			if fields[i].required && m.value.kind == 'n' {
				s.problems.add(at(pointer, m.name), CodeRequired, "%s is required", m.name)
				continue
			}
			s.check(at(pointer, m.name), m.value, fields[i].typ)
			continue
		}
		hint := ""
		if i := slices.IndexFunc(fields, func(f field) bool { return strings.EqualFold(f.name, m.name) }); i >= 0 {
			hint = fmt.Sprintf(": did you mean %q?", fields[i].name)
		}
		s.problems.add(at(pointer, m.name), CodeUnknown, "there is no member %q%s", m.name, hint)
	}
	for _, f := range fields {
		if f.required && !slices.ContainsFunc(n.members, func(m member) bool { return m.name == f.name }) {
			s.problems.add(at(pointer, f.name), CodeRequired, "%s is required", f.name)
		}
	}
}

// mapping compares the members of a free map. Two keys that differ in case only
// would be one key to some SDKs.
func (s shape) mapping(pointer string, n node, t reflect.Type) {
	if n.kind == 'n' || !s.want(pointer, n, '{') {
		return
	}
	seen := map[string]string{}
	for _, m := range n.members {
		if first, ok := seen[fold(m.name)]; ok && first != m.name {
			s.problems.add(at(pointer, m.name), CodeDuplicate, "members %q and %q differ in case only", first, m.name)
		}
		seen[fold(m.name)] = m.name
		s.check(at(pointer, m.name), m.value, t.Elem())
	}
}

func (s shape) list(pointer string, n node, t reflect.Type) {
	if t.Kind() == reflect.Slice && n.kind == 'n' {
		return
	}
	if !s.want(pointer, n, '[') {
		return
	}
	if t.Kind() == reflect.Array && len(n.items) != t.Len() {
		s.problems.add(pointer, CodeType, "want %d elements, got %d", t.Len(), len(n.items))
	}
	if len(n.items) > maxList {
		s.problems.add(pointer, CodeTooLarge, "the list has %d elements; at most %d", len(n.items), maxList)
		return
	}
	for i, item := range n.items {
		s.check(at(pointer, i), item, t.Elem())
	}
}

func (s shape) time(pointer string, n node) {
	if !s.want(pointer, n, '"') {
		return
	}
	if t, err := time.Parse(time.RFC3339, n.text); err != nil || t.Year() > 9999 {
		s.problems.add(pointer, CodeInvalid, "%q is no time: write it as 2027-02-01T00:00:00Z", n.text)
	}
}

// free looks through a value whose shape is its author's business for what no
// reader of JSON could agree on.
func (s shape) free(pointer string, n node) {
	switch n.kind {
	case '0':
		s.number(pointer, n)
	case '"':
		if len(n.text) > maxString {
			s.problems.add(pointer, CodeTooLarge, "the text has %d bytes; at most %d", len(n.text), maxString)
		}
	case '[':
		if len(n.items) > maxList {
			s.problems.add(pointer, CodeTooLarge, "the list has %d elements; at most %d", len(n.items), maxList)
			return
		}
		for i, item := range n.items {
			s.free(at(pointer, i), item)
		}
	case '{':
		for _, m := range n.members {
			s.free(at(pointer, m.name), m.value)
		}
	}
}

// A field is one member of a document's type.
type field struct {
	name     string
	typ      reflect.Type
	required bool
}

// fieldCache holds the fields of the types that were asked for: a few, for ever.
var fieldCache sync.Map // reflect.Type to []field

// fieldsOf lists the members of a type, embedded ones in their place.
func fieldsOf(t reflect.Type) []field {
	if out, ok := fieldCache.Load(t); ok {
		return out.([]field)
	}
	var out []field
	for i := range t.NumField() {
		f := t.Field(i)
		if f.Anonymous {
			out = append(out, fieldsOf(f.Type)...)
			continue
		}
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		out = append(out, field{name, f.Type, f.Tag.Get("flags") == "required"})
	}
	fieldCache.Store(t, out)
	return out
}
