package results

import (
	"testing"

	"github.com/sluice-flags/sluice/pkg/stats"
)

func TestAMismatchThatLaterUnitsHideIsRemembered(t *testing.T) {
	shares := []float64{50, 50}
	r := runningSplit(map[string][]uint64{"2026-03-02": {100, 300}, "2026-03-01": {300, 100}, "2026-03-03": {500, 500}}, shares)
	first, last := stats.SRM([]uint64{300, 100}, shares), stats.SRM([]uint64{900, 900}, shares)
	if r.Looks != 3 || r.PValue != first.AnytimePValue || !(r.PValue.Or(1) < 1e-9) || last.AnytimePValue.Or(0) != 1 {
		t.Errorf("runningSplit() = %+v; want the p-value %v of the first day, after three looks, the last of which says %v", r, first.AnytimePValue, last.AnytimePValue)
	}
	if r := runningSplit(nil, shares); r.Looks != 0 || r.PValue != (stats.Optional{}) {
		t.Errorf("runningSplit() of no units = %+v; want none", r)
	}
}
