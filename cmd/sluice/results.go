package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"time"
)

// resultsCommand is `sluice results`.
type resultsCommand struct {
	remote

	Experiment string `arg:"" help:"Name or id of an experiment, or of a gate: then of each step of its rules that let a part of the units pass."`

	Method     string  `help:"How to decide: fixed, sequential or bayesian." enum:"fixed,sequential,bayesian" default:"fixed"`
	Alpha      float64 `help:"Level of the tests." default:"0.05"`
	Tail       string  `help:"Which differences count: two-sided, greater or less." enum:"two-sided,greater,less" default:"two-sided"`
	Correction string  `help:"For many metrics: none, holm, bonferroni, bh or by." enum:"none,holm,bonferroni,bh,by" default:"none"`
	CUPED      bool    `name:"cuped" help:"Adjust by what units did before, where that is worth it." default:"true" negatable:""`
	By         string  `help:"Break down by what was known of each unit at its first exposure: sdk, sdkVersion, reason, rule, layer, day, or an attribute that the project keeps." placeholder:"DIMENSION"`
	Top        int     `help:"How many values of --by get a slice of their own." placeholder:"N"`
	Impact     bool    `help:"Print what each treatment makes of a metric in a day, and relative to everybody: this reads all events of the metrics."`
	AsOf       string  `help:"Definition as of a sequence or a time." placeholder:"SEQUENCE|TIME"`

	JSON  bool `help:"Print the answer as it comes, as JSON." xor:"form"`
	CSV   bool `help:"Print one line per metric and group, as CSV." xor:"form"`
	SQL   bool `help:"Print the statements behind the numbers." xor:"form"`
	Check bool `help:"End with 6 if the numbers are not to be trusted: a sample ratio mismatch, many crossovers, uneven exclusions."`
}

// checkError is why a check has failed.
type checkError string

// Error implements error.
func (e checkError) Error() string { return string(e) }

// run prints the results of an experiment, or of a gate.
func (c *resultsCommand) run(ctx context.Context, out io.Writer) error {
	if err := c.complete(c.Experiment); err != nil {
		return err
	}
	query := url.Values{"method": {c.Method}, "alpha": {strconv.FormatFloat(c.Alpha, 'g', -1, 64)}, "tail": {c.Tail}, "correction": {c.Correction}, "wait": {"60"}}
	if !c.CUPED {
		query.Set("cuped", "false")
	}
	if c.By != "" {
		query.Set("by", c.By)
	}
	if c.Top != 0 {
		query.Set("top", strconv.Itoa(c.Top))
	}
	if c.Impact {
		query.Set("topline", "true")
	}
	if c.AsOf != "" {
		query.Set("asOf", c.AsOf)
	}
	if c.CSV {
		query.Set("format", "csv")
	}
	body, err := c.ask(ctx, c.path("experiments", c.Experiment, "results")+"?"+query.Encode())
	if isNotFound(err) {
		if gate, other := c.ask(ctx, c.path("gates", c.Experiment, "results")+"?"+query.Encode()); !isNotFound(other) {
			body, err = gate, other
		}
	}
	if err != nil {
		return err
	}
	if c.JSON || c.CSV {
		_, err := out.Write(body)
		return err
	}
	cards, err := scorecards(body)
	if err != nil {
		return err
	}
	var warnings []string
	for i, r := range cards {
		if c.SQL {
			for _, statement := range r.SQL {
				if _, err := fmt.Fprintf(out, "%s;\n\n", statement); err != nil {
					return err
				}
			}
			continue
		}
		if i > 0 {
			fmt.Fprintln(out)
		}
		r.impact = c.Impact
		if err := r.print(out, terminalOf(out)); err != nil {
			return err
		}
		warnings = append(warnings, r.Warnings...)
	}
	if len(cards) == 0 && !c.SQL {
		fmt.Fprintf(out, "No rule of the gate %s has let a part of its units pass, so there is nothing to compare.\n", c.Experiment)
	}
	if c.Check && len(warnings) > 0 {
		return checkError(fmt.Sprintf("the numbers are not to be trusted: %v", warnings))
	}
	return nil
}

// scorecards reads an answer: one scorecard of an experiment, or one of each step
// of a gate.
func scorecards(body []byte) ([]*scorecard, error) {
	var r struct {
		scorecard
		Gate  string `json:"gate"`
		Steps []struct {
			scorecard
			Rule       string  `json:"rule"`
			RuleName   string  `json:"ruleName"`
			Percentage float64 `json:"percentage"`
			Step       int     `json:"step"`
		} `json:"steps"`
	}
	if err := json.Unmarshal(body, &r); err != nil {
		return nil, fmt.Errorf("reading the results: %w", err)
	}
	if r.Gate == "" {
		return []*scorecard{&r.scorecard}, nil
	}
	var cards []*scorecard
	for i := range r.Steps {
		s := &r.Steps[i]
		s.Experiment = fmt.Sprintf("%s, rule %q at %g %%, step %d:", r.Gate, cmp.Or(s.RuleName, s.Rule), s.Percentage, s.Step)
		cards = append(cards, &s.scorecard)
	}
	return cards, nil
}

// ask reads an answer that may take longer than one request: then it goes on as
// an operation, which is waited for, and cancelled when nobody waits any more.
func (r *remote) ask(ctx context.Context, path string) ([]byte, error) {
	for {
		got, err := r.patiently(ctx, r.Key, http.MethodGet, path, nil)
		if err != nil || got.status != http.StatusAccepted {
			return got.body, err
		}
		operation := got.header.Get("Location")
		if err := r.await(ctx, operation); err != nil {
			return nil, err
		}
	}
}

// await returns when an operation has ended. Its answer is then at hand for
// whoever asks the question again.
func (r *remote) await(ctx context.Context, operation string) error {
	for {
		select {
		case <-ctx.Done():
			ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
			defer cancel()
			_, err := r.call(ctx, r.Key, http.MethodDelete, operation, nil)
			return errors.Join(context.Canceled, err)
		case <-time.After(500 * time.Millisecond):
		}
		got, err := r.call(ctx, r.Key, http.MethodGet, operation, nil)
		if err != nil {
			if ctx.Err() != nil {
				continue
			}
			return err
		}
		var op struct {
			Status  string `json:"status"`
			Problem string `json:"problem"`
		}
		if err := json.Unmarshal(got.body, &op); err != nil {
			return fmt.Errorf("reading operation %s: %w", operation, err)
		}
		switch op.Status {
		case "running":
		case "done":
			return nil
		default:
			return fmt.Errorf("the question came to nothing, it %s: %s", op.Status, op.Problem)
		}
	}
}

// A terminal is where a scorecard is printed.
type terminal struct {
	width  int
	colour bool
}

// terminalOf finds out what out is: 80 columns without colour unless it is a
// terminal, and without colour there too for whoever set NO_COLOR.
func terminalOf(out io.Writer) terminal {
	t := terminal{width: 80}
	if columns, err := strconv.Atoi(os.Getenv("COLUMNS")); err == nil && columns > 0 {
		t.width = columns
	}
	file, ok := out.(*os.File)
	if !ok {
		return t
	}
	if width, ok := columnsOf(file); ok {
		t.width = width
		t.colour = os.Getenv("NO_COLOR") == "" && os.Getenv("TERM") != "dumb"
	}
	return t
}
