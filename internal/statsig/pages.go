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

// HandlePages registers f for POST requests of path, by pages of any origin: a
// key in the request, not the page it comes from, says what it may do.
func HandlePages(mux *http.ServeMux, path string, f web.HandlerFunc) {
	mux.Handle("POST "+path, anyOrigin(web.Handle(f)))
	mux.Handle("OPTIONS "+path, anyOrigin(http.HandlerFunc(preflight)))
}

func anyOrigin(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Access-Control-Allow-Origin", "*")
		next.ServeHTTP(w, r)
	})
}

// preflight says what browsers may send, for a day without asking again. Cookies
// are not among it: keys let clients in.
func preflight(w http.ResponseWriter, _ *http.Request) {
	h := w.Header()
	h.Set("Access-Control-Allow-Methods", "GET, POST, OPTIONS")
	h.Set("Access-Control-Allow-Headers", "authorization, content-type, content-encoding, statsig-api-key, statsig-client-time, "+
		"statsig-sdk-type, statsig-sdk-version, statsig-server-session-id, statsig-encoded, statsig-event-count, statsig-retry-count, statsig-stable-id")
	h.Set("Access-Control-Max-Age", "86400")
	w.WriteHeader(http.StatusNoContent)
}
