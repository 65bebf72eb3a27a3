package statsig

import (
	"cmp"
	"net/http"
	"strconv"
	"sync"

	protocol "github.com/sluice-flags/sluice/internal/statsig"
	"github.com/sluice-flags/sluice/internal/web"
	"github.com/sluice-flags/sluice/pkg/eval"
	"github.com/sluice-flags/sluice/pkg/events"
	"github.com/sluice-flags/sluice/services/edge/internal/access"
	"github.com/sluice-flags/sluice/services/edge/internal/exposure"
)

// initialize serves a client everything that it may see, for its user. To a server
// it serves the same: what it asks for is for a client to start from.
func (a *API) initialize(w http.ResponseWriter, r *http.Request) error {
	visit, err := a.gate.Client(w, r, protocol.Token(r))
	if err != nil {
		return err
	}
	body, err := protocol.ReadBody(r, protocol.UserLimits)
	if err != nil {
		return err
	}
	var in protocol.InitializeRequest
	if err := protocol.ReadInitialize(body, &in); err != nil {
		return err
	}
	u := in.Metadata.Subject(in.User)
	visit.Complete(u)
	options := visit.Client(eval.ParseHashMode(in.Hash))
	options.SDKType, options.SDKVersion = in.Metadata.SDK(r)
	buf := payloads.Get().(*[]byte)
	defer payloads.Put(buf)
	*buf = visit.Version.Rules.AppendClient((*buf)[:0], u, options)
	respond(w, r, *buf)
	return nil
}

// payloads holds buffers that grew to the size of an answer.
var payloads = sync.Pool{New: func() any { return new([]byte) }}

// checkGate serves one gate, or several by name.
func (a *API) checkGate(w http.ResponseWriter, r *http.Request) error {
	c, err := a.check(w, r)
	if err != nil {
		return err
	}
	for i, name := range c.GateNames {
		if err := access.Name("/gateNames/"+strconv.Itoa(i), name); err != nil {
			return err
		}
	}
	decide := func(name string) eval.Result {
		res := c.visit.Gate(c.User, name)
		a.note(c, events.ExposureGate, res)
		return res
	}
	switch {
	case c.GateName != "":
		if err := access.Name("/gateName", c.GateName); err != nil {
			return err
		}
		buf := payloads.Get().(*[]byte)
		defer payloads.Put(buf)
		*buf = protocol.AppendGateAnswer((*buf)[:0], decide(c.GateName))
		web.Send(w, http.StatusOK, *buf)
		return nil
	case len(c.GateNames) > 0:
		answers := make(map[string]protocol.GateAnswer, len(c.GateNames))
		for _, name := range c.GateNames {
			if _, done := answers[name]; !done {
				answers[name] = protocol.NewGateAnswer(decide(name))
			}
		}
		return web.Respond(w, http.StatusOK, answers)
	}
	return web.Invalid("/gateName", "required", "name a gate: gateName, or gateNames")
}

// getConfig serves a dynamic config or an experiment.
func (a *API) getConfig(w http.ResponseWriter, r *http.Request) error {
	c, err := a.check(w, r)
	if err != nil {
		return err
	}
	if c.ConfigName == "" {
		return web.Invalid("/configName", "required", "name a config or an experiment: configName")
	}
	if err := access.Name("/configName", c.ConfigName); err != nil {
		return err
	}
	res := c.visit.Config(c.User, c.ConfigName)
	a.note(c, events.ExposureConfig, res)
	return web.Respond(w, http.StatusOK, protocol.NewConfigAnswer(res))
}

// getLayer serves a layer's parameters.
func (a *API) getLayer(w http.ResponseWriter, r *http.Request) error {
	c, err := a.check(w, r)
	if err != nil {
		return err
	}
	if c.LayerName == "" {
		return web.Invalid("/layerName", "required", "name a layer: layerName")
	}
	if err := access.Name("/layerName", c.LayerName); err != nil {
		return err
	}
	res := c.visit.Layer(c.User, c.LayerName)
	if !res.Found {
		return web.Errorf(web.CodeNotFound, "there is no layer of that name")
	}
	a.note(c, events.ExposureLayer, res)
	return web.Respond(w, http.StatusOK, protocol.NewLayerAnswer(res))
}

// A check is a request of the server API, let in and read.
type check struct {
	protocol.CheckRequest
	visit           *access.Visit
	sdk, sdkVersion string
}

func (a *API) check(w http.ResponseWriter, r *http.Request) (*check, error) {
	visit, err := a.gate.Enter(w, r, protocol.Token(r))
	if err != nil {
		return nil, err
	}
	// Content-Type is not looked at: browsers send JSON as text/plain.
	body, err := protocol.ReadBody(r, protocol.UserLimits)
	if err != nil {
		return nil, err
	}
	c := &check{visit: visit}
	if err := protocol.ReadCheck(body, &c.CheckRequest); err != nil {
		return nil, err
	}
	if c.User == nil {
		return nil, web.Invalid("/user", "required", "name the user to decide for")
	}
	c.Metadata.Subject(c.User)
	c.sdk, c.sdkVersion = c.Metadata.SDK(r)
	visit.Complete(c.User)
	return c, nil
}

// note records the exposure of a single check, unless the caller records its own.
func (a *API) note(c *check, kind string, res eval.Result) {
	if a.exposures == nil || bool(c.Metadata.ExposureLoggingDisabled) {
		return
	}
	a.exposures.Record(exposure.Decision{
		Project: c.visit.Project, State: c.visit.State, Key: c.visit.Key, User: c.User, Kind: kind, Result: res,
		SDK: cmp.Or(c.sdk, "http-api"), SDKVersion: c.sdkVersion,
	})
}
