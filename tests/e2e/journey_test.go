package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"testing"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2"
	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"
	"github.com/google/go-cmp/cmp"

	"github.com/sluice-flags/sluice/pkg/events/live"
	"github.com/sluice-flags/sluice/tests/contract/sdks"
	"github.com/sluice-flags/sluice/tests/harness"
)

const (
	gate       = "new_checkout"
	config     = "checkout_banner"
	experiment = "pricing_page"
	metric     = "purchase_rate"
	event      = "purchase"
	perSDK     = 40 // users of each SDK
)

// A flip reaches a live client, unmodified SDKs answer as the edge does, what
// they log is in ClickHouse exactly once, and the results count it.
func TestAFlipReachesClientsAndWhatTheyLogComesBackAsResults(t *testing.T) {
	t.Parallel()
	p := harness.Start(t, harness.Options{})
	shop := p.NewProject("shop")
	shop.Create("gates", harness.Doc{"name": gate, "rules": []harness.Doc{}})
	shop.Create("configs", harness.Doc{"name": config, "defaultValue": harness.Doc{"colour": "blue"}, "rules": []harness.Doc{}})
	shop.Create("metrics", harness.Doc{"name": metric, "type": "event_user", "event": event})
	shop.Create("experiments", harness.Doc{
		"name": experiment, "allocation": 100, "metrics": []string{metric},
		"groups": []harness.Doc{
			{"name": "control", "share": 40, "control": true, "parameters": harness.Doc{"layout": "old"}},
			{"name": "wide", "share": 30, "parameters": harness.Doc{"layout": "wide"}},
			{"name": "tall", "share": 30, "parameters": harness.Doc{"layout": "tall"}},
		},
	})

	// Open sockets see the flip.
	values := p.Live(live.Hello{Key: shop.Client, Mode: live.ModeValues, User: json.RawMessage(`{"userID":"watcher"}`)})
	values.NextFull()
	rules := p.Live(live.Hello{Key: shop.Server, Mode: live.ModeRules})
	rules.NextFull()
	shop.SetGate(gate, 100)
	if got := string(values.NextValue(live.SectionGates, gate)); got != "true" {
		t.Errorf("the gate's value on the socket = %s; want true", got)
	}
	if change, ok := rules.Next().(live.Change); !ok || len(change.Entries) != 1 || change.Entries[0].Name != gate {
		t.Errorf("the rules socket got %+v; want the spec of %s", change, gate)
	}
	shop.SetGate(gate, 50)
	shop.Start(experiment)

	// Unmodified SDKs agree with the edge.
	want := ledger{units: map[string]int{}, converted: map[string]int{}}
	lab, converts := sdks.NewLab(t), func(i int) bool { return i%3 == 0 }
	for _, sdk := range travellers() {
		t.Run(sdk.Name, func(t *testing.T) {
			users, rows := drive(t, lab, sdk, shop, perSDK, converts)
			for i, got := range rows {
				if diff := cmp.Diff(remote(shop, users[i]), got); diff != "" {
					t.Errorf("user %s: the SDK differs from /v1/check_gate and /v1/get_config (-edge +sdk):\n%s", users[i]["userID"], diff)
				}
				want.add(got.Group, converts(i))
			}
		})
	}
	if t.Failed() {
		return
	}

	// ClickHouse holds exactly what was logged.
	db := warehouse(t, p)
	harness.Within(t, time.Minute, func() error {
		for _, check := range []struct {
			what, query string
			want        int
		}{
			{"events", "SELECT count() FROM events WHERE event = 'purchase'", want.events},
			{"distinct events", "SELECT uniqExact(event_id) FROM events WHERE event = 'purchase'", want.events},
			{"exposures", "SELECT count() FROM exposures", want.exposures},
			{"distinct exposures", "SELECT uniqExact(event_id) FROM exposures", want.exposures},
		} {
			if got := count(t, db, check.query); got != check.want {
				return fmt.Errorf("%s: %d; the ledger has %d", check.what, got, check.want)
			}
		}
		return nil
	})

	// The results are the ledger's.
	checkResults(t, shop, want)
}

// A ledger is what the SDKs were made to log.
type ledger struct {
	units, converted  map[string]int // by group
	events, exposures int
}

func (l *ledger) add(group string, converts bool) {
	l.units[group]++
	l.exposures += 3 // gate, config and experiment
	if converts {
		l.converted[group]++
		l.events++
	}
}

// remote asks the edge what it would answer for u, without leaving an exposure.
func remote(shop *harness.Project, u sdks.User) row {
	shop.T.Helper()
	silent := harness.Doc{"exposureLoggingDisabled": true}
	var g struct {
		Value bool `json:"value"`
	}
	shop.Must(http.StatusOK, &g, shop.Server, "POST", "/v1/check_gate", harness.Doc{"gateName": gate, "user": u, "statsigMetadata": silent})
	read := func(name string) (value map[string]any, group string) {
		var c struct {
			Value map[string]any `json:"value"`
			Group string         `json:"group_name"`
		}
		shop.Must(http.StatusOK, &c, shop.Server, "POST", "/v1/get_config", harness.Doc{"configName": name, "user": u, "statsigMetadata": silent})
		return c.Value, c.Group
	}
	out := row{Gate: g.Value}
	out.Config, _ = read(config)
	out.Experiment, out.Group = read(experiment)
	return out
}

// warehouse connects to the platform's ClickHouse as any client would.
func warehouse(t *testing.T, p *harness.Platform) driver.Conn {
	t.Helper()
	at := p.Addresses().ClickHouse
	db, err := clickhouse.Open(&clickhouse.Options{
		Addr: []string{at.Addr},
		Auth: clickhouse.Auth{Database: at.Database, Username: at.User, Password: at.Password},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	return db
}

func count(t *testing.T, db driver.Conn, query string) int {
	t.Helper()
	var n uint64
	if err := db.QueryRow(context.Background(), query).Scan(&n); err != nil {
		t.Fatalf("%s: %v", query, err)
	}
	return int(n)
}
