package main

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"
	"time"
)

// A table is what a benchmark found. The first row of a group is its floor.
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

// quantile returns the p-quantile of unsorted values, the zero value of none.
func quantile[T time.Duration | float64](values []T, p float64) T {
	if len(values) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(values))
	return sorted[int(p*float64(len(sorted)-1))]
}

func median[T time.Duration | float64](values []T) T { return quantile(values, 0.5) }

func ms(d time.Duration) string { return fmt.Sprintf("%.2f", float64(d.Microseconds())/1000) }

func us(d time.Duration) string { return fmt.Sprintf("%.0f", float64(d.Nanoseconds())/1000) }

func rate(perSecond float64) string { return fmt.Sprintf("%.0f", perSecond) }

func times(x float64) string { return fmt.Sprintf("%.2f", x) }
