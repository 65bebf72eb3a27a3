package demo

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"text/tabwriter"
	"time"

	"golang.org/x/sync/errgroup"
)

// Print tells a person what the demo holds and what to try.
func (f Facts) Print(w io.Writer) {
	fmt.Fprintf(w, `
  demo page    %[1]s   (open it, then run the lines below)
  server key   %[2]s
  client key   %[3]s
  console key  %[4]s

Try this in another terminal:

  SLUICE=%[5]s
  KEY=%[4]s

  # ask what a user gets, as a service would: without the new checkout
  curl "$SLUICE/features/gate/%[6]s?user_id=%[10]s" -H 'statsig-api-key: %[2]s'

  # turn the gate %[6]s on for everyone, and ask again
  curl -X PATCH $SLUICE%[7]s/gates/%[6]s -H "Authorization: Bearer $KEY" \
    -H 'If-Match: *' -H 'Content-Type: application/json' \
    -d '{"rules":[{"name":"Everyone","passPercentage":100,"conditions":[{"type":"public"}]}]}'

  # change the config %[8]s
  curl -X PATCH $SLUICE%[7]s/configs/%[8]s -H "Authorization: Bearer $KEY" \
    -H 'If-Match: *' -H 'Content-Type: application/json' \
    -d '{"defaultValue":{"text":"Free delivery today","colour":"green"}}'

  # ask what the experiment shows so far, as a card, and as JSON
  %[11]s results %[9]s --url $SLUICE --key $KEY
  curl "$SLUICE%[7]s/experiments/%[9]s/results?wait=60" -H "Authorization: Bearer $KEY"

The demo's visitors have begun to come; in a minute their lift is printed here.
`,
		f.Addresses.Page, f.Keys.Server, f.Keys.Client, f.Keys.Console, f.Addresses.HTTP,
		f.Gate, projectPath, f.Config, f.Experiment, asked, os.Args[0])
}

// report is the part of an experiment's results that is printed.
type report struct {
	SRM struct {
		Verdict string   `json:"verdict"`
		PValue  *float64 `json:"pValue"`
	} `json:"srm"`
	Groups []struct {
		Name  string `json:"name"`
		Units uint64 `json:"units"`
	} `json:"groups"`
	Metrics []struct {
		Name   string `json:"name"`
		Groups []struct {
			Group      string      `json:"group"`
			Comparison *comparison `json:"comparison"`
		} `json:"groups"`
	} `json:"metrics"`
}

type comparison struct {
	PValue *float64 `json:"pValue"`
	Lift   struct {
		Value    *float64 `json:"value"`
		Interval struct {
			Lower *float64 `json:"lower"`
			Upper *float64 `json:"upper"`
		} `json:"interval"`
	} `json:"lift"`
}

// covers reports whether the interval of the lift holds the true one.
func (c *comparison) covers(truth float64) bool {
	low, high := c.Lift.Interval.Lower, c.Lift.Interval.Upper
	return low != nil && high != nil && *low <= truth && truth <= *high
}

// afterAMinute is when the first results are printed: the opening is over and its
// last facts have been loaded.
const afterAMinute = opening + 3*time.Second

// Run sends traffic until ctx is done, and prints the experiment's lift beside
// the true one after a minute.
func Run(ctx context.Context, f Facts, data string, out io.Writer, logger *slog.Logger) error {
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return NewTraffic(f, data, logger).Run(ctx) })
	g.Go(func() error {
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(afterAMinute):
		}
		if err := f.printLift(ctx, out, data); err != nil && ctx.Err() == nil {
			logger.WarnContext(ctx, "the demo's results cannot be printed", slog.Any("error", err))
		}
		return nil
	})
	return g.Wait()
}

// printLift writes each group's lift, its interval, and the true effect.
func (f Facts) printLift(ctx context.Context, out io.Writer, data string) error {
	api := client{base: f.Addresses.HTTP, key: f.Keys.Console}
	var r report
	if _, err := api.call(ctx, http.MethodGet, projectPath+"/experiments/"+f.Experiment+"/results?wait=20", "", nil, &r); err != nil {
		return err
	}
	fmt.Fprintf(out, "\nExperiment %s so far:", f.Experiment)
	for _, g := range r.Groups {
		fmt.Fprintf(out, " %s %d", g.Name, g.Units)
	}
	fmt.Fprintf(out, " visitors; sample ratio %s\n\n", cmp.Or(r.SRM.Verdict, "unknown"))

	table := tabwriter.NewWriter(out, 0, 0, 3, ' ', 0)
	fmt.Fprintln(table, "  metric\tgroup\tlift\t95 % interval\tp\ttrue lift\tcovered")
	for _, m := range r.Metrics {
		for _, g := range m.Groups {
			truth, known := f.effect(m.Name, g.Group)
			c := g.Comparison
			if c == nil || !known || c.Lift.Value == nil || c.PValue == nil {
				continue
			}
			covered := "no"
			interval := "unbounded"
			if c.Lift.Interval.Lower != nil && c.Lift.Interval.Upper != nil {
				interval = fmt.Sprintf("%+.1f %% to %+.1f %%", 100**c.Lift.Interval.Lower, 100**c.Lift.Interval.Upper)
			}
			if c.covers(truth) {
				covered = "yes"
			}
			fmt.Fprintf(table, "  %s\t%s\t%+.1f %%\t%s\t%.2g\t%+.1f %%\t%s\n",
				m.Name, g.Group, 100**c.Lift.Value, interval, *c.PValue, 100*truth, covered)
		}
	}
	fmt.Fprintf(table, "\nThe same facts stand in %s.\n", filepath.Join(data, factsFile))
	return table.Flush()
}

// effect returns the true relative effect of a group on a metric.
func (f Facts) effect(metric, group string) (float64, bool) {
	for _, e := range f.Effects {
		if e.Metric == metric && e.Group == group {
			return e.Relative, true
		}
	}
	return 0, false
}
