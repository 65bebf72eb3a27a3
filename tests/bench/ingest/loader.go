package main

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"net/url"
	"path/filepath"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/sluice-flags/sluice/internal/bus"
	"github.com/sluice-flags/sluice/internal/bus/natslog"
	"github.com/sluice-flags/sluice/internal/follow"
	"github.com/sluice-flags/sluice/internal/warehouse"
	"github.com/sluice-flags/sluice/internal/warehouse/embed"
	"github.com/sluice-flags/sluice/pkg/events"
	"github.com/sluice-flags/sluice/services/ingest"
)

// blockRows is how many rows the loader puts into one insert at most.
const blockRows = 100_000

// loadProject is the project whose facts are loaded.
const loadProject = "bench"

// loading compares the loader, from the broker's stream to rows that a power cut
// does not take, with an engine that is handed the same rows encoded: over HTTP,
// in the engine's own format, in inserts of as many rows, into the same table.
func loading(ctx context.Context, b *bench) (table, error) {
	engine, err := embed.Start(ctx, embed.Options{Dir: filepath.Join(b.dir, "engine"), Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		return table{}, err
	}
	defer engine.Stop(context.WithoutCancel(ctx))
	db, err := warehouse.Open(ctx, engine.Config())
	if err != nil {
		return table{}, err
	}
	defer db.Close()
	if err := warehouse.Migrate(ctx, db); err != nil {
		return table{}, err
	}
	l := &load{ctx: ctx, bench: b, engine: engine, db: db, messages: factMessages(b.rows)}

	if _, err := l.ours(-1); err != nil { // makes the rows that the floor is encoded from, and warms
		return table{}, err
	}
	if err := l.encode(); err != nil {
		return table{}, err
	}
	kinds := []struct {
		name string
		run  func(round int) (cost, error)
		got  []cost
	}{
		{"floor, encoded beforehand", l.floor, nil},
		{"the same in one insert", l.whole, nil},
		{"the loader", l.ours, nil},
	}
	for round := range b.rounds {
		for i := range kinds {
			if err := l.empty(); err != nil {
				return table{}, err
			}
			c, err := kinds[i].run(round)
			if err != nil {
				return table{}, fmt.Errorf("%s: %w", kinds[i].name, err)
			}
			kinds[i].got = append(kinds[i].got, c)
		}
	}
	t := table{
		title: fmt.Sprintf("loader: events into MergeTree, median of %d rounds of %d rows, %d in an insert; CPU in µs a row",
			b.rounds, b.rows, min(blockRows, b.rows)),
		columns: []string{"", "rows/s", "of the floor", "client CPU", "server CPU", "client of server"},
	}
	floor := 0.
	for i, k := range kinds {
		c := typical(k.got)
		if i == 0 {
			floor = c.rate
		}
		t.add(k.name, rate(c.rate), ratio(c.rate/floor), ratio(c.client), ratio(c.server), ratio(c.client/c.server))
	}
	return t, nil
}

// A cost is what rows took.
type cost struct{ rate, client, server float64 } // rows/s, µs of CPU a row

func typical(all []cost) cost {
	var r, c, s []float64
	for _, one := range all {
		r, c, s = append(r, one.rate), append(c, one.client), append(s, one.server)
	}
	return cost{median(r), median(c), median(s)}
}

type load struct {
	*bench
	ctx      context.Context
	engine   *embed.Engine
	db       *warehouse.DB
	messages [][]byte
	encoded  [][]byte // a block each
	inserts  int
}

// measure tells what it cost to do something with all rows.
func (l *load) measure(do func() error) (cost, error) {
	server, err := cpuOf(l.engine.PID())
	if err != nil {
		return cost{}, err
	}
	client, began := cpuOfSelf(), time.Now()
	if err := do(); err != nil {
		return cost{}, err
	}
	took := time.Since(began)
	clientSpent := cpuOfSelf() - client
	serverAfter, err := cpuOf(l.engine.PID())
	rows := float64(l.rows)
	return cost{
		rate:   rows / took.Seconds(),
		client: float64(clientSpent.Microseconds()) / rows,
		server: float64((serverAfter - server).Microseconds()) / rows,
	}, err
}

// ours loads the rows from a broker of its own.
func (l *load) ours(round int) (c cost, err error) {
	broker, err := startRole(roleBroker, filepath.Join(l.dir, fmt.Sprint("broker", round)))
	if err != nil {
		return c, err
	}
	defer broker.stop()
	conn, err := bus.Connect(l.ctx, bus.Config{URL: broker.address, Name: "bench"})
	if err != nil {
		return c, err
	}
	defer conn.Close()
	if err := conn.Wait(l.ctx); err != nil {
		return c, err
	}
	if err := bus.EnsureShared(l.ctx, conn, bus.Limits{}); err != nil {
		return c, err
	}

	gate := make(chan struct{}) // the loader waits for its warehouse behind it
	registry := prometheus.NewRegistry()
	service, err := ingest.New(ingest.Deps{
		Bus: conn, Registerer: registry,
		Followers: follow.NewSet(follow.SetOptions{Open: natslog.Reader(conn, slog.New(slog.DiscardHandler), nil)}),
		Warehouse: func() *warehouse.DB { <-gate; return l.db },
	}, ingest.Options{})
	if err != nil {
		return c, err
	}
	ctx, cancel := context.WithCancel(l.ctx)
	done := make(chan error, 1)
	go func() { done <- service.Run(ctx) }()
	defer func() { cancel(); err = errors.Join(err, <-done) }()
	for service.Ready() != nil { // it has nothing to remember
		time.Sleep(time.Millisecond)
	}
	for _, m := range l.messages {
		if _, err := conn.JetStream().Publish(ctx, bus.FactsSubject(loadProject, "batch", 0), m); err != nil {
			close(gate)
			return c, err
		}
	}
	return l.measure(func() error {
		close(gate)
		for {
			loaded, err := counter(registry, "ingest_inserted_total")
			switch {
			case err != nil:
				return err
			case loaded == float64(l.rows):
				return nil
			case loaded > float64(l.rows):
				return fmt.Errorf("%.0f rows were loaded, there are %d", loaded, l.rows)
			}
			select {
			case <-ctx.Done():
				return context.Cause(ctx)
			case <-time.After(20 * time.Millisecond): // gathering metrics is work, too
			}
		}
	})
}

// counter reads a metric.
func counter(r *prometheus.Registry, name string) (float64, error) {
	families, err := r.Gather()
	if err != nil {
		return 0, err
	}
	for _, f := range families {
		if f.GetName() == name {
			sum := 0.
			for _, m := range f.GetMetric() {
				sum += m.GetCounter().GetValue()
			}
			return sum, nil
		}
	}
	return 0, nil
}

// encode has the engine write the rows of the table as it reads them, in an order
// that is not the table's.
func (l *load) encode() error {
	for _, statement := range []string{
		"CREATE TABLE bench_rows AS events ENGINE = Memory",
		"INSERT INTO bench_rows SELECT * FROM events ORDER BY cityHash64(event_id)",
	} {
		if err := l.db.Conn().Exec(l.ctx, statement); err != nil {
			return err
		}
	}
	for from := 0; from < l.rows; from += blockRows {
		block, err := l.http(fmt.Sprintf("SELECT * FROM bench_rows LIMIT %d, %d FORMAT Native SETTINGS max_block_size = %d, max_threads = 1", from, blockRows, blockRows), nil)
		if err != nil {
			return err
		}
		l.encoded = append(l.encoded, block)
	}
	return l.db.Conn().Exec(l.ctx, "DROP TABLE bench_rows SYNC")
}

// empty makes the tables as they were at first.
func (l *load) empty() error { return l.db.Conn().Exec(l.ctx, "TRUNCATE TABLE events SYNC") }

func (l *load) floor(int) (cost, error) { return l.insert(l.encoded) }

// whole sends all blocks in one insert, which the engine may join.
func (l *load) whole(int) (cost, error) { return l.insert([][]byte{bytes.Join(l.encoded, nil)}) }

func (l *load) insert(bodies [][]byte) (cost, error) {
	return l.measure(func() error {
		for _, body := range bodies {
			if _, err := l.http("INSERT INTO events FORMAT Native", body); err != nil {
				return err
			}
		}
		return nil
	})
}

func (l *load) http(query string, body []byte) ([]byte, error) {
	l.inserts++
	c := l.engine.Config()
	parameters := url.Values{"query": {query}, "database": {c.Database}}
	if body != nil {
		parameters.Set("async_insert", "0")
		parameters.Set("optimize_on_insert", "0") // as the loader does
		parameters.Set("insert_deduplication_token", "floor "+strconv.Itoa(l.inserts))
	}
	r, err := http.NewRequestWithContext(l.ctx, http.MethodPost, "http://"+l.engine.HTTPAddr()+"/?"+parameters.Encode(), bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	r.Header.Set("X-ClickHouse-User", c.User)
	r.Header.Set("X-ClickHouse-Key", c.Password)
	res, err := http.DefaultClient.Do(r)
	if err != nil {
		return nil, err
	}
	defer res.Body.Close()
	answer, err := io.ReadAll(res.Body)
	if err == nil && res.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s: %s: %s", query, res.Status, answer)
	}
	return answer, err
}

// factMessages are messages of the facts stream with so many events of a million
// units in all.
func factMessages(rows int) (messages [][]byte) {
	const most = 256<<10 - 1024
	r := rand.New(rand.NewPCG(1, 2)) //nolint:gosec // the same rows in every run
	names := []string{"purchase", "page_view", "add_to_cart", "signup", "refund"}
	base := time.Now().UnixMilli()
	b, size := events.Batch{Project: loadProject}, 0
	for i := range rows {
		u := r.IntN(1_000_000)
		user, stable := "user-"+strconv.Itoa(u), "st-"+strconv.Itoa(u*7919%1_000_003)
		value := float64(r.IntN(10_000)) / 100
		e := events.Event{
			Time: base + int64(i%1000), Received: base + int64(i%1000) + 40, Environment: "production", Name: names[min(r.IntN(8), 4)],
			UnitType: "userID", UnitID: user, UnitIDs: []events.Pair{{Name: "stableID", Value: stable}, {Name: "userID", Value: user}},
			Value: &value, ValueText: strconv.FormatFloat(value, 'f', -1, 64),
			Metadata: []events.Pair{
				{Name: "page", Value: "/p/" + strconv.Itoa(r.IntN(300))},
				{Name: "sku", Value: "SKU-" + strconv.Itoa(r.IntN(5000))},
			},
			SDKType: "js-client", SDKVersion: "3.12.0",
		}
		binary.LittleEndian.PutUint64(e.ID[:8], r.Uint64())
		binary.LittleEndian.PutUint64(e.ID[8:], r.Uint64())
		b.Events = append(b.Events, e)
		if size += 130; size >= most || i == rows-1 { // more than one takes
			messages = append(messages, events.EncodeBatch(b))
			b.Events, size = nil, 0
		}
	}
	return messages
}
