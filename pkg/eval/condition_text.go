package eval

import (
	"errors"
	"regexp"
	"strings"
	"unicode"
	"unicode/utf8"
)

// A relation is how a value relates to an element of a target list.
type relation uint8

const (
	equals relation = iota
	startsWith
	endsWith
	contains
)

// textList passes values that relate to some element of the target, or with
// negate to none. An absent value relates to nothing.
type textList struct {
	relation relation
	fold     bool // ignore case; the elements are lower-cased
	negate   bool
	elements []string
	longest  int                 // of the elements, in bytes
	set      map[string]struct{} // of equals, when there are many
}

// textIn makes operators that ask whether text relates to some of a list.
func textIn(relation relation, fold, negate bool) operator {
	return func(target any) (test, error) {
		elements, ok := texts(target)
		if !ok {
			return constant(negate), nil
		}
		t := &textList{relation: relation, fold: fold, negate: negate, elements: elements}
		for i, e := range elements {
			if fold {
				elements[i] = toLower(e)
			}
			t.longest = max(t.longest, len(elements[i]))
		}
		if relation == equals && len(elements) > linearElements {
			t.set = make(map[string]struct{}, len(elements))
			for _, e := range elements {
				t.set[e] = struct{}{}
			}
		}
		return t, nil
	}
}

// linearElements is how many elements are compared one by one; more go into a set.
const linearElements = 8

// texts returns the elements of a target list as text, without null.
func texts(target any) ([]string, bool) {
	list, ok := target.([]any)
	if !ok {
		return nil, false
	}
	out := make([]string, 0, len(list))
	for _, e := range list {
		if v, nested := valueOf(e); nested != nil {
			out = append(out, joined(nested))
		} else if v.kind != absent {
			out = append(out, v.string())
		}
	}
	return out, true
}

func (t *textList) match(v value) bool {
	if v.kind == text {
		return t.relates(v.text) != t.negate
	}
	return t.matchScalar(v)
}

// matchScalar is match of what is no text yet.
func (t *textList) matchScalar(v value) bool {
	var buf numberText
	_, b, ok := v.asText(buf[:0])
	return (ok && t.relates(string(b))) != t.negate
}

func (t *textList) matchList(list items) bool { return t.relates(joined(list)) != t.negate }

// relates tries the text as it is, folding ASCII on the way, and lower-cases a
// copy only if that fails and there are other letters where an element could be.
func (t *textList) relates(s string) bool {
	switch {
	case t.relation == endsWith:
		return t.ends(s)
	case t.relation == startsWith:
		return t.starts(s)
	case t.relation == contains:
		return t.contained(s)
	case t.set != nil:
		return t.inSet(s)
	}
	for _, e := range t.elements {
		if len(s) == len(e) && t.same(s, e) {
			return true
		}
	}
	return t.odd(s) && t.relatesLowered(s)
}

func (t *textList) starts(s string) bool {
	for _, e := range t.elements {
		if len(s) >= len(e) && t.same(s[:len(e)], e) {
			return true
		}
	}
	return t.odd(s[:min(len(s), t.longest)]) && t.relatesLowered(s)
}

func (t *textList) ends(s string) bool {
	for _, e := range t.elements {
		if len(s) >= len(e) && t.same(s[len(s)-len(e):], e) {
			return true
		}
	}
	return t.odd(s[max(0, len(s)-t.longest):]) && t.relatesLowered(s)
}

func (t *textList) contained(s string) bool {
	for _, e := range t.elements {
		for i := 0; i+len(e) <= len(s); i++ {
			if t.same(s[i:i+len(e)], e) {
				return true
			}
		}
	}
	return t.odd(s) && t.relatesLowered(s)
}

// inSet is equals for long lists.
func (t *textList) inSet(s string) bool {
	if _, ok := t.set[s]; ok || !t.fold {
		return ok
	}
	if !isASCII(s) {
		_, ok := t.set[toLower(s)]
		return ok
	}
	var buf [64]byte
	lowered := append(buf[:0], s...)
	for i, c := range lowered {
		if 'A' <= c && c <= 'Z' {
			lowered[i] = c | 0x20
		}
	}
	_, ok := t.set[string(lowered)]
	return ok
}

// same compares texts of equal length, e being lower-cased if case is ignored.
func (t *textList) same(s, e string) bool {
	s = s[:len(e)]
	for i := range len(e) {
		if c := s[i]; c != e[i] && (c|0x20 != e[i] || c-'A' > 'Z'-'A' || !t.fold) {
			return false
		}
	}
	return true
}

// odd reports whether text may relate although it does not as it is.
func (t *textList) odd(s string) bool { return t.fold && !isASCII(s) }

// relatesLowered relates the text once it is lower-cased.
func (t *textList) relatesLowered(s string) bool {
	lowered := textList{relation: t.relation, elements: t.elements}
	return lowered.relates(toLower(s))
}

func isASCII(s string) bool {
	var all uint64
	for ; len(s) >= 8; s = s[8:] {
		all |= word(s)
	}
	for i := range len(s) {
		all |= uint64(s[i])
	}
	return all&0x8080808080808080 == 0
}

// word is the first eight bytes of s; one load to the processor.
func word(s string) uint64 {
	_ = s[7]
	return uint64(s[0]) | uint64(s[1])<<8 | uint64(s[2])<<16 | uint64(s[3])<<24 |
		uint64(s[4])<<32 | uint64(s[5])<<40 | uint64(s[6])<<48 | uint64(s[7])<<56
}

// toLower lower-cases by the full Unicode rules that JavaScript and Rust follow:
// as strings.ToLower, and with the two rules that look beyond one letter.
func toLower(s string) string {
	if isASCII(s) || !strings.ContainsAny(s, "\u0130\u03a3") {
		return strings.ToLower(s)
	}
	var b strings.Builder
	runes := []rune(s)
	for i, c := range runes {
		switch {
		case c == '\u0130': // dotted capital I keeps its dot
			b.WriteString("i\u0307")
		case c == '\u03a3' && casedBefore(runes[:i]) && !casedAfter(runes[i+1:]):
			b.WriteRune('\u03c2') // final sigma
		default:
			b.WriteRune(unicode.ToLower(c))
		}
	}
	return b.String()
}

func casedBefore(runes []rune) bool {
	for i := len(runes) - 1; i >= 0; i-- {
		if !caseIgnorable(runes[i]) {
			return cased(runes[i])
		}
	}
	return false
}

func casedAfter(runes []rune) bool {
	for _, c := range runes {
		if !caseIgnorable(c) {
			return cased(c)
		}
	}
	return false
}

func cased(c rune) bool {
	return unicode.In(c, unicode.Lu, unicode.Ll, unicode.Lt, unicode.Other_Lowercase, unicode.Other_Uppercase)
}

func caseIgnorable(c rune) bool {
	return unicode.In(c, unicode.Mn, unicode.Me, unicode.Cf, unicode.Lm, unicode.Sk) ||
		strings.ContainsRune("'.:\u00b7\u0387\u055f\u05f4\u2018\u2019\u2024\u2027\ufe13\ufe52\ufe55\uff07\uff0e\uff1a", c)
}

// Limits of regular expressions. The engine is linear in the subject, so these
// bound one evaluation.
const (
	maxPattern = 4096 // bytes
	maxSubject = 1000 // characters
)

// pattern passes values in whose text a regular expression is found.
type pattern struct{ re *regexp.Regexp }

var errPattern = errors.New("pattern is longer than 4096 bytes")

// newPattern compiles a pattern. One that this engine cannot run matches
// nothing, as in the SDKs; one that is absurdly long is refused.
func newPattern(target any) (test, error) {
	s, ok := target.(string)
	if !ok {
		return constant(false), nil
	}
	if len(s) > maxPattern {
		return nil, errPattern
	}
	re, err := regexp.Compile(s)
	if err != nil {
		return constant(false), nil //nolint:nilerr // see above
	}
	return pattern{re}, nil
}

func (p pattern) match(v value) bool {
	switch v.kind {
	case text:
		return !longerThan(v.text, maxSubject) && p.re.MatchString(v.text)
	case number, boolean:
		return p.re.MatchString(v.string())
	}
	return false
}

// longerThan reports whether s has more than n characters.
func longerThan(s string, n int) bool { return len(s) > n && utf8.RuneCountInString(s) > n }

// matchList searches a list as JSON.
func (p pattern) matchList(list items) bool { return p.match(textValue(string(appendAny(nil, list)))) }
