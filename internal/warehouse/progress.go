package warehouse

import (
	"context"
	"fmt"
)

// Progress is how far a loader came in one partition of a stream. It stands in
// ClickHouse beside the rows, so that a loader whose own position is older than
// the tokens that ClickHouse remembers finds out before it inserts again.
type Progress struct {
	Stream    string // the log id of the stream: another stream of the same name starts anew
	Partition uint32
	Plan      uint64 // number of the last frozen batch that was inserted
	Sequence  uint64 // last stream sequence of that batch
}

// WriteProgress records p. An older position never replaces a newer one.
func (db *DB) WriteProgress(ctx context.Context, p Progress) error {
	token := fmt.Sprintf("progress:%s:%d:%d", p.Stream, p.Partition, p.Plan)
	err := db.conn.Exec(once(ctx, token), "INSERT INTO load_progress (stream, partition, plan, sequence) VALUES (?, ?, ?, ?)",
		p.Stream, p.Partition, p.Plan, p.Sequence)
	if err != nil {
		return fmt.Errorf("writing progress of stream %s/%d: %w", p.Stream, p.Partition, err)
	}
	return nil
}

// ReadProgress returns the newest position of a stream's partition; its Plan
// and Sequence are 0 if nothing was ever loaded from there.
func (db *DB) ReadProgress(ctx context.Context, stream string, partition uint32) (Progress, error) {
	p := Progress{Stream: stream, Partition: partition}
	err := db.conn.QueryRow(ctx, "SELECT max(plan), max(sequence) FROM load_progress WHERE stream = ? AND partition = ?", stream, partition).
		Scan(&p.Plan, &p.Sequence)
	if err != nil {
		return Progress{}, fmt.Errorf("reading progress of stream %s/%d: %w", stream, partition, err)
	}
	return p, nil
}

// ReadPositions returns the last sequence that was loaded of each partition of a
// stream, which has none where nothing was ever loaded.
func (db *DB) ReadPositions(ctx context.Context, stream string) (map[int]uint64, error) {
	rows, err := db.conn.Query(ctx, "SELECT partition, max(sequence) FROM load_progress WHERE stream = ? GROUP BY partition", stream)
	if err != nil {
		return nil, fmt.Errorf("reading the positions of stream %s: %w", stream, err)
	}
	defer rows.Close()
	positions := make(map[int]uint64)
	for rows.Next() {
		var partition uint32
		var sequence uint64
		if err := rows.Scan(&partition, &sequence); err != nil {
			return nil, fmt.Errorf("reading the positions of stream %s: %w", stream, err)
		}
		positions[int(partition)] = sequence
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("reading the positions of stream %s: %w", stream, err)
	}
	return positions, nil
}
