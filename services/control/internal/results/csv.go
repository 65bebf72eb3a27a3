package results

import (
	"encoding/csv"
	"fmt"
	"io"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/sluice-flags/sluice/pkg/stats"
)

// A Table is an answer as rows, for spreadsheets: one line per fact, the same
// numbers as in JSON, and an empty field where there is none.
type Table interface {
	// Table returns the names of the columns, and the lines.
	Table() (columns []string, lines [][]string)
}

// WriteCSV writes an answer as CSV (RFC 4180).
func WriteCSV(w io.Writer, t Table) error {
	out := csv.NewWriter(w)
	columns, lines := t.Table()
	if err := out.Write(columns); err != nil {
		return err
	}
	for _, line := range lines {
		for i, text := range line {
			line[i] = harmless(text)
		}
		if err := out.Write(line); err != nil {
			return err
		}
	}
	out.Flush()
	return out.Error()
}

// harmless keeps a text that somebody chose from being a formula in a
// spreadsheet. Numbers stay as they are.
func harmless(text string) string {
	if text == "" {
		return ""
	}
	switch text[0] {
	case '=', '@', '\t', '\r':
		return "'" + text
	case '+', '-':
		if _, err := strconv.ParseFloat(text, 64); err != nil {
			return "'" + text
		}
	}
	return text
}

func sorted[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }

func number(o stats.Optional) string {
	v, ok := o.Get()
	switch {
	case !ok:
		return ""
	case math.IsInf(v, 0): // the open end of a one-sided interval, as in JSON
		return strings.TrimPrefix(strings.ToLower(fmt.Sprint(v)), "+")
	}
	return strconv.FormatFloat(v, 'g', -1, 64)
}

// Table implements [Table]: one line per metric and group; for a breakdown, those
// of the whole, and then those of each slice.
func (r Report) Table() (columns []string, lines [][]string) {
	columns, lines = r.table()
	b := r.Breakdown
	if b == nil {
		return columns, lines
	}
	var all [][]string
	add := func(kind, value string, metrics []Metric, lines [][]string) {
		for _, m := range metrics {
			for _, g := range m.Groups {
				verdict, p := "", ""
				if h := g.Heterogeneity; h != nil {
					verdict, p = string(h.Verdict), number(h.PValue)
				}
				line := append([]string{b.By, kind, value}, lines[0]...)
				all, lines = append(all, append(line, verdict, p)), lines[1:]
			}
		}
	}
	add("all", "", r.Metrics, lines)
	for _, s := range b.Slices {
		r.Groups, r.Metrics = s.Groups, s.Metrics
		_, lines := r.table()
		add(string(s.Kind), s.Value, s.Metrics, lines)
	}
	columns = append([]string{"by", "slice", "value"}, columns...)
	return append(columns, "heterogeneity", "heterogeneity_p_value"), all
}

// table are the lines of the whole.
func (r *Report) table() (columns []string, lines [][]string) {
	columns = []string{
		"metric", "type", "direction", "group", "is_control", "units", "n", "conversions", "total", "mean", "variance",
		"code", "lift_code", "difference", "standard_error", "difference_low", "difference_high", "lift", "lift_low", "lift_high", "p_value",
		"adjusted", "cuped_reason", "variance_reduction", "raw_difference", "raw_difference_low", "raw_difference_high", "raw_p_value",
		"sequential_code", "sequential_low", "sequential_high", "sequential_p_value", "burned_in",
		"posterior_code", "chance_to_beat", "credible_lift_low", "credible_lift_high", "loss_of_treatment", "loss_of_control",
		"method", "alpha", "correction", "corrected_p_value", "corrected_low", "corrected_high", "corrected_lift_low", "corrected_lift_high", "significant",
		"impact_code", "impact_per_day", "impact_per_day_low", "impact_per_day_high", "impact_relative", "projected_per_day", "projected_relative",
		"first_sequence", "last_sequence", "definition_sequence",
	}
	for _, m := range r.Metrics {
		for i, g := range m.Groups {
			conversions := ""
			if g.Conversions != nil {
				conversions = fmt.Sprint(*g.Conversions)
			}
			line := []string{
				m.Name, m.Type, m.Direction, g.Group, fmt.Sprint(g.Line == nil), fmt.Sprint(r.Groups[i].Units), fmt.Sprint(g.N), conversions,
				number(g.Total), number(g.Mean), number(g.Variance),
			}
			if l := g.Line; l != nil {
				c, raw := &l.Comparison, &l.Unadjusted
				line = append(line,
					string(c.Code), string(c.Lift.Code), number(c.Delta), number(c.StandardError), number(c.Interval.Lower), number(c.Interval.Upper),
					number(c.Lift.Value), number(c.Lift.Interval.Lower), number(c.Lift.Interval.Upper), number(c.PValue),
					fmt.Sprint(l.Adjusted), string(l.WhyNotAdjusted), number(l.VarianceReduction),
					number(raw.Delta), number(raw.Interval.Lower), number(raw.Interval.Upper), number(raw.PValue),
					string(l.Sequence.Code), number(l.Sequence.Interval.Lower), number(l.Sequence.Interval.Upper), number(l.Sequence.PValue), fmt.Sprint(l.BurnedIn),
					string(l.Posterior.Code), number(l.Posterior.ChanceToBeat), number(l.Posterior.Credible.Lower), number(l.Posterior.Credible.Upper),
					number(l.Posterior.LossOfTreatment), number(l.Posterior.LossOfControl),
					string(r.Method), strconv.FormatFloat(r.Alpha, 'g', -1, 64), string(r.Correction),
					number(l.CorrectedPValue), number(l.CorrectedInterval.Lower), number(l.CorrectedInterval.Upper),
					number(l.CorrectedLift.Lower), number(l.CorrectedLift.Upper), fmt.Sprint(l.Significant))
				if i := g.Impact; i != nil {
					line = append(line, string(i.Code), number(i.PerDay), number(i.Interval.Lower), number(i.Interval.Upper),
						number(i.Relative), number(i.ProjectedPerDay), number(i.ProjectedRelative))
				}
			}
			line = append(line, make([]string, len(columns)-len(line)-3)...) // of control, and of slices
			lines = append(lines, append(line, fmt.Sprint(r.Sequence.First), fmt.Sprint(r.Sequence.Last), fmt.Sprint(r.Sequence.Definition)))
		}
	}
	return columns, lines
}

// Table implements [Table]: one line per metric, day and group.
func (t Timeseries) Table() (columns []string, lines [][]string) {
	columns = []string{"metric", "type", "code", "day", "group", "kind", "n", "mean", "difference", "difference_low", "difference_high", "lift", "lift_low", "lift_high", "p_value", "corrected"}
	for _, s := range t.Metrics {
		if len(s.Points) == 0 {
			lines = append(lines, append([]string{s.Metric, s.Type, string(s.Code)}, make([]string, len(columns)-3)...))
		}
		for _, p := range s.Points {
			for _, of := range []struct {
				kind string
				v    SeriesValue
			}{{"daily", p.Daily}, {"cumulative", p.Cumulative}} {
				code, numbers := s.Code, make([]string, 7)
				if c := of.v.Comparison; c != nil {
					code = c.Code
					numbers = []string{
						number(c.Delta), number(c.Interval.Lower), number(c.Interval.Upper),
						number(c.Lift.Value), number(c.Lift.Interval.Lower), number(c.Lift.Interval.Upper), number(c.PValue),
					}
				}
				line := append([]string{s.Metric, s.Type, string(code), p.Day, p.Group, of.kind, fmt.Sprint(of.v.N), number(of.v.Mean)}, numbers...)
				lines = append(lines, append(line, fmt.Sprint(t.Corrected)))
			}
		}
	}
	return columns, lines
}

// Table implements [Table]: one line per check, or slice of the units.
func (h Health) Table() (columns []string, lines [][]string) {
	columns = []string{"check", "subject", "group", "units", "code", "verdict", "rate", "p_value", "anytime_p_value"}
	split := func(check, subject string, units []uint64, r stats.SRMResult) {
		for i, n := range units {
			lines = append(lines, []string{check, subject, h.Groups[i].Name, fmt.Sprint(n), string(r.Code), string(r.Verdict), "", number(r.PValue), number(r.AnytimePValue)})
		}
	}
	units := make([]uint64, len(h.Groups))
	for i, g := range h.Groups {
		units[i] = g.Units
	}
	split("split", "", units, h.SRM)
	for _, p := range h.Periods {
		split("period", p.From.UTC().Format("2006-01-02T15:04:05.000Z"), p.Units, p.SRM)
	}
	for _, s := range h.Breakdown {
		split(s.Dimension, s.Value, s.Units, s.SRM)
	}
	rates := func(check, subject string, r stats.RateCheck) {
		for i, rate := range r.Rates {
			lines = append(lines, []string{check, subject, h.Groups[i].Name, "", string(r.Code), "", number(rate), number(r.PValue), ""})
		}
	}
	for _, reason := range sorted(h.Exclusions) {
		rates("excluded", reason, h.Exclusions[reason])
	}
	rates("silent", "", h.Silent)
	for _, p := range h.PreExperiment {
		verdict := stats.Fine
		if p.Flagged {
			verdict = stats.Alert
		}
		lines = append(lines, []string{"preExperiment", p.Metric, p.Group, "", string(p.Comparison.Code), string(verdict), "", number(p.Comparison.PValue), ""})
	}
	return columns, lines
}

// Table implements [Table]: one line per metric, and one per week of its plan.
func (p PowerReport) Table() (columns []string, lines [][]string) {
	columns = []string{"metric", "code", "week", "units", "mean", "sd", "effect", "power", "alpha", "needed_control", "needed_treatment", "needed_total", "days_left", "power_now", "mde"}
	text := func(v float64) string { return strconv.FormatFloat(v, 'g', -1, 64) }
	for _, m := range p.Metrics {
		control, treatment := "", ""
		if m.Needed.Code == stats.OK {
			control, treatment = fmt.Sprint(m.Needed.Control), fmt.Sprint(m.Needed.Treatment)
		}
		lines = append(lines, []string{m.Metric, string(m.Code), "", fmt.Sprint(p.Units), number(m.Mean), number(m.SD), text(p.Effect), text(p.Power), text(p.Alpha),
			control, treatment, number(m.Total), number(m.DaysLeft), number(m.Now), number(m.MDE)})
		for _, w := range m.ByWeek {
			lines = append(lines, []string{m.Metric, string(m.Code), fmt.Sprint(w.Week), fmt.Sprint(w.Units), number(m.Mean), number(m.SD), "", text(p.Power), text(p.Alpha), "", "", "", "", "", number(w.MDE)})
		}
	}
	return columns, lines
}

// Table implements [Table]: one line per part and day.
func (p Preview) Table() (columns []string, lines [][]string) {
	columns = []string{"part", "event", "day", "logged", "events", "units", "values", "sum", "mean", "min", "max", "median", "p99"}
	for _, part := range p.Parts {
		for _, d := range append(part.Days[:len(part.Days):len(part.Days)], part.Total) {
			lines = append(lines, []string{part.Part, part.Event, d.Day, fmt.Sprint(d.Logged), fmt.Sprint(d.Events), fmt.Sprint(d.Units), fmt.Sprint(d.Values),
				number(d.Sum), number(d.Mean), number(d.Min), number(d.Max), number(d.Median), number(d.P99)})
		}
	}
	return columns, lines
}
