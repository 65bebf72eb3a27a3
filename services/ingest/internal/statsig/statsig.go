// Package statsig is the door through which Statsig's SDKs send what they
// logged. It speaks their protocol and decides nothing: bodies become entries,
// and a request is answered 202 after every entry is stored.
package statsig

import (
	"cmp"
	"context"
	"errors"
	"maps"
	"net/http"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/sluice-flags/sluice/internal/auth"
	protocol "github.com/sluice-flags/sluice/internal/statsig"
	"github.com/sluice-flags/sluice/internal/web"
	"github.com/sluice-flags/sluice/services/ingest/internal/body"
	"github.com/sluice-flags/sluice/services/ingest/internal/intake"
)

// An Accepter stores entries, as [intake.Intake] does.
type Accepter interface {
	Accept(ctx context.Context, who auth.Principal, d intake.Delivery) (intake.Receipt, error)
}

// An API serves the log endpoints.
type API struct {
	keys   *auth.Resolver
	accept Accepter

	bodies *body.Reader

	internal   prometheus.Counter
	exceptions prometheus.Counter
}

// New returns the endpoints of the Statsig protocol in front of accept.
func New(keys *auth.Resolver, accept Accepter, bodies *body.Reader, reg prometheus.Registerer) *API {
	a := &API{
		keys: keys, accept: accept, bodies: bodies,
		internal: prometheus.NewCounter(prometheus.CounterOpts{Subsystem: "ingest", Name: "internal_events_total",
			Help: "Events of SDKs about themselves that were acknowledged and not stored."}),
		exceptions: prometheus.NewCounter(prometheus.CounterOpts{Subsystem: "ingest", Name: "sdk_exceptions_total",
			Help: "Reports of SDKs about their own failures."}),
	}
	if reg != nil {
		reg.MustRegister(a.internal, a.exceptions)
	}
	return a
}

// Register puts the endpoints on mux.
func (a *API) Register(mux *http.ServeMux) {
	for path, f := range map[string]web.HandlerFunc{
		"/v1/log_event":           a.logEvent,
		"/v1/rgstr":               a.logEvent,
		"/v1/log_event_beacon":    a.logEvent,
		"/v1/log_custom_exposure": a.customExposure,
		"/v1/sdk_exception":       a.sdkException,
	} {
		protocol.Pages.Handle(mux, "POST", path, f)
	}
}

// success is what SDKs need to see, as an object: some send everything again
// when they do not.
var success = struct {
	Success bool `json:"success"`
}{true}

// delivery begins a delivery with what the body, the headers or the query say
// of the SDK.
func delivery(r *http.Request, sdk protocol.SDK, now time.Time) intake.Delivery {
	q := r.URL.Query()
	return intake.Delivery{
		SessionID:  cut(cmp.Or(sdk.SessionID, r.Header.Get("Statsig-Server-Session-Id"), q.Get("sid"))),
		SDKType:    cut(cmp.Or(sdk.Type, r.Header.Get("Statsig-Sdk-Type"), q.Get("st"))),
		SDKVersion: cut(cmp.Or(sdk.Version, r.Header.Get("Statsig-Sdk-Version"), q.Get("sv"))),
		Received:   now,
	}
}

// cut bounds a text that a header brought.
func cut(s string) string {
	return strings.ToValidUTF8(s[:min(len(s), 100)], "")
}

// logEvent serves POST /v1/log_event, /v1/rgstr and /v1/log_event_beacon.
func (a *API) logEvent(w http.ResponseWriter, r *http.Request) error {
	return a.take(w, r, func(text []byte, keep []string) (intake.Delivery, error) {
		b, err := protocol.DecodeLogBody(text, keep...)
		if err != nil {
			return intake.Delivery{}, err
		}
		d := delivery(r, b.SDK, time.Now())
		d.Entries = make([]intake.Entry, 0, len(b.Events))
		for i := range b.Events {
			if b.Events[i].Internal() {
				a.internal.Inc()
				continue
			}
			d.Entries = append(d.Entries, Entry(&b.Events[i]))
		}
		b.Release()
		return d, nil
	})
}

// customExposure serves POST /v1/log_custom_exposure.
func (a *API) customExposure(w http.ResponseWriter, r *http.Request) error {
	return a.take(w, r, func(text []byte, keep []string) (intake.Delivery, error) {
		exposures, sdk, err := protocol.DecodeCustomExposures(text, keep...)
		if err != nil {
			return intake.Delivery{}, err
		}
		d := delivery(r, sdk, time.Now())
		d.Entries = make([]intake.Entry, 0, len(exposures))
		for i := range exposures {
			d.Entries = append(d.Entries, customEntry(&exposures[i]))
		}
		return d, nil
	})
}

// take lets a request in, makes a delivery of its text, and answers once all of
// it is stored. Of a failure it says, besides the problem, that it is none: some
// callers look for that member alone.
func (a *API) take(w http.ResponseWriter, r *http.Request, decode func(text []byte, keep []string) (intake.Delivery, error)) error {
	err := a.store(r, decode)
	if err == nil {
		return web.Respond(w, http.StatusAccepted, success)
	}
	if e, ok := errors.AsType[*web.Error](err); ok {
		told := *e
		told.Extra = maps.Clone(e.Extra)
		if told.Extra == nil {
			told.Extra = map[string]any{}
		}
		told.Extra["success"] = false
		return &told
	}
	return err
}

func (a *API) store(r *http.Request, decode func(text []byte, keep []string) (intake.Delivery, error)) error {
	who, err := a.keys.Request(r, protocol.Token(r))
	if err != nil {
		return err
	}
	var d intake.Delivery
	unwrap := func(raw []byte) ([]byte, error) { return protocol.Unwrap(r, raw, body.Limits) }
	release, err := a.bodies.Read(r, unwrap, func(text []byte) (err error) {
		d, err = decode(text, intake.Kept(who.State))
		return err
	})
	defer release()
	if err != nil {
		return err
	}
	_, err = a.accept.Accept(r.Context(), who, d)
	return err
}

// sdkException serves POST /v1/sdk_exception: it is counted, never failed, and
// not read, since nobody knows whose data is in it.
func (a *API) sdkException(w http.ResponseWriter, _ *http.Request) error {
	a.exceptions.Inc()
	return web.Respond(w, http.StatusAccepted, success)
}
