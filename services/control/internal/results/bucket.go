package results

import (
	"context"
	"fmt"
	"math"
	"sync"

	"golang.org/x/sync/errgroup"

	"github.com/sluice-flags/sluice/pkg/flags"
)

// A keyRange is a range of unit keys, with both its ends. Keys are hashes, so
// ranges of equal width hold about equally many units; and facts are sorted by
// them, so a range of each event is read in one go.
type keyRange struct{ first, last uint64 }

// bucket is one of n ranges of equal width that make up all keys.
func bucket(i, n int) keyRange {
	width := math.MaxUint64/uint64(n) + 1 // 0 for a single one, which wraps to all
	r := keyRange{first: uint64(i) * width, last: uint64(i+1)*width - 1}
	if i == n-1 {
		r.last = math.MaxUint64
	}
	return r
}

func (r keyRange) condition(key string) string {
	if r.first == 0 && r.last == math.MaxUint64 {
		return "1"
	}
	return fmt.Sprintf("%s BETWEEN %d AND %d", key, r.first, r.last)
}

// How many numbers of units are made in one go. They and what they are made of
// are what a query holds in memory, so this bounds it, whatever the number of
// units and of metrics; buckets much smaller only cost round trips.
const (
	numbersInBucket = 700_000 // 60 MB
	maxBuckets      = 256
	// The events of units that are not users are not sorted by them: every bucket
	// reads them all.
	otherNumbersInBucket = 8 * numbersInBucket
)

// bucketsFor is into how many buckets so many units, of so many numbers each, are
// divided.
func bucketsFor(units uint64, numbers int, userUnits bool) int {
	in := uint64(numbersInBucket)
	if !userUnits {
		in = otherNumbersInBucket
	}
	const least = 8 // a unit has its key, group and time besides
	all := units * uint64(max(numbers, least))
	return int(min(max((all+in-1)/in, 1), maxBuckets))
}

// eachBucket calls do for each of n buckets, and reports how many are done. Those of
// users are taken two at once: the engine does not divide among cores the planning of
// a statement, nor its last steps. The first that fails ends the others.
func (p *plan) eachBucket(ctx context.Context, n int, do func(ctx context.Context, of keyRange) error) error {
	group, doing := errgroup.WithContext(ctx)
	group.SetLimit(1)
	if p.unitType == flags.DefaultUnitType {
		group.SetLimit(2)
	}
	var mu sync.Mutex
	done := 0
	reportPart(ctx, done, n)
	for i := range n {
		group.Go(func() error {
			if err := do(doing, bucket(i, n)); err != nil {
				return fmt.Errorf("bucket %d of %d: %w", i+1, n, err)
			}
			mu.Lock()
			defer mu.Unlock()
			done++
			reportPart(ctx, done, n)
			return nil
		})
	}
	return group.Wait()
}

type partKey struct{}

// onPart returns a context under which work that is done in parts reports how many
// of them are done.
func onPart(ctx context.Context, report func(done, of int)) context.Context {
	return context.WithValue(ctx, partKey{}, report)
}

func reportPart(ctx context.Context, done, of int) {
	if report, ok := ctx.Value(partKey{}).(func(done, of int)); ok {
		report(done, of)
	}
}
