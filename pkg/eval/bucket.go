package eval

import (
	"crypto/sha256"
	"encoding/binary"
	"math"
)

// Units fall into buckets by the hash of a salt and their id: 10,000 of them for
// rollouts, 1,000 for experiments. A unit's bucket depends on nothing else, so
// raising a percentage keeps everybody who was in.
const (
	rolloutBuckets = 10_000
	userBuckets    = 1_000
)

// hash64 returns the first eight bytes of SHA-256 of prefix and id, where prefix
// is the salt with its closing dot. The buffer keeps usual lengths off the heap.
func hash64(prefix, id string) uint64 {
	var buf [128]byte
	n := len(prefix) + len(id)
	if n > len(buf) {
		return leading64(sha256.Sum256([]byte(prefix + id)))
	}
	copy(buf[copy(buf[:], prefix):], id)
	return leading64(sha256.Sum256(buf[:n]))
}

func leading64(sum [sha256.Size]byte) uint64 { return binary.BigEndian.Uint64(sum[:8]) }

// A bucket is what user buckets are computed from: the salt with its dot, and the
// unit. Conditions that ask for the same share one, and so its answer.
type bucket struct {
	salt string
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
