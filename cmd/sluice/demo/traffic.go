package demo

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"sync"
	"time"
)

// How fast visitors come: enough in the first minute that the lift shows, a
// trickle after it.
const (
	opening      = time.Minute
	openingEvery = 10 * time.Millisecond
	steadyEvery  = 250 * time.Millisecond
	visitorsOnce = 16 // visitors who may be waiting for an answer at a time
)

// reserve is how many visitor numbers are set aside in demo.json before the
// first of them comes: after a crash none comes twice, some are left out.
const reserve = 500

// Traffic sends visitors to the platform until ctx is done. Each asks
// /v1/initialize what it should see, reports the exposure, and buys or not; a
// refused report is repeated with the same bytes, as SDKs do.
type Traffic struct {
	facts  Facts
	data   string
	logger *slog.Logger
	client *http.Client
}

// NewTraffic returns the traffic for a prepared demo; data is the folder that
// holds demo.json.
func NewTraffic(f Facts, data string, logger *slog.Logger) *Traffic {
	return &Traffic{facts: f, data: data, logger: logger, client: &http.Client{Timeout: 15 * time.Second}}
}

// Run sends visitors until ctx is done.
func (t *Traffic) Run(ctx context.Context) error {
	var visits sync.WaitGroup
	defer visits.Wait()
	places := make(chan struct{}, visitorsOnce)

	tick := time.NewTicker(openingEvery)
	defer tick.Stop()
	opened := time.Now()
	slow := false
	for number := t.facts.Traffic.Visitors; ; number++ {
		if number == t.facts.Traffic.Visitors {
			t.facts.Traffic.Visitors += reserve
			if err := t.facts.Save(t.data); err != nil {
				return err
			}
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		if !slow && time.Since(opened) > opening {
			slow = true
			tick.Reset(steadyEvery)
		}
		select {
		case <-ctx.Done():
			return nil
		case places <- struct{}{}:
		}
		visits.Go(func() {
			defer func() { <-places }()
			if err := t.visit(ctx, newVisitor(t.facts.Traffic.Seed, number)); err != nil && ctx.Err() == nil {
				t.logger.WarnContext(ctx, "demo visitor gave up", slog.Any("error", err))
			}
		})
	}
}

// An assignment is what /v1/initialize says about one gate or config.
type assignment struct {
	Value     json.RawMessage `json:"value"`
	RuleID    string          `json:"rule_id"`
	GroupName string          `json:"group_name"`
}

// An event is one entry of a /v1/rgstr body.
type event struct {
	Name     string            `json:"eventName"`
	User     map[string]string `json:"user"`
	Value    any               `json:"value,omitempty"`
	Metadata map[string]string `json:"metadata,omitempty"`
	Time     int64             `json:"time"`
}

func (t *Traffic) visit(ctx context.Context, v visitor) error {
	user := map[string]string{"userID": v.id}
	var answer struct {
		Gates   map[string]assignment `json:"feature_gates"`
		Configs map[string]assignment `json:"dynamic_configs"`
	}
	if err := t.post(ctx, "/v1/initialize", map[string]any{"user": user, "hash": "none"}, &answer); err != nil {
		return err
	}
	experiment, gate := answer.Configs[t.facts.Experiment], answer.Gates[t.facts.Gate]

	now := time.Now().UnixMilli()
	events := []event{
		{Name: "statsig::gate_exposure", User: user, Time: now, Metadata: map[string]string{
			"gate": t.facts.Gate, "gateValue": string(gate.Value), "ruleID": gate.RuleID}},
		{Name: "statsig::config_exposure", User: user, Time: now, Metadata: map[string]string{
			"config": t.facts.Experiment, "ruleID": experiment.RuleID, "rulePassed": "true"}},
	}
	if v.buys(experiment.GroupName) {
		events = append(events, event{Name: purchaseEvent, User: user, Time: now + 1, Value: v.basket})
	}
	body := map[string]any{"events": events, "statsigMetadata": map[string]string{"sdkType": "sluice-demo", "sdkVersion": "1", "sessionID": v.id}}
	return t.post(ctx, "/v1/rgstr", body, nil)
}

// post sends body with the client key and reads the answer into out. Refusals
// that ask for patience are obeyed, a few times.
func (t *Traffic) post(ctx context.Context, path string, body, out any) error {
	raw, err := json.Marshal(body)
	if err != nil {
		return err
	}
	target := t.facts.Addresses.HTTP + path + "?k=" + url.QueryEscape(t.facts.Keys.Client)
	const tries = 6
	for try := 1; ; try++ {
		wait, err := t.once(ctx, target, raw, out)
		if err == nil || wait == 0 || try == tries {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(wait):
		}
	}
}

// once makes one attempt. A wait above zero says that another one may help.
func (t *Traffic) once(ctx context.Context, target string, raw []byte, out any) (wait time.Duration, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, target, bytes.NewReader(raw))
	if err != nil {
		return 0, err
	}
	req.Header.Set("Content-Type", "application/json")
	res, err := t.client.Do(req)
	if err != nil {
		return time.Second, err
	}
	defer res.Body.Close()
	switch {
	case res.StatusCode == http.StatusServiceUnavailable || res.StatusCode == http.StatusTooManyRequests:
		return 2 * time.Second, fmt.Errorf("%s answered %s", req.URL.Path, res.Status)
	case res.StatusCode >= 300:
		return 0, refused(res)
	case out == nil:
		return 0, nil
	}
	return 0, json.NewDecoder(res.Body).Decode(out)
}
