package loader

import (
	"crypto/sha256"
	"time"

	"github.com/sluice-flags/sluice/internal/bus/facts"
	"github.com/sluice-flags/sluice/internal/warehouse"
	"github.com/sluice-flags/sluice/pkg/events"
)

// A batch is messages as rows. Equal messages make equal rows in equal order,
// whenever and wherever: that is what the token promises the engine.
type batch struct {
	first, last uint64 // sequences
	messages    int
	bytes       int
	pending     uint64 // messages after the last

	oldest, newest time.Time // when the first and the last were stored

	exposures []warehouse.ExposureRow
	events    []warehouse.EventRow
	dead      []warehouse.DeadLetter
	poison    []poison
}

// poison is a message that does not decode.
type poison struct {
	message facts.Message
	reason  error
}

func (b *batch) rows() int { return len(b.exposures) + len(b.events) + len(b.dead) }

// add appends the facts of a message.
func (b *batch) add(m *facts.Message) {
	if b.messages == 0 && b.first == 0 {
		b.first = m.Seq
	}
	b.last = m.Seq
	b.messages++
	b.bytes += len(m.Data)
	b.pending, b.newest = m.Pending, m.Stored
	if b.messages == 1 {
		b.oldest = m.Stored
	}

	decoded, err := events.DecodeBatch(m.Data)
	if err != nil {
		b.poison = append(b.poison, poison{message: *m, reason: err})
		sum := sha256.Sum256(m.Data)
		b.dead = append(b.dead, warehouse.DeadLetter{
			Project: m.Project(), Reason: "undecodable", Detail: err.Error(), ReceivedAt: m.Stored, EventID: [16]byte(sum[:16]),
		})
		return
	}
	for i := range decoded.Exposures {
		b.exposures = append(b.exposures, exposureRow(decoded.Project, &decoded.Exposures[i]))
	}
	for i := range decoded.Events {
		b.events = append(b.events, eventRow(decoded.Project, &decoded.Events[i]))
	}
	for i := range decoded.Dead {
		d := &decoded.Dead[i]
		b.dead = append(b.dead, warehouse.DeadLetter{
			Project: decoded.Project, Reason: d.Reason, Detail: d.Detail, ReceivedAt: time.UnixMilli(d.Received).UTC(), EventID: d.ID, Body: []byte(d.Payload),
		})
	}
}

func exposureRow(project string, e *events.Exposure) warehouse.ExposureRow {
	return warehouse.ExposureRow{
		Project: project, Environment: e.Environment, Kind: e.Kind, Name: e.Name, RuleID: e.RuleID,
		GroupIndex: e.Group, Override: e.Override, UnitType: e.UnitType, UnitID: e.UnitID,
		Time: time.UnixMilli(e.Time).UTC(), ReceivedAt: time.UnixMilli(e.Received).UTC(), EventID: e.ID,
		Value: e.Value, Layer: e.Layer, Parameter: e.Parameter, Sequence: e.Sequence,
		SDKType: e.SDKType, SDKVersion: e.SDKVersion, Reason: e.Reason,
	}
}

func eventRow(project string, e *events.Event) warehouse.EventRow {
	return warehouse.EventRow{
		Project: project, Environment: e.Environment, Event: e.Name, UnitType: e.UnitType, UnitID: e.UnitID, UnitIDs: asMap(e.UnitIDs),
		Time: time.UnixMilli(e.Time).UTC(), ReceivedAt: time.UnixMilli(e.Received).UTC(), EventID: e.ID,
		Value: e.Value, ValueText: e.ValueText, Metadata: asMap(e.Metadata), SDKType: e.SDKType, SDKVersion: e.SDKVersion,
	}
}

func asMap(ps []events.Pair) map[string]string {
	m := make(map[string]string, len(ps))
	for _, p := range ps {
		m[p.Name] = p.Value
	}
	return m
}
