// Package api serves the management interface: everything that people, scripts
// and the console do to definitions, under /api/v1.
//
// Each write says which version it is based on, may be repeated under one key
// without happening twice, and can be tried out; each read can be taken as of
// any past position of the log. Every answer that is no success is a problem
// document, and whatever is wrong with a body is said at once.
package api

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"slices"
	"sync/atomic"

	"github.com/sluice-flags/sluice/internal/auth"
	"github.com/sluice-flags/sluice/internal/bus"
	"github.com/sluice-flags/sluice/internal/lookup"
	"github.com/sluice-flags/sluice/internal/web"
	"github.com/sluice-flags/sluice/pkg/flags"
	"github.com/sluice-flags/sluice/services/control/internal/command"
	"github.com/sluice-flags/sluice/services/control/internal/project"
	"github.com/sluice-flags/sluice/services/control/internal/results"
)

// Prefix is where the interface lives.
const Prefix = "/api/v1/"

// An API is the management interface.
type API struct {
	projects *project.Projects
	resolver *auth.Resolver
	results  Results
	jobs     results.Jobs
	erasures Erasures // nil: nothing is erased here
	agents   *lookup.Agents
	compiled atomic.Pointer[compiled] // for evaluate: what it was asked for last
	mux      *http.ServeMux
	routes   []route
}

// New returns the interface over projects.
func New(projects *project.Projects, resolver *auth.Resolver, reports Results) *API {
	a := &API{projects: projects, resolver: resolver, results: reports, agents: lookup.NewAgents(), mux: http.NewServeMux()}
	a.routes = a.table()
	for _, r := range a.routes {
		a.mux.Handle(r.method+" "+r.path, a.handle(r))
	}
	a.mux.Handle("/", web.Unmatched(a.mux))
	return a
}

// ServeHTTP implements [http.Handler].
func (a *API) ServeHTTP(w http.ResponseWriter, r *http.Request) { a.mux.ServeHTTP(w, r) }

// access is what a route asks of whoever calls it.
type access string

const (
	open  access = ""                 // anybody
	read  access = command.ScopeRead  // a console key that may read
	edit  access = command.ScopeWrite // a console key that may write
	stop  access = command.ScopeKill  // a console key that may write, or only stop things
	force access = command.ScopeForce // asked for by If-Match: *
	admin access = "admin"            // a console key of the organisation, with the scope write
)

// route is one line of the table of routes.
type route struct {
	method string
	path   string
	access access
	params []string // the query parameters that it knows
	serve  func(*call) error
}

// nouns are the collections of a project, in the order of the documentation.
var nouns = []struct {
	path string
	kind flags.Kind
}{
	{"gates", flags.KindGate},
	{"configs", flags.KindConfig},
	{"experiments", flags.KindExperiment},
	{"layers", flags.KindLayer},
	{"segments", flags.KindSegment},
	{"holdouts", flags.KindHoldout},
	{"metrics", flags.KindMetric},
	{"environments", flags.KindEnvironment},
	{"keys", flags.KindKey},
}

// table lists every route.
func (a *API) table() []route {
	const projects = "/api/v1/projects"
	const one = projects + "/{project}"
	listed := []string{"asOf", "limit", "cursor", "q", "sort", "total", "status", "tag", "owner"}
	tried := []string{"dryRun"}
	written := append([]string{"strict"}, tried...)
	changed := append([]string{"merge"}, written...)
	routes := []route{
		{"GET", "/api/v1/openapi.yaml", open, nil, a.describe},
		{"GET", "/api/v1/openapi.json", open, nil, a.describeJSON},
		{"GET", projects, read, listed, a.listProjects},
		{"POST", projects, admin, written, a.createProject},
		{"GET", one, read, []string{"asOf"}, a.getProject},
		{"PUT", one, edit, changed, a.replaceProject},
		{"PATCH", one, edit, changed, a.patchProject},
		{"GET", one + "/environments/{name}/configSpecs", read, []string{"asOf"}, a.configSpecs},
		{"POST", one + "/evaluate", read, []string{"asOf"}, a.evaluate},
		{"GET", one + "/changes", read, []string{"since", "until", "limit", "kind"}, a.listChanges},
		{"GET", one + "/changes/{sequence}", read, nil, a.getChange},
	}
	routes = append(routes, a.resultRoutes(one)...)
	routes = append(routes, a.unitRoutes(one)...)
	for _, n := range nouns {
		all, each := one+"/"+n.path, one+"/"+n.path+"/{name}"
		create, look := a.create(n.kind), read
		if n.kind == flags.KindKey {
			create, look = a.createKey, edit // who only reads has no business with keys
		}
		routes = append(routes,
			route{"GET", all, look, listed, a.list(n.kind)},
			route{"POST", all, edit, written, create},
			route{"GET", each, look, []string{"asOf"}, a.get(n.kind)},
			route{"PUT", each, edit, changed, a.replace(n.kind)},
			route{"PATCH", each, edit, changed, a.patch(n.kind)},
			route{"DELETE", each, edit, append([]string{"confirm"}, tried...), a.remove(n.kind)},
			route{"GET", each + "/history", look, []string{"limit", "before"}, a.history(n.kind)},
			route{"GET", each + "/references", look, []string{"asOf"}, a.references(n.kind)},
			route{"GET", each + "/diff", look, []string{"from", "to"}, a.diff(n.kind)},
		)
		if n.kind == flags.KindSegment {
			routes = append(routes,
				route{"GET", each + "/ids", read, []string{"asOf", "id"}, a.getIDs},
				route{"PATCH", each + "/ids", edit, tried, a.writeIDs(false)},
				route{"PUT", each + "/ids", edit, tried, a.writeIDs(true)},
			)
		}
		if n.kind != flags.KindKey { // a key is as good as it was said to be the last time
			routes = append(routes,
				route{"POST", each + "/restore", edit, written, a.restore(n.kind)},
				route{"POST", each + "/undo", edit, written, a.undo(n.kind)},
			)
		}
		for _, action := range command.Actions(n.kind) {
			needed := edit
			if action == "kill" {
				needed = stop
			}
			routes = append(routes, route{"POST", each + "/" + action, needed, changed, a.act(n.kind, action)})
		}
	}
	return routes
}

// call is one request on its way through a route.
type call struct {
	w       http.ResponseWriter
	r       *http.Request
	ctx     context.Context
	query   url.Values
	who     auth.Principal
	project *project.Project // nil on routes of no project
}

// handle lets in who may come in, and serves.
func (a *API) handle(rt route) http.Handler {
	return web.Handle(func(w http.ResponseWriter, r *http.Request) error {
		c := &call{w: w, r: r, ctx: r.Context()}
		if rt.access != open {
			if err := a.admit(c, rt.access); err != nil {
				return err
			}
		}
		var err error
		if c.query, err = parseQuery(r, rt.params); err != nil {
			return err
		}
		if id := r.PathValue("project"); id != "" {
			if c.project, err = a.open(c, id); err != nil {
				return err
			}
		}
		if err := rt.serve(c); err != nil {
			return explain(err)
		}
		return nil
	})
}

// admit finds who is asking and whether that may be asked at all. Nothing about
// what exists can be learned from its answers.
func (a *API) admit(c *call, needed access) (err error) {
	if c.who, err = a.resolver.Request(c.r, auth.Token(c.r)); err != nil {
		return err
	}
	if c.who.Key.Kind != flags.KeyConsole {
		return web.Errorf(web.CodeForbidden, "this needs a console key; a %s key only reads evaluations", c.who.Key.Kind)
	}
	if needed == admin {
		if !c.who.Admin() {
			return web.Errorf(web.CodeForbidden, "this needs a key of the organisation")
		}
		needed = edit
	}
	if !c.may(needed) {
		return &web.Error{Code: web.CodeForbidden, Message: "the key lacks the scope " + string(needed), Extra: map[string]any{"missing": needed}}
	}
	return nil
}

// may reports whether the caller's key has a scope. A key without scopes has all.
func (c *call) may(needed access) bool {
	scopes := c.who.Key.Scopes
	if len(scopes) == 0 {
		return true
	}
	return slices.Contains(scopes, string(needed)) || needed == stop && slices.Contains(scopes, string(edit))
}

// open returns the project that a path names, to whoever may see it.
func (a *API) open(c *call, id string) (*project.Project, error) {
	unknown := web.Errorf(web.CodeNotFound, "there is no such project")
	if !bus.ValidProject(id) {
		return nil, web.Invalid("project", "name", "a project's id has lower-case letters, digits and _, and begins with a letter")
	}
	if !c.who.Admin() && id != c.who.Project {
		return nil, unknown
	}
	p, err := a.projects.Get(c.ctx, id)
	if errors.Is(err, project.ErrUnknown) {
		return nil, unknown
	}
	if err != nil {
		return nil, explain(err)
	}
	return p, nil
}

// has reports whether a project can have entities of a kind: the organisation's
// has keys only.
func has(p *project.Project, kind flags.Kind) error {
	if p.ID() == bus.OrgProject && kind != flags.KindKey {
		return web.Errorf(web.CodeNotFound, "the organisation's project has keys only")
	}
	return nil
}
