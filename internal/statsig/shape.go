package statsig

import "strings"

// A shape is what is known of objects that are much alike, such as the events of
// bodies: what stands between their values, and what comes after what. One that is
// like those before is read by comparing: where the same bytes stand between two
// values as the last time, blanks and all, they are right and mean the same.
//
// It is also the place in such an object, so objects of a shape are not nested in
// each other.
type shape struct {
	wants func(name string) bool // tells the members that are read; others are stepped over

	name    string // of the member that was stepped to
	members int    // of this object so far
	at      int    // the step that was taken last
	steps   [shapeSteps]step
	taken   int // of the steps
}

// Bounds of what is remembered of objects of one kind.
const (
	shapeSteps = 32
	stepBytes  = 128
)

// Steps with a meaning of their own.
const (
	beginning = 0              // of an object
	elsewhere = shapeSteps - 1 // behind what is not remembered
)

// A step is the way from the end of a value, or from before the object, to the value
// of a member.
type step struct {
	text   string // all of it, such as `,"user":`; "" is no step
	name   string // of the member
	wanted bool
	next   int // the step that came after it the last time
}

// forget makes o know nothing.
func (o *shape) forget() {
	o.taken, o.steps[beginning].next, o.steps[elsewhere].next = 0, 0, 0
}

// open begins an object of a shape. It must come next.
func (s *scanner) open(o *shape) {
	s.enter()
	o.at, o.members = beginning, 0
}

// next steps to the next member that the shape wants, and tells whether there is
// one. The caller must consume the value.
func (s *scanner) next(o *shape) bool {
	for {
		o.members++
		likely := &o.steps[o.steps[o.at].next]
		if n := s.pos + len(likely.text); likely.text != "" && n <= len(s.text) && s.text[s.pos:n] == likely.text && o.members <= maxElements {
			o.at = o.steps[o.at].next
			s.pos = n
			if likely.wanted {
				o.name = likely.name
				return true
			}
		} else {
			from := s.pos
			if !s.comes(o.members) {
				s.depth--
				return false
			}
			name, ok := s.memberName(o.members)
			if !ok {
				return false
			}
			s.peek()
			if o.name = name; o.learn(s.text[from:s.pos]) {
				return true
			}
		}
		s.skip()
	}
}

// learn remembers how the member was come to, and tells whether it is wanted.
func (o *shape) learn(text string) (wanted bool) {
	for i := 1; i <= o.taken; i++ {
		if o.steps[i].text == text {
			o.steps[o.at].next, o.at = i, i
			return o.steps[i].wanted
		}
	}
	wanted = o.wants(o.name)
	if len(text) > stepBytes {
		o.at = elsewhere
		return wanted
	}
	if o.taken+1 == elsewhere {
		if o.forget(); o.at != beginning {
			o.at = elsewhere
		}
	}
	o.taken++
	o.steps[o.taken] = step{text: strings.Clone(text), name: strings.Clone(o.name), wanted: wanted} // they outlive the body
	o.steps[o.at].next, o.at = o.taken, o.taken
	return wanted
}
