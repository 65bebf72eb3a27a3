package stats

import (
	"encoding/json"
	"fmt"
	"math"
)

// An Optional is a number that may be undefined. The zero Optional is undefined.
// It never holds a NaN. It holds an infinity only as the open end of a one-sided
// interval: a number too large to represent is undefined.
type Optional struct {
	value   float64
	defined bool
}

// Defined returns v as an Optional, undefined if v is not a finite number.
func Defined(v float64) Optional {
	if !finite(v) {
		return Optional{}
	}
	return Optional{value: v, defined: true}
}

// unbounded returns the infinite end of an interval.
func unbounded(sign int) Optional { return Optional{value: math.Inf(sign), defined: true} }

// Get returns the number, and whether there is one.
func (o Optional) Get() (v float64, ok bool) { return o.value, o.defined }

// Or returns the number, or other where there is none.
func (o Optional) Or(other float64) float64 {
	if o.defined {
		return o.value
	}
	return other
}

// IsZero reports whether o is undefined; encoding/json's omitzero asks it.
func (o Optional) IsZero() bool { return !o.defined }

// String returns the number in its shortest form, or "undefined".
func (o Optional) String() string {
	if !o.defined {
		return "undefined"
	}
	return fmt.Sprint(o.value)
}

// MarshalJSON writes a number, null where undefined, and the strings "inf" and
// "-inf" for infinities, which JSON numbers cannot hold.
func (o Optional) MarshalJSON() ([]byte, error) {
	switch {
	case !o.defined:
		return []byte("null"), nil
	case math.IsInf(o.value, 1):
		return []byte(`"inf"`), nil
	case math.IsInf(o.value, -1):
		return []byte(`"-inf"`), nil
	}
	return json.Marshal(o.value)
}

// UnmarshalJSON reads what MarshalJSON writes.
func (o *Optional) UnmarshalJSON(raw []byte) error {
	switch string(raw) {
	case "null":
		*o = Optional{}
		return nil
	case `"inf"`:
		*o = unbounded(1)
		return nil
	case `"-inf"`:
		*o = unbounded(-1)
		return nil
	}
	var v float64
	if err := json.Unmarshal(raw, &v); err != nil {
		return fmt.Errorf("stats: reading a number: %w", err)
	}
	*o = Defined(v)
	return nil
}

// An Interval is a range that covers the true value at the level asked for. Both
// ends are undefined where there is no interval; one is infinite where it is
// one-sided.
type Interval struct {
	Lower Optional `json:"lower"`
	Upper Optional `json:"upper"`
}

// interval returns [lower, upper], undefined unless both are finite.
func interval(lower, upper float64) Interval {
	if !finite(lower, upper) {
		return Interval{}
	}
	return Interval{Lower: Defined(lower), Upper: Defined(upper)}
}

// Contains reports whether v lies in the interval. An undefined interval
// contains nothing.
func (i Interval) Contains(v float64) bool {
	return i.Lower.defined && i.Upper.defined && i.Lower.value <= v && v <= i.Upper.value
}

func finite(values ...float64) bool {
	for _, v := range values {
		if math.IsNaN(v) || math.IsInf(v, 0) {
			return false
		}
	}
	return true
}
