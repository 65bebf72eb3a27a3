// Package statsig serves the Statsig protocol to unmodified SDKs: spec downloads
// for servers, payloads for clients, and single checks for everybody else.
//
// A request that is wrong gets a 4xx with a problem document, whatever it holds;
// client keys get values and never a rule, a segment or the name of anything
// that their payload does not show.
package statsig

import (
	"net/http"
	"strings"

	protocol "github.com/sluice-flags/sluice/internal/statsig"
	"github.com/sluice-flags/sluice/internal/web"
	"github.com/sluice-flags/sluice/services/edge/internal/access"
	"github.com/sluice-flags/sluice/services/edge/internal/exposure"
	"github.com/sluice-flags/sluice/services/edge/internal/follower"
)

// A Recorder notes decisions; *exposure.Recorder has it.
type Recorder interface{ Record(exposure.Decision) }

// An API serves the protocol's evaluation side.
type API struct {
	gate      *access.Gatekeeper
	exposures Recorder
}

// New returns the protocol's endpoints.
func New(g *access.Gatekeeper, exposures Recorder) *API {
	return &API{gate: g, exposures: exposures}
}

// Register mounts the endpoints.
func (a *API) Register(mux *http.ServeMux) {
	for version, body := range map[string]bodyOf{"v1": (*follower.Version).V1, "v2": (*follower.Version).V2} {
		mux.Handle("GET /"+version+"/download_config_specs", web.Handle(a.specs(body)))
		mux.Handle("GET /"+version+"/download_config_specs/{file}", web.Handle(a.specs(body)))
	}
	mux.Handle("GET /v1/get_id_lists", web.Handle(a.idLists))
	mux.Handle("POST /v1/get_id_lists", web.Handle(a.idLists))
	mux.Handle("GET "+downloadPath+"{file}", web.Handle(a.idListFile))

	pages := protocol.Pages
	pages.Exposed = access.Exposed
	for path, handler := range map[string]web.HandlerFunc{
		"/v1/initialize": a.initialize,
		"/v1/check_gate": a.checkGate,
		"/v1/get_config": a.getConfig,
		"/v1/get_layer":  a.getLayer,
	} {
		pages.Handle(mux, "POST", path, handler)
	}
}

// fileToken is the name of the file that is downloaded, <key>.json, or, where none
// is named, [protocol.Token].
func fileToken(r *http.Request) (string, error) {
	file := r.PathValue("file")
	if file == "" {
		return protocol.Token(r), nil
	}
	key, ok := strings.CutSuffix(file, ".json")
	if !ok {
		return "", web.Errorf(web.CodeNotFound, "specs are downloaded as <key>.json")
	}
	return key, nil
}
