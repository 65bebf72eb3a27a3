// Package openfeature lets code that speaks OpenFeature decide by the Go SDK, in
// process, and keeps what OpenFeature itself leaves out: exposures and events.
//
//	client, err := sluice.New(key, sluice.WithURL("https://flags.example.com"))
//	…
//	err = openfeature.SetProviderAndWait(sluiceof.NewProvider(client))
//
// A flag's key is the name of a gate, an experiment or config, or a layer, looked
// for in that order; gate:name, config:name, experiment:name and layer:name are
// exact, and config:name:parameter is one typed parameter. Each evaluation that
// answers logs its exposure as the SDK does, and Track logs an event. It promises the values
// that an edge gives to OpenFeature clients over the network, with the reasons,
// variants and errors that come with them there.
package openfeature

import (
	"context"
	"encoding/json"
	"strconv"
	"strings"

	of "github.com/open-feature/go-sdk/openfeature"

	sluice "github.com/sluice-flags/sluice/sdk/go"
)

// A Provider decides by a client of the SDK.
type Provider struct {
	client *sluice.Client
	units  map[string]string // unit types by their lower case
	events chan of.Event
	stop   []func()
}

var (
	_ of.FeatureProvider          = (*Provider)(nil)
	_ of.ContextAwareStateHandler = (*Provider)(nil)
	_ of.EventHandler             = (*Provider)(nil)
	_ of.Tracker                  = (*Provider)(nil)
)

// NewProvider returns a provider that decides by client, which it does not
// close. Members of an evaluation context that are named like one of the unit
// types ("companyID", …), in any case, are custom ids; stableID always is.
func NewProvider(client *sluice.Client, unitTypes ...string) *Provider {
	p := &Provider{client: client, units: map[string]string{}, events: make(chan of.Event, 16)}
	for _, name := range append([]string{"stableID"}, unitTypes...) {
		p.units[strings.ToLower(name)] = name
	}
	return p
}

const name = "sluice"

// Metadata implements [of.FeatureProvider].
func (p *Provider) Metadata() of.Metadata { return of.Metadata{Name: name} }

// Hooks implements [of.FeatureProvider]: the SDK logs exposures itself.
func (p *Provider) Hooks() []of.Hook { return nil }

// Init waits until the client is ready.
func (p *Provider) Init(c of.EvaluationContext) error {
	return p.InitWithContext(context.Background(), c)
}

// InitWithContext waits until the client is ready. The client goes on trying
// when that takes too long, and decides by what it has.
func (p *Provider) InitWithContext(ctx context.Context, _ of.EvaluationContext) error {
	if p.stop == nil {
		p.stop = []func(){p.client.OnStatus(p.status), p.client.OnUpdate(p.update)}
	}
	return p.client.Ready(ctx)
}

// Shutdown ends the provider's interest in the client.
func (p *Provider) Shutdown() {
	for _, stop := range p.stop {
		stop()
	}
	p.stop = nil
}

// ShutdownWithContext is [Provider.Shutdown], and sends what is queued.
func (p *Provider) ShutdownWithContext(ctx context.Context) error {
	p.Shutdown()
	return p.client.Flush(ctx)
}

// EventChannel implements [of.EventHandler].
func (p *Provider) EventChannel() <-chan of.Event { return p.events }

func (p *Provider) status(s sluice.Status) {
	e := of.Event{ProviderName: name}
	switch s.State {
	case sluice.Ready:
		e.EventType = of.ProviderReady
	case sluice.Stale:
		e.EventType = of.ProviderStale
	case sluice.Off:
		e.EventType = of.ProviderError
	default:
		return
	}
	if s.LastError != nil {
		e.Message = s.LastError.Error()
	}
	p.emit(e)
}

func (p *Provider) update(u sluice.Update) {
	e := of.Event{ProviderName: name, EventType: of.ProviderConfigChange}
	for _, ref := range u.Changed {
		e.FlagChanges = append(e.FlagChanges, ref.Name)
	}
	p.emit(e)
}

// emit tells whoever listens. The client waits for nobody: when nobody listens,
// events are lost.
func (p *Provider) emit(e of.Event) {
	select {
	case p.events <- e:
	default:
	}
}

// Track logs an event: details' value is its value, and their attributes are
// its metadata.
func (p *Provider) Track(_ context.Context, event string, c of.EvaluationContext, d of.TrackingEventDetails) {
	flat := of.FlattenedContext(c.Attributes())
	if flat == nil {
		flat = of.FlattenedContext{}
	}
	if key := c.TargetingKey(); key != "" {
		flat[of.TargetingKey] = key
	}
	u, problem := p.user(flat)
	if problem != "" {
		return
	}
	e := sluice.Event{User: u, Name: event, Metadata: map[string]string{}}
	if d.Value() != 0 {
		e.Value = d.Value()
	}
	for key, v := range d.Attributes() {
		e.Metadata[key] = text(v)
	}
	p.client.LogEvent(e)
}

// text is a value as metadata has it.
func text(v any) string {
	switch v := v.(type) {
	case string:
		return v
	case bool:
		return strconv.FormatBool(v)
	}
	raw, err := json.Marshal(v)
	if err != nil {
		return ""
	}
	return string(raw)
}

// BooleanEvaluation implements [of.FeatureProvider].
func (p *Provider) BooleanEvaluation(_ context.Context, flag string, other bool, c of.FlattenedContext) of.BoolResolutionDetail {
	return resolve(p, flag, other, c)
}

// StringEvaluation implements [of.FeatureProvider].
func (p *Provider) StringEvaluation(_ context.Context, flag, other string, c of.FlattenedContext) of.StringResolutionDetail {
	return resolve(p, flag, other, c)
}

// FloatEvaluation implements [of.FeatureProvider].
func (p *Provider) FloatEvaluation(_ context.Context, flag string, other float64, c of.FlattenedContext) of.FloatResolutionDetail {
	return resolve(p, flag, other, c)
}

// IntEvaluation implements [of.FeatureProvider].
func (p *Provider) IntEvaluation(_ context.Context, flag string, other int64, c of.FlattenedContext) of.IntResolutionDetail {
	return resolve(p, flag, other, c)
}

// ObjectEvaluation implements [of.FeatureProvider].
func (p *Provider) ObjectEvaluation(_ context.Context, flag string, other any, c of.FlattenedContext) of.InterfaceResolutionDetail {
	return resolve(p, flag, other, c)
}

// resolve decides a flag for a context, as the type that the caller asks for.
func resolve[T any](p *Provider, flag string, other T, c of.FlattenedContext) of.GenericResolutionDetail[T] {
	failed := func(err of.ResolutionError) of.GenericResolutionDetail[T] {
		return of.GenericResolutionDetail[T]{Value: other, ProviderResolutionDetail: of.ProviderResolutionDetail{ResolutionError: err, Reason: of.ErrorReason}}
	}
	u, problem := p.user(c)
	if problem != "" {
		return failed(of.NewInvalidContextResolutionError(problem))
	}
	d, ok := p.decide(&u, flag)
	switch {
	case !ok && d.Reason == sluice.ReasonNoDefinitions:
		return failed(of.NewProviderNotReadyResolutionError("no edge has answered yet"))
	case !ok:
		return failed(of.NewFlagNotFoundResolutionError("there is no flag " + strconv.Quote(flag)))
	case u.UserID == "" && d.Missing == "userID":
		return failed(of.NewTargetingKeyMissingResolutionError("the answer depends on whom you ask for: put a targetingKey into the context"))
	case u.UserID == "" && d.Missing != "":
		return failed(of.NewTargetingKeyMissingResolutionError("the answer depends on the " + d.Missing + " of whom you ask for: put one into the context"))
	case d.value == nil || string(d.value) == "null": // the code keeps its default, on purpose or for want of a value
		return of.GenericResolutionDetail[T]{Value: other, ProviderResolutionDetail: d.details()}
	}
	var value *T
	if err := json.Unmarshal(d.value, &value); err != nil || value == nil {
		return failed(of.NewTypeMismatchResolutionError("the flag's value is of another type"))
	}
	p.expose(&u, &d) // who gets a default has not seen the flag
	return of.GenericResolutionDetail[T]{Value: *value, ProviderResolutionDetail: d.details()}
}
