package faults

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/sluice-flags/sluice/internal/auth"
	"github.com/sluice-flags/sluice/internal/bus"
	"github.com/sluice-flags/sluice/internal/warehouse/embed"
	"github.com/sluice-flags/sluice/pkg/events/live"
	"github.com/sluice-flags/sluice/pkg/flags"
	"github.com/sluice-flags/sluice/tests/harness"
)

const (
	door    = "door"
	banner  = "banner"
	watcher = "watcher" // the user of the live connection

	// outage is how long NATS stays away, at least.
	outage = 10 * time.Second
	// refusalLimit bounds how long control may take to say that it cannot.
	refusalLimit = 10 * time.Second
)

// The services run on their own against a NATS that is killed and stays away.
// Answers do not change, connections stay, who writes is told to come again, and
// when NATS is back everything goes on with nothing lost and nothing double.
func TestEvaluationDoesNotChangeAndNothingIsLostWhileNATSIsAway(t *testing.T) {
	harness.NeedEngine(t)
	nats := startBroker(t)
	engine, err := embed.Start(t.Context(), embed.Options{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { engine.Stop(context.Background()) })
	at := engine.Config()
	parts := harness.Options{
		Args: []string{"--nats-url", nats.url()},
		Env:  []string{"SLUICE_CLICKHOUSE_ADDR=" + at.Addr, "SLUICE_CLICKHOUSE_USER=" + at.User, "SLUICE_CLICKHOUSE_PASSWORD=" + at.Password},
	}
	control := startControl(t, parts)
	parts.Command = "edge"
	stays, returns := harness.Start(t, parts), harness.Start(t, parts)
	parts.Command = "ingest"
	ingest := harness.Start(t, parts)

	shop := newShop(control)
	shop.Create("gates", harness.Doc{"name": door, "rules": []harness.Doc{}})
	shop.Create("configs", harness.Doc{"name": banner, "defaultValue": harness.Doc{"colour": "blue"}, "rules": []harness.Doc{}})
	shop.SetGate(door, 50)
	atIngest := *shop
	atIngest.Platform = ingest
	s := newSite(t, shop, 2)
	s.addSenders(&atIngest, stays, 2)

	values := stays.Live(live.Hello{Key: shop.Client, Mode: live.ModeValues, User: json.RawMessage(`{"userID":"` + watcher + `"}`)})
	rules := stays.Live(live.Hello{Key: shop.Server, Mode: live.ModeRules})
	values.NextFull()
	rules.NextFull()

	var before map[string]string
	same := func(edge *harness.Platform, stale bool) error {
		got, state, err := answers(edge, shop)
		switch {
		case err != nil:
			return err
		case stale && state != "stale":
			return fmt.Errorf("Sluice-State: %q; want stale", state)
		}
		if diff := cmp.Diff(before, got); diff != "" {
			return fmt.Errorf("answers have changed (-before +while NATS is away):\n%s", diff)
		}
		return nil
	}
	s.through(func() error {
		// Both edges are at the last word on what is asked: the writers' gates are
		// not asked for.
		if before, _, err = answers(stays, shop); err != nil {
			return err
		}
		if err := harness.Await(startLimit, func() error { return same(returns, false) }); err != nil {
			return err
		}
		if err := harness.Await(startLimit, func() error {
			_, err := os.Stat(filepath.Join(returns.Data, shop.ID+".snapshot"))
			return err
		}); err != nil {
			return err
		}
		nats.kill()
		away := time.Now()
		whole, err := payloads(stays, shop)
		if err != nil {
			return err
		}
		returns.Kill()
		returns.Launch()
		if err := harness.Await(startLimit, func() error { return same(returns, true) }); err != nil {
			return fmt.Errorf("the edge that was started while NATS was away: %w", err)
		}
		for stale := false; time.Since(away) < outage; {
			if err := same(stays, stale); err != nil {
				return fmt.Errorf("%v after NATS went: %w", time.Since(away), err)
			}
			// Noticing takes a moment; once it has, it stays so.
			_, state, err := answers(stays, shop)
			if err != nil {
				return err
			}
			stale = stale || state == "stale"
		}
		if err := same(stays, true); err != nil {
			return err
		}
		still, err := payloads(stays, shop)
		if diff := cmp.Diff(whole, still); err != nil || diff != "" {
			return fmt.Errorf("what SDKs download has changed: %w (-at first +at last):\n%s", err, diff)
		}
		nats.start()
		return nil
	}, s.steps()...)

	// Everything goes on.
	shop.SetGate(door, 100)
	if got := string(values.NextValue(live.SectionGates, door)); got != "true" {
		t.Errorf("the gate's value on the socket that stayed = %s; want true", got)
	}
	awaitRules(t, rules, door)
	for _, edge := range []*harness.Platform{stays, returns} {
		harness.Within(t, startLimit, func() error {
			got, state, err := answers(edge, shop)
			if want := `{"name":"door","value":true`; err == nil && (state == "stale" || !strings.HasPrefix(got["gate u0"], want)) {
				err = fmt.Errorf("the edge has not come back: state %q, %s", state, got["gate u0"])
			}
			return err
		})
	}

	s.settle()
	for _, w := range s.writers {
		if w.refused == 0 {
			t.Errorf("writer %d was never told that NATS is away", w.number)
		}
		if w.slowest > refusalLimit {
			t.Errorf("writer %d was told after %v that NATS is away; want at most %v", w.number, w.slowest, refusalLimit)
		}
	}
	for _, c := range s.senders {
		if c.refused.Load() == 0 {
			t.Errorf("sender %d was never told that NATS is away", c.number)
		}
	}
	s.checkAll(&atIngest, harness.OpenWarehouse(t, at))
}

// startLimit bounds waits for processes on a busy machine.
const startLimit = 30 * time.Second

// startControl starts the control service with an admin key of ours.
func startControl(t *testing.T, o harness.Options) *harness.Platform {
	t.Helper()
	key, _ := auth.Generate(flags.KeyConsole, bus.OrgProject)
	o.Command, o.Data = "control", t.TempDir()
	if err := os.WriteFile(filepath.Join(o.Data, "admin.key"), []byte(key), 0o600); err != nil {
		t.Fatal(err)
	}
	o.Env = append([]string{"SLUICE_ADMIN_KEY=" + key}, o.Env...)
	p := harness.Start(t, o)
	harness.Within(t, startLimit, func() error {
		got, err := p.Do(key, http.MethodGet, "/api/v1/projects", nil)
		if err == nil && got.Status != http.StatusOK {
			err = fmt.Errorf("the admin key is not known yet: %s", got.Body)
		}
		return err
	})
	return p
}

// answers asks an edge everything about a few users, decision by decision. state
// is what it says of itself.
func answers(edge *harness.Platform, shop *harness.Project) (got map[string]string, state string, err error) {
	q := questions{edge: edge, got: map[string]string{}}
	silent := harness.Doc{"exposureLoggingDisabled": true}
	for _, id := range []string{watcher, "u0", "u1", "u2", "u3", "u4"} {
		user := harness.Doc{"userID": id}
		q.ask("gate "+id, shop.Server, http.MethodPost, "/v1/check_gate", harness.Doc{"gateName": door, "user": user, "statsigMetadata": silent})
		q.ask("config "+id, shop.Server, http.MethodPost, "/v1/get_config", harness.Doc{"configName": banner, "user": user, "statsigMetadata": silent})
		q.ask("experiment "+id, shop.Server, http.MethodPost, "/v1/get_config", harness.Doc{"configName": experiment, "user": user, "statsigMetadata": silent})
		// These record exposures, which must not depend on NATS either.
		q.ask("gate feature "+id, shop.Client, http.MethodGet, "/features/gate/"+door+"?user_id="+id, nil)
		q.ask("config feature "+id, shop.Client, http.MethodGet, "/features/config/"+banner+"?user_id="+id, nil)
	}
	return q.got, q.state, q.err
}

// payloads asks an edge for what SDKs download.
func payloads(edge *harness.Platform, shop *harness.Project) (map[string]string, error) {
	q := questions{edge: edge, got: map[string]string{}}
	q.ask("initialize", shop.Client, http.MethodPost, "/v1/initialize", harness.Doc{"user": harness.Doc{"userID": watcher}})
	q.ask("specs", shop.Server, http.MethodGet, "/v1/download_config_specs", nil)
	return q.got, q.err
}

// questions collects answers until one fails.
type questions struct {
	edge  *harness.Platform
	got   map[string]string
	state string
	err   error
}

func (q *questions) ask(what, key, method, path string, in any) {
	if q.err != nil {
		return
	}
	answer, err := q.edge.Do(key, method, path, in)
	if err == nil && answer.Status != http.StatusOK {
		err = fmt.Errorf("%s %s answered %d %s", method, path, answer.Status, answer.Body)
	}
	if err != nil {
		q.err = err
		return
	}
	q.got[what], q.state = string(answer.Body), answer.Header.Get("Sluice-State")
}

// awaitRules waits for a change of an entity on a socket in rules mode.
func awaitRules(t *testing.T, rules *harness.LiveClient, name string) {
	t.Helper()
	for {
		change, ok := rules.Next().(live.Change)
		if !ok {
			continue
		}
		for _, e := range change.Entries {
			if e.Name == name {
				return
			}
		}
	}
}
