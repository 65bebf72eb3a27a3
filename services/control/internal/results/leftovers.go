package results

import (
	"context"
	"errors"
	"slices"
	"sync"

	"github.com/sluice-flags/sluice/internal/warehouse"
)

// leftovers are the revisions that this process could not drop while the warehouse
// was away, for which erasures of their project wait. They are the process's and
// not a service's, as the warehouse that comes back is another connection.
var leftovers struct {
	mu        sync.Mutex
	revisions []uint64
}

// drop removes a rollup that counts no more, or what stood beside one, even if ctx
// has ended. What cannot be removed now [Service.DropLeftovers] will.
func drop(ctx context.Context, db *warehouse.DB, revision uint64) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), endTimeout)
	defer cancel()
	err := db.DropRollup(ctx, revision)
	if err != nil {
		leftovers.mu.Lock()
		defer leftovers.mu.Unlock()
		leftovers.revisions = append(leftovers.revisions, revision)
	}
	return err
}

// DropLeftovers removes what could not be removed when it was done with, once the
// warehouse is back. Nearly always there is nothing.
func (s *Service) DropLeftovers(ctx context.Context) error {
	leftovers.mu.Lock()
	left := slices.Clone(leftovers.revisions)
	leftovers.mu.Unlock()
	if len(left) == 0 {
		return nil
	}
	db, err := s.warehouse()
	if err != nil {
		return err
	}
	var errs []error
	for _, revision := range left {
		if err := db.DropRollup(ctx, revision); err != nil {
			errs = append(errs, err)
			continue
		}
		leftovers.mu.Lock()
		leftovers.revisions = slices.DeleteFunc(leftovers.revisions, func(of uint64) bool { return of == revision })
		leftovers.mu.Unlock()
	}
	return errors.Join(errs...)
}
