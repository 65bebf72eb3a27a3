// Package native is the door for programs of ours and of anybody without an SDK:
// POST /v1/events. Its bodies are those of log_event with ids, and with exposures
// in plain words; its answers say of each event whether it counts.
package native

import (
	"cmp"
	"context"
	"mime"
	"net/http"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/sluice-flags/sluice/internal/auth"
	protocol "github.com/sluice-flags/sluice/internal/statsig"
	"github.com/sluice-flags/sluice/internal/web"
	"github.com/sluice-flags/sluice/services/ingest/internal/body"
	"github.com/sluice-flags/sluice/services/ingest/internal/intake"
	"github.com/sluice-flags/sluice/services/ingest/internal/statsig"
)

// An Accepter stores entries, as [intake.Intake] does.
type Accepter interface {
	Accept(ctx context.Context, who auth.Principal, d intake.Delivery) (intake.Receipt, error)
}

// An API serves POST /v1/events.
type API struct {
	keys   *auth.Resolver
	accept Accepter
	bodies *body.Reader

	rejected prometheus.Counter
}

// New returns the endpoint in front of accept.
func New(keys *auth.Resolver, accept Accepter, bodies *body.Reader, reg prometheus.Registerer) *API {
	a := &API{keys: keys, accept: accept, bodies: bodies,
		rejected: prometheus.NewCounter(prometheus.CounterOpts{Subsystem: "ingest", Name: "rejected_events_total",
			Help: "Events of POST /v1/events that were answered as rejected and set aside."})}
	if reg != nil {
		reg.MustRegister(a.rejected)
	}
	return a
}

var pages = web.Pages{Headers: []string{"authorization", "content-type", "content-encoding", "statsig-api-key"}}

// Register puts the endpoint on mux.
func (a *API) Register(mux *http.ServeMux) { pages.Handle(mux, "POST", "/v1/events", a.events) }

// A Reply is the answer to a batch. A retry of the batch gets the same.
type Reply struct {
	Success  bool   `json:"success"` // the batch is stored: do not send it again
	BatchID  string `json:"batch_id,omitempty"`
	Accepted int    `json:"accepted"` // events that count, those among them that came before
	// Rejected are events that make no sense. They are set aside with their reason,
	// and are to be sent again only when they were mended.
	Rejected []Rejection `json:"rejected"`
}

// A Rejection says what is wrong with one event.
type Rejection struct {
	Index   int    `json:"index"` // of the event in the batch, from 0; lines that are no events do not count
	EventID string `json:"event_id,omitempty"`
	Code    string `json:"code"` // stable
	Message string `json:"message"`
}

// events serves POST /v1/events.
func (a *API) events(w http.ResponseWriter, r *http.Request) error {
	if q := r.URL.Query(); q.Has("k") || q.Has("key") {
		return web.Invalid("k", "key_in_query", "a key in a URL ends in logs: send it as Authorization: Bearer, and make another in place of this one")
	}
	who, err := a.keys.Request(r, auth.Token(r))
	if err != nil {
		return err
	}
	decode, err := decoder(r.Header.Get("Content-Type"))
	if err != nil {
		return err
	}
	var b protocol.Batch
	unwrap := func(raw []byte) ([]byte, error) {
		return web.Inflate(r.Header.Get("Content-Encoding"), raw, body.Limits)
	}
	release, err := a.bodies.Read(r, unwrap, func(text []byte) (err error) {
		b, err = decode(text, intake.Kept(who.State)...)
		return err
	})
	defer release()
	if err != nil {
		return err
	}
	d, at := delivery(&b, time.Now())
	receipt, err := a.accept.Accept(r.Context(), who, d)
	if err != nil {
		return err
	}
	reply := Reply{Success: true, BatchID: b.ID, Accepted: len(b.Events) - len(receipt.Rejected), Rejected: []Rejection{}}
	for _, x := range receipt.Rejected {
		reply.Rejected = append(reply.Rejected, Rejection{Index: at[x.Index], EventID: d.Entries[x.Index].ID, Code: x.Code, Message: x.Detail})
	}
	a.rejected.Add(float64(len(reply.Rejected)))
	return web.Respond(w, http.StatusAccepted, reply)
}

// decoder is how a body of a type is read.
func decoder(contentType string) (func([]byte, ...string) (protocol.Batch, error), error) {
	kind, _, err := mime.ParseMediaType(contentType)
	if err != nil {
		kind = strings.ToLower(contentType)
	}
	switch kind {
	case "", "application/json", "text/plain": // the last one needs no preflight in browsers
		return protocol.DecodeBatch, nil
	case "application/x-ndjson", "application/ndjson", "application/jsonl", "application/x-jsonlines":
		return protocol.DecodeLines, nil
	}
	return nil, web.Errorf(web.CodeUnsupportedMedia, "send events as Content-Type: application/json, or one in each line as application/x-ndjson")
}

// delivery makes entries of a batch; at[i] is the index of entry i in the batch.
// What SDKs say of themselves is taken, and stored nowhere.
func delivery(b *protocol.Batch, now time.Time) (d intake.Delivery, at []int) {
	d = intake.Delivery{
		BatchID: b.ID, SessionID: b.SDK.SessionID, SDKType: b.SDK.Type, SDKVersion: b.SDK.Version, Received: now,
		Entries: make([]intake.Entry, 0, len(b.Events)),
	}
	made := protocol.TimeOfUUID(b.ID)
	for i := range b.Events {
		e := &b.Events[i]
		if e.Internal() {
			continue
		}
		one := entry(e)
		// A retry must say the same time, or it is another row: so the ids tell it
		// where the event does not.
		one.Time = cmp.Or(one.Time, protocol.TimeOfUUID(one.ID), made)
		d.Entries, at = append(d.Entries, one), append(at, i)
	}
	return d, at
}

// entry says in our words what an event of a batch tells.
func entry(e *protocol.BatchEvent) intake.Entry {
	entry := statsig.Entry(&e.LogEvent)
	entry.ID = e.ID
	if e.Name != "" {
		return entry
	}
	entry.RuleID, entry.Group, entry.Reason, entry.Parameter, entry.Sequence = e.RuleID, e.Group, e.Reason, e.Parameter, e.Sequence
	switch {
	case e.Gate != "":
		entry.Kind, entry.Name = intake.Gate, e.Gate
		if e.Value != "true" && e.Value != "false" && entry.Fault == nil {
			entry.Fault = &intake.Fault{Code: "wrong_type", Detail: "the exposure of a gate says what it gave as value: true or false"}
		}
	case e.Layer != "":
		entry.Kind, entry.Name, entry.Experiment = intake.Layer, e.Layer, e.Experiment
	default:
		entry.Kind, entry.Name = intake.Config, cmp.Or(e.Config, e.Experiment)
	}
	return entry
}
