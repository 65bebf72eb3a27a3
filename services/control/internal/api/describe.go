package api

import (
	"encoding/json"
	"io/fs"
	"net/http"
	"sync"

	"go.yaml.in/yaml/v3"

	"github.com/sluice-flags/sluice/internal/web"
	"github.com/sluice-flags/sluice/schemas"
)

// describe serves the description of this interface, as it was when this
// program was built.
func (a *API) describe(c *call) error {
	text, err := description()
	if err != nil {
		return err
	}
	c.w.Header().Set("Content-Type", "application/yaml")
	_, _ = c.w.Write(text) // the caller has gone: nobody is left to tell
	return nil
}

// describeJSON serves the same as JSON, for programs without YAML.
func (a *API) describeJSON(c *call) error {
	text, err := descriptionJSON()
	if err != nil {
		return err
	}
	web.Send(c.w, http.StatusOK, text)
	return nil
}

func description() ([]byte, error) { return fs.ReadFile(schemas.OpenAPI, "control.yaml") }

// descriptionJSON is made once, when somebody first asks.
var descriptionJSON = sync.OnceValues(func() ([]byte, error) {
	text, err := description()
	if err != nil {
		return nil, err
	}
	var all map[string]any
	if err := yaml.Unmarshal(text, &all); err != nil {
		return nil, err
	}
	return json.Marshal(all)
})
