package flags

import (
	"fmt"
	"strconv"
	"strings"
)

// A Problem is one thing wrong with a document. Pointer is the JSON pointer of
// the member that has to change, Code says in one stable word what kind of
// mistake it is, Message says to a person what to do.
type Problem struct {
	Pointer string `json:"pointer"`
	Code    string `json:"code"`
	Message string `json:"message"`
}

// The codes of problems.
const (
	CodeSyntax    = "syntax"     // not JSON, not UTF-8, too deep, or followed by something else
	CodeUnknown   = "unknown"    // no such member, kind, operator, …
	CodeDuplicate = "duplicate"  // given twice
	CodeType      = "type"       // another JSON type is wanted
	CodeRequired  = "required"   // missing or empty
	CodeInvalid   = "invalid"    // of the right type, but not a lawful value
	CodeTooLarge  = "too-large"  // beyond a limit
	CodeName      = "name"       // breaks the rule for names
	CodeTaken     = "name-taken" // the name belongs to another entity
	CodeRetired   = "retired"    // the name belonged to a deleted entity
	CodeMissing   = "missing"    // refers to something that does not exist
	CodeArchived  = "archived"   // refers to something that is archived
	CodeCycle     = "cycle"      // refers to itself, directly or through others
	CodeInUse     = "in-use"     // others refer to it
	CodeImmutable = "immutable"  // cannot change (any more)
)

// Problems is everything wrong with a document, as an error.
type Problems []Problem

// Error lists the problems, one after the other.
func (p Problems) Error() string {
	var b strings.Builder
	for i, one := range p {
		if i > 0 {
			b.WriteString("; ")
		}
		if one.Pointer != "" {
			b.WriteString(one.Pointer + ": ")
		}
		b.WriteString(one.Message)
	}
	return b.String()
}

func (p *Problems) add(pointer, code, format string, args ...any) {
	*p = append(*p, Problem{Pointer: pointer, Code: code, Message: fmt.Sprintf(format, args...)})
}

// at extends a JSON pointer by members and indexes.
func at(pointer string, steps ...any) string {
	var b strings.Builder
	b.WriteString(pointer)
	for _, s := range steps {
		b.WriteByte('/')
		switch s := s.(type) {
		case int:
			b.WriteString(strconv.Itoa(s))
		case string:
			b.WriteString(escapePointer.Replace(s))
		}
	}
	return b.String()
}

var escapePointer = strings.NewReplacer("~", "~0", "/", "~1")
