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
	mux.Handle("GET /v1/download_config_specs", web.Handle(a.specsV1))
	mux.Handle("GET /v1/download_config_specs/{file}", web.Handle(a.specsV1))
	mux.Handle("GET /v2/download_config_specs", web.Handle(a.specsV2))
	mux.Handle("GET /v2/download_config_specs/{file}", web.Handle(a.specsV2))
	mux.Handle("GET /v1/get_id_lists", web.Handle(a.idLists))
	mux.Handle("POST /v1/get_id_lists", web.Handle(a.idLists))

	for path, handler := range map[string]web.HandlerFunc{
		"/v1/initialize": a.initialize,
		"/v1/check_gate": a.checkGate,
		"/v1/get_config": a.getConfig,
		"/v1/get_layer":  a.getLayer,
	} {
		protocol.HandlePages(mux, path, handler)
	}
}

// pathToken is [protocol.Token], or the name of the downloaded file: <key>.json.
func pathToken(r *http.Request) string {
	if key, ok := strings.CutSuffix(r.PathValue("file"), ".json"); ok {
		return key
	}
	return protocol.Token(r)
}
