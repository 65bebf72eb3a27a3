// Command ingest measures the way of a fact, each part beside its floor in the
// same run: the loader beside rows that were encoded beforehand, the decoder
// beside the standard library and a bare scan, the acknowledgement beside the
// broker's own, and memory under more than can be taken.
//
//	go run ./tests/bench/ingest              # about three minutes
//	go run ./tests/bench/ingest -long        # ten minutes of overload
//	go run ./tests/bench/ingest -only decode
//
// The broker and the service are processes of their own, made of this same
// binary; the engine is the embedded one. Data lives in a temporary folder that
// is removed at the end, and every child ends with this process.
package main

import (
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"text/tabwriter"
	"time"

	"github.com/sluice-flags/sluice/internal/warehouse/embed"
)

// sizes say how much is measured.
type sizes struct {
	rounds   int           // medians over them are quoted
	rows     int           // loaded in a round
	bodies   int           // acknowledged in a round
	decoding time.Duration // of each decoder in a round
	overload time.Duration
}

var (
	full  = sizes{rounds: 5, rows: 2_000_000, bodies: 3000, decoding: 300 * time.Millisecond, overload: 30 * time.Second}
	quick = sizes{rounds: 1, rows: 20_000, bodies: 40, decoding: 10 * time.Millisecond, overload: 500 * time.Millisecond}
)

const (
	longOverload = 10 * time.Minute
	limit        = 20 * time.Minute // of the whole run
)

// A bench is what benchmarks work with.
type bench struct {
	sizes
	dir string // temporary
}

// A benchmark measures something and tells of it.
type benchmark struct {
	name string
	run  func(context.Context, *bench) (table, error)
}

var benchmarks = []benchmark{{"loader", loading}, {"decode", decoding}, {"ack", acknowledging}, {"overload", overloading}}

func main() {
	embed.RunChildIfAsked()
	roleIfAsked()

	only := flag.String("only", names(), "which to run, comma-separated")
	small := flag.Bool("quick", false, "small sizes: shows that it works, not how fast")
	long := flag.Bool("long", false, "ten minutes of overload")
	rows := flag.Int("rows", 0, "rows that are loaded in a round")
	rounds := flag.Int("rounds", 0, "rounds of which medians are quoted")
	flag.Parse()
	s := full
	if *small {
		s = quick
	}
	if *long {
		s.overload = longOverload
	}
	s.rows, s.rounds = cmp.Or(*rows, s.rows), cmp.Or(*rounds, s.rounds)
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	ctx, cancel := context.WithTimeoutCause(ctx, limit, fmt.Errorf("not done after %v", limit))
	defer cancel()
	if err := run(ctx, os.Stdout, s, strings.Split(*only, ",")); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func names() string {
	var all []string
	for _, b := range benchmarks {
		all = append(all, b.name)
	}
	return strings.Join(all, ",")
}

// run runs the benchmarks that are asked for.
func run(ctx context.Context, w io.Writer, s sizes, only []string) (err error) {
	for _, name := range only {
		if !slices.ContainsFunc(benchmarks, func(b benchmark) bool { return b.name == name }) {
			return fmt.Errorf("no benchmark %q; there are %s", name, names())
		}
	}
	fmt.Fprintf(w, "%s, %d cores, %s/%s, data in %s\n", runtime.Version(), runtime.NumCPU(), runtime.GOOS, runtime.GOARCH, os.TempDir())
	for _, one := range benchmarks {
		if !slices.Contains(only, one.name) {
			continue
		}
		t, err := inFolder(func(dir string) (table, error) { return one.run(ctx, &bench{s, dir}) })
		if err != nil {
			return fmt.Errorf("%s: %w", one.name, err)
		}
		t.print(w)
	}
	return nil
}

// inFolder gives do a folder that is gone afterwards.
func inFolder(do func(dir string) (table, error)) (t table, err error) {
	dir, err := os.MkdirTemp("", "sluice-bench-")
	if err != nil {
		return table{}, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	return do(dir)
}

// A table is what a benchmark found.
type table struct {
	title   string
	columns []string
	rows    [][]string
}

func (t *table) add(cells ...string) { t.rows = append(t.rows, cells) }

func (t *table) print(w io.Writer) {
	fmt.Fprintf(w, "\n%s\n\n", t.title)
	tw := tabwriter.NewWriter(w, 0, 0, 3, ' ', tabwriter.AlignRight)
	for _, row := range append([][]string{t.columns}, t.rows...) {
		fmt.Fprintln(tw, "\t"+strings.Join(row, "\t")+"\t")
	}
	_ = tw.Flush() // to a terminal or a file of the caller's
}

func median(values []float64) float64 {
	if len(values) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(values))
	return sorted[len(sorted)/2]
}

func rate(v float64) string  { return fmt.Sprintf("%.0f", v) }
func ratio(v float64) string { return fmt.Sprintf("%.2f", v) }
