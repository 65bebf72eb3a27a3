package warehouse_test

import (
	"context"
	"encoding/binary"
	"fmt"
	"io/fs"
	"log/slog"
	"maps"
	"math"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2"
	"github.com/google/go-cmp/cmp"

	"github.com/sluice-flags/sluice/internal/warehouse"
	"github.com/sluice-flags/sluice/internal/warehouse/embed"
	"github.com/sluice-flags/sluice/internal/warehouse/warehousetest"
	"github.com/sluice-flags/sluice/pkg/events"
	"github.com/sluice-flags/sluice/schemas"
)

func TestMain(m *testing.M) { warehousetest.Main(m) }

var noon = time.Date(2026, 5, 4, 12, 0, 0, 0, time.UTC)

func id(n int) (id [16]byte) {
	binary.BigEndian.PutUint64(id[8:], uint64(n))
	return id
}

func exposure(project string, n int) warehousetest.ExposureRow {
	return warehousetest.ExposureRow{
		Project: project, Kind: warehouse.KindExperiment, Name: "checkout", RuleID: "grp_a", GroupIndex: uint8(n % 2),
		UnitType: "userID", UnitID: fmt.Sprint("user ", n), Time: noon.Add(time.Duration(n) * time.Second), ReceivedAt: noon, EventID: id(n),
	}
}

func event(project string, n int) warehousetest.EventRow {
	return warehousetest.EventRow{
		Project: project, Event: "buy", UnitType: "userID", UnitID: fmt.Sprint("user ", n), UnitIDs: map[string]string{"userID": fmt.Sprint("user ", n)},
		Time: noon, ReceivedAt: noon, EventID: id(n), Value: new(float64(n)), Metadata: map[string]string{"shop": "main"},
	}
}

func many[Row any](project string, from, to int, row func(string, int) Row) (rows []Row) {
	for n := from; n < to; n++ {
		rows = append(rows, row(project, n))
	}
	return rows
}

// number asks for one number.
func number(t *testing.T, db *warehouse.DB, query string, args ...any) (n uint64) {
	t.Helper()
	if err := db.Conn().QueryRow(t.Context(), query, args...).Scan(&n); err != nil {
		t.Fatalf("%s: %v", query, err)
	}
	return n
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func TestBatchSentAgainIsCountedOnce(t *testing.T) {
	db, project := warehousetest.Open(t), warehousetest.Project()
	// A plain table fed by a view would show a repetition that min and or hide.
	must(t, db.Conn().Exec(t.Context(), "CREATE TABLE counted_"+project+" (n UInt64) ENGINE = MergeTree ORDER BY n SETTINGS non_replicated_deduplication_window = 100"))
	must(t, db.Conn().Exec(t.Context(), "CREATE MATERIALIZED VIEW feed_"+project+" TO counted_"+project+" AS SELECT count() AS n FROM exposures WHERE project = '"+project+"'"))
	t.Cleanup(func() { db.Conn().Exec(context.Background(), "DROP TABLE feed_"+project) })

	dead := warehouse.NewBlock() // dead letters do not live as long as noon is ago
	dead.AddDead(warehouse.DeadLetter{Project: project, Reason: "no_unit", Received: time.Now().UnixMilli(), Body: "{}"})
	for range 3 {
		must(t, warehousetest.InsertExposures(t.Context(), db, project+":1-5", many(project, 0, 500, exposure)))
		must(t, warehousetest.InsertEvents(t.Context(), db, project+":1-5", many(project, 0, 500, event)))
		must(t, db.InsertDeadLetters(t.Context(), project+":1-5", dead))
	}
	must(t, warehousetest.InsertExposures(t.Context(), db, project+":6-9", many(project, 500, 600, exposure)))
	for query, want := range map[string]uint64{
		"SELECT count() FROM exposures WHERE project = ?":                           600,
		"SELECT uniqExact(event_id) FROM exposures WHERE project = ?":               600,
		"SELECT count() FROM events WHERE project = ?":                              500,
		"SELECT count() FROM dead_letters WHERE project = ?":                        1,
		"SELECT uniqExact(unit_key) FROM first_exposures WHERE project = ?":         600,
		"SELECT sum(n) FROM counted_" + project + " WHERE ? != ''":                  600,
		"SELECT countIf(environment != 'production') FROM events WHERE project = ?": 0,
	} {
		if got := number(t, db, query, project); got != want {
			t.Errorf("%s = %d; want %d", query, got, want)
		}
	}
}

func TestFactThatComesUnderTwoTokensIsReadOnce(t *testing.T) {
	db, project := warehousetest.Open(t), warehousetest.Project()
	must(t, warehousetest.InsertEvents(t.Context(), db, project+":a", many(project, 0, 100, event)))
	must(t, warehousetest.InsertEvents(t.Context(), db, project+":b", many(project, 50, 150, event)))
	if got := number(t, db, "SELECT count() FROM events FINAL WHERE project = ?", project); got != 150 {
		t.Errorf("count() of events FINAL = %d; want 150", got)
	}
}

func TestRowsComeBackAsTheyWent(t *testing.T) {
	db, project := warehousetest.Open(t), warehousetest.Project()
	want := warehousetest.ExposureRow{
		Project: project, Environment: "staging", Kind: warehouse.KindLayer, Name: "checkout", RuleID: "grp_b:userID:id_override", GroupIndex: 3, Override: true,
		UnitType: "companyID", UnitID: "Ünit\x00\"'", Time: noon.Add(123 * time.Millisecond), ReceivedAt: noon, EventID: id(77), Value: "big", Layer: "pay",
		Parameter: "button", Sequence: math.MaxUint64, SDKType: "go", SDKVersion: "1.2", Reason: "Network:Recognized",
	}
	must(t, warehousetest.InsertExposures(t.Context(), db, project, []warehousetest.ExposureRow{want}))
	var got warehousetest.ExposureRow
	var key uint64
	var eventID string
	must(t, db.Conn().QueryRow(t.Context(), `SELECT project, environment, kind, name, rule_id, group_index, override, unit_type, unit_id, unit_key, ts, received_at,
		toString(event_id), value, layer, parameter, sequence, sdk_type, sdk_version, reason FROM exposures WHERE project = ?`, project).Scan(
		&got.Project, &got.Environment, &got.Kind, &got.Name, &got.RuleID, &got.GroupIndex, &got.Override, &got.UnitType, &got.UnitID, &key, &got.Time, &got.ReceivedAt,
		&eventID, &got.Value, &got.Layer, &got.Parameter, &got.Sequence, &got.SDKType, &got.SDKVersion, &got.Reason))
	got.EventID = id(77)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("the row (-want +got):\n%s", diff)
	}
	if eventID != "00000000-0000-0000-0000-00000000004d" {
		t.Errorf("event_id = %s; want the bytes in their order", eventID)
	}
	if computed := number(t, db, `SELECT xxHash64(concat(unit_type, '\x1f', unit_id)) FROM exposures WHERE project = ?`, project); computed != key || key != warehouse.UnitKey(want.UnitType, want.UnitID) {
		t.Errorf("unit_key = %d, ClickHouse computes %d, UnitKey() = %d; want the same", key, computed, warehouse.UnitKey(want.UnitType, want.UnitID))
	}
}

func TestTimesOfAnyClockAreStored(t *testing.T) {
	db, project := warehousetest.Open(t), warehousetest.Project()
	for i, when := range []time.Time{{}, time.UnixMilli(math.MinInt64), time.UnixMilli(math.MaxInt64), time.Unix(-1, 0), time.Date(9999, 1, 1, 0, 0, 0, 0, time.UTC)} {
		r := exposure(project, i)
		r.Time, r.ReceivedAt = when, when
		must(t, warehousetest.InsertExposures(t.Context(), db, fmt.Sprint(project, i), []warehousetest.ExposureRow{r}))
	}
	if got := number(t, db, "SELECT countIf(ts >= '1970-01-01' AND ts < '2201-01-01') FROM exposures WHERE project = ?", project); got != 5 {
		t.Errorf("%d rows within the bounds; want 5", got)
	}
}

func TestInsertRefusesWhatWouldBeCountedWrongly(t *testing.T) {
	db := warehousetest.Open(t)
	rows := many("p", 0, 1, exposure)
	if err := warehousetest.InsertExposures(t.Context(), db, "", rows); err == nil || !strings.Contains(err.Error(), "token") {
		t.Errorf("InsertExposures without a token = %v; want a refusal", err)
	}
	if err := warehousetest.InsertExposures(t.Context(), db, "t", many("p", 0, warehouse.MaxInsertRows+1, exposure)); err == nil || !strings.Contains(err.Error(), "at most") {
		t.Errorf("InsertExposures of too many rows = %v; want a refusal", err)
	}
	if err := warehousetest.InsertExposures(t.Context(), db, "t", nil); err != nil {
		t.Errorf("InsertExposures of nothing = %v; want nil", err)
	}
}

func TestProgressOnlyAdvances(t *testing.T) {
	db, stream := warehousetest.Open(t), warehousetest.Project()
	if got, err := db.ReadProgress(t.Context(), stream, 3); err != nil || got != (warehouse.Progress{Stream: stream, Partition: 3}) {
		t.Errorf("ReadProgress of a new stream = %+v, %v; want zero", got, err)
	}
	newest := warehouse.Progress{Stream: stream, Partition: 3, Plan: 8, Sequence: 900}
	for _, p := range []warehouse.Progress{{stream, 3, 7, 800}, newest, {stream, 3, 6, 700}, newest, {stream, 4, 99, 9999}} {
		must(t, db.WriteProgress(t.Context(), p))
	}
	if got, err := db.ReadProgress(t.Context(), stream, 3); err != nil || got != newest {
		t.Errorf("ReadProgress = %+v, %v; want %+v", got, err, newest)
	}
	want := map[int]uint64{3: 900, 4: 9999}
	if got, err := db.ReadPositions(t.Context(), stream); err != nil || !maps.Equal(got, want) {
		t.Errorf("ReadPositions = %v, %v; want %v", got, err, want)
	}
}

func TestMigrateTwiceChangesNothing(t *testing.T) {
	db := warehousetest.Open(t)
	tables := func() (all []string) {
		rows, err := db.Conn().Query(t.Context(), "SELECT name || ' ' || create_table_query FROM system.tables WHERE database = currentDatabase() AND name NOT LIKE 'counted%' AND name NOT LIKE 'feed%' ORDER BY name")
		must(t, err)
		defer rows.Close()
		for rows.Next() {
			var s string
			must(t, rows.Scan(&s))
			all = append(all, s)
		}
		return all
	}
	before, versions := tables(), number(t, db, "SELECT count() FROM goose_db_version")
	must(t, warehouse.Migrate(t.Context(), db))
	if diff := cmp.Diff(before, tables()); diff != "" {
		t.Errorf("tables (-before +after):\n%s", diff)
	}
	if got := number(t, db, "SELECT count() FROM goose_db_version"); got != versions {
		t.Errorf("%d rows of applied migrations after the second time; want %d", got, versions)
	}
	if len(before) < 12 {
		t.Errorf("only %d tables and views: %q", len(before), before)
	}
}

// Services that start together all migrate.
func TestManyMayMigrateAtOnce(t *testing.T) {
	config := warehousetest.Empty(t)
	var all sync.WaitGroup
	for i := range 4 {
		all.Go(func() {
			db, err := warehouse.Open(t.Context(), config)
			if err != nil {
				t.Errorf("Open of %d = %v", i, err)
				return
			}
			defer db.Close()
			if err := warehouse.Migrate(t.Context(), db); err != nil {
				t.Errorf("Migrate of %d = %v", i, err)
			}
		})
	}
	all.Wait()
	db, err := warehouse.Open(t.Context(), config)
	must(t, err)
	defer db.Close()
	must(t, warehouse.Migrate(t.Context(), db))
	must(t, warehousetest.InsertExposures(t.Context(), db, "after", many("p", 0, 10, exposure)))
	if got := number(t, db, "SELECT count() FROM first_exposures"); got != 10 {
		t.Errorf("%d rows in first_exposures; want 10", got)
	}
}

func TestEveryTableIsDurableAndDocumented(t *testing.T) {
	db := warehousetest.Open(t)
	rows, err := db.Conn().Query(t.Context(), `SELECT name, engine, create_table_query, comment FROM system.tables
		WHERE database = currentDatabase() AND name NOT LIKE 'goose%' AND name NOT LIKE 'counted%' AND name NOT LIKE 'feed%' AND engine != 'MaterializedView'`)
	must(t, err)
	defer rows.Close()
	tables := 0
	for rows.Next() {
		var name, engine, create, comment string
		must(t, rows.Scan(&name, &engine, &create, &comment))
		if comment == "" {
			t.Errorf("%s has no comment", name)
		}
		if !strings.Contains(engine, "MergeTree") {
			continue
		}
		tables++
		for _, setting := range []string{
			"non_replicated_deduplication_window = 10000", "fsync_after_insert = 1", "fsync_part_directory = 1",
			"min_rows_to_fsync_after_merge = 1", "min_compressed_bytes_to_fsync_after_merge = 1", "max_suspicious_broken_parts = 10000",
		} {
			if !strings.Contains(create, setting) {
				t.Errorf("%s lacks %s", name, setting)
			}
		}
	}
	must(t, rows.Err())
	if tables < 7 {
		t.Errorf("%d tables; want at least 7", tables)
	}
	if got := number(t, db, "SELECT count() FROM system.columns AS c INNER JOIN system.tables AS t ON c.database = t.database AND c.table = t.name WHERE c.database = currentDatabase() AND c.comment = '' AND t.engine LIKE '%MergeTree' AND c.table NOT LIKE 'goose%' AND c.table NOT LIKE 'counted%'"); got != 0 {
		t.Errorf("%d columns without a comment", got)
	}
}

// ttlNow makes the engine look for rows that are past their time.
func ttlNow(t *testing.T, db *warehouse.DB) {
	t.Helper()
	for _, table := range []string{"exposures", "events"} {
		must(t, db.Conn().Exec(t.Context(), "OPTIMIZE TABLE "+table+" FINAL SETTINGS mutations_sync = 1, alter_sync = 1"))
	}
}

func TestFactsAreKeptAsLongAsTheirProjectSays(t *testing.T) {
	db, short, long := warehousetest.Open(t), warehousetest.Project(), warehousetest.Project()
	put := func(project, token string, days int) {
		t.Helper()
		e, x := event(project, days), exposure(project, days)
		e.ReceivedAt = time.Now().AddDate(0, 0, -days)
		x.ReceivedAt = e.ReceivedAt
		must(t, warehousetest.InsertEvents(t.Context(), db, token, []warehousetest.EventRow{e}))
		must(t, warehousetest.InsertExposures(t.Context(), db, token, []warehousetest.ExposureRow{x}))
	}
	for _, project := range []string{short, long} {
		put(project, project+":old", 40)
		put(project, project+":new", 20)
	}
	ttlNow(t, db)
	left := func(project string) uint64 {
		return number(t, db, "SELECT (SELECT count() FROM events WHERE project = {p:String}) + (SELECT count() FROM exposures WHERE project = {p:String})",
			clickhouse.Named("p", project))
	}
	if a, b := left(short), left(long); a != 4 || b != 4 {
		t.Fatalf("%d and %d rows of projects that keep everything; want 4 and 4", a, b)
	}
	must(t, db.SetRetention(t.Context(), short, 30, time.Now()))
	for deadline := time.Now().Add(30 * time.Second); left(short) != 2 && time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		ttlNow(t, db)
	}
	if a, b := left(short), left(long); a != 2 || b != 4 {
		t.Errorf("%d rows of a project that keeps 30 days, %d of one that keeps everything; want 2 and 4", a, b)
	}
	if units := number(t, db, "SELECT uniqExact(unit_key) FROM first_exposures WHERE project = ?", short); units != 2 {
		t.Errorf("%d units in first_exposures; want both", units)
	}

	kept, err := db.ReadRetention(t.Context())
	if err != nil || kept[short] != 30 || kept[long] != 0 {
		t.Fatalf("ReadRetention() = %v, %v; want 30 days of %s alone", kept, err, short)
	}
	b := warehouse.NewBlock() // and rows that come later know it from the start
	b.Keep(kept)
	must(t, b.Add(events.EncodeBatch(events.Batch{Project: short, Events: []events.Event{
		{Name: "late", UnitType: "userID", UnitID: "u", Received: time.Now().AddDate(0, 0, -31).UnixMilli()},
	}})))
	must(t, db.InsertEvents(t.Context(), short+":later", b))
	ttlNow(t, db)
	if n := number(t, db, "SELECT count() FROM events WHERE project = ? AND event = 'late'", short); n != 0 {
		t.Errorf("%d rows that came when they were past their time; want 0", n)
	}
}

func TestMigrationsOnlyGoForward(t *testing.T) {
	files, err := fs.Glob(schemas.ClickHouse, "[0-9]*_*.sql")
	must(t, err)
	for i, name := range files {
		text, err := fs.ReadFile(schemas.ClickHouse, name)
		must(t, err)
		if !strings.HasPrefix(name, fmt.Sprintf("%04d_", i+1)) {
			t.Errorf("%s is number %d", name, i+1)
		}
		if regexp.MustCompile(`\+goose Down`).Match(text) {
			t.Errorf("%s goes back", name)
		}
	}
}

func TestOpenSaysWhatIsWrong(t *testing.T) {
	if _, err := warehouse.Open(t.Context(), warehouse.Config{}); err == nil {
		t.Error("Open without an address = nil; want an error")
	}
	_, err := warehouse.Open(t.Context(), warehouse.Config{Addr: "127.0.0.1:1", User: "u", Password: "hidden"})
	if err == nil || !strings.Contains(err.Error(), "127.0.0.1:1") || strings.Contains(err.Error(), "hidden") {
		t.Errorf("Open where nobody listens = %v; want an error that names the address and not the password", err)
	}
}

// TestKilledEngineLosesNothingAcknowledged kills the engine in the middle of
// inserts, starts it anew and sends again what was not acknowledged, as a loader does.
func TestKilledEngineLosesNothingAcknowledged(t *testing.T) {
	warehousetest.Need(t)
	options := embed.Options{Dir: t.TempDir(), Logger: slog.New(slog.DiscardHandler)}
	const rounds, size = 5, 2000
	var engine *embed.Engine
	restart := func() *warehouse.DB {
		var err error
		engine, err = embed.Start(t.Context(), options)
		must(t, err)
		db, err := warehouse.Open(t.Context(), engine.Config())
		must(t, err)
		must(t, warehouse.Migrate(t.Context(), db))
		return db
	}
	acked, failed := 0, 0
	insert := func(db *warehouse.DB, batch int) error {
		token := fmt.Sprint("batch ", batch)
		if err := warehousetest.InsertExposures(t.Context(), db, token, many("p", batch*size, (batch+1)*size, exposure)); err != nil {
			return err
		}
		return warehousetest.InsertEvents(t.Context(), db, token, many("p", batch*size, (batch+1)*size, event))
	}
	for round := range rounds {
		db := restart()
		underWay := make(chan struct{})
		var kill sync.WaitGroup
		kill.Go(func() {
			<-underWay
			syscall.Kill(engine.PID(), syscall.SIGKILL)
		})
		for i := 0; ; i++ {
			if i == 2+round {
				close(underWay)
			}
			if err := insert(db, acked); err != nil {
				failed++
				break
			}
			acked++
		}
		kill.Wait()
		<-engine.Done()
		db.Close()
		db = restart()
		got := number(t, db, "SELECT uniqExact(event_id) FROM events")
		if got < uint64(acked*size) {
			t.Fatalf("round %d: %d events after the kill; %d were acknowledged", round, got, acked*size)
		}
		must(t, insert(db, acked)) // the same rows under the same token
		acked++
		db.Close()
		engine.Stop(t.Context())
	}
	db := restart()
	defer func() { db.Close(); engine.Stop(context.Background()) }()
	for _, table := range []string{"exposures", "events"} {
		rows, ids := number(t, db, "SELECT count() FROM "+table), number(t, db, "SELECT uniqExact(event_id) FROM "+table)
		if rows != uint64(acked*size) || ids != rows {
			t.Errorf("%s: %d rows, %d ids; want %d of both", table, rows, ids, acked*size)
		}
	}
	if got := number(t, db, "SELECT uniqExact(unit_key) FROM first_exposures"); got != uint64(acked*size) {
		t.Errorf("%d units in first_exposures; want %d", got, acked*size)
	}
	t.Logf("%d batches acknowledged, %d interrupted", acked, failed)
}
