package auth

import (
	"context"
	"crypto/subtle"
	"encoding/hex"
	"errors"
	"net/http"
	"sync"
	"time"

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

	mu       sync.RWMutex
	projects map[string]standing
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
)

// NewResolver returns a resolver over the states of projects.
func NewResolver(states States) *Resolver {
	return &Resolver{states: states, projects: map[string]standing{}}
}

// Resolve finds who is behind a token: [ErrMalformed], [ErrUnknownKey],
// [ErrExpired], [ErrRevoked], or the error of [States].
func (r *Resolver) Resolve(ctx context.Context, token string) (Principal, error) {
	parsed, err := Parse(token)
	if err != nil {
		return Principal{}, err
	}
	known := r.standing(parsed.Project)
	if !known.exists && time.Now().Before(known.until) {
		return Principal{}, ErrUnknownKey
	}
	state, err := r.states(ctx, parsed.Project)
	if errors.Is(err, bus.ErrUnknownProject) {
		r.remember(parsed.Project, standing{until: time.Now().Add(unknownFor)})
		return Principal{}, ErrUnknownKey
	}
	if err != nil {
		return Principal{}, err
	}
	if !known.exists {
		r.remember(parsed.Project, standing{exists: true})
	}

	hash := Hash(token)
	key, ok := state.KeyByHash(hash)
	if !ok || key.Kind != parsed.Kind || subtle.ConstantTimeCompare([]byte(key.Hash), []byte(hex.EncodeToString(hash[:]))) != 1 {
		return Principal{}, ErrUnknownKey
	}
	switch {
	case key.Revoked:
		return Principal{}, ErrRevoked
	case !key.Active(time.Now()):
		return Principal{}, ErrExpired
	}
	return Principal{Project: parsed.Project, Key: key, State: state, Scope: key.Scope()}, nil
}

// Request finds who is behind a request that shows token, usually [Token] of
// it, and returns a [web.Error] that says as little as possible when nobody is.
// An address that keeps guessing is told to wait.
func (r *Resolver) Request(req *http.Request, token string) (Principal, error) {
	if token == "" {
		return Principal{}, web.Errorf(web.CodeUnauthenticated, "send a key: Authorization: Bearer <key>")
	}
	from, now := peer(req), time.Now()
	if r.guesses.spent(from, now) && !r.knows(token) {
		return Principal{}, tooManyGuesses()
	}
	p, err := r.Resolve(req.Context(), token)
	switch {
	case errors.Is(err, ErrMalformed), errors.Is(err, ErrUnknownKey), errors.Is(err, ErrExpired), errors.Is(err, ErrRevoked):
		if r.guesses.spent(from, now) {
			return Principal{}, tooManyGuesses()
		}
		r.guesses.charge(from, now)
		return Principal{}, &web.Error{Code: web.CodeUnauthenticated, Message: "the key is not known, or no longer valid", Err: err}
	case err != nil:
		return Principal{}, &web.Error{Code: web.CodeUnavailable, Message: "keys cannot be checked now", Err: err, RetryAfter: time.Second}
	case p.Key.Kind == flags.KeyServer && req.Header.Get("Origin") != "":
		return Principal{}, web.Errorf(web.CodeServerKeyInBrowser, "a server key must not be used from a browser: make a client key, and revoke this one")
	}
	return p, nil
}

func tooManyGuesses() error {
	return &web.Error{Code: web.CodeRateLimited, Message: "too many unknown keys from this address", RetryAfter: guessRefill}
}

// knows reports whether a token names a project that exists for sure, so that
// looking the key up costs no more than a map access.
func (r *Resolver) knows(token string) bool {
	parsed, err := Parse(token)
	return err == nil && r.standing(parsed.Project).exists
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
