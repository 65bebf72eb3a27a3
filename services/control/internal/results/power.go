package results

import (
	"context"
	"fmt"
	"math"
	"slices"

	"github.com/sluice-flags/sluice/pkg/flags"
	"github.com/sluice-flags/sluice/pkg/stats"
)

// PowerOptions are the questions to a plan, and what is known better than by
// looking. What is zero, or undefined, is read from the experiment's own facts so far.
type PowerOptions struct {
	Options
	Metric      string         // of the experiment, by name or id; all if empty
	Effect      float64        // the lift worth finding: 0.05 if zero
	Power       float64        // 0.8 if zero
	Mean        stats.Optional // of control
	SD          float64        // of one unit of control
	UnitsPerDay float64        // new units of the experiment per day, over all groups
	Reduction   float64        // of the variance, by covariates
}

// A PowerReport says how many units, and days, it takes to find an effect.
type PowerReport struct {
	Project    string         `json:"project"`
	Experiment string         `json:"experiment"`
	Method     Method         `json:"method"`
	Effect     float64        `json:"effect"` // the lift asked for
	Power      float64        `json:"power"`  // asked for
	Alpha      float64        `json:"alpha"`  // of each test, after dividing it among the scorecard's
	Units      uint64         `json:"units"`  // so far
	Days       stats.Optional `json:"days"`   // so far
	PerDay     stats.Optional `json:"unitsPerDay"`
	Metrics    []MetricPower  `json:"metrics"`
}

// A MetricPower is the plan of one metric, for the smallest treatment group.
type MetricPower struct {
	Metric   string         `json:"metric,omitempty"`
	Code     stats.Code     `json:"code"` // OK, or why there is no plan
	Mean     stats.Optional `json:"mean"`
	SD       stats.Optional `json:"sd"`
	Needed   stats.Size     `json:"needed"`   // units in control, and in the treatment group
	Total    stats.Optional `json:"total"`    // units over all groups until each has what it needs
	DaysLeft stats.Optional `json:"daysLeft"` // until then, at the rate of units so far
	Now      stats.Optional `json:"powerNow"` // chance to find the effect with the units there are
	MDE      stats.Optional `json:"mde"`      // smallest lift that the units there are find
	ByWeek   []MDEWeek      `json:"byWeek"`   // smallest lift at the end of each week to come
}

// An MDEWeek is what an experiment can find if it runs that long. Values of units
// accumulate, so that of a week that has passed goes by what there was at its end;
// a week to come goes by mean and variance as they are now.
type MDEWeek struct {
	Week  int            `json:"week"` // from the start, counted from one
	Units uint64         `json:"units"`
	MDE   stats.Optional `json:"mde"`
}

// A pastWeek is an experiment at the end of a week.
type pastWeek struct {
	units   uint64 // over all groups
	control map[string]stats.Week
}

// pastWeeks returns the weeks that an experiment has run for, as its series know
// them: those of retentions and percentiles are not accumulated by day.
func (s *Service) pastWeeks(ctx context.Context, state *flags.State, r Report) ([]pastWeek, error) {
	if r.Start == nil || r.AsOf.Sub(*r.Start) < 7*day {
		return nil, nil
	}
	t, err := s.Timeseries(ctx, state, r.Experiment, Options{})
	if err != nil {
		return nil, err
	}
	control := slices.IndexFunc(r.Groups, func(g Group) bool { return g.Control })
	var weeks []pastWeek
	for last := 6; last < len(t.Units) && control >= 0; last += 7 {
		w := pastWeek{control: map[string]stats.Week{}}
		for _, n := range t.Units[last].Total {
			w.units += n
		}
		for _, series := range t.Metrics {
			at := last*len(r.Groups) + control
			if at >= len(series.Points) || series.Type == string(flags.MetricRetention) || series.Type == string(flags.MetricPercentile) {
				continue
			}
			v := series.Points[at].Cumulative
			mean, known := v.Mean.Get()
			if variance, varies := v.Variance.Get(); known && varies && variance > 0 {
				w.control[series.Metric] = stats.Week{Control: float64(v.N), Mean: mean, Variance: variance}
			}
		}
		weeks = append(weeks, w)
	}
	return weeks, nil
}

const (
	defaultEffect = 0.05
	defaultPower  = 0.8
	planWeeks     = 12
	maxPlanDays   = 3650
)

// Power plans an experiment from its facts so far, from what the caller knows,
// or both. Its errors are those of [Service.Experiment]; a metric that the
// experiment does not have is [ErrUnknownMetric].
func (s *Service) Power(ctx context.Context, state *flags.State, experiment string, o PowerOptions) (PowerReport, error) {
	o.Options = o.withDefaults()
	if o.Effect == 0 {
		o.Effect = defaultEffect
	}
	if o.Power == 0 {
		o.Power = defaultPower
	}
	r, err := s.Experiment(ctx, state, experiment, Options{})
	if err != nil {
		return PowerReport{}, err
	}
	p := PowerReport{Project: r.Project, Experiment: r.Experiment, Method: o.Method, Effect: o.Effect, Power: o.Power, Alpha: o.Alpha, Metrics: []MetricPower{}}
	if n := len(r.Metrics) * (len(r.Groups) - 1); n > 1 && o.Correction != stats.Uncorrected {
		p.Alpha = o.Alpha / float64(n)
	}
	for _, g := range r.Groups {
		p.Units += g.Exposed
	}
	if r.Start != nil {
		end := s.now()
		if r.End != nil {
			end = *r.End
		}
		if days := end.Sub(*r.Start).Hours() / 24; days > 0 {
			p.Days = stats.Defined(days)
			if p.Units > 0 {
				p.PerDay = stats.Defined(float64(p.Units) / max(days, 1))
			}
		}
	}
	if o.UnitsPerDay > 0 {
		p.PerDay = stats.Defined(o.UnitsPerDay)
	}
	past, err := s.pastWeeks(ctx, state, r)
	if err != nil {
		return PowerReport{}, err
	}
	wanted := o.Metric
	if wanted != "" {
		if e, ok := state.Find(flags.KindMetric, wanted); ok {
			wanted = e.Name
		}
	}
	for _, m := range r.Metrics {
		if wanted == "" || m.Name == wanted {
			p.Metrics = append(p.Metrics, planMetric(m, r.Groups, past, p, o))
		}
	}
	switch {
	case wanted != "" && len(p.Metrics) == 0:
		return PowerReport{}, fmt.Errorf("%w: %q", ErrUnknownMetric, o.Metric)
	case len(p.Metrics) == 0 && !o.Mean.IsZero():
		p.Metrics = append(p.Metrics, planMetric(Metric{}, r.Groups, nil, p, o)) // from the caller's numbers alone
	}
	return p, nil
}

func planMetric(m Metric, groups []Group, past []pastWeek, p PowerReport, o PowerOptions) MetricPower {
	out := MetricPower{Metric: m.Name, Code: stats.OK, ByWeek: []MDEWeek{}}
	control, smallest, total := 0, -1, 0.0
	for i, g := range groups {
		total += g.Share
		switch {
		case g.Control:
			control = i
		case smallest < 0 || g.Share < groups[smallest].Share:
			smallest = i
		}
	}
	if smallest < 0 || !(groups[control].Share > 0 && groups[smallest].Share > 0) {
		out.Code = stats.NotApplicable // no two groups that both get units
		return out
	}
	var units float64
	if len(m.Groups) > control {
		g := m.Groups[control]
		out.Mean = g.Mean
		units = float64(g.N)
		if v, ok := g.Variance.Get(); ok {
			out.SD = stats.Defined(math.Sqrt(v))
		}
	}
	if !o.Mean.IsZero() {
		out.Mean = o.Mean
	}
	if o.SD > 0 {
		out.SD = stats.Defined(o.SD)
	}
	mean, known := out.Mean.Get()
	sd, varies := out.SD.Get()
	switch {
	case !known:
		out.Code = stats.NoUnits
	case mean == 0:
		out.Code = stats.ZeroControlMean
	case !varies:
		out.Code = stats.InsufficientUnits
	case sd == 0:
		out.Code = stats.ZeroVariance
	}
	if out.Code != stats.OK {
		return out
	}
	plan := stats.Plan{
		Mean: mean, Variance: sd * sd, Ratio: groups[smallest].Share / groups[control].Share,
		Alpha: p.Alpha, OneSided: o.Tail != stats.TwoSided, VarianceReduction: o.Reduction,
	}
	if o.Method == Sequential {
		plan.TuningUnits = o.TuningUnits
		if plan.TuningUnits == 0 {
			plan.TuningUnits = stats.DefaultTuningUnits
		}
	}
	effect := o.Effect * math.Abs(mean)
	find := plan // with this effect
	out.Needed = plan.SampleSize(effect, o.Power)
	if share := mean + effect; len(m.Groups) > control && m.Groups[control].Conversions != nil && o.SD == 0 && mean < 1 && share > 0 && share < 1 {
		// A share that is moved has another variance.
		find.Variance, find.TreatmentVariance = mean*(1-mean), share*(1-share)
		if out.Needed = find.SampleSize(effect, o.Power); o.Method != Sequential {
			out.Needed = stats.ProportionSampleSize(mean, share, o.Power, plan)
		}
	}
	if out.Needed.Code != stats.OK {
		out.Code = out.Needed.Code
	}
	relative := func(units float64) stats.Optional {
		if mde, ok := plan.MDE(units, o.Power).Get(); ok {
			return stats.Defined(mde / math.Abs(mean))
		}
		return stats.Optional{}
	}
	if units > 0 {
		out.Now, out.MDE = find.Power(units, effect), relative(units)
	}
	share := groups[control].Share / total
	if need, ok := out.Needed.ControlExact.Get(); ok {
		out.Total = stats.Defined(math.Ceil(need / share))
	}
	perDay, ok := p.PerDay.Get()
	if !ok || !(perDay > 0) {
		return out
	}
	if need, ok := out.Total.Get(); ok {
		if days := math.Ceil(max(0, need-float64(p.Units)) / perDay); days <= maxPlanDays {
			out.DaysLeft = stats.Defined(days)
		}
	}
	for week := 1; week <= planWeeks; week++ {
		if week <= len(past) && o.Mean.IsZero() && o.SD == 0 && o.UnitsPerDay == 0 {
			if of, ok := past[week-1].control[m.Name]; ok {
				out.ByWeek = append(out.ByWeek, MDEWeek{Week: week, Units: past[week-1].units, MDE: plan.MDEByWeek([]stats.Week{of}, o.Power)[0]})
				continue
			}
		}
		n := perDay * 7 * float64(week)
		out.ByWeek = append(out.ByWeek, MDEWeek{Week: week, Units: uint64(n), MDE: relative(n * share)})
	}
	return out
}
