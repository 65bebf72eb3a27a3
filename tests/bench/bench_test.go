package main

import (
	"os"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/sluice-flags/sluice/tests/harness"
)

func TestMain(m *testing.M) {
	floorIfAsked()
	os.Exit(m.Run())
}

// No time is asserted: that every flip reached every client and every event its
// table is what makes the run succeed at all.
func TestEveryBenchmarkMeasuresOursAndItsFloor(t *testing.T) {
	harness.NeedEngine(t)
	if runtime.GOOS != "linux" {
		t.Skip("many clients on one thread need epoll")
	}
	small := sizes{clients: 20, pushes: 3, rounds: 1, round: 100 * time.Millisecond, bodies: 5, flags: 20, sdks: 50}
	dir := t.TempDir()
	p, err := startPlatform(t.Context(), dir, "")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.stop)
	b := &bench{sizes: small, platform: p, dir: dir}
	for _, one := range benchmarks {
		t.Run(one.name, func(t *testing.T) {
			tables, err := one.run(t.Context(), b)
			if err != nil {
				t.Fatal(err)
			}
			for _, got := range tables {
				for _, row := range got.rows {
					for i, cell := range row[1:] {
						number, err := strconv.ParseFloat(strings.TrimSuffix(cell, " B"), 64)
						if err != nil || number <= 0 {
							t.Errorf("%s, column %q is %q; want a number above zero", row[0], got.columns[i+1], cell)
						}
					}
				}
				if !strings.HasPrefix(got.rows[0][0], "floor") || len(got.rows) < 3 {
					t.Errorf("rows are %q; want a floor, then ours", got.rows)
				}
			}
		})
	}
}
