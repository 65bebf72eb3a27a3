package harness

import (
	"net/http"
	"strings"
)

// A Doc is the body of a definition.
type Doc map[string]any

// Everyone is the one condition that always holds.
var Everyone = []Doc{{"type": "public"}}

// A Project is a project on a platform, with a key of each kind for its
// production environment.
type Project struct {
	*Platform
	ID                      string
	Console, Server, Client string
}

// NewProject makes a project and its keys.
func (p *Platform) NewProject(id string) *Project {
	p.T.Helper()
	p.Must(http.StatusCreated, nil, p.AdminKey(), "POST", "/api/v1/projects", Doc{"name": id})
	pr := &Project{Platform: p, ID: id}
	pr.Console, pr.Server, pr.Client = pr.NewKey("console"), pr.NewKey("server"), pr.NewKey("client")
	return pr
}

// NewKey makes a key of the given kind and returns its text.
func (p *Project) NewKey(kind string) string {
	p.T.Helper()
	body := Doc{"name": "test " + kind, "kind": kind}
	if kind != "console" {
		body["environments"] = []string{"production"}
	}
	var made struct {
		Key string `json:"key"`
	}
	p.Must(http.StatusCreated, &made, p.AdminKey(), "POST", p.Path("keys"), body)
	return made.Key
}

// Path returns the path of something in the project.
func (p *Project) Path(parts ...string) string {
	return "/api/v1/projects/" + p.ID + "/" + strings.Join(parts, "/")
}

// Create makes a definition in a collection.
func (p *Project) Create(collection string, body Doc) {
	p.T.Helper()
	p.Must(http.StatusCreated, nil, p.Console, "POST", p.Path(collection), body)
}

// Start starts an experiment.
func (p *Project) Start(experiment string) {
	p.T.Helper()
	path := p.Path("experiments", experiment)
	got := p.Must(http.StatusOK, nil, p.Console, "GET", path, nil)
	p.Must(http.StatusOK, nil, p.Console, "POST", path+"/start", Doc{}, "If-Match", got.Header.Get("ETag"))
}

// Patch changes members of a definition, whatever its version.
func (p *Project) Patch(collection, name string, body Doc) Answer {
	p.T.Helper()
	path := p.Path(collection, name)
	got := p.Must(http.StatusOK, nil, p.Console, "GET", path, nil)
	return p.Must(http.StatusOK, nil, p.Console, "PATCH", path, body, "If-Match", got.Header.Get("ETag"))
}

// SetGate makes a gate pass for the given percentage of everyone.
func (p *Project) SetGate(name string, percentage float64) Answer {
	p.T.Helper()
	return p.Patch("gates", name, Doc{"rules": []Doc{{"id": "everyone", "name": "Everyone", "passPercentage": percentage, "conditions": Everyone}}})
}

// SetIDs changes the members of an id list, whatever its version: in is what to
// add and to remove, or a []byte of NDJSON.
func (p *Project) SetIDs(segment string, in any) Answer {
	p.T.Helper()
	path, media := p.Path("segments", segment, "ids"), "application/json"
	if _, lines := in.([]byte); lines {
		media = "application/x-ndjson"
	}
	got := p.Must(http.StatusOK, nil, p.Console, "GET", path, nil)
	return p.Must(http.StatusOK, nil, p.Console, "PATCH", path, in, "If-Match", got.Header.Get("ETag"), "Content-Type", media)
}
