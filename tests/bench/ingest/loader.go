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
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/errgroup"

	"github.com/sluice-flags/sluice/internal/bus"
	"github.com/sluice-flags/sluice/internal/bus/natslog"
	"github.com/sluice-flags/sluice/internal/follow"
	"github.com/sluice-flags/sluice/internal/warehouse"
	"github.com/sluice-flags/sluice/internal/warehouse/embed"
	"github.com/sluice-flags/sluice/pkg/events"
	"github.com/sluice-flags/sluice/services/ingest"
)

const (
	// blockRows is how many rows the loader puts into one insert at most.
	blockRows = 200_000
	// floorRows is how many are in one of the floor: about as many as the engine
	// takes for one block, which then is one part that nothing has to be merged with.
	floorRows = 1_000_000
)

// loadProject is the project whose facts are loaded.
const loadProject = "bench"

// loading compares the loader, from the broker's stream to rows that a power cut
// does not take, with an engine that is handed the same rows encoded: over HTTP,
// in the engine's own format, into the same table, with the same settings. The
// floor is what one connection brings in by inserts of a million rows. Inserts of as
// many rows as the loader's, as many at once, are what the engine makes of those if
// nobody else wants the processors; they are shown beside it.
//
// What the loader's own process takes is shown in two parts as well. It reads the
// stream and decodes what it reads, which a floor need not; this is measured by
// itself, on the same stream and in the same process, just before. The rest is what
// becomes of a decoded fact until it is sent, the counterpart of the engine's work.
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
		{"the same in inserts like ours", l.alike, nil},
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
			if err := l.complete(); err != nil {
				return table{}, fmt.Errorf("%s: %w", kinds[i].name, err)
			}
			kinds[i].got = append(kinds[i].got, c)
		}
	}
	t := table{
		title: fmt.Sprintf("loader: events into MergeTree, median of %d rounds of %d rows, %d in an insert and %d in one of the floor; CPU in µs a row",
			b.rounds, b.rows, min(blockRows, b.rows), min(floorRows, b.rows)),
		columns: []string{"", "rows/s", "of the floor", "of like inserts", "client CPU", "server CPU", "client of server"},
	}
	floor, alike, ours := typical(kinds[0].got), typical(kinds[1].got), typical(kinds[2].got)
	for _, k := range kinds {
		c := typical(k.got)
		t.add(k.name, rate(c.rate), ratio(c.rate/floor.rate), ratio(c.rate/alike.rate), ratio(c.client), ratio(c.server), ratio(c.client/c.server))
	}
	for _, part := range []struct {
		name   string
		client float64
	}{
		{"of it, to decoded facts", ours.reading},
		{"from decoded facts to sent blocks", ours.client - ours.reading},
	} {
		t.add(part.name, "", "", "", ratio(part.client), "", ratio(part.client/ours.server))
	}
	return t, nil
}

// A cost is what rows took.
type cost struct {
	rate           float64 // rows/s
	client, server float64 // µs of CPU a row
	reading        float64 // the part of client until facts are decoded
}

func typical(all []cost) cost {
	of := func(what func(cost) float64) float64 {
		var values []float64
		for _, one := range all {
			values = append(values, what(one))
		}
		return median(values)
	}
	return cost{
		rate:    of(func(c cost) float64 { return c.rate }),
		client:  of(func(c cost) float64 { return c.client }),
		server:  of(func(c cost) float64 { return c.server }),
		reading: of(func(c cost) float64 { return c.reading }),
	}
}

type load struct {
	*bench
	ctx      context.Context
	engine   *embed.Engine
	db       *warehouse.DB
	messages [][]byte
	encoded  [][]byte // a block each
	inserts  atomic.Int64
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

// ours reads the rows from a broker of its own, and then loads them.
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
	open := sync.OnceFunc(func() { close(gate) })
	defer func() { open(); cancel(); err = errors.Join(err, <-done) }()
	for service.Ready() != nil { // it has nothing to remember
		time.Sleep(time.Millisecond)
	}
	for _, m := range l.messages {
		if _, err := conn.JetStream().Publish(ctx, bus.FactsSubject(loadProject, "batch", 0), m); err != nil {
			return c, err
		}
	}
	reading, err := l.measure(func() error { return read(ctx, conn, l.rows) })
	if err != nil {
		return c, err
	}
	c, err = l.measure(func() error {
		open()
		for {
			loaded, err := total(registry, "ingest_inserted_total")
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
	c.reading = reading.client
	return c, err
}

// total reads a counter.
func total(r *prometheus.Registry, name string) (float64, error) {
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

// complete makes sure that the table has all rows: the engine takes a block for a
// repetition of another that came in the same insert.
func (l *load) complete() error {
	var got uint64
	err := l.db.Conn().QueryRow(l.ctx, "SELECT count() FROM events").Scan(&got)
	if err == nil && got != uint64(l.rows) {
		err = fmt.Errorf("the table has %d rows, want %d", got, l.rows)
	}
	return err
}

// floor sends the blocks in large inserts, of which the engine joins each.
func (l *load) floor(int) (cost, error) {
	var bodies [][]byte
	for blocks := range slices.Chunk(l.encoded, floorRows/blockRows) {
		bodies = append(bodies, bytes.Join(blocks, nil))
	}
	return l.insert(bodies, 1)
}

// alike sends one block in an insert, as many at once as the loader.
func (l *load) alike(int) (cost, error) { return l.insert(l.encoded, warehouse.InsertsAtOnce) }

func (l *load) insert(bodies [][]byte, atOnce int) (cost, error) {
	return l.measure(func() error {
		var g errgroup.Group
		g.SetLimit(atOnce)
		for _, body := range bodies {
			g.Go(func() error {
				_, err := l.http("INSERT INTO events FORMAT Native", body)
				return err
			})
		}
		return g.Wait()
	})
}

func (l *load) http(query string, body []byte) ([]byte, error) {
	c := l.engine.Config()
	parameters := url.Values{"query": {query}, "database": {c.Database}}
	if body != nil {
		parameters.Set("async_insert", "0")
		parameters.Set("optimize_on_insert", "0") // as the loader does
		parameters.Set("insert_deduplication_token", "floor "+strconv.FormatInt(l.inserts.Add(1), 10))
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
