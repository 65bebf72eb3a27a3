package eval

import "strings"

// A version is dotted numbers, of any size. Most fit one packed word, whose
// order is theirs; the text is kept for those that do not.
type version struct {
	packed uint64
	fits   bool
	text   string
}

// versionTest passes text that is a version in the wanted order to the target.
// What does not parse fails the test and not the evaluation, negated or not: one
// odd client build must not take a gate down for everyone else.
type versionTest struct {
	target version
	want   order
}

func newVersion(want order) operator {
	return func(target any) (test, error) {
		s, _ := target.(string)
		v, ok := parseVersion(s)
		if !ok {
			return constant(false), nil
		}
		return &versionTest{v, want}, nil
	}
}

func (t *versionTest) match(v value) bool {
	if v.kind != text {
		return false
	}
	if packed, ok := packVersion(v.text); ok && t.target.fits {
		return t.passes(packed)
	}
	got, ok := parseVersion(v.text)
	return ok && got.compare(t.target)&t.want != 0
}

// passes is match of a version that fits a word, as the target does.
func (t *versionTest) passes(packed uint64) bool {
	return compare(packed, t.target.packed)&t.want != 0
}

// parseVersion reads what stands before the first hyphen: digits between dots,
// with spaces around each part and a plus before it forgiven.
func parseVersion(s string) (version, bool) {
	if packed, ok := packVersion(s); ok {
		return version{packed: packed, fits: true, text: s}, true
	}
	s, _, _ = strings.Cut(s, "-")
	for part := range strings.SplitSeq(s, ".") {
		part = strings.TrimPrefix(strings.TrimSpace(part), "+")
		if part == "" || strings.Trim(part, "0123456789") != "" {
			return version{}, false
		}
	}
	return version{text: s}, true
}

// packVersion packs up to four parts of up to four digits into a word.
func packVersion(s string) (uint64, bool) {
	var packed, part uint64
	parts, digits := 1, 0
	for i := range len(s) {
		c := s[i]
		if c-'0' <= 9 {
			part = part*10 + uint64(c-'0')
			digits++
			continue
		}
		if digits == 0 || digits > 4 || c != '.' && c != '-' {
			return 0, false
		}
		if c == '-' {
			break
		}
		packed = packed<<16 | part
		part, digits = 0, 0
		parts++
	}
	if digits == 0 || digits > 4 || parts > 4 {
		return 0, false
	}
	return (packed<<16 | part) << (16 * (4 - parts)), true
}

func (v version) compare(w version) order {
	if v.fits && w.fits {
		return compare(v.packed, w.packed)
	}
	a, _, _ := strings.Cut(v.text, "-")
	b, _, _ := strings.Cut(w.text, "-")
	for a != "" || b != "" {
		var x, y string
		x, a, _ = strings.Cut(a, ".")
		y, b, _ = strings.Cut(b, ".")
		if o := compareDigits(x, y); o != equal {
			return o
		}
	}
	return equal
}

// compareDigits compares whole numbers of any length; a missing one is zero.
func compareDigits(a, b string) order {
	a = strings.TrimLeft(strings.TrimPrefix(strings.TrimSpace(a), "+"), "0")
	b = strings.TrimLeft(strings.TrimPrefix(strings.TrimSpace(b), "+"), "0")
	if o := compare(len(a), len(b)); o != equal {
		return o
	}
	return compare(a, b)
}
