package api

import (
	"net/http"

	"github.com/sluice-flags/sluice/internal/statsig"
	"github.com/sluice-flags/sluice/internal/web"
	"github.com/sluice-flags/sluice/pkg/flags"
)

// configSpecs serves what server SDKs download in an environment: to look at, or to
// start an SDK from without a server.
func (a *API) configSpecs(c *call) error {
	s, environment, err := c.entity(flags.KindEnvironment)
	if err != nil {
		return err
	}
	tag := etag(s.Seq())
	c.w.Header().Set("ETag", tag)
	if web.NoneMatch(c.r, tag) {
		c.w.WriteHeader(http.StatusNotModified)
		return nil
	}
	specs := flags.Lower(s, flags.Scope{Kind: flags.KeyServer, Environments: []string{environment.Ref.ID}})
	specs.Time = s.Time()
	body, err := statsig.EncodeV1(specs)
	if err != nil {
		return err
	}
	web.Send(c.w, http.StatusOK, body)
	return nil
}
