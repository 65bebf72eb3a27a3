package openfeature

import (
	"context"

	of "github.com/open-feature/go-sdk/openfeature"

	sluice "github.com/sluice-flags/sluice/sdk/go"
)

// tracked is a provider of others whose events we take.
type tracked struct {
	of.FeatureProvider
	ours *Provider
}

// WithTracking gives a provider that evaluates over the network, such as OFREP's,
// what it lacks: Track logs an event through client. Its evaluations are exposures
// already, which the edge records. Unit types are as those of [NewProvider].
func WithTracking(p of.FeatureProvider, client *sluice.Client, unitTypes ...string) of.FeatureProvider {
	return tracked{p, NewProvider(client, unitTypes...)}
}

var _ of.Tracker = tracked{}

// Track implements [of.Tracker].
func (t tracked) Track(ctx context.Context, event string, c of.EvaluationContext, d of.TrackingEventDetails) {
	t.ours.Track(ctx, event, c, d)
}
