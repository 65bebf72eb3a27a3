package main

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// absent are the ways in which files say that there is no value.
var absent = []string{"", "na", "n/a", "nan", "null", "none", "-"}

// A mark stands before the decimals of a number: a point, or a comma as in the
// countries where spreadsheets put semicolons between columns. Each may stand
// between groups of three digits where the other does that, but in no number with
// an exponent: 5.369E-01 is not 536.9.
type mark byte

const (
	point  mark = '.' // 1,234,567.50
	comma  mark = ',' // 1.234.567,50
	either mark = 0   // whichever a number can be read with
)

var numbers = map[mark]*regexp.Regexp{
	point: regexp.MustCompile(`^[-+]?([0-9]*(\.[0-9]*)?([eE][-+]?[0-9]+)?|[1-9][0-9]{0,2}(,[0-9]{3})+(\.[0-9]*)?)$`),
	comma: regexp.MustCompile(`^[-+]?([0-9]*(,[0-9]*)?([eE][-+]?[0-9]+)?|[1-9][0-9]{0,2}(\.[0-9]{3})+(,[0-9]*)?)$`),
}

// number reads a number whose decimals come after m.
func (m mark) number(text string) (v float64, ok bool) {
	if m == either {
		if v, ok = point.number(text); ok {
			return v, true
		}
		return comma.number(text)
	}
	if !numbers[m].MatchString(text) {
		return 0, false
	}
	if m == comma {
		text = strings.Replace(strings.ReplaceAll(text, ".", ""), ",", ".", 1)
	}
	v, err := strconv.ParseFloat(strings.ReplaceAll(text, ",", ""), 64)
	return v, err == nil
}

// readValue reads a number with the mark of its column, or a truth as 1 or 0; nil
// where there is no value.
func readValue(text string, m mark) (*float64, error) {
	low := strings.ToLower(text)
	switch {
	case slices.Contains(absent, low):
		return nil, nil
	case slices.Contains([]string{"true", "t", "yes", "y"}, low):
		return new(1.), nil
	case slices.Contains([]string{"false", "f", "no", "n"}, low):
		return new(0.), nil
	}
	v, ok := m.number(text)
	if _, other := either.number(text); !ok && other {
		return nil, fmt.Errorf("%q is no number with a decimal %c", clipped(text), m)
	}
	if !ok {
		return nil, fmt.Errorf("%q is no number, and no true or false", clipped(text))
	}
	return &v, nil
}

// A usage of marks is what the values of a column tell of theirs.
type usage struct {
	points, commas bool      // some can be read with this one alone
	unclear        lineError // the first that says another number with each, of those with commas if there are any
}

// see takes note of a value.
func (u *usage) see(line int, text string) {
	if !strings.ContainsAny(text, ".,") {
		return
	}
	p, withPoint := point.number(text)
	c, withComma := comma.number(text)
	switch {
	case withPoint && !withComma:
		u.points = true
	case withComma && !withPoint:
		u.commas = true
	case withPoint && p != c && (u.unclear.line == 0 || strings.Contains(text, ",") && !strings.Contains(u.unclear.text, ",")):
		u.unclear = lineError{line, text}
	}
}

// mark decides with which mark the values of a column are read. Where nothing in
// it tells, a point as in 1.234 is the mark unless semicolons separate columns, and
// commas as in 1,234 group digits if commas do.
func (u *usage) mark(column string, separator rune) (mark, error) {
	known := separator == ',' || separator != ';' && strings.Contains(u.unclear.text, ".")
	switch {
	case u.commas && !u.points:
		return comma, nil
	case u.unclear.line == 0 && u.commas:
		return either, nil
	case u.unclear.line == 0, u.points && !u.commas, !u.commas && known:
		return point, nil
	}
	p, _ := point.number(u.unclear.text)
	c, _ := comma.number(u.unclear.text)
	return 0, usageError(fmt.Sprintf("column %s: %q in line %d may be %v or %v, and the other values do not tell: say --decimal . or --decimal ,",
		column, u.unclear.text, u.unclear.line, p, c))
}

// layouts are the ways of writing times that are known without being told. Dates
// with slashes and the year last are not among them: they may begin with the month
// or with the day.
var layouts = []string{
	time.RFC3339Nano, "2006-01-02 15:04:05.999999999Z07:00", "2006-01-02 15:04:05.999999999-07", "2006-01-02 15:04:05.999999999-0700",
	"2006-01-02 15:04:05.999999999 Z07:00", "2006-01-02 15:04:05.999999999 -07", "2006-01-02 15:04:05.999999999 -0700", "2006-01-02 15:04:05.999999999 MST",
	"2006-01-02 15:04:05.999999999", "2006-01-02T15:04:05.999999999", "2006-01-02 15:04", "2006-01-02T15:04", time.DateOnly,
	"2006/1/2 15:04:05.999999999", "2006/1/2 15:04", "2006/1/2",
	"2.1.2006 15:04:05.999999999", "2.1.2006 15:04", "2.1.2006",
	"20060102",
}

// eitherWay are dates of which nobody can say what is the month.
var eitherWay = regexp.MustCompile(`^[0-9]{1,2}[/-][0-9]{1,2}[/-][0-9]{2,4}`)

// readTime reads a time in a layout, or in any that is known if that is empty.
func readTime(text, layout string) (time.Time, error) {
	if layout != "" {
		t, err := time.ParseInLocation(layout, text, time.UTC)
		if err != nil {
			return time.Time{}, fmt.Errorf("%q is not written as --time-format says", clipped(text))
		}
		return inUTC(t, layout)
	}
	for _, known := range layouts {
		if t, err := time.ParseInLocation(known, text, time.UTC); err == nil {
			return inUTC(t, known)
		}
	}
	if seconds, err := strconv.ParseFloat(text, 64); err == nil && seconds > 1e8 && seconds < 1e14 {
		if seconds > 1e11 { // so many seconds are the year 5138
			return time.UnixMilli(int64(seconds)).UTC(), nil
		}
		return time.UnixMilli(int64(seconds * 1000)).UTC(), nil
	}
	if eitherWay.MatchString(text) {
		return time.Time{}, fmt.Errorf("%q may begin with the month or with the day; say it with --time-format, such as %%m/%%d/%%Y %%H:%%M", clipped(text))
	}
	return time.Time{}, fmt.Errorf("%q is no time; say how times are written with --time-format, such as %%d/%%m/%%Y %%H:%%M", clipped(text))
}

// inUTC returns a time that was read by layout. The names of zones but UTC's own
// are refused where no offset stands beside them: EST and IST are several, and
// [time.Parse] takes each that it does not know for UTC.
func inUTC(t time.Time, layout string) (time.Time, error) {
	name, _ := t.Zone()
	if strings.Contains(layout, "MST") && !strings.Contains(layout, "07") && name != "UTC" && name != "GMT" {
		return time.Time{}, fmt.Errorf("the zone %s may be one of several: write the offset in its place, such as -0800 (%%z in --time-format)", name)
	}
	return t.UTC(), nil
}

// directives are those of C's strftime, as Go writes them.
var directives = map[byte]string{
	'Y': "2006", 'y': "06", 'm': "1", 'd': "2", 'H': "15", 'I': "3", 'M': "4", 'S': "5", 'p': "PM", 'b': "Jan", 'B': "January",
	'a': "Mon", 'A': "Monday", 'z': "-0700", 'Z': "MST", 'F': "2006-1-2", 'T': "15:4:5", 'D': "1/2/06",
}

// layoutOf turns a layout with directives into one of Go, which is returned as it
// is. Fractions of a second need no directive.
func layoutOf(text string) (string, error) {
	var layout strings.Builder
	for i := 0; i < len(text); i++ {
		switch {
		case text[i] != '%':
			layout.WriteByte(text[i])
			continue
		case strings.HasPrefix(text[i:], "%f"):
			whole := strings.TrimSuffix(layout.String(), ".")
			layout.Reset()
			layout.WriteString(whole)
		case i+1 == len(text) || directives[text[i+1]] == "":
			return "", usageError(fmt.Sprintf("--time-format %q: want directives such as %%Y-%%m-%%d %%H:%%M:%%S, or Go's 2006-01-02 15:04:05", text))
		default:
			layout.WriteString(directives[text[i+1]])
		}
		i++
	}
	return layout.String(), nil
}

func clipped(text string) string {
	if len(text) > 40 {
		return strings.ToValidUTF8(text[:40], "") + "…"
	}
	return strings.ToValidUTF8(text, "\uFFFD")
}
