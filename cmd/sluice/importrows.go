package main

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"context"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// importedTypes are the types of metric that a column can be.
var importedTypes = []string{"sum", "mean", "event_user", "event_count", "min", "max", "latest"}

// columns say which column of a file holds what.
type columns struct {
	unit, group, time, layout string
	metrics                   []metricColumn
	drop                      [][]match // lines of which all of one hold are left out
	marks                     []mark    // of the columns of metrics, as [findMarks] found them
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
	unit, group string    // unit is empty without a column of units
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

// text returns the text of a file, which may be compressed.
func text(file io.Reader) (*bufio.Reader, error) {
	in := bufio.NewReaderSize(file, 1<<20)
	if mark, _ := in.Peek(2); string(mark) == "\x1f\x8b" {
		unzipped, err := gzip.NewReader(in)
		if err != nil {
			return nil, fmt.Errorf("unpacking the file: %w", err)
		}
		in = bufio.NewReaderSize(unzipped, 1<<20)
	}
	mark, _ := in.Peek(3)
	switch {
	case string(mark) == "\xef\xbb\xbf":
		_, _ = in.Discard(3) // a byte order mark; it was there a moment ago
	case bytes.HasPrefix(mark, []byte("\xff\xfe")), bytes.HasPrefix(mark, []byte("\xfe\xff")):
		return nil, errors.New("the file is UTF-16: save it as UTF-8, or turn it with iconv -f utf-16 -t utf-8")
	case bytes.HasPrefix(mark, []byte("PK\x03")):
		return nil, errors.New("the file is an archive or a spreadsheet: unpack it, or save it as CSV")
	}
	return in, nil
}

// places are where the columns of a file are.
type places struct {
	unit, group, at int // -1 for a file without
	values          []int
	drop            [][]match
}

// locate finds the columns by the names in the first line.
func (c *columns) locate(names []string) (p places, err error) {
	find := func(column string) int {
		found := -1
		for i, name := range names {
			switch {
			case strings.TrimSpace(name) != column:
			case found >= 0 && err == nil:
				err = usageError(fmt.Sprintf("the file has two columns %q: rename one", column))
			default:
				found = i
			}
		}
		if found < 0 && err == nil {
			err = usageError(fmt.Sprintf("the file has no column %q; it has %q", column, names))
		}
		return found
	}
	maybe := func(column string) int {
		if column == "" {
			return -1
		}
		return find(column)
	}
	p = places{unit: maybe(c.unit), group: find(c.group), at: maybe(c.time)}
	for _, m := range c.metrics {
		if i := strings.LastIndex(m.column, ":"); i > 0 && err == nil && !has(names, m.column) && has(names, m.column[:i]) {
			err = usageError(fmt.Sprintf("metric %s: %q is no type that a column can be: want one of %s", m.metric, m.column[i+1:], strings.Join(importedTypes, ", ")))
		}
		p.values = append(p.values, find(m.column))
	}
	for _, all := range c.drop {
		all = slices.Clone(all)
		for i := range all {
			all[i].place = find(all[i].column)
		}
		p.drop = append(p.drop, all)
	}
	return p, err
}

// has reports whether one of the names is column.
func has(names []string, column string) bool {
	return slices.ContainsFunc(names, func(name string) bool { return strings.TrimSpace(name) == column })
}

// A line is one of the file that is wanted. Its fields are good until the next.
type line struct {
	number    int
	fields    []string
	at        places
	separator rune
}

// eachRow reads a file line by line, however long it is. Lines that cannot be
// read go to bad, and dropped is told of each that is not wanted; an error of the
// file as a whole, of use, or of ctx ends it.
func eachRow(ctx context.Context, path string, cols columns, use func(row) error, bad func(lineError), dropped func()) error {
	return eachLine(ctx, path, cols, func(l line) error {
		r := row{line: l.number}
		if wrong := r.read(cols, l.fields, l.at); wrong != "" {
			bad(lineError{l.number, wrong})
			return nil
		}
		return use(r)
	}, bad, dropped)
}

// findMarks finds out for each metric what stands before the decimals in its
// column.
func findMarks(ctx context.Context, path string, cols columns) ([]mark, error) {
	separator := ','
	seen := make([]usage, len(cols.metrics))
	err := eachLine(ctx, path, cols, func(l line) error {
		separator = l.separator
		for i, place := range l.at.values {
			seen[i].see(l.number, strings.TrimSpace(l.fields[place]))
		}
		return nil
	}, func(lineError) {}, func() {}) // who reads the file next reports them
	if err != nil {
		return nil, err
	}
	marks := make([]mark, len(seen))
	for i := range seen {
		if marks[i], err = seen[i].mark(cols.metrics[i].column, separator); err != nil {
			return nil, err
		}
	}
	return marks, nil
}

func eachLine(ctx context.Context, path string, cols columns, use func(line) error, bad func(lineError), dropped func()) error {
	file, err := os.Open(path)
	if err != nil {
		return err
	}
	defer file.Close()
	buffered, err := text(file)
	if err != nil {
		return err
	}
	in := csv.NewReader(buffered)
	in.ReuseRecord, in.LazyQuotes = true, false
	head, _ := buffered.Peek(4096) // as much of it as there is
	if bytes.Count(head, []byte("\r")) > 1 && !bytes.Contains(head, []byte("\n")) {
		return errors.New(`the lines of the file end with carriage returns alone: turn them with tr '\r' '\n'`)
	}
	in.Comma = separator(head)
	names, err := in.Read()
	switch {
	case errors.Is(err, io.EOF):
		return errors.New("the file is empty: want a line of column names first")
	case err != nil:
		return fmt.Errorf("the file has no line of column names: %w", err)
	}
	at, err := cols.locate(slices.Clone(names))
	if err != nil {
		return err
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
		if slices.ContainsFunc(at.drop, func(all []match) bool {
			return !slices.ContainsFunc(all, func(m match) bool { return strings.TrimSpace(fields[m.place]) != m.value })
		}) {
			dropped()
			continue
		}
		number, _ := in.FieldPos(0)
		if err := use(line{number, fields, at, in.Comma}); err != nil {
			return err
		}
	}
}

// separator finds out what stands between the columns: what the line of their
// names has most of.
func separator(text []byte) rune {
	line, _, _ := bytes.Cut(text, []byte("\n"))
	found := ','
	for _, other := range []rune{';', '\t', '|'} {
		if bytes.Count(line, []byte(string(other))) > bytes.Count(line, []byte(string(found))) {
			found = other
		}
	}
	return found
}

// read fills in what the fields of a line say, and says what is wrong with them.
func (r *row) read(cols columns, fields []string, at places) (wrong string) {
	r.group = strings.TrimSpace(fields[at.group])
	if at.unit >= 0 {
		r.unit = strings.TrimSpace(fields[at.unit])
	}
	switch {
	case at.unit >= 0 && r.unit == "":
		return "there is no unit in column " + cols.unit
	case len(r.unit) > 1024:
		return "the unit id is longer than 1024 bytes"
	case r.group == "":
		return "there is no group in column " + cols.group
	case !utf8.ValidString(r.unit) || !utf8.ValidString(r.group):
		return "the file is not UTF-8, so ids could not be told apart: save it as UTF-8, or turn it with iconv -f latin1 -t utf-8"
	}
	if at.at >= 0 {
		var err error
		if r.time, err = readTime(strings.TrimSpace(fields[at.at]), cols.layout); err != nil {
			return fmt.Sprintf("column %s: %v", cols.time, err)
		}
	}
	r.values = make([]*float64, len(at.values))
	for i, place := range at.values {
		v, err := readValue(strings.TrimSpace(fields[place]), cols.marks[i])
		if err != nil {
			return fmt.Sprintf("column %s: %v", cols.metrics[i].column, err)
		}
		r.values[i] = v
	}
	return ""
}

// A surveyed file is what the first reading of it found.
type surveyed struct {
	lines, bad  int
	dropped     int
	problems    []string
	groups      map[string]int // lines of each
	first, last time.Time
	counts      []lineError // of each metric, the first line whose value is neither 0 nor 1
}

// maxComplaints is how many bad lines are told of one by one.
const maxComplaints = 20

// survey reads the whole file and keeps no line of it.
func survey(ctx context.Context, path string, cols columns) (surveyed, error) {
	found := surveyed{groups: map[string]int{}, counts: make([]lineError, len(cols.metrics))}
	err := eachRow(ctx, path, cols, func(r row) error {
		found.lines++
		if found.groups[r.group]++; len(found.groups) > maxImportGroups {
			return usageError(fmt.Sprintf("column %s has more than %d different values: are these groups?", cols.group, maxImportGroups))
		}
		for i, v := range r.values {
			if v != nil && *v != 0 && *v != 1 && found.counts[i].line == 0 {
				found.counts[i] = lineError{r.line, strconv.FormatFloat(*v, 'g', -1, 64)}
			}
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
