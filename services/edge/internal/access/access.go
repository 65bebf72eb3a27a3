// Package access lets a request in: who asks, what their key may see, and where
// they are. Every protocol of the edge begins here, so that they cannot differ
// in what they let through.
package access

import (
	"context"
	"net/http"

	"github.com/sluice-flags/sluice/internal/auth"
	"github.com/sluice-flags/sluice/internal/web"
	"github.com/sluice-flags/sluice/pkg/eval"
	"github.com/sluice-flags/sluice/pkg/flags"
	"github.com/sluice-flags/sluice/services/edge/internal/caller"
	"github.com/sluice-flags/sluice/services/edge/internal/follower"
)

// Headers that every evaluated answer carries.
const (
	HeaderSequence = "Sluice-Sequence" // the project's version that answered
	HeaderState    = "Sluice-State"    // "stale" while the edge is cut off from the log
)

// Exposed are the headers that pages may read.
var Exposed = []string{HeaderSequence, HeaderState}

// A Gatekeeper lets requests in.
type Gatekeeper struct {
	Resolve func(r *http.Request, token string) (auth.Principal, error)
	Scope   func(state *flags.State, scope flags.Scope) *follower.Scope
	Stale   func(project string) bool
	// Holder finds whom a key lets in by the key's id.
	Holder func(ctx context.Context, project, keyID string) (auth.Principal, error)
	// PublicURL is the address under which callers reach the edge, such as
	// https://flags.example or https://shop.example/flags, without a slash at its
	// end; empty for the one that their requests name.
	PublicURL string
}

// A Visit is a request that was let in, bound to one version of the rules, so
// that all its answers agree.
type Visit struct {
	auth.Principal
	Version *follower.Version
	Origin  caller.Origin // of a client; servers ask on behalf of others
}

// Enter lets a request in that shows token, for evaluation: server and client
// keys. The answer's headers say which version will speak.
func (g *Gatekeeper) Enter(w http.ResponseWriter, r *http.Request, token string) (*Visit, error) {
	p, err := g.admit(r, token)
	if err != nil {
		return nil, err
	}
	return g.visit(w, r, p), nil
}

// Client lets a request in like [Gatekeeper.Enter], to what clients are shown: a
// server that asks for a payload asks on behalf of a client.
func (g *Gatekeeper) Client(w http.ResponseWriter, r *http.Request, token string) (*Visit, error) {
	p, err := g.admit(r, token)
	if err != nil {
		return nil, err
	}
	p.Scope.Kind = flags.KeyClient
	return g.visit(w, r, p), nil
}

func (g *Gatekeeper) admit(r *http.Request, token string) (auth.Principal, error) {
	p, err := g.Resolve(r, token)
	if err == nil && p.Key.Kind == flags.KeyConsole {
		err = web.Errorf(web.CodeForbidden, "console keys are not for evaluation: use a server or a client key")
	}
	return p, err
}

func (g *Gatekeeper) visit(w http.ResponseWriter, r *http.Request, p auth.Principal) *Visit {
	v := &Visit{
		Principal: p,
		Version:   g.Scope(p.State, p.Scope).Current(),
	}
	if p.Key.Kind == flags.KeyClient {
		v.Origin = caller.Of(r)
	}
	w.Header()[HeaderSequence] = v.Version.Sequence
	if g.Stale != nil && g.Stale(p.Project) {
		w.Header().Set(HeaderState, "stale")
	}
	return v
}

// Server lets a request in that will see rules: server keys only.
func (g *Gatekeeper) Server(w http.ResponseWriter, r *http.Request, token string) (*Visit, error) {
	v, err := g.Enter(w, r, token)
	if err != nil {
		return nil, err
	}
	if v.Key.Kind != flags.KeyServer {
		return nil, web.Errorf(web.CodeForbidden, "rules are for server keys only")
	}
	return v, nil
}

// Name refuses what cannot be the name of anything, however the rules change.
// Pointer says where it stood.
func Name(pointer, name string) error {
	if !flags.ValidName(name) {
		return web.Invalid(pointer, "name", "this is no name: up to 100 letters, digits, spaces and _ . : - in ASCII, the first a letter or digit")
	}
	return nil
}

// Complete fills in what a client cannot know of its user.
func (v *Visit) Complete(u *eval.User) { v.Origin.Complete(u, v.Key.Kind) }

// Client returns the options for payloads of this visit.
func (v *Visit) Client(hash eval.HashMode) eval.ClientOptions {
	o := eval.ClientOptions{Hash: hash, Discreet: true}
	if len(v.Key.TargetApps) == 1 {
		o.TargetApp = v.Key.TargetApps[0]
	}
	return o
}

// Gate decides a gate.
func (v *Visit) Gate(u *eval.User, name string) eval.Result {
	if !v.visible(eval.Ref{Section: eval.Gates, Name: name}) {
		return eval.Result{Name: name}
	}
	return v.Version.Rules.Gate(u, name)
}

// Config decides a dynamic config or an experiment.
func (v *Visit) Config(u *eval.User, name string) eval.Result {
	if !v.visible(eval.Ref{Section: eval.Configs, Name: name}) {
		return eval.Result{Name: name}
	}
	return v.Version.Rules.Config(u, name)
}

// Layer decides a layer.
func (v *Visit) Layer(u *eval.User, name string) eval.Result {
	if !v.visible(eval.Ref{Section: eval.Layers, Name: name}) {
		return eval.Result{Name: name}
	}
	return v.Version.Rules.Layer(u, name)
}

// visible reports whether the key may ask about an entity by name. A client may
// ask for exactly what its payload holds: no segments, no holdouts, nothing of
// other target apps.
func (v *Visit) visible(ref eval.Ref) bool {
	return v.Key.Kind != flags.KeyClient || v.Version.Rules.ClientSees(ref, v.Client(eval.HashNone))
}
