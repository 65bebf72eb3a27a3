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
	Unadjusted struct {
		Lift struct {
			Code  string `json:"code"`
			Value value  `json:"value"`
		} `json:"lift"`
		Delta value `json:"delta"`
	} `json:"unadjusted"`
	Adjusted      bool     `json:"adjusted"`
	BurnedIn      bool     `json:"burnedIn"`
	PValue        value    `json:"correctedPValue"`
	Interval      interval `json:"correctedInterval"`
	Lift          interval `json:"correctedLift"`
	Heterogeneity struct {
		Verdict string `json:"verdict"`
		PValue  value  `json:"pValue"`
	} `json:"heterogeneity"`
	Impact *struct {
		Code              string   `json:"code"`
		PerDay            value    `json:"perDay"`
		Interval          interval `json:"interval"`
		Relative          value    `json:"relative"`
		ProjectedPerDay   value    `json:"projectedPerDay"`
		ProjectedRelative value    `json:"projectedRelative"`
	} `json:"impact"`
	Significant bool `json:"significant"`
	Posterior   struct {
		Chance value `json:"chanceToBeat"`
	} `json:"posterior"`
}

type interval struct {
	Lower value `json:"lower"`
	Upper value `json:"upper"`
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
	b.WriteString("\n" + r.legend(t) + "\n")
	for line := range strings.Lines(b.String()) {
		if _, err := io.WriteString(out, t.fold(line)); err != nil {
			return err
		}
	}
	return nil
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
			if h := g.Heterogeneity; h.Verdict == "some" || h.Verdict == "high" {
				fmt.Fprintf(b, "%s differs from the rest (p %s)\n", r.indent(), short(h.PValue))
			}
			r.printAdjusted(b, g)
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

// text is what a line says of a group before its bar, and whether there is an
// interval to draw.
func (r *scorecard) text(g metricGroup) (text string, drawn bool) {
	head := fmt.Sprintf("  %s %11s ", pad(g.Group, r.nameWidth()), short(g.Mean))
	mark := " "
	if g.Significant {
		mark = "*"
	}
	c := g.Comparison
	switch {
	case c == nil:
		return fmt.Sprintf("%s control, n %d", head, g.N), false
	case c.Code != "OK" && c.Lift.Value.known(): // which needs no variance
		return fmt.Sprintf("%s %8s  %s", head, percent(c.Lift.Value), c.Code), false
	case c.Code != "OK":
		return head + " " + c.Code, false
	case !g.Lift.Lower.known() && c.Lift.Code != "OK":
		difference := short(c.Delta)
		if g.Interval.Lower.known() {
			difference += fmt.Sprintf(" [%s, %s]", short(g.Interval.Lower), short(g.Interval.Upper))
		}
		return fmt.Sprintf("%s difference %s, %s  %s%s", head, difference, c.Lift.Code, r.evidence(g), mark), false
	case r.early(g):
		return fmt.Sprintf("%s %8s  %s", head, percent(c.Lift.Value), r.evidence(g)), false
	}
	ends := fmt.Sprintf("[%s, %s]", percent(g.Lift.Lower), percent(g.Lift.Upper))
	return fmt.Sprintf("%s %8s %-22s %s%s", head, percent(c.Lift.Value), ends, r.evidence(g), mark), true
}

// textWidth is how wide the widest text before a bar is: none is cut, and all
// bars begin below one another.
func (r *scorecard) textWidth() (width int) {
	for _, m := range r.Metrics {
		for _, g := range m.Groups {
			if text, drawn := r.text(g); drawn {
				width = max(width, utf8.RuneCountInString(text))
			}
		}
	}
	return width
}

func (r *scorecard) printLine(b *bytes.Buffer, t terminal, g metricGroup, direction string) {
	line, drawn := r.text(g)
	beside, below := r.room(t)
	below = below && drawn
	if drawn && beside > 0 {
		line = pad(line, r.textWidth()) + " " + r.bar(g, beside)
	}
	line = strings.TrimRight(line, " ")
	if g.Significant && g.Comparison != nil {
		colour := red
		if (g.Comparison.Delta > 0) == (direction != "decrease") {
			colour = green
		}
		line = t.paint(colour, line)
	}
	fmt.Fprintln(b, line)
	if below {
		fmt.Fprintln(b, strings.TrimRight(r.indent()+" "+r.bar(g, barRoom(t.width-len(r.indent())-1)), " "))
	}
}

// room is how many columns a bar has beside the text, or else whether it has
// enough of them below.
func (r *scorecard) room(t terminal) (beside int, below bool) {
	beside = barRoom(t.width - r.textWidth() - 1)
	return beside, beside == 0 && barRoom(t.width-len(r.indent())-1) > 0
}

// barRoom is how many of the columns left a bar takes; none if there are few.
func barRoom(left int) int {
	if left < 15 {
		return 0
	}
	return min(left, 60)
}

func (r *scorecard) bar(g metricGroup, columns int) string {
	return bar(float64(g.Comparison.Lift.Value), float64(g.Lift.Lower), float64(g.Lift.Upper), r.scale(), columns)
}

// printAdjusted says of a comparison that is adjusted why it is not the one of
// the means beside it.
func (r *scorecard) printAdjusted(b *bytes.Buffer, g metricGroup) {
	if !g.Adjusted || g.Comparison == nil || g.Comparison.Code != "OK" {
		return
	}
	raw := percent(g.Unadjusted.Lift.Value)
	if g.Unadjusted.Lift.Code != "OK" {
		raw = short(g.Unadjusted.Delta)
	}
	fmt.Fprintf(b, "%s adjusted by what units did before; the means are raw, and differ by %s\n", r.indent(), raw)
}

// indent is what stands before more about a group.
func (r *scorecard) indent() string { return strings.Repeat(" ", r.nameWidth()+2) }

// printImpact prints what a difference comes to in a day.
func (r *scorecard) printImpact(b *bytes.Buffer, g metricGroup) {
	i := g.Impact
	if !r.impact || i == nil {
		return
	}
	indent := r.indent()
	if !i.PerDay.known() {
		fmt.Fprintf(b, "%s impact: %s\n", indent, i.Code)
		return
	}
	fmt.Fprintf(b, "%s impact a day: %s [%s, %s], %s of the whole; launched: %s, %s\n", indent,
		short(i.PerDay), short(i.Interval.Lower), short(i.Interval.Upper), percent(i.Relative), short(i.ProjectedPerDay), percent(i.ProjectedRelative))
}

// early reports whether a group has too few units to be looked at while more come.
func (r *scorecard) early(g metricGroup) bool { return r.Method == "sequential" && !g.BurnedIn }

// evidence is what a decision is made by.
func (r *scorecard) evidence(g metricGroup) string {
	switch {
	case r.early(g):
		return "too few units for a look"
	case r.Method == "bayesian":
		return fmt.Sprintf("chance %s", short(g.Posterior.Chance))
	}
	return fmt.Sprintf("p %s", short(g.PValue))
}

func (r *scorecard) legend(t terminal) string {
	kind := "intervals"
	if r.Method == "bayesian" {
		kind = "credible intervals"
	}
	level := fmt.Sprintf("%.6g %% %s", 100*(1-r.Alpha), kind)
	if r.Correction != "none" {
		level = kind + " at the corrected level"
	}
	text := fmt.Sprintf("lift against control with %s; * significant", level)
	if beside, below := r.room(t); r.textWidth() > 0 && (beside > 0 || below) {
		text += fmt.Sprintf("; bars run from %s to %s", percent(value(-r.scale())), percent(value(r.scale())))
	}
	return text
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
