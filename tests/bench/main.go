// Command bench measures what the platform promises, each number beside its
// floor: the cheapest thing of the same shape that this machine can do, built
// from the same parts and measured in the same run.
//
//	go run ./tests/bench -only push,flips,ingest,edge
//
// Absolute times belong to a machine and an hour; the last column, how many
// times the floor something costs, is what to compare. Rounds of ours and of the
// floor alternate, so that both see the same machine.
//
// The platform is the real one, `sluice run` in a process of its own. Data lives
// in a temporary folder that is removed at the end, every loop is bounded, and
// every child ends with this process.
package main

import (
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
	"time"
)

// sizes say how much is measured.
type sizes struct {
	clients int           // live clients of each kind
	pushes  int           // flips that are pushed to them, after a warm-up
	rounds  int           // of flips and of ingest; medians over them are quoted
	round   time.Duration // how long flips are counted in a round
	bodies  int           // of events, in a round
	flags   int           // of the project that the edge serves
	sdks    int           // that poll it
}

var (
	full  = sizes{clients: 1000, pushes: 100, rounds: 5, round: 2 * time.Second, bodies: 2000, flags: 1000, sdks: 10_000}
	quick = sizes{clients: 100, pushes: 10, rounds: 1, round: 300 * time.Millisecond, bodies: 50, flags: 100, sdks: 200}
)

// limit bounds the whole run.
const limit = 10 * time.Minute

// A benchmark measures something on a running platform and tells of it.
type benchmark struct {
	name string
	run  func(ctx context.Context, b *bench) ([]table, error)
}

var benchmarks = []benchmark{{"push", one(push)}, {"flips", one(flips)}, {"ingest", one(ingest)}, {"edge", edge}}

// one is a benchmark with a single table.
func one(run func(context.Context, *bench) (table, error)) func(context.Context, *bench) ([]table, error) {
	return func(ctx context.Context, b *bench) ([]table, error) {
		t, err := run(ctx, b)
		return []table{t}, err
	}
}

// A bench is what benchmarks work with.
type bench struct {
	sizes
	platform *platform
	dir      string // temporary
}

func main() {
	floorIfAsked() // the floors' processes are this same binary

	only := flag.String("only", names(), "which to run, comma-separated")
	small := flag.Bool("quick", false, "small sizes: shows that it works, not how fast")
	ops := flag.String("ops", "", "`address` for the platform's profiles and metrics during the run")
	flag.Parse()
	s := full
	if *small {
		s = quick
	}

	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	ctx, cancel := context.WithTimeoutCause(ctx, limit, fmt.Errorf("not done after %v", limit))
	defer cancel()
	if err := run(ctx, os.Stdout, s, strings.Split(*only, ","), *ops); err != nil {
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

// run runs the benchmarks that are asked for on one platform.
func run(ctx context.Context, w io.Writer, s sizes, only []string, ops string) (err error) {
	for _, name := range only {
		if !slices.ContainsFunc(benchmarks, func(b benchmark) bool { return b.name == name }) {
			return fmt.Errorf("no benchmark %q; there are %s", name, names())
		}
	}
	dir, err := os.MkdirTemp("", "sluice-bench-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	p, err := startPlatform(ctx, dir, ops)
	if err != nil {
		return err
	}
	defer p.stop()

	fmt.Fprintf(w, "%s, %d cores, %s/%s, data in %s\n", runtime.Version(), runtime.NumCPU(), runtime.GOOS, runtime.GOARCH, os.TempDir())
	b := &bench{sizes: s, platform: p, dir: dir}
	for _, one := range benchmarks {
		if !slices.Contains(only, one.name) {
			continue
		}
		tables, err := one.run(ctx, b)
		if err != nil {
			return fmt.Errorf("%s: %w", one.name, err)
		}
		for _, t := range tables {
			t.print(w)
		}
	}
	return nil
}
