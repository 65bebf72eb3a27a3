// Package statsig is the door through which Statsig's SDKs send what they
// logged. It speaks their protocol and decides nothing: bodies become claims,
// and a request is answered 202 after every claim is stored.
package statsig

import (
	"cmp"
	"context"
	"io"
	"net/http"
	"runtime"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/semaphore"

	"github.com/sluice-flags/sluice/internal/auth"
	protocol "github.com/sluice-flags/sluice/internal/statsig"
	"github.com/sluice-flags/sluice/internal/web"
	"github.com/sluice-flags/sluice/services/ingest/internal/intake"
)

// An Accepter stores claims, as [intake.Intake] does.
type Accepter interface {
	Accept(ctx context.Context, who auth.Principal, d intake.Delivery) (intake.Receipt, error)
}

// An API serves the log endpoints.
type API struct {
	keys   *auth.Resolver
	accept Accepter

	memory *semaphore.Weighted // bytes of bodies that are held
	decode *semaphore.Weighted // bodies that are being decoded

	internal   prometheus.Counter
	exceptions prometheus.Counter
}

// bodyBytes bounds the bodies that are held at a time, whatever the number of
// requests: while they arrive, and until what they say is stored, because claims
// are slices of them. Beyond it requests are refused. Decoding waits for nobody,
// so it is bounded by processors and queues.
const bodyBytes = 128 << 20

// limits of a body; those of internal/web are the defaults.
var limits = web.Limits{Raw: 1 << 20, Inflated: 4 << 20, Ratio: 100}

// New returns the endpoints of the Statsig protocol in front of accept.
func New(keys *auth.Resolver, accept Accepter, reg prometheus.Registerer) *API {
	a := &API{
		keys: keys, accept: accept,
		memory: semaphore.NewWeighted(bodyBytes),
		decode: semaphore.NewWeighted(int64(2 * runtime.GOMAXPROCS(0))),
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

// read reads the request's JSON text and hands it to decode. The memory of the
// text is the caller's until it calls release, which is never nil.
func (a *API) read(r *http.Request, decode func(text []byte) error) (release func(), err error) {
	held := int64(0)
	release = func() { a.memory.Release(held) }
	hold := func(bytes int64) error {
		if bytes > held && !a.memory.TryAcquire(bytes-held) {
			return &web.Error{Code: web.CodeUnavailable, Message: "too many bodies arrive at once: send this one again later", RetryAfter: time.Second}
		}
		held = max(held, bytes)
		return nil
	}

	body := &metered{ReadCloser: r.Body, hold: hold}
	r.Body = body
	raw, err := web.ReadRaw(r, limits)
	if err = cmp.Or(body.refused, err); err != nil {
		return release, err
	}
	if err := a.decode.Acquire(r.Context(), 1); err != nil {
		return release, &web.Error{Code: web.CodeUnavailable, Message: "the request ended before it was read", Err: err, RetryAfter: time.Second}
	}
	defer a.decode.Release(1)
	text, err := protocol.Unwrap(r, raw, limits)
	if err != nil {
		return release, err
	}
	if err := hold(int64(len(text))); err != nil {
		return release, err
	}
	return release, decode(text)
}

// metered is a body that asks for memory as its bytes arrive. Those that are only
// announced take none, so that whoever sends them slowly is in nobody's way.
type metered struct {
	io.ReadCloser
	hold    func(bytes int64) error
	arrived int64
	refused error
}

// Read implements [io.Reader].
func (m *metered) Read(p []byte) (int, error) {
	n, err := m.ReadCloser.Read(p)
	m.arrived += int64(n)
	if m.refused = m.hold(m.arrived); m.refused != nil {
		return n, m.refused
	}
	return n, err
}

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
	return a.take(w, r, func(text []byte) (intake.Delivery, error) {
		b, err := protocol.DecodeLogBody(text)
		if err != nil {
			return intake.Delivery{}, err
		}
		d := delivery(r, b.SDK, time.Now())
		d.Claims = make([]intake.Claim, 0, len(b.Events))
		for i := range b.Events {
			if b.Events[i].Internal() {
				a.internal.Inc()
				continue
			}
			d.Claims = append(d.Claims, claim(&b.Events[i]))
		}
		return d, nil
	})
}

// customExposure serves POST /v1/log_custom_exposure.
func (a *API) customExposure(w http.ResponseWriter, r *http.Request) error {
	return a.take(w, r, func(text []byte) (intake.Delivery, error) {
		exposures, sdk, err := protocol.DecodeCustomExposures(text)
		if err != nil {
			return intake.Delivery{}, err
		}
		d := delivery(r, sdk, time.Now())
		d.Claims = make([]intake.Claim, 0, len(exposures))
		for i := range exposures {
			d.Claims = append(d.Claims, customClaim(&exposures[i]))
		}
		return d, nil
	})
}

// take lets a request in, makes a delivery of its text, and answers once all of
// it is stored.
func (a *API) take(w http.ResponseWriter, r *http.Request, decode func(text []byte) (intake.Delivery, error)) error {
	who, err := a.keys.Request(r, protocol.Token(r))
	if err != nil {
		return err
	}
	var d intake.Delivery
	release, err := a.read(r, func(text []byte) (err error) {
		d, err = decode(text)
		return err
	})
	defer release()
	if err != nil {
		return err
	}
	if _, err := a.accept.Accept(r.Context(), who, d); err != nil {
		return err
	}
	return web.Respond(w, http.StatusAccepted, success)
}

// sdkException serves POST /v1/sdk_exception: it is counted, never failed, and
// not read, since nobody knows whose data is in it.
func (a *API) sdkException(w http.ResponseWriter, _ *http.Request) error {
	a.exceptions.Inc()
	return web.Respond(w, http.StatusAccepted, success)
}
