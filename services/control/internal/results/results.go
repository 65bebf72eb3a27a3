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
	"time"

	"github.com/ClickHouse/clickhouse-go/v2"

	"github.com/sluice-flags/sluice/internal/warehouse"
	"github.com/sluice-flags/sluice/pkg/flags"
)

var (
	// ErrUnknownExperiment is returned for a name that the project does not have.
	ErrUnknownExperiment = errors.New("no such experiment")
	// ErrUnknownMetric is returned for a metric that the experiment does not have.
	ErrUnknownMetric = errors.New("no such metric of the experiment")
	// ErrUnavailable is returned while the warehouse does not answer. Trying again later helps.
	ErrUnavailable = errors.New("the warehouse does not answer")
)

// Service makes reports. Its methods may be called from many goroutines.
type Service struct {
	db func() *warehouse.DB // nil until there is one; another after the engine was started anew

	now   func() time.Time
	claim Claim // nil: alone

	measured flights[facts] // by the key of the study
	healths  flights[Health]
	series   flights[map[string][]seriesRow]
	toplines flights[topline]

	left  leftovers
	rests rests

	mu       sync.Mutex
	mirrored map[string]mirror // by project
}

// Share has the service share its work with other processes by claim. Call it
// before all else.
func (s *Service) Share(claim Claim) { s.claim = claim }

// New makes a service over the warehouse that db returns at the time.
func New(db func() *warehouse.DB) *Service {
	return &Service{db: db, now: time.Now, mirrored: map[string]mirror{}}
}

// Experiment reports on one experiment, by its name or id, as state defines it
// and as the facts loaded so far tell. Besides [ErrUnknownExperiment] and
// [ErrUnavailable] it returns what ClickHouse refused, and ctx's error.
func (s *Service) Experiment(ctx context.Context, state *flags.State, experiment string, o Options) (Report, error) {
	study, err := s.open(ctx, state, experiment)
	if err != nil {
		return Report{}, err
	}
	return s.report(ctx, study, o)
}

// report answers a study.
func (s *Service) report(ctx context.Context, study study, o Options) (Report, error) {
	state := study.state
	o = o.withDefaults()
	by, periods := o.slicings()
	key := study.key
	for _, one := range []*slicing{by, periods} {
		if one != nil {
			key += one.key()
		}
	}
	found, err := s.measured.do(ctx, key, func(ctx context.Context) (facts, error) {
		p := s.plan(state, study.entity, study.doc, s.now())
		p.by, p.periods = by, periods
		f, err := measure(ctx, study.db, s.claim, p)
		if err != nil {
			return f, err
		}
		s.rests.end(p)
		if study.doc.Crossovers == flags.CrossoversKeepFirst {
			f.crossed, err = p.countCrossed(ctx, study.db, len(study.doc.Groups))
		}
		return f, err
	})
	if err != nil {
		return Report{}, classify(ctx, err)
	}
	if o.Topline {
		found.topline, err = s.toplines.do(ctx, fmt.Sprint(study.key, " ", found.asOf.UnixMilli()), func(ctx context.Context) (topline, error) {
			return newPlan(state, study.entity, study.doc, found.asOf).readTopline(ctx, study.db, found.asOf)
		})
		if err != nil {
			return Report{}, classify(ctx, err)
		}
	}
	return newReport(state, study.entity, found, o), nil
}

// A study is an experiment that is about to be looked into.
type study struct {
	db     *warehouse.DB
	state  *flags.State
	entity flags.Entity
	doc    *flags.Experiment
	key    string // of everything that an answer depends on: definitions, facts, and the minute while it runs
}

// open finds an experiment, mirrors its definition, and looks how far the facts
// have come.
func (s *Service) open(ctx context.Context, state *flags.State, experiment string) (study, error) {
	entity, ok := state.Find(flags.KindExperiment, experiment)
	if !ok {
		return study{}, fmt.Errorf("%w: %q", ErrUnknownExperiment, experiment)
	}
	doc, ok := entity.Doc.(*flags.Experiment)
	if !ok {
		return study{}, fmt.Errorf("%w: %q is beyond this version", ErrUnknownExperiment, experiment)
	}
	if err := s.Mirror(ctx, state); err != nil {
		return study{}, err
	}
	return s.study(ctx, state, entity, doc)
}

// study is that of an experiment whose definition the warehouse has.
func (s *Service) study(ctx context.Context, state *flags.State, entity flags.Entity, doc *flags.Experiment) (study, error) {
	db, err := s.warehouse()
	if err != nil {
		return study{}, err
	}
	mark, err := watermark(ctx, db)
	if err != nil {
		return study{}, classify(ctx, err)
	}
	key := fmt.Sprintf("%p %s %s %s@%d %s", db, state.Project(), state.LogID(), entity.Ref.ID+" "+entity.Name, entity.Seq, mark.name)
	key += " " + zoneVersion(state)
	for _, m := range metricsOf(state, doc) {
		key += fmt.Sprintf(" %s@%d", m.Ref.ID, m.Seq)
	}
	if doc.EndedAt == nil {
		key += fmt.Sprint(" ", s.now().Unix()/60) // windows close while time goes by
	}
	return study{db, state, entity, doc, key}, nil
}

// plan is [newPlan], of which the service drops what is left.
func (s *Service) plan(state *flags.State, entity flags.Entity, doc *flags.Experiment, now time.Time) *plan {
	p := newPlan(state, entity, doc, now)
	p.left = &s.left
	return p
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
