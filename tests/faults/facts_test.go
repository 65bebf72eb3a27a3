package faults

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"
	"github.com/google/go-cmp/cmp"

	"github.com/sluice-flags/sluice/tests/harness"
)

const (
	experiment = "pricing_page"
	metric     = "purchase_rate"
	purchase   = "purchase"
	view       = "view"
	sdk        = "faults"
	last       = "last" // the event that is sent after all others
)

// newShop makes a project with what writers and senders need.
func newShop(p *harness.Platform) *harness.Project {
	p.T.Helper()
	shop := p.NewProject("shop")
	for n := range sharedGates {
		shop.Create("gates", harness.Doc{"name": sharedGate(n), "rules": []harness.Doc{}})
	}
	shop.Create("metrics", harness.Doc{"name": metric, "type": "event_user", "event": purchase})
	shop.Create("experiments", harness.Doc{
		"name": experiment, "allocation": 100, "metrics": []string{metric},
		"groups": []harness.Doc{
			{"name": "control", "share": 50, "control": true, "parameters": harness.Doc{"layout": "old"}},
			{"name": "wide", "share": 50, "parameters": harness.Doc{"layout": "wide"}},
		},
	})
	shop.Start(experiment)
	return shop
}

// A unit is somebody who was put into a group.
type unit struct{ id, group, rule string }

// A receipt is a batch that was acknowledged: what one unit did.
type receipt struct {
	Unit, Group string
	Exposed     int64 // when, in milliseconds
	Events      []string
	Dead        []string // names of events that make no sense
}

// A sender logs what its units do, one batch after another, as an SDK does: the
// bytes of a batch do not change until it is acknowledged.
type sender struct {
	t      *testing.T
	number int
	shop   *harness.Project
	ledger *ledger[receipt]
	acked  *atomic.Int64
	over   *atomic.Bool // nobody waits any longer

	bad     bool         // sends events that make no sense, too
	refused atomic.Int64 // requests that were to come again later

	units   []unit
	batches int
	clock   int64 // of the newest event, in milliseconds
	pending *batch
	heard   *batch // acknowledged last
}

type batch struct {
	body    []byte
	receipt receipt
}

const unitsOfSender = 40

// newSender asks which groups its units are in, once: the experiment does not
// change while the senders send. where is the edge to ask, if it is not the
// platform that has the project.
func newSender(t *testing.T, number int, shop *harness.Project, where *harness.Platform, ledger *ledger[receipt]) *sender {
	t.Helper()
	s := &sender{t: t, number: number, shop: shop, ledger: ledger}
	for n := range unitsOfSender {
		u := unit{id: fmt.Sprintf("s%d-%d", number, n)}
		var decided struct {
			Group string `json:"group_name"`
			Rule  string `json:"rule_id"`
		}
		where.Must(http.StatusOK, &decided, shop.Server, http.MethodPost, "/v1/get_config", harness.Doc{
			"configName": experiment, "user": harness.Doc{"userID": u.id}, "statsigMetadata": harness.Doc{"exposureLoggingDisabled": true},
		})
		u.group, u.rule = decided.Group, decided.Rule
		if u.group == "" {
			t.Fatalf("unit %s is in no group", u.id)
		}
		s.units = append(s.units, u)
	}
	return s
}

// step sends one batch until it is acknowledged, or a request fails.
func (s *sender) step() error {
	if s.pending == nil {
		s.next()
	}
	if err := s.settle(); err != nil {
		return err
	}
	if s.batches%7 == 0 && s.heard != nil { // an SDK that did not hear the answer
		if _, err := s.send(s.heard); err != nil {
			return err
		}
	}
	return nil
}

// next writes a batch: a unit is exposed, looks at something, and buys if it is
// one of those that do.
func (s *sender) next() {
	s.batches++
	u := s.units[s.batches%len(s.units)]
	s.clock = max(time.Now().UnixMilli(), s.clock+1)
	r := receipt{Unit: u.id, Group: u.group, Exposed: s.clock}
	user := harness.Doc{"userID": u.id}
	list := []harness.Doc{{
		"eventName": "statsig::config_exposure", "time": s.clock, "user": user,
		"metadata": harness.Doc{"config": experiment, "ruleID": u.rule, "rulePassed": "true", "reason": "Network"},
	}}
	happens := func(event string) {
		s.clock++
		number := fmt.Sprintf("%s %s %d", event, u.id, s.batches)
		list = append(list, harness.Doc{"eventName": event, "time": s.clock, "user": user, "metadata": harness.Doc{"number": number}})
		r.Events = append(r.Events, number)
	}
	happens(view)
	if s.batches%len(s.units)%3 == 0 {
		happens(purchase)
	}
	if s.bad && s.batches%5 == 0 {
		name := fmt.Sprintf("long ago %s %d", u.id, s.batches)
		list = append(list, harness.Doc{"eventName": name, "time": s.batches, "user": user})
		r.Dead = append(r.Dead, name)
	}
	body, err := json.Marshal(harness.Doc{"events": list, "statsigMetadata": harness.Doc{
		"sdkType": sdk, "sdkVersion": "1", "sessionID": fmt.Sprintf("session-%d", s.number),
	}})
	if err != nil {
		panic(err) // maps of texts and numbers
	}
	s.pending = &batch{body: body, receipt: r}
}

// settle sends what is pending until it is acknowledged, or all is over.
func (s *sender) settle() error {
	for s.pending != nil && !s.over.Load() {
		got, err := s.send(s.pending)
		if err != nil {
			return err
		}
		if got.Status == http.StatusServiceUnavailable {
			s.refused.Add(1)
			if err := backOff(got); err != nil {
				return err
			}
			continue
		}
		if got.Status != http.StatusAccepted {
			return fmt.Errorf("POST /v1/rgstr answered %d %s; want 202", got.Status, got.Body)
		}
		s.settled()
	}
	return nil
}

// settled notes that what was pending is acknowledged.
func (s *sender) settled() {
	s.ledger.add(s.pending.receipt)
	s.acked.Add(1)
	s.heard, s.pending = s.pending, nil
}

// once sends a new batch, which has to be acknowledged at once.
func (s *sender) once() error {
	s.next()
	got, err := s.send(s.pending)
	if err != nil || got.Status != http.StatusAccepted {
		return fmt.Errorf("POST /v1/rgstr = %d %s, %w; want 202 whatever happens elsewhere", got.Status, got.Body, err)
	}
	s.settled()
	return nil
}

func (s *sender) send(b *batch) (harness.Answer, error) {
	return s.shop.Do(s.shop.Server, http.MethodPost, "/v1/rgstr", b.body)
}

// warehouse connects to the platform's ClickHouse once it answers where run.json
// says: an engine that was started again is somewhere else.
func warehouse(t *testing.T, p *harness.Platform) driver.Conn {
	t.Helper()
	var db driver.Conn
	harness.Within(t, 30*time.Second, func() error {
		db = p.Warehouse()
		return db.Ping(t.Context())
	})
	return db
}

// checkFacts waits until everything that was sent has been loaded, and compares
// the warehouse with what senders were promised.
func checkFacts(t *testing.T, shop *harness.Project, db driver.Conn, receipts []receipt) {
	t.Helper()
	// Facts are loaded in the order in which they were accepted: behind this one
	// there is nothing.
	shop.Must(http.StatusAccepted, nil, shop.Server, http.MethodPost, "/v1/rgstr", harness.Doc{"events": []harness.Doc{
		{"eventName": last, "time": time.Now().UnixMilli(), "user": harness.Doc{"userID": "nobody"}},
	}})
	harness.Within(t, time.Minute, func() error {
		if n := column[uint64](t, db, "SELECT count() FROM events WHERE event = ?", last)[0]; n != 1 {
			return fmt.Errorf("%d rows of the last event; want 1", n)
		}
		return nil
	})

	var exposures, happened, dead []string
	for _, r := range receipts {
		if r.Exposed != 0 {
			exposures = append(exposures, fmt.Sprintf("%s@%d", r.Unit, r.Exposed))
		}
		happened, dead = append(happened, r.Events...), append(dead, r.Dead...)
	}
	sameSet(t, "exposures", column[string](t, db, "SELECT concat(unit_id, '@', toString(toUnixTimestamp64Milli(ts))) FROM exposures WHERE name = ?", experiment), exposures)
	sameSet(t, "events", column[string](t, db, "SELECT metadata['number'] FROM events WHERE event != ?", last), happened)
	// What edges decided for others is not acknowledged to anybody: two edges that
	// were asked the same within an hour say so twice, under one id.
	for _, table := range []string{"exposures", "events"} {
		doubles := column[int64](t, db, "SELECT toInt64(count()) - toInt64(uniqExact(event_id)) FROM "+table+" WHERE sdk_type = ?", sdk)[0]
		if doubles != 0 {
			t.Errorf("%s: count() - uniqExact(event_id) = %d; want 0", table, doubles)
		}
	}
	sameSet(t, "dead letters", column[string](t, db, "SELECT JSONExtractString(body, 'name') FROM dead_letters"), dead)
}

// column reads the one column of a query.
func column[T any](t *testing.T, db driver.Conn, query string, args ...any) []T {
	t.Helper()
	rows, err := db.Query(context.Background(), query, args...)
	if err != nil {
		t.Fatalf("%s: %v", query, err)
	}
	defer rows.Close()
	var out []T
	for rows.Next() {
		var v T
		if err := rows.Scan(&v); err != nil {
			t.Fatalf("%s: %v", query, err)
		}
		out = append(out, v)
	}
	if err := rows.Err(); err != nil {
		t.Fatalf("%s: %v", query, err)
	}
	return out
}

// An outcome is what results say of one group.
type outcome struct{ Units, Conversions uint64 }

// checkResults compares the experiment's results with what the ledger makes of
// them.
func checkResults(t *testing.T, shop *harness.Project, receipts []receipt) {
	t.Helper()
	type member struct{ group, unit string }
	exposed, bought := map[member]bool{}, map[member]bool{}
	for _, r := range receipts {
		exposed[member{r.Group, r.Unit}] = true
		if len(r.Events) > 1 {
			bought[member{r.Group, r.Unit}] = true
		}
	}
	want := map[string]outcome{}
	for m := range exposed {
		o := want[m.group]
		o.Units++
		if bought[m] {
			o.Conversions++
		}
		want[m.group] = o
	}

	var report struct {
		Groups []struct {
			Name  string `json:"name"`
			Units uint64 `json:"units"`
		} `json:"groups"`
		Metrics []struct {
			Groups []struct {
				Group       string `json:"group"`
				Conversions uint64 `json:"conversions"`
			} `json:"groups"`
		} `json:"metrics"`
	}
	shop.Must(http.StatusOK, &report, shop.Console, http.MethodGet, shop.Path("experiments", experiment, "results?wait=30"), nil)
	if len(report.Metrics) != 1 {
		t.Fatalf("the results have %d metrics; want %s alone", len(report.Metrics), metric)
	}
	got := map[string]outcome{}
	for i, g := range report.Groups {
		got[g.Name] = outcome{Units: g.Units, Conversions: report.Metrics[0].Groups[i].Conversions}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("the results differ from the ledger (-ledger +results):\n%s", diff)
	}
}
