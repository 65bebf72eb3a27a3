// Package features serves the two convenience endpoints: one gate or one config
// for one user, with nothing to learn but a URL.
//
//	GET /features/gate/{gate_name}?user_id=u1      → {"enabled", "gate_name", "user_id"}
//	GET /features/config/{config_name}?user_id=u1  → {"config_name", "value"}
//
// Names that nobody defined answer as SDKs do, false or {}, and are counted; what
// cannot be a name is refused.
package features

import (
	"encoding/json"
	"errors"
	"net/http"
	"strings"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/sluice-flags/sluice/internal/auth"
	"github.com/sluice-flags/sluice/internal/web"
	"github.com/sluice-flags/sluice/pkg/eval"
	"github.com/sluice-flags/sluice/pkg/events"
	"github.com/sluice-flags/sluice/services/edge/internal/access"
	"github.com/sluice-flags/sluice/services/edge/internal/exposure"
)

// sdk is how exposures of these endpoints name their sender.
const sdk = "sluice-features"

// A Recorder notes decisions; *exposure.Recorder has it.
type Recorder interface{ Record(exposure.Decision) }

// An API serves the endpoints.
type API struct {
	gate      *access.Gatekeeper
	exposures Recorder
	undefined prometheus.Counter
}

// New returns the endpoints.
func New(g *access.Gatekeeper, exposures Recorder, reg prometheus.Registerer) *API {
	a := &API{gate: g, exposures: exposures, undefined: prometheus.NewCounter(prometheus.CounterOpts{
		Name: "edge_undefined_names_total", Help: "Requests of /features for names that are not defined.",
	})}
	if reg != nil {
		reg.MustRegister(a.undefined)
	}
	return a
}

// pages may call the endpoints too, with a client key.
var pages = web.Pages{Headers: []string{"authorization", "statsig-api-key"}, Exposed: access.Exposed}

// Register mounts the endpoints.
func (a *API) Register(mux *http.ServeMux) {
	pages.Handle(mux, "GET", "/features/gate/{gate_name}", a.oneGate)
	pages.Handle(mux, "GET", "/features/config/{config_name}", a.oneConfig)
}

type gateAnswer struct {
	Enabled  bool   `json:"enabled"`
	GateName string `json:"gate_name"`
	UserID   string `json:"user_id"`
}

func (a *API) oneGate(w http.ResponseWriter, r *http.Request) error {
	name, visit, u, err := a.enter(w, r, "gate_name")
	if err != nil {
		return err
	}
	res := visit.Gate(u, name)
	a.note(r, visit, u, events.ExposureGate, res)
	return web.Respond(w, http.StatusOK, gateAnswer{res.Pass, name, u.UserID})
}

type configAnswer struct {
	ConfigName string          `json:"config_name"`
	Value      json.RawMessage `json:"value"`
}

func (a *API) oneConfig(w http.ResponseWriter, r *http.Request) error {
	name, visit, u, err := a.enter(w, r, "config_name")
	if err != nil {
		return err
	}
	res := visit.Config(u, name)
	a.note(r, visit, u, events.ExposureConfig, res)
	if len(res.Value) == 0 {
		res.Value = json.RawMessage("{}")
	}
	return web.Respond(w, http.StatusOK, configAnswer{name, res.Value})
}

// maxUser bounds the user parameter; servers bound the whole request line too.
const maxUser = 64 << 10

// enter lets the request in and reads the name, which the path has under what,
// and the user.
func (a *API) enter(w http.ResponseWriter, r *http.Request, what string) (string, *access.Visit, *eval.User, error) {
	visit, err := a.gate.Enter(w, r, auth.Token(r))
	if err != nil {
		return "", nil, nil, err
	}
	query := r.URL.Query()
	name := r.PathValue(what)
	if err := access.Name(what, name); err != nil {
		return "", nil, nil, err
	}
	var u eval.User
	if text := query.Get("user"); text != "" {
		if len(text) > maxUser {
			return "", nil, nil, web.Invalid("user", "too_long", "the user is longer than %d bytes", maxUser)
		}
		err := web.DecodeJSON([]byte(text), &u, web.Limits{CaseVariants: true, Unknown: true})
		if err != nil {
			return "", nil, nil, inUser(err)
		}
	}
	if id := query.Get("user_id"); id != "" {
		if u.UserID != "" && u.UserID != id {
			return "", nil, nil, web.Invalid("user_id", "contradiction", "user_id and the userID of user differ")
		}
		u.UserID = id
	} else if !query.Has("user") {
		return "", nil, nil, web.Invalid("user_id", "required", "name the user: user_id=<id>, or user=<JSON object>")
	}
	if exposure := query.Get("exposure"); exposure != "" && exposure != "0" && exposure != "1" {
		return "", nil, nil, web.Invalid("exposure", "wrong_value", "exposure is 0 or 1")
	}
	visit.Complete(&u)
	return name, visit, &u, nil
}

// inUser says that the problems of err are in the user parameter.
func inUser(err error) error {
	e, ok := errors.AsType[*web.Error](err)
	if !ok {
		return err
	}
	out := *e
	out.Problems = make([]web.FieldProblem, len(e.Problems))
	for i, p := range e.Problems {
		p.Pointer = strings.TrimSuffix("user"+p.Pointer, "/")
		out.Problems[i] = p
	}
	return &out
}

func (a *API) note(r *http.Request, v *access.Visit, u *eval.User, kind string, res eval.Result) {
	if !res.Found {
		a.undefined.Inc()
	}
	if a.exposures == nil || r.URL.Query().Get("exposure") == "0" {
		return
	}
	a.exposures.Record(exposure.Decision{
		Project: v.Project, State: v.State, Key: v.Key, User: u, Kind: kind, Result: res, SDK: sdk,
	})
}
