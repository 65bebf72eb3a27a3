package statsig

import (
	"math/bits"
	"strings"
	"unicode/utf16"
	"unicode/utf8"
)

// string steps over a string and returns what it says.
func (s *scanner) string() string {
	from := s.pos + 1
	if end := usualString(s.text, s.pos); end >= 0 {
		s.pos = end
		return s.text[from : end-1]
	}
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

// hex4 is the number that four hexadecimal digits say, which skipString has checked.
func hex4(s string) (r rune) {
	for _, c := range []byte(s[:4]) {
		if c > '9' {
			c += 9 // so that the low bits of A, a are ten
		}
		r = r<<4 | rune(c&0xf)
	}
	return r
}
