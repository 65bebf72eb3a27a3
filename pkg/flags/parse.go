package flags

import (
	"bytes"
	"encoding/json"
	"errors"
	"strconv"
	"unicode/utf8"
)

// Limits of what is read at all. What a document may hold is validated later.
const (
	maxRaw   = 1 << 20 // bytes of one document
	maxDepth = 32      // nesting of JSON
)

// A node is one JSON value together with its text. Unlike a decoded map it knows
// about members that were given twice, and in which order.
type node struct {
	kind    byte // '{' '[' '"' '0' 't' (true or false) 'n'
	raw     []byte
	text    string // of a string
	members []member
	items   []node
}

type member struct {
	name  string
	value node
}

// parse reads one JSON value that fills raw.
func parse(raw []byte) (node, Problems) {
	var problems Problems
	switch {
	case len(raw) > maxRaw:
		problems.add("", CodeTooLarge, "the document has %d bytes; at most %d are read", len(raw), maxRaw)
		return node{}, problems
	case len(bytes.TrimSpace(raw)) == 0:
		problems.add("", CodeSyntax, "there is no document")
		return node{}, problems
	case !utf8.Valid(raw):
		problems.add("", CodeSyntax, "the document is not valid UTF-8")
		return node{}, problems
	}
	// The grammar is the standard library's business, and trailing data with it.
	// What comes after may then rely on it.
	if err := json.Unmarshal(raw, new(json.RawMessage)); err != nil {
		message := err.Error()
		if syntax, ok := errors.AsType[*json.SyntaxError](err); ok {
			message += " at byte " + strconv.FormatInt(syntax.Offset, 10)
		}
		problems.add("", CodeSyntax, "not JSON: %s", message)
		return node{}, problems
	}
	p := parser{rest: raw, problems: &problems}
	root := p.value("", 1)
	return root, problems
}

// A parser reads text that is known to be valid JSON.
type parser struct {
	rest     []byte
	problems *Problems
	tooDeep  bool
}

func (p *parser) skip() {
	p.rest = bytes.TrimLeft(p.rest, " \t\r\n")
}

// accept takes the next byte if it is c.
func (p *parser) accept(c byte) bool {
	p.skip()
	if p.rest[0] != c {
		return false
	}
	p.rest = p.rest[1:]
	return true
}

func (p *parser) value(pointer string, depth int) node {
	p.skip()
	start := p.rest
	n := node{kind: start[0]}
	switch n.kind {
	case '{', '[':
		if depth > maxDepth {
			if !p.tooDeep {
				p.problems.add(pointer, CodeSyntax, "nested deeper than %d", maxDepth)
			}
			p.tooDeep = true
			p.leave()
			break
		}
		p.rest = p.rest[1:]
		if n.kind == '{' {
			p.object(&n, pointer, depth)
		} else {
			for !p.accept(']') {
				n.items = append(n.items, p.value(at(pointer, len(n.items)), depth+1))
				p.accept(',')
			}
		}
	case '"':
		n.text = p.string(pointer)
	case 't', 'f':
		n.kind = 't'
		p.literal()
	case 'n':
		p.literal()
	default:
		n.kind = '0'
		p.literal()
	}
	n.raw = start[:len(start)-len(p.rest)]
	return n
}

func (p *parser) object(n *node, pointer string, depth int) {
	seen := map[string]bool{}
	for !p.accept('}') {
		p.skip()
		name := p.string(pointer)
		p.accept(':')
		if seen[name] {
			p.problems.add(at(pointer, name), CodeDuplicate, "member %q is given twice", name)
		}
		seen[name] = true
		n.members = append(n.members, member{name, p.value(at(pointer, name), depth+1)})
		p.accept(',')
	}
}

// string reads a string. A half of a surrogate pair is no character and would
// silently become another, so it is refused.
func (p *parser) string(pointer string) string {
	end, escaped := 1, false
	for p.rest[end] != '"' {
		if p.rest[end] == '\\' {
			end, escaped = end+1, true
		}
		end++
	}
	quoted := p.rest[:end+1]
	p.rest = p.rest[end+1:]
	if !escaped {
		return string(quoted[1:end])
	}
	var text string
	if err := json.Unmarshal(quoted, &text); err != nil {
		p.problems.add(pointer, CodeSyntax, "not a string: %v", err)
	}
	if loneSurrogate(quoted) {
		p.problems.add(pointer, CodeSyntax, "a string holds half of a surrogate pair")
	}
	return text
}

// loneSurrogate reports whether an escaped string has \ud800 to \udfff other than
// as a pair.
func loneSurrogate(quoted []byte) bool {
	unit := func(i int) (uint64, bool) {
		if i+6 > len(quoted) || quoted[i] != '\\' || quoted[i+1] != 'u' {
			return 0, false
		}
		u, err := strconv.ParseUint(string(quoted[i+2:i+6]), 16, 16)
		return u, err == nil
	}
	for i := 0; i < len(quoted); i++ {
		if quoted[i] != '\\' {
			continue
		}
		u, ok := unit(i)
		switch {
		case !ok:
			i++ // an escape of two bytes
		case u>>10 == 0x36: // high half: the low one must follow
			low, ok := unit(i + 6)
			if !ok || low>>10 != 0x37 {
				return true
			}
			i += 11
		case u>>10 == 0x37:
			return true
		default:
			i += 5
		}
	}
	return false
}

// literal passes over a number, true, false or null.
func (p *parser) literal() {
	end := bytes.IndexAny(p.rest, ",]} \t\r\n")
	if end < 0 {
		end = len(p.rest)
	}
	p.rest = p.rest[end:]
}

// leave passes over an array or object without looking into it.
func (p *parser) leave() {
	depth := 0
	for {
		switch p.rest[0] {
		case '"':
			p.string("")
			continue
		case '{', '[':
			depth++
		case '}', ']':
			depth--
		}
		p.rest = p.rest[1:]
		if depth == 0 {
			return
		}
	}
}
