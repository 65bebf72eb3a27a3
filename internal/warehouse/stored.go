package warehouse

import (
	"context"
	"encoding/binary"
	"fmt"
	"math"
	"strings"

	"github.com/ClickHouse/clickhouse-go/v2"
	"github.com/google/uuid"

	"github.com/sluice-flags/sluice/pkg/events"
)

// Stored are the facts of a block that its tables hold already.
type Stored [3]ids // in the order of [Block.tables]

type ids map[events.FactID]struct{}

// Any tells whether there are some.
func (s Stored) Any() bool { return len(s[0])+len(s[1])+len(s[2]) > 0 }

// FindStored looks for the facts of b in the tables. Who sends a block that may
// have been sent before asks first: a token is good against a process that died,
// but a server that stands alone writes its tokens without syncing them, and a
// power cut that leaves the rows may take their token. Where exposures are found,
// what their view makes of them is completed, which the cut may have taken as well.
//
// A cluster keeps its tokens in its keeper, synced; nothing is looked for there.
func (db *DB) FindStored(ctx context.Context, b *Block) (found Stored, err error) {
	if db.config.Cluster != "" {
		return found, nil
	}
	for i, t := range b.tables() {
		if found[i], err = db.storedOf(ctx, t); err != nil {
			return found, fmt.Errorf("looking for rows of %s that are stored: %w", t.name, err)
		}
	}
	if exposures := &b.exposures.table; len(found[0]) > 0 {
		if err := db.refillFirstExposures(ctx, exposures.within()); err != nil {
			return found, fmt.Errorf("completing first_exposures: %w", err)
		}
	}
	return found, nil
}

// storedOf reads the ids of all rows that were received when those of t were: a
// part of a table knows its times, so that few rows are read.
func (db *DB) storedOf(ctx context.Context, t *table) (ids, error) {
	if t.rows == 0 {
		return nil, nil
	}
	ours := make(ids, t.rows)
	for at := 0; at < len(t.id.data); at += t.id.width {
		ours[t.id.uuidAt(at)] = struct{}{}
	}
	rows, err := db.conn.Query(ctx, "SELECT event_id FROM "+t.name+" WHERE "+t.within())
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	found := make(ids)
	for rows.Next() {
		var id uuid.UUID
		if err := rows.Scan(&id); err != nil {
			return nil, err
		}
		if _, ok := ours[events.FactID(id)]; ok {
			found[events.FactID(id)] = struct{}{}
		}
	}
	return found, rows.Err()
}

// refillFirstExposures shows the exposures of some time to their view once more,
// which does no harm to rows that are made by min and or.
func (db *DB) refillFirstExposures(ctx context.Context, within string) error {
	var view string
	err := db.conn.QueryRow(ctx, "SELECT as_select FROM system.tables WHERE database = currentDatabase() AND name = 'first_exposures_feed'").Scan(&view)
	if err != nil {
		return err
	}
	filter := fmt.Sprintf("{'%s.exposures': '%s'}", strings.ReplaceAll(db.config.Database, "'", `\'`), within)
	const columns = "project, environment, kind, name, unit_type, unit_key, first, mask"
	return db.conn.Exec(clickhouse.Context(ctx, clickhouse.WithSettings(clickhouse.Settings{
		"insert_deduplicate":       0,
		"additional_table_filters": filter,
	})), "INSERT INTO first_exposures ("+columns+") SELECT "+columns+" FROM ("+view+")")
}

// within is the condition that a row was received when one of t was.
func (t *table) within() string {
	first, last := uint64(math.MaxUint64), uint64(0)
	for at := 0; at < len(t.received.data); at += t.received.width {
		ms := binary.LittleEndian.Uint64(t.received.data[at:])
		first, last = min(first, ms), max(last, ms)
	}
	return fmt.Sprintf("received_at BETWEEN fromUnixTimestamp64Milli(%d) AND fromUnixTimestamp64Milli(%d)", first, last)
}

// uuidAt is the id whose bytes begin at some byte of c.
func (c *fixedColumn) uuidAt(at int) (id events.FactID) {
	binary.BigEndian.PutUint64(id[:8], binary.LittleEndian.Uint64(c.data[at:]))
	binary.BigEndian.PutUint64(id[8:], binary.LittleEndian.Uint64(c.data[at+8:]))
	return id
}
