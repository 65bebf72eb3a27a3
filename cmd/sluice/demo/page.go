package demo

import (
	"embed"
	"encoding/json"
	"net/http"

	"github.com/sluice-flags/sluice/internal/web"
)

//go:embed page.html page.css page.js
var files embed.FS

// Page serves the live page under /demo. It shows what one visitor gets, with
// the client key that any browser would hold.
func Page(f Facts) http.Handler {
	settings, err := json.Marshal(map[string]any{
		"live":   f.Addresses.Live,
		"key":    f.Keys.Client,
		"gate":   f.Gate,
		"config": f.Config,
		"user":   map[string]string{"userID": "demo-page"},
	})
	if err != nil {
		panic(err) // strings always encode
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /demo", func(w http.ResponseWriter, r *http.Request) {
		// No script but our own: names of gates are shown as text, never run.
		w.Header().Set("Content-Security-Policy", "default-src 'self'; img-src data:; connect-src 'self' ws: wss:; frame-ancestors 'none'")
		w.Header().Set("X-Content-Type-Options", "nosniff")
		http.ServeFileFS(w, r, files, "page.html")
	})
	mux.HandleFunc("GET /demo/settings.json", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		w.Header().Set("Cache-Control", "no-store")
		_, _ = w.Write(settings) // a browser that left needs no answer
	})
	for _, name := range []string{"page.css", "page.js"} {
		mux.HandleFunc("GET /demo/"+name, func(w http.ResponseWriter, r *http.Request) { http.ServeFileFS(w, r, files, name) })
	}
	mux.Handle("/", web.Unmatched(mux))
	return mux
}
