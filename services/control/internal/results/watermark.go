package results

import (
	"context"
	"fmt"
	"math"
	"time"

	"github.com/sluice-flags/sluice/internal/warehouse"
)

// All is answered from what the engine knows of its tables, and one small table.
const watermarkSQL = `SELECT (SELECT count() FROM exposures), (SELECT count() FROM events), sum(latest), toInt64(dateDiff('ms', max(at), now64(3)))
FROM (SELECT max(sequence) AS latest, max(written_at) AS at FROM load_progress GROUP BY stream, partition)`

// A mark says how far the facts have come.
type mark struct {
	name  string        // a question has another answer only when this has changed
	still time.Duration // since the last facts came
}

func watermark(ctx context.Context, db *warehouse.DB) (mark, error) {
	var exposures, events, loaded uint64
	var still int64
	if err := db.Conn().QueryRow(ctx, watermarkSQL).Scan(&exposures, &events, &loaded, &still); err != nil {
		return mark{}, fmt.Errorf("looking how far the facts have come: %w", err)
	}
	return mark{fmt.Sprintf("%d+%d/%d", exposures, events, loaded), time.Duration(still) * time.Millisecond}, nil
}

// much reports whether the facts at m are others by more than a hundredth than
// those of a mark by its name.
func (m mark) much(before string) bool {
	then, now := factsAt(before), factsAt(m.name)
	return math.Abs(now-then) > then/100
}

// factsAt is how many facts there are at a mark, by its name.
func factsAt(name string) float64 {
	var exposures, events float64
	_, _ = fmt.Sscanf(name, "%g+%g/", &exposures, &events) // else there are none
	return exposures + events
}
