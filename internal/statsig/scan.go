package statsig

import (
	"math"
	"math/bits"
	"strconv"
	"strings"
	"unicode/utf16"
	"unicode/utf8"

	"github.com/sluice-flags/sluice/internal/web"
	"github.com/sluice-flags/sluice/pkg/events"
)

// A scanner walks JSON text once, from left to right, and keeps nothing but
// what its caller asks for. That is what makes bodies from strangers cheap: no
// tree is built, attributes that are not wanted are stepped over, and the
// strings it returns are slices of the text.
//
// The first fault stops it; after that every method returns a zero value, so
// callers look at err where it matters and once at the end.
type scanner struct {
	text  string
	pos   int
	depth int
	err   error

	// skip as the values of members and elements, made once.
	skipMember  func(string)
	skipElement func()

	pairs  []events.Pair // room that lists of pairs are cut from
	wanted []string      // attributes of users that are kept
}

// Bounds of what a scanner steps into or over.
const (
	maxDepth    = 32
	maxElements = 10_000
)

// newScanner returns a scanner over body, which must be UTF-8, that keeps the
// wanted attributes of users.
func newScanner(body []byte, wanted []string) *scanner {
	s := &scanner{wanted: wanted}
	s.skipMember = func(string) { s.skip() }
	s.skipElement = s.skip
	s.begin(string(body))
	return s
}

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

// accept steps over c if it is the next token.
func (s *scanner) accept(c byte) bool {
	if s.peek() != c {
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
	s.eachMember(member)
	s.depth--
}

func (s *scanner) eachMember(member func(name string)) {
	if !s.accept('{') {
		s.fail("an object should begin here")
		return
	}
	if s.accept('}') {
		return
	}
	for n := 1; ; n++ {
		if s.peek() != '"' {
			s.fail("a member's name should begin here")
			return
		}
		name := s.string()
		if !s.accept(':') {
			s.fail("a colon should follow the member's name")
			return
		}
		if n > maxElements {
			s.tooMany("an object has more than %d members", maxElements)
			return
		}
		member(name)
		switch {
		case s.err != nil:
			return
		case s.accept(','):
		case s.accept('}'):
			return
		default:
			s.fail("a comma or the end of the object should follow")
			return
		}
	}
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

// skip steps over one value of any kind.
func (s *scanner) skip() {
	switch c := s.peek(); {
	case c == '{':
		s.members(s.skipMember)
	case c == '[':
		s.elements(s.skipElement)
	case c == '"':
		s.skipString()
	case c == '-' || '0' <= c && c <= '9':
		s.number()
	default:
		s.literal()
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
	rest := s.text[s.pos:]
	for _, word := range [...]string{"null", "true", "false"} {
		if strings.HasPrefix(rest, word) {
			s.pos += len(word)
			return word
		}
	}
	if rest == "" {
		s.fail("the JSON text ends too early")
	} else {
		s.fail("no value begins like this")
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

// number steps over a number and returns its text. Numbers beyond the range of
// a float64 are refused wherever they stand.
func (s *scanner) number() string {
	text, i := s.text, s.pos
	from := i
	digits := func() bool {
		start := i
		for i < len(text) && '0' <= text[i] && text[i] <= '9' {
			i++
		}
		return i > start
	}
	if i < len(text) && text[i] == '-' {
		i++
	}
	leadingZero := i < len(text) && text[i] == '0'
	first := i
	ok := digits() && !(leadingZero && i-first > 1)
	if ok && i < len(text) && text[i] == '.' {
		i++
		ok = digits()
	}
	exponent := ok && i < len(text) && text[i]|0x20 == 'e'
	if exponent {
		i++
		if i < len(text) && (text[i] == '+' || text[i] == '-') {
			i++
		}
		ok = digits()
	}
	if !ok {
		s.fail("not a number")
		return ""
	}
	number := text[from:i]
	if exponent || len(number) > 300 {
		if f, err := strconv.ParseFloat(number, 64); err != nil || math.IsInf(f, 0) {
			s.fail("a number is too large")
			return ""
		}
	}
	s.pos = i
	return number
}

// string steps over a string and returns what it says.
func (s *scanner) string() string {
	from := s.pos + 1
	escaped := s.skipString()
	if s.err != nil {
		return ""
	}
	inner := s.text[from : s.pos-1]
	if !escaped {
		return inner
	}
	return unescape(inner)
}

// skipString steps over a string, checks it, and tells whether it has escapes.
func (s *scanner) skipString() (escaped bool) {
	text := s.text
	for i := s.pos + 1; i < len(text); i++ {
		if i = plain(text, i); i == len(text) {
			break
		}
		switch c := text[i]; {
		case c == '"':
			s.pos = i + 1
			return escaped
		case c == '\\':
			escaped = true
			i++
			if i >= len(text) {
				break
			}
			switch text[i] {
			case '"', '\\', '/', 'b', 'f', 'n', 'r', 't':
			case 'u':
				if i+4 >= len(text) || !isHex(text[i+1:i+5]) {
					s.pos = i
					s.fail("not an escape")
					return false
				}
				i += 4
			default:
				s.pos = i
				s.fail("not an escape")
				return false
			}
		case c < ' ':
			s.pos = i
			s.fail("a control character stands in a string")
			return false
		}
	}
	s.pos = len(text)
	s.fail("a string does not end")
	return false
}

// special are the bytes that do not stand for themselves in a string.
var special = func() (is [256]bool) {
	for c := range byte(' ') {
		is[c] = true
	}
	is['"'], is['\\'] = true, true
	return is
}()

// plain returns where the first special byte stands from i on, or the end. It
// looks at eight at once: in each, the top bit tells a special byte, and the
// lowest of those is right, since a subtraction borrows only from above.
func plain(s string, i int) int {
	const ones, tops = 0x0101010101010101, 0x8080808080808080
	for ; i+8 <= len(s); i += 8 {
		w := s[i : i+8]
		x := uint64(w[0]) | uint64(w[1])<<8 | uint64(w[2])<<16 | uint64(w[3])<<24 |
			uint64(w[4])<<32 | uint64(w[5])<<40 | uint64(w[6])<<48 | uint64(w[7])<<56
		quote, backslash := x^('"'*ones), x^('\\'*ones)
		if found := ((quote-ones)&^quote | (backslash-ones)&^backslash | (x-' '*ones)&^x) & tops; found != 0 {
			return i + bits.TrailingZeros64(found)/8
		}
	}
	for ; i < len(s); i++ {
		if special[s[i]] {
			return i
		}
	}
	return i
}

func isHex(s string) bool {
	for i := range len(s) {
		c := s[i] | 0x20
		if !('0' <= s[i] && s[i] <= '9' || 'a' <= c && c <= 'f') {
			return false
		}
	}
	return true
}

// unescape returns what the inside of a checked string says. Half a surrogate
// pair becomes the replacement character.
func unescape(inner string) string {
	var out strings.Builder
	out.Grow(len(inner))
	for {
		i := strings.IndexByte(inner, '\\')
		if i < 0 {
			out.WriteString(inner)
			return out.String()
		}
		out.WriteString(inner[:i])
		c := inner[i+1]
		inner = inner[i+2:]
		switch c {
		case 'b':
			out.WriteByte('\b')
		case 'f':
			out.WriteByte('\f')
		case 'n':
			out.WriteByte('\n')
		case 'r':
			out.WriteByte('\r')
		case 't':
			out.WriteByte('\t')
		case 'u':
			r := hex4(inner)
			inner = inner[4:]
			if utf16.IsSurrogate(r) {
				low := rune(utf8.RuneError)
				if strings.HasPrefix(inner, `\u`) {
					low = hex4(inner[2:])
				}
				if r = utf16.DecodeRune(r, low); r != utf8.RuneError {
					inner = inner[6:]
				}
			}
			out.WriteRune(r)
		default:
			out.WriteByte(c) // quote, backslash, slash
		}
	}
}

func hex4(s string) rune {
	n, _ := strconv.ParseUint(s[:4], 16, 32) // checked by skipString
	return rune(n)
}

// scalar steps over one value and returns it as text: strings and numbers as
// they are, true and false as words, null as nothing, the rest as JSON.
func (s *scanner) scalar() string {
	switch c := s.peek(); c {
	case '"':
		return s.string()
	case '{', '[':
		return s.raw()
	case 'n', 't', 'f':
		if word := s.literal(); word != "null" {
			return word
		}
		return ""
	}
	return s.raw()
}

// keep returns a copy of a short list, cut from room that lists of one body
// share: they live and die together.
func (s *scanner) keep(list []events.Pair) []events.Pair {
	if len(list) == 0 {
		return nil
	}
	if len(list) > cap(s.pairs)-len(s.pairs) {
		s.pairs = make([]events.Pair, 0, max(len(list), 256))
	}
	from := len(s.pairs)
	s.pairs = append(s.pairs, list...)
	return s.pairs[from:len(s.pairs):len(s.pairs)]
}
