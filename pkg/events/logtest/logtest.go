// Package logtest is the acceptance suite of [events.Log]: what every log must
// do, whatever is behind it.
package logtest

import (
	"testing"

	"github.com/sluice-flags/sluice/pkg/events"
)

// Run runs the suite. Open returns a new, empty log each time.
func Run(t *testing.T, open func(*testing.T) events.Log) {
	for _, test := range []struct {
		name string
		run  func(*testing.T, events.Log)
	}{
		{"an empty log has nothing in it", empty},
		{"what is appended is read back", appendAndRead},
		{"sequences are dense and times rise", denseAndRising},
		{"each envelope is chained to the one before", chained},
		{"an append on an old head is a conflict and writes nothing", conflict},
		{"a changeset lands together", changeset},
		{"a changeset that is refused leaves neither part nor hole", refusedChangeset},
		{"a repeated command is applied once", repeated},
		{"a repeated changeset is applied once", repeatedChangeset},
		{"a command is found by its id", lookup},
		{"an invalid command is refused", invalid},
		{"a document that is too large is refused", tooLarge},
		{"a boot equals a full replay", bootEqualsReplay},
		{"a boot has tombstones, and their names are retired", tombstones},
		{"any past sequence can be read", asOfSequence},
		{"any past time can be read", asOfTime},
		{"nobody sees half a commit in the past", asOfWithinCommit},
		{"the history of an entity is its own", history},
		{"following goes on from any position", follow},
		{"following refuses a position of another log", followElsewhere},
		{"following ends with its context", followEnds},
		{"readers may stop early", stopEarly},
		{"of writers at the same head one wins", race},
		{"concurrent writers lose nothing", concurrent},
	} {
		t.Run(test.name, func(t *testing.T) { test.run(t, open(t)) })
	}
}
