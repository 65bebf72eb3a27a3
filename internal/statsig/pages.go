package statsig

import (
	"cmp"
	"net/http"

	"github.com/sluice-flags/sluice/internal/auth"
	"github.com/sluice-flags/sluice/internal/web"
)

// Token is the key of a request, where SDKs put it: in a header, or in the query
// of browsers, whose beacons cannot set headers.
func Token(r *http.Request) string { return cmp.Or(auth.Token(r), r.URL.Query().Get("k")) }

// Pages is what SDKs in browsers send.
var Pages = web.Pages{Headers: []string{
	"authorization", "content-type", "content-encoding", "statsig-api-key", "statsig-client-time", "statsig-sdk-type", "statsig-sdk-version",
	"statsig-server-session-id", "statsig-encoded", "statsig-event-count", "statsig-retry-count", "statsig-stable-id",
}}
