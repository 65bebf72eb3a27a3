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

	"github.com/sluice-flags/sluice/internal/auth"
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
		mux.Handle("POST "+path, crossOrigin(web.Handle(handler)))
		mux.Handle("OPTIONS "+path, http.HandlerFunc(preflight))
	}
}

// token finds the key where SDKs put it: a header, or the query of browsers,
// whose beacons cannot set headers.
func token(r *http.Request) string {
	if t := auth.Token(r); t != "" {
		return t
	}
	return r.URL.Query().Get("k")
}

// pathToken is [token], or the name of the downloaded file: <key>.json.
func pathToken(r *http.Request) string {
	if key, ok := strings.CutSuffix(r.PathValue("file"), ".json"); ok {
		return key
	}
	return token(r)
}

// What browsers may send, for a day without asking again. Cookies are not
// among it: keys let clients in.
const (
	allowMethods = "GET, POST, OPTIONS"
	allowHeaders = "authorization, content-type, content-encoding, statsig-api-key, statsig-client-time, statsig-sdk-type, " +
		"statsig-sdk-version, statsig-server-session-id, statsig-encoded, statsig-event-count, statsig-retry-count, statsig-stable-id"
	maxAge = "86400"
)

func crossOrigin(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Access-Control-Allow-Origin", "*")
		next.ServeHTTP(w, r)
	})
}

func preflight(w http.ResponseWriter, _ *http.Request) {
	h := w.Header()
	h.Set("Access-Control-Allow-Origin", "*")
	h.Set("Access-Control-Allow-Methods", allowMethods)
	h.Set("Access-Control-Allow-Headers", allowHeaders)
	h.Set("Access-Control-Max-Age", maxAge)
	w.WriteHeader(http.StatusNoContent)
}
