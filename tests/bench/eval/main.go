// Command eval measures the evaluator beside its published peers: the same flags,
// each written in the peer's own rule language, for the same users, in one
// process run.
//
//	make bench-eval
//
// Figures are CPU time per evaluation through each engine's public call, the least
// of rounds in which the engines take turns, so that all see the same machine.
// Absolute times belong to a machine and an hour. The ratios are what to compare:
// to the best peer, and to a bound that is written by hand for just this work.
//
// This is a module of its own, outside the workspace, so that nothing the peers
// need ever reaches the product.
package main

import (
	"flag"
	"fmt"
	"io"
	"math"
	"os"
	"runtime"
	"slices"
	"strings"
	"text/tabwriter"
	"time"
)

func main() {
	enough := flag.Duration("time", 10*time.Millisecond, "CPU `time` of each measurement")
	rounds := flag.Int("rounds", 30, "measurements of each cell, a sixth as many of those that take long; the least is printed")
	only := flag.String("only", "", "measure the rows alone whose name begins with `text`, such as W2")
	flag.Parse()
	if *rounds < 1 || *enough <= 0 {
		fmt.Fprintln(os.Stderr, "eval: -time and -rounds must be positive")
		os.Exit(1)
	}
	fmt.Printf("%s, %d cores, %s/%s, %d rounds of %v\n", runtime.Version(), runtime.NumCPU(), runtime.GOOS, runtime.GOARCH, *rounds, *enough)
	b := bench{engines: engines(), enough: *enough, rounds: *rounds, only: *only}
	b.run(os.Stdout)
}

type bench struct {
	engines []engine // ours first, the bound last
	enough  time.Duration
	rounds  int
	only    string // how names of the wanted rows begin
}

// A row is one workload; cells without a figure are NaN.
type row struct {
	name  string
	unit  time.Duration
	cells []cost // by engine
}

func (b *bench) run(w io.Writer) {
	var rows []row
	add := func(name string, unit time.Duration, of func(engine) func(int)) {
		if strings.HasPrefix(name, b.only) {
			rows = append(rows, b.measure(name, unit, of))
		}
	}
	for k := range kinds {
		add(k.String(), time.Nanosecond, func(e engine) func(int) {
			check := e.check(k)
			return func(i int) { check(i) }
		})
	}
	add("W1, exposure handed over", time.Nanosecond, func(e engine) func(int) { return e.exposed })
	add("W7, 1,000 flags to JSON", time.Microsecond, func(e engine) func(int) {
		if e.all == nil {
			return nil
		}
		all := e.all()
		return func(i int) { all(i) }
	})
	for _, n := range []int{1000, 10_000} {
		add(fmt.Sprintf("load %d flags", n), time.Millisecond, func(e engine) func(int) {
			if e.loader == nil {
				return nil
			}
			load := e.loader(n)
			return func(int) { _, done := load(); done() }
		})
	}
	if b.only != "" {
		b.print(w, rows)
		return
	}
	memory := row{name: "heap kept by a flag of 10,000", unit: 1}
	for i, e := range b.engines {
		memory.cells = append(memory.cells, cost{cpu: math.NaN()})
		if e.loader != nil && i < len(b.engines)-1 { // the bound makes nothing of what it reads
			memory.cells[i].cpu = kept(e.loader(10_000)) / 10_000
		}
	}
	b.print(w, append(rows, memory))
	b.printScaling(w)
}

// measure fills a row, one round of all engines after the other.
func (b *bench) measure(name string, unit time.Duration, of func(engine) func(int)) row {
	timed := make([]func(int), len(b.engines))
	for i, e := range b.engines {
		timed[i] = of(e)
	}
	costs := make([][]cost, len(b.engines))
	rounds := b.rounds
	if unit == time.Millisecond {
		rounds = (rounds + 5) / 6
	}
	for range rounds {
		for i, f := range timed {
			if f != nil {
				runtime.GC() // so that nobody pays for another's garbage
				costs[i] = append(costs[i], measure(f, b.enough))
			}
		}
	}
	out := row{name: name, unit: unit}
	for _, c := range costs {
		if len(c) == 0 {
			c = []cost{{cpu: math.NaN()}}
		}
		out.cells = append(out.cells, least(c))
	}
	return out
}

func (b *bench) print(w io.Writer, rows []row) {
	fmt.Fprint(w, "\nCPU time (and allocations) per evaluation\n\n")
	tw := tabwriter.NewWriter(w, 0, 0, 3, ' ', tabwriter.AlignRight)
	header := []string{""}
	for _, e := range b.engines {
		header = append(header, e.name)
	}
	fmt.Fprintln(tw, strings.Join(append(header, "best peer ÷ ours", "ours ÷ bound"), "\t")+"\t")
	for _, r := range rows {
		line := []string{r.name}
		best := math.NaN()
		for i, c := range r.cells {
			line = append(line, r.format(c))
			if i > 0 && i < len(r.cells)-1 && !(c.cpu >= best) && !math.IsNaN(c.cpu) {
				best = c.cpu
			}
		}
		ours, bound := r.cells[0].cpu, r.cells[len(r.cells)-1].cpu
		fmt.Fprintln(tw, strings.Join(append(line, ratio(best/ours), ratio(ours/bound)), "\t")+"\t")
	}
	_ = tw.Flush() // to a terminal or a file of the caller's
}

func (b *bench) printScaling(w io.Writer) {
	fmt.Fprintf(w, "\nWork of %d cores over that of one, ours\n\n", runtime.GOMAXPROCS(0))
	for k := range kinds {
		check := b.engines[0].check(k)
		var factors []float64
		for range b.rounds {
			factors = append(factors, scaling(func(i int) { check(i) }, b.enough))
		}
		slices.Sort(factors)
		fmt.Fprintf(w, "   %v %.2f", k, factors[len(factors)/2])
	}
	fmt.Fprintln(w)
}

func (r row) format(c cost) string {
	if math.IsNaN(c.cpu) {
		return "–"
	}
	if r.unit == 1 && strings.HasPrefix(r.name, "heap") {
		return fmt.Sprintf("%.1f KiB", c.cpu/1024)
	}
	v := c.cpu / float64(r.unit)
	digits := 0
	if v < 100 && r.unit > 1 {
		digits = 1
	}
	return fmt.Sprintf("%.*f %s (%.0f)", digits, v, r.unit.String()[1:], c.allocs)
}

func ratio(x float64) string {
	if math.IsNaN(x) {
		return "–"
	}
	if x >= 10 {
		return fmt.Sprintf("%.0f", x)
	}
	return fmt.Sprintf("%.2f", x)
}
