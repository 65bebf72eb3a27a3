package flags

import "strings"

// A Metric is a measured outcome: how events after a unit's first exposure become
// one number for the unit.
type Metric struct {
	ID   string `json:"id,omitempty"`
	Name string `json:"name" flags:"required"`
	About

	Type  MetricType `json:"type" flags:"required"`
	Event string     `json:"event" flags:"required"` // the event's name
	// ValueFrom says where sum and mean find the number: "value", the event's
	// own, or "metadata.<key>".
	ValueFrom string         `json:"valueFrom,omitempty"`
	Filters   []MetricFilter `json:"filters,omitempty"` // all must hold
	Direction Direction      `json:"direction,omitempty"`
	// WindowHours limits how long after its first exposure a unit's events
	// count; 0 means to the end of the analysis.
	WindowHours int    `json:"windowHours,omitempty"`
	UnitType    string `json:"unitType,omitempty"`
	Status      Status `json:"status,omitempty"`
}

// MetricType says which number a metric is.
type MetricType string

// The types of metric.
const (
	MetricEventCount MetricType = "event_count" // number of events
	MetricEventUser  MetricType = "event_user"  // 1 for a unit with at least one
	MetricSum        MetricType = "sum"         // sum of the events' values
	MetricMean       MetricType = "mean"        // value per event, for units that have any
)

// Direction is which way a metric is better.
type Direction string

// The directions.
const (
	Increase Direction = "increase"
	Decrease Direction = "decrease"
)

// A MetricFilter keeps the events whose metadata has, or has not, one of the
// values.
type MetricFilter struct {
	Metadata string   `json:"metadata" flags:"required"` // the key
	Operator string   `json:"operator" flags:"required"` // any or none
	Values   []string `json:"values" flags:"required"`
}

// Ref implements [Document].
func (m *Metric) Ref() Ref { return Ref{KindMetric, m.ID} }

// DocName implements [Document].
func (m *Metric) DocName() string { return m.Name }

func (m *Metric) header() header { return header{&m.ID, &m.Name, &m.About, m.Status == StatusArchived} }

const (
	valueOfEvent    = "value"
	valueOfMetadata = "metadata."
)

func (m *Metric) normalize() {
	normalizeAbout(&m.About)
	normalizeStatus(&m.Status)
	if m.Direction == "" {
		m.Direction = Increase
	}
	if m.ValueFrom == "" && m.hasValue() {
		m.ValueFrom = valueOfEvent
	}
	m.UnitType = canonicalUnitType(m.UnitType)
	unlist(&m.Filters)
}

// hasValue reports whether the metric adds up numbers of events.
func (m *Metric) hasValue() bool { return m.Type == MetricSum || m.Type == MetricMean }

// ValueKey is the metadata key that holds the number, empty for the event's own
// value.
func (m *Metric) ValueKey() string {
	key, _ := strings.CutPrefix(m.ValueFrom, valueOfMetadata)
	if key == m.ValueFrom {
		return ""
	}
	return key
}

func (m *Metric) validate(v *validation) {
	oneOfValues(v, "/type", m.Type, MetricEventCount, MetricEventUser, MetricSum, MetricMean)
	oneOfValues(v, "/direction", m.Direction, Increase, Decrease)
	oneOfValues(v, "/status", m.Status, StatusInProgress, StatusArchived)
	if m.Event == "" {
		v.add("/event", CodeRequired, "the metric counts no event")
	}
	v.length("/event", m.Event, maxValue)
	switch {
	case m.ValueFrom == "" || m.ValueFrom == valueOfEvent || m.ValueKey() != "":
	default:
		v.add("/valueFrom", CodeInvalid, `want "value" or "metadata.<key>"`)
	}
	if m.ValueFrom != "" && !m.hasValue() {
		v.add("/valueFrom", CodeUnknown, "a metric of type %s has no value", m.Type)
	}
	v.length("/valueFrom", m.ValueFrom, maxValue)
	if len(m.Filters) > maxConditions {
		v.add("/filters", CodeTooLarge, "%d filters; at most %d", len(m.Filters), maxConditions)
	}
	for i, f := range m.Filters {
		pointer := at("/filters", i)
		if f.Metadata == "" {
			v.add(at(pointer, "metadata"), CodeRequired, "the filter names no key")
		}
		v.length(at(pointer, "metadata"), f.Metadata, maxValue)
		oneOfValues(v, at(pointer, "operator"), f.Operator, "any", "none")
		if len(f.Values) == 0 {
			v.add(at(pointer, "values"), CodeRequired, "the filter has no values")
		}
		v.texts(at(pointer, "values"), f.Values, maxValues, maxValue)
	}
	if m.WindowHours < 0 || m.WindowHours > 24*366 {
		v.add("/windowHours", CodeInvalid, "want 0 (to the end) to %d hours", 24*366)
	}
	v.unitType("/unitType", m.UnitType)
}

func (m *Metric) references(func(mention)) {}
