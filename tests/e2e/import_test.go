package e2e

import (
	"bytes"
	"encoding/csv"
	"encoding/json"
	"fmt"
	"math"
	"math/rand/v2"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/sluice-flags/sluice/tests/harness"
)

// A recorded unit is one line of the file that is imported.
type recorded struct {
	group         string
	bought        float64
	spent, before float64
}

// TestAnImportedDataSetGivesTheNumbersOfItsFile loads a file whose numbers are
// known, twice, and compares what the platform says with arithmetic on the file
// that shares no code with it.
func TestAnImportedDataSetGivesTheNumbersOfItsFile(t *testing.T) {
	t.Parallel()
	shop := harness.Start(t, harness.Options{}).NewProject("shop")
	rng := rand.New(rand.NewPCG(5, 6))
	file := filepath.Join(t.TempDir(), "trial.csv")
	var text bytes.Buffer
	out := csv.NewWriter(&text)
	_ = out.Write([]string{"customer", "arm", "when", "bought", "spent", "spent_before"}) // to memory
	units := map[string][]recorded{}
	begin := time.Date(2019, 4, 1, 8, 0, 0, 0, time.UTC) // too long ago to be taken as it is
	for i := range 3000 {
		r := recorded{group: []string{"control", "new"}[rng.IntN(2)], before: math.Round(100 * rng.Float64())}
		if rng.Float64() < 0.3 {
			r.bought = 1
			r.spent = math.Round(100*(r.before/2+20*rng.Float64())) / 100
			if r.group == "new" {
				r.spent += 4
			}
		}
		units[r.group] = append(units[r.group], r)
		when := begin.Add(time.Duration(i) * time.Minute).Format("2006-01-02 15:04:05")
		_ = out.Write([]string{fmt.Sprint("c", i), r.group, when, fmt.Sprint(r.bought == 1), fmt.Sprint(r.spent), fmt.Sprint(r.before)})
	}
	out.Flush()
	if err := os.WriteFile(file, text.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}

	sluice := func(args ...string) (string, error) {
		cmd := exec.CommandContext(t.Context(), harness.Binary(t), args...)
		cmd.Env = append(os.Environ(), "SLUICE_URL="+shop.HTTP, "SLUICE_KEY="+shop.Console)
		said, err := cmd.CombinedOutput()
		return string(said), err
	}
	load := []string{"import-facts", file, "--experiment", "trial", "--unit-column", "customer", "--group-column", "arm", "--time-column", "when",
		"--metric", "buyers=bought:event_user", "--metric", "spent=spent", "--before", "spent=spent_before", "--create", "--share", "control=50", "--share", "new=50"}
	if said, err := sluice(load...); err == nil || !strings.Contains(said, "--shift") {
		t.Fatalf("importing what is too old = %v:\n%s\nwant it to say --shift", err, said)
	}
	load = append(load, "--shift")
	for range 2 { // the second adds nothing
		if said, err := sluice(load...); err != nil || !strings.Contains(said, "are stored") {
			t.Fatalf("importing = %v:\n%s", err, said)
		}
	}

	var report struct {
		Groups []struct {
			Name  string `json:"name"`
			Units int    `json:"units"`
		} `json:"groups"`
		Metrics []struct {
			Name   string        `json:"name"`
			Groups []importedArm `json:"groups"`
		} `json:"metrics"`
	}
	total := func() (n int) {
		for _, g := range report.Groups {
			n += g.Units
		}
		return n
	}
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(50 * time.Millisecond) { // facts are loaded within seconds
		shop.Must(http.StatusOK, &report, shop.Console, "GET", shop.Path("experiments", "trial", "results?wait=30"), nil)
		complete := total() == 3000
		for _, m := range report.Metrics {
			for _, g := range m.Groups {
				complete = complete && g.complete(units, m.Name)
			}
		}
		if complete && len(report.Metrics) == 2 {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("after a minute: %d units of 3000 in %+v", total(), report)
		}
	}

	for _, m := range report.Metrics {
		value := func(r recorded) float64 { return r.spent }
		if m.Name == "buyers" {
			value = func(r recorded) float64 { return r.bought }
		}
		want := welch(units["control"], units["new"], value)
		got := m.Groups[1].Unadjusted
		for _, n := range []struct {
			name      string
			got, want float64
		}{{"difference", got.Delta, want.difference}, {"standard error", got.StandardError, want.standardError}, {"t", got.T, want.t}, {"degrees of freedom", got.DF, want.df}} {
			if !nearly(n.got, n.want) {
				t.Errorf("%s: %s %v; the file has %v", m.Name, n.name, n.got, n.want)
			}
		}
	}
	if said, err := sluice("results", "trial"); err != nil || !strings.Contains(said, "spent") || !strings.Contains(said, "sample ratio: ok") {
		t.Errorf("sluice results = %v:\n%s", err, said)
	}
	if said, err := sluice("results", "trial", "--csv"); err != nil || strings.Count(said, "\n") != 5 || strings.Contains(said, "NaN") {
		t.Errorf("sluice results --csv = %v:\n%s\nwant a line for each metric and group", err, said)
	}
	if said, err := sluice("results", "trial", "--json"); err != nil || !json.Valid([]byte(said)) {
		t.Errorf("sluice results --json = %v:\n%s", err, said)
	}
	for _, what := range []string{"health", "timeseries", "power"} {
		shop.Must(http.StatusOK, nil, shop.Console, "GET", shop.Path("experiments", "trial", what+"?wait=30"), nil)
	}
}

type importedArm struct {
	Group      string  `json:"group"`
	Mean       float64 `json:"mean"`
	Unadjusted struct {
		Delta         float64 `json:"delta"`
		StandardError float64 `json:"standardError"`
		T             float64 `json:"t"`
		DF            float64 `json:"degreesOfFreedom"`
	} `json:"unadjusted"`
}

// complete reports whether all that the group did has been loaded.
func (a importedArm) complete(units map[string][]recorded, metric string) bool {
	sum := 0.0
	for _, r := range units[a.Group] {
		if metric == "buyers" {
			sum += r.bought
		} else {
			sum += r.spent
		}
	}
	return math.Abs(a.Mean*float64(len(units[a.Group]))-sum) < 1e-6*sum
}

type welchTest struct{ difference, standardError, t, df float64 }

// welch is the textbook, in two passes over the values.
func welch(control, treatment []recorded, value func(recorded) float64) (w welchTest) {
	describe := func(rs []recorded) (n, mean, variance float64) {
		n = float64(len(rs))
		for _, r := range rs {
			mean += value(r) / n
		}
		for _, r := range rs {
			variance += (value(r) - mean) * (value(r) - mean) / (n - 1)
		}
		return n, mean, variance
	}
	nc, mc, vc := describe(control)
	nt, mt, vt := describe(treatment)
	a, b := vc/nc, vt/nt
	w.difference, w.standardError = mt-mc, math.Sqrt(a+b)
	w.t = w.difference / w.standardError
	w.df = (a + b) * (a + b) / (a*a/(nc-1) + b*b/(nt-1))
	return w
}
