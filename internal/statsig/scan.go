package statsig

import (
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/sluice-flags/sluice/internal/web"
)

// A scanner walks JSON text once, from left to right, and keeps nothing but
// what its caller asks for. That is what makes bodies from strangers cheap: no
// tree is built, attributes that are not wanted are stepped over, and the
// strings it returns are slices of the text.
//
// Most of what comes is plain: strings without escapes, short numbers, no blanks.
// That has a short way in each method; what it is not made for, be it wrong or
// only odd, goes the long way, which alone knows what to say of faults.
//
// The first fault stops it; after that every method returns a zero value, so
// callers look at err where it matters and once at the end.
type scanner struct {
	text  string
	pos   int
	depth int
	err   error
}

// Bounds of what a scanner steps into or over.
const (
	maxDepth    = 32
	maxElements = 10_000
)

// begin puts s before another text.
func (s *scanner) begin(text string) {
	s.text, s.pos, s.depth, s.err = text, 0, 0, nil
	if !utf8.ValidString(text) {
		s.fail("the body is not UTF-8")
	}
}

// fail records the first fault and ends the text.
func (s *scanner) fail(why string) {
	if s.err == nil {
		s.err = web.Invalid("", "malformed_json", "%s (at byte %d)", why, s.pos)
	}
	s.pos = len(s.text)
}

// tooMany records that a limit was passed.
func (s *scanner) tooMany(format string, args ...any) {
	if s.err == nil {
		s.err = web.Errorf(web.CodeTooLarge, format, args...)
	}
	s.pos = len(s.text)
}

func (s *scanner) memberLimit() { s.tooMany("an object has more than %d members", maxElements) }

// peek returns the first byte of the next token, or 0 at the end.
func (s *scanner) peek() byte {
	for s.pos < len(s.text) {
		switch c := s.text[s.pos]; c {
		case ' ', '\n', '\r', '\t':
			s.pos++
		default:
			return c
		}
	}
	return 0
}

// at reports whether c comes next, with no blank before it.
func (s *scanner) at(c byte) bool { return s.pos < len(s.text) && s.text[s.pos] == c }

// accept steps over c if it is the next token.
func (s *scanner) accept(c byte) bool {
	if !s.at(c) && s.peek() != c {
		return false
	}
	s.pos++
	return true
}

// end checks that nothing follows.
func (s *scanner) end() {
	if s.peek(); s.pos < len(s.text) {
		s.fail("there is more after the end of the JSON text")
	}
}

func (s *scanner) enter() {
	if s.depth++; s.depth > maxDepth {
		s.fail("the JSON text is nested deeper than " + strconv.Itoa(maxDepth) + " levels")
	}
}

// members steps through an object and calls member with each name; member must
// consume the value.
func (s *scanner) members(member func(name string)) {
	s.enter()
	for n := 1; s.comes(n); n++ {
		name, ok := s.memberName(n)
		if !ok {
			break
		}
		member(name)
	}
	s.depth--
}

// comes steps to the n-th member of an object, and tells whether there is one.
// The first time it stands before the object, then behind a value.
func (s *scanner) comes(n int) bool {
	switch {
	case s.err != nil:
		return false
	case n > 1:
		if s.accept(',') {
			return true
		}
		if !s.accept('}') {
			s.fail("a comma or the end of the object should follow")
		}
		return false
	case !s.accept('{'):
		s.fail("an object should begin here")
		return false
	}
	return !s.accept('}')
}

// memberName reads the name of the n-th member of an object and the colon behind it.
func (s *scanner) memberName(n int) (name string, ok bool) {
	if s.peek() != '"' {
		s.fail("a member's name should begin here")
		return "", false
	}
	name = s.string()
	if !s.accept(':') {
		s.fail("a colon should follow the member's name")
		return "", false
	}
	if n > maxElements {
		s.memberLimit()
		return "", false
	}
	return name, true
}

// elements steps through an array and calls element for each; element must
// consume it.
func (s *scanner) elements(element func()) {
	s.enter()
	s.eachElement(element)
	s.depth--
}

func (s *scanner) eachElement(element func()) {
	if !s.accept('[') {
		s.fail("an array should begin here")
		return
	}
	if s.accept(']') {
		return
	}
	for n := 1; ; n++ {
		if n > maxElements {
			s.tooMany("an array has more than %d elements", maxElements)
			return
		}
		element()
		switch {
		case s.err != nil:
			return
		case s.accept(','):
		case s.accept(']'):
			return
		default:
			s.fail("a comma or the end of the array should follow")
			return
		}
	}
}

// raw steps over one value and returns its text.
func (s *scanner) raw() string {
	s.peek()
	from := s.pos
	s.skip()
	if s.err != nil {
		return ""
	}
	return s.text[from:s.pos]
}

// literal steps over true, false or null and returns it.
func (s *scanner) literal() string {
	word := literalAt(s.text[s.pos:])
	switch {
	case word != "":
		s.pos += len(word)
	case s.pos == len(s.text):
		s.fail("the JSON text ends too early")
	default:
		s.fail("no value begins like this")
	}
	return word
}

// literalAt returns the literal that text begins with, or "".
func literalAt(text string) string {
	for _, word := range [...]string{"null", "true", "false"} {
		if strings.HasPrefix(text, word) {
			return word
		}
	}
	return ""
}

// null steps over a null, if that is what comes next.
func (s *scanner) null() bool {
	if s.peek() != 'n' {
		return false
	}
	return s.literal() == "null"
}

// scalar steps over one value and returns it as text: strings and numbers as
// they are, true and false as words, null as nothing, the rest as JSON.
func (s *scanner) scalar() string {
	switch c := s.peek(); {
	case c == '"':
		return s.string()
	case isNumber(c):
		return s.number()
	case c == '{', c == '[':
		return s.raw()
	}
	if word := s.literal(); word != "null" {
		return word
	}
	return ""
}

func isNumber(c byte) bool { return c == '-' || '0' <= c && c <= '9' }
