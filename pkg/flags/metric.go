package flags

import (
	"bytes"
	"math"
)

// A Metric is a measured outcome: how events after a unit's first exposure become
// one number for the unit.
type Metric struct {
	ID   string `json:"id,omitempty"`
	Name string `json:"name" flags:"required"`
	About

	Type MetricType `json:"type" flags:"required"`
	// Measure says what is counted; a ratio has its two parts instead, a funnel
	// its steps.
	Measure

	Numerator   *MetricPart `json:"numerator,omitempty"` // of a ratio
	Denominator *MetricPart `json:"denominator,omitempty"`
	Funnel      *Funnel     `json:"funnel,omitempty"`
	Retention   *Retention  `json:"retention,omitempty"`
	Percentile  *Percentile `json:"percentile,omitempty"`

	Cap *Cap `json:"cap,omitempty"` // limits what outliers can do
	// MissingAsZero gives units without an event the value 0 where they would
	// else have none: for min, max and latest.
	MissingAsZero bool `json:"missingAsZero,omitempty"`
	// LookbackDays is how long before its first exposure a unit's events are
	// its covariate (CUPED): 7 if 0; -1 to do without.
	LookbackDays int `json:"lookbackDays,omitempty"`

	Direction Direction `json:"direction,omitempty"`
	// WindowHours limits how long after its first exposure a unit's events
	// count; 0 means to the end of the analysis.
	WindowHours int    `json:"windowHours,omitempty"`
	UnitType    string `json:"unitType,omitempty"`
	Status      Status `json:"status,omitempty"`

	// Verified says that somebody vouches for the definition. It goes when another
	// definition comes.
	Verified bool `json:"verified,omitempty"`
}

// MetricType says which number a metric is.
type MetricType string

// The types of metric.
const (
	MetricEventCount    MetricType = "event_count"    // number of events
	MetricEventUser     MetricType = "event_user"     // 1 for a unit with at least one
	MetricEventDAU      MetricType = "event_dau"      // days with an event, per day since the first exposure
	MetricSum           MetricType = "sum"            // sum of the events' values
	MetricMean          MetricType = "mean"           // value per event, for units that have any
	MetricMin           MetricType = "min"            // least value
	MetricMax           MetricType = "max"            // greatest value
	MetricLatest        MetricType = "latest"         // value of the last event
	MetricCountDistinct MetricType = "count_distinct" // number of different values
	MetricRatio         MetricType = "ratio"          // one sum over another
	MetricFunnel        MetricType = "funnel"         // share that goes through all steps in order
	MetricRetention     MetricType = "retention"      // 1 for a unit that comes back on a day
	MetricPercentile    MetricType = "percentile"     // quantile of unit values, or of event values
)

// hasValue reports whether a metric of the type looks at numbers, or texts, of events.
func (t MetricType) hasValue() bool {
	switch t {
	case MetricSum, MetricMean, MetricMin, MetricMax, MetricLatest, MetricCountDistinct, MetricPercentile:
		return true
	}
	return false
}

// Direction is which way a metric is better.
type Direction string

// The directions.
const (
	Increase Direction = "increase"
	Decrease Direction = "decrease"
)

// A MetricPart is the numerator or the denominator of a ratio: a metric of type
// event_count, event_user, event_dau, sum or count_distinct.
type MetricPart struct {
	Type MetricType `json:"type" flags:"required"`
	Measure
}

// A Funnel is a sequence of events, each strictly after the one before.
type Funnel struct {
	Steps []FunnelStep `json:"steps" flags:"required"`
	// FromExposure makes the first exposure the step before the first, so that
	// every exposed unit is in the denominator.
	FromExposure bool `json:"fromExposure,omitempty"`
	// SessionKey is the metadata key that tells sessions apart. With it,
	// sessions are counted instead of units.
	SessionKey string `json:"sessionKey,omitempty"`
	// CompletionSeconds limits how long after its first step, the earliest that there
	// is, the others count: for less than so many seconds. 0 means as long as events
	// count.
	CompletionSeconds int `json:"completionSeconds,omitempty"`
}

// A FunnelStep is an event that must happen.
type FunnelStep struct {
	Event   string         `json:"event" flags:"required"`
	Filters []MetricFilter `json:"filters,omitempty"`
}

// Retention asks whether an event falls into [day, day + days) after the first
// exposure, in days of 24 hours. Only units of which the whole of it has passed
// count.
type Retention struct {
	Day  int `json:"day" flags:"required"`
	Days int `json:"days,omitempty"` // 1 if left out
}

// A Percentile is a quantile at a level between 0 and 1.
type Percentile struct {
	Level float64      `json:"level" flags:"required"`
	Of    PercentileOf `json:"of,omitempty"`
}

// PercentileOf says what a percentile is a quantile of.
type PercentileOf string

// What a percentile can be a quantile of.
const (
	PercentileOfUnits  PercentileOf = "unit"  // sums of each unit's values
	PercentileOfEvents PercentileOf = "event" // the values, clustered by unit
)

// A Cap limits values: those of units to a percentile over all groups
// (winsorisation), or those of a unit's day to a number. One of the two.
type Cap struct {
	Percentile  float64 `json:"percentile,omitempty"`  // e.g. 0.999
	IgnoreZeros *bool   `json:"ignoreZeros,omitempty"` // zeros do not enter the percentile; true if left out
	PerDay      float64 `json:"perDay,omitempty"`
}

// Ref implements [Document].
func (m *Metric) Ref() Ref { return Ref{KindMetric, m.ID} }

// DocName implements [Document].
func (m *Metric) DocName() string { return m.Name }

func (m *Metric) header() header { return header{&m.ID, &m.Name, &m.About, m.Status == StatusArchived} }

func (m *Metric) references(func(mention)) {}

// sameDefinition reports whether m says about units what b does, however it is
// called and described.
func (m *Metric) sameDefinition(b *Metric) bool {
	bare := func(m *Metric) []byte {
		c := *m
		c.Name, c.About, c.Status, c.Verified = "", About{}, "", false
		return mustEncode(&c)
	}
	return bytes.Equal(bare(m), bare(b))
}

const (
	defaultLookback = 7   // days
	maxDays         = 366 // of any window
	maxSteps        = 20  // of one funnel
)

func (m *Metric) normalize() {
	normalizeAbout(&m.About)
	normalizeStatus(&m.Status)
	if m.Direction == "" {
		m.Direction = Increase
	}
	m.UnitType = CanonicalUnitType(m.UnitType)
	m.Measure.normalize(m.Type)
	for _, part := range []*MetricPart{m.Numerator, m.Denominator} {
		if part != nil {
			part.normalize(part.Type)
		}
	}
	if m.Funnel != nil {
		for i := range m.Funnel.Steps {
			unlist(&m.Funnel.Steps[i].Filters)
		}
	}
	if m.Retention != nil && m.Retention.Days == 0 {
		m.Retention.Days = 1
	}
	if m.Percentile != nil && m.Percentile.Of == "" {
		m.Percentile.Of = PercentileOfUnits
	}
	if m.Cap != nil && m.Cap.Percentile != 0 && m.Cap.IgnoreZeros == nil {
		m.Cap.IgnoreZeros = new(true)
	}
	if m.LookbackDays == defaultLookback {
		m.LookbackDays = 0
	}
}

// Lookback is the number of days before the first exposure that make the
// covariate; 0 if there is none.
func (m *Metric) Lookback() int {
	switch m.LookbackDays {
	case 0:
		return defaultLookback
	case -1:
		return 0
	}
	return m.LookbackDays
}

func (m *Metric) validate(v *validation) {
	oneOfValues(v, "/type", m.Type, MetricEventCount, MetricEventUser, MetricEventDAU, MetricSum, MetricMean, MetricMin, MetricMax,
		MetricLatest, MetricCountDistinct, MetricRatio, MetricFunnel, MetricRetention, MetricPercentile)
	oneOfValues(v, "/direction", m.Direction, Increase, Decrease)
	oneOfValues(v, "/status", m.Status, StatusInProgress, StatusArchived)
	if m.Type == MetricRatio || m.Type == MetricFunnel {
		m.noMeasure(v)
	} else {
		m.Measure.validate(v, "", m.Type)
	}
	m.parts(v)
	m.funnel(v)
	m.retention(v)
	m.percentile(v)
	m.cap(v)
	if m.MissingAsZero && m.Type != MetricMin && m.Type != MetricMax && m.Type != MetricLatest {
		v.add("/missingAsZero", CodeUnknown, "units without an event have a value in a metric of type %s anyway, or never", m.Type)
	}
	if m.LookbackDays < -1 || m.LookbackDays > maxDays {
		v.add("/lookbackDays", CodeInvalid, "want 1 to %d days, 0 for %d, or -1 to do without", maxDays, defaultLookback)
	}
	if m.WindowHours < 0 || m.WindowHours > 24*maxDays {
		v.add("/windowHours", CodeInvalid, "want 0 (to the end) to %d hours", 24*maxDays)
	}
	v.unitType("/unitType", m.UnitType)
}

// noMeasure refuses what the metric says of its own events, since it has none.
func (m *Metric) noMeasure(v *validation) {
	where := "its numerator and denominator do"
	if m.Type == MetricFunnel {
		where = "its steps do"
	}
	for _, member := range []struct {
		pointer string
		given   bool
	}{{"/event", m.Event != ""}, {"/valueFrom", m.ValueFrom != ""}, {"/filters", len(m.Filters) > 0}} {
		if member.given {
			v.add(member.pointer, CodeUnknown, "a %s names no events itself, %s", m.Type, where)
		}
	}
}

// has reports the member as missing, or as one that the metric's type has not.
// The caller looks into the member only where it is there as it should.
func (m *Metric) has(v *validation, pointer string, given bool, of MetricType) bool {
	if given && m.Type != of {
		v.add(pointer, CodeUnknown, "only a %s has it", of)
	}
	if !given && m.Type == of {
		v.add(pointer, CodeRequired, "a %s needs it", of)
	}
	return given && m.Type == of
}

func (m *Metric) parts(v *validation) {
	for _, p := range []struct {
		pointer string
		part    *MetricPart
	}{{"/numerator", m.Numerator}, {"/denominator", m.Denominator}} {
		if m.has(v, p.pointer, p.part != nil, MetricRatio) {
			oneOfValues(v, at(p.pointer, "type"), p.part.Type, MetricEventCount, MetricEventUser, MetricEventDAU, MetricSum, MetricCountDistinct)
			p.part.Measure.validate(v, p.pointer, p.part.Type)
		}
	}
}

func (m *Metric) funnel(v *validation) {
	if !m.has(v, "/funnel", m.Funnel != nil, MetricFunnel) {
		return
	}
	least := 2
	if m.Funnel.FromExposure {
		least = 1
	}
	if n := len(m.Funnel.Steps); n < least || n > maxSteps {
		v.add("/funnel/steps", CodeInvalid, "%d steps; want %d to %d", n, least, maxSteps)
	}
	for i, step := range m.Funnel.Steps {
		measure := Measure{Event: step.Event, Filters: step.Filters}
		measure.validate(v, at("/funnel/steps", i), MetricFunnel)
	}
	v.length("/funnel/sessionKey", m.Funnel.SessionKey, maxValue)
	if m.Funnel.SessionKey != "" && m.Funnel.FromExposure {
		v.add("/funnel/fromExposure", CodeInvalid, "an exposure belongs to no session: leave out fromExposure or sessionKey")
	}
	if c := m.Funnel.CompletionSeconds; c < 0 || c > maxDays*24*60*60 {
		v.add("/funnel/completionSeconds", CodeInvalid, "want seconds up to %d days, or 0 for no limit", maxDays)
	}
}

func (m *Metric) retention(v *validation) {
	if !m.has(v, "/retention", m.Retention != nil, MetricRetention) {
		return
	}
	if r := m.Retention; r.Day < 0 || r.Days < 1 || r.Day > maxDays || r.Days > maxDays {
		v.add("/retention", CodeInvalid, "want a day from 0 and 1 day or more, both at most %d", maxDays)
	}
	if m.WindowHours != 0 {
		v.add("/windowHours", CodeUnknown, "a retention metric says its window by day and days")
	}
}

func (m *Metric) percentile(v *validation) {
	if !m.has(v, "/percentile", m.Percentile != nil, MetricPercentile) {
		return
	}
	if l := m.Percentile.Level; !(l > 0 && l < 1) {
		v.add("/percentile/level", CodeInvalid, "want a level between 0 and 1, such as 0.95")
	}
	oneOfValues(v, "/percentile/of", m.Percentile.Of, PercentileOfUnits, PercentileOfEvents)
}

func (m *Metric) cap(v *validation) {
	if m.Cap == nil {
		return
	}
	switch m.Type {
	case MetricEventCount, MetricSum, MetricMean, MetricMin, MetricMax, MetricLatest, MetricCountDistinct, MetricRatio:
	default:
		v.add("/cap", CodeUnknown, "a metric of type %s has no outliers to cap", m.Type)
		return
	}
	c := *m.Cap
	if (c.Percentile != 0) == (c.PerDay != 0) {
		v.add("/cap", CodeInvalid, "want percentile or perDay")
	}
	if c.Percentile != 0 && !(c.Percentile > 0 && c.Percentile < 1) {
		v.add("/cap/percentile", CodeInvalid, "want a level between 0 and 1, such as 0.999")
	}
	if c.IgnoreZeros != nil && c.Percentile == 0 {
		v.add("/cap/ignoreZeros", CodeUnknown, "only a percentile looks at zeros")
	}
	if c.PerDay < 0 || math.IsInf(c.PerDay, 0) {
		v.add("/cap/perDay", CodeInvalid, "want a number above 0")
	}
	if c.PerDay != 0 && m.Type != MetricEventCount && m.Type != MetricSum {
		v.add("/cap/perDay", CodeUnknown, "only counts and sums add up over a day")
	}
}
