package main

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"math"
	"slices"
	"strings"
	"time"
	"unicode/utf8"
)

// A scorecard is the part of an experiment's results that is printed.
type scorecard struct {
	Experiment string     `json:"experiment"`
	Status     string     `json:"status"`
	Start      *time.Time `json:"start"`
	End        *time.Time `json:"end"`
	AsOf       *time.Time `json:"asOf"`
	Method     string     `json:"method"`
	Alpha      float64    `json:"alpha"`
	Correction string     `json:"correction"`
	printed
	Warnings  []string `json:"warnings"`
	Breakdown *struct {
		By     string `json:"by"`
		Values uint64 `json:"values"`
		Slices []struct {
			Value string `json:"value"`
			Kind  string `json:"kind"`
			printed
		} `json:"slices"`
	} `json:"breakdown"`
	Sequence struct {
		First uint64 `json:"first"`
		Last  uint64 `json:"last"`
	} `json:"sequence"`
	SQL []string `json:"sql"`

	impact bool // whether impacts are to be printed
}

// printed are the numbers of all units, or of those of a slice.
type printed struct {
	Groups []struct {
		Name     string            `json:"name"`
		Share    float64           `json:"share"`
		Units    uint64            `json:"units"`
		Excluded map[string]uint64 `json:"excluded"`
	} `json:"groups"`
	SRM struct {
		Code    string `json:"code"`
		Verdict string `json:"verdict"`
		PValue  value  `json:"pValue"`
	} `json:"srm"`
	Metrics []struct {
		Name      string        `json:"name"`
		Type      string        `json:"type"`
		Direction string        `json:"direction"`
		Groups    []metricGroup `json:"groups"`
	} `json:"metrics"`
}

type metricGroup struct {
	Group      string `json:"group"`
	N          uint64 `json:"n"`
	Mean       value  `json:"mean"`
	Comparison *struct {
		Code string `json:"code"`
		Lift struct {
			Code  string `json:"code"`
			Value value  `json:"value"`
		} `json:"lift"`
		Delta value `json:"delta"`
	} `json:"comparison"`
	Adjusted bool  `json:"adjusted"`
	BurnedIn bool  `json:"burnedIn"`
	PValue   value `json:"correctedPValue"`
	Lift     struct {
		Lower value `json:"lower"`
		Upper value `json:"upper"`
	} `json:"correctedLift"`
	Heterogeneity struct {
		Verdict string `json:"verdict"`
		PValue  value  `json:"pValue"`
	} `json:"heterogeneity"`
	Impact *struct {
		Code     string `json:"code"`
		PerDay   value  `json:"perDay"`
		Interval struct {
			Lower value `json:"lower"`
			Upper value `json:"upper"`
		} `json:"interval"`
		Relative          value `json:"relative"`
		ProjectedPerDay   value `json:"projectedPerDay"`
		ProjectedRelative value `json:"projectedRelative"`
	} `json:"impact"`
	Significant bool `json:"significant"`
	Posterior   struct {
		Chance value `json:"chanceToBeat"`
	} `json:"posterior"`
}

// A value is a number of an answer: NaN where there is none.
type value float64

// UnmarshalJSON implements [json.Unmarshaler].
func (v *value) UnmarshalJSON(raw []byte) error {
	switch string(raw) {
	case "null":
		*v = value(math.NaN())
		return nil
	case `"inf"`:
		*v = value(math.Inf(1))
		return nil
	case `"-inf"`:
		*v = value(math.Inf(-1))
		return nil
	}
	return json.Unmarshal(raw, (*float64)(v))
}

func (v value) known() bool { return !math.IsNaN(float64(v)) }

// print writes the scorecard for a person.
func (r *scorecard) print(out io.Writer, t terminal) error {
	var b bytes.Buffer
	fmt.Fprintf(&b, "%s  %s%s\n", r.Experiment, r.Status, r.when())
	fmt.Fprintf(&b, "decided by the %s method at alpha %g, correction %s", r.Method, r.Alpha, r.Correction)
	if r.Sequence.Last > 0 { // imported facts tell of none
		fmt.Fprintf(&b, "; versions %d to %d", r.Sequence.First, r.Sequence.Last)
	}
	b.WriteString("\n\n")
	r.printGroups(&b, t)
	r.printMetrics(&b, t)
	if len(r.Metrics) == 0 {
		b.WriteString("\nThe experiment names no metrics.\n")
	}
	r.printSlices(&b, t)
	b.WriteString("\n" + r.legend() + "\n")
	_, err := out.Write(b.Bytes())
	return err
}

func (r *scorecard) printMetrics(b *bytes.Buffer, t terminal) {
	for _, m := range r.Metrics {
		better := "more is better"
		if m.Direction == "decrease" {
			better = "less is better"
		}
		fmt.Fprintf(b, "\n%s  (%s, %s)\n", m.Name, m.Type, better)
		for _, g := range m.Groups {
			r.printLine(b, t, g, m.Direction)
			r.printImpact(b, g)
		}
	}
}

// printSlices prints the same of each slice.
func (r *scorecard) printSlices(b *bytes.Buffer, t terminal) {
	if r.Breakdown == nil {
		return
	}
	for _, s := range r.Breakdown.Slices {
		name := fmt.Sprintf("%s = %s", r.Breakdown.By, s.Value)
		switch s.Kind {
		case "other":
			name = fmt.Sprintf("%s is another of %d values", r.Breakdown.By, r.Breakdown.Values)
		case "missing":
			name = r.Breakdown.By + " is not known"
		}
		fmt.Fprintf(b, "\n── %s\n", name)
		one := *r
		one.printed, one.Warnings = s.printed, nil // they are of the whole
		one.printGroups(b, t)
		one.printMetrics(b, t)
	}
	if len(r.Breakdown.Slices) == 0 {
		fmt.Fprintf(b, "\nThere are no units to break down by %s.\n", r.Breakdown.By)
	}
}

func (r *scorecard) when() string {
	switch {
	case r.Start == nil:
		return ", not started: nothing counts yet"
	case r.End != nil:
		return fmt.Sprintf(", %s to %s", r.Start.UTC().Format("2006-01-02 15:04"), r.End.UTC().Format("2006-01-02 15:04"))
	}
	when := ", since " + r.Start.UTC().Format("2006-01-02 15:04")
	if r.AsOf != nil {
		when += ", as of " + r.AsOf.UTC().Format("2006-01-02 15:04:05")
	}
	return when + " (UTC)"
}

func (r *scorecard) printGroups(b *bytes.Buffer, t terminal) {
	width := r.nameWidth()
	for _, g := range r.Groups {
		left := ""
		for _, reason := range slices.Sorted(maps.Keys(g.Excluded)) {
			left += fmt.Sprintf("  %s %d", reason, g.Excluded[reason])
		}
		if left != "" {
			left = "   left out:" + left
		}
		fmt.Fprintf(b, "  %s %6.1f %%  %9d units%s\n", pad(g.Name, width), g.Share, g.Units, left)
	}
	verdict := cmp.Or(r.SRM.Verdict, r.SRM.Code)
	line := "sample ratio: " + verdict
	if r.SRM.PValue.known() {
		line += fmt.Sprintf(" (p %s)", short(r.SRM.PValue))
	}
	if r.SRM.Verdict == "alert" {
		line = t.paint(red, line+": do not trust what follows")
	}
	fmt.Fprintln(b, "  "+line)
	for _, w := range r.Warnings {
		fmt.Fprintln(b, "  "+t.paint(red, "warning: "+w))
	}
}

// nameWidth is how wide the column of names is.
func (r *scorecard) nameWidth() int {
	width := 8
	for _, g := range r.Groups {
		width = min(max(width, utf8.RuneCountInString(g.Name)), 24)
	}
	return width
}

// The columns before the bar, beside the name.
const textWidth = 62

func (r *scorecard) printLine(b *bytes.Buffer, t terminal, g metricGroup, direction string) {
	name := r.nameWidth()
	head := fmt.Sprintf("  %s %11s", pad(g.Group, name), short(g.Mean))
	c := g.Comparison
	switch {
	case c == nil:
		fmt.Fprintf(b, "%s  control, n %d\n", head, g.N)
		return
	case c.Code != "OK":
		fmt.Fprintf(b, "%s  %s\n", head, c.Code)
		return
	case !g.Lift.Lower.known() && c.Lift.Code != "OK":
		fmt.Fprintf(b, "%s  difference %s, %s  %s\n", head, short(c.Delta), c.Lift.Code, r.evidence(g))
		return
	case r.Method == "sequential" && !g.BurnedIn:
		fmt.Fprintf(b, "%s  %8s  too few units for a look\n", head, percent(c.Lift.Value))
		return
	}
	interval := fmt.Sprintf("[%s, %s]", percent(g.Lift.Lower), percent(g.Lift.Upper))
	mark := " "
	if g.Significant {
		mark = "*"
	}
	text := fmt.Sprintf("%s  %8s %-22s %s%s", head, percent(c.Lift.Value), interval, r.evidence(g), mark)
	line := pad(text, name+textWidth)
	if room := min(t.width-name-textWidth-1, 60); room >= 15 {
		line += " " + bar(float64(c.Lift.Value), float64(g.Lift.Lower), float64(g.Lift.Upper), r.scale(), room)
	}
	line = strings.TrimRight(line, " ")
	if h := g.Heterogeneity; h.Verdict == "some" || h.Verdict == "high" {
		line += fmt.Sprintf("  differs from the rest (p %s)", short(h.PValue))
	}
	if g.Significant {
		colour := red
		if (c.Lift.Value > 0) == (direction != "decrease") {
			colour = green
		}
		line = t.paint(colour, line)
	}
	fmt.Fprintln(b, line)
}

// printImpact prints what a difference comes to in a day.
func (r *scorecard) printImpact(b *bytes.Buffer, g metricGroup) {
	i := g.Impact
	if !r.impact || i == nil {
		return
	}
	indent := strings.Repeat(" ", r.nameWidth()+2)
	if !i.PerDay.known() {
		fmt.Fprintf(b, "%s impact: %s\n", indent, i.Code)
		return
	}
	fmt.Fprintf(b, "%s impact a day: %s [%s, %s], %s of the whole; launched: %s, %s\n", indent,
		short(i.PerDay), short(i.Interval.Lower), short(i.Interval.Upper), percent(i.Relative), short(i.ProjectedPerDay), percent(i.ProjectedRelative))
}

// evidence is what a decision is made by.
func (r *scorecard) evidence(g metricGroup) string {
	if r.Method == "bayesian" {
		return fmt.Sprintf("chance %s", short(g.Posterior.Chance))
	}
	return fmt.Sprintf("p %s", short(g.PValue))
}

func (r *scorecard) legend() string {
	what := "95 % intervals"
	if r.Alpha != 0.05 || r.Correction != "none" {
		what = "intervals at the corrected level"
		if r.Correction == "none" {
			what = fmt.Sprintf("%g %% intervals", 100*(1-r.Alpha))
		}
	}
	if r.Method == "bayesian" {
		what = "credible " + strings.TrimPrefix(what, "95 % ")
	}
	return fmt.Sprintf("lift against control with %s; * significant; bars run from %s to %s", what, percent(value(-r.scale())), percent(value(r.scale())))
}

// scale is the lift at the ends of all bars: that of the widest usual interval,
// so that one that is all over the place does not flatten the others.
func (r *scorecard) scale() float64 {
	var ends []float64
	for _, m := range r.Metrics {
		for _, g := range m.Groups {
			if g.Comparison == nil {
				continue
			}
			for _, end := range []value{g.Lift.Lower, g.Lift.Upper} {
				if end.known() && !math.IsInf(float64(end), 0) {
					ends = append(ends, math.Abs(float64(end)))
				}
			}
		}
	}
	if len(ends) == 0 {
		return 0.1
	}
	slices.Sort(ends)
	middle := ends[len(ends)/2]
	return cmp.Or(min(ends[len(ends)-1], 8*middle), 0.1)
}

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
	}
	return fmt.Sprintf("%+.2f %%", 100*float64(v))
}
