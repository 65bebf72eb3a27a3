package oneanswer

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"github.com/google/go-cmp/cmp"
	of "github.com/open-feature/go-sdk/openfeature"

	"github.com/sluice-flags/sluice/internal/ofrep"
	"github.com/sluice-flags/sluice/pkg/eval"
	"github.com/sluice-flags/sluice/pkg/flags"
	"github.com/sluice-flags/sluice/sdk/go/openfeature"
	"github.com/sluice-flags/sluice/tests/harness"
)

// askingProvider are the users of whom the provider is asked: it says more than
// others, and each answer is compared with one over the network.
const askingProvider = 12

// said is all that an evaluation says in the words of OpenFeature.
type said struct {
	Value                               any
	Reason, Variant, Error              string
	Kind, Rule, Group, Unit, Experiment string
	Version                             uint64
	Override, Deferred                  bool
}

// ourProvider is the OpenFeature provider of our Go SDK, in process. Whatever it
// says has to be what the edge says over the network: value, reason, variant,
// error and metadata. It does not tell the names of holdouts, and does not take a
// tier from a context.
func (h *hearing) ourProvider() func(eval.User, int) (map[entity]answer, error) {
	p := openfeature.NewProvider(h.following)
	return func(u eval.User, number int) (map[entity]answer, error) {
		if number >= askingProvider {
			return nil, nil
		}
		u.StatsigEnvironment = nil
		members := h.context(u, 3*number) // custom ids in their own object: the provider knows no unit types
		for _, e := range h.entities {
			if e.kind == flags.KindHoldout {
				continue
			}
			key := string(e.kind) + ":" + e.name
			var remote ofrep.Evaluation
			path := ofrep.PathFlags + "/" + url.PathEscape(key) + "?exposure=0"
			if _, err := h.post(h.server, path, harness.Doc{"context": members}, &remote, http.StatusNotFound, http.StatusBadRequest); err != nil {
				return nil, err
			}
			if diff := cmp.Diff(overNetwork(remote), inProvider(p, e, key, members)); diff != "" {
				return nil, fmt.Errorf("about the %s %q the edge and the provider differ (-edge +provider):\n%s\n%s", e.kind, e.name, diff, h.document(e))
			}
			h.compared.Add(1)
		}
		return nil, nil
	}
}

func overNetwork(e ofrep.Evaluation) said {
	if e.ErrorCode != "" {
		return said{Error: string(e.ErrorCode)}
	}
	m := e.Metadata
	s := said{
		Reason: string(e.Reason), Variant: e.Variant, Kind: m.Kind, Rule: m.RuleID, Group: m.GroupName, Unit: m.IDType, Experiment: m.Experiment,
		Version: m.Version, Override: m.Override, Deferred: m.Deferred,
	}
	if e.Value != nil {
		s.Value = decoded(e.Value)
	}
	return s
}

func inProvider(p *openfeature.Provider, e entity, key string, members map[string]any) said {
	var value any
	var d of.ProviderResolutionDetail
	if e.kind == flags.KindGate {
		r := p.BooleanEvaluation(context.Background(), key, false, members)
		value, d = r.Value, r.ProviderResolutionDetail
	} else {
		r := p.ObjectEvaluation(context.Background(), key, nil, members)
		value, d = r.Value, r.ProviderResolutionDetail
	}
	if d.Reason == of.ErrorReason {
		code, _, _ := strings.Cut(d.ResolutionError.Error(), ":")
		return said{Error: code}
	}
	text := func(name string) string { s, _ := d.FlagMetadata[name].(string); return s }
	flag := func(name string) bool { b, _ := d.FlagMetadata[name].(bool); return b }
	version, _ := d.FlagMetadata["version"].(int64)
	s := said{
		Reason: string(d.Reason), Variant: d.Variant, Kind: text("kind"), Rule: text("ruleID"), Group: text("groupName"), Unit: text("idType"),
		Experiment: text("experiment"), Version: uint64(version), Override: flag("override"), Deferred: flag("deferred"),
	}
	if !s.Deferred {
		raw, _ := json.Marshal(value) // it came as JSON
		s.Value = decoded(raw)
	}
	return s
}
