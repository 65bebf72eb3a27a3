package statsig

import (
	"net/http"

	"github.com/sluice-flags/sluice/internal/auth"
	"github.com/sluice-flags/sluice/internal/web"
)

// Token is the key of a request, where SDKs put it: in a header, or in the query
// of browsers, whose beacons cannot set headers.
func Token(r *http.Request) string {
	if token := auth.Token(r); token != "" {
		return token
	}
	return parameter(r, "k")
}

// parameter is a parameter of the query; most requests have no query.
func parameter(r *http.Request, name string) string {
	if r.URL.RawQuery == "" {
		return ""
	}
	return r.URL.Query().Get(name)
}

// Pages is what SDKs in browsers send.
var Pages = web.Pages{Headers: []string{
	"authorization", "content-type", "content-encoding", "statsig-api-key", "statsig-client-time", "statsig-sdk-type", "statsig-sdk-version",
	"statsig-server-session-id", "statsig-encoded", "statsig-event-count", "statsig-retry-count", "statsig-stable-id",
}}
