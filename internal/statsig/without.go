package statsig

import (
	"encoding/json"
)

// WithoutMembers returns a JSON text without the members of its objects, at any
// depth, whose names drop holds for. A text without any, and one that is not JSON,
// stays as it is.
func WithoutMembers(text string, drop func(name string) bool) string {
	r := remover{scanner: &scanner{}, drop: drop}
	r.begin(text)
	r.value()
	r.end()
	if r.err != nil || !r.dropped {
		return text
	}
	return string(r.out)
}

// A remover writes what it reads, but for some members.
type remover struct {
	*scanner
	drop    func(name string) bool
	dropped bool
	out     []byte
}

func (r *remover) value() {
	switch r.peek() {
	case '{':
		r.out = append(r.out, '{')
		first := true
		r.members(func(name string) {
			if r.drop(name) {
				r.dropped = true
				r.skip()
				return
			}
			r.comma(&first)
			quoted, _ := json.Marshal(name) // a string: never fails
			r.out = append(append(r.out, quoted...), ':')
			r.value()
		})
		r.out = append(r.out, '}')
	case '[':
		r.out = append(r.out, '[')
		first := true
		r.elements(func() {
			r.comma(&first)
			r.value()
		})
		r.out = append(r.out, ']')
	default:
		r.out = append(r.out, r.raw()...)
	}
}

func (r *remover) comma(first *bool) {
	if !*first {
		r.out = append(r.out, ',')
	}
	*first = false
}
