// Command sluice is the whole platform in one program: `sluice run` brings up
// every part on an embedded broker and an embedded ClickHouse engine; `sluice
// control`, `sluice edge` and `sluice ingest` are the services alone, for those
// who run NATS and ClickHouse themselves. The other verbs talk to a platform that
// runs: `sluice results`, `sluice eval` and `sluice import-facts`.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/sluice-flags/sluice/internal/config"
	"github.com/sluice-flags/sluice/internal/warehouse/embed"
	"github.com/sluice-flags/sluice/services/control"
	"github.com/sluice-flags/sluice/services/edge"
	"github.com/sluice-flags/sluice/services/ingest"
)

// commands are what the program can be told to do.
type commands struct {
	Run     runSettings      `cmd:"" help:"The whole platform in this process, on embedded parts."`
	Control control.Settings `cmd:"" help:"The control service alone, against NATS and ClickHouse that others run."`
	Edge    edge.Settings    `cmd:"" help:"An edge alone, against NATS that others run."`
	Ingest  ingest.Settings  `cmd:"" help:"The ingest service alone, against NATS and ClickHouse that others run."`

	Results     resultsCommand `cmd:"" help:"Print what an experiment, or the rollout of a gate, did to metrics."`
	Eval        evalCommand    `cmd:"" help:"Print what a user gets, now or then, and why."`
	ImportFacts importCommand  `cmd:"" help:"Load exposures and events from a CSV file, through the way that all facts take."`
}

func main() {
	embed.RunChildIfAsked() // the engine's host is this same binary

	var c commands
	parser, err := config.New("sluice", "Feature flags and experiments on an event log.", &c)
	if err != nil {
		fmt.Fprintln(os.Stderr, "sluice:", err)
		os.Exit(exitUsage)
	}
	args := os.Args[1:]
	if len(args) == 0 {
		args = []string{"--help"}
	}
	chosen := config.MustParse(parser, args)

	ctx, stop := config.Signals(context.Background())
	defer stop()
	switch chosen.Command() {
	case "run":
		err = run(ctx, &c.Run)
	case "control":
		err = control.Main(ctx, &c.Control)
	case "edge":
		err = edge.Main(ctx, &c.Edge)
	case "ingest":
		err = ingest.Main(ctx, &c.Ingest)
	case "results <experiment>":
		err = c.Results.run(ctx, os.Stdout)
	case "eval <name>":
		err = c.Eval.run(ctx, os.Stdout)
	case "import-facts <file>":
		err = c.ImportFacts.run(ctx, os.Stdout, os.Stderr)
	}
	if err != nil && !errors.Is(err, context.Canceled) {
		fmt.Fprintln(os.Stderr, "sluice:", err)
		os.Exit(exitCode(err))
	}
}
