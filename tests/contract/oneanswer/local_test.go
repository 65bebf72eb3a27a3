package oneanswer

import (
	"fmt"
	"time"

	statsig "github.com/statsig-io/go-sdk"

	"github.com/sluice-flags/sluice/pkg/eval"
	sluice "github.com/sluice-flags/sluice/sdk/go"
	"github.com/sluice-flags/sluice/tests/harness"
)

// quietGoSDK keeps the process's log to ours.
func quietGoSDK() {
	statsig.InitializeGlobalOutputLogger(statsig.OutputLoggerOptions{LogCallback: func(string, error) {}})
}

// inProcess are the voices of SDKs that hold the rules, all with the server key.
func (h *hearing) inProcess() []voice {
	return []voice{
		{name: "Statsig's Go SDK", partial: true, ask: h.goSDK()},
		{name: "our Go SDK", ask: h.ourSDK()},
		{name: "our OpenFeature provider", partial: true, ask: h.ourProvider()},
	}
}

// goSDK is the unmodified SDK on what it downloads itself. It is told to look no
// countries up, for which the edge has no table. It gives what it does not know as
// false and empty, and names a layer's group only if an experiment decided. It
// decides nothing for users who have no id at all.
func (h *hearing) goSDK() func(eval.User, int) (map[entity]answer, error) {
	client := statsig.NewClientWithOptions(h.server, &statsig.Options{
		API: h.project.HTTP + "/v1", ConfigSyncInterval: time.Hour, IDListSyncInterval: time.Hour,
		IPCountryOptions: statsig.IPCountryOptions{Disabled: true}, UAParserOptions: statsig.UAParserOptions{EnsureLoaded: true},
		StatsigLoggerOptions: statsig.StatsigLoggerOptions{DisableInitDiagnostics: true, DisableSyncDiagnostics: true, DisableApiDiagnostics: true},
	})
	h.t.Cleanup(client.Shutdown)
	return func(u eval.User, _ int) (map[entity]answer, error) {
		if u.UserID == "" && len(u.CustomIDs) == 0 {
			return nil, nil
		}
		user := statsig.User{
			UserID: u.UserID, Email: u.Email, IpAddress: u.IP, UserAgent: u.UserAgent, Country: u.Country, Locale: u.Locale,
			AppVersion: u.AppVersion, Custom: u.Custom, PrivateAttributes: u.PrivateAttributes,
			StatsigEnvironment: u.StatsigEnvironment, CustomIDs: u.CustomIDs,
		}
		out := map[entity]answer{}
		for _, e := range h.entities {
			switch e.ref().Section {
			case eval.Gates:
				g := client.GetGateWithExposureLoggingDisabled(user, e.name)
				out[e] = answer{Value: g.Value, Rule: &g.RuleID, Group: &g.GroupName}
			case eval.Configs:
				c := client.GetConfigWithExposureLoggingDisabled(user, e.name)
				out[e] = answer{Value: object(c.Value), Rule: &c.RuleID, Group: &c.GroupName}
			case eval.Layers:
				l := client.GetLayerWithExposureLoggingDisabled(user, e.name)
				a := answer{Value: object(l.Value), Rule: &l.RuleID, Experiment: &l.AllocatedExperimentName}
				if l.AllocatedExperimentName != "" {
					a.Group = &l.GroupName
				}
				out[e] = a
			}
		}
		return out, nil
	}
}

// object is a value of that SDK's as encoding/json would decode it.
func object(v map[string]any) any {
	if v == nil {
		return map[string]any{}
	}
	return v
}

// ourSDK is a client that follows the rules live: what it decides by after an
// edit is what it had before and the differences that were pushed.
func (h *hearing) ourSDK() func(eval.User, int) (map[entity]answer, error) {
	if h.following == nil {
		client, err := sluice.New(h.server, sluice.WithURL(h.project.HTTP), sluice.WithInitTimeout(time.Minute),
			sluice.WithLookups(nil, agents), sluice.WithoutLogging())
		if err != nil {
			h.t.Fatal(err)
		}
		h.t.Cleanup(func() { _ = client.Close(h.t.Context()) }) // nothing is queued
		h.following = client
	}
	harness.Within(h.t, time.Minute, func() error {
		if s := h.following.Status(); s.Sequence < h.seq {
			return fmt.Errorf("our Go SDK is at %d: %w; want %d", s.Sequence, s.LastError, h.seq)
		}
		return nil
	})
	decide := h.following.Silent()
	return func(u eval.User, _ int) (map[entity]answer, error) {
		out := map[entity]answer{}
		for _, e := range h.entities {
			switch e.ref().Section {
			case eval.Gates:
				g := decide.Gate(&u, e.name)
				out[e] = answer{Value: g.Value, Rule: &g.RuleID, Group: &g.Group}
			case eval.Configs:
				c := decide.Config(&u, e.name)
				out[e] = answer{Value: members(c.Object), Rule: &c.RuleID, Group: &c.Group}
			case eval.Layers:
				l := decide.Layer(&u, e.name)
				out[e] = answer{Value: members(l.Value()), Rule: &l.RuleID, Group: &l.Group}
			}
		}
		return out, nil
	}
}

func members(o sluice.Object) any {
	if len(o) == 0 {
		return map[string]any{}
	}
	return decoded([]byte(o))
}
