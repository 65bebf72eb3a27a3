package erasure

import (
	"slices"
	"testing"
	"time"

	"github.com/sluice-flags/sluice/pkg/flags"
)

func TestTheOldestWishIsDoneFirst(t *testing.T) {
	state, noon := flags.NewState("shop"), time.Date(2026, 11, 1, 12, 0, 0, 0, time.UTC)
	wishes := []struct {
		id, unit string // a hash says nothing of when
		after    time.Duration
	}{
		{"era_1", "ffffffffffffffff", 0},
		{"era_2", "0000000000000001", time.Hour},
		{"era_3", "8000000000000000", time.Minute},
		{"era_4", "4000000000000000", 2 * time.Minute},
	}
	for _, w := range wishes {
		doc := &flags.Erasure{ID: w.id, Name: w.unit, UnitType: "userID", Before: new(noon.Add(w.after))}
		state = state.Put(flags.Entity{Ref: doc.Ref(), Name: doc.Name, Doc: doc, Version: 1})
	}
	s := New(nil, nil, Options{})
	s.done = map[string]time.Time{"shop/4000000000000000": noon.Add(2 * time.Minute)}
	var got []string
	for _, doc := range s.waiting(state) {
		got = append(got, doc.ID)
	}
	if want := []string{"era_1", "era_3", "era_2"}; !slices.Equal(got, want) {
		t.Errorf("waiting() = %v; want %v", got, want)
	}
}
