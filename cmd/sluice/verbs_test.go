package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
	"unicode/utf8"
)

// card is an answer of the results interface.
const card = `{"experiment":"pricing","status":"running","start":"2026-03-01T00:00:00Z","end":null,"method":"fixed","alpha":0.05,"correction":"none",
"groups":[{"name":"control","share":50,"units":1000,"excluded":{}},{"name":"a long name of a group that is treated","share":50,"units":990,"excluded":{"crossover":3}}],
"srm":{"code":"OK","verdict":"ok","pValue":0.4},"warnings":[],"sequence":{"first":3,"last":9},"sql":["SELECT 1","SELECT 2"],
"metrics":[{"name":"revenue","type":"sum","direction":"increase","groups":[
 {"group":"control","n":1000,"mean":10},
 {"group":"a long name of a group that is treated","n":990,"mean":11,"comparison":{"code":"OK","delta":1,"lift":{"code":"OK","value":0.1}},
  "correctedPValue":0.001,"correctedLift":{"lower":0.04,"upper":0.16},"significant":true,"burnedIn":true,"posterior":{"chanceToBeat":0.99}}]},
 {"name":"errors","type":"event_count","direction":"decrease","groups":[
 {"group":"control","n":1000,"mean":0},
 {"group":"a long name of a group that is treated","n":990,"mean":0,"comparison":{"code":"ZERO_VARIANCE","delta":0,"lift":{"code":"ZERO_CONTROL_MEAN","value":null}},
  "correctedPValue":null,"correctedLift":{"lower":null,"upper":null},"significant":false,"posterior":{"chanceToBeat":null}}]}]}`

func TestAScorecardFitsItsTerminalAndHasColourOnlyThere(t *testing.T) {
	var r scorecard
	if err := json.Unmarshal([]byte(card), &r); err != nil {
		t.Fatal(err)
	}
	for _, term := range []terminal{{width: 80}, {width: 120}, {width: 120, colour: true}, {width: 40}} {
		var b bytes.Buffer
		if err := r.print(&b, term); err != nil {
			t.Fatal(err)
		}
		text := b.String()
		if got := strings.Contains(text, "\x1b["); got != term.colour {
			t.Errorf("%+v: colour %t in\n%s", term, got, text)
		}
		for _, want := range []string{"revenue", "+10.00 %", "[+4.00 %, +16.00 %]", "p 0.0010*", "ZERO_VARIANCE", "ratio: ok", "crossover 3"} {
			if !strings.Contains(text, want) {
				t.Errorf("%+v: %q is not in\n%s", term, want, text)
			}
		}
		if strings.Contains(text, "NaN") {
			t.Errorf("%+v: a NaN in\n%s", term, text)
		}
		if bars := strings.Contains(text, "●"); bars != (term.width >= 80) {
			t.Errorf("%+v: bars %t in\n%s", term, bars, text)
		}
		if legend := strings.Contains(text, "bars run from"); legend != (term.width >= 80) {
			t.Errorf("%+v: bars are explained %t in\n%s", term, legend, text)
		}
		for line := range strings.Lines(text) {
			line = strings.NewReplacer("\x1b[32m", "", "\x1b[0m", "", "\n", "").Replace(line)
			if n := utf8.RuneCountInString(line); n > term.width {
				t.Errorf("%+v: %d columns: %s", term, n, line)
			}
		}
	}
}

// printedCard is what is printed of one metric with one line for control and one
// for the group new, in a terminal without colour that folds nothing.
func printedCard(t *testing.T, method, group string) string {
	t.Helper()
	var r scorecard
	text := fmt.Sprintf(`{"experiment":"x","status":"running","start":null,"end":null,"method":%q,"alpha":0.05,"correction":"none","groups":[],"srm":{"code":"OK","pValue":1},"warnings":[],
"metrics":[{"name":"m","type":"sum","direction":"increase","groups":[{"group":"control","n":9,"mean":3.6534},{"group":"new","n":9,"mean":5.0479,%s}]}]}`, method, group)
	if err := json.Unmarshal([]byte(text), &r); err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	if err := r.print(&b, terminal{width: 100}); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func TestAnAdjustedComparisonIsSaidToBe(t *testing.T) {
	const of = `"comparison":{"code":"OK","delta":1.1,"lift":{"code":"OK","value":0.3112}},"unadjusted":{"code":"OK","delta":1.3945,"lift":{"code":%q,"value":%s}},
"correctedPValue":0.001,"correctedLift":{"lower":0.2,"upper":0.4},"significant":true,"adjusted":%t`
	const said = "adjusted by what units did before; the means are raw, and differ by "
	for _, tc := range []struct{ group, want string }{
		{fmt.Sprintf(of, "OK", "0.3817", true), said + "+38.17 %\n"},
		{fmt.Sprintf(of, "ZERO_CONTROL_MEAN", "null", true), said + "1.3945\n"},
	} {
		if got := printedCard(t, "fixed", tc.group); !strings.Contains(got, tc.want) || !strings.Contains(got, "+31.12 %") {
			t.Errorf("%q is not in\n%s", tc.want, got)
		}
	}
	if got := printedCard(t, "fixed", fmt.Sprintf(of, "OK", "0.3112", false)); strings.Contains(got, "adjusted") {
		t.Errorf("what is not adjusted is said to be in\n%s", got)
	}
}

func TestADifferenceWithoutALiftHasItsIntervalAndItsStar(t *testing.T) {
	const of = `"comparison":{"code":"OK","delta":0.5,"lift":{"code":"ZERO_CONTROL_MEAN","value":null}},
"correctedPValue":8.9e-32,"correctedInterval":{"lower":0.43,"upper":0.57},"correctedLift":{"lower":null,"upper":null},"significant":true,"burnedIn":true`
	want := "difference 0.5000 [0.4300, 0.5700], ZERO_CONTROL_MEAN  p 8.9e-32*\n"
	for _, method := range []string{"fixed", "sequential"} {
		if got := printedCard(t, method, of); !strings.Contains(got, want) {
			t.Errorf("%s: %q is not in\n%s", method, want, got)
		}
	}
	early := strings.NewReplacer(`"burnedIn":true`, `"burnedIn":false`, "true", "false", "8.9e-32", "null", "0.43", "null", "0.57", "null").Replace(of)
	want = "difference 0.5000, ZERO_CONTROL_MEAN  too few units for a look\n"
	if got := printedCard(t, "sequential", early); !strings.Contains(got, want) {
		t.Errorf("%q is not in\n%s", want, got)
	}
}

func TestAWideLiftIsPrintedWhole(t *testing.T) {
	const of = `"comparison":{"code":"OK","delta":4,"lift":{"code":"OK","value":40.7331}},"correctedPValue":0.001,"correctedLift":{"lower":18.383,"upper":63.08},
"significant":true,"posterior":{"chanceToBeat":0.99987}`
	want := "+4073.31 % [+1838.30 %, +6308.00 %] chance 0.9999*"
	if got := printedCard(t, "bayesian", of); !strings.Contains(got, want) {
		t.Errorf("%q is not in\n%s", want, got)
	}
}

func TestResultsOfAGateAreThoseOfEachStep(t *testing.T) {
	step := func(rule, warnings string, step int) string {
		return fmt.Sprintf(`{"rule":"r1","ruleName":%q,"percentage":50,"step":%d,`, rule, step) + strings.TrimPrefix(strings.Replace(card, `"warnings":[]`, `"warnings":[`+warnings+`]`, 1), "{")
	}
	at := served(t, func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/api/v1/projects/shop/gates/checkout/results":
			fmt.Fprintf(w, `{"gate":"checkout","status":"inProgress","steps":[%s,%s]}`, step("Half", `"SRM"`, 2), step("", "", 1))
		case "/api/v1/projects/shop/gates/new/results":
			fmt.Fprint(w, `{"gate":"new","status":"inProgress","steps":[]}`)
		default:
			w.WriteHeader(http.StatusNotFound)
			fmt.Fprint(w, `{"detail":"there is no experiment of this name"}`)
		}
	})
	var b bytes.Buffer
	c := resultsCommand{remote: at, Experiment: "checkout", Method: "fixed", Alpha: 0.05, Check: true}
	if err := c.run(t.Context(), &b); exitCode(err) != exitCheck {
		t.Errorf("results --check = %v; want the warning of the first step", err)
	}
	for _, want := range []string{`checkout, rule "Half" at 50 %, step 2:  running`, `checkout, rule "r1" at 50 %, step 1:  running`} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("%q is not in\n%s", want, b.String())
		}
	}
	b.Reset()
	c.Experiment = "new"
	if err := c.run(t.Context(), &b); err != nil || !strings.Contains(b.String(), "nothing to compare") {
		t.Errorf("results of a gate without a rollout = %v:\n%s", err, b.String())
	}
	c.Experiment = "missing"
	if err := c.run(t.Context(), &b); exitCode(err) != exitNotFound || !strings.Contains(err.Error(), "no experiment") {
		t.Errorf("results of nothing = %v; want that it is not there", err)
	}
}

func TestABreakdownIsPrintedSliceBySlice(t *testing.T) {
	var r scorecard
	slice := func(value, kind, verdict string) string {
		return fmt.Sprintf(`{"value":%q,"kind":%q,"groups":[{"name":"control","share":50,"units":7},{"name":"new","share":50,"units":8}],"srm":{"code":"TOO_FEW_UNITS","pValue":null},
"metrics":[{"name":"revenue","type":"sum","direction":"increase","groups":[{"group":"control","n":7,"mean":1},{"group":"new","n":8,"mean":2,
"comparison":{"code":"OK","delta":1,"lift":{"code":"OK","value":1}},"correctedPValue":0.3,"correctedLift":{"lower":-0.5,"upper":2},"heterogeneity":{"verdict":%q,"pValue":0.0002}}]}]}`, value, kind, verdict)
	}
	text := `{"experiment":"x","status":"running","start":null,"end":null,"method":"fixed","alpha":0.05,"correction":"none","groups":[],"srm":{"code":"NO_UNITS","pValue":null},
"warnings":["CROSSOVERS"],"metrics":[],"breakdown":{"by":"user.country","values":9,"slices":[` + slice("NZ", "value", "high") + "," + slice("", "other", "none") + "," + slice("", "missing", "none") + `]}}`
	if err := json.Unmarshal([]byte(text), &r); err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	if err := r.print(&b, terminal{width: 80}); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"user.country = NZ", "user.country is another of 9 values", "user.country is not known", "+100.00 %", "differs from the rest (p 0.0002)"} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("%q is not in\n%s", want, b.String())
		}
	}
	for what, want := range map[string]int{"differs from the rest": 1, "warning: CROSSOVERS": 1, "revenue": 3} {
		if got := strings.Count(b.String(), what); got != want {
			t.Errorf("%q stands %d times, want %d, in\n%s", what, got, want, b.String())
		}
	}
}

func TestABarShowsWhereAnIntervalGoesOn(t *testing.T) {
	for _, tc := range []struct {
		estimate, low, high float64
		want                string
	}{
		{0.5, 0.2, 0.8, "     │├─●┤ "},
		{0, -0.5, 0.5, "  ├──●──┤  "},
		{0.5, -3, 3, "◄────┼──●─►"},
	} {
		if got := bar(tc.estimate, tc.low, tc.high, 1, 12); got != tc.want {
			t.Errorf("bar(%v, %v, %v) = %q; want %q", tc.estimate, tc.low, tc.high, got, tc.want)
		}
	}
}

// served answers as a platform does, for the project shop.
func served(t *testing.T, handle http.HandlerFunc) remote {
	t.Helper()
	s := httptest.NewServer(handle)
	t.Cleanup(s.Close)
	return remote{URL: s.URL, Key: "console-shop-0123"}
}

func TestResultsWaitForAnOperationAndSayWhatWentWrong(t *testing.T) {
	asked := 0
	at := served(t, func(w http.ResponseWriter, r *http.Request) {
		switch {
		case strings.Contains(r.URL.Path, "/operations/"):
			fmt.Fprint(w, `{"status":"done"}`)
		case strings.Contains(r.URL.Path, "/missing/"):
			w.WriteHeader(http.StatusNotFound)
			fmt.Fprint(w, `{"detail":"there is no experiment \"missing\""}`)
		case asked == 0:
			asked++
			w.Header().Set("Location", "/api/v1/operations/op_1")
			w.WriteHeader(http.StatusAccepted)
		default:
			fmt.Fprint(w, card)
		}
	})
	run := func(c resultsCommand) (string, error) {
		var b bytes.Buffer
		c.remote, c.Method, c.Alpha = at, "fixed", 0.05
		err := c.run(t.Context(), &b)
		return b.String(), err
	}
	if text, err := run(resultsCommand{Experiment: "pricing"}); err != nil || !strings.Contains(text, "revenue") {
		t.Errorf("results = %v:\n%s\nwant a scorecard", err, text)
	}
	if text, err := run(resultsCommand{Experiment: "pricing", SQL: true}); err != nil || text != "SELECT 1;\n\nSELECT 2;\n\n" {
		t.Errorf("results --sql = %q, %v; want the statements", text, err)
	}
	if text, err := run(resultsCommand{Experiment: "pricing", JSON: true}); err != nil || text != card {
		t.Errorf("results --json = %q, %v; want the answer as it came", text, err)
	}
	if _, err := run(resultsCommand{Experiment: "missing"}); exitCode(err) != exitNotFound || !strings.Contains(err.Error(), "there is no experiment") {
		t.Errorf("results of nothing = %v with exit code %d; want %d", err, exitCode(err), exitNotFound)
	}
	at.Key = ""
	if _, err := run(resultsCommand{Experiment: "pricing"}); exitCode(err) != exitUsage {
		t.Errorf("results without a key = %v with exit code %d; want %d", err, exitCode(err), exitUsage)
	}
}

func TestAFileIsReadToItsEndBeforeAnythingIsSent(t *testing.T) {
	at := served(t, func(w http.ResponseWriter, r *http.Request) {
		t.Errorf("%s %s was asked for a file that cannot be read", r.Method, r.URL)
	})
	file := filepath.Join(t.TempDir(), "facts.csv")
	if err := os.WriteFile(file, []byte("user,arm,at,spent\nu1,a,2026-03-01,3\n,a,2026-03-01,3\nu2,b,yesterday,3\nu3,b,2026-03-01,lots\nu4,b\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	c := importCommand{remote: at, File: file, Experiment: "x", UnitColumn: "user", GroupColumn: "arm", TimeColumn: "at", Metric: []string{"spent=spent"}}
	var out, complaints bytes.Buffer
	err := c.run(t.Context(), &out, &complaints)
	if err == nil || !strings.Contains(err.Error(), "4 of 5 lines") {
		t.Errorf("import = %v; want it to refuse", err)
	}
	for _, want := range []string{"line 3: there is no unit", `line 4: column at: "yesterday" is no time`, `line 5: column spent: "lots" is no number`, "line 6: "} {
		if !strings.Contains(complaints.String(), want) {
			t.Errorf("%q is not among\n%s", want, complaints.String())
		}
	}
	c.UnitColumn, c.Drop = "user", []string{"arm=b", "spent=lots,arm=a"}
	complaints.Reset()
	if err := c.run(t.Context(), &out, &complaints); err == nil || !strings.Contains(err.Error(), "2 of 3 lines") { // lines 4 and 5 are not looked at
		t.Errorf("import without group b = %v\n%s; want two bad lines of three", err, complaints.String())
	}
	c.Drop = []string{"page=x"}
	if err := c.run(t.Context(), &out, &complaints); exitCode(err) != exitUsage || !strings.Contains(err.Error(), `no column "page"`) {
		t.Errorf("import that drops by no column = %v; want a mistake of usage", err)
	}
	c.Drop = []string{"page"}
	if err := c.run(t.Context(), &out, &complaints); exitCode(err) != exitUsage || !strings.Contains(err.Error(), "column=value") {
		t.Errorf("import that drops by no value = %v; want a mistake of usage", err)
	}
	c.Drop, c.Metric = nil, []string{"spent=spent:funnel"}
	if err := c.run(t.Context(), &out, &complaints); exitCode(err) != exitUsage || !strings.Contains(err.Error(), `"funnel" is no type`) || !strings.Contains(err.Error(), "event_count") {
		t.Errorf("import with an unknown type = %v; want a mistake of usage, and the types", err)
	}
	c.Metric = []string{"spent=spent"}
	c.UnitColumn = "users"
	if err := c.run(t.Context(), &out, &complaints); exitCode(err) != exitUsage || !strings.Contains(err.Error(), `no column "users"`) {
		t.Errorf("import with a wrong column = %v; want a mistake of usage", err)
	}
}

func TestFactsHaveTheSameIDsWhenTheyAreImportedAgain(t *testing.T) {
	started := time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC)
	to := importTarget{experiment: "x", started: started, metrics: []importMetric{{event: "buy"}, {event: "buy", before: true}, {event: "did", did: true}}}
	r := row{line: 7, unit: "u", group: "a", values: []*float64{new(3.), new(3.), new(0.)}}
	first, again := to.facts(r), to.facts(r)
	if len(first) != 3 {
		t.Fatalf("%d facts; want an exposure and two events, none for what did not happen", len(first))
	}
	seen := map[string]bool{}
	for i := range first {
		if first[i].ID != again[i].ID || seen[first[i].ID] {
			t.Errorf("fact %d has the id %q, then %q; want the same, and one of its own", i, first[i].ID, again[i].ID)
		}
		seen[first[i].ID] = true
	}
	r.line = 8
	for _, f := range to.facts(r) {
		if seen[f.ID] {
			t.Errorf("a fact of another line has the id %q too", f.ID)
		}
	}
	if got := time.UnixMilli(first[2].Time); !got.Before(started) {
		t.Errorf("what was before the exposure happened at %v; want before %v", got, started)
	}
}

func TestTimesAndValuesAreReadAsFilesHaveThem(t *testing.T) {
	want := time.Date(2026, 3, 1, 12, 30, 0, 0, time.UTC)
	for _, text := range []string{"2026-03-01T12:30:00Z", "2026-03-01 12:30:00", "2026-03-01 12:30", "2026-03-01T13:30:00+01:00", fmt.Sprint(want.Unix()), fmt.Sprint(want.UnixMilli())} {
		if got, err := readTime(text, ""); err != nil || !got.Equal(want) {
			t.Errorf("readTime(%q) = %v, %v; want %v", text, got, err, want)
		}
	}
	if got, err := readTime("03/01/26", "01/02/06"); err != nil || got.Day() != 1 {
		t.Errorf("readTime by a layout = %v, %v", got, err)
	}
	for text, want := range map[string]float64{"3": 3, "-2.5e1": -25, "TRUE": 1, "no": 0} {
		if got, err := readValue(text, point); err != nil || got == nil || *got != want {
			t.Errorf("readValue(%q) = %v, %v; want %v", text, got, err, want)
		}
	}
	for _, text := range []string{"", "NA", "NaN", "null"} {
		if got, err := readValue(text, point); err != nil || got != nil {
			t.Errorf("readValue(%q) = %v, %v; want none", text, got, err)
		}
	}
	if _, err := readValue("inf", point); err == nil {
		t.Error("an infinity was taken for a value")
	}
}

func TestACancelledImportStops(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	file := filepath.Join(t.TempDir(), "facts.csv")
	if err := os.WriteFile(file, []byte("u,g\n1,a\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := survey(ctx, file, columns{unit: "u", group: "g"}); err == nil {
		t.Error("a survey went on after it was cancelled")
	}
}

func TestLongLinesAreFoldedBetweenWords(t *testing.T) {
	for _, tc := range []struct{ line, want string }{
		{"  short\n", "  short\n"},
		{"  new  1.0  difference 0.5 [0.4, 0.6], CODE  p 0.001*\n", "  new  1.0  difference 0.5\n      [0.4, 0.6], CODE  p 0.001*\n"},
		{"\x1b[31mred words that go on over the edge\x1b[0m\n", "\x1b[31mred words that go on over the\n    edge\x1b[0m\n"},
		{"lift [+1.00 %, +2.00 %] at 95 % and more\n", "lift [+1.00 %, +2.00 %] at 95 %\n    and more\n"},
		{"awordthatisfarlongerthantheterminaliswide\n", "awordthatisfarlongerthantheterminaliswide\n"},
	} {
		if got := (terminal{width: 31}).fold(tc.line); got != tc.want {
			t.Errorf("fold(%q) = %q; want %q", tc.line, got, tc.want)
		}
	}
}

func TestALiftWithoutAnIntervalIsPrinted(t *testing.T) {
	const of = `"comparison":{"code":"INSUFFICIENT_UNITS","delta":1,"lift":{"code":"OK","value":%s}},"correctedPValue":null,"correctedLift":{"lower":null,"upper":null}`
	for lift, want := range map[string]string{"0.5": "5.0479  +50.00 %  INSUFFICIENT_UNITS\n", "null": "5.0479  INSUFFICIENT_UNITS\n"} {
		if got := printedCard(t, "fixed", fmt.Sprintf(of, lift)); !strings.Contains(got, want) {
			t.Errorf("%q is not in\n%s", want, got)
		}
	}
}
