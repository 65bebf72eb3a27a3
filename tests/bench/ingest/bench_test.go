package main

import (
	"os"
	"runtime"
	"strconv"
	"testing"
	"time"

	"github.com/sluice-flags/sluice/internal/warehouse/embed"
	"github.com/sluice-flags/sluice/tests/harness"
)

func TestMain(m *testing.M) {
	embed.RunChildIfAsked()
	roleIfAsked()
	os.Exit(m.Run())
}

// No time is asserted: that all rows were loaded, no more and no fewer, and every
// body was acknowledged is what makes a run succeed at all.
func TestEveryBenchmarkMeasuresOursAndItsFloor(t *testing.T) {
	harness.NeedEngine(t)
	if runtime.GOOS != "linux" {
		t.Skip("what processes use is read from /proc")
	}
	small := sizes{rounds: 1, rows: 3000, bodies: 8, decoding: time.Millisecond, overload: 200 * time.Millisecond}
	for _, one := range benchmarks {
		t.Run(one.name, func(t *testing.T) {
			got, err := one.run(t.Context(), &bench{small, t.TempDir()})
			if err != nil {
				t.Fatal(err)
			}
			for _, row := range got.rows {
				if len(row) != len(got.columns) {
					t.Errorf("row %q has %d cells; want those of %q", row, len(row), got.columns)
				}
				for i, cell := range row[1:] {
					if number, err := strconv.ParseFloat(cell, 64); cell != "" && (err != nil || number < 0) {
						t.Errorf("%s, column %q is %q; want a number", row[0], got.columns[i+1], cell)
					}
				}
			}
			if len(got.rows) < 2 {
				t.Errorf("rows are %q; want a floor, and ours", got.rows)
			}
		})
	}
}
