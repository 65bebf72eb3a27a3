package results

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2"

	"github.com/sluice-flags/sluice/internal/warehouse"
	"github.com/sluice-flags/sluice/internal/warehouse/warehousetest"
	"github.com/sluice-flags/sluice/pkg/flags"
	"github.com/sluice-flags/sluice/pkg/stats"
)

// BenchmarkResults measures what a report costs beside its floor in the same run:
// reading key, time and value of every event once. Run it by `make
// bench-results`; SLUICE_BENCH_EVENTS says how many events there are, a hundredth
// of them units.
func BenchmarkResults(b *testing.B) {
	events := uint64(1_000_000)
	if text := os.Getenv("SLUICE_BENCH_EVENTS"); text != "" {
		var err error
		if events, err = strconv.ParseUint(text, 10, 64); err != nil || events < 100_000 {
			b.Fatalf("SLUICE_BENCH_EVENTS = %q; want a number from 100000", text)
		}
	}
	db := warehousetest.Open(b)
	begun := time.Now()
	p := fiveMetrics(b, db, warehousetest.Project())
	generate(b, db, p.project, events/100, events)
	fmt.Printf("\nmade %d events of %d units in %v\n", events, events/100, time.Since(begun).Round(time.Second))

	floor := timed{name: "floor: one read of key, time and value"}
	bare := timed{name: "one sum over all events, shortest SQL"}
	raw := timed{name: "all metrics, from the facts"}
	units := timed{name: "of that, moments from the units' values"}
	rolled := timed{name: "all metrics, from the rollup"}
	for b.Loop() {
		for round := range 3 {
			floor.measure(b, db, func(ctx context.Context) error {
				return db.Conn().Exec(ctx, `SELECT sum(unit_key), sum(toUnixTimestamp64Milli(ts)), sum(value) FROM events
WHERE project = '`+p.project+`' SETTINGS max_threads = 2 FORMAT Null`)
			})
			bare.measure(b, db, func(ctx context.Context) error { return oneSum(ctx, db, p.project, events/100) })
			var last rollup
			raw.measure(b, db, func(ctx context.Context) (err error) {
				if last, err = roll(ctx, db, p, fmt.Sprint("round ", round)); err == nil {
					_, err = p.read(ctx, db, &last)
				}
				return err
			})
			units.measure(b, db, func(ctx context.Context) error {
				again := rollup{revision: last.revision, asOf: last.asOf, caps: last.caps}
				return p.sumUp(ctx, db, &again)
			})
			if err := errors.Join(db.PutRollup(b.Context(), p.row(&last)), p.drop(b.Context(), db, last.enrolled)); err != nil {
				b.Fatal(err)
			}
			rolled.measure(b, db, func(ctx context.Context) error {
				if _, err := watermark(ctx, db); err != nil {
					return err
				}
				r, err := latestRollup(ctx, db, p)
				if err != nil {
					return err
				}
				f, err := p.read(ctx, db, &r)
				if err == nil && len(f.moments) != 2*len(p.metrics) {
					err = fmt.Errorf("%d moments; want those of %d metrics in 2 groups", len(f.moments), len(p.metrics))
				}
				return err
			})
		}
	}
	fmt.Printf("\nresults: %d events, %d units, %d metrics, medians of %d\n\n", events, events/100, len(p.metrics), len(floor.took))
	for _, t := range []*timed{&floor, &bare, &raw, &units, &rolled} {
		fmt.Printf("%42s  %9.1f ms  %6.3f × floor  %5.0f MB\n", t.name, t.median()*1e3, t.median()/floor.median(), float64(t.peak.Load())/1e6)
	}
	took := comparisons()
	fmt.Printf("%42s  %9.1f ms\n\n", "10,000 comparisons in pkg/stats", took.Seconds()*1e3)
	b.ReportMetric(raw.median()/floor.median(), "raw/floor")
	b.ReportMetric(rolled.median()/floor.median(), "rollup/floor")
	b.ReportMetric(float64(raw.peak.Load())/1e6, "MB")
}

// oneSum asks for the moments of the sum of all events' values since a unit's first
// exposure, with the two weeks before as covariate: what any plan has to do, as short
// as it can be said, and no exclusion, name of event, definition or rollup in it.
func oneSum(ctx context.Context, db *warehouse.DB, project string, units uint64) error {
	n := bucketsFor(units, 0, true)
	for i := range n {
		mine := bucket(i, n).condition("unit_key")
		err := db.Conn().Exec(ctx, `SELECT g, sum(n), sum(y), sum(y * y), sum(x), sum(x * x), sum(x * y) FROM (
    SELECT e.unit_key AS k, any(u.first % 256) AS g, count() AS n,
        sumIf(e.value, toUnixTimestamp64Milli(e.ts) >= intDiv(u.first, 512)) AS y,
        sumIf(e.value, toUnixTimestamp64Milli(e.ts) < intDiv(u.first, 512) AND toUnixTimestamp64Milli(e.ts) >= intDiv(u.first, 512) - 1209600000) AS x
    FROM (SELECT unit_key, ts, value FROM events WHERE project = '`+project+`' AND `+mine+`) AS e
    INNER JOIN (SELECT unit_key, min(first) AS first FROM first_exposures WHERE project = '`+project+`' AND name = 'exp' AND `+mine+` GROUP BY unit_key) AS u ON e.unit_key = u.unit_key
    GROUP BY k
) GROUP BY g SETTINGS max_threads = 2 FORMAT Null`)
		if err != nil {
			return err
		}
	}
	return nil
}

// timed is something that is measured several times.
type timed struct {
	name string
	took []time.Duration
	peak atomic.Int64 // bytes that its statements held at most, those together that ran together
}

// watch notes what all statements of the user hold together until ctx ends.
func (t *timed) watch(ctx context.Context, db *warehouse.DB) {
	for ctx.Err() == nil {
		var held int64
		row := db.Conn().QueryRow(ctx, "SELECT peak_memory_usage FROM system.user_processes WHERE user = currentUser()")
		if row.Scan(&held) == nil {
			t.hold(held)
		}
		select {
		case <-ctx.Done():
		case <-time.After(50 * time.Millisecond):
		}
	}
}

func (t *timed) hold(bytes int64) {
	for old := t.peak.Load(); bytes > old && !t.peak.CompareAndSwap(old, bytes); {
		old = t.peak.Load()
	}
}

func (t *timed) measure(b *testing.B, db *warehouse.DB, do func(context.Context) error) {
	b.Helper()
	ctx, stop := context.WithCancel(clickhouse.Context(b.Context(), clickhouse.WithProfileEvents(func(all []clickhouse.ProfileEvent) {
		for _, e := range all {
			if e.Name == "MemoryTrackerPeakUsage" {
				t.hold(e.Value)
			}
		}
	})))
	var watching sync.WaitGroup
	watching.Go(func() { t.watch(ctx, db) })
	defer watching.Wait()
	defer stop()
	begun := time.Now()
	if err := do(ctx); err != nil {
		b.Fatalf("%s: %v", t.name, err)
	}
	t.took = append(t.took, time.Since(begun))
}

func (t *timed) median() float64 {
	sorted := slices.Sorted(slices.Values(t.took))
	return sorted[len(sorted)/2].Seconds()
}

// comparisons compares 10,000 pairs of groups, on one core.
func comparisons() time.Duration {
	rng := rand.New(rand.NewPCG(1, 1))
	group := func() stats.Covaried {
		n := 1000 + rng.Uint64N(100_000)
		k := float64(n)
		return stats.Covaried{Pair: stats.Pair{N: n, MeanY: 10 + rng.Float64(), MeanX: 9 + rng.Float64(), M2Y: 4 * k, M2X: 4 * k, CXY: 2 * k}, WithCovariate: n}
	}
	pairs := make([][2]stats.Covaried, 10_000)
	for i := range pairs {
		pairs[i] = [2]stats.Covaried{group(), group()}
	}
	begun := time.Now()
	for i := range pairs {
		stats.AnalyzeCUPED(pairs[i][0], pairs[i][1], stats.Method{})
	}
	return time.Since(begun)
}

// fiveMetrics plans the analysis of an experiment of two groups.
func fiveMetrics(b *testing.B, db *warehouse.DB, project string) *plan {
	b.Helper()
	start := time.Date(2026, 10, 8, 0, 0, 0, 0, time.UTC)
	doc := &flags.Experiment{
		ID: "exp_1", Name: "exp", Status: flags.ExperimentRunning, StartedAt: &start, UnitType: "userID",
		Groups: []flags.Group{{ID: "a", Name: "a", Share: 50, Control: true}, {ID: "b", Name: "b", Share: 50}},
	}
	state := flags.NewState(project)
	documents := []flags.Document{
		&flags.Metric{Name: "views", Type: flags.MetricEventCount, Measure: flags.Measure{Event: "view"}},
		&flags.Metric{Name: "searchers", Type: flags.MetricEventUser, Measure: flags.Measure{Event: "search"}},
		&flags.Metric{Name: "basket", Type: flags.MetricMean, Measure: flags.Measure{Event: "add", ValueFrom: "value"}},
		&flags.Metric{Name: "revenue", Type: flags.MetricSum, Measure: flags.Measure{Event: "buy", ValueFrom: "value"}, Cap: &flags.Cap{Percentile: 0.999}},
		&flags.Metric{Name: "revenue per view", Type: flags.MetricRatio,
			Numerator:   &flags.MetricPart{Type: flags.MetricSum, Measure: flags.Measure{Event: "buy", ValueFrom: "value"}},
			Denominator: &flags.MetricPart{Type: flags.MetricEventCount, Measure: flags.Measure{Event: "view"}}},
	}
	for i, d := range documents {
		m, _ := d.(*flags.Metric)
		m.ID = fmt.Sprint("met_", i)
		doc.Metrics = append(doc.Metrics, m.ID)
	}
	for i, d := range append(documents, doc) {
		at := flags.Position{LogID: project, Seq: uint64(i + 1), Time: start.UnixMilli() + int64(i)}
		state = state.With(at, flags.Entity{Ref: d.Ref(), Name: d.DocName(), Doc: d, Version: 1, Seq: at.Seq, Time: at.Time})
	}
	if err := New(func() *warehouse.DB { return db }).Mirror(b.Context(), state); err != nil {
		b.Fatal(err)
	}
	entity, _ := state.Find(flags.KindExperiment, "exp")
	return newPlan(state, entity, doc, start.AddDate(0, 1, 0))
}

// generate makes the facts inside the engine: units of two groups with as many
// events each before and after their first exposure, all of it merged, as facts
// are some time after they came.
func generate(b *testing.B, db *warehouse.DB, project string, units, events uint64) {
	b.Helper()
	do := func(format string, arguments ...any) {
		b.Helper()
		ctx := clickhouse.Context(b.Context(), clickhouse.WithSettings(clickhouse.Settings{"insert_deduplicate": 0, "max_insert_threads": 2, "max_execution_time": 0}))
		if err := db.Conn().Exec(ctx, fmt.Sprintf(format, arguments...)); err != nil {
			b.Fatal(err)
		}
	}
	const key = "u * %[1]d" // keys are spread evenly, as hashes are
	width := (1<<64 - 1) / units
	do(`INSERT INTO exposures (project, environment, kind, name, group_index, unit_type, unit_id, unit_key, ts, received_at, event_id, value)
SELECT '%[2]s', 'production', 'experiment', 'exp', sipHash64(u) %% 2, 'userID', toString(u), `+key+`,
    toDateTime64('2026-10-09 00:00:00', 3, 'UTC') + toIntervalSecond(sipHash64(u, 1) %% 864000), toDateTime64('2026-10-09 00:00:00', 3, 'UTC'), generateUUIDv4(), 'a'
FROM (SELECT number AS u FROM numbers(%[3]d))`, width, project, units)
	for _, e := range []struct {
		name    string
		percent uint64
	}{{"view", 40}, {"search", 20}, {"add", 20}, {"buy", 10}, {"signup", 10}} {
		each := events / units * e.percent / 100
		do(`INSERT INTO events (project, environment, event, unit_type, unit_id, unit_key, unit_ids, ts, received_at, event_id, value)
SELECT '%[2]s', 'production', '%[4]s', 'userID', toString(u), `+key+`, map('userID', toString(u)),
    toDateTime64('2026-10-01 00:00:00', 3, 'UTC') + toIntervalMillisecond(intDiv((number %% %[5]d) * 2000000000 + sipHash64(number) %% 2000000000, %[5]d)),
    toDateTime64('2026-10-01 00:00:00', 3, 'UTC'), generateUUIDv4(), round(exp(2 + (sipHash64(number, 2) %% 1000) / 500), 2)
FROM (SELECT number, intDiv(number, %[5]d) AS u FROM numbers(%[3]d))`, width, project, units*each, e.name, each)
	}
	do("OPTIMIZE TABLE events FINAL")
	do("OPTIMIZE TABLE first_exposures FINAL")
}
