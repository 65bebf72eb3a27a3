package eval

// numberTest passes numbers, and text that is one, in the wanted order to the
// target. Everything else fails.
type numberTest struct {
	target float64
	want   order
}

func newNumber(want order) operator {
	return func(target any) (test, error) {
		f, ok := scalarOf(target).float()
		if !ok {
			return constant(false), nil
		}
		return numberTest{f, want}, nil
	}
}

func (t numberTest) match(v value) bool {
	f, ok := v.float()
	return ok && compare(f, t.target)&t.want != 0
}
