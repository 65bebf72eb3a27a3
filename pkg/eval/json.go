package eval

import (
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"unicode/utf8"
)

// maxJSONDepth bounds nesting, so that hostile text cannot exhaust the stack.
const maxJSONDepth = 200

// A reader walks JSON text once, without reflection. It exists because loading
// is dominated by decoding: see the load benchmark. After an error every method
// returns zero values, so that callers check err at the end only.
//
// Objects and arrays are walked with open and more:
//
//	for ok := r.open('{'); ok; ok = r.more('}') {
//		switch string(r.key()) { … }
//	}
type reader struct {
	data   []byte
	at     int
	depth  int
	err    error
	intern map[string]string
}

var errTruncated = errors.New("unexpected end of JSON text")

func (r *reader) fail(format string, args ...any) {
	if r.err == nil {
		r.err = fmt.Errorf("at byte %d: %w", r.at, fmt.Errorf(format, args...))
	}
}

// peek returns the next byte that is not white space, 0 at the end.
func (r *reader) peek() byte {
	for r.at < len(r.data) {
		switch c := r.data[r.at]; c {
		case ' ', '\n', '\t', '\r':
			r.at++
		default:
			if r.err != nil {
				return 0
			}
			return c
		}
	}
	return 0
}

// open enters an object or array and reports whether it has a first element.
func (r *reader) open(c byte) bool {
	if got := r.peek(); got != c {
		r.fail("want %q, got %q", c, got)
		return false
	}
	if r.depth++; r.depth > maxJSONDepth {
		r.fail("nested deeper than %d", maxJSONDepth)
		return false
	}
	r.at++
	if c += 2; r.peek() == c { // '{'+2 is '}', '['+2 is ']'
		r.at++
		r.depth--
		return false
	}
	return r.err == nil
}

// more passes the comma after an element, or the closing bracket.
func (r *reader) more(closing byte) bool {
	switch c := r.peek(); {
	case r.err != nil:
		return false
	case c == ',':
		r.at++
		return true
	case c == closing:
		r.at++
		r.depth--
		return false
	case c == 0:
		r.fail("%w", errTruncated)
	default:
		r.fail("want ',' or %q, got %q", closing, c)
	}
	return false
}

// key reads a member's name and the colon after it.
func (r *reader) key() []byte {
	k, plain := r.quoted()
	if r.peek() != ':' {
		r.fail("want ':' after a member's name")
		return nil
	}
	r.at++
	if !plain {
		return []byte(unquote(k))
	}
	return k[1 : len(k)-1]
}

// quoted passes a string and returns it with its quotes; plain means that its
// bytes stand for themselves.
func (r *reader) quoted() (raw []byte, plain bool) {
	if c := r.peek(); c != '"' {
		r.fail("want a string, got %q", c)
		return nil, false
	}
	start := r.at
	plain = true
	for i := start + 1; i < len(r.data); i++ {
		switch c := r.data[i]; {
		case c == '"':
			r.at = i + 1
			return r.data[start:r.at], plain
		case c == '\\':
			plain = false
			i++
			if !validEscape(r.data[i:]) {
				r.at = i
				r.fail("invalid escape in string")
				return nil, false
			}
		case c < ' ':
			r.at = i
			r.fail("control character in string")
			return nil, false
		case c >= utf8.RuneSelf:
			plain = false
		}
	}
	r.at = len(r.data)
	r.fail("%w", errTruncated)
	return nil, false
}

func validEscape(b []byte) bool {
	if len(b) == 0 {
		return false
	}
	if b[0] != 'u' {
		return strings.IndexByte(`"\/bfnrt`, b[0]) >= 0
	}
	if len(b) < 5 {
		return false
	}
	for _, c := range b[1:5] {
		if !('0' <= c && c <= '9' || 'a' <= c|0x20 && c|0x20 <= 'f') {
			return false
		}
	}
	return true
}

// unquote decodes a quoted string that has been checked by the reader.
func unquote(quoted []byte) string {
	var s string
	if json.Unmarshal(quoted, &s) != nil {
		return ""
	}
	return s
}

// text reads a string. Short ones are shared: the same ids, types and fields
// occur in every rule.
func (r *reader) text() string {
	raw, plain := r.quoted()
	if r.err != nil {
		return ""
	}
	if !plain {
		return unquote(raw)
	}
	raw = raw[1 : len(raw)-1]
	if len(raw) > 40 || r.intern == nil {
		return string(raw)
	}
	if s, ok := r.intern[string(raw)]; ok {
		return s
	}
	s := string(raw)
	if len(r.intern) < 1<<14 {
		r.intern[s] = s
	}
	return s
}

// number passes a number and returns its text.
func (r *reader) number() []byte {
	r.peek()
	rest := r.data[r.at:]
	n := numberLen(rest)
	if n == 0 {
		r.fail("want a value")
		return nil
	}
	r.at += n
	return rest[:n]
}

func (r *reader) float() float64 {
	f, _ := strconv.ParseFloat(string(r.number()), 64) // out of range: infinite, as JSON.parse has it
	return f
}

// numberLen returns the length of the number that b starts with, 0 if none.
func numberLen(b []byte) int {
	i := 0
	if i < len(b) && b[i] == '-' {
		i++
	}
	first := i
	if i = digits(b, i); i == first || i > first+1 && b[first] == '0' {
		return 0
	}
	if i < len(b) && b[i] == '.' {
		from := i + 1
		if i = digits(b, from); i == from {
			return 0
		}
	}
	return exponent(b, i)
}

// digits returns the index after the digits that start at i.
func digits[T string | []byte](b T, i int) int {
	for i < len(b) && '0' <= b[i] && b[i] <= '9' {
		i++
	}
	return i
}

// exponent returns the index after the exponent that may start at i, 0 if it is
// not complete.
func exponent[T string | []byte](b T, i int) int {
	if i == len(b) || b[i]|0x20 != 'e' {
		return i
	}
	i++
	if i < len(b) && (b[i] == '+' || b[i] == '-') {
		i++
	}
	if end := digits(b, i); end > i {
		return end
	}
	return 0
}

// literal passes true, false or null if it comes next.
func (r *reader) literal(word string) bool {
	r.peek()
	if r.err != nil || len(r.data)-r.at < len(word) || string(r.data[r.at:r.at+len(word)]) != word {
		return false
	}
	r.at += len(word)
	return true
}

// skip passes any value, checking that it is well formed.
func (r *reader) skip() {
	switch r.peek() {
	case '"':
		r.quoted()
	case '{':
		for ok := r.open('{'); ok; ok = r.more('}') {
			r.key()
			r.skip()
		}
	case '[':
		for ok := r.open('['); ok; ok = r.more(']') {
			r.skip()
		}
	case 't', 'f', 'n':
		if !r.literal("true") && !r.literal("false") && !r.literal("null") {
			r.fail("want a value")
		}
	case 0:
		r.fail("%w", errTruncated)
	default:
		r.number()
	}
}

// raw passes any value and returns its text, which aliases the input.
func (r *reader) raw() json.RawMessage {
	r.peek()
	start := r.at
	r.skip()
	if r.err != nil {
		return nil
	}
	return r.data[start:r.at:r.at]
}

// any reads a value as encoding/json would into an interface.
func (r *reader) any() any {
	switch r.peek() {
	case '"':
		return r.text()
	case '{':
		out := map[string]any{}
		for ok := r.open('{'); ok; ok = r.more('}') {
			k := string(r.key())
			out[k] = r.any()
		}
		return out
	case '[':
		out := []any{}
		for ok := r.open('['); ok; ok = r.more(']') {
			out = append(out, r.any())
		}
		return out
	case 't', 'f', 'n':
		switch {
		case r.literal("true"):
			return true
		case r.literal("false"):
			return false
		case r.literal("null"):
			return nil
		}
		r.fail("want a value")
		return nil
	case 0:
		r.fail("%w", errTruncated)
		return nil
	}
	return r.float()
}

// end checks that nothing but white space is left.
func (r *reader) end() {
	if r.err == nil && r.peek() != 0 || r.err == nil && r.at < len(r.data) {
		r.fail("text after the value")
	}
}

// appendQuoted appends s as a JSON string.
func appendQuoted(dst []byte, s string) []byte {
	const hex = "0123456789abcdef"
	dst = append(dst, '"')
	from := 0
	for i := 0; i < len(s); {
		c := s[i]
		if c >= ' ' && c != '"' && c != '\\' && c < utf8.RuneSelf {
			i++
			continue
		}
		if c >= utf8.RuneSelf {
			if r, n := utf8.DecodeRuneInString(s[i:]); r != utf8.RuneError || n > 1 {
				i += n
				continue
			}
			dst = append(append(dst, s[from:i]...), "\ufffd"...)
		} else if dst = append(dst, s[from:i]...); c == '"' || c == '\\' {
			dst = append(dst, '\\', c)
		} else {
			dst = append(dst, '\\', 'u', '0', '0', hex[c>>4], hex[c&15])
		}
		i++
		from = i
	}
	return append(append(dst, s[from:]...), '"')
}
