package main

import (
	"context"
	"fmt"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/google/uuid"

	"github.com/sluice-flags/sluice/internal/warehouse"
)

const (
	bodyEvents = 100    // events in one request
	senders    = 8      // connections that send at once
	batchRows  = 50_000 // rows in one insert of the floor; the loader's own limit
	loadLimit  = time.Minute
)

// ingest counts events in a second: acknowledged, and in ClickHouse; and rows in
// a second that the same engine takes into a table of the same shape when
// somebody just inserts them.
func ingest(ctx context.Context, b *bench) (table, error) {
	config, err := b.platform.clickHouse()
	if err != nil {
		return table{}, err
	}
	db, err := warehouse.Open(ctx, config)
	if err != nil {
		return table{}, err
	}
	defer db.Close()
	if err := db.Conn().Exec(ctx, "CREATE TABLE "+bareTable+" AS events"); err != nil {
		return table{}, err
	}
	p, err := b.platform.newProject(ctx, "ingest")
	if err != nil {
		return table{}, err
	}
	key, err := p.newKey(ctx, "client") // the kind that may stand in a URL
	if err != nil {
		return table{}, err
	}
	url := "http://" + b.platform.address + "/v1/rgstr?k=" + key

	var floor, acked, loaded []float64
	total := b.bodies * bodyEvents
	for round := range b.rounds {
		r, err := insertBare(ctx, db, total)
		if err != nil {
			return table{}, fmt.Errorf("the floor: %w", err)
		}
		floor = append(floor, r)

		bodies := make([][]byte, b.bodies)
		for i := range bodies {
			bodies[i] = eventBody(round, i)
		}
		began := time.Now()
		if err := sendAll(ctx, &b.platform.client, url, bodies); err != nil {
			return table{}, err
		}
		acked = append(acked, float64(total)/time.Since(began).Seconds())
		if err := awaitRows(ctx, db, p.id, uint64(total*(round+1))); err != nil { //nolint:gosec // a count
			return table{}, err
		}
		loaded = append(loaded, float64(total)/time.Since(began).Seconds())
	}

	t := table{
		title: fmt.Sprintf("ingest: events a second, median of %d rounds of %d events, %d in a request, %d connections",
			b.rounds, total, bodyEvents, senders),
		columns: []string{"", "per second", "× floor"},
	}
	t.add("floor, bare inserts", rate(median(floor)), times(1))
	t.add("acknowledged", rate(median(acked)), times(median(floor)/median(acked)))
	t.add("in ClickHouse", rate(median(loaded)), times(median(floor)/median(loaded)))
	return t, nil
}

// eventBody is a request as an SDK would send it.
func eventBody(round, number int) []byte {
	now := time.Now().UnixMilli()
	body := []byte(`{"events":[`)
	for i := range bodyEvents {
		if i > 0 {
			body = append(body, ',')
		}
		body = fmt.Appendf(body, `{"eventName":"purchase","user":{"userID":"user-%d-%d","customIDs":{"companyID":"company-%d"}},"value":%d.5,"time":%d,"metadata":{"currency":"EUR","item":"item-%d"}}`,
			number, i, number%50, i, now, round)
	}
	return append(body, `],"statsigMetadata":{"sdkType":"bench","sdkVersion":"1","sessionID":"bench"}}`...)
}

// sendAll posts bodies, some at once, each until it is acknowledged.
func sendAll(ctx context.Context, c *http.Client, url string, bodies [][]byte) error {
	var next atomic.Int64
	return together(senders, func(int) error {
		for {
			i := int(next.Add(1)) - 1
			if i >= len(bodies) {
				return nil
			}
			if err := post(ctx, c, url, bodies[i]); err != nil {
				return err
			}
		}
	})
}

// awaitRows waits until a project has so many events, and not one more.
func awaitRows(ctx context.Context, db *warehouse.DB, project string, want uint64) error {
	ctx, cancel := context.WithTimeout(ctx, loadLimit)
	defer cancel()
	for {
		var got uint64
		if err := db.Conn().QueryRow(ctx, "SELECT count() FROM events WHERE project = ?", project).Scan(&got); err != nil {
			return fmt.Errorf("counting events: %w", err)
		}
		switch {
		case got == want:
			return nil
		case got > want:
			return fmt.Errorf("%d events in ClickHouse, only %d were sent", got, want)
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%d of %d events in ClickHouse: %w", got, want, context.Cause(ctx))
		case <-time.After(10 * time.Millisecond):
		}
	}
}

// bareTable has the shape of table events, and nothing reads from it.
const bareTable = "bench_events"

// insertBare inserts rows like those that eventBody's events become, one batch
// after another, and returns how many a second.
func insertBare(ctx context.Context, db *warehouse.DB, total int) (float64, error) {
	began := time.Now()
	for first := 0; first < total; first += batchRows {
		if err := insertBatch(ctx, db, first, min(first+batchRows, total)); err != nil {
			return 0, err
		}
	}
	return float64(total) / time.Since(began).Seconds(), nil
}

func insertBatch(ctx context.Context, db *warehouse.DB, first, end int) error {
	b, err := db.Conn().PrepareBatch(ctx, "INSERT INTO "+bareTable+` (project, environment, event, unit_type, unit_id, unit_key, unit_ids,
		ts, received_at, event_id, value, value_text, metadata, sdk_type, sdk_version)`)
	if err != nil {
		return err
	}
	defer b.Close()
	now := time.Now()
	for i := first; i < end; i++ {
		user, company, value := fmt.Sprintf("user-%d", i), fmt.Sprintf("company-%d", i%50), float64(i%bodyEvents)
		err := b.Append("bare", "production", "purchase", "userID", user, warehouse.UnitKey("userID", user),
			map[string]string{"userID": user, "companyID": company}, now, now, uuid.New(), &value, "",
			map[string]string{"currency": "EUR", "item": "item"}, "bench", "1")
		if err != nil {
			return err
		}
	}
	return b.Send()
}
