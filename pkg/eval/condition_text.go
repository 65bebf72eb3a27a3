package eval

import (
	"errors"
	"regexp"
	"strings"
	"unicode"
	"unicode/utf8"
)

// textOp relates a value to one element of a target list.
type textOp uint8

const (
	equals textOp = iota
	startsWith
	endsWith
	contains
)

// linearElements is how many elements are compared one by one; more go into a set.
const linearElements = 8

// textList passes values that relate to some element of the target, or with
// negate to none. An absent value relates to nothing.
type textList struct {
	op       textOp
	fold     bool // ignore case; the elements are lower-cased
	negate   bool
	elements []string
	set      map[string]struct{} // of equals, when there are many
}

func textIn(op textOp, fold, negate bool) operator {
	return func(target any) (test, error) {
		elements, ok := texts(target)
		if !ok {
			return constant(negate), nil
		}
		t := &textList{op: op, fold: fold, negate: negate, elements: elements}
		if fold {
			for i, e := range elements {
				elements[i] = toLower(e)
			}
		}
		if op == equals && len(elements) > linearElements {
			t.set = make(map[string]struct{}, len(elements))
			for _, e := range elements {
				t.set[e] = struct{}{}
			}
		}
		return t, nil
	}
}

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
	var buf numberText
	_, b, ok := v.asText(buf[:0])
	return (ok && t.relates(string(b))) != t.negate
}

func (t *textList) matchList(list items) bool { return t.relates(joined(list)) != t.negate }

// relates tries the text as it is, folding ASCII on the way, and lower-cases a
// copy only if that fails and there are other letters.
func (t *textList) relates(s string) bool {
	switch t.op {
	case equals:
		if t.set != nil {
			return t.contains(s)
		}
		for _, e := range t.elements {
			if len(s) == len(e) && t.same(s, e) {
				return true
			}
		}
	case startsWith:
		for _, e := range t.elements {
			if len(s) >= len(e) && t.same(s[:len(e)], e) {
				return true
			}
		}
	case endsWith:
		for _, e := range t.elements {
			if len(s) >= len(e) && t.same(s[len(s)-len(e):], e) {
				return true
			}
		}
	case contains:
		for _, e := range t.elements {
			for i := 0; i+len(e) <= len(s); i++ {
				if t.same(s[i:i+len(e)], e) {
					return true
				}
			}
		}
	}
	if t.fold && !isASCII(s) {
		lowered := textList{op: t.op, elements: t.elements}
		return lowered.relates(toLower(s))
	}
	return false
}

// same compares texts of equal length, e being lower-cased if case is ignored.
// Most pairs differ in their first letter, whatever its case.
func (t *textList) same(s, e string) bool {
	if e == "" {
		return true
	}
	if s[0]|0x20 != e[0]|0x20 {
		return false
	}
	return s == e || t.fold && sameFolded(s, e)
}

func sameFolded(s, lowered string) bool {
	for i := range len(lowered) {
		if c := s[i]; c != lowered[i] && (c < 'A' || c > 'Z' || c|0x20 != lowered[i]) {
			return false
		}
	}
	return true
}

// contains looks s up in the set of a long list.
func (t *textList) contains(s string) bool {
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

func isASCII(s string) bool {
	for ; len(s) >= 8; s = s[8:] {
		if s[0]|s[1]|s[2]|s[3]|s[4]|s[5]|s[6]|s[7] >= utf8.RuneSelf {
			return false
		}
	}
	for i := range len(s) {
		if s[i] >= utf8.RuneSelf {
			return false
		}
	}
	return true
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

func (p pattern) matchList(list items) bool { return p.match(textValue(joined(list))) }
