package main

import (
	"fmt"
	"math"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// absent are the ways in which files say that there is no value.
var absent = []string{"", "na", "n/a", "nan", "null", "none", "-"}

var (
	grouped      = regexp.MustCompile(`^[-+]?[0-9]{1,3}(,[0-9]{3})+(\.[0-9]*)?$`)       // 1,234,567.50
	decimalComma = regexp.MustCompile(`^[-+]?([0-9]{1,3}(\.[0-9]{3})+|[0-9]*),[0-9]*$`) // 1.234.567,50 or 0,5
)

// readValue reads a number, or a truth as 1 or 0; nil where there is no value.
//
// Commas between groups of three digits are left out. In a file whose columns
// are separated by semicolons a comma is the decimal point, as in the countries
// where spreadsheets write such files.
func readValue(text string, separator rune) (*float64, error) {
	low := strings.ToLower(text)
	switch {
	case slices.Contains(absent, low):
		return nil, nil
	case slices.Contains([]string{"true", "t", "yes", "y"}, low):
		return new(1.), nil
	case slices.Contains([]string{"false", "f", "no", "n"}, low):
		return new(0.), nil
	}
	number := text
	switch {
	case separator == ';' && decimalComma.MatchString(text):
		number = strings.Replace(strings.ReplaceAll(text, ".", ""), ",", ".", 1)
	case separator != ';' && grouped.MatchString(text):
		number = strings.ReplaceAll(text, ",", "")
	}
	v, err := strconv.ParseFloat(number, 64)
	if err != nil || math.IsInf(v, 0) || math.IsNaN(v) {
		return nil, fmt.Errorf("%q is no number, and no true or false", clipped(text))
	}
	return &v, nil
}

// layouts are the ways of writing times that are known without being told. Dates
// with slashes and the year last are not among them: they may begin with the month
// or with the day.
var layouts = []string{
	time.RFC3339Nano, "2006-01-02 15:04:05.999999999Z07:00", "2006-01-02 15:04:05.999999999-07", "2006-01-02 15:04:05.999999999 MST",
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
		t, err := time.Parse(layout, text)
		if err != nil {
			return time.Time{}, fmt.Errorf("%q is not written as --time-format says", clipped(text))
		}
		return t.UTC(), nil
	}
	for _, known := range layouts {
		if t, err := time.Parse(known, text); err == nil {
			return t.UTC(), nil
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
