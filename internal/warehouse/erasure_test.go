package warehouse_test

import (
	"testing"
	"time"

	"github.com/sluice-flags/sluice/internal/warehouse"
	"github.com/sluice-flags/sluice/internal/warehouse/warehousetest"
)

// An erasure whose moment came back earlier than it went would never be done.
func TestAnErasureIsOnRecordToTheMillisecond(t *testing.T) {
	db, project := warehousetest.Open(t), warehousetest.Project()
	want := warehouse.Erasure{Project: project, UnitType: "userID", UnitKey: 7, Before: time.UnixMilli(1_795_353_624_987).UTC()}
	for _, want.Done = range []bool{false, true} {
		must(t, db.WriteErasure(t.Context(), want))
		all, err := db.ReadErasures(t.Context())
		must(t, err)
		found := false
		for _, got := range all {
			if got.Project != project {
				continue
			}
			found = true
			if got.UnitKey != want.UnitKey || got.Done != want.Done || !got.Before.Equal(want.Before) {
				t.Errorf("ReadErasures() = %+v, want %+v", got, want)
			}
		}
		if !found {
			t.Errorf("ReadErasures() = %+v, want %+v among them", all, want)
		}
	}
}
