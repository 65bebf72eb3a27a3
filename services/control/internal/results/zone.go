package results

import (
	"fmt"
	"time"
	_ "time/tzdata" // images have no files of zones

	"github.com/sluice-flags/sluice/pkg/flags"
)

// zoneOf is the zone in which a project's days begin and end.
func zoneOf(state *flags.State) *time.Location { return state.Settings().Zone() }

// zoneVersion names the zone of a project, and the version of the project that it
// came with; it is empty for a project without settings.
func zoneVersion(state *flags.State) string {
	e, ok := state.Get(flags.Ref{Kind: flags.KindProject, ID: flags.KindProject.IDPrefix() + state.Project()})
	if !ok {
		return ""
	}
	return fmt.Sprintf("%s@%d", zoneOf(state), e.Seq)
}

// dayOf is the calendar day of a time, in a zone. Days there may have 23 or 25
// hours.
func (s *statement) dayOf(at string, zone *time.Location) string {
	return "toDate(" + at + ", " + s.bind(zone.String()) + ")"
}

// dayOfMilli is the number of the calendar day of a time in milliseconds.
func (s *statement) dayOfMilli(milliseconds string, zone *time.Location) string {
	return "toInt32(" + s.dayOf("fromUnixTimestamp64Milli("+milliseconds+", 'UTC')", zone) + ")"
}
