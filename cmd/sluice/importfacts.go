package main

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/sluice-flags/sluice/internal/buildinfo"
)

// importCommand is `sluice import-facts`.
type importCommand struct {
	remote

	File string `arg:"" help:"CSV file with a line of column names first, in UTF-8, as it is or compressed with gzip; between columns a comma, a semicolon, a tab or a bar." type:"existingfile"`

	Experiment  string   `help:"Name of the experiment whose units these are." required:"" placeholder:"NAME"`
	UnitColumn  string   `help:"Column of the unit ids; every line is a unit of its own if left out." placeholder:"COLUMN"`
	GroupColumn string   `help:"Column of the names of groups." required:"" placeholder:"COLUMN"`
	TimeColumn  string   `help:"Column of the times. Without one, everything happened when the experiment started." placeholder:"COLUMN"`
	TimeFormat  string   `help:"How times are written, such as %d/%m/%Y %H:%M or, as Go writes it, 2006-01-02 15:04:05; found out if left out." placeholder:"LAYOUT"`
	Metric      []string `help:"Metric, the column of its values and, if it is to be made, its type (sum, mean, event_user, event_count, min, max, latest; sum if left out)." placeholder:"NAME=COLUMN[:TYPE]" sep:"none"`
	Before      []string `help:"Metric and the column of its values before the experiment, for CUPED." placeholder:"NAME=COLUMN" sep:"none"`
	Decimal     string   `help:"What stands before the decimals of numbers, a point or a comma; found out for each column if left out." placeholder:"MARK"`
	UnitType    string   `help:"Type of the units, where the experiment is to be made." default:"userID"`
	Create      bool     `help:"Make the experiment and the metrics that are not there."`
	Control     string   `help:"Group that the others are compared with, where the experiment is to be made; else the one called control, or the first." placeholder:"GROUP"`
	Share       []string `help:"Percentage of the units that a group should have, where the experiment is to be made; equal if left out." placeholder:"GROUP=PERCENT" sep:"none"`
	Shift       bool     `help:"Move all times by the same, so that the first is when the experiment started: for data that is too old to be taken as it is (two years)."`
	Drop        []string `help:"Leave out lines that have this value in this column; of several, all." placeholder:"COLUMN=VALUE[,COLUMN=VALUE]…" sep:"none"`
	SkipBad     bool     `help:"Leave lines that cannot be read out, instead of sending nothing."`
	FromLine    int      `help:"Begin at this line: earlier ones are stored." placeholder:"N"`
	ServerKey   string   `help:"Server key that the facts are sent with; one for this import alone is made and revoked if left out." env:"SLUICE_SERVER_KEY" placeholder:"KEY"`
}

// Bounds of one request; ingest takes 10,000 events and 1 MiB.
const (
	maxBatchEvents = 4000
	maxBatchBytes  = 900 << 10
)

// run reads the file once to find out how numbers are written, once to find
// everything that is wrong with it before anything is sent, and once to send it. The id of a fact is made of its line and
// what that says, so that repeating an import adds nothing.
func (c *importCommand) run(ctx context.Context, out, complaints io.Writer) error {
	if err := c.complete(c.Experiment); err != nil {
		return err
	}
	columns, err := c.columns()
	if err != nil {
		return err
	}
	if columns.marks == nil {
		if columns.marks, err = findMarks(ctx, c.File, columns); err != nil {
			return err
		}
	}
	found, err := survey(ctx, c.File, columns)
	if err != nil {
		return err
	}
	for _, problem := range found.problems {
		fmt.Fprintln(complaints, problem)
	}
	if found.bad > 0 && !c.SkipBad {
		return fmt.Errorf("%d of %d lines cannot be read, so nothing was sent; repair them, or leave them out with --skip-bad", found.bad, found.bad+found.lines)
	}
	if found.dropped > 0 {
		fmt.Fprintf(out, "%d lines are left out by --drop\n", found.dropped)
	}
	if found.lines == 0 {
		return errors.New("the file has no line that can be read")
	}
	target, err := c.target(ctx, columns, found)
	if err != nil {
		return err
	}
	for _, note := range target.notes {
		fmt.Fprintln(out, note)
	}
	if c.ServerKey == "" {
		revoke, err := c.makeKey(ctx)
		if err != nil {
			return err
		}
		defer revoke()
	}
	sent, err := c.send(ctx, columns, target, out, complaints)
	if err != nil {
		return err
	}
	fmt.Fprintf(out, "%d facts of %d lines are stored. They count within seconds: sluice results %q\n", sent, found.lines, c.Experiment)
	return nil
}

// columns reads what the flags say about columns.
func (c *importCommand) columns() (columns, error) {
	layout, err := layoutOf(c.TimeFormat)
	if err != nil {
		return columns{}, err
	}
	cols := columns{unit: c.UnitColumn, group: c.GroupColumn, time: c.TimeColumn, layout: layout}
	for _, list := range []struct {
		flag   string
		texts  []string
		before bool
	}{{"--metric", c.Metric, false}, {"--before", c.Before, true}} {
		for _, text := range list.texts {
			name, column, ok := strings.Cut(text, "=")
			if !ok || name == "" || column == "" {
				return columns{}, usageError(fmt.Sprintf("%s %q: want name=column", list.flag, text))
			}
			m := metricColumn{metric: name, column: column, before: list.before}
			if i := strings.LastIndex(column, ":"); i > 0 && slices.Contains(importedTypes, column[i+1:]) {
				m.column, m.kind = column[:i], column[i+1:]
			}
			cols.metrics = append(cols.metrics, m)
		}
	}
	switch c.Decimal {
	case "":
	case ".", ",":
		cols.marks = slices.Repeat([]mark{mark(c.Decimal[0])}, len(cols.metrics))
	default:
		return columns{}, usageError(fmt.Sprintf("--decimal %q: want a point or a comma", c.Decimal))
	}
	for _, text := range c.Drop {
		var all []match
		for one := range strings.SplitSeq(text, ",") {
			column, value, ok := strings.Cut(one, "=")
			if !ok || column == "" {
				return columns{}, usageError(fmt.Sprintf("--drop %q: want column=value", text))
			}
			all = append(all, match{column: strings.TrimSpace(column), value: strings.TrimSpace(value)})
		}
		cols.drop = append(cols.drop, all)
	}
	for _, m := range cols.metrics {
		if m.before && !slices.ContainsFunc(cols.metrics, func(o metricColumn) bool { return !o.before && o.metric == m.metric }) {
			return columns{}, usageError(fmt.Sprintf("--before %s: there is no --metric of this name", m.metric))
		}
	}
	return cols, nil
}

// makeKey makes a server key for this import, and returns what revokes it.
func (c *importCommand) makeKey(ctx context.Context) (revoke func(), err error) {
	got, err := c.call(ctx, c.Key, http.MethodPost, c.path("keys"), map[string]any{
		"name": "import-facts " + rand.Text()[:12], "kind": "server",
	})
	if err != nil {
		return nil, fmt.Errorf("making a server key, which facts are sent with (--server-key names one that you have): %w", err)
	}
	var made struct {
		ID  string `json:"id"`
		Key string `json:"key"`
	}
	if err := json.Unmarshal(got.body, &made); err != nil {
		return nil, fmt.Errorf("reading the new server key: %w", err)
	}
	c.ServerKey = made.Key
	return func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
		defer cancel()
		_, _ = c.patiently(ctx, c.Key, http.MethodPost, c.path("keys", made.ID, "revoke"), map[string]any{}) // it tells nobody anything: it was never shown
	}, nil
}

// A fact is one entry of a batch, as ingest takes it: an event, or an exposure.
type fact struct {
	ID         string            `json:"event_id"`
	Event      string            `json:"eventName,omitempty"`
	Experiment string            `json:"experiment,omitempty"`
	Group      string            `json:"group,omitempty"`
	Reason     string            `json:"reason,omitempty"`
	User       map[string]any    `json:"user"`
	Time       int64             `json:"time"`
	Value      *float64          `json:"value,omitempty"`
	Metadata   map[string]string `json:"metadata,omitempty"`
}

// send reads the file again and stores its facts, batch by batch.
func (c *importCommand) send(ctx context.Context, cols columns, to *importTarget, out, complaints io.Writer) (sent int, err error) {
	var batch []json.RawMessage
	var lines []int // of each entry of the batch
	rejected := 0
	size, last, told := 0, 0, time.Now()
	flush := func() error {
		if len(batch) == 0 {
			return nil
		}
		body := map[string]any{"events": batch, "statsigMetadata": map[string]string{
			"sdkType": "sluice-import", "sdkVersion": buildinfo.Read().Version,
		}}
		got, err := c.patiently(ctx, c.ServerKey, http.MethodPost, "/v1/events", body)
		if err != nil {
			return err
		}
		var reply struct {
			Accepted int `json:"accepted"`
			Rejected []struct {
				Index   int    `json:"index"`
				Message string `json:"message"`
			} `json:"rejected"`
		}
		if err := json.Unmarshal(got.body, &reply); err != nil {
			return fmt.Errorf("reading what became of a batch: %w", err)
		}
		for _, r := range reply.Rejected {
			if rejected++; rejected <= maxComplaints && r.Index < len(lines) {
				fmt.Fprintln(complaints, lineError{lines[r.Index], r.Message})
			}
		}
		sent += reply.Accepted
		batch, lines, size = batch[:0], lines[:0], 0
		if time.Since(told) > 2*time.Second {
			told = time.Now()
			fmt.Fprintf(out, "line %d: %d facts are stored\n", last, sent)
		}
		return nil
	}
	stored := c.FromLine // lines before this one are
	err = eachRow(ctx, c.File, cols, func(r row) error {
		if r.line < c.FromLine {
			return nil
		}
		for _, e := range to.facts(r) {
			raw, err := json.Marshal(e)
			if err != nil {
				return err
			}
			batch, lines, size = append(batch, raw), append(lines, r.line), size+len(raw)+1
		}
		last = r.line
		if len(batch) < maxBatchEvents && size < maxBatchBytes {
			return nil
		}
		if err := flush(); err != nil {
			return err
		}
		stored = last + 1
		return nil
	}, func(lineError) {}, func() {}) // they were reported
	if err == nil {
		err = flush()
	}
	if err != nil {
		return sent, fmt.Errorf("everything before line %d is stored; repeat the command, with --from-line %d to save time: nothing counts twice: %w", max(stored, 2), max(stored, 2), err)
	}
	if rejected > 0 {
		return sent, fmt.Errorf("%d facts were refused and set aside; %d are stored", rejected, sent)
	}
	return sent, nil
}
