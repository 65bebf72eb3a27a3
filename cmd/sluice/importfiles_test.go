package main

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// read returns the lines of a file, each as its place, unit, group, time and
// values, and what is wrong with others.
func read(t *testing.T, content string, cols columns) (lines []string, err error) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "facts")
	if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	if cols.marks == nil {
		if cols.marks, err = findMarks(t.Context(), file, cols); err != nil {
			return nil, err
		}
	}
	err = eachRow(t.Context(), file, cols, func(r row) error {
		said := []string{fmt.Sprint(r.line), r.unit, r.group}
		if !r.time.IsZero() {
			said = append(said, r.time.Format(time.RFC3339))
		}
		for _, v := range r.values {
			if v == nil {
				said = append(said, "none")
				continue
			}
			said = append(said, fmt.Sprint(*v))
		}
		lines = append(lines, strings.Join(said, " "))
		return nil
	}, func(wrong lineError) { lines = append(lines, wrong.Error()) }, func() {})
	return lines, err
}

func TestFilesAreReadAsProgramsWriteThem(t *testing.T) {
	var packed bytes.Buffer
	zip := gzip.NewWriter(&packed)
	_, _ = zip.Write([]byte("id\tg\tv\n1\ta\t2\n"))
	if err := zip.Close(); err != nil {
		t.Fatal(err)
	}
	all := columns{unit: "id", group: "g", metrics: []metricColumn{{column: "v"}}}
	for name, test := range map[string]struct {
		content string
		columns columns
		want    []string
	}{
		"compressed":                  {packed.String(), all, []string{"2 1 a 2"}},
		"bars":                        {"id|g|v\n1|a|1,234.5\n", all, []string{"2 1 a 1234.5"}},
		"a mark and carriage returns": {"\ufeff\"id\",g , v\r\n\"u,1\",\"say \"\"b\"\"\",\"-1,234,567.50\"\r\n", all, []string{`2 u,1 say "b" -1.2345675e+06`}},
		"decimal commas":              {"id;g;v\n1;a;0,5\n2;a;1.234,25\n3;b;1.234\n4;b;1,2,3\n", all, []string{"2 1 a 0.5", "3 2 a 1234.25", "4 3 b 1234", `line 5: column v: "1,2,3" is no number, and no true or false`}},
		"commas that group nothing":   {"id,g,v\n1,a,\"1,23,456\"\n2,a,\"1,234\"\n", all, []string{`line 2: column v: "1,23,456" is no number, and no true or false`, "3 2 a 1234"}},
		"no units":                    {"g,v\na,1\nb,\n", columns{group: "g", metrics: all.metrics}, []string{"2  a 1", "3  b none"}},
		"ids of another encoding":     {"id,g,v\n\xe4,a,1\n", all, []string{"line 2: the file is not UTF-8, so ids could not be told apart: save it as UTF-8, or turn it with iconv -f latin1 -t utf-8"}},
	} {
		got, err := read(t, test.content, test.columns)
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if diff := cmp.Diff(test.want, got); diff != "" {
			t.Errorf("%s: (-want +got)\n%s", name, diff)
		}
	}
}

// One value may say two numbers; the column as a whole rarely does.
func TestTheValuesOfAColumnTellWhatItsDecimalMarkIs(t *testing.T) {
	for _, test := range []struct {
		separator, values, decimal string
		want                       string
	}{
		{";", "1.234 1.234,50", "", "1234 1234.5"},
		{";", "1.234 0,5", "", "1234 0.5"},
		{";", "1.234 1.234.567", "", "1234 1.234567e+06"},
		{";", "1.234 -7.5", "", "1.234 -7.5"},
		{";", "1,234 0.125", "", "1234 0.125"},
		{";", "0,5 7.5", "", "0.5 7.5"},
		{";", "1,5E+03 12", "", "1500 12"},
		{";", "1 2000", "", "1 2000"},
		{";", "5.369E-01 12", "", "0.5369 12"},
		{",", `"5,369e+02" 12`, "", "536.9 12"},
		{";", "1.000.000 0,125", "", "1e+06 0.125"},
		{"|", "0,125 1,234", "", "0.125 1.234"},
		{"\t", "1,234 1,234.5", "", "1234 1234.5"},
		{"\t", "1.234 2.345", "", "1.234 2.345"},
		{",", "1.234 2", "", "1.234 2"},
		{",", `"1,234" 2`, "", "1234 2"},
		{",", `"1,234" "0,5"`, "", "1.234 0.5"},
		{";", "1.234 2", ".", "1.234 2"},
		{";", "1.234 2", ",", "1234 2"},
		{"|", "1,234 2", ",", "1.234 2"},

		{";", "5 1.234", "", `column v: "1.234" in line 3 may be 1.234 or 1234`},
		{";", "1,234 5", "", `column v: "1,234" in line 2 may be 1234 or 1.234`},
		{"\t", "1.234 1,234", "", `column v: "1,234" in line 3 may be 1234 or 1.234`},
		{";", "0,5 7.5 1.234", "", `column v: "1.234" in line 4 may be 1.234 or 1234`},
		{";", "0,5 1", ".", `line 2: column v: "0,5" is no number with a decimal .`},
	} {
		content := "g" + test.separator + "v\n"
		for _, value := range strings.Fields(test.values) {
			content += "a" + test.separator + value + "\n"
		}
		command := importCommand{GroupColumn: "g", Metric: []string{"v=v"}, Decimal: test.decimal}
		cols, err := command.columns()
		if err != nil {
			t.Fatal(err)
		}
		lines, err := read(t, content, cols)
		got := fmt.Sprint(err)
		if err == nil {
			for i, line := range lines {
				if _, value, ok := strings.Cut(line, "  a "); ok {
					lines[i] = value
				}
			}
			got = strings.Join(lines, " ")
		} else if exitCode(err) != exitUsage {
			t.Errorf("reading %q = %v; want a mistake of usage", content, err)
		}
		if !strings.HasPrefix(got, test.want) {
			t.Errorf("reading %q with --decimal %q = %s; want %s", content, test.decimal, got, test.want)
		}
	}
	if _, err := (&importCommand{GroupColumn: "g", Decimal: "x"}).columns(); exitCode(err) != exitUsage {
		t.Errorf("--decimal x = %v; want a mistake of usage", err)
	}
}

func TestTheNameOfAZoneIsNoOffset(t *testing.T) {
	zoned, err := layoutOf("%d.%m.%Y %H:%M %Z")
	if err != nil {
		t.Fatal(err)
	}
	// What a zone's name means must not depend on where the program runs.
	local := time.Local
	defer func() { time.Local = local }()
	time.Local = time.FixedZone("PST", -8*3600)

	for _, test := range []struct{ text, layout string }{
		{"2017-01-01 10:00:00 PST", ""},
		{"2017-01-01 10:00:00 CEST", ""},
		{"1.1.2017 10:00 PST", zoned},
	} {
		if got, err := readTime(test.text, test.layout); err == nil || !strings.Contains(err.Error(), "-0800") {
			t.Errorf("readTime(%q, %q) = %v, %v; want it to ask for an offset", test.text, test.layout, got, err)
		}
	}
	for _, test := range []struct {
		text, layout string
		hour         int
	}{
		{"2017-01-01 10:00:00 UTC", "", 10},
		{"2017-01-01 10:00:00 GMT", "", 10},
		{"2017-01-01 10:00:00 Z", "", 10},
		{"2017-01-01 10:00:00 -0800", "", 18},
		{"2017-01-01 10:00:00-0800", "", 18},
		{"2017-01-01 10:00:00 -08", "", 18},
		{"2017-01-01 10:00:00 -08:00", "", 18},
		{"1.1.2017 10:00 GMT", zoned, 10},
		{"2017-01-01 10:00 -0800 PST", "2006-01-02 15:04 -0700 MST", 18},
	} {
		want := time.Date(2017, 1, 1, test.hour, 0, 0, 0, time.UTC)
		if got, err := readTime(test.text, test.layout); err != nil || !got.Equal(want) {
			t.Errorf("readTime(%q, %q) = %v, %v; want %v", test.text, test.layout, got, err, want)
		}
	}
}

func TestAFileThatIsNoneSaysWhatToDo(t *testing.T) {
	cols := columns{unit: "id", group: "g"}
	for content, want := range map[string]string{
		"":                   "the file is empty",
		"\xff\xfei\x00d\x00": "save it as UTF-8",
		"PK\x03\x04":         "save it as CSV",
		"\x1f\x8bno":         "unpacking the file",
		"id,g,g\n1,a,b\n":    `two columns "g"`,
		"id,g\r1,a\r2,b\r":   `tr '\r' '\n'`,
		"user,g\n1,a\n":      `no column "id"; it has ["user" "g"]`,
	} {
		if _, err := read(t, content, cols); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("reading %q = %v; want %q", content, err, want)
		}
	}
}

func TestLayoutsOfTimesMayBeWrittenAsInC(t *testing.T) {
	want := time.Date(2026, 3, 14, 15, 9, 26, 0, time.UTC)
	for layout, text := range map[string]string{
		"%m/%d/%Y %H:%M:%S":    "03/14/2026 15:09:26",
		"%d.%m.%y %I:%M:%S %p": "14.3.26 3:09:26 PM",
		"%b %d, %Y %T%z":       "Mar 14, 2026 16:09:26+0100",
		"02/01/2006 15:04:05":  "14/03/2026 15:09:26",
		"%F %H:%M:%S.%f":       "2026-03-14 15:09:26.000",
	} {
		inGo, err := layoutOf(layout)
		if err != nil {
			t.Errorf("layoutOf(%q) = %v", layout, err)
		}
		if got, err := readTime(text, inGo); err != nil || !got.Equal(want) {
			t.Errorf("readTime(%q, %q) = %v, %v; want %v", text, layout, got, err, want)
		}
	}
	for _, layout := range []string{"%Q", "%Y-%"} {
		if _, err := layoutOf(layout); exitCode(err) != exitUsage {
			t.Errorf("layoutOf(%q) = %v; want a mistake of usage", layout, err)
		}
	}
	for _, text := range []string{"14.3.2026 15:09:26", "2026/3/14 15:09:26", "2026-03-14 15:09:26+00:00", "2026-03-14 15:09:26 UTC"} {
		if got, err := readTime(text, ""); err != nil || !got.Equal(want) {
			t.Errorf("readTime(%q) = %v, %v; want %v", text, got, err, want)
		}
	}
	if got, err := readTime("20260314", ""); err != nil || got.Format(time.DateOnly) != "2026-03-14" {
		t.Errorf("readTime of eight digits = %v, %v; want a day", got, err)
	}
	if _, err := readTime("3/4/2026", ""); err == nil || !strings.Contains(err.Error(), "month or with the day") {
		t.Errorf("readTime of a date with slashes = %v; want it to ask", err)
	}
}
