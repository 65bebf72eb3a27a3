package main

import (
	"fmt"
	"math"
	"strings"
	"unicode"
	"unicode/utf8"
)

// bar draws an interval over [-scale, scale] in so many columns: its ends, or
// arrows where it goes on, the estimate, and zero.
func bar(estimate, low, high, scale float64, columns int) string {
	columns -= 1 - columns%2 // odd, so that zero has a column of its own
	zero := (columns - 1) / 2
	place := func(v float64) int { return zero + int(math.Round(max(-1, min(1, v/scale))*float64(zero))) }
	cells := []rune(strings.Repeat(" ", columns))
	from, to := place(low), place(high)
	for i := from; i <= to; i++ {
		cells[i] = '─'
	}
	cells[from], cells[to] = '├', '┤'
	if low < -scale {
		cells[from] = '◄'
	}
	if high > scale {
		cells[to] = '►'
	}
	switch cells[zero] {
	case ' ':
		cells[zero] = '│'
	case '─':
		cells[zero] = '┼'
	}
	cells[place(estimate)] = '●'
	return string(cells)
}

const (
	red   = "31"
	green = "32"
)

// paint colours a line, on terminals that want it.
func (t terminal) paint(colour, text string) string {
	if !t.colour {
		return text
	}
	return "\x1b[" + colour + "m" + text + "\x1b[0m"
}

// fold breaks a line that is wider than the terminal, between words: not within
// brackets, and not between a number and what belongs to it.
func (t terminal) fold(line string) string {
	indent := len(line) - len(strings.TrimLeft(line, " "))
	var out strings.Builder
	column, space, brackets := 0, -1, 0 // of the text; where the last space to break at begins in it
	runes, begin := []rune(line), 0
	for i := 0; i < len(runes); i++ {
		switch c := runes[i]; {
		case c == '\x1b': // a colour: it takes no column
			for i < len(runes) && runes[i] != 'm' {
				i++
			}
			continue
		case c == '\n':
			continue
		case c == '[':
			brackets++
		case c == ']':
			brackets--
		case c == ' ' && column >= indent && brackets == 0 && i+1 < len(runes) && runes[i+1] != '%' && (runes[i-1] == ' ' || !unicode.IsDigit(runes[i+1])):
			space = i
		}
		if column++; column <= t.width || space < 0 {
			continue
		}
		out.WriteString(strings.TrimRight(string(runes[begin:space]), " ") + "\n" + strings.Repeat(" ", indent+4))
		begin = space + 1
		column, i, space = indent+4, space, -1
	}
	return out.String() + string(runes[begin:])
}

// pad fills a text up to a width, and cuts one that is longer.
func pad(text string, width int) string {
	n := utf8.RuneCountInString(text)
	if n > width {
		return string([]rune(text)[:width-1]) + "…"
	}
	return text + strings.Repeat(" ", width-n)
}

// short writes a number in few columns; a dash where there is none.
func short(v value) string {
	f := float64(v)
	switch {
	case !v.known():
		return "–"
	case f != 0 && math.Abs(f) < 0.0001:
		return fmt.Sprintf("%.1e", f)
	case math.Abs(f) >= 1e7:
		return fmt.Sprintf("%.3e", f)
	case math.Abs(f) >= 100:
		return fmt.Sprintf("%.1f", f)
	}
	return fmt.Sprintf("%.4f", f)
}

// percent writes a lift.
func percent(v value) string {
	switch {
	case !v.known():
		return "–"
	case math.IsInf(float64(v), 0):
		return fmt.Sprintf("%+g", float64(v))
	case v != 0 && math.Abs(float64(v)) < 0.00005, math.Abs(float64(v)) >= 1000:
		return fmt.Sprintf("%+.3g %%", 100*float64(v))
	}
	return fmt.Sprintf("%+.2f %%", 100*float64(v))
}
