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

// A dataSet is a file of a shape that is met outside, and how it is imported.
type dataSet struct {
	experiment           string
	lines                func(*rand.Rand) [][]string // the first are the names
	separator            rune
	unit, group, control string
	columns              []string // of values; those that are shares end in :share
	flags                []string // of the import beside those that follow
	drop                 []string
}

var dataSets = []dataSet{
	{
		// As of a mobile game: ids that are numbers, words for truths, a very long tail,
		// no times.
		experiment: "gates", unit: "userid", group: "version", control: "gate_30",
		columns: []string{"sum_gamerounds", "retention_1:share", "retention_7:share"},
		lines: func(rng *rand.Rand) [][]string {
			lines := [][]string{{"userid", "version", "sum_gamerounds", "retention_1", "retention_7"}}
			word := func(yes bool) string { return map[bool]string{true: "True", false: "False"}[yes] }
			for i := range 6000 {
				rounds := math.Floor(math.Exp(rng.NormFloat64()*1.6 + 2.4))
				if i == 4000 {
					rounds = 49854
				}
				lines = append(lines, []string{fmt.Sprint(100 + 37*i), []string{"gate_30", "gate_40"}[rng.IntN(2)], fmt.Sprint(rounds), word(rng.Float64() < 0.44), word(rng.Float64() < 0.19)})
			}
			return lines
		},
	},
	{
		// As of a landing page: times with microseconds and no zone, long ago; lines
		// that contradict themselves; units that came twice, some in either group.
		experiment: "landing", unit: "user_id", group: "group", control: "control",
		columns: []string{"converted:share"},
		flags:   []string{"--time-column", "timestamp", "--shift"},
		drop:    []string{"group=control,landing_page=new_page", "group=treatment,landing_page=old_page"},
		lines: func(rng *rand.Rand) [][]string {
			lines := [][]string{{"user_id", "timestamp", "group", "landing_page", "converted"}}
			begin := time.Date(2017, 1, 2, 13, 42, 5, 378_582_000, time.UTC)
			for i := range 8000 {
				unit, arm := 630000+i*7919%8000, rng.IntN(2)
				page := arm
				switch {
				case i%75 == 1:
					page = 1 - arm
				case i%90 == 2: // somebody again, at another time
					unit = 630000 + (i-1)*7919%8000
					if i%180 == 2 {
						arm = map[string]int{"control": 0, "treatment": 1}[lines[i][2]]
						page = arm
					}
				}
				at := begin.Add(time.Duration(rng.Int64N(int64(22 * 24 * time.Hour)))).Truncate(time.Microsecond)
				lines = append(lines, []string{fmt.Sprint(unit), at.Format("2006-01-02 15:04:05.000000"), []string{"control", "treatment"}[arm],
					[]string{"old_page", "new_page"}[page], map[bool]string{true: "1", false: "0"}[rng.Float64() < 0.12+0.02*float64(arm)]})
			}
			return lines
		},
	},
	{
		// As of a spreadsheet: semicolons, missing values, negative ones, seconds since
		// 1970, three groups.
		experiment: "refunds", unit: "id", group: "arm", control: "a", separator: ';',
		columns: []string{"balance"},
		flags:   []string{"--time-column", "at", "--shift"},
		lines: func(rng *rand.Rand) [][]string {
			lines := [][]string{{"id", "at", "arm", "balance"}}
			for i := range 3000 {
				arm := rng.IntN(3)
				balance := fmt.Sprintf("%.2f", 40*rng.NormFloat64()-25+3*float64(arm))
				if i%11 == 0 {
					balance = []string{"", "NA"}[i%2]
				}
				lines = append(lines, []string{fmt.Sprint("shop-", i), fmt.Sprint(1_500_000_000 + 60*i), []string{"a", "b", "c"}[arm], balance})
			}
			return lines
		},
	},
}

// TestImportedDataSetsSayWhatSciPySays imports files as they are met outside, and
// compares the platform's numbers with SciPy's on the same files.
func TestImportedDataSetsSayWhatSciPySays(t *testing.T) {
	t.Parallel()
	root, python := harness.NeedPython(t)
	lab := harness.Start(t, harness.Options{}).NewProject("lab")
	for _, d := range dataSets {
		t.Run(d.experiment, func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "data.csv")
			if d.separator != 0 {
				file = strings.TrimSuffix(file, ".csv") + ".semicolon.csv"
			}
			lines := d.lines(rand.New(rand.NewPCG(11, uint64(len(d.experiment)))))
			var text bytes.Buffer
			out := csv.NewWriter(&text)
			if d.separator != 0 {
				out.Comma = d.separator
			}
			if err := out.WriteAll(lines); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(file, text.Bytes(), 0o600); err != nil {
				t.Fatal(err)
			}

			args := append([]string{"import-facts", file, "--experiment", d.experiment, "--create", "--unit-column", d.unit, "--group-column", d.group, "--control", d.control}, d.flags...)
			script := append([]string{filepath.Join(root, "tests", "e2e", "python", "welch.py"), file, d.unit, d.group, d.control}, d.columns...)
			for _, column := range d.columns {
				name, share := strings.CutSuffix(column, ":share")
				metric := d.experiment + " " + name + "=" + name
				if share {
					metric += ":event_user"
				}
				args = append(args, "--metric", metric)
			}
			for _, drop := range d.drop {
				args, script = append(args, "--drop", drop), append(script, "--drop", drop)
			}
			cmd := exec.CommandContext(t.Context(), harness.Binary(t), args...)
			cmd.Env = append(os.Environ(), "SLUICE_URL="+lab.HTTP, "SLUICE_KEY="+lab.Console)
			if said, err := cmd.CombinedOutput(); err != nil {
				t.Fatalf("sluice %v: %v\n%s", args, err, said)
			}
			raw, err := exec.CommandContext(t.Context(), python, script...).Output()
			if err != nil {
				t.Fatalf("%v: %v", script, err)
			}
			var want map[string]map[string]map[string]float64 // column → group → number
			if err := json.Unmarshal(raw, &want); err != nil {
				t.Fatalf("%v in %s", err, raw)
			}
			harness.Within(t, time.Minute, func() error { return sameAsSciPy(lab, d, want) })
		})
	}
}

// sameAsSciPy returns how a report differs from what SciPy says. Facts are loaded
// within seconds, so it is asked until it does not.
func sameAsSciPy(lab *harness.Project, d dataSet, want map[string]map[string]map[string]float64) error {
	type interval struct{ Lower, Upper float64 }
	var report struct {
		Metrics []struct {
			Name   string
			Groups []struct {
				Group          string
				N              float64
				Mean, Variance float64
				Wilson         interval
				Pooled         struct{ Z, PValue float64 }
				Unadjusted     *struct {
					Delta, T, PValue, DegreesOfFreedom float64
					Interval                           interval
					Lift                               struct{ Value float64 }
				}
			}
		}
	}
	lab.Must(http.StatusOK, &report, lab.Console, "GET", lab.Path("experiments", d.experiment, "results?wait=30"), nil)
	compared := 0
	for _, m := range report.Metrics {
		for _, g := range m.Groups {
			of := want[strings.TrimPrefix(m.Name, d.experiment+" ")][g.Group]
			if g.Unadjusted == nil {
				continue
			}
			u := g.Unadjusted
			got := map[string]float64{
				"n": g.N, "mean": g.Mean, "variance": g.Variance, "difference": u.Delta, "lift": u.Lift.Value, "t": u.T, "df": u.DegreesOfFreedom, "p": u.PValue,
				"low": u.Interval.Lower, "high": u.Interval.Upper, "z2": g.Pooled.Z * g.Pooled.Z, "zp": g.Pooled.PValue, "wilsonLow": g.Wilson.Lower, "wilsonHigh": g.Wilson.Upper,
			}
			for name, v := range of {
				compared++
				if math.Abs(got[name]-v) > 1e-8*math.Abs(v) {
					return fmt.Errorf("%s of group %s: %s is %v; SciPy says %v", m.Name, g.Group, name, got[name], v)
				}
			}
		}
	}
	wanted := 0
	for _, groups := range want {
		for _, numbers := range groups {
			wanted += len(numbers)
		}
	}
	if compared != wanted || wanted == 0 {
		return fmt.Errorf("%d numbers were compared of %d that SciPy has", compared, wanted)
	}
	return nil
}
