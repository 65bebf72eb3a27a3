package results

import (
	"fmt"
	"strconv"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/sluice-flags/sluice/internal/warehouse"
	"github.com/sluice-flags/sluice/internal/warehouse/warehousetest"
)

// An exposure that comes while a breakdown is made, earlier than what was known of
// its unit, must be in all of its numbers or in none.
func TestNumbersOfABreakdownAreOfOneMoment(t *testing.T) {
	db, p := few(t)
	r, err := roll(t.Context(), db, p, ofPast)
	if err != nil {
		t.Fatal(err)
	}
	read := func(noted uint64) (said []string) {
		t.Helper()
		s := newStatement(p.project)
		s.parameters["revision"] = strconv.FormatUint(r.revision, 10)
		from, all, err := p.sliceByValue(t.Context(), db, s, noted, 2)
		if err == nil {
			err = p.fillSlices(t.Context(), db, s, &r, from, all)
		}
		if err != nil {
			t.Fatal(err)
		}
		for _, one := range all.slices {
			var units, analysed uint64
			for _, u := range one.units {
				units += u.units
			}
			for i := range one.moments {
				analysed += one.moments[i].analysed
			}
			said = append(said, fmt.Sprintf("%s%s: %d units, analysed %d", one.kind, one.value, units, analysed))
		}
		return said
	}
	const dimension = "sdk"
	before, err := p.note(t.Context(), db, &r, dimension)
	if err != nil {
		t.Fatalf("note() = %v", err)
	}
	var late []warehousetest.ExposureRow
	for i := range 30 {
		at := p.start.Add(1)
		late = append(late, warehousetest.ExposureRow{Project: p.project, Kind: warehouse.KindExperiment, Name: p.experiment, GroupIndex: uint8(i % 2),
			UnitType: "userID", UnitID: fmt.Sprint("u", i), Time: at, ReceivedAt: at, EventID: [16]byte{0, byte(i)}, SDKType: []string{"go", "js", "py"}[i%3]})
	}
	if err := warehousetest.InsertExposures(t.Context(), db, p.project+" late", late); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"other: 0 units, analysed 0", "missing: 40 units, analysed 80"}, read(before)); diff != "" {
		t.Errorf("slices of before (-want +got):\n%s", diff)
	}
	after, err := p.note(t.Context(), db, &r, dimension)
	if err != nil {
		t.Fatalf("note() = %v", err)
	}
	want := []string{"valuego: 10 units, analysed 20", "valuejs: 10 units, analysed 20", "other: 10 units, analysed 20", "missing: 10 units, analysed 20"}
	if diff := cmp.Diff(want, read(after)); diff != "" {
		t.Errorf("slices of after (-want +got):\n%s", diff)
	}
	for _, revision := range []uint64{before, after, r.revision} {
		if err := p.drop(t.Context(), db, revision); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := p.readSlices(t.Context(), db, &r, slicing{dimension: dimension, top: 1}); err != nil {
		t.Fatalf("readSlices() = %v", err)
	}
	if left := revisions(t, db, p); len(left) != 0 {
		t.Errorf("rows of %v stand beside rollups after all was read; want none", left)
	}
}
