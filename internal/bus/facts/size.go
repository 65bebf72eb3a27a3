package facts

import "github.com/sluice-flags/sluice/pkg/events"

// Upper bounds of what facts take in a message: their texts, and for each of
// the fixed fields and lengths the most that it can take.

const perText = 4 // a marker and a length of up to 2 MiB

func exposureSize(e *events.Exposure) int {
	return 16 + 10 + 10 + 2 + 10 + 12*perText +
		len(e.Environment) + len(e.Kind) + len(e.Name) + len(e.RuleID) + len(e.UnitType) + len(e.UnitID) +
		len(e.Value) + len(e.Layer) + len(e.Parameter) + len(e.SDKType) + len(e.SDKVersion) + len(e.Reason) + pairsSize(e.Metadata)
}

func eventSize(e *events.Event) int {
	return 16 + 10 + 10 + 9 + 7*perText + pairsSize(e.UnitIDs) + pairsSize(e.Metadata) +
		len(e.Environment) + len(e.Name) + len(e.UnitType) + len(e.UnitID) + len(e.ValueText) + len(e.SDKType) + len(e.SDKVersion)
}

func pairsSize(ps []events.Pair) int {
	n := perText
	for _, p := range ps {
		n += 2*perText + len(p.Name) + len(p.Value)
	}
	return n
}

func deadSize(d *events.DeadLetter) int {
	return 16 + 10 + 3*perText + len(d.Reason) + len(d.Detail) + len(d.Payload)
}

func size(b *events.Batch) int {
	n := 0
	for i := range b.Exposures {
		n += exposureSize(&b.Exposures[i])
	}
	for i := range b.Events {
		n += eventSize(&b.Events[i])
	}
	for i := range b.Dead {
		n += deadSize(&b.Dead[i])
	}
	return n
}
