package ofrep

import (
	"net/http"

	protocol "github.com/sluice-flags/sluice/internal/ofrep"
	"github.com/sluice-flags/sluice/internal/web"
	"github.com/sluice-flags/sluice/pkg/eval"
	"github.com/sluice-flags/sluice/pkg/events"
	"github.com/sluice-flags/sluice/pkg/flags"
	"github.com/sluice-flags/sluice/services/edge/internal/exposure"
)

// single serves one flag.
func (a *API) single(w http.ResponseWriter, r *http.Request) error {
	v, err := a.enter(w, r)
	if err != nil {
		return err
	}
	key := r.PathValue("key")
	if len(key) > protocol.MaxKey {
		return &protocol.Error{Code: protocol.InvalidContext, Details: "the key of a flag has at most 255 bytes"}
	}
	if err := v.read(a, r); err != nil {
		return err
	}
	f, parameter, ok := v.catalog.find(key)
	if !ok {
		return a.absent(key)
	}
	e, res, ok := v.evaluate(f, parameter, key)
	switch {
	case !ok:
		return a.absent(key)
	case e.ErrorCode != "":
		return &protocol.Error{Code: e.ErrorCode, Details: e.ErrorDetails}
	}
	if e.Value != nil && r.URL.Query().Get("exposure") != "0" {
		a.expose(v, f, res)
	}
	return web.Respond(w, http.StatusOK, e)
}

func (a *API) absent(key string) error {
	a.metrics.absent.Inc()
	details := "there is no flag of this name that the key may see"
	if key == "" {
		details = "name a flag: " + protocol.PathFlags + "/<key>"
	}
	return &protocol.Error{Code: protocol.FlagNotFound, Details: details}
}

// expose records that a unit was served a value.
func (a *API) expose(v *visit, f *flag, res eval.Result) {
	if a.exposures == nil {
		return
	}
	kind := events.ExposureConfig
	switch f.kind {
	case flags.KindGate:
		kind = events.ExposureGate
	case flags.KindLayer:
		kind = events.ExposureLayer
	}
	a.exposures.Record(exposure.Decision{
		Project: v.Project, State: v.State, Key: v.Key, User: &v.user, Kind: kind, Result: res, SDK: sdk,
	})
}
