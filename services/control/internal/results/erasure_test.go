package results_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/sluice-flags/sluice/internal/warehouse"
)

// A rollup that rests is not asked whether a single fact has gone, so an erasure
// has to say it.
func TestAnErasedUnitIsInNoReportMore(t *testing.T) {
	w := newWorld(t, nil)
	for i, unit := range []string{"u1", "u2", "u3", "u4"} {
		w.expose(unit, uint8(i%2), i)
		w.buy(unit, 10+i, 10)
	}
	w.load()
	if r := w.report(); r.Groups[0].Units != 2 || r.Groups[1].Units != 2 {
		t.Fatalf("groups before the erasure = %+v; want two units in each of the first two", r.Groups)
	}
	// It took an hour to make, and facts keep coming: it would rest for a day.
	if err := w.db.Conn().Exec(t.Context(), "ALTER TABLE rollups UPDATE cost_ms = 3600000 WHERE project = ? SETTINGS mutations_sync = 2", w.project); err != nil {
		t.Fatal(err)
	}
	// Another one is being made meanwhile, and asks for its units still. Nobody works
	// any more with one that is older than any can be.
	begun := uint64(time.Now().UnixMilli())<<20 | 1
	left := uint64(time.Now().Add(-warehouse.RollupsLast-time.Minute).UnixMilli())<<20 | 1
	if err := errors.Join(w.db.AnnounceRollup(t.Context(), w.project, begun), w.db.AnnounceRollup(t.Context(), w.project, left)); err != nil {
		t.Fatal(err)
	}
	atRollups, erased := make(chan string, 1), make(chan error, 1)
	go func() {
		e := warehouse.Erasure{Project: w.project, UnitType: "userID", UnitKey: warehouse.UnitKey("userID", "u1"), Before: time.Now()}
		erased <- w.db.Erase(t.Context(), e, func(done, total int, waits string) {
			if waits != "" && done == total-1 { // only what is made of the facts is left
				atRollups <- waits
			}
		})
	}()
	if waits := <-atRollups; !strings.Contains(waits, time.UnixMilli(int64(begun>>20)).UTC().Format(time.RFC3339)) {
		t.Errorf("Erase() waits for %q; want it to say since when that is being made", waits)
	}
	select {
	case err := <-erased:
		t.Errorf("Erase() = %v while a rollup with the unit was being made; want it to wait", err)
	case <-time.After(500 * time.Millisecond):
		if err := w.db.DropRollup(t.Context(), begun); err != nil {
			t.Fatal(err)
		}
		if err := <-erased; err != nil {
			t.Fatalf("Erase() = %v", err)
		}
	}
	var counting uint64
	if err := w.db.Conn().QueryRow(t.Context(), "SELECT count() FROM rollups WHERE project = ?", w.project).Scan(&counting); err != nil || counting != 0 {
		t.Errorf("%d rollups count after the erasure, %v; want none", counting, err)
	}
	r := w.report()
	if r.Groups[0].Exposed != 1 || r.Groups[1].Exposed != 2 {
		t.Errorf("groups after the erasure = %+v; want one unit less in the first", r.Groups)
	}
	if got := metric(t, r, "revenue"); got[0].N != 1 || got[0].Mean.Or(0) != 10 {
		t.Errorf("revenue of control after the erasure = %+v; want that of one unit", got[0])
	}
	var beside uint64
	if err := w.db.Conn().QueryRow(t.Context(), "SELECT count() FROM unit_values WHERE project = ? AND revision % 2 = 1", w.project).Scan(&beside); err != nil || beside != 0 {
		t.Errorf("%d rows stand beside rollups after a report, %v; want none", beside, err)
	}
}
