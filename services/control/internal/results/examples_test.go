package results_test

import (
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/ClickHouse/clickhouse-go/v2"
	"github.com/google/go-cmp/cmp"

	"github.com/sluice-flags/sluice/internal/warehouse"
	"github.com/sluice-flags/sluice/internal/warehouse/warehousetest"
	"github.com/sluice-flags/sluice/pkg/flags"
	"github.com/sluice-flags/sluice/pkg/stats"
	"github.com/sluice-flags/sluice/services/control/internal/results"
)

// An analyst asks as people do: as the read-only user, over either protocol.
type analyst struct {
	t          *testing.T
	db         *warehouse.DB
	parameters clickhouse.Parameters
}

func newAnalyst(t *testing.T, parameters clickhouse.Parameters) *analyst {
	t.Helper()
	db, err := warehouse.Open(t.Context(), warehousetest.Engine(t).Analyst())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	return &analyst{t, db, parameters}
}

// native returns the rows of a statement, each as one text.
func (a *analyst) native(text string) (lines []string) {
	a.t.Helper()
	ctx := clickhouse.Context(a.t.Context(), clickhouse.WithParameters(a.parameters))
	rows, err := a.db.Conn().Query(ctx, "SELECT toString(tuple(*)) FROM (\n"+text+"\n)")
	if err != nil {
		a.t.Fatalf("native: %v", err)
	}
	defer rows.Close()
	for rows.Next() {
		var line string
		if err := rows.Scan(&line); err != nil {
			a.t.Fatal(err)
		}
		lines = append(lines, line)
	}
	if err := rows.Err(); err != nil {
		a.t.Fatalf("native: %v", err)
	}
	return lines
}

// http returns the same, asked in the other way.
func (a *analyst) http(text string) []string {
	a.t.Helper()
	engine := warehousetest.Engine(a.t)
	query := url.Values{"database": {"sluice"}, "default_format": {"TSVRaw"}}
	for name, value := range a.parameters {
		query.Set("param_"+name, value)
	}
	request, err := http.NewRequestWithContext(a.t.Context(), "POST", "http://"+engine.HTTPAddr()+"/?"+query.Encode(), strings.NewReader(text))
	if err != nil {
		a.t.Fatal(err)
	}
	request.SetBasicAuth(engine.Analyst().User, engine.Analyst().Password)
	request.Close = true // an open connection would hold the engine up when it stops
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		a.t.Fatal(err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil || response.StatusCode != http.StatusOK {
		a.t.Fatalf("HTTP: %s, %v: %s", response.Status, err, body)
	}
	return strings.Split(strings.TrimSuffix(string(body), "\n"), "\n")
}

// exampleWorld is an experiment and a gate with enough facts for every question.
func exampleWorld(t *testing.T) (*gated, results.Report, results.GateReport) {
	t.Helper()
	g := newGated(t)
	g.change(0, func(*flags.Gate) {})
	for i := range 24 {
		minute := 10 + 800*(i%3) // on two days
		unit := fmt.Sprintf("u%d", i)
		g.expose(unit, uint8(i%2), minute)
		g.check(unit, "some:25.00:1", fmt.Sprint(i%4 == 0), minute)
		if i%3 > 0 {
			g.buy(unit, minute+5, float64(10+i))
		}
	}
	g.expose("hand", 1, 10, byOverride)
	g.expose("both", 1, 10)
	g.expose("both", 0, 20)
	g.load()
	g.load() // stored twice, and read once
	return g, g.world.report(), g.report(results.GateOptions{})
}

// TestExamplesRunOverBothProtocols runs every question in examples/sql as
// analysts do: over the native protocol, and over HTTP, with the same answers.
func TestExamplesRunOverBothProtocols(t *testing.T) {
	g, _, _ := exampleWorld(t)
	folder := filepath.Join("..", "..", "..", "..", "examples", "sql")
	files, err := filepath.Glob(filepath.Join(folder, "*.sql"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no examples in %s: %v", folder, err)
	}
	readme, err := os.ReadFile(filepath.Join(folder, "README.md"))
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"experiment_results", "gate_results", "experiment_daily", "first_exposures", "exposure_health", "events", "exposures"} {
		if !slices.Contains(files, filepath.Join(folder, name+".sql")) {
			t.Errorf("%s has no example", name)
		}
		var comment string
		if err := g.db.Conn().QueryRow(t.Context(), "SELECT comment FROM system.tables WHERE database = currentDatabase() AND name = ?", name).Scan(&comment); err != nil || comment == "" {
			t.Errorf("%s has the comment %q, %v; want one", name, comment, err)
		}
	}
	var all strings.Builder
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		all.Write(text)
	}
	views, err := g.db.Conn().Query(t.Context(), "SELECT name, comment FROM system.tables WHERE database = currentDatabase() AND engine = 'View'")
	if err != nil {
		t.Fatal(err)
	}
	defer views.Close()
	for views.Next() {
		var name, comment string
		if err := views.Scan(&name, &comment); err != nil {
			t.Fatal(err)
		}
		if comment == "" || !strings.Contains(all.String(), name) {
			t.Errorf("view %s has the comment %q, and in an example it is: %t; want both", name, comment, strings.Contains(all.String(), name))
		}
	}
	parameters := clickhouse.Parameters{"project": g.project, "experiment": experiment, "gate": gate, "rule": "some", "step": "1", "dimension": "day"}
	for _, file := range files {
		name := filepath.Base(file)
		t.Run(name, func(t *testing.T) {
			if !strings.Contains(string(readme), "`"+name+"`") {
				t.Errorf("the README does not name %s", name)
			}
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			a := newAnalyst(t, parameters)
			native := a.native(string(text))
			if len(native) == 0 {
				t.Error("native: no rows")
			}
			if diff := cmp.Diff(native, a.http("SELECT toString(tuple(*)) FROM (\n"+string(text)+"\n)")); diff != "" {
				t.Errorf("answers differ (-native +HTTP):\n%s", diff)
			}
		})
	}
}

// TestExamplesSayWhatTheAPISays holds the numbers of the views that the API has
// too to those of the API, over both protocols.
func TestExamplesSayWhatTheAPISays(t *testing.T) {
	g, report, gates := exampleWorld(t)
	series, err := g.service.Timeseries(t.Context(), g.state, experiment, results.Options{})
	if err != nil {
		t.Fatal(err)
	}
	a := newAnalyst(t, clickhouse.Parameters{"project": g.project, "experiment": experiment, "gate": gate, "rule": "some", "step": "1", "dimension": "day"})

	digits := func(o stats.Optional) string {
		if v, ok := o.Get(); ok {
			return fmt.Sprintf("%.4f", v)
		}
		return "-"
	}
	scorecard := func(r results.Report) (lines []string) {
		for _, m := range r.Metrics {
			for i, group := range m.Groups {
				lift := stats.Lift{}
				if group.Line != nil {
					lift = group.Unadjusted.Lift
				}
				lines = append(lines, fmt.Sprintf("%s %s %d %d %s %s %s %s", m.Name, group.Group, r.Groups[i].Units, group.N,
					digits(group.Mean), digits(lift.Value), digits(lift.Interval.Lower), digits(lift.Interval.Upper)))
			}
		}
		slices.Sort(lines)
		return lines
	}
	const shown = `SELECT format('{} {} {} {} {} {} {} {}', metric, group, toString(units), toString(n),
		ifNull(toDecimalString(mean, 4), '-'), ifNull(toDecimalString(lift, 4), '-'), ifNull(toDecimalString(lift_low, 4), '-'), ifNull(toDecimalString(lift_high, 4), '-')) AS line
	FROM %s ORDER BY line`
	byDay, err := g.service.Experiment(t.Context(), g.state, experiment, results.Options{By: "day"})
	if err != nil {
		t.Fatal(err)
	}
	var breakdown []string
	for _, s := range byDay.Breakdown.Slices {
		for _, m := range s.Metrics {
			for i, group := range m.Groups {
				if group.N > 0 {
					breakdown = append(breakdown, fmt.Sprintf("%s %s %d %d %s", m.Name, s.Value, i, group.N, digits(group.Mean)))
				}
			}
		}
	}
	slices.Sort(breakdown)
	breakdownSQL, err := os.ReadFile(filepath.Join("..", "..", "..", "..", "examples", "sql", "experiment_breakdown.sql"))
	if err != nil {
		t.Fatal(err)
	}
	var daily, health []string
	for _, d := range series.Units[:2] {
		for i, name := range series.Groups {
			daily = append(daily, fmt.Sprintf("%s %s %d %d", d.Day, name, d.New[i], d.Total[i]))
		}
	}
	chi := 0.0
	for _, group := range report.Groups {
		health = append(health, fmt.Sprintf("%s %d %d %d %d", group.Name, group.Exposed, group.Units, group.Excluded["override"], group.Excluded["crossover"]))
		chi = report.SRM.ChiSquared.Or(-1)
	}
	for _, test := range []struct {
		name, text string
		want       []string
	}{
		{"experiment_results", fmt.Sprintf(shown, "experiment_results(project = {project:String}, experiment = {experiment:String})"), scorecard(report)},
		{"gate_results", fmt.Sprintf(shown, "gate_results(project = {project:String}, gate = {gate:String}, rule = {rule:String}, step = {step:UInt32})"), scorecard(gates.Steps[0].Report)},
		{"experiment_breakdown", "SELECT format('{} {} {} {} {}', metric, value, toString(group_index), toString(n), toDecimalString(mean, 4)) AS line FROM (\n" + string(breakdownSQL) + "\n) ORDER BY line", breakdown},
		{"experiment_daily", "SELECT format('{} {} {} {}', toString(day), group, toString(new_units), toString(units)) FROM experiment_daily(project = {project:String}, experiment = {experiment:String}) ORDER BY day, group_index", daily},
		{"exposure_health", "SELECT format('{} {} {} {} {}', group, toString(exposed), toString(analysed), toString(by_override), toString(in_two_groups)) FROM exposure_health(project = {project:String}, experiment = {experiment:String}) ORDER BY group_index", health},
		{"exposure_health, the split", "SELECT toDecimalString(sum(chi_squared), 6) FROM exposure_health(project = {project:String}, experiment = {experiment:String})", []string{fmt.Sprintf("%.6f", chi)}},
		{"events", "SELECT toString(count()) FROM events WHERE project = {project:String}", []string{fmt.Sprint(len(g.events))}},
		{"exposures", "SELECT toString(count()) FROM exposures WHERE project = {project:String}", []string{fmt.Sprint(len(g.exposures))}},
	} {
		if diff := cmp.Diff(test.want, a.http(test.text)); diff != "" {
			t.Errorf("%s over HTTP (-API +SQL):\n%s", test.name, diff)
		}
		var want []string
		for _, line := range test.want {
			want = append(want, "('"+line+"')")
		}
		if diff := cmp.Diff(want, a.native(test.text)); diff != "" {
			t.Errorf("%s over the native protocol (-API +SQL):\n%s", test.name, diff)
		}
	}
}
