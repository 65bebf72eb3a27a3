package web

import (
	"bytes"
	"cmp"
	"encoding"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"mime"
	"net/http"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"sync"
	"unicode"
	"unicode/utf8"
)

// Decode reads the JSON body of r into dst, strictly and under limits: every
// problem is a 4xx [Error] that names the place by a JSON pointer. A body must
// be there.
func Decode(r *http.Request, dst any, limits Limits) error {
	if err := OnlyJSON(r.Header.Get("Content-Type")); err != nil {
		return err
	}
	body, err := ReadBody(r, limits)
	if err != nil {
		return err
	}
	return DecodeJSON(body, dst, limits)
}

// OnlyJSON refuses a body that says it is something other than JSON.
func OnlyJSON(contentType string) error {
	if contentType == "" {
		return nil
	}
	media, _, err := mime.ParseMediaType(contentType)
	if err != nil || media != "application/json" && !strings.HasSuffix(media, "+json") {
		return Errorf(CodeUnsupportedMedia, "send the body as Content-Type: application/json")
	}
	return nil
}

// DecodeJSON is [Decode] for bytes that were read before.
func DecodeJSON(body []byte, dst any, limits Limits) error {
	if problems := Check(body, reflect.TypeOf(dst), limits); len(problems) > 0 {
		return &Error{Code: CodeValidation, Message: problems[0].Message, Problems: problems}
	}
	err := json.Unmarshal(body, dst)
	if err == nil {
		return nil
	}
	at := place(body, reflect.TypeOf(dst), "")
	if t, ok := errors.AsType[*json.UnmarshalTypeError](err); ok {
		return Invalid(at, "wrong_type", "a %s does not fit here", t.Value)
	}
	return &Error{Code: CodeValidation, Message: "the body does not have the shape that is asked for", Err: err,
		Problems: []FieldProblem{{Pointer: at, Code: "wrong_type", Message: clip(err.Error())}}}
}

// place returns where a text that could not be read into a target went wrong. A
// type that reads itself does not say where in the whole it stands, so members
// are tried one by one; inside such a type, nobody can tell.
func place(body []byte, target reflect.Type, pointer string) string {
	target = known(target)
	if kindOf(target) != reflect.Struct {
		return pointer
	}
	var members map[string]json.RawMessage
	if json.Unmarshal(body, &members) != nil {
		return pointer
	}
	for _, name := range slices.Sorted(maps.Keys(members)) {
		inner, ok := member(target, []byte(name))
		if ok && json.Unmarshal(members[name], reflect.New(inner).Interface()) != nil {
			return place(members[name], inner, pointer+"/"+escape(name))
		}
	}
	return pointer
}

// maxProblems bounds the list of problems of one body.
const maxProblems = 100

// Check walks a JSON text beside the Go type that it is meant for (nil if any
// will do) and returns everything that is wrong with it: syntax, encoding,
// depth, sizes, duplicate members, numbers out of range, members that the type
// lacks and values of another kind.
func Check(body []byte, target reflect.Type, limits Limits) []FieldProblem {
	limits = limits.withDefaults()
	one := func(code, message string) []FieldProblem { return []FieldProblem{{Code: code, Message: message}} }
	switch {
	case len(bytes.TrimSpace(body)) == 0:
		return one("required", "a JSON body is needed")
	case bytes.HasPrefix(body, []byte("\xef\xbb\xbf")):
		return one("syntax", "the body begins with a byte order mark; JSON has none")
	case !utf8.Valid(body):
		return one("encoding", "the body is not valid UTF-8")
	}
	if tooDeep(body, limits.Depth) {
		return one("too_deep", fmt.Sprintf("the body nests deeper than %d levels", limits.Depth))
	}
	if !json.Valid(body) {
		message := "the body is not valid JSON"
		if e, ok := errors.AsType[*json.SyntaxError](json.Unmarshal(body, new(json.RawMessage))); ok {
			message += fmt.Sprintf(": %s, at byte %d", e.Error(), e.Offset)
		}
		return one("syntax", clip(message))
	}
	c := checker{limits: limits, text: body}
	c.value(target, nil)
	return c.problems
}

// tooDeep scans brackets outside strings: it costs no memory, so that hostile
// nesting is refused before any parser recurses into it.
func tooDeep(body []byte, limit int) bool {
	depth, quoted := 0, false
	for i := 0; i < len(body); i++ {
		switch b := body[i]; {
		case quoted && b == '\\':
			i++
		case b == '"':
			quoted = !quoted
		case quoted:
		case b == '{' || b == '[':
			if depth++; depth > limit {
				return true
			}
		case b == '}' || b == ']':
			depth--
		}
	}
	return false
}

// checker walks a text that is known to be valid JSON, and makes nothing of it
// unless there is something to say.
type checker struct {
	limits   Limits
	text     []byte
	at       int      // how far the walk came
	names    [][]byte // of the objects that the walk is in, innermost last
	problems []FieldProblem
}

// step is the way to a value: the last step of it, and those before.
type step struct {
	up    *step
	name  []byte // of a member
	index int    // of an element, where there is no name
}

// pointer writes the way as a JSON pointer.
func (s *step) pointer() string {
	if s == nil {
		return ""
	}
	if s.name == nil {
		return s.up.pointer() + "/" + strconv.Itoa(s.index)
	}
	return s.up.pointer() + "/" + escape(string(s.name))
}

func (c *checker) add(way *step, code, format string, args ...any) {
	if len(c.problems) < maxProblems {
		c.problems = append(c.problems, FieldProblem{Pointer: way.pointer(), Code: code, Message: fmt.Sprintf(format, args...)})
	}
}

// next passes over what may stand between two tokens and returns the first byte
// of the next one.
func (c *checker) next() byte {
	for ; c.at < len(c.text); c.at++ {
		switch b := c.text[c.at]; b {
		case ' ', '\t', '\n', '\r', ',', ':':
		default:
			return b
		}
	}
	return 0
}

// value checks one value and everything inside it. want is the Go type it is
// meant for, nil where anything goes.
func (c *checker) value(want reflect.Type, way *step) {
	want = known(want)
	switch c.next() {
	case '{':
		c.object(want, way)
	case '[':
		c.array(want, way)
	case '"':
		c.length(c.quoted(), way)
		c.fits(want, way, "a string", reflect.String)
	case 't':
		c.at += len("true")
		c.fits(want, way, "a boolean", reflect.Bool)
	case 'f':
		c.at += len("false")
		c.fits(want, way, "a boolean", reflect.Bool)
	case 'n':
		c.at += len("null") // leaves a Go value as it is; a document that forbids it says so itself
	default:
		from := c.at
		for c.at < len(c.text) && strings.IndexByte("+-.eE0123456789", c.text[c.at]) >= 0 {
			c.at++
		}
		c.number(string(c.text[from:c.at]), want, way)
	}
}

// quoted passes over a text and returns what it says.
func (c *checker) quoted() []byte {
	from := c.at
	escaped := false
	for c.at++; c.text[c.at] != '"'; c.at++ {
		if c.text[c.at] == '\\' {
			escaped = true
			c.at++
		}
	}
	c.at++
	if !escaped {
		return c.text[from+1 : c.at-1]
	}
	var s string
	_ = json.Unmarshal(c.text[from:c.at], &s) // the whole is valid, so this is
	return append([]byte{}, s...)
}

func (c *checker) length(s []byte, way *step) {
	if len(s) > c.limits.String {
		c.add(way, "too_long", "the text is longer than %d bytes", c.limits.String)
	}
}

func (c *checker) number(n string, want reflect.Type, way *step) {
	if _, err := strconv.ParseFloat(n, 64); err != nil {
		c.add(way, "out_of_range", "the number is out of range")
		return
	}
	switch kind := kindOf(want); kind {
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		if _, err := strconv.ParseInt(n, 10, want.Bits()); err != nil {
			c.add(way, "wrong_type", "a whole number is wanted here")
		}
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		if _, err := strconv.ParseUint(n, 10, want.Bits()); err != nil {
			c.add(way, "wrong_type", "a whole number that is not negative is wanted here")
		}
	default:
		c.fits(want, way, "a number", reflect.Float64, reflect.Float32)
	}
}

// fewNames is how many members an object may have before looking them up beats
// comparing them.
const fewNames = 24

func (c *checker) object(want reflect.Type, way *step) {
	c.fits(want, way, "an object", reflect.Struct, reflect.Map)
	anyCase := c.limits.CaseVariants && kindOf(want) != reflect.Struct
	first := len(c.names)
	var seen map[string]string // beyond fewNames: the names, folded where case does not count
	for c.at++; c.next() != '}'; {
		name := c.quoted()
		way := &step{up: way, name: name}
		c.length(name, way)
		earlier, again := c.earlier(c.names[first:], name, anyCase, &seen)
		if again && earlier == string(name) {
			c.add(way, "duplicate", "the member appears twice")
		} else if again {
			c.add(way, "duplicate", "the member differs from another one in case only")
		}
		c.names = append(c.names, name)

		inner, ok := member(want, name)
		if !ok && !c.limits.Unknown {
			c.add(way, "unknown", "there is no member of this name")
		}
		c.value(inner, way)
	}
	c.at++
	c.names = c.names[:first]
}

// earlier returns the name among those before that is the same as this one.
func (c *checker) earlier(before [][]byte, name []byte, anyCase bool, seen *map[string]string) (string, bool) {
	folded := func(b []byte) string {
		if anyCase {
			return string(b)
		}
		return fold(string(b))
	}
	if len(before) >= fewNames {
		if *seen == nil {
			*seen = make(map[string]string, 2*fewNames)
			for _, b := range before {
				(*seen)[folded(b)] = string(b)
			}
		}
		key := folded(name)
		last, again := (*seen)[key]
		(*seen)[key] = string(name)
		return last, again
	}
	for i := len(before) - 1; i >= 0; i-- {
		if bytes.Equal(before[i], name) || !anyCase && bytes.EqualFold(before[i], name) {
			return string(before[i]), true
		}
	}
	return "", false
}

func (c *checker) array(want reflect.Type, way *step) {
	c.fits(want, way, "an array", reflect.Slice, reflect.Array)
	var inner reflect.Type
	if k := kindOf(want); k == reflect.Slice || k == reflect.Array {
		inner = want.Elem()
	}
	n := 0
	for c.at++; c.next() != ']'; n++ {
		if n == c.limits.Array {
			c.add(way, "too_long", "the array has more than %d elements", c.limits.Array)
		}
		if n >= c.limits.Array {
			inner = nil
		}
		c.value(inner, &step{up: way, index: n})
	}
	c.at++
}

// fits reports a value whose kind the target cannot hold.
func (c *checker) fits(want reflect.Type, way *step, got string, kinds ...reflect.Kind) {
	if want == nil || want.Kind() == reflect.Interface {
		return
	}
	for _, k := range kinds {
		if want.Kind() == k {
			return
		}
	}
	c.add(way, "wrong_type", "%s does not fit here", got)
}

var (
	jsonUnmarshaler = reflect.TypeFor[json.Unmarshaler]()
	textUnmarshaler = reflect.TypeFor[encoding.TextUnmarshaler]()
)

// readers remembers what [known] found out, and shapes the members of each type of
// struct: the types of a program are few, and asking about them is slow.
var readers, shapes sync.Map

// known strips pointers and returns nil for types that read themselves: they
// are opaque to the walk, which then checks structure only.
func known(t reflect.Type) reflect.Type {
	if t == nil {
		return nil
	}
	if found, ok := readers.Load(t); ok {
		return found.(opaque).Type
	}
	found, _ := readers.LoadOrStore(t, opaque{find(t)})
	return found.(opaque).Type
}

// opaque holds a type that may be nil.
type opaque struct{ reflect.Type }

func find(t reflect.Type) reflect.Type {
	for {
		if t.Implements(jsonUnmarshaler) || reflect.PointerTo(t).Implements(jsonUnmarshaler) {
			return nil
		}
		if t.Implements(textUnmarshaler) || reflect.PointerTo(t).Implements(textUnmarshaler) {
			return nil
		}
		if t.Kind() != reflect.Pointer {
			return t
		}
		t = t.Elem()
	}
}

func kindOf(t reflect.Type) reflect.Kind {
	if t == nil {
		return reflect.Invalid
	}
	return t.Kind()
}

// member returns the type that the named member of an object goes into; ok is
// false when the object has no place for it. Names match exactly: what differs
// in case is another name.
func member(t reflect.Type, name []byte) (inner reflect.Type, ok bool) {
	switch kindOf(t) {
	case reflect.Map:
		return t.Elem(), true
	case reflect.Struct:
		members, ok := shapes.Load(t)
		if !ok {
			members, _ = shapes.LoadOrStore(t, membersOf(t))
		}
		inner, ok = members.(map[string]reflect.Type)[string(name)]
		return inner, ok
	}
	return nil, true
}

// membersOf returns the members that a struct has in JSON.
func membersOf(t reflect.Type) map[string]reflect.Type {
	out := make(map[string]reflect.Type)
	for _, f := range reflect.VisibleFields(t) {
		tag, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		if !f.IsExported() || tag == "-" || f.Anonymous && tag == "" {
			continue
		}
		if name := cmp.Or(tag, f.Name); out[name] == nil {
			out[name] = f.Type
		}
	}
	return out
}

// escape makes one reference token of a JSON pointer (RFC 6901), cut to a
// length that fits an answer.
func escape(name string) string {
	if len(name) > 128 {
		name = strings.ToValidUTF8(name[:128], "") + "…"
	}
	return strings.ReplaceAll(strings.ReplaceAll(name, "~", "~0"), "/", "~1")
}

// fold maps names that differ in case only to one text.
func fold(name string) string {
	return strings.Map(func(r rune) rune {
		least := r
		for f := unicode.SimpleFold(r); f != r; f = unicode.SimpleFold(f) {
			least = min(least, f)
		}
		return least
	}, name)
}
