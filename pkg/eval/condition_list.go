package eval

// equality passes values equal to the target: an absent one to null, numbers by
// value (text that is a number included), booleans strictly, lists element by
// element, objects by all that is in them, and text by text.
type equality struct {
	target value
	items  []string // of a list
	negate bool
}

func newEquality(negate bool) operator {
	return func(target any) (test, error) {
		t := &equality{negate: negate}
		t.target, _ = valueOf(target)
		if t.target.kind == listKind {
			t.items, _ = elements(target)
		}
		return t, nil
	}
}

func (t *equality) match(v value) bool { return t.equal(v) != t.negate }

func (t *equality) equal(v value) bool {
	switch t.target.kind {
	case absent:
		return v.kind == absent
	case number:
		f, ok := v.float()
		return ok && f == t.target.num
	case boolean, objectKind:
		return v == t.target
	case text:
		return v.is(t.target.text)
	}
	return false
}

func (t *equality) matchList(list items) bool {
	if t.target.kind != listKind || length(list) != len(t.items) {
		return t.negate
	}
	for i, want := range t.items {
		if !element(list, i).is(want) {
			return t.negate
		}
	}
	return !t.negate
}

// is reports whether the value's text is s.
func (v value) is(s string) bool {
	if v.kind == text {
		return v.text == s
	}
	if v.kind == objectKind {
		return false
	}
	var buf numberText
	_, b, ok := v.asText(buf[:0])
	return ok && string(b) == s
}

// arrayOp relates a list to a list of targets.
type arrayOp uint8

const (
	containsAny arrayOp = iota
	containsNone
	containsAll
	containsNotAll
)

// arrayTest passes lists that contain any, none, all or not all of the target's
// elements, compared as text. What is no list fails all four.
type arrayTest struct {
	op       arrayOp
	elements []string
}

func newArray(op arrayOp) operator {
	return func(target any) (test, error) {
		wanted, ok := elements(target)
		if !ok {
			return constant(false), nil
		}
		return &arrayTest{op, wanted}, nil
	}
}

func (t *arrayTest) match(value) bool { return false }

func (t *arrayTest) matchList(list items) bool {
	switch t.op {
	case containsAny:
		return t.some(list)
	case containsNone:
		return !t.some(list)
	case containsAll:
		return t.every(list)
	}
	return !t.every(list)
}

func (t *arrayTest) some(list items) bool {
	for i := range length(list) {
		if t.has(element(list, i)) {
			return true
		}
	}
	return false
}

func (t *arrayTest) every(list items) bool {
	for _, e := range t.elements {
		if !contained(list, e) {
			return false
		}
	}
	return true
}

func contained(list items, e string) bool {
	for i := range length(list) {
		if element(list, i).is(e) {
			return true
		}
	}
	return false
}

// has reports whether v is one of the target's elements.
func (t *arrayTest) has(v value) bool {
	for _, e := range t.elements {
		if v.is(e) {
			return true
		}
	}
	return false
}
