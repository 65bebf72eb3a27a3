package eval

import (
	"math"
	"strconv"
	"time"
)

// timeTest passes instants in the wanted order to the target, in milliseconds.
type timeTest struct {
	target int64
	want   order
}

func newTime(want order) operator {
	return func(target any) (test, error) {
		ms, ok := targetMillis(target)
		if !ok {
			return constant(false), nil
		}
		return timeTest{ms, want}, nil
	}
}

func (t timeTest) match(v value) bool {
	ms, ok := v.millis()
	return ok && compare(ms, t.target)&t.want != 0
}

// dayTest passes instants of one UTC day.
type dayTest struct{ day int64 }

const millisPerDay = 24 * 60 * 60 * 1000

func newDay(target any) (test, error) {
	ms, ok := targetMillis(target)
	if !ok {
		return constant(false), nil
	}
	return dayTest{floorDiv(ms, millisPerDay)}, nil
}

func (t dayTest) match(v value) bool {
	ms, ok := v.millis()
	return ok && floorDiv(ms, millisPerDay) == t.day
}

func floorDiv(a, b int64) int64 {
	q := a / b
	if a%b < 0 {
		q--
	}
	return q
}

// targetMillis reads a target: a number is milliseconds; text is read as a
// user's would be, or as a UTC date with time.
func targetMillis(target any) (int64, bool) {
	v := valueOf(target)
	if v.kind == number {
		return truncate(v.num)
	}
	if ms, ok := v.millis(); ok {
		return ms, true
	}
	at, err := time.Parse(time.DateTime, v.text)
	return at.UnixMilli(), err == nil
}

// secondsBelow is the number below which an instant is in seconds; as seconds
// that is the year 2286, as milliseconds April 1970.
const secondsBelow = 1e10

// millis reads an instant of a user: a number or digits in seconds or
// milliseconds by size, or RFC 3339 text.
func (v value) millis() (int64, bool) {
	switch v.kind {
	case number:
		return scaled(v.num)
	case text:
		if n, err := strconv.ParseInt(v.text, 10, 64); err == nil {
			return scaled(float64(n))
		}
		if len(v.text) < len("2006-01-02T15:04:05Z") {
			return 0, false
		}
		at, err := time.Parse(time.RFC3339, v.text)
		return at.UnixMilli(), err == nil
	}
	return 0, false
}

func scaled(f float64) (int64, bool) {
	if math.Abs(f) < secondsBelow {
		f *= 1000
	}
	return truncate(f)
}

// truncate converts f unless it is beyond what a time can hold.
func truncate(f float64) (int64, bool) {
	if math.Abs(f) < 1<<62 {
		return int64(f), true
	}
	return 0, false
}
