package warehouse

import (
	"github.com/ClickHouse/ch-go/proto"
	"github.com/cespare/xxhash/v2"

	"github.com/sluice-flags/sluice/pkg/events"
)

// What follows are the tables that a block is for, and how a fact is put into the
// columns of its own.

type exposureColumns struct {
	table
	project, environment, kind, name *wordColumn
	ruleID                           *textColumn
	group, override                  *fixedColumn
	unitType                         *wordColumn
	unitID                           *textColumn
	unitKey, time, received, id      *fixedColumn
	value                            *textColumn
	layer, parameter                 *wordColumn
	sequence                         *fixedColumn
	sdkType, sdkVersion, reason      *wordColumn
	metadata                         *mapColumn
	days                             *fixedColumn
}

func newExposureColumns() (c exposureColumns) {
	t := table{name: "exposures"}
	c = exposureColumns{
		project: t.words("project"), environment: t.words("environment"), kind: t.words("kind"), name: t.words("name"),
		ruleID: t.texts("rule_id"), group: t.fixed("group_index", proto.ColumnTypeUInt8, 1), override: t.fixed("override", proto.ColumnTypeBool, 1),
		unitType: t.words("unit_type"), unitID: t.texts("unit_id"), unitKey: t.fixed("unit_key", proto.ColumnTypeUInt64, 8),
		time: t.times("ts"), received: t.times("received_at"), id: t.ids("event_id"),
		value: t.texts("value"), layer: t.words("layer"), parameter: t.words("parameter"), sequence: t.fixed("sequence", proto.ColumnTypeUInt64, 8),
		sdkType: t.words("sdk_type"), sdkVersion: t.words("sdk_version"), reason: t.words("reason"),
		metadata: t.maps("metadata"), days: t.days(),
	}
	t.project, t.received, t.id = c.project, c.received, c.id
	c.table = t
	return c
}

type eventColumns struct {
	table
	project, environment, name, unitType *wordColumn
	unitID                               *textColumn
	unitKey                              *fixedColumn
	unitIDs                              *mapColumn
	time, received, id                   *fixedColumn
	value                                *numberColumn
	valueText                            *textColumn
	metadata                             *mapColumn
	sdkType, sdkVersion                  *wordColumn
	days                                 *fixedColumn
}

func newEventColumns() (c eventColumns) {
	t := table{name: "events"}
	c = eventColumns{
		project: t.words("project"), environment: t.words("environment"), name: t.words("event"),
		unitType: t.words("unit_type"), unitID: t.texts("unit_id"), unitKey: t.fixed("unit_key", proto.ColumnTypeUInt64, 8), unitIDs: t.maps("unit_ids"),
		time: t.times("ts"), received: t.times("received_at"), id: t.ids("event_id"),
		value: add(&t, "value", newNumbers()), valueText: t.texts("value_text"), metadata: t.maps("metadata"),
		sdkType: t.words("sdk_type"), sdkVersion: t.words("sdk_version"), days: t.days(),
	}
	t.project, t.received, t.id = c.project, c.received, c.id
	c.table = t
	return c
}

type deadColumns struct {
	table
	project, reason *wordColumn
	detail          *textColumn
	received, id    *fixedColumn
	body            *textColumn
}

func newDeadColumns() (c deadColumns) {
	t := table{name: "dead_letters"}
	c = deadColumns{
		project: t.words("project"), reason: t.words("reason"), detail: t.texts("detail"),
		received: t.times("received_at"), id: t.ids("event_id"), body: t.texts("body"),
	}
	t.project, t.received, t.id = c.project, c.received, c.id
	c.table = t
	return c
}

// A visitor is a block that is shown a message.
type visitor Block

// Begin implements [events.FactsVisitor].
func (b *visitor) Begin(project events.Text) {
	b.project = project
	b.days = b.retention[b.reader.Text(project)]
	b.erased = b.erasures[b.reader.Text(project)]
}

// Exposure implements [events.FactsVisitor].
func (b *visitor) Exposure(e *events.ExposureRecord) {
	c := &b.exposures
	key := b.unitKey(e.UnitType, e.UnitID)
	if b.isErased(key, e.Received) {
		b.left++
		return
	}
	if c.skips(c.project.numberOf(b.project), &e.ID) {
		return
	}
	c.rows++
	c.project.text(b.project)
	b.environment(c.environment, e.Environment)
	c.kind.text(e.Kind)
	c.name.text(e.Name)
	c.ruleID.text(e.RuleID)
	c.group.byte(e.Group)
	c.override.bool(e.Override)
	c.unitType.text(e.UnitType)
	c.unitID.text(e.UnitID)
	c.unitKey.uint64(key)
	c.time.time(e.Time)
	c.received.time(e.Received)
	c.id.uuid(&e.ID)
	c.value.text(e.Value)
	c.layer.text(e.Layer)
	c.parameter.text(e.Parameter)
	c.sequence.uint64(e.Sequence)
	c.sdkType.text(e.SDKType)
	c.sdkVersion.text(e.SDKVersion)
	c.reason.text(e.Reason)
	c.metadata.pairs(e.Metadata)
	c.days.uint16(b.days)
}

// Event implements [events.FactsVisitor].
func (b *visitor) Event(e *events.EventRecord) {
	c := &b.events
	key := b.unitKey(e.UnitType, e.UnitID)
	if b.isErased(key, e.Received) || b.anyErased(e.UnitIDs, e.Received) {
		b.left++
		return
	}
	if c.skips(c.project.numberOf(b.project), &e.ID) {
		return
	}
	c.rows++
	c.project.text(b.project)
	b.environment(c.environment, e.Environment)
	c.name.text(e.Name)
	c.unitType.text(e.UnitType)
	c.unitID.text(e.UnitID)
	c.unitKey.uint64(key)
	c.unitIDs.pairs(e.UnitIDs)
	c.time.time(e.Time)
	c.received.time(e.Received)
	c.id.uuid(&e.ID)
	c.value.number(e.Value, e.HasValue)
	c.valueText.text(e.ValueText)
	c.metadata.pairs(e.Metadata)
	c.sdkType.text(e.SDKType)
	c.sdkVersion.text(e.SDKVersion)
	c.days.uint16(b.days)
}

// Dead implements [events.FactsVisitor].
func (b *visitor) Dead(d *events.DeadRecord) {
	c := &b.dead
	if c.skips(c.project.numberOf(b.project), &d.ID) {
		return
	}
	c.rows++
	c.project.text(b.project)
	c.reason.text(d.Reason)
	c.detail.text(d.Detail)
	c.received.time(d.Received)
	c.id.uuid(&d.ID)
	c.body.text(d.Payload)
}

// environment appends an environment, that of facts without one in place of none.
func (b *visitor) environment(c *wordColumn, t events.Text) {
	if b.reader.Text(t) == "" {
		c.string(DefaultEnvironment)
		return
	}
	c.text(t)
}

// isErased tells whether nothing is kept of a unit's fact that was received then.
func (b *visitor) isErased(key uint64, received int64) bool {
	before, ok := b.erased.before[key]
	return ok && received <= before.UnixMilli()
}

// anyErased is isErased of all units of an event.
func (b *visitor) anyErased(ids []events.TextPair, received int64) bool {
	if len(b.erased.before) == 0 {
		return false
	}
	for _, id := range ids {
		if b.isErased(b.unitKey(id.Name, id.Value), received) {
			return true
		}
		for _, unitType := range b.erased.types[b.reader.Text(id.Name)] {
			if b.isErased(b.keyOf(unitType, b.reader.Text(id.Value)), received) {
				return true
			}
		}
	}
	return false
}

func (b *visitor) unitKey(unitType, unitID events.Text) uint64 {
	return b.keyOf(b.reader.Text(unitType), b.reader.Text(unitID))
}

// keyOf is [UnitKey] without a copy.
func (b *visitor) keyOf(unitType, unitID string) uint64 {
	b.unit = append(b.unit[:0], unitType...)
	b.unit = append(b.unit, unitSeparator)
	b.unit = append(b.unit, unitID...)
	return xxhash.Sum64(b.unit)
}
