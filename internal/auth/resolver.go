package auth

import (
	"context"
	"crypto/subtle"
	"encoding/hex"
	"errors"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/sluice-flags/sluice/internal/bus"
	"github.com/sluice-flags/sluice/internal/follow"
	"github.com/sluice-flags/sluice/internal/web"
	"github.com/sluice-flags/sluice/pkg/flags"
)

// How a key can be refused. The caller learns the same from all of them.
var (
	// ErrUnknownKey: no such key was made, or its project does not exist.
	ErrUnknownKey = errors.New("unknown key")
	// ErrExpired: the key had an end, and it has come.
	ErrExpired = errors.New("expired key")
	// ErrRevoked: somebody took the key back.
	ErrRevoked = errors.New("revoked key")
)

// ErrKeyMoved says that the key is as good as before, and for something else.
var ErrKeyMoved = errors.New("key for something else")

// States hands out the current state of a project: [bus.ErrUnknownProject] when
// there is none of that name, any other error when it cannot be told now.
type States func(ctx context.Context, project string) (*flags.State, error)

// A Principal is whoever showed a key.
type Principal struct {
	Project string
	Key     *flags.Key
	State   *flags.State // the project's state that let the key in
	Scope   flags.Scope
}

// Admin reports whether the principal may do everything in every project.
func (p Principal) Admin() bool {
	return p.Project == bus.OrgProject && p.Key.Kind == flags.KeyConsole
}

// A Resolver finds who is behind a key. It is safe for concurrent use.
type Resolver struct {
	states  States
	guesses limiter
	asking  chan struct{} // holds a token for each question about a project that is not known here
	refused *prometheus.CounterVec

	mu       sync.RWMutex
	projects map[string]standing
	proven   map[[32]byte]proof // by the hash of the key's text
}

// A proof is that a text is a key of a project: it spares the next request with
// the same text the reading, and the look-up while the project stays as it was.
// Whether the key has ended is asked each time.
type proof struct {
	project string
	key     *flags.Key // never changed: another version of a key is another Key
	scope   flags.Scope
	log     string // the state in which it was found; not the state, which would stay for it
	seq     uint64
}

// standing is what is known about a project's existence: it spares the bus from
// questions about names that somebody makes up.
type standing struct {
	exists bool
	until  time.Time // when an unknown one may be asked for again
}

const (
	unknownFor   = 2 * time.Second // a project that was just made is let in soon
	manyProjects = 10_000
	manyKeys     = 10_000

	// Keys of projects that are not known here cost a question to the bus. So
	// many are asked at a time; others wait for their turn.
	questions   = 4
	questionFor = 3 * time.Second
)

// Why requests are refused, in the metrics.
const (
	refusedKey    = "key"    // malformed, unknown, expired or revoked
	refusedFlood  = "flood"  // such keys came too often from one address
	refusedServer = "server" // a server key with an Origin: somebody put it into a page
	refusedOrigin = "origin" // a client key with an Origin that it is not for
)

// NewResolver returns a resolver over the states of projects. The door says in
// the metrics whose it is.
func NewResolver(states States, door string, reg prometheus.Registerer) *Resolver {
	r := &Resolver{states: states, projects: map[string]standing{}, proven: map[[32]byte]proof{}, asking: make(chan struct{}, questions)}
	r.refused = prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "keys_refused_total", Help: "Requests that were refused for their key, by reason.", ConstLabels: prometheus.Labels{"door": door},
	}, []string{"reason"})
	for _, reason := range []string{refusedKey, refusedFlood, refusedServer, refusedOrigin} {
		r.refused.WithLabelValues(reason)
	}
	if reg != nil {
		reg.MustRegister(r.refused)
	}
	return r
}

// Resolve finds who is behind a token: [ErrMalformed], [ErrUnknownKey],
// [ErrExpired], [ErrRevoked], or the error of [States].
//
// Texts are compared by their hashes alone, so that no timing tells of a key.
func (r *Resolver) Resolve(ctx context.Context, token string) (Principal, error) {
	hash := Hash(token)
	r.mu.RLock()
	known, ok := r.proven[hash]
	r.mu.RUnlock()
	if ok {
		state, err := r.states(ctx, known.project)
		if err == nil && state.Seq() == known.seq && state.LogID() == known.log {
			return principal(state, known.key, known.scope)
		}
	}
	p, err := r.prove(ctx, token, hash)
	if err != nil {
		return Principal{}, err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.proven) >= manyKeys {
		clear(r.proven)
	}
	r.proven[hash] = proof{p.Project, p.Key, p.Scope, p.State.LogID(), p.State.Seq()}
	return p, nil
}

// prove finds who is behind a text that was not seen before.
func (r *Resolver) prove(ctx context.Context, token string, hash [32]byte) (Principal, error) {
	parsed, err := Parse(token)
	if err != nil {
		return Principal{}, err
	}
	state, err := r.state(ctx, parsed.Project)
	if err != nil {
		return Principal{}, err
	}
	key, ok := state.KeyByHash(hash)
	if !ok || key.Kind != parsed.Kind || subtle.ConstantTimeCompare([]byte(key.Hash), []byte(hex.EncodeToString(hash[:]))) != 1 {
		return Principal{}, ErrUnknownKey
	}
	return principal(state, key, key.Scope())
}

// Holder finds who a key lets in, given the key's id: for callers that prove by
// other means that they were let in with it before. Errors as of [Resolver.Resolve].
func (r *Resolver) Holder(ctx context.Context, project, keyID string) (Principal, error) {
	state, err := r.state(ctx, project)
	if err != nil {
		return Principal{}, err
	}
	e, ok := state.Get(flags.Ref{Kind: flags.KindKey, ID: keyID})
	if !ok {
		return Principal{}, ErrUnknownKey
	}
	key := e.Doc.(*flags.Key)
	return principal(state, key, key.Scope())
}

func principal(state *flags.State, key *flags.Key, scope flags.Scope) (Principal, error) {
	switch {
	case key.Revoked:
		return Principal{}, ErrRevoked
	case !key.Active(time.Now()):
		return Principal{}, ErrExpired
	}
	return Principal{Project: state.Project(), Key: key, State: state, Scope: scope}, nil
}

// Again looks at a key that has let somebody in, in a later state of its project,
// and returns it as it is now. [ErrUnknownKey] if it is gone or was replaced,
// [ErrExpired] and [ErrRevoked] say that they are out; [ErrKeyMoved] that whoever
// comes again is let in to something else, or from other pages.
func Again(state *flags.State, key *flags.Key) (*flags.Key, error) {
	e, ok := state.Get(key.Ref())
	if !ok {
		return nil, ErrUnknownKey
	}
	now := e.Doc.(*flags.Key)
	if _, err := principal(state, now, now.Scope()); err != nil {
		return nil, err
	}
	switch {
	case now.Hash != key.Hash:
		return nil, ErrUnknownKey
	case !slices.Equal(now.Environments, key.Environments), !slices.Equal(now.TargetApps, key.TargetApps), !slices.Equal(now.Origins, key.Origins):
		return nil, ErrKeyMoved
	}
	return now, nil
}

// state is the state of a project that a stranger named: [ErrUnknownKey] if there
// is none.
func (r *Resolver) state(ctx context.Context, project string) (*flags.State, error) {
	known := r.standing(project)
	if !known.exists && time.Now().Before(known.until) {
		return nil, ErrUnknownKey
	}
	if !known.exists {
		leave, err := r.ask(ctx)
		if err != nil {
			return nil, err
		}
		defer leave()
	}
	state, err := r.states(ctx, project)
	if errors.Is(err, bus.ErrUnknownProject) {
		r.remember(project, standing{until: time.Now().Add(unknownFor)})
		return nil, ErrUnknownKey
	}
	if err == nil && !known.exists {
		r.remember(project, standing{exists: true})
	}
	return state, err
}

// ask waits for a turn to ask about a project that is not known here.
func (r *Resolver) ask(ctx context.Context) (leave func(), err error) {
	ctx, cancel := context.WithTimeoutCause(ctx, questionFor, errTooManyQuestions)
	defer cancel()
	select {
	case r.asking <- struct{}{}:
		return func() { <-r.asking }, nil
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

var errTooManyQuestions = errors.New("too many keys of unknown projects")

// Request finds who is behind a request that shows token, usually [Token] of
// it, and returns a [web.Error] that says as little as possible when nobody is.
// An address that keeps guessing is told to wait; a good key from it is let in
// all the same. A key in the query is refused, see [KeyInURL]; a server key in a
// page's, as one that got into a page.
func (r *Resolver) Request(req *http.Request, token string) (Principal, error) {
	origin, misplaced := req.Header.Get("Origin"), KeyInURL(req, token)
	switch {
	case misplaced != nil && (origin == "" || token == ""):
		return Principal{}, misplaced // whether or not there is such a key
	case token == "":
		return Principal{}, web.Errorf(web.CodeUnauthenticated, "send a key: Authorization: Bearer <key>")
	}
	p, err := r.Resolve(req.Context(), token)
	switch {
	case err == nil && p.Key.Kind == flags.KeyServer && origin != "":
		r.refused.WithLabelValues(refusedServer).Inc()
		return Principal{}, web.Errorf(web.CodeServerKeyInBrowser, "a server key must not be used from a browser: make a client key, and revoke this one")
	case misplaced != nil && err == nil: // else it is a guess like any other
		return Principal{}, misplaced
	case errors.Is(err, ErrMalformed), errors.Is(err, ErrUnknownKey), errors.Is(err, ErrExpired), errors.Is(err, ErrRevoked):
		from, now := peer(req), time.Now()
		if r.guesses.spent(from, now) {
			r.refused.WithLabelValues(refusedFlood).Inc()
			return Principal{}, &web.Error{Code: web.CodeRateLimited, Message: "too many unknown keys from this address", RetryAfter: guessRefill}
		}
		r.guesses.charge(from, now)
		r.refused.WithLabelValues(refusedKey).Inc()
		return Principal{}, &web.Error{Code: web.CodeUnauthenticated, Message: "the key is not known, or no longer valid", Err: err}
	case err != nil:
		return Principal{}, &web.Error{Code: web.CodeUnavailable, Message: "keys cannot be checked now", Err: err, RetryAfter: time.Second}
	case !p.Key.AllowsOrigin(origin):
		r.refused.WithLabelValues(refusedOrigin).Inc()
		return Principal{}, web.Errorf(web.CodeOriginNotAllowed, "the key is not for pages of this origin: add it to the key's origins, or use another key")
	}
	return p, nil
}

func (r *Resolver) standing(project string) standing {
	r.mu.RLock()
	defer r.mu.RUnlock()
	return r.projects[project]
}

func (r *Resolver) remember(project string, s standing) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.projects) >= manyProjects {
		clear(r.projects)
	}
	r.projects[project] = s
}

// Followed are the states that a set of followers keeps.
func Followed(set *follow.Set) States {
	return func(ctx context.Context, project string) (*flags.State, error) {
		f, err := set.Get(ctx, project)
		if err != nil {
			return nil, err
		}
		return f.State(), nil // never nil: what Get returns has one
	}
}
