package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"
)

// importedTypes are the types of metric that a column can be.
var importedTypes = []string{"sum", "mean", "event_user", "event_count", "min", "max", "latest"}

// columns say which column of a file holds what.
type columns struct {
	unit, group, time, layout string
	metrics                   []metricColumn
	drop                      [][]match // lines of which all of one hold are left out
}

// A match is what a line may have in a column.
type match struct {
	column, value string
	place         int // of the column, once the file is open
}

// A metricColumn holds a metric's values, of after the exposure or before it.
type metricColumn struct {
	metric, column, kind string
	before               bool
}

// A row is one line of the file.
type row struct {
	line        int
	unit, group string
	time        time.Time // zero without a column of times
	values      []*float64
}

// A lineError is what is wrong with one line.
type lineError struct {
	line int
	text string
}

// Error implements error.
func (e lineError) Error() string { return fmt.Sprintf("line %d: %s", e.line, e.text) }

// eachRow reads a file line by line, however long it is. Lines that cannot be
// read go to bad, and dropped is told of each that is not wanted; an error of the
// file as a whole, of use, or of ctx ends it.
func eachRow(ctx context.Context, path string, cols columns, use func(row) error, bad func(lineError), dropped func()) error {
	file, err := os.Open(path)
	if err != nil {
		return err
	}
	defer file.Close()
	buffered := bufio.NewReaderSize(file, 1<<20)
	if mark, _ := buffered.Peek(3); string(mark) == "\xef\xbb\xbf" {
		_, _ = buffered.Discard(3) // a byte order mark; it was there a moment ago
	}
	in := csv.NewReader(buffered)
	in.ReuseRecord, in.LazyQuotes = true, false
	head, _ := buffered.Peek(4096) // as much of it as there is
	in.Comma = separator(head)
	names, err := in.Read()
	if err != nil {
		return fmt.Errorf("the file has no line of column names: %w", err)
	}
	names = slices.Clone(names)
	find := func(column string) (int, error) {
		for i, name := range names {
			if strings.TrimSpace(name) == column {
				return i, nil
			}
		}
		return 0, usageError(fmt.Sprintf("the file has no column %q; it has %q", column, names))
	}
	unit, err := find(cols.unit)
	if err != nil {
		return err
	}
	group, err := find(cols.group)
	if err != nil {
		return err
	}
	at := -1
	if cols.time != "" {
		if at, err = find(cols.time); err != nil {
			return err
		}
	}
	places := make([]int, len(cols.metrics))
	for i, m := range cols.metrics {
		if places[i], err = find(m.column); err != nil {
			return err
		}
	}
	drop := make([][]match, len(cols.drop))
	for i, all := range cols.drop {
		drop[i] = slices.Clone(all)
		for k := range all {
			if drop[i][k].place, err = find(all[k].column); err != nil {
				return err
			}
		}
	}
	for n := 0; ; n++ {
		if n%1024 == 0 && ctx.Err() != nil {
			return ctx.Err()
		}
		fields, err := in.Read()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if wrong, ok := errors.AsType[*csv.ParseError](err); ok {
			bad(lineError{wrong.StartLine, wrong.Err.Error()})
			continue
		}
		if err != nil {
			return err
		}
		if slices.ContainsFunc(drop, func(all []match) bool {
			return !slices.ContainsFunc(all, func(m match) bool { return strings.TrimSpace(fields[m.place]) != m.value })
		}) {
			dropped()
			continue
		}
		line, _ := in.FieldPos(0)
		r := row{line: line, unit: strings.TrimSpace(fields[unit]), group: strings.TrimSpace(fields[group]), values: make([]*float64, len(places))}
		if wrong := r.read(cols, fields, at, places); wrong != "" {
			bad(lineError{line, wrong})
			continue
		}
		if err := use(r); err != nil {
			return err
		}
	}
}

// separator finds out what stands between the columns: what the line of their
// names has most of.
func separator(text []byte) rune {
	line, _, _ := bytes.Cut(text, []byte("\n"))
	found := ','
	for _, other := range []rune{';', '\t'} {
		if bytes.Count(line, []byte(string(other))) > bytes.Count(line, []byte(string(found))) {
			found = other
		}
	}
	return found
}

// read fills in times and values, and says what is wrong with them.
func (r *row) read(cols columns, fields []string, at int, places []int) (wrong string) {
	switch {
	case r.unit == "":
		return "there is no unit in column " + cols.unit
	case len(r.unit) > 1024:
		return "the unit id is longer than 1024 bytes"
	case r.group == "":
		return "there is no group in column " + cols.group
	}
	if at >= 0 {
		var err error
		if r.time, err = readTime(strings.TrimSpace(fields[at]), cols.layout); err != nil {
			return fmt.Sprintf("column %s: %v", cols.time, err)
		}
	}
	for i, place := range places {
		v, err := readValue(strings.TrimSpace(fields[place]))
		if err != nil {
			return fmt.Sprintf("column %s: %v", cols.metrics[i].column, err)
		}
		r.values[i] = v
	}
	return ""
}

// absent are the ways in which files say that there is no value.
var absent = []string{"", "na", "n/a", "nan", "null", "none", "-"}

// readValue reads a number, or a truth as 1 or 0; nil where there is no value.
func readValue(text string) (*float64, error) {
	low := strings.ToLower(text)
	switch {
	case slices.Contains(absent, low):
		return nil, nil
	case slices.Contains([]string{"true", "t", "yes", "y"}, low):
		return new(1.), nil
	case slices.Contains([]string{"false", "f", "no", "n"}, low):
		return new(0.), nil
	}
	v, err := strconv.ParseFloat(text, 64)
	if err != nil || math.IsInf(v, 0) || math.IsNaN(v) {
		return nil, fmt.Errorf("%q is no number, and no true or false", clipped(text))
	}
	return &v, nil
}

// layouts are the ways of writing times that are known without being told.
var layouts = []string{time.RFC3339Nano, "2006-01-02 15:04:05.999999999", "2006-01-02T15:04:05.999999999", "2006-01-02 15:04", time.DateOnly}

func readTime(text, layout string) (time.Time, error) {
	if layout != "" {
		t, err := time.Parse(layout, text)
		if err != nil {
			return time.Time{}, fmt.Errorf("%q is not written like %q", clipped(text), layout)
		}
		return t.UTC(), nil
	}
	for _, known := range layouts {
		if t, err := time.Parse(known, text); err == nil {
			return t.UTC(), nil
		}
	}
	if seconds, err := strconv.ParseFloat(text, 64); err == nil && seconds > 1e8 && seconds < 1e14 {
		if seconds > 1e11 { // so many seconds are the year 5138
			return time.UnixMilli(int64(seconds)).UTC(), nil
		}
		return time.UnixMilli(int64(seconds * 1000)).UTC(), nil
	}
	return time.Time{}, fmt.Errorf("%q is no time; say how times are written with --time-format", clipped(text))
}

func clipped(text string) string {
	if len(text) > 40 {
		return strings.ToValidUTF8(text[:40], "") + "…"
	}
	return text
}

// A surveyed file is what the first reading of it found.
type surveyed struct {
	lines, bad  int
	dropped     int
	problems    []string
	groups      map[string]int // lines of each
	first, last time.Time
}

// maxComplaints is how many bad lines are told of one by one.
const maxComplaints = 20

// survey reads the whole file and keeps no line of it.
func survey(ctx context.Context, path string, cols columns) (surveyed, error) {
	found := surveyed{groups: map[string]int{}}
	err := eachRow(ctx, path, cols, func(r row) error {
		found.lines++
		if found.groups[r.group]++; len(found.groups) > maxImportGroups {
			return usageError(fmt.Sprintf("column %s has more than %d different values: are these groups?", cols.group, maxImportGroups))
		}
		if found.first.IsZero() || r.time.Before(found.first) {
			found.first = r.time
		}
		if r.time.After(found.last) {
			found.last = r.time
		}
		return nil
	}, func(wrong lineError) {
		if found.bad++; found.bad <= maxComplaints {
			found.problems = append(found.problems, wrong.Error())
		}
	}, func() { found.dropped++ })
	if found.bad > maxComplaints {
		found.problems = append(found.problems, fmt.Sprintf("and %d lines more", found.bad-maxComplaints))
	}
	return found, err
}

const maxImportGroups = 50
