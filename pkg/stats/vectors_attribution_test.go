package stats_test

import (
	"encoding/json"
	"fmt"
	"time"

	"github.com/sluice-flags/sluice/pkg/stats"
	"github.com/sluice-flags/sluice/pkg/stats/attribution"
)

func init() { methods["attribution"] = attributed }

type attributionInput struct {
	Exposures []struct {
		Unit     string
		Variant  string
		TS       int64
		Override bool
	}
	Events []map[string]any
	Metric struct {
		Type                   attribution.Type
		Event                  string
		Numerator, Denominator string
		Property               string
		Steps                  []string
		Day                    int
		WindowDays             int   `json:"window_days"`
		WindowSeconds          int64 `json:"window_seconds"`
		MaturedOnly            bool  `json:"matured_only"`
		CupedDays              int   `json:"cuped_days"`
	}
}

func (in attributionInput) metric() attribution.Metric {
	const day = 24 * time.Hour
	d := in.Metric
	m := attribution.Metric{
		Type: d.Type, Event: d.Event + d.Numerator, Denominator: d.Denominator, Property: d.Property,
		Steps: d.Steps, Completion: time.Duration(d.WindowSeconds) * time.Second,
		MaturedOnly: d.MaturedOnly, Covariate: time.Duration(d.CupedDays) * day,
	}
	if d.Type == attribution.Retention {
		m.Day, m.Days = d.Day, d.WindowDays
	} else {
		m.Window = time.Duration(d.WindowDays) * day
	}
	return m
}

func (in attributionInput) facts() (exposures []attribution.Exposure, events []attribution.Event, err error) {
	for _, x := range in.Exposures {
		exposures = append(exposures, attribution.Exposure{
			Unit: x.Unit, Group: x.Variant, Time: time.Unix(x.TS, 0), Override: x.Override,
		})
	}
	for _, fields := range in.Events {
		raw, err := json.Marshal(fields)
		if err != nil {
			return nil, nil, err
		}
		var e struct {
			ID, Unit, Event string
			TS              int64
			Value           *float64
		}
		if err := json.Unmarshal(raw, &e); err != nil {
			return nil, nil, err
		}
		event := attribution.Event{
			ID: e.ID, Unit: e.Unit, Name: e.Event, Time: time.Unix(e.TS, 0), Properties: map[string]string{},
		}
		if e.Value != nil {
			event.Value, event.HasValue = *e.Value, true
		}
		for name, v := range fields {
			event.Properties[name] = fmt.Sprint(v)
		}
		events = append(events, event)
	}
	return exposures, events, nil
}

func attributed(c vectorCase) (answers, error) {
	var in attributionInput
	var p struct {
		Start, End, Now int64
		Contamination   attribution.Policy
		Timezone        string
	}
	if err := decode(c, &in, &p); err != nil {
		return nil, err
	}
	zone, err := time.LoadLocation(p.Timezone)
	if err != nil {
		return nil, err
	}
	exposures, events, err := in.facts()
	if err != nil {
		return nil, err
	}
	study := attribution.Study{
		Start: time.Unix(p.Start, 0), End: time.Unix(p.End, 0), Now: time.Unix(p.Now, 0),
		Policy: p.Contamination, Zone: zone,
	}
	m := in.metric()
	r := study.Analyze(exposures, events, m)
	excluded := answers{}
	for why, groups := range r.Excluded {
		total := uint64(0)
		for _, n := range groups {
			total += n
		}
		excluded[string(why)] = total
	}
	a := answers{"excluded": excluded, "crossover_units": r.Crossovers, "control": nil, "test": nil}
	for name, g := range r.Groups {
		a[name] = groupSums(g, m)
	}
	return a, nil
}

// groupSums names a group's aggregates as raw sums, as the vectors do.
func groupSums(g attribution.Group, m attribution.Metric) answers {
	ratio := g.Ratio.Ratio().Pair
	values := g.Values.Pair
	switch m.Type {
	case attribution.Funnel:
		return answers{"n": g.Units, "steps": g.Steps, "overall": answers{
			"n": ratio.N, "main_sum": sum(ratio.Y()), "denominator_sum": sum(ratio.X()),
		}}
	case attribution.Mean, attribution.Ratio:
		return answers{
			"n": ratio.N, "n_exposed": g.Units,
			"main_sum": sum(ratio.Y()), "main_sum_squares": squares(ratio.Y()),
			"denominator_sum": sum(ratio.X()), "denominator_sum_squares": squares(ratio.X()),
			"main_denominator_sum_product": products(ratio),
		}
	}
	return answers{
		"n": values.N, "sum": sum(values.Y()), "sum_squares": squares(values.Y()),
		"main_sum": sum(values.Y()), "main_sum_squares": squares(values.Y()),
		"covariate_sum": sum(values.X()), "covariate_sum_squares": squares(values.X()),
		"main_covariate_sum_product": products(values), "n_with_covariate": g.Values.WithCovariate,
	}
}

func sum(m stats.Moments) float64     { return float64(m.N) * m.Mean }
func squares(m stats.Moments) float64 { return m.M2 + float64(m.N)*m.Mean*m.Mean }
func products(p stats.Pair) float64   { return p.CXY + float64(p.N)*p.MeanY*p.MeanX }
