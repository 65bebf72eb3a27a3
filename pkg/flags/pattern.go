package flags

import (
	"regexp"
	"strings"
)

// patternProblem says why a regular expression cannot be used, if so. Those that
// can mean the same to every family of SDK, and harm none.
func patternProblem(s string) string {
	if _, err := regexp.Compile(s); err != nil {
		return strings.TrimPrefix(err.Error(), "error parsing regexp: ")
	}
	if syntax := unportable(s); syntax != "" {
		return "the regular expression uses " + syntax + ", which not every SDK reads alike"
	}
	if nestsRepeats(s) {
		return "the regular expression repeats what repeats itself, which can take an SDK that backtracks for ever"
	}
	return ""
}

// unportable finds syntax that this engine reads and another family's does not,
// or reads differently: flags, named groups, classes and anchors by name, literal
// text, octal and braced code points.
func unportable(s string) string {
	for i := 0; i+1 < len(s); i++ {
		two := s[i : i+2]
		switch {
		case s[i] == '\\':
			if strings.ContainsRune("pPAzQEaC01234567", rune(s[i+1])) || strings.HasPrefix(s[i:], `\x{`) {
				return two
			}
			i++ // whatever is escaped is a literal
		case two == "(?" && !strings.HasPrefix(s[i:], "(?:"):
			return two
		case two == "[:":
			return two
		}
	}
	return ""
}

// countPattern is a repetition by number.
var countPattern = regexp.MustCompile(`^\{\d+(,\d*)?\}`)

// nestsRepeats reports whether a group of varying length is itself repeated, as
// in (a+)+. Ours would not mind, but SDKs with a backtracking engine try every
// way to divide a text. The expression compiles and is portable.
func nestsRepeats(s string) bool {
	varies := []bool{false} // per open group: something in it has no fixed number
	atom := false           // what just ended is a group that varies
	for i := 0; i < len(s); i++ {
		was := atom
		atom = false
		switch s[i] {
		case '\\':
			i++
		case '[':
			i = classEnd(s, i)
		case '(':
			varies = append(varies, false)
		case ')':
			last := len(varies) - 1
			atom = varies[last]
			varies = varies[:last]
			varies[last-1] = varies[last-1] || atom
		case '*', '+', '{':
			count := countPattern.FindString(s[i:])
			if s[i] == '{' && count == "" {
				continue // a literal brace
			}
			if was {
				return true
			}
			if s[i] != '{' || strings.Contains(count, ",") {
				varies[len(varies)-1] = true
			}
			i += max(0, len(count)-1)
		}
	}
	return false
}

// classEnd is the index of the bracket that ends the class beginning at i. One
// right at its beginning is a member.
func classEnd(s string, i int) int {
	if i++; i < len(s) && s[i] == '^' {
		i++
	}
	for first := true; i < len(s) && (first || s[i] != ']'); first = false {
		if s[i] == '\\' {
			i++
		}
		i++
	}
	return i
}
