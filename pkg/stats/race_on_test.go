//go:build race

package stats_test

// The race detector makes arithmetic about fifteen times slower.
const raceEnabled = true
