package loader

import (
	"fmt"
	"log/slog"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/sluice-flags/sluice/internal/warehouse/warehousetest"
)

func TestFactsThatAreStoredTwiceAreToldByTable(t *testing.T) {
	db := open(t, config(t))
	look := func() (exposures, events float64) {
		t.Helper()
		d := NewDoubles(always(db), slog.New(slog.DiscardHandler), prometheus.NewRegistry())
		if err := d.look(t.Context(), db); err != nil {
			t.Fatal(err)
		}
		return testutil.ToFloat64(d.rows.WithLabelValues("exposures")), testutil.ToFloat64(d.rows.WithLabelValues("events"))
	}
	exposures, events := look() // of other tests
	now := time.Now()
	// An insert each, as of facts that came to two processes.
	for i, row := range []warehousetest.EventRow{
		{Project: "twice", Event: "e", UnitType: "userID", UnitID: "u", EventID: [16]byte{1, 2}, Time: now, ReceivedAt: now},
		{Project: "twice", Event: "e", UnitType: "userID", UnitID: "u", EventID: [16]byte{1, 3}, Time: now, ReceivedAt: now},
		{Project: "twice", Event: "e", UnitType: "userID", UnitID: "u", EventID: [16]byte{1, 2}, Time: now.Add(time.Second), ReceivedAt: now}, // which no merge removes
		{Project: "twice", Event: "e", UnitType: "userID", UnitID: "u", EventID: [16]byte{1, 4}, Time: now, ReceivedAt: now.Add(-time.Hour)},
		{Project: "twice", Event: "e", UnitType: "userID", UnitID: "u", EventID: [16]byte{1, 4}, Time: now.Add(time.Second), ReceivedAt: now.Add(-time.Hour)}, // long ago
	} {
		if err := warehousetest.InsertEvents(t.Context(), db, fmt.Sprint("twice", i), []warehousetest.EventRow{row}); err != nil {
			t.Fatal(err)
		}
	}
	if x, e := look(); x != exposures || e != events+1 {
		t.Errorf("event_dup_rows are %v and %v of exposures and events; want %v and %v", x, e, exposures, events+1)
	}
}
