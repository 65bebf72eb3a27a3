package intake

import (
	"context"
	"crypto/rand"
	"errors"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/sluice-flags/sluice/internal/auth"
	"github.com/sluice-flags/sluice/internal/bus/facts"
	"github.com/sluice-flags/sluice/internal/bus/pseudonym"
	"github.com/sluice-flags/sluice/internal/web"
	"github.com/sluice-flags/sluice/pkg/events"
	"github.com/sluice-flags/sluice/pkg/flags"
)

// A Store keeps facts: it returns once they are on a disk. Its errors are those
// of [facts.Publisher.Publish], which is one.
type Store interface {
	Publish(ctx context.Context, b events.Batch) (duplicates int, err error)
}

// Keys are the secrets by which ids of units are hashed, as [pseudonym.Keys] has
// them.
type Keys interface {
	Of(ctx context.Context, project string) (pseudonym.Key, error)
}

// An Intake accepts entries. It is safe for concurrent use.
type Intake struct {
	store  Store
	states auth.States
	keys   Keys

	mu       sync.Mutex
	projects map[string]*names

	dead, late prometheus.Counter
}

// How long a request may take where it has to wait for others.
const (
	storeWithin = 8 * time.Second // for the disk
	stateWithin = time.Second     // for definitions that the client has and we do not
	stateEvery  = 10 * time.Millisecond
)

// retryAfter is what refused clients are told to wait.
const retryAfter = 2 * time.Second

// New returns an intake into store. states hands out what a project is now; keys
// serve the projects that hash ids of units.
func New(store Store, states auth.States, keys Keys, reg prometheus.Registerer) *Intake {
	in := &Intake{store: store, states: states, keys: keys, projects: make(map[string]*names)}
	in.dead = prometheus.NewCounter(prometheus.CounterOpts{Subsystem: "ingest", Name: "dead_letters_accepted_total",
		Help: "Facts that were acknowledged as dead letters because they made no sense."})
	in.late = prometheus.NewCounter(prometheus.CounterOpts{Subsystem: "ingest", Name: "unknown_rules_total",
		Help: "Deliveries with a name or rule that the newest definitions do not have, after waiting for newer ones."})
	if reg != nil {
		reg.MustRegister(in.dead, in.late)
	}
	return in
}

// A Receipt says what became of a delivery.
type Receipt struct {
	Facts      int // acknowledged, dead letters and duplicates among them
	Dead       int
	Duplicates int
	Rejected   []Rejection // of the dead letters, by index
}

// A Rejection is an entry that became a dead letter.
type Rejection struct {
	Index int // of the entry in its delivery
	Fault
}

// Accept returns once every entry of d is stored, as a fact or as a dead
// letter. Errors are of type [web.Error]; after one, the client should send the
// same delivery again. What has come whole is stored in its time, though the client
// may have gone or, which looks the same from here, has only closed its own side.
func (in *Intake) Accept(ctx context.Context, who auth.Principal, d Delivery) (Receipt, error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), stateWithin+storeWithin)
	defer cancel()
	if who.Key.Kind == flags.KeyConsole {
		return Receipt{}, web.Errorf(web.CodeForbidden, "facts are sent with a server key or a client key")
	}
	r, err := in.resolve(ctx, who, &d)
	if err != nil {
		return Receipt{}, err
	}
	b := r.batch
	duplicates, err := in.store.Publish(ctx, b)
	switch {
	case err == nil:
		in.dead.Add(float64(len(b.Dead)))
		return Receipt{Facts: b.Len(), Dead: len(b.Dead), Duplicates: duplicates, Rejected: r.rejected}, nil
	case errors.Is(err, facts.ErrBusy):
		return Receipt{}, &web.Error{Code: web.CodeUnavailable, Message: "more events come than can be stored now: send these again later", Err: err, RetryAfter: retryAfter}
	default:
		return Receipt{}, &web.Error{Code: web.CodeUnavailable, Message: "the events could not be stored now: send these again later", Err: err, RetryAfter: retryAfter}
	}
}

// resolve turns the delivery into facts. Where an entry names a rule that this
// process does not know, and says that it decided on newer definitions, they
// are on their way here: it waits a moment for them.
func (in *Intake) resolve(ctx context.Context, who auth.Principal, d *Delivery) (*resolver, error) {
	salt := []byte(rand.Text())
	for state, deadline := who.State, time.Now().Add(stateWithin); ; {
		r := &resolver{
			state: state, key: who.Key, names: in.names(who.Project), delivery: d,
			ids: newIdentifier(who.Project, who.Key.Hash, d, salt), privacy: privacy{project: state.Settings()},
		}
		if r.privacy.project.HashUnitIDs {
			key, err := in.keys.Of(ctx, who.Project)
			if err != nil {
				return nil, &web.Error{Code: web.CodeUnavailable, Message: "the events could not be stored now: send these again later", Err: err, RetryAfter: retryAfter}
			}
			r.privacy.key = &key
		}
		r.all()
		if !r.ahead() {
			return r, nil
		}
		newer, err := in.newer(ctx, who.Project, state, deadline)
		if err != nil {
			return nil, err
		}
		if newer == nil {
			in.late.Inc()
			return r, nil
		}
		state = newer
	}
}

// newer waits for another state than this one: nil if none comes in time.
func (in *Intake) newer(ctx context.Context, project string, than *flags.State, deadline time.Time) (*flags.State, error) {
	tick := time.NewTicker(stateEvery)
	defer tick.Stop()
	for time.Now().Before(deadline) {
		state, err := in.states(ctx, project)
		if err == nil && state.Seq() > than.Seq() {
			return state, nil
		}
		select {
		case <-ctx.Done():
			return nil, &web.Error{Code: web.CodeUnavailable, Message: "the request ended before its events were stored", Err: ctx.Err(), RetryAfter: retryAfter}
		case <-tick.C:
		}
	}
	return nil, nil
}

func (in *Intake) names(project string) *names {
	in.mu.Lock()
	defer in.mu.Unlock()
	n := in.projects[project]
	if n == nil {
		n = new(names)
		in.projects[project] = n
	}
	return n
}
