package e2e

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2"
	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"

	"github.com/sluice-flags/sluice/tests/harness"
)

// edgeMetrics are metrics of every type, about two events: buy, with a value, and
// view. What each is in an edge case is in the table below; that no number of it
// is none, by any way of asking, is tested of all of them.
var edgeMetrics = []harness.Doc{
	{"name": "buyers", "type": "event_user", "event": "buy"},
	{"name": "purchases", "type": "event_count", "event": "buy"},
	{"name": "revenue", "type": "sum", "event": "buy"},
	{"name": "basket", "type": "mean", "event": "buy"},
	{"name": "days", "type": "event_dau", "event": "buy"},
	{"name": "least", "type": "min", "event": "buy"},
	{"name": "most", "type": "max", "event": "buy", "missingAsZero": true},
	{"name": "newest", "type": "latest", "event": "buy"},
	{"name": "kinds", "type": "count_distinct", "event": "buy"},
	{"name": "capped", "type": "sum", "event": "buy", "cap": harness.Doc{"percentile": 0.9}},
	{"name": "per view", "type": "ratio", "numerator": harness.Doc{"type": "sum", "event": "buy"}, "denominator": harness.Doc{"type": "event_count", "event": "view"}},
	{"name": "path", "type": "funnel", "funnel": harness.Doc{"steps": []harness.Doc{{"event": "view"}, {"event": "buy"}}}},
	{"name": "path from exposure", "type": "funnel", "funnel": harness.Doc{"fromExposure": true, "steps": []harness.Doc{{"event": "view"}, {"event": "buy"}}}},
	{"name": "return", "type": "retention", "event": "buy", "retention": harness.Doc{"day": 1, "days": 1}},
	{"name": "median", "type": "percentile", "event": "buy", "percentile": harness.Doc{"level": 0.5}},
	{"name": "median event", "type": "percentile", "event": "buy", "percentile": harness.Doc{"level": 0.5, "of": "event"}},
	{"name": "windowed", "type": "sum", "event": "buy", "windowHours": 1},
	{"name": "silence", "type": "event_count", "event": "never"},
	{"name": "silent mean", "type": "mean", "event": "never"},
}

// An edgeCase is an experiment on the edge of what can be answered, and what
// docs/statistics.md says about it.
type edgeCase struct {
	name   string
	about  string // of the experiment, in docs/statistics.md
	change harness.Doc
	// facts fills the experiment; nil leaves it without any.
	facts func(*edgeFacts)
	// then changes the experiment after its first facts, and adds more.
	then func(*edgeFacts)
	want map[string]string // metric/group → its line, as [edgeLine.String]
	// says is what else the API answers, by its path in the answer.
	says map[string]string
	days int // from the first on which a unit entered to the last
}

// units exposes so many units of a group, and has each of them buy for the values
// of its turn.
func (f *edgeFacts) units(group string, values ...[]float64) {
	for _, of := range values {
		unit := f.expose(group)
		for _, v := range of {
			f.event(unit, "view", nil)
			f.event(unit, "buy", &v)
		}
	}
}

var edgeCases = []edgeCase{
	{
		name: "draft", about: "not started", change: harness.Doc{"status": "draft"},
		want: map[string]string{
			"revenue/control": "n 0 mean - total 0", "revenue/new": "n 0 mean - total 0 difference - lift - p - NO_UNITS/NOT_APPLICABLE",
			"basket/new": "n 0 mean - total - difference - lift - p - NO_UNITS/NOT_APPLICABLE",
		},
		says: map[string]string{"start": "null", "srm.code": `"NO_UNITS"`},
	},
	{
		name: "empty", about: "no exposures",
		want: map[string]string{
			"revenue/control": "n 0 mean - total 0", "revenue/new": "n 0 mean - total 0 difference - lift - p - NO_UNITS/NOT_APPLICABLE",
			"buyers/new": "n 0 mean - total 0 difference - lift - p - NO_UNITS/NOT_APPLICABLE",
		},
		says: map[string]string{"srm.code": `"NO_UNITS"`, "excluded": "{}"},
	},
	{
		name: "one alone", about: "one unit",
		facts: func(f *edgeFacts) { f.units("control", []float64{10}) },
		want: map[string]string{
			"revenue/control": "n 1 mean 10 total 10", "revenue/new": "n 0 mean - total 0 difference - lift - p - NO_UNITS/NOT_APPLICABLE",
		},
		days: 1,
	},
	{
		name: "one each", about: "one unit in each group",
		facts: func(f *edgeFacts) { f.units("control", []float64{10}); f.units("new", []float64{15}) },
		want: map[string]string{
			"revenue/control": "n 1 mean 10 total 10", "revenue/new": "n 1 mean 15 total 15 difference 5 lift 0.5 p - INSUFFICIENT_UNITS/OK",
		},
		days: 1,
	},
	{
		name: "flat", about: "zero variance",
		facts: func(f *edgeFacts) {
			f.units("control", []float64{0.1}, []float64{0.1, 0.1}, []float64{0.1, 0.1, 0.1})
			f.units("new", []float64{0.3}, []float64{0.3}, []float64{0.3, 0.3})
		},
		want: map[string]string{
			"buyers/new": "n 3 mean 1 total 3 difference 0 lift 0 p - ZERO_VARIANCE/OK",
			"least/new":  "n 3 mean 0.3 total 0.9 difference 0.2 lift 2 p - ZERO_VARIANCE/OK",
			"basket/new": "n 3 mean 0.3 total - difference 0.2 lift 2 p - ZERO_VARIANCE/OK",
		},
		days: 1,
	},
	{
		name: "none in control", about: "zero control mean",
		facts: func(f *edgeFacts) {
			f.units("control", nil, nil, nil)
			f.units("new", []float64{5}, nil, []float64{7})
		},
		want: map[string]string{
			"revenue/new": "n 3 mean 4 total 12 difference 4 lift - p 0.1946 OK/ZERO_CONTROL_MEAN",
			"buyers/new":  "n 3 mean 0.6667 total 2 difference 0.6667 lift - p 0.1835 OK/ZERO_CONTROL_MEAN",
			"basket/new":  "n 2 mean 6 total - difference - lift - p - NO_UNITS/NOT_APPLICABLE",
			"least/new":   "n 2 mean 6 total 12 difference - lift - p - NO_UNITS/NOT_APPLICABLE",
		},
		days: 1,
	},
	{
		name: "losses", about: "negative values",
		facts: func(f *edgeFacts) {
			f.units("control", []float64{-10}, []float64{-12}, []float64{-14})
			f.units("new", []float64{-8}, []float64{-6}, []float64{-10})
		},
		want: map[string]string{
			"revenue/control": "n 3 mean -12 total -36",
			"revenue/new":     "n 3 mean -8 total -24 difference 4 lift 0.3333 p 0.07048 OK/OK",
		},
		days: 1,
	},
	{
		name: "three", about: "a group without data",
		change: harness.Doc{"groups": edgeGroups(40, 40, 20)},
		facts: func(f *edgeFacts) {
			f.units("control", []float64{10}, []float64{12}, []float64{14})
			f.units("new", []float64{11}, []float64{16}, []float64{18})
		},
		want: map[string]string{
			"revenue/new":   "n 3 mean 15 total 45 difference 3 lift 0.25 p 0.2935 OK/OK",
			"revenue/third": "n 0 mean - total 0 difference - lift - p - NO_UNITS/NOT_APPLICABLE",
		},
		days: 1,
	},
	{
		name: "quiet", about: "a metric never logged",
		facts: func(f *edgeFacts) { f.units("control", nil, nil, nil); f.units("new", nil, nil, nil) },
		want: map[string]string{
			"silence/control": "n 3 mean 0 total 0", "silence/new": "n 3 mean 0 total 0 difference 0 lift - p - ZERO_VARIANCE/ZERO_CONTROL_MEAN",
			"silent mean/new": "n 0 mean - total - difference - lift - p - NO_UNITS/NOT_APPLICABLE",
			"least/new":       "n 0 mean - total 0 difference - lift - p - NO_UNITS/NOT_APPLICABLE",
			"most/new":        "n 3 mean 0 total 0 difference 0 lift - p - ZERO_VARIANCE/ZERO_CONTROL_MEAN",
		},
		days: 1,
	},
	{
		name: "again", about: "restarted",
		facts: func(f *edgeFacts) {
			f.units("control", []float64{100}, []float64{200}, []float64{300})
		},
		then: func(f *edgeFacts) {
			f.act("stop")
			f.patch(harness.Doc{"status": "draft", "salt": "drawn anew"})
			f.start = f.start.Add(48 * time.Hour)
			f.patch(harness.Doc{"status": "running", "startedAt": f.start})
			f.names = 0 // the same units come again, and into the other group
			f.units("new", []float64{11}, []float64{13}, []float64{15})
			f.units("control", []float64{10}, []float64{12}, []float64{14})
		},
		want: map[string]string{
			"revenue/control": "n 3 mean 12 total 36", "revenue/new": "n 3 mean 13 total 39 difference 1 lift 0.08333 p 0.5734 OK/OK",
		},
		says: map[string]string{"excluded": "{}"},
		days: 1,
	},
	{
		name: "wider", about: "allocation changed midway", change: harness.Doc{"allocation": 50},
		facts: func(f *edgeFacts) {
			f.units("control", []float64{10}, []float64{12}, []float64{14})
			f.units("new", []float64{11}, []float64{16}, []float64{18})
		},
		then: func(f *edgeFacts) {
			f.patch(harness.Doc{"allocation": 100})
			f.start = time.Now()
			f.units("control", []float64{12})
			f.units("new", []float64{15})
		},
		want: map[string]string{
			"revenue/control": "n 4 mean 12 total 48", "revenue/new": "n 4 mean 15 total 60 difference 3 lift 0.25 p 0.1387 OK/OK",
		},
		says: map[string]string{"periods.0.units": "[3,3]", "periods.1.units": "[1,1]", "periods.1.allocation": "100"},
		days: 6, // from the start to today, without those behind the last
	},
	{
		name: "over", about: "ended",
		facts: func(f *edgeFacts) {
			f.units("control", []float64{10}, []float64{12}, []float64{14})
			f.units("new", []float64{11}, []float64{16}, []float64{18})
		},
		then: func(f *edgeFacts) { f.act("stop") },
		want: map[string]string{"revenue/new": "n 3 mean 15 total 45 difference 3 lift 0.25 p 0.2935 OK/OK"},
		says: map[string]string{"status": `"abandoned"`},
		days: 1,
	},
}

func edgeGroups(shares ...float64) (groups []harness.Doc) {
	for i, share := range shares {
		groups = append(groups, harness.Doc{"name": []string{"control", "new", "third"}[i], "share": share, "control": i == 0, "parameters": harness.Doc{}})
	}
	return groups
}

// edgeFacts are the facts of one case.
type edgeFacts struct {
	shop       *harness.Project
	experiment string
	start      time.Time
	names, ids int
	all        []harness.Doc
}

func (f *edgeFacts) patch(body harness.Doc) { f.shop.Patch("experiments", f.experiment, body) }

func (f *edgeFacts) act(action string) {
	path := f.shop.Path("experiments", f.experiment)
	got := f.shop.Must(http.StatusOK, nil, f.shop.Console, "GET", path, nil)
	f.shop.Must(http.StatusOK, nil, f.shop.Console, "POST", path+"/"+action, harness.Doc{}, "If-Match", got.Header.Get("ETag"))
}

func (f *edgeFacts) add(fact harness.Doc, unit string) {
	f.ids++
	fact["event_id"] = fmt.Sprintf("%s-%d", f.experiment, f.ids)
	fact["user"] = harness.Doc{"userID": unit}
	fact["time"] = f.start.Add(time.Duration(f.ids) * time.Millisecond).UnixMilli()
	f.all = append(f.all, fact)
}

func (f *edgeFacts) expose(group string) (unit string) {
	f.names++
	unit = fmt.Sprintf("%s-u%d", f.experiment, f.names)
	f.add(harness.Doc{"experiment": f.experiment, "group": group, "reason": "Test"}, unit)
	return unit
}

func (f *edgeFacts) event(unit, name string, value *float64) {
	fact := harness.Doc{"eventName": name}
	if value != nil {
		fact["value"] = *value
	}
	f.add(fact, unit)
}

func (f *edgeFacts) send() {
	f.shop.T.Helper()
	if len(f.all) == 0 {
		return
	}
	var reply struct {
		Accepted int `json:"accepted"`
	}
	f.shop.Must(http.StatusAccepted, &reply, f.shop.Server, "POST", "/v1/events", harness.Doc{"events": f.all})
	if reply.Accepted != len(f.all) {
		f.shop.T.Fatalf("%d of %d facts of %s were accepted", reply.Accepted, len(f.all), f.experiment)
	}
	f.all = nil
}

// TestEdgesHaveTheirDocumentedAnswer sets up what is on the edge of what can be
// answered, and asks in every way that there is. docs/statistics.md has the same
// cases as a table.
func TestEdgesHaveTheirDocumentedAnswer(t *testing.T) {
	t.Parallel()
	shop := harness.Start(t, harness.Options{}).NewProject("edges")
	var metrics []string
	for _, m := range edgeMetrics {
		shop.Create("metrics", m)
		metrics = append(metrics, fmt.Sprint(m["name"]))
	}
	sent := 0
	begin := time.Now().UTC().Add(-5 * 24 * time.Hour).Truncate(24 * time.Hour).Add(time.Hour)
	for _, c := range edgeCases {
		doc := harness.Doc{"name": c.name, "allocation": 100, "metrics": metrics, "groups": edgeGroups(50, 50), "status": "running"}
		for name, value := range c.change {
			doc[name] = value
		}
		if doc["status"] == "running" {
			doc["startedAt"] = begin
		}
		shop.Create("experiments", doc)
		f := &edgeFacts{shop: shop, experiment: c.name, start: begin}
		if c.facts != nil {
			c.facts(f)
			f.send()
		}
		if c.then != nil {
			c.then(f)
			f.send()
		}
		sent += f.ids
	}
	db := warehouse(t, shop.Platform)
	harness.Within(t, time.Minute, func() error {
		if got := count(t, db, "SELECT (SELECT count() FROM exposures FINAL) + (SELECT count() FROM events FINAL)"); got != sent {
			return fmt.Errorf("%d facts are loaded of %d", got, sent)
		}
		return nil
	})
	documented, err := os.ReadFile("../../docs/statistics.md")
	if err != nil {
		t.Fatal(err)
	}
	for i, c := range edgeCases {
		t.Run(c.about, func(t *testing.T) {
			t.Parallel() // most of it is one thread of the engine that plans statements
			askEdge(t, shop, db, c, i%2 == 0, string(documented))
		})
	}
	t.Run("a gate that nobody asked for", func(t *testing.T) {
		shop.Create("gates", harness.Doc{"name": "unasked", "rules": []harness.Doc{{"name": "some", "passPercentage": 10, "conditions": harness.Everyone}}})
		body := shop.Must(http.StatusOK, nil, shop.Console, "GET", shop.Path("gates", "unasked", "results?wait=60"), nil).Body
		noneIsNoNumber(t, "the API", string(body))
		if got := strings.Count(string(body), `"NO_UNITS"`); got == 0 {
			t.Errorf("the API says of a gate without exposures\n%s\nwant NO_UNITS", body)
		}
	})
}

// askEdge asks about one case: everything that an edge has its own answer for, and
// for every second case (thorough) also what repeats the same numbers in another
// form.
func askEdge(t *testing.T, shop *harness.Project, db driver.Conn, c edgeCase, thorough bool, documented string) {
	path := func(question string) string {
		return strings.TrimSuffix(shop.Path("experiments", strings.ReplaceAll(c.name, " ", "%20"), question), "/")
	}
	get := func(question string) []byte {
		return shop.Must(http.StatusOK, nil, shop.Console, "GET", path(question), nil).Body
	}
	if !strings.Contains(documented, "\n| "+c.about+" |") {
		t.Errorf("docs/statistics.md has no line for %q in its table of edges", c.about)
	}

	// Every reading of every question is without such numbers. The lines of CSV are
	// those of JSON, and slices are reports.
	questions := []string{"results", "results?topline=true", "results?method=sequential&correction=holm", "results?method=bayesian&priorSd=0.1", "results?tail=greater&correction=bh",
		"results?cuped=false&correction=bonferroni", "timeseries", "health", "power", "power?method=sequential&correction=holm"}
	formats := []string{"json"}
	if thorough {
		questions, formats = append(questions, "results?by=sdk&top=3&correction=holm"), append(formats, "csv")
	}
	for _, question := range questions {
		for _, format := range formats {
			mark := "?"
			if strings.Contains(question, "?") {
				mark = "&"
			}
			body := string(get(question + mark + "wait=60&format=" + format))
			if strings.Contains(question, "tail=greater") { // the open end of a one-sided interval
				body = strings.NewReplacer(`"inf"`, "null", ",inf,", ",,").Replace(body)
			}
			noneIsNoNumber(t, question+" as "+format, body)
		}
	}

	asJSON := get("results?wait=60")
	fromJSON := edgeLinesOfJSON(t, asJSON)
	for at, want := range c.want {
		if got := fromJSON[at].String(); got != want {
			t.Errorf("%s: the API says %q; want %q", at, got, want)
		}
	}
	for at, want := range c.says {
		if got := jsonAt(t, asJSON, at); got != want {
			t.Errorf("%s: the API says %s; want %s", at, got, want)
		}
	}
	asCSV := get("results?wait=60&format=csv")
	if diff := diffEdges(fromJSON, edgeLinesOfCSV(t, asCSV)); diff != "" {
		t.Errorf("CSV differs from JSON (-JSON +CSV):\n%s", diff)
	}

	// The command line says the same, in every form.
	sluice := func(args ...string) string {
		cmd := exec.CommandContext(t.Context(), harness.Binary(t), append([]string{"results", c.name}, args...)...)
		cmd.Env = append(os.Environ(), "SLUICE_URL="+shop.HTTP, "SLUICE_KEY="+shop.Console, "COLUMNS=160")
		said, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("sluice results %q %v: %v\n%s", c.name, args, err, said)
		}
		if !slices.Contains(args, "--sql") {
			noneIsNoNumber(t, fmt.Sprint("sluice results ", args), string(said))
		}
		return string(said)
	}
	if diff := diffEdges(fromJSON, edgeLinesOfJSON(t, []byte(sluice("--json")))); diff != "" {
		t.Errorf("sluice results --json differs from the API (-API +sluice):\n%s", diff)
	}
	if diff := diffEdges(fromJSON, edgeLinesOfCSV(t, []byte(sluice("--csv")))); diff != "" {
		t.Errorf("sluice results --csv differs from the API (-API +sluice):\n%s", diff)
	}
	if thorough {
		sluice("--by", "sdk", "--top", "3")
		sluice("--impact")
	}
	text := sluice()
	for at, l := range fromJSON {
		if l.code != "" && l.code != "OK" && !strings.Contains(text, l.code) {
			t.Errorf("sluice results does not say %s, which %s has:\n%s", l.code, at, text)
		}
	}

	// So do the analysts' views, and the statements that the report names.
	if diff := diffEdges(withoutCodes(fromJSON), edgeLinesOfSQL(t, shop, db, c.name)); diff != "" {
		t.Errorf("SQL differs from the API (-API +SQL):\n%s", diff)
	}
	ctx := clickhouse.Context(context.Background(), clickhouse.WithParameters(clickhouse.Parameters{"project": shop.ID, "experiment": c.name}))
	for _, view := range []string{"experiment_moments", "experiment_unit_values", "experiment_units", "experiment_daily", "exposure_health"} {
		lines := rowsOf(ctx, t, db, "SELECT toString(tuple(*)) FROM "+view+"(project = {project:String}, experiment = {experiment:String})")
		noneIsNoNumber(t, view, strings.Join(lines, "\n"))
		if want := c.days * strings.Count(string(get("")), `"share"`); view == "experiment_daily" && len(lines) != want {
			t.Errorf("experiment_daily has %d lines; want %d, one for each group and day:\n%s", len(lines), want, strings.Join(lines, "\n"))
		}
	}
	for _, statement := range strings.Split(sluice("--sql"), ";\n\n") {
		if strings.TrimSpace(statement) == "" || !thorough {
			continue
		}
		rowsOf(ctx, t, db, "SELECT toString(tuple(*)) FROM (\n"+statement+"\n)")
	}
}
