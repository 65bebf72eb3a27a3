// Package results answers what an experiment did to its metrics.
//
// ClickHouse does what needs every fact: who was exposed first to which group,
// and what each unit did from then on, down to a few moments per metric and
// group. Package stats does the rest. The questions are the views that analysts
// have (experiment_units, experiment_moments), so that both read the same
// numbers, and a report carries the statements that it was made with.
package results

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"

	"github.com/ClickHouse/clickhouse-go/v2"

	"github.com/sluice-flags/sluice/internal/warehouse"
	"github.com/sluice-flags/sluice/pkg/flags"
)

var (
	// ErrUnknownExperiment is returned for a name that the project does not have.
	ErrUnknownExperiment = errors.New("no such experiment")
	// ErrUnavailable is returned while the warehouse does not answer. Trying again later helps.
	ErrUnavailable = errors.New("the warehouse does not answer")
)

// Service makes reports. Its methods may be called from many goroutines.
type Service struct {
	db func() *warehouse.DB // nil until there is one; another after the engine was started anew

	mu       sync.Mutex
	mirrored map[string]mirror // by project
}

// New makes a service over the warehouse that db returns at the time.
func New(db func() *warehouse.DB) *Service {
	return &Service{db: db, mirrored: map[string]mirror{}}
}

// Experiment reports on one experiment, by its name or id, as state defines it
// and as the facts loaded so far tell. Besides [ErrUnknownExperiment] and
// [ErrUnavailable] it returns what ClickHouse refused, and ctx's error.
func (s *Service) Experiment(ctx context.Context, state *flags.State, experiment string) (Report, error) {
	entity, ok := state.Find(flags.KindExperiment, experiment)
	if !ok {
		return Report{}, fmt.Errorf("%w: %q", ErrUnknownExperiment, experiment)
	}
	if err := s.Mirror(ctx, state); err != nil {
		return Report{}, err
	}
	db, err := s.warehouse()
	if err != nil {
		return Report{}, err
	}
	found, err := query(ctx, db, state.Project(), entity.Name)
	if err != nil {
		return Report{}, classify(ctx, err)
	}
	return newReport(state, entity, found), nil
}

func (s *Service) warehouse() (*warehouse.DB, error) {
	if db := s.db(); db != nil {
		return db, nil
	}
	return nil, ErrUnavailable
}

// classify tells a warehouse that is away from one that refuses. The driver
// reports a deadline as a time-out of the connection, so ctx is asked first.
func classify(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return fmt.Errorf("%w: %w", context.Cause(ctx), err)
	}
	if _, refused := errors.AsType[*clickhouse.Exception](err); refused {
		return err
	}
	_, network := errors.AsType[net.Error](err)
	if network || isConnectionError(err) {
		return fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	return err
}
