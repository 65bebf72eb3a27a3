package live

import (
	"encoding/json"
	"fmt"

	"github.com/sluice-flags/sluice/internal/statsig"
	wire "github.com/sluice-flags/sluice/pkg/events/live"
	"github.com/sluice-flags/sluice/services/edge/internal/follower"
)

// rulesChange lays a difference out as specs, in the form of a v1 download.
func rulesChange(d follower.Difference) (wire.Change, error) {
	change := wire.Change{
		// Everybody who holds the older generation holds at least this sequence.
		Prev: d.From.Since, Seq: d.To.Seq, Time: d.To.Time, IDLists: d.IDLists,
	}
	set, gone := d.Set, d.Delete
	for len(set) > 0 || len(gone) > 0 { // both are sorted: merge them
		if len(set) == 0 || len(gone) > 0 && follower.Compare(gone[0], set[0].Ref()) < 0 {
			change.Entries = append(change.Entries, wire.Entry{Section: gone[0].Section.String(), Name: gone[0].Name})
			gone = gone[1:]
			continue
		}
		spec, err := statsig.EncodeSpec(set[0])
		if err != nil {
			return wire.Change{}, err
		}
		change.Entries = append(change.Entries, wire.Entry{Section: set[0].Section().String(), Name: set[0].Name, Value: spec})
		set = set[1:]
	}
	if d.Layers != nil {
		layers, err := json.Marshal(d.Layers)
		if err != nil {
			return wire.Change{}, fmt.Errorf("encoding layers: %w", err)
		}
		change.Layers = layers
	}
	return change, nil
}
