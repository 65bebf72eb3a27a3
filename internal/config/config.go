// Package config turns the command line and the environment into one struct per
// program: flags win over SLUICE_* variables, which win over defaults, and
// --help is the reference.
package config

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/alecthomas/kong"

	"github.com/sluice-flags/sluice/internal/buildinfo"
)

// Common are the settings that every program has; embed it.
type Common struct {
	LogLevel  slog.Level    `help:"Least level that is logged: debug, info, warn or error." default:"info" placeholder:"LEVEL"`
	LogFormat string        `help:"How log lines look: ${enum}." enum:"text,json" default:"text" placeholder:"FORMAT"`
	Drain     time.Duration `help:"How long work in progress may take to end on stop." default:"20s" placeholder:"DURATION"`
}

// Logger returns the logger that the settings ask for.
func (c Common) Logger(w io.Writer) *slog.Logger {
	options := &slog.HandlerOptions{Level: c.LogLevel}
	if c.LogFormat == "json" {
		return slog.New(slog.NewJSONHandler(w, options))
	}
	return slog.New(slog.NewTextHandler(w, options))
}

// Parse fills cfg from args (without the program's name) and the environment.
// Every flag --some-name is also the variable SLUICE_SOME_NAME. The context
// knows which command was chosen.
func Parse(name, description string, cfg any, args []string, options ...kong.Option) (*kong.Context, error) {
	parser, err := New(name, description, cfg, options...)
	if err != nil {
		return nil, err
	}
	return parser.Parse(args)
}

// New returns the parser that [Parse] uses. Every program has --version, too: by
// the command line alone, since SLUICE_VERSION is a likely name for something
// else, the tag of an image.
func New(name, description string, cfg any, options ...kong.Option) (*kong.Kong, error) {
	options = append([]kong.Option{
		kong.Name(name),
		kong.Description(description),
		kong.DefaultEnvars("SLUICE"),
		kong.Embed(&struct {
			Version kong.VersionFlag `help:"Print which build this is, and exit." env:"-"`
		}{}),
		kong.Vars{"version": buildinfo.Read().String()},
		kong.ConfigureHelp(kong.HelpOptions{Compact: true}),
		kong.ValueFormatter(describe),
	}, options...)
	return kong.New(cfg, options...)
}

// describe is what help says of a setting: what it is for, what it is if nobody
// sets it, and the variables that do.
func describe(v *kong.Value) string {
	var notes []string
	if v.HasDefault {
		notes = append(notes, "default "+v.Default)
	}
	for _, env := range v.Tag.Envs {
		notes = append(notes, "$"+env)
	}
	if len(notes) == 0 {
		return v.Help
	}
	return strings.TrimSuffix(v.Help, ".") + " (" + strings.Join(notes, ", ") + ")."
}

// Main is the body of a program's main: it parses the settings into cfg, runs
// until the program is interrupted or run fails, and ends the process. A failure
// is one line on standard error, and exit code 1, or [ExitUsage].
func Main[C any](name, description string, run func(ctx context.Context, cfg *C) error) {
	cfg := new(C)
	parser, err := New(name, description, cfg)
	if err != nil {
		fmt.Fprintf(os.Stderr, "%s: %v\n", name, err)
		os.Exit(ExitUsage)
	}
	MustParse(parser, os.Args[1:])

	ctx, stop := Signals(context.Background())
	defer stop()
	if err := run(ctx, cfg); err != nil && !errors.Is(err, context.Canceled) {
		fmt.Fprintf(os.Stderr, "%s: %v\n", name, err)
		os.Exit(1)
	}
}

// ExitUsage is the exit code of a program that was called in a way that it does
// not understand.
const ExitUsage = 2

// MustParse parses args. A mistake in them ends the process, with one line on
// standard error.
func MustParse(parser *kong.Kong, args []string) *kong.Context {
	chosen, err := parser.Parse(args)
	if err != nil {
		fmt.Fprintf(os.Stderr, "%s: %v; see --help\n", parser.Model.Name, err)
		os.Exit(ExitUsage)
	}
	return chosen
}

// Signals returns a context that ends on the first SIGINT or SIGTERM. A second
// one ends the process the hard way, because the first no longer catches it.
func Signals(parent context.Context) (context.Context, context.CancelFunc) {
	ctx, stop := signal.NotifyContext(parent, os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop)
	return ctx, stop
}
