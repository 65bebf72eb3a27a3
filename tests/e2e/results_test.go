package e2e

import (
	"context"
	"fmt"
	"net/http"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/sluice-flags/sluice/tests/harness"
)

// A scorecard is what results say about one group, from either source.
type scorecard struct {
	Units, Conversions uint64
	PValue             *float64 // nil for control
}

// checkResults compares the API's numbers, and those of the SQL view, with the
// ledger's.
func checkResults(t *testing.T, shop *harness.Project, want ledger) {
	t.Helper()
	// Reports rest on a rollup, which follows the facts by seconds.
	harness.Within(t, time.Minute, func() error {
		got := resultsByAPI(t, shop)
		for group, units := range want.units {
			if int(got[group].Units) != units {
				return fmt.Errorf("group %s: %d units; the ledger has %d", group, got[group].Units, units)
			}
		}
		return nil
	})
	fromAPI, fromSQL := resultsByAPI(t, shop), resultsBySQL(t, shop)
	if diff := cmp.Diff(fromAPI, fromSQL, cmp.Comparer(nearly)); diff != "" {
		t.Errorf("the SQL view differs from the API (-api +sql):\n%s", diff)
	}
	for group, units := range want.units {
		got := fromAPI[group]
		if int(got.Units) != units || int(got.Conversions) != want.converted[group] {
			t.Errorf("group %s: %d units, %d conversions; the ledger has %d and %d",
				group, got.Units, got.Conversions, units, want.converted[group])
		}
		if (got.PValue == nil) != (group == "control") {
			t.Errorf("group %s: p-value %v; every group but control has one", group, got.PValue)
		}
	}
}

func resultsByAPI(t *testing.T, shop *harness.Project) map[string]scorecard {
	t.Helper()
	var report struct {
		SRM struct {
			PValue *float64 `json:"pValue"`
		} `json:"srm"`
		Groups []struct {
			Name  string `json:"name"`
			Units uint64 `json:"units"`
		} `json:"groups"`
		Metrics []struct {
			Name   string `json:"name"`
			Groups []struct {
				Group       string `json:"group"`
				Conversions uint64 `json:"conversions"`
				Comparison  *struct {
					PValue *float64 `json:"pValue"`
				} `json:"comparison"`
			} `json:"groups"`
		} `json:"metrics"`
	}
	shop.Must(http.StatusOK, &report, shop.Console, "GET", shop.Path("experiments", experiment, "results?wait=30"), nil)
	if report.SRM.PValue == nil {
		t.Error("the results have no sample-ratio check")
	}
	if len(report.Metrics) != 1 || report.Metrics[0].Name != metric {
		t.Fatalf("metrics %+v; want %s alone", report.Metrics, metric)
	}
	out := map[string]scorecard{}
	for i, g := range report.Metrics[0].Groups {
		card := scorecard{Units: report.Groups[i].Units, Conversions: g.Conversions}
		if g.Comparison != nil {
			card.PValue = g.Comparison.PValue
		}
		out[g.Group] = card
	}
	return out
}

func resultsBySQL(t *testing.T, shop *harness.Project) map[string]scorecard {
	t.Helper()
	rows, err := warehouse(t, shop.Platform).Query(context.Background(),
		"SELECT group, units, conversions, p_value FROM experiment_results(project = '"+shop.ID+"', experiment = '"+experiment+"')")
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	out := map[string]scorecard{}
	for rows.Next() {
		var (
			group       string
			card        scorecard
			conversions *uint64
		)
		if err := rows.Scan(&group, &card.Units, &conversions, &card.PValue); err != nil {
			t.Fatal(err)
		}
		card.Conversions = *conversions
		out[group] = card
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
	return out
}

// nearly compares numbers that two engines computed from the same facts.
func nearly(a, b float64) bool {
	const tolerance = 1e-9
	return a == b || (a-b)*(a-b) <= tolerance*tolerance*max(a*a, b*b)
}
