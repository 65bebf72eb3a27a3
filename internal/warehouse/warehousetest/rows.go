package warehousetest

import (
	"context"
	"maps"
	"slices"
	"time"

	"github.com/sluice-flags/sluice/internal/warehouse"
	"github.com/sluice-flags/sluice/pkg/events"
)

// ExposureRow is one row of table exposures.
type ExposureRow struct {
	Project     string
	Environment string // warehouse.DefaultEnvironment if empty
	Kind        string
	Name        string
	RuleID      string
	GroupIndex  uint8
	Override    bool
	UnitType    string
	UnitID      string
	Time        time.Time
	ReceivedAt  time.Time
	EventID     [16]byte
	Value       string
	Layer       string
	Parameter   string
	Sequence    uint64
	SDKType     string
	SDKVersion  string
	Reason      string
	Metadata    map[string]string
}

// EventRow is one row of table events.
type EventRow struct {
	Project     string
	Environment string // warehouse.DefaultEnvironment if empty
	Event       string
	UnitType    string
	UnitID      string
	UnitIDs     map[string]string
	Time        time.Time
	ReceivedAt  time.Time
	EventID     [16]byte
	Value       *float64 // nil if the event has none
	ValueText   string
	Metadata    map[string]string
	SDKType     string
	SDKVersion  string
}

// InsertExposures writes rows as a loader does: as messages of facts, and those
// as one block.
func InsertExposures(ctx context.Context, db *warehouse.DB, token string, rows []ExposureRow) error {
	b := warehouse.NewBlock()
	for rest := rows; len(rest) > 0; {
		batch := events.Batch{Project: rest[0].Project}
		for len(rest) > 0 && rest[0].Project == batch.Project {
			r := &rest[0]
			batch.Exposures = append(batch.Exposures, events.Exposure{
				ID: r.EventID, Time: r.Time.UnixMilli(), Received: r.ReceivedAt.UnixMilli(), Environment: r.Environment,
				Kind: r.Kind, Name: r.Name, RuleID: r.RuleID, Group: r.GroupIndex, Override: r.Override, UnitType: r.UnitType, UnitID: r.UnitID,
				Value: r.Value, Layer: r.Layer, Parameter: r.Parameter, Sequence: r.Sequence,
				SDKType: r.SDKType, SDKVersion: r.SDKVersion, Reason: r.Reason, Metadata: pairs(r.Metadata),
			})
			rest = rest[1:]
		}
		if err := b.Add(events.EncodeBatch(batch)); err != nil {
			return err
		}
	}
	return db.InsertExposures(ctx, token, b)
}

// InsertEvents writes rows as [InsertExposures] does.
func InsertEvents(ctx context.Context, db *warehouse.DB, token string, rows []EventRow) error {
	b := warehouse.NewBlock()
	for rest := rows; len(rest) > 0; {
		batch := events.Batch{Project: rest[0].Project}
		for len(rest) > 0 && rest[0].Project == batch.Project {
			r := &rest[0]
			batch.Events = append(batch.Events, events.Event{
				ID: r.EventID, Time: r.Time.UnixMilli(), Received: r.ReceivedAt.UnixMilli(), Environment: r.Environment,
				Name: r.Event, UnitType: r.UnitType, UnitID: r.UnitID, UnitIDs: pairs(r.UnitIDs),
				Value: r.Value, ValueText: r.ValueText, Metadata: pairs(r.Metadata), SDKType: r.SDKType, SDKVersion: r.SDKVersion,
			})
			rest = rest[1:]
		}
		if err := b.Add(events.EncodeBatch(batch)); err != nil {
			return err
		}
	}
	return db.InsertEvents(ctx, token, b)
}

func pairs(m map[string]string) (ps []events.Pair) {
	for _, name := range slices.Sorted(maps.Keys(m)) {
		ps = append(ps, events.Pair{Name: name, Value: m[name]})
	}
	return ps
}
