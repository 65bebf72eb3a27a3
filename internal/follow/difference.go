package follow

import (
	"fmt"

	"github.com/sluice-flags/sluice/pkg/events"
	"github.com/sluice-flags/sluice/pkg/flags"
)

// difference lists the entities that are not the same in two states. Before may
// be nil.
func difference(before, after *flags.State) []flags.Ref {
	old := map[flags.Ref]uint64{}
	if before != nil {
		for e := range before.Entities() {
			old[e.Ref] = e.Seq
		}
	}
	var changed []flags.Ref
	for e := range after.Entities() {
		seq, had := old[e.Ref]
		delete(old, e.Ref)
		if !had || seq != e.Seq || before.LogID() != after.LogID() {
			changed = append(changed, e.Ref)
		}
	}
	if before != nil {
		for e := range before.Entities() {
			if _, gone := old[e.Ref]; gone {
				changed = append(changed, e.Ref)
			}
		}
	}
	return changed
}

// Limits of what another log may take away without anybody having said so.
const (
	shrinkShare    = 5 // a fifth
	shrinkEntities = 10
)

// guardShrink refuses a state that lost much of what was there. Nobody means
// that by making a log anew; an operator who does removes the snapshots.
func guardShrink(before, after *flags.State) error {
	missing := 0
	for e := range before.Entities() {
		if e.Deleted {
			continue
		}
		if now, ok := after.Get(e.Ref); !ok || now.Deleted {
			missing++
		}
	}
	emptied := before.Len() > 0 && after.Len() == 0
	if emptied || missing > shrinkEntities && missing*shrinkShare > before.Len() {
		return fmt.Errorf("%w: the new log lacks %d of %d entities; keeping the old state until an operator decides",
			events.ErrEpoch, missing, before.Len())
	}
	return nil
}
