package web

import (
	"net/http"
	"strings"
)

// Pages says what scripts of other sites may send to an endpoint, and see of its
// answers. Any site may: a key in the request, and not the page that it comes
// from, says what is allowed, and cookies are never asked for.
type Pages struct {
	Headers []string // that may be sent
	Exposed []string // that may be read, besides those of every answer
}

// exposed are headers that every answer may have and that scripts have a use for.
var exposed = []string{"ETag", "Retry-After", "X-Request-Id"}

// Handle mounts f for requests of one method, with the preflight that browsers
// send first.
func (p Pages) Handle(mux *http.ServeMux, method, path string, f HandlerFunc) {
	mux.Handle(method+" "+path, p.Allow(Handle(f)))
	mux.Handle("OPTIONS "+path, p.Preflight())
}

// Allow lets pages read the answers of next.
func (p Pages) Allow(next http.Handler) http.Handler {
	headers := strings.Join(append(exposed[:len(exposed):len(exposed)], p.Exposed...), ", ")
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h["Access-Control-Allow-Origin"] = anyOrigin
		if r.Header.Get("Origin") != "" {
			h.Set("Access-Control-Expose-Headers", headers)
		}
		next.ServeHTTP(w, r)
	})
}

var anyOrigin = []string{"*"} // shared: nobody appends to it

// Preflight says what browsers may send, for a day without asking again. It names
// every method that endpoints for pages have: that this one answers 405 to some of
// them is not for the browser to know.
func (p Pages) Preflight() http.Handler {
	headers := strings.Join(p.Headers, ", ")
	return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		h := w.Header()
		h["Access-Control-Allow-Origin"] = anyOrigin
		h.Set("Access-Control-Allow-Methods", "GET, POST, OPTIONS")
		h.Set("Access-Control-Allow-Headers", headers)
		h.Set("Access-Control-Max-Age", "86400")
		h.Set("Cache-Control", "public, max-age=86400") // caches between us and the browser
		w.WriteHeader(http.StatusNoContent)
	})
}
