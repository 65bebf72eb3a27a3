package durable_test

import (
	"path/filepath"
	"testing"

	"github.com/sluice-flags/sluice/internal/durable"
)

// The two benchmarks write what a head is: some two hundred bytes.

func BenchmarkFileWrite(b *testing.B) {
	f := durable.File{Path: filepath.Join(b.TempDir(), "state"), Magic: durable.Magic([]byte("TESTFILE")), Version: 1}
	benchmarkWrite(b, f.Write)
}

func BenchmarkSlotsWrite(b *testing.B) {
	benchmarkWrite(b, newSlots(filepath.Join(b.TempDir(), "state")).Write)
}

func benchmarkWrite(b *testing.B, write func([]byte) error) {
	payload := make([]byte, 200)
	for b.Loop() {
		if err := write(payload); err != nil {
			b.Fatal(err)
		}
	}
}
