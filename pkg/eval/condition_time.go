package eval

import (
	"math"
	"strconv"
	"strings"
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

func targetMillis(target any) (int64, bool) { return scalarOf(target).millis() }

// secondsBelow is the number below which an instant is in seconds; as seconds
// that is the year 2286, as milliseconds April 1970.
const secondsBelow = 1e10

// millis reads an instant: a number or digits in seconds or milliseconds by size,
// RFC 3339 text, or date and time in UTC. Targets and users' values are read
// alike, which is what makes every date on which the SDKs agree come out right.
func (v value) millis() (int64, bool) {
	switch v.kind {
	case number:
		return scaled(v.num)
	case text:
		if n, ok := parseInteger(v.text); ok {
			return scaled(float64(n))
		}
		return parseDate(v.text)
	}
	return 0, false
}

// parseDate reads RFC 3339, which permits small letters and a space for the T, and
// the same without a zone if there is a space. What package time reads beyond
// that, a comma for the point and zones of a whole day, no date of the SDKs has.
func parseDate(s string) (int64, bool) {
	if len(s) < len(time.DateTime) {
		return 0, false
	}
	layout := time.RFC3339
	switch {
	case s[10] == ' ' && len(s) == len(time.DateTime):
		layout = time.DateTime
	case len(s) < len("2006-01-02T15:04:05Z"):
		return 0, false
	case s[10] == ' ':
		layout = "2006-01-02 15:04:05Z07:00"
	}
	if strings.Contains(s, ",") || wholeDay(s) {
		return 0, false
	}
	at, err := time.Parse(layout, s)
	if err != nil && strings.ContainsAny(s, "tz") {
		at, err = time.Parse(layout, strings.ToUpper(s))
	}
	return at.UnixMilli(), err == nil
}

// wholeDay reports whether a date ends in a zone that is out of range.
func wholeDay(s string) bool {
	zone := s[len(s)-len("+24:00"):]
	return (zone[0] == '+' || zone[0] == '-') && zone[3] == ':' && (zone[1:3] > "23" || zone[4:] > "59")
}

// parseInteger spares the error that strconv would make of a date.
func parseInteger(s string) (int64, bool) {
	start := 0
	if s != "" && (s[0] == '+' || s[0] == '-') {
		start = 1
	}
	if end := digits(s, start); end == start || end < len(s) {
		return 0, false
	}
	n, err := strconv.ParseInt(s, 10, 64)
	return n, err == nil
}

// scaled converts seconds or milliseconds; fractions of a millisecond do not count.
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
