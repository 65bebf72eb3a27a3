package statsig

import (
	"math"
	"strconv"
)

// skip steps over one value of any kind and checks it.
func (s *scanner) skip() {
	var end int
	if s.at('"') { // most are strings
		end = usualString(s.text, s.pos)
	} else {
		end = usualEnd(s.text, s.pos, maxDepth-s.depth)
	}
	if end < 0 {
		s.skipCarefully()
		return
	}
	s.pos = end
}

func (s *scanner) skipCarefully() {
	switch c := s.peek(); {
	case c == '{':
		s.members(func(string) { s.skipCarefully() })
	case c == '[':
		s.elements(s.skipCarefully)
	case c == '"':
		s.skipString()
	case isNumber(c):
		s.number()
	default:
		s.literal()
	}
}

// usualEnd returns where the value that begins at i ends, if it is a usual one: right,
// nested at most so many levels, and with neither escapes nor very many
// elements. Of others it returns -1.
//
// It goes over all levels in one loop: one bit for each tells what it is inside of.
func usualEnd(text string, i, levels int) int {
	const inObject = 1
	inside, level, commas := uint64(0), 0, 0
	for {
		// A value begins here.
		if i = blanks(text, i); i >= len(text) {
			return -1
		}
		opened := false
		switch c := text[i]; c {
		case '"':
			if i = usualString(text, i); i < 0 {
				return -1
			}
		case '{', '[':
			if level++; level > levels {
				return -1
			}
			inside <<= 1
			if c == '{' {
				inside |= inObject
			}
			i = blanks(text, i+1)
			opened = true
		case 'n', 't', 'f':
			n := len(literalAt(text[i:]))
			if n == 0 {
				return -1
			}
			i += n
		default:
			if i = usualNumber(text, i); i < 0 {
				return -1
			}
		}
		// What was open may end here, once or several times.
		for level > 0 {
			if i = blanks(text, i); i >= len(text) {
				return -1
			}
			c := text[i]
			if c != '}' && c != ']' {
				break
			}
			if (c == '}') != (inside&inObject != 0) {
				return -1
			}
			i, level, inside, opened = i+1, level-1, inside>>1, false
		}
		if level == 0 {
			return i
		}
		if !opened {
			if commas++; text[i] != ',' || commas >= maxElements {
				return -1
			}
			i = blanks(text, i+1)
		}
		if inside&inObject != 0 { // a name comes before the value
			if i >= len(text) || text[i] != '"' {
				return -1
			}
			if i = usualString(text, i); i < 0 {
				return -1
			}
			if i = blanks(text, i); i >= len(text) || text[i] != ':' {
				return -1
			}
			i++
		}
	}
}

// usualString returns where the string that begins at i ends, or -1 if it has escapes
// or does not end as it should.
func usualString(text string, i int) int {
	if i = plain(text, i+1); i < len(text) && text[i] == '"' {
		return i + 1
	}
	return -1
}

// blanks returns where something else than a blank stands from i on, or the end.
func blanks(text string, i int) int {
	for i < len(text) && text[i] <= ' ' && (text[i] == ' ' || text[i] == '\n' || text[i] == '\r' || text[i] == '\t') {
		i++
	}
	return i
}

// usualNumber returns where the number that begins at i ends, or -1 if none does
// or it is one of those that may be beyond the range.
func usualNumber(text string, i int) int {
	from := i
	if i < len(text) && text[i] == '-' {
		i++
	}
	first := i
	i = digits(text, i)
	if n := i - first; n == 0 || n > 1 && text[first] == '0' {
		return -1
	}
	if i < len(text) && text[i] == '.' {
		fraction := i + 1
		if i = digits(text, fraction); i == fraction {
			return -1
		}
	}
	if i < len(text) && text[i]|0x20 == 'e' || i-from > maxDigits {
		return -1
	}
	return i
}

// maxDigits is how long a number without an exponent may be and be in the range of
// a float64 for sure.
const maxDigits = 300

func digits(text string, i int) int {
	for i < len(text) && '0' <= text[i] && text[i] <= '9' {
		i++
	}
	return i
}

// number steps over a number and returns its text. Numbers beyond the range of
// a float64 are refused wherever they stand.
func (s *scanner) number() string {
	text, from := s.text, s.pos
	if end := usualNumber(text, from); end >= 0 {
		s.pos = end
		return text[from:end]
	}
	i := from
	if i < len(text) && text[i] == '-' {
		i++
	}
	first := i
	i = digits(text, i)
	ok := i == first+1 || i > first && text[first] != '0'
	if ok && i < len(text) && text[i] == '.' {
		fraction := i + 1
		i = digits(text, fraction)
		ok = i > fraction
	}
	if ok && i < len(text) && text[i]|0x20 == 'e' {
		i++
		if i < len(text) && (text[i] == '+' || text[i] == '-') {
			i++
		}
		power := i
		i = digits(text, i)
		ok = i > power
	}
	if !ok {
		s.fail("not a number")
		return ""
	}
	if f, err := strconv.ParseFloat(text[from:i], 64); err != nil || math.IsInf(f, 0) {
		s.fail("a number is too large")
		return ""
	}
	s.pos = i
	return text[from:i]
}
