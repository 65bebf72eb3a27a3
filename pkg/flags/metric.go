package flags

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

func (m *Metric) header() header { return header{&m.ID, &m.Name, &m.About} }
