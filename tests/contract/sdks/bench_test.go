package sdks_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"
	"github.com/google/go-cmp/cmp"

	"github.com/sluice-flags/sluice/internal/freeport"
	"github.com/sluice-flags/sluice/tests/contract/sdks"
	"github.com/sluice-flags/sluice/tests/harness"
)

// A bench is where one case tries one SDK.
type bench struct {
	*sdks.Driver
	shop, other *harness.Project
	db          driver.Conn
	slug        string // of the SDK
	payloads    *payloads
}

// user returns the nth user of a case, whom no other case and no other SDK has.
func (b *bench) user(which string, n int) sdks.User {
	return sdks.User{"userID": fmt.Sprintf("%s/%s/%d", b.slug, which, n)}
}

// key returns the SDK's key of a project.
func (b *bench) key(p *harness.Project) string {
	if b.Client {
		return p.Client
	}
	return p.Server
}

// open makes an instance that talks to the platform, for u if it is a client.
func (b *bench) open(u sdks.User) *sdks.Instance {
	return b.Open(sdks.Setup{Base: b.shop.HTTP, Key: b.key(b.shop), User: u})
}

// mailbox is a server that takes what is logged and knows nothing.
func (b *bench) mailbox() string {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Access-Control-Allow-Origin", "*")
		w.Header().Set("Access-Control-Allow-Headers", "*")
		if strings.HasSuffix(r.URL.Path, "/log_event") || strings.HasSuffix(r.URL.Path, "/rgstr") {
			_, _ = w.Write([]byte(`{"success":true}`))
			return
		}
		w.WriteHeader(http.StatusNotFound)
	}))
	b.shop.T.Cleanup(server.Close)
	return server.URL
}

// nowhere is an address at which nobody answers.
func (b *bench) nowhere() string { return "http://" + freeport.For(b.shop.T) }

// edge asks the edge what it would answer, without leaving an exposure.
func (b *bench) edge(u sdks.User) sdks.Answers {
	b.shop.T.Helper()
	read := func(path, member, name string) (out struct {
		Value     any    `json:"value"`
		RuleID    string `json:"rule_id"`
		LayerRule string `json:"ruleID"`
		GroupName string `json:"group_name"`
	}) {
		b.shop.Must(http.StatusOK, &out, b.shop.Server, "POST", path,
			harness.Doc{member: name, "user": u, "statsigMetadata": harness.Doc{"exposureLoggingDisabled": true}})
		return out
	}
	gate := read("/v1/check_gate", "gateName", everything.Gate)
	config := read("/v1/get_config", "configName", everything.Config)
	experiment := read("/v1/get_config", "configName", everything.Experiment)
	layer := read("/v1/get_layer", "layerName", everything.Layer)
	headline := read("/v1/get_config", "configName", "headline") // get_layer does not name the group
	return sdks.Answers{
		"gate":       {Value: gate.Value, RuleID: gate.RuleID, Group: gate.GroupName},
		"config":     {Value: config.Value, RuleID: config.RuleID, Group: config.GroupName},
		"experiment": {Value: experiment.Value, RuleID: experiment.RuleID, Group: experiment.GroupName},
		"layer":      {Value: layer.Value.(map[string]any)[everything.Parameter], RuleID: layer.LayerRule, Group: headline.GroupName},
	}
}

// agrees compares what an SDK said with what the edge says. Groups of gates and
// configs are left out: half of the SDKs do not tell them.
func (b *bench) agrees(u sdks.User, got sdks.Answers) {
	b.shop.T.Helper()
	want := b.edge(u)
	for _, answers := range []sdks.Answers{want, got} {
		for _, kind := range []string{"gate", "config"} {
			a := answers[kind]
			a.Group = ""
			answers[kind] = a
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		b.shop.T.Errorf("user %s: the SDK differs from the edge (-edge +sdk):\n%s", u["userID"], diff)
	}
}

// eventually waits until a query yields exactly the wanted lines, in any order.
func (b *bench) eventually(what string, want []string, query string, args ...any) {
	b.shop.T.Helper()
	slices.Sort(want)
	harness.Within(b.shop.T, 45*time.Second, func() error {
		got := b.lines(query, args...)
		slices.Sort(got)
		if diff := cmp.Diff(want, got); diff != "" {
			return fmt.Errorf("%s in ClickHouse differ (-logged +stored):\n%s", what, diff)
		}
		return nil
	})
}

func (b *bench) lines(query string, args ...any) (out []string) {
	b.shop.T.Helper()
	rows, err := b.db.Query(context.Background(), query, args...)
	if err != nil {
		b.shop.T.Fatal(err)
	}
	defer rows.Close()
	for rows.Next() {
		var line string
		if err := rows.Scan(&line); err != nil {
			b.shop.T.Fatal(err)
		}
		out = append(out, line)
	}
	if err := rows.Err(); err != nil {
		b.shop.T.Fatal(err)
	}
	return out
}

// turns waits until a gate is true for u: for long, since some SDKs ask every five
// seconds at most.
func (b *bench) turns(i *sdks.Instance, u sdks.User, gate string) {
	b.shop.T.Helper()
	harness.Within(b.shop.T, 30*time.Second, func() error {
		i.Refresh()
		if !i.Gate(u, gate) {
			time.Sleep(100 * time.Millisecond) // each look is an exposure, or a request
			return fmt.Errorf("gate %s = false; want true", gate)
		}
		return nil
	})
}
