package eval

import (
	"crypto/sha256"
	"encoding"
	"encoding/binary"
	"maps"
	"math"
	"slices"
)

// Units fall into buckets by the hash of a salt and their id: 10,000 of them for
// rollouts, 1,000 for experiments. A unit's bucket depends on nothing else, so
// raising a percentage keeps everybody who was in.
const (
	rolloutBuckets = 10_000
	userBuckets    = 1_000
)

// A salt is what is hashed before a unit's id, ready to be hashed: text, which
// ends in a dot, at the start of a block of SHA-256.
type salt struct {
	text  string
	block [sha256.BlockSize]byte
}

func newSalt(text string) salt {
	s := salt{text: text}
	copy(s.block[:], text)
	return s
}

// hash returns the first eight bytes of SHA-256 of salt and id.
//
// Usually both fit two blocks. These are then padded here, and the answer is read
// from the state of the standard library's hash once it has taken them: two
// thirds of the time that its one-shot sum takes.
func (s *salt) hash(id string) uint64 {
	const lengthSize = 8
	var buf [2 * sha256.BlockSize]byte
	n := len(s.text) + len(id)
	if n >= len(buf)-lengthSize || len(s.text) > len(s.block) || !stateReadable {
		return s.sum(id)
	}
	*(*[sha256.BlockSize]byte)(buf[:]) = s.block
	copy(buf[len(s.text):], id)
	buf[n] = 0x80
	end := sha256.BlockSize
	if n >= end-lengthSize {
		end = len(buf)
	}
	binary.BigEndian.PutUint16(buf[end-2:], uint16(8*n))
	first, _ := stateAfter(buf[:end])
	return first
}

// sum is hash for any length.
func (s *salt) sum(id string) uint64 {
	h := sha256.New()
	h.Write([]byte(s.text))
	h.Write([]byte(id))
	var sum [sha256.Size]byte
	return binary.BigEndian.Uint64(h.Sum(sum[:0]))
}

// stateAfter returns the first eight bytes of the state of SHA-256 after whole
// blocks, if the standard library's hash shows it: it marshals as four bytes that
// name the format, the state, and more that is not needed.
func stateAfter(blocks []byte) (first uint64, ok bool) {
	h := sha256.New()
	h.Write(blocks)
	m, ok := h.(encoding.BinaryAppender)
	if !ok {
		return 0, false
	}
	var buf [112]byte // it takes 108
	b, err := m.AppendBinary(buf[:0])
	if err != nil || len(b) < 12 {
		return 0, false
	}
	return binary.BigEndian.Uint64(b[4:]), true
}

// stateReadable is whether stateAfter is right about the library that this
// program was built with; if not, sums are made the ordinary way.
var stateReadable = func() bool {
	var empty salt
	first, ok := stateAfter(append([]byte{0x80}, make([]byte, sha256.BlockSize-1)...))
	return ok && first == empty.sum("")
}()

// A bucket is what user buckets are computed from: the salt and the unit.
// Conditions that ask for the same share one, and so its answer.
type bucket struct {
	salt salt
	unit unit
}

// bucket returns the shared form of k.
func (b *builder) bucket(k bucket) *bucket {
	if b.lastBucket == nil || *b.lastBucket != k {
		b.lastBucket = &k
	}
	return b.lastBucket
}

// A bucketRange is the user buckets from one up to, and without, another: what an
// order operator asks of a bucket, in whole numbers. The arms of an experiment
// are such ranges.
type bucketRange struct{ from, to int32 }

func (r bucketRange) has(b int32) bool { return r.from <= b && b < r.to }

// bucketsOf returns the buckets that a test of numbers passes.
func bucketsOf(t numberTest) bucketRange {
	within := func(f float64) int32 { return int32(min(max(f, 0), userBuckets)) }
	from, to := int32(0), int32(userBuckets)
	switch t.want {
	case less:
		to = within(math.Ceil(t.target))
	case less | equal:
		to = within(math.Floor(t.target) + 1)
	case greater:
		from = within(math.Floor(t.target) + 1)
	case greater | equal:
		from = within(math.Ceil(t.target))
	}
	return bucketRange{from, to}
}

// buckets passes user buckets that are in a set.
type buckets struct {
	set    [(userBuckets + 63) / 64]uint64
	negate bool
}

// newBuckets compiles any and none on user buckets, whose targets are often
// hundreds of numbers.
func newBuckets(target any, negate bool) test {
	elements, ok := texts(target)
	if object, isObject := target.(map[string]any); isObject { // of the v2 shape
		elements, ok = slices.Collect(maps.Keys(object)), true
	}
	if !ok {
		return constant(negate)
	}
	t := &buckets{negate: negate}
	for _, e := range elements {
		if f, ok := parseNumber(e); ok && f >= 0 && f < userBuckets && f == math.Trunc(f) {
			t.set[int(f)/64] |= 1 << (int(f) % 64)
		}
	}
	return t
}

func (t *buckets) match(v value) bool {
	b := int(v.num)
	return v.kind == number && t.set[b/64]&(1<<(b%64)) != 0 != t.negate
}
