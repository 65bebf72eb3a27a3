package contract

import (
	"encoding/json"
	"errors"
	"net/http"
	"strings"
	"testing"

	statsig "github.com/statsig-io/go-sdk"

	"github.com/sluice-flags/sluice/pkg/eval"
)

// An answer is all that an evaluator says about one entity for one user.
type answer struct {
	Value  any
	RuleID string
	Group  string
	IDType string // gates
	Pass   bool   // gates and configs

	Unknown     bool
	Unsupported bool
	Crashed     bool // the SDK recovered from a panic of its own

	Version     string // of the spec that decided, as exposures tell it
	Exposures   []eval.SecondaryExposure
	Undelegated []eval.SecondaryExposure // layers: of parameters that no experiment owns
	Allocated   string                   // layers
}

// settled leaves out what nobody may rely on: of an unsupported entity, all but
// that it is.
func (a answer) settled() answer {
	if a.Unsupported {
		return answer{Value: a.Value, RuleID: a.RuleID, Unsupported: true}
	}
	return a
}

// goSDK is the unmodified Go SDK in local mode, fed with the body that our edge
// serves. It touches no network.
type goSDK struct {
	client *statsig.Client
	last   *statsig.ExposureEvent // of the evaluation just made
}

// offline fails whatever would leave the process.
type offline struct{ t *testing.T }

func (o offline) RoundTrip(r *http.Request) (*http.Response, error) {
	o.t.Errorf("the SDK asked for %s, want no network in local mode", r.URL.Path)
	return nil, errors.New("offline")
}

// adapter is where the SDK reads specs and id lists from.
type adapter map[string]string

func (a adapter) Get(key string) string                    { return a[key] }
func (adapter) Set(string, string)                         {}
func (adapter) Initialize()                                {}
func (adapter) Shutdown()                                  {}
func (adapter) ShouldBeUsedForQueryingUpdates(string) bool { return true }

func newGoSDK(t *testing.T, body []byte, lists map[string][]string) *goSDK {
	t.Helper()
	store := adapter{statsig.CONFIG_SPECS_KEY: string(body)}
	manifest := map[string]any{}
	for name, ids := range lists {
		var lines strings.Builder
		for _, id := range ids {
			lines.WriteString("+" + eval.HashID(id) + "\n")
		}
		store[statsig.ID_LISTS_KEY+"::"+name] = lines.String()
		manifest[name] = map[string]any{
			"name": name, "size": lines.Len(), "url": "http://127.0.0.1/" + name, "fileID": "1", "creationTime": 1,
		}
	}
	store[statsig.ID_LISTS_KEY] = string(encoded(manifest))

	sdk := &goSDK{}
	sdk.client = statsig.NewClientWithOptions("secret-contract", &statsig.Options{
		LocalMode: true, DataAdapter: store, Transport: offline{t},
		EvaluationCallbacks: statsig.EvaluationCallbacks{
			IncludeDisabledExposures: true,
			ExposureCallback:         func(_ string, e *statsig.ExposureEvent) { sdk.last = e },
		},
	})
	t.Cleanup(sdk.client.Shutdown)
	return sdk
}

// subject is one user in the two types that hold one.
type subject struct {
	ours eval.User
	sdks statsig.User
}

func newSubject(u eval.User) subject {
	return subject{u, statsig.User{
		UserID: u.UserID, Email: u.Email, IpAddress: u.IP, UserAgent: u.UserAgent, Country: u.Country, Locale: u.Locale,
		AppVersion: u.AppVersion, Custom: u.Custom, PrivateAttributes: u.PrivateAttributes,
		StatsigEnvironment: u.StatsigEnvironment, CustomIDs: u.CustomIDs,
	}}
}

func (s *goSDK) answer(u *subject, ref eval.Ref) answer {
	s.last = nil
	switch ref.Section {
	case eval.Gates:
		g := s.client.GetGateWithExposureLoggingDisabled(u.sdks, ref.Name)
		a := answer{RuleID: g.RuleID, Group: g.GroupName, IDType: g.IDType, Pass: g.Value, Crashed: g.Name == ""}
		s.exposure(&a)
		return a
	case eval.Configs:
		c := s.client.GetConfigWithExposureLoggingDisabled(u.sdks, ref.Name)
		a := answer{Value: plain(c.Value), RuleID: c.RuleID, Group: c.GroupName, Crashed: c.Name == ""}
		s.exposure(&a)
		if s.last != nil {
			a.Pass = s.last.Metadata["rulePassed"] == "true"
		}
		return a
	}
	return s.layer(u, ref.Name)
}

// layer asks for a layer, and for the exposures that its parameters would make:
// of one that no experiment owns, and of the first that one does.
func (s *goSDK) layer(u *subject, name string) answer {
	l := s.client.GetLayerWithExposureLoggingDisabled(u.sdks, name)
	a := answer{Value: plain(l.Value), RuleID: l.RuleID, Group: l.GroupName, Allocated: l.AllocatedExperimentName, Crashed: l.Name == ""}
	if a.Crashed {
		return a
	}
	(*l.LogExposure)(l, "nobody's")
	s.exposure(&a)
	a.Undelegated = a.Exposures
	for _, parameter := range []string{"from", "size", "list"} {
		(*l.LogExposure)(l, parameter)
		if s.last.Metadata["isExplicitParameter"] == "true" {
			s.exposure(&a)
			return a
		}
	}
	return a
}

// exposure reads what only the exposure of the last evaluation tells.
func (s *goSDK) exposure(a *answer) {
	if s.last == nil {
		return
	}
	a.Version = s.last.Metadata["configVersion"]
	a.Unknown = strings.HasSuffix(s.last.Metadata["reason"], ":Unrecognized")
	a.Unsupported = strings.HasSuffix(s.last.Metadata["reason"], ":Unsupported")
	a.Exposures = nil
	for _, x := range s.last.SecondaryExposures {
		a.Exposures = append(a.Exposures, eval.SecondaryExposure(x))
	}
}

// plain is a value of the SDK's as encoding/json would decode it.
func plain(v map[string]any) any {
	if v == nil {
		return map[string]any{}
	}
	return v
}

// ourAnswer asks our evaluator the same.
func ourAnswer(rules *eval.Ruleset, u *subject, ref eval.Ref) answer {
	decide := map[eval.Section]func(*eval.User, string) eval.Result{
		eval.Gates: rules.Gate, eval.Configs: rules.Config, eval.Layers: rules.Layer,
	}[ref.Section]
	res := decide(&u.ours, ref.Name)
	a := answer{
		RuleID: res.RuleID, Group: res.GroupName, Pass: res.Pass,
		Unknown: !res.Found, Unsupported: res.Reason == eval.ReasonUnsupported,
	}
	if res.Version != 0 {
		a.Version = string(encoded(res.Version))
	}
	if ref.Section == eval.Gates {
		a.IDType = res.IDType
	} else if err := json.Unmarshal(res.Value, &a.Value); err != nil {
		a.Value = err.Error()
	}
	a.Exposures = res.SecondaryExposures()
	if ref.Section == eval.Layers {
		a.Pass, a.Allocated = false, res.AllocatedExperiment
		a.Undelegated = res.UndelegatedSecondaryExposures()
		if len(res.ExplicitParameters) == 0 {
			a.Exposures = a.Undelegated // no parameter tells more
		}
	}
	return a
}
