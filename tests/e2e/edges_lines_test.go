package e2e

import (
	"bytes"
	"context"
	"encoding/csv"
	"encoding/json"
	"fmt"
	"math"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/ClickHouse/clickhouse-go/v2"
	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"
	"github.com/google/go-cmp/cmp"

	"github.com/sluice-flags/sluice/tests/harness"
)

// An edgeLine is what is said of a metric in a group, by whichever way.
type edgeLine struct {
	n                                          uint64
	mean, total, difference, lift, p           *float64
	variance, low, high, liftLow, liftHigh, se *float64
	code, liftCode                             string // empty for control, and in SQL
}

func (l edgeLine) String() string {
	digits := func(v *float64) string {
		if v == nil {
			return "-"
		}
		return strconv.FormatFloat(math.Round(*v*1e12)/1e12, 'g', 4, 64)
	}
	s := fmt.Sprintf("n %d mean %s total %s", l.n, digits(l.mean), digits(l.total))
	if l.code != "" {
		s += fmt.Sprintf(" difference %s lift %s p %s %s/%s", digits(l.difference), digits(l.lift), digits(l.p), l.code, l.liftCode)
	}
	return s
}

// rowsOf asks a question whose rows are texts.
func rowsOf(ctx context.Context, t *testing.T, db driver.Conn, text string) (lines []string) {
	t.Helper()
	rows, err := db.Query(ctx, text)
	if err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	defer rows.Close()
	for rows.Next() {
		var line string
		if err := rows.Scan(&line); err != nil {
			t.Fatal(err)
		}
		lines = append(lines, line)
	}
	if err := rows.Err(); err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	return lines
}

// statements in an answer may well ask whether something is a number.
var statements = regexp.MustCompile(`"sql":\[".*?"\](,"|\})`)

// noNumber are the ways in which programs write what is no number.
var noNumber = regexp.MustCompile(`(?i)(^|[^a-z])[+-]?(nan|inf|infinity)([^a-z]|$)`)

func noneIsNoNumber(t *testing.T, who, text string) {
	t.Helper()
	for line := range strings.Lines(text) {
		line = statements.ReplaceAllString(line, "$1")
		if found := noNumber.FindStringIndex(line); found != nil {
			t.Errorf("%s has a number that is none: …%s…", who, line[max(0, found[0]-200):min(len(line), found[1]+50)])
			return
		}
	}
}

func edgeLinesOfJSON(t *testing.T, body []byte) map[string]edgeLine {
	t.Helper()
	type interval struct {
		Lower, Upper *float64
	}
	var report struct {
		Metrics []struct {
			Name   string `json:"name"`
			Groups []struct {
				Group                 string `json:"group"`
				N                     uint64 `json:"n"`
				Mean, Total, Variance *float64
				Unadjusted            *struct {
					Code                         string
					Delta, PValue, StandardError *float64
					Interval                     interval
					Lift                         struct {
						Code     string
						Value    *float64
						Interval interval
					}
				}
			}
		} `json:"metrics"`
	}
	if err := json.Unmarshal(body, &report); err != nil {
		t.Fatalf("%v in %s", err, body)
	}
	lines := map[string]edgeLine{}
	for _, m := range report.Metrics {
		for _, g := range m.Groups {
			l := edgeLine{n: g.N, mean: g.Mean, total: g.Total, variance: g.Variance}
			if u := g.Unadjusted; u != nil {
				l.difference, l.p, l.se, l.low, l.high = u.Delta, u.PValue, u.StandardError, u.Interval.Lower, u.Interval.Upper
				l.lift, l.liftLow, l.liftHigh, l.code, l.liftCode = u.Lift.Value, u.Lift.Interval.Lower, u.Lift.Interval.Upper, u.Code, u.Lift.Code
			}
			lines[m.Name+"/"+g.Group] = l
		}
	}
	return lines
}

func edgeLinesOfCSV(t *testing.T, body []byte) map[string]edgeLine {
	t.Helper()
	rows, err := csv.NewReader(bytes.NewReader(body)).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	lines := map[string]edgeLine{}
	for _, row := range rows[1:] {
		text := func(column string) string {
			for i, name := range rows[0] {
				if name == column {
					return row[i]
				}
			}
			t.Fatalf("CSV has no column %q", column)
			return ""
		}
		number := func(column string) *float64 {
			if text(column) == "" {
				return nil
			}
			v, err := strconv.ParseFloat(text(column), 64)
			if err != nil {
				t.Errorf("column %s: %v", column, err)
			}
			return &v
		}
		n, err := strconv.ParseUint(text("n"), 10, 64)
		if err != nil {
			t.Errorf("column n: %v", err)
		}
		lines[text("metric")+"/"+text("group")] = edgeLine{
			n: n, mean: number("mean"), total: number("total"), variance: number("variance"),
			difference: number("difference"), se: number("standard_error"), low: number("difference_low"), high: number("difference_high"),
			lift: number("lift"), liftLow: number("lift_low"), liftHigh: number("lift_high"), p: number("p_value"),
			code: text("code"), liftCode: text("lift_code"),
		}
	}
	return lines
}

func edgeLinesOfSQL(t *testing.T, shop *harness.Project, db driver.Conn, experiment string) map[string]edgeLine {
	t.Helper()
	ctx := clickhouse.Context(context.Background(), clickhouse.WithParameters(clickhouse.Parameters{"project": shop.ID, "experiment": experiment}))
	rows, err := db.Query(ctx, `SELECT metric, group, n, mean, total, variance, difference, standard_error, difference_low, difference_high, lift, lift_low, lift_high, p_value
		FROM experiment_results(project = {project:String}, experiment = {experiment:String})`)
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	lines := map[string]edgeLine{}
	for rows.Next() {
		var metric, group string
		var l edgeLine
		if err := rows.Scan(&metric, &group, &l.n, &l.mean, &l.total, &l.variance, &l.difference, &l.se, &l.low, &l.high, &l.lift, &l.liftLow, &l.liftHigh, &l.p); err != nil {
			t.Fatal(err)
		}
		lines[metric+"/"+group] = l
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
	return lines
}

// withoutCodes is what SQL has of the lines: no codes, and of percentiles, whose
// variance is not one of units, no comparison.
func withoutCodes(lines map[string]edgeLine) map[string]edgeLine {
	out := map[string]edgeLine{}
	for at, l := range lines {
		l.code, l.liftCode = "", ""
		if strings.HasPrefix(at, "median") {
			l = edgeLine{n: l.n, mean: l.mean, total: l.total}
		}
		out[at] = l
	}
	return out
}

func diffEdges(a, b map[string]edgeLine) string {
	return cmp.Diff(a, b, cmp.AllowUnexported(edgeLine{}), cmp.Comparer(func(x, y *float64) bool {
		return (x == nil) == (y == nil) && (x == nil || math.Abs(*x-*y) <= 1e-9*max(math.Abs(*x), math.Abs(*y), 1e-3))
	}))
}

// jsonAt reads a member of an answer by its path, such as "periods.0.units".
func jsonAt(t *testing.T, body []byte, path string) string {
	t.Helper()
	at := json.RawMessage(body)
	for step := range strings.SplitSeq(path, ".") {
		if i, err := strconv.Atoi(step); err == nil {
			var list []json.RawMessage
			if json.Unmarshal(at, &list) != nil || i >= len(list) {
				return "nothing"
			}
			at = list[i]
			continue
		}
		var members map[string]json.RawMessage
		if json.Unmarshal(at, &members) != nil || members[step] == nil {
			return "nothing"
		}
		at = members[step]
	}
	var b bytes.Buffer
	if err := json.Compact(&b, at); err != nil {
		t.Fatal(err)
	}
	return b.String()
}
