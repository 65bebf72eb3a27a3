package sdks

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	statsig "github.com/statsig-io/go-sdk"
)

// startGo drives github.com/statsig-io/go-sdk in this process.
func startGo(_ testing.TB, lab *Lab) caller {
	statsig.InitializeGlobalOutputLogger(statsig.OutputLoggerOptions{LogCallback: func(string, error) {}})
	g := &golang{clients: map[string]*statsig.Client{}, rules: map[string]string{}, store: &store{kept: map[string]string{}}}
	lab.t.Cleanup(func() {
		for _, client := range g.clients {
			client.Shutdown()
		}
	})
	return g.call
}

type golang struct {
	mu      sync.Mutex
	clients map[string]*statsig.Client
	rules   map[string]string // as the SDK told of them, by instance
	store   *store
}

func (g *golang) client(name string) *statsig.Client {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.clients[name]
}

func (g *golang) call(ctx context.Context, c command) (json.RawMessage, error) {
	type result struct {
		value any
		err   error
	}
	done := make(chan result, 1)
	go func() { // ends with the command
		value, err := g.do(c)
		done <- result{value, err}
	}()
	select {
	case r := <-done:
		if r.err != nil {
			return nil, r.err
		}
		return json.Marshal(r.value)
	case <-ctx.Done():
		return nil, fmt.Errorf("no answer: %w", ctx.Err())
	}
}

func (g *golang) do(c command) (any, error) {
	user, err := goUser(c.User)
	if err != nil {
		return nil, err
	}
	client := g.client(c.Name)
	switch c.Do {
	case "open":
		return nil, g.open(c)
	case "check":
		return goAnswers(client, user, *c.Question), nil
	case "event":
		client.LogEvent(statsig.Event{EventName: c.Event, User: user, Value: fmt.Sprint(c.Value), Metadata: c.Metadata})
	case "refresh", "flush": // it polls, and sends with Shutdown: there is nothing to call
	case "payload":
		payload := client.GetClientInitializeResponseWithOptions(user, &statsig.GCIROptions{ClientKey: c.Client, HashAlgorithm: "djb2"})
		text, err := json.Marshal(payload)
		return string(text), err
	case "stored":
		return g.store.Get(statsig.CONFIG_SPECS_KEY), nil
	case "rules":
		g.mu.Lock()
		defer g.mu.Unlock()
		return g.rules[c.Name], nil
	case "override":
		client.OverrideGate(c.Gate, c.Value == true)
	case "close":
		g.mu.Lock()
		delete(g.clients, c.Name)
		g.mu.Unlock()
		client.Shutdown()
	default:
		return nil, errors.New("this SDK cannot " + c.Do)
	}
	return nil, nil
}

func (g *golang) open(c command) error {
	options := &statsig.Options{
		API:                  c.Base + "/v1",
		Environment:          statsig.Environment{Tier: c.Tier},
		BootstrapValues:      c.Values,
		LocalMode:            c.Local,
		ConfigSyncInterval:   500 * time.Millisecond,
		IDListSyncInterval:   500 * time.Millisecond,
		StatsigLoggerOptions: statsig.StatsigLoggerOptions{DisableInitDiagnostics: true},
	}
	options.RulesUpdatedCallback = func(rules string, _ int64) {
		g.mu.Lock()
		defer g.mu.Unlock()
		g.rules[c.Name] = rules
	}
	if c.Store {
		options.DataAdapter = g.store
	}
	if more, err := json.Marshal(c.Options); err != nil || json.Unmarshal(more, options) != nil {
		return fmt.Errorf("these are no options of the SDK: %s", more)
	}
	client := statsig.NewClientWithOptions(c.Key, options)
	g.mu.Lock()
	defer g.mu.Unlock()
	g.clients[c.Name] = client
	return nil
}

// goUser reads a user as SDKs write it into the SDK's type, which has the same
// names.
func goUser(u User) (out statsig.User, err error) {
	text, err := json.Marshal(u)
	if err == nil {
		err = json.Unmarshal(text, &out)
	}
	return out, err
}

func goAnswers(client *statsig.Client, user statsig.User, q Question) Answers {
	answers := Answers{}
	if q.Gate != "" {
		gate := client.GetGate(user, q.Gate)
		answers["gate"] = Answer{Value: gate.Value, RuleID: gate.RuleID, Group: gate.GroupName}
	}
	if q.Config != "" {
		config := client.GetConfig(user, q.Config)
		answers["config"] = Answer{Value: config.Value, RuleID: config.RuleID, Group: config.GroupName}
	}
	if q.Experiment != "" {
		experiment := client.GetExperiment(user, q.Experiment)
		answers["experiment"] = Answer{Value: experiment.Value, RuleID: experiment.RuleID, Group: experiment.GroupName}
	}
	if q.Layer != "" {
		layer := client.GetLayer(user, q.Layer)
		answer := Answer{RuleID: layer.RuleID, Group: layer.GroupName}
		if text := layer.GetString(q.Parameter, ""); text != "" { // the parameters of these tests are text
			answer.Value = text
		}
		answers["layer"] = answer
	}
	return answers
}

// store is where the SDK keeps definitions, under its own keys.
type store struct {
	mu   sync.Mutex
	kept map[string]string
}

var _ statsig.IDataAdapter = (*store)(nil)

func (s *store) Get(key string) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.kept[key]
}

func (s *store) Set(key, value string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.kept[key] = strings.Clone(value)
}

func (*store) Initialize() {}
func (*store) Shutdown()   {}

// ShouldBeUsedForQueryingUpdates says that the network is asked for updates.
func (*store) ShouldBeUsedForQueryingUpdates(string) bool { return false }
