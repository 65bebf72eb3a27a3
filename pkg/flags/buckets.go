package flags

// A bucketSet is some of a layer's buckets.
type bucketSet [Buckets]bool

func (s *bucketSet) add(r [2]int) {
	for i := max(r[0], 0); i < min(r[1], Buckets); i++ {
		s[i] = true
	}
}

func (s *bucketSet) overlaps(r [2]int) bool {
	for i := max(r[0], 0); i < min(r[1], Buckets); i++ {
		if s[i] {
			return true
		}
	}
	return false
}

func (s *bucketSet) count() int {
	n := 0
	for _, in := range s {
		if in {
			n++
		}
	}
	return n
}

// list is the buckets one by one.
func (s *bucketSet) list() []int {
	var out []int
	for i, in := range s {
		if in {
			out = append(out, i)
		}
	}
	return out
}

// ranges is the buckets as half-open ranges.
func (s *bucketSet) ranges() [][2]int {
	var out [][2]int
	for i, in := range s {
		switch {
		case !in:
		case len(out) > 0 && out[len(out)-1][1] == i:
			out[len(out)-1][1]++
		default:
			out = append(out, [2]int{i, i + 1})
		}
	}
	return out
}

// owned is the set of an experiment's buckets.
func (e *Experiment) owned() bucketSet {
	var s bucketSet
	for _, r := range e.Buckets {
		s.add(r)
	}
	return s
}

// freeBuckets is what the running experiments of a layer, but for one, leave.
func (s *State) freeBuckets(layer, but Ref) bucketSet {
	var taken bucketSet
	for _, e := range s.experimentsIn(layer) {
		if e.Ref() == but || e.Status != ExperimentRunning {
			continue
		}
		for _, r := range e.Buckets {
			taken.add(r)
		}
	}
	for i := range taken {
		taken[i] = !taken[i]
	}
	return taken
}

// allocate returns n buckets: those of have first, so that a larger allocation
// keeps every unit that is in, then the lowest of free. Fewer come back if there
// are no more.
func allocate(n int, have, free bucketSet) bucketSet {
	var out bucketSet
	for _, from := range []bucketSet{have, free} {
		for i := range from {
			if n > 0 && from[i] && !out[i] {
				out[i] = true
				n--
			}
		}
	}
	return out
}
