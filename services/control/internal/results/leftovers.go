package results

import (
	"context"
	"errors"
	"slices"
	"sync"

	"github.com/sluice-flags/sluice/internal/warehouse"
)

// leftovers are the revisions that could not be dropped while the warehouse was
// away, for which erasures of their project wait. They outlive the connection
// that they were made by: the warehouse that comes back is another one. The zero
// value has none.
type leftovers struct {
	mu        sync.Mutex
	revisions []uint64
}

// drop removes a rollup that counts no more, or what stood beside one, even if ctx
// has ended. What cannot be removed now [Service.DropLeftovers] will.
func (p *plan) drop(ctx context.Context, db *warehouse.DB, revision uint64) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), endTimeout)
	defer cancel()
	err := db.DropRollup(ctx, revision)
	if err != nil {
		p.left.mu.Lock()
		defer p.left.mu.Unlock()
		p.left.revisions = append(p.left.revisions, revision)
	}
	return err
}

// DropLeftovers removes what could not be removed when it was done with, once the
// warehouse is back. Nearly always there is nothing.
func (s *Service) DropLeftovers(ctx context.Context) error {
	s.left.mu.Lock()
	left := slices.Clone(s.left.revisions)
	s.left.mu.Unlock()
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
		s.left.mu.Lock()
		s.left.revisions = slices.DeleteFunc(s.left.revisions, func(of uint64) bool { return of == revision })
		s.left.mu.Unlock()
	}
	return errors.Join(errs...)
}
