// Package sdk runs our own SDKs against the real platform.
package sdk

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/sluice-flags/sluice/internal/warehouse/embed"
	"github.com/sluice-flags/sluice/pkg/eval"
	"github.com/sluice-flags/sluice/pkg/events/live"
	sluice "github.com/sluice-flags/sluice/sdk/go"
	"github.com/sluice-flags/sluice/tests/harness"
)

func TestMain(m *testing.M) {
	embed.RunChildIfAsked()
	harness.Main(m)
}

const (
	gate       = "new_checkout"
	config     = "checkout_banner"
	experiment = "pricing_page"
	users      = 60
)

// An answer is what one user gets.
type answer struct {
	Gate       bool
	Config     map[string]any
	Experiment map[string]any
	Group      string
}

// A flip reaches the Go SDK by push, or by polling where a proxy breaks
// WebSockets; it decides as the edge does; it outlives a restart of the
// platform; and ClickHouse holds what it logged, once.
func TestTheGoSDKFollowsDecidesAndLogs(t *testing.T) {
	p := harness.Start(t, harness.Options{})
	shop := p.NewProject("shop")
	shop.Create("gates", harness.Doc{"name": gate, "rules": []harness.Doc{}})
	shop.Create("configs", harness.Doc{"name": config, "defaultValue": harness.Doc{"colour": "blue"}, "rules": []harness.Doc{}})
	shop.Create("experiments", harness.Doc{
		"name": experiment, "allocation": 100,
		"groups": []harness.Doc{
			{"name": "control", "share": 50, "control": true, "parameters": harness.Doc{"layout": "old"}},
			{"name": "wide", "share": 50, "parameters": harness.Doc{"layout": "wide"}},
		},
	})
	shop.Start(experiment)

	pushed := newClient(t, shop.Server, p.HTTP)
	polled := newClient(t, shop.Server, withoutWebSockets(t, p.HTTP), sluice.WithPollInterval(50*time.Millisecond), sluice.WithoutLogging())
	for name, c := range map[string]*sluice.Client{"pushed": pushed, "polled": polled} {
		if err := c.Ready(t.Context()); err != nil {
			t.Fatalf("%s: Ready() = %v", name, err)
		}
		if got := c.Silent().Gate(&sluice.User{UserID: "anyone"}, gate); got.Value || !got.Found {
			t.Errorf("%s: Gate() before the flip = %+v; want false", name, got)
		}
	}

	updates := make(chan sluice.Update, 16)
	pushed.OnUpdate(func(u sluice.Update) { updates <- u })
	shop.SetGate(gate, 100)
	select {
	case u := <-updates:
		if diff := cmp.Diff([]eval.Ref{{Section: eval.Gates, Name: gate}}, u.Changed); diff != "" {
			t.Errorf("the push changed (-want +got):\n%s", diff)
		}
	case <-time.After(30 * time.Second):
		t.Fatal("no push came")
	}
	everyone := func(c *sluice.Client) func() error {
		return func() error {
			if got := c.Silent().Gate(&sluice.User{UserID: "anyone"}, gate); !got.Value {
				return fmt.Errorf("Gate() = %+v; want true", got)
			}
			return nil
		}
	}
	if err := everyone(pushed)(); err != nil {
		t.Errorf("after the push: %v", err)
	}
	harness.Within(t, 30*time.Second, everyone(polled))
	if s := pushed.Status(); s.Sequence == 0 || s.State != sluice.Ready {
		t.Errorf("Status() of the pushed client = %+v; want ready, at a sequence", s)
	}

	// The platform restarts: the client answers all the while, and follows again.
	p.Stop()
	harness.Within(t, 30*time.Second, inState(pushed, sluice.Stale))
	if err := everyone(pushed)(); err != nil {
		t.Errorf("without a platform: %v", err)
	}
	p.Restart()
	harness.Within(t, time.Minute, inState(pushed, sluice.Ready))
	shop.SetGate(gate, 50)
	harness.Within(t, 30*time.Second, func() error {
		for i := range 100 {
			if got := pushed.Silent().Gate(&sluice.User{UserID: fmt.Sprint(i)}, gate); !got.Value {
				return nil
			}
		}
		return fmt.Errorf("a hundred users pass a gate at 50 %%")
	})

	groups := map[string]int{}
	for i := range users {
		u := sluice.User{UserID: fmt.Sprint("user-", i), PrivateAttributes: map[string]any{"secret": "hush"}}
		var got answer
		for range 2 { // the second time is no second exposure
			got = decide(t, pushed, &u)
		}
		if diff := cmp.Diff(remote(shop, u.UserID), got); diff != "" {
			t.Errorf("user %s: the SDK differs from the edge (-edge +sdk):\n%s", u.UserID, diff)
		}
		groups[got.Group]++
		if i%3 == 0 {
			pushed.LogEvent(sluice.Event{User: u, Name: "purchase", Value: 12.5, Metadata: map[string]string{"sdk": "go"}})
		}
	}
	if groups["control"] == 0 || groups["wide"] == 0 || groups["control"]+groups["wide"] != users {
		t.Errorf("groups %v; want all %d users in the two", groups, users)
	}
	if err := pushed.Close(t.Context()); err != nil {
		t.Errorf("Close() = %v", err)
	}
	if s := pushed.Status(); s.Dropped != 0 {
		t.Errorf("%d exposures and events were dropped; want none", s.Dropped)
	}

	db := p.Warehouse()
	harness.Within(t, time.Minute, func() error {
		for _, check := range []struct {
			query string
			want  uint64
		}{
			{"SELECT count() FROM exposures", 3 * users},
			{"SELECT uniqExact(event_id) FROM exposures", 3 * users},
			{"SELECT uniqExact(kind, name, unit_id) FROM exposures", 3 * users},
			{"SELECT countIf(value = 'wide') FROM exposures WHERE name = '" + experiment + "'", uint64(groups["wide"])},
			{"SELECT count() FROM events WHERE event = 'purchase'", users / 3},
			{"SELECT count() FROM dead_letters", 0},
		} {
			var got uint64
			if err := db.QueryRow(t.Context(), check.query).Scan(&got); err != nil {
				t.Fatalf("%s: %v", check.query, err)
			}
			if got != check.want {
				return fmt.Errorf("%s: %d; want %d", check.query, got, check.want)
			}
		}
		return nil
	})
}

// A key that is revoked turns the client off at once; it goes on deciding.
func TestARevokedKeyTurnsTheGoSDKOff(t *testing.T) {
	p := harness.Start(t, harness.Options{})
	shop := p.NewProject("shop")
	shop.Create("gates", harness.Doc{"name": gate, "rules": []harness.Doc{}})
	shop.SetGate(gate, 100)
	c := newClient(t, shop.Server, p.HTTP)
	if err := c.Ready(t.Context()); err != nil {
		t.Fatal(err)
	}
	shop.Must(http.StatusOK, nil, p.AdminKey(), "POST", shop.Path("keys", "test%20server", "revoke"), nil)
	harness.Within(t, 30*time.Second, inState(c, sluice.Off))
	if got := c.Silent().Gate(&sluice.User{UserID: "anyone"}, gate); !got.Value {
		t.Errorf("Gate() = %+v; want the last known answer", got)
	}
}

func newClient(t *testing.T, key, base string, opts ...sluice.Option) *sluice.Client {
	t.Helper()
	c, err := sluice.New(key, append([]sluice.Option{sluice.WithURL(base), sluice.WithInitTimeout(time.Minute)}, opts...)...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close(t.Context()) }) // whoever cares closes it before
	return c
}

// withoutWebSockets returns the address of a proxy in front of the platform that
// does not let upgrades through.
func withoutWebSockets(t *testing.T, base string) string {
	t.Helper()
	target, err := url.Parse(base)
	if err != nil {
		t.Fatal(err)
	}
	proxy := httputil.NewSingleHostReverseProxy(target)
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == live.Path {
			http.Error(w, "no upgrades here", http.StatusBadRequest)
			return
		}
		proxy.ServeHTTP(w, r)
	}))
	t.Cleanup(s.Close)
	return s.URL
}

func inState(c *sluice.Client, want sluice.State) func() error {
	return func() error {
		if s := c.Status(); s.State != want {
			return fmt.Errorf("Status() = %+v; want %v", s, want)
		}
		return nil
	}
}

// decide asks the SDK for everything.
func decide(t *testing.T, c *sluice.Client, u *sluice.User) answer {
	t.Helper()
	x := c.Experiment(u, experiment)
	a := answer{Gate: c.Gate(u, gate).Value, Group: x.Group}
	if err := c.Config(u, config).Decode(&a.Config); err != nil {
		t.Fatal(err)
	}
	if err := x.Decode(&a.Experiment); err != nil {
		t.Fatal(err)
	}
	return a
}

// remote asks the edge for everything, without leaving an exposure.
func remote(shop *harness.Project, user string) (a answer) {
	shop.T.Helper()
	silent, u := harness.Doc{"exposureLoggingDisabled": true}, harness.Doc{"userID": user}
	var g struct {
		Value bool `json:"value"`
	}
	shop.Must(http.StatusOK, &g, shop.Server, "POST", "/v1/check_gate", harness.Doc{"gateName": gate, "user": u, "statsigMetadata": silent})
	a.Gate = g.Value
	read := func(name string) (value map[string]any, group string) {
		var c struct {
			Value map[string]any `json:"value"`
			Group string         `json:"group_name"`
		}
		shop.Must(http.StatusOK, &c, shop.Server, "POST", "/v1/get_config", harness.Doc{"configName": name, "user": u, "statsigMetadata": silent})
		return c.Value, c.Group
	}
	a.Config, _ = read(config)
	a.Experiment, a.Group = read(experiment)
	return a
}

// The members of an id list reach the Go SDK with the frame that names the list,
// or with a poll; they outlive a restart of the platform, and so does the file.
func TestTheGoSDKAsksIDLists(t *testing.T) {
	p := harness.Start(t, harness.Options{})
	shop := p.NewProject("shop")
	shop.Create("segments", harness.Doc{"name": "vips", "type": "idList", "rules": []harness.Doc{}})
	shop.Create("gates", harness.Doc{"name": gate, "rules": []harness.Doc{{
		"passPercentage": 100, "conditions": []harness.Doc{{"type": "passes_segment", "targetValue": "vips"}},
	}}})
	shop.SetIDs("vips", harness.Doc{"add": []string{"first"}})

	clients := map[string]*sluice.Client{
		"pushed": newClient(t, shop.Server, p.HTTP, sluice.WithoutLogging()),
		"polled": newClient(t, shop.Server, withoutWebSockets(t, p.HTTP), sluice.WithPollInterval(50*time.Millisecond), sluice.WithoutLogging()),
	}
	members := func(in, out string) {
		t.Helper()
		for name, c := range clients {
			harness.Within(t, 30*time.Second, func() error {
				if i, o := c.Gate(&sluice.User{UserID: in}, gate).Value, c.Gate(&sluice.User{UserID: out}, gate).Value; !i || o {
					return fmt.Errorf("%s: the gate of %s is %v, of %s %v; want true, false", name, in, i, out, o)
				}
				return nil
			})
		}
	}
	for name, c := range clients {
		if err := c.Ready(t.Context()); err != nil {
			t.Fatalf("%s: Ready() = %v", name, err)
		}
		if !c.Gate(&sluice.User{UserID: "first"}, gate).Value {
			t.Errorf("%s: the gate of a member is false as soon as the client is ready, want true", name)
		}
	}
	updates := make(chan sluice.Update, 16)
	clients["pushed"].OnUpdate(func(u sluice.Update) { updates <- u })
	shop.SetIDs("vips", harness.Doc{"add": []string{"second"}, "remove": []string{"first"}})
	select {
	case u := <-updates:
		want := []eval.Ref{{Section: eval.Gates, Name: "segment:vips"}, {Section: eval.Gates, Name: gate}}
		if diff := cmp.Diff(want, u.Changed); diff != "" {
			t.Errorf("the push changed (-want +got):\n%s", diff)
		}
	case <-time.After(30 * time.Second):
		t.Fatal("no push came")
	}
	members("second", "first")

	var before, after map[string]struct{ FileID string }
	shop.Must(http.StatusOK, &before, shop.Server, "POST", "/v1/get_id_lists", harness.Doc{})
	p.Stop()
	p.Restart()
	shop.Must(http.StatusOK, &after, shop.Server, "POST", "/v1/get_id_lists", harness.Doc{})
	if diff := cmp.Diff(before, after); diff != "" || len(after) != 1 {
		t.Errorf("the file after a restart (-before +after):\n%s", diff)
	}
	members("second", "first")
	shop.SetIDs("vips", harness.Doc{"add": []string{"third"}, "remove": []string{"second"}})
	members("third", "second")
}
