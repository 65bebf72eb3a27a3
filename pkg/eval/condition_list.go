package eval

import "slices"

// equality passes values equal to the target: an absent one to null, numbers by
// value (text that is a number included), booleans strictly, lists element by
// element, and text by text.
type equality struct {
	target value
	num    float64
	text   string
	items  []string
	negate bool
}

func newEquality(negate bool) operator {
	return func(target any) (test, error) {
		t := &equality{target: valueOf(target), negate: negate}
		switch t.target.kind {
		case number:
			t.num = t.target.num
		case text:
			t.text = t.target.text
		case list:
			t.items, _ = texts(target)
		}
		if _, object := target.(map[string]any); object {
			return constant(negate), nil
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
		return ok && f == t.num
	case boolean:
		return v.kind == boolean && v.truth == t.target.truth
	case list:
		if v.kind != list || v.len() != len(t.items) {
			return false
		}
		for i, want := range t.items {
			if !v.item(i).is(want) {
				return false
			}
		}
		return true
	}
	return v.kind != list && v.is(t.text)
}

// is reports whether the value's text is s.
func (v value) is(s string) bool {
	if v.kind == text {
		return v.text == s
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
		elements, ok := texts(target)
		if _, isList := target.([]any); !ok || !isList {
			return constant(false), nil
		}
		slices.Sort(elements)
		return &arrayTest{op, slices.Compact(elements)}, nil
	}
}

func (t *arrayTest) match(v value) bool {
	if v.kind != list {
		return false
	}
	switch t.op {
	case containsAny:
		return t.some(v)
	case containsNone:
		return !t.some(v)
	case containsAll:
		return t.every(v)
	}
	return !t.every(v)
}

func (t *arrayTest) some(v value) bool {
	for i := range v.len() {
		if _, ok := t.find(v.item(i)); ok {
			return true
		}
	}
	return false
}

func (t *arrayTest) every(v value) bool {
	for _, e := range t.elements {
		if !contained(v, e) {
			return false
		}
	}
	return true
}

func contained(v value, e string) bool {
	for i := range v.len() {
		if v.item(i).is(e) {
			return true
		}
	}
	return false
}

func (t *arrayTest) find(v value) (int, bool) {
	if v.kind == text {
		return slices.BinarySearch(t.elements, v.text)
	}
	var buf numberText
	_, b, ok := v.asText(buf[:0])
	if !ok {
		return 0, false
	}
	return slices.BinarySearchFunc(t.elements, b, func(e string, b []byte) int {
		switch {
		case e < string(b):
			return -1
		case e > string(b):
			return 1
		}
		return 0
	})
}
