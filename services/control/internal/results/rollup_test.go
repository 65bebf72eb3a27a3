package results

import (
	"context"
	"errors"
	"fmt"
	"math"
	"reflect"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/sluice-flags/sluice/internal/warehouse"
	"github.com/sluice-flags/sluice/internal/warehouse/warehousetest"
	"github.com/sluice-flags/sluice/pkg/flags"
)

// everyField compares fields that are not exported, too.
var everyField = cmp.Exporter(func(reflect.Type) bool { return true })

// few is an experiment with a few units, who buy.
func few(t *testing.T) (*warehouse.DB, *plan) {
	t.Helper()
	db := warehousetest.Open(t)
	start := time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC)
	project := warehousetest.Project()
	doc := &flags.Experiment{
		ID: "exp_1", Name: "exp", Status: flags.ExperimentRunning, StartedAt: &start, UnitType: "userID", Metrics: []string{"met_1", "met_2"},
		Groups: []flags.Group{{ID: "a", Name: "a", Share: 50, Control: true}, {ID: "b", Name: "b", Share: 50}},
	}
	state := flags.NewState(project)
	for i, d := range []flags.Document{
		&flags.Metric{ID: "met_1", Name: "purchases", Type: flags.MetricEventCount, Measure: flags.Measure{Event: "buy"}},
		&flags.Metric{ID: "met_2", Name: "revenue", Type: flags.MetricSum, Measure: flags.Measure{Event: "buy", ValueFrom: "value"}, Cap: &flags.Cap{Percentile: 0.9}},
		doc,
	} {
		at := flags.Position{LogID: project, Seq: uint64(i + 1), Time: start.UnixMilli() + int64(i)}
		state = state.With(at, flags.Entity{Ref: d.Ref(), Name: d.DocName(), Doc: d, Version: 1, Seq: at.Seq, Time: at.Time})
	}
	if err := New(func() *warehouse.DB { return db }).Mirror(t.Context(), state); err != nil {
		t.Fatal(err)
	}
	var exposures []warehousetest.ExposureRow
	var events []warehousetest.EventRow
	for i := range 40 {
		unit, at := fmt.Sprint("u", i), start.Add(time.Duration(i)*time.Hour)
		exposures = append(exposures, warehousetest.ExposureRow{Project: project, Kind: warehouse.KindExperiment, Name: "exp", GroupIndex: uint8(i % 2),
			UnitType: "userID", UnitID: unit, Time: at, ReceivedAt: at, EventID: [16]byte{1, byte(i)}})
		for j := range i % 4 {
			events = append(events, warehousetest.EventRow{Project: project, Event: "buy", UnitType: "userID", UnitID: unit,
				Time: at.Add(time.Duration(j) * time.Minute), ReceivedAt: at, EventID: [16]byte{2, byte(i), byte(j)}, Value: new(float64(i))})
		}
	}
	if err := errors.Join(warehousetest.InsertExposures(t.Context(), db, project, exposures), warehousetest.InsertEvents(t.Context(), db, project, events)); err != nil {
		t.Fatal(err)
	}
	entity, _ := state.Find(flags.KindExperiment, "exp")
	return db, newPlan(state, entity, doc, start.AddDate(0, 0, 7))
}

// merged merges the facts: repetitions that other tests left go away sooner or
// later, and then there are fewer facts than there were.
func merged(t *testing.T, db *warehouse.DB) {
	t.Helper()
	for _, table := range []string{"exposures", "events"} {
		if err := db.Conn().Exec(t.Context(), "OPTIMIZE TABLE "+table+" FINAL"); err != nil {
			t.Fatal(err)
		}
	}
}

func revisions(t *testing.T, db *warehouse.DB, p *plan) (all []uint64) {
	t.Helper()
	err := p.ask(t.Context(), db, 0, "SELECT DISTINCT revision FROM unit_values WHERE project = {project:String} ORDER BY revision",
		func(scan func(...any) error) error {
			var one uint64
			err := scan(&one)
			all = append(all, one)
			return err
		})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func TestBucketsMakeUpAllKeysOnce(t *testing.T) {
	for _, n := range []int{1, 2, 3, 7, 16, maxBuckets} {
		next := uint64(0)
		for i := range n {
			r := bucket(i, n)
			if r.first != next || r.last < r.first {
				t.Fatalf("bucket(%d, %d) = %+v; want it to begin with %d", i, n, r, next)
			}
			next = r.last + 1
		}
		if next != 0 {
			t.Errorf("the last of %d buckets ends before %d", n, uint64(math.MaxUint64))
		}
	}
}

func TestBucketsBoundWhatIsHeldWhateverTheMetrics(t *testing.T) {
	for _, tc := range []struct {
		units     uint64
		numbers   int
		userUnits bool
		want      int
	}{
		{units: 0, numbers: 14, userUnits: true, want: 1},
		{units: 50_000, numbers: 14, userUnits: true, want: 1},
		{units: 50_001, numbers: 14, userUnits: true, want: 2},
		{units: 1_000_000, numbers: 14, userUnits: true, want: 20},
		{units: 1_000_000, numbers: 140, userUnits: true, want: 200},
		{units: 1_000_000, numbers: 0, userUnits: true, want: 12},
		{units: 1_000_000, numbers: 14, want: 3},
		{units: 1 << 40, numbers: 14, userUnits: true, want: maxBuckets},
	} {
		if got := bucketsFor(tc.units, tc.numbers, tc.userUnits); got != tc.want {
			t.Errorf("bucketsFor(%d, %d, %t) = %d; want %d", tc.units, tc.numbers, tc.userUnits, got, tc.want)
		}
	}
}

func TestARollupIsReadAgainUntilSomethingHasChanged(t *testing.T) {
	db, p := few(t)
	merged(t, db)
	first, err := measure(t.Context(), db, nil, p)
	if err != nil {
		t.Fatalf("measure() = %v", err)
	}
	made := revisions(t, db, p)
	again, err := measure(t.Context(), db, nil, p)
	if err != nil || len(made) != 1 || !slices.Equal(revisions(t, db, p), made) {
		t.Fatalf("after a second look at the same facts: rollups %v, %v; want the one of %v", revisions(t, db, p), err, made)
	}
	if diff := cmp.Diff(first.moments, again.moments, everyField); diff != "" {
		t.Errorf("the second look differs (-first +second):\n%s", diff)
	}
	// A definition that changed is another question; the older one stays readable.
	old := *p
	old.metrics = slices.Clone(p.metrics)
	p.metrics[0].entity.Seq, p.definitions = 9, p.definitions+"@9"
	for range 2 {
		if _, err := measure(t.Context(), db, nil, p); err != nil {
			t.Fatalf("measure() = %v", err)
		}
	}
	if got := revisions(t, db, p); len(got) != 2 || got[0] != made[0] {
		t.Errorf("rollups after a definition changed = %v; want %v and another", got, made)
	}
	// Who asks for the past gets it, by the definitions of then, and changes nothing.
	past, err := measure(t.Context(), db, nil, &old)
	if err != nil || past.moments[0].version != first.moments[0].version || past.moments[0].version == 9 {
		t.Errorf("measure() of a past state = definition %d, %v; want %d", past.moments[0].version, err, first.moments[0].version)
	}
	if got := revisions(t, db, p); len(got) != 2 {
		t.Errorf("rollups after a look at the past = %v; want two still", got)
	}
	// Time goes by: windows close. What nobody reads any more is gone.
	p.end = p.end.Add(2 * goodFor)
	if _, err := measure(t.Context(), db, nil, p); err != nil {
		t.Fatalf("measure() = %v", err)
	}
	if got := revisions(t, db, p); len(got) != 2 || slices.Contains(got, made[0]) {
		t.Errorf("rollups in the end = %v; want the last two, without %d", got, made[0])
	}
}

func TestAnExpensiveRollupRests(t *testing.T) {
	p := &plan{definitions: "d", end: time.Unix(10_000, 0)}
	const then, now, later = "400+600/7", "400+605/9", "400+700/20"
	for name, tc := range map[string]struct {
		cost, age, still time.Duration
		made, now        string
		want             bool
	}{
		"the same facts":                  {cost: time.Millisecond, made: now, now: now, want: true},
		"new facts, cheap":                {cost: time.Millisecond, made: then, now: now},
		"the same facts, but long ago":    {cost: time.Millisecond, made: now, now: now, age: goodFor},
		"new facts, expensive":            {cost: time.Minute, made: then, now: now, age: 19 * time.Minute, want: true},
		"new facts, expensive, rested":    {cost: time.Minute, made: then, now: now, age: 20 * time.Minute},
		"new facts, expensive, no others": {cost: time.Minute, made: then, now: now, still: time.Minute},
		"many new facts, expensive":       {cost: time.Minute, made: then, now: later},
		"the same facts, expensive":       {cost: time.Minute, made: now, now: now, still: time.Hour, age: 19 * time.Minute, want: true},
		"made of facts that came later":   {cost: time.Minute, made: now, now: now, age: -time.Second},
	} {
		r := rollup{revision: 1, definitions: p.version(), watermark: tc.made, cost: tc.cost, asOf: p.end.Add(-tc.age)}
		if got := r.answers(p, mark{name: tc.now, still: tc.still}); got != tc.want {
			t.Errorf("%s: answers() = %t; want %t", name, got, tc.want)
		}
	}
}

func TestBucketsOfARollupAddUp(t *testing.T) {
	db, p := few(t)
	want, err := measure(t.Context(), db, nil, p)
	if err != nil {
		t.Fatal(err)
	}
	r, err := rollIn(t.Context(), db, p, "elsewhere", 5)
	if err != nil {
		t.Fatalf("rollIn() with five buckets = %v", err)
	}
	got, err := p.read(t.Context(), db, &r)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want.moments, got.moments, everyField, cmp.Comparer(func(a, b float64) bool {
		return math.Abs(a-b) <= 1e-12*max(math.Abs(a), math.Abs(b))
	})); diff != "" {
		t.Errorf("moments of five buckets (-one +five):\n%s", diff)
	}
}

// An erasure waits for what is announced.
func TestARollupIsAnnouncedUntilItCounts(t *testing.T) {
	db, p := few(t)
	announced := func() (all []uint64) {
		t.Helper()
		for _, revision := range revisions(t, db, p) {
			if revision%2 == 1 {
				all = append(all, revision)
			}
		}
		return all
	}
	r, err := rollIn(onPart(t.Context(), func(int, int) {
		if got := announced(); len(got) != 1 {
			t.Errorf("announced while a rollup is made = %v; want one", got)
		}
	}), db, p, "now", 2)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]uint64{r.enrolled}, announced()); diff != "" {
		t.Errorf("announced before the rollup counts (-want +got):\n%s", diff)
	}
	if err := p.drop(t.Context(), db, r.enrolled); err != nil {
		t.Fatal(err)
	}
	if _, err := measure(t.Context(), db, nil, p); err != nil {
		t.Fatal(err)
	}
	if got := announced(); len(got) > 0 {
		t.Errorf("announced when a rollup counts = %v; want none", got)
	}
}

// The process lives when the engine has ended and begun again: nobody waits for
// what it worked with then.
func TestWhatIsAnnouncedIsDroppedWhenTheWarehouseIsBack(t *testing.T) {
	db, p := few(t)
	ending, err := warehouse.Open(t.Context(), db.Config())
	if err != nil {
		t.Fatal(err)
	}
	var now *warehouse.DB
	s := New(func() *warehouse.DB { return now })
	p.left = &s.left
	if _, err := rollIn(onPart(t.Context(), func(done, _ int) {
		if done == 1 {
			_ = ending.Close()
		}
	}), ending, p, "now", 2); err == nil {
		t.Fatal("rollIn() = nil though the warehouse went away; want an error")
	}
	if got := revisions(t, db, p); len(got) == 0 {
		t.Fatal("nothing is left of a rollup though the warehouse was away; the test shows nothing")
	}
	if err := s.DropLeftovers(t.Context()); !errors.Is(err, ErrUnavailable) {
		t.Errorf("DropLeftovers() without a warehouse = %v; want %v", err, ErrUnavailable)
	}
	now = db
	for range 2 {
		if err := s.DropLeftovers(t.Context()); err != nil {
			t.Errorf("DropLeftovers() = %v", err)
		}
	}
	if got := revisions(t, db, p); len(got) > 0 {
		t.Errorf("what is left when the warehouse is back = %v; want nothing", got)
	}
}

func TestACancelledRollupLeavesNothing(t *testing.T) {
	db, p := few(t)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	_, err := rollIn(onPart(ctx, func(done, of int) {
		if done == 2 && of == 5 {
			cancel()
		}
	}), db, p, "now", 5)
	if !errors.Is(err, context.Canceled) {
		t.Errorf("rollIn() of a done context = %v; want context.Canceled", err)
	}
	if got := revisions(t, db, p); len(got) > 0 {
		t.Errorf("rollups after that = %v; want none", got)
	}
}
