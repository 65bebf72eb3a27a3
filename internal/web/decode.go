package web

import (
	"bytes"
	"encoding"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"mime"
	"net/http"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Decode reads the JSON body of r into dst, strictly and under limits: every
// problem is a 4xx [Error] that names the place by a JSON pointer. A body must
// be there.
func Decode(r *http.Request, dst any, limits Limits) error {
	if ct := r.Header.Get("Content-Type"); ct != "" {
		media, _, err := mime.ParseMediaType(ct)
		if err != nil || media != "application/json" && !strings.HasSuffix(media, "+json") {
			return Errorf(CodeUnsupportedMedia, "send the body as Content-Type: application/json")
		}
	}
	body, err := ReadBody(r, limits)
	if err != nil {
		return err
	}
	return DecodeJSON(body, dst, limits)
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
		inner, ok := member(target, name)
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
	var whole json.RawMessage
	if err := json.Unmarshal(body, &whole); err != nil {
		message := "the body is not valid JSON"
		if s, ok := errors.AsType[*json.SyntaxError](err); ok {
			message += fmt.Sprintf(": %s, at byte %d", s.Error(), s.Offset)
		}
		return one("syntax", clip(message))
	}
	c := checker{limits: limits, dec: json.NewDecoder(bytes.NewReader(body))}
	c.dec.UseNumber()
	c.value(target, "")
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

// checker walks a text that is known to be valid JSON.
type checker struct {
	limits   Limits
	dec      *json.Decoder
	problems []FieldProblem
}

func (c *checker) add(pointer, code, format string, args ...any) {
	if len(c.problems) < maxProblems {
		c.problems = append(c.problems, FieldProblem{Pointer: pointer, Code: code, Message: fmt.Sprintf(format, args...)})
	}
}

// value checks one value and everything inside it. want is the Go type it is
// meant for, nil where anything goes.
func (c *checker) value(want reflect.Type, pointer string) {
	want = known(want)
	token, err := c.dec.Token()
	if err != nil {
		if !errors.Is(err, io.EOF) {
			c.add(pointer, "syntax", "the value cannot be read")
		}
		return
	}
	switch t := token.(type) {
	case json.Delim:
		if t == '{' {
			c.object(want, pointer)
		} else {
			c.array(want, pointer)
		}
	case string:
		c.text(t, pointer)
		c.fits(want, pointer, "a string", reflect.String)
	case bool:
		c.fits(want, pointer, "a boolean", reflect.Bool)
	case json.Number:
		c.number(t, want, pointer)
	case nil:
		// null leaves a Go value as it is; a document that forbids it says so itself
	}
}

func (c *checker) text(s, pointer string) {
	if len(s) > c.limits.String {
		c.add(pointer, "too_long", "the text is longer than %d bytes", c.limits.String)
	}
}

func (c *checker) number(n json.Number, want reflect.Type, pointer string) {
	if _, err := strconv.ParseFloat(n.String(), 64); err != nil {
		c.add(pointer, "out_of_range", "the number is out of range")
		return
	}
	switch kind := kindOf(want); kind {
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		if _, err := strconv.ParseInt(n.String(), 10, want.Bits()); err != nil {
			c.add(pointer, "wrong_type", "a whole number is wanted here")
		}
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		if _, err := strconv.ParseUint(n.String(), 10, want.Bits()); err != nil {
			c.add(pointer, "wrong_type", "a whole number that is not negative is wanted here")
		}
	default:
		c.fits(want, pointer, "a number", reflect.Float64, reflect.Float32)
	}
}

func (c *checker) object(want reflect.Type, pointer string) {
	c.fits(want, pointer, "an object", reflect.Struct, reflect.Map)
	seen := map[string]string{}
	for c.dec.More() {
		token, err := c.dec.Token()
		name, ok := token.(string)
		if err != nil || !ok {
			return
		}
		at := pointer + "/" + escape(name)
		c.text(name, at)
		folded := name
		if !c.limits.CaseVariants || kindOf(want) == reflect.Struct {
			folded = fold(name)
		}
		if earlier, again := seen[folded]; again && earlier == name {
			c.add(at, "duplicate", "the member appears twice")
		} else if again {
			c.add(at, "duplicate", "the member differs from another one in case only")
		}
		seen[folded] = name

		inner, ok := member(want, name)
		if !ok && !c.limits.Unknown {
			c.add(at, "unknown", "there is no member of this name")
		}
		c.value(inner, at)
	}
	_, _ = c.dec.Token() // the closing brace: the text was found valid before
}

func (c *checker) array(want reflect.Type, pointer string) {
	c.fits(want, pointer, "an array", reflect.Slice, reflect.Array)
	var inner reflect.Type
	if k := kindOf(want); k == reflect.Slice || k == reflect.Array {
		inner = want.Elem()
	}
	n := 0
	for ; c.dec.More(); n++ {
		if n == c.limits.Array {
			c.add(pointer, "too_long", "the array has more than %d elements", c.limits.Array)
		}
		if n >= c.limits.Array {
			inner = nil
		}
		c.value(inner, pointer+"/"+strconv.Itoa(n))
	}
	_, _ = c.dec.Token() // the closing bracket
}

// fits reports a value whose kind the target cannot hold.
func (c *checker) fits(want reflect.Type, pointer, got string, kinds ...reflect.Kind) {
	if want == nil || want.Kind() == reflect.Interface {
		return
	}
	for _, k := range kinds {
		if want.Kind() == k {
			return
		}
	}
	c.add(pointer, "wrong_type", "%s does not fit here", got)
}

var (
	jsonUnmarshaler = reflect.TypeFor[json.Unmarshaler]()
	textUnmarshaler = reflect.TypeFor[encoding.TextUnmarshaler]()
)

// known strips pointers and returns nil for types that read themselves: they
// are opaque to the walk, which then checks structure only.
func known(t reflect.Type) reflect.Type {
	for t != nil {
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
	return nil
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
func member(t reflect.Type, name string) (inner reflect.Type, ok bool) {
	switch kindOf(t) {
	case reflect.Map:
		return t.Elem(), true
	case reflect.Struct:
		for _, f := range reflect.VisibleFields(t) {
			tag, _, _ := strings.Cut(f.Tag.Get("json"), ",")
			switch {
			case !f.IsExported(), tag == "-", f.Anonymous && tag == "":
			case tag == name, tag == "" && f.Name == name:
				return f.Type, true
			}
		}
		return nil, false
	}
	return nil, true
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
