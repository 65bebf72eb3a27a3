package web

import (
	"io/fs"
	"net/http"

	"github.com/sluice-flags/sluice/schemas"
)

// Describe serves a description of an HTTP interface to anybody, as it was when
// this program was built: edge.yaml, say.
func Describe(file string) http.Handler {
	return Handle(func(w http.ResponseWriter, _ *http.Request) error {
		text, err := fs.ReadFile(schemas.OpenAPI, file)
		if err != nil {
			return err
		}
		w.Header().Set("Content-Type", "application/yaml")
		w.Header().Set("Cache-Control", "no-cache")
		_, _ = w.Write(text) // the caller has gone: nobody is left to tell
		return nil
	})
}
