package results

import (
	"context"
	"maps"
	"slices"
	"time"

	"github.com/sluice-flags/sluice/pkg/flags"
	"github.com/sluice-flags/sluice/pkg/stats"
)

// A Timeseries shows how an experiment's metrics came to be what they are.
type Timeseries struct {
	Project    string   `json:"project"`
	Experiment string   `json:"experiment"`
	Groups     []string `json:"groups"`
	// Corrected is false: a point is for looking at, and no point is corrected
	// for there being many. Decide by the report.
	Corrected bool          `json:"corrected"`
	TimeZone  string        `json:"timeZone"` // in which days begin and end
	Alpha     float64       `json:"alpha"`
	Tail      stats.Tail    `json:"tail"`
	Units     []UnitDay     `json:"units"`
	Metrics   []Series      `json:"metrics"`
	Sequence  SequenceRange `json:"sequence"`
	SQL       []string      `json:"sql"`
}

// A UnitDay is who entered on a day.
type UnitDay struct {
	Day   string   `json:"day"`
	New   []uint64 `json:"new"`   // by group
	Total []uint64 `json:"total"` // by group, up to the end of the day
}

// A Series is one metric, day by day.
type Series struct {
	Metric string `json:"metric"`
	Type   string `json:"type"`
	// Code is OK. Units enter the series of a retention when their time has passed.
	// Caps at a percentile are not applied.
	Code   stats.Code    `json:"code"`
	Points []SeriesPoint `json:"points"`
	// Running is, for each treatment group, what all looks at the cumulative
	// values so far say together: its p-value holds however often one looked.
	Running []RunningLook `json:"running"`
}

// A RunningLook is a group's confidence sequence over all days.
type RunningLook struct {
	Group string `json:"group"`
	stats.Running
}

// A SeriesPoint is one group on one day. Units are those that had entered by its
// end; a daily value is of the day alone, a cumulative one of all days up to it.
type SeriesPoint struct {
	Day        string      `json:"day"`
	Group      string      `json:"group"`
	Daily      SeriesValue `json:"daily"`
	Cumulative SeriesValue `json:"cumulative"`
}

// A SeriesValue is a group's mean, and unless it is control's, its comparison.
type SeriesValue struct {
	N          uint64            `json:"n"`
	Mean       stats.Optional    `json:"mean"`
	Variance   stats.Optional    `json:"variance"` // of one unit
	Comparison *stats.Comparison `json:"comparison,omitempty"`
}

// accumulates says how a unit's value of several days comes from those of each,
// as a window function over the days up to one; empty for a metric of another kind.
func accumulates(t flags.MetricType) (over string, zeros bool) {
	switch t {
	case flags.MetricEventCount, flags.MetricSum, flags.MetricMean, flags.MetricRatio:
		return "sum", true
	case flags.MetricEventUser, flags.MetricMax:
		return "max", t == flags.MetricEventUser
	case flags.MetricMin:
		return "min", false
	case flags.MetricLatest:
		return "last_value", false
	case flags.MetricCountDistinct:
		return "sum", true // of those that were not there before
	}
	return "", false
}

// Timeseries returns the days of an experiment, with the errors of
// [Service.Experiment].
func (s *Service) Timeseries(ctx context.Context, state *flags.State, experiment string, o Options) (Timeseries, error) {
	o = o.withDefaults()
	of, err := s.open(ctx, state, experiment)
	if err != nil {
		return Timeseries{}, err
	}
	t := Timeseries{
		Project: state.Project(), Experiment: of.entity.Name, TimeZone: zoneOf(state).String(), Alpha: o.Alpha, Tail: o.Tail,
		Units: []UnitDay{}, Metrics: []Series{}, Sequence: SequenceRange{Definition: of.entity.Seq}, SQL: []string{},
	}
	all := groups(of.doc)
	for _, g := range all {
		t.Groups = append(t.Groups, g.Name)
	}
	now := s.now()
	rows, err := s.series.do(ctx, of.key, func(ctx context.Context) (map[string][]seriesRow, error) { return s.querySeries(ctx, of, now) })
	if err != nil {
		return Timeseries{}, classify(ctx, err)
	}
	last := lastDay(of.doc, now, zoneOf(state))
	t.Units = unitDays(rows[whoEntered], len(all), last)
	for _, e := range metricsOf(state, of.doc) {
		doc, ok := e.Doc.(*flags.Metric)
		if !ok {
			continue
		}
		series := Series{Metric: e.Name, Type: string(doc.Type), Code: stats.OK, Points: []SeriesPoint{}, Running: []RunningLook{}}
		q := newSeriesQuery(of, e, doc, now, unitsSQL)
		t.SQL = append(t.SQL, q.bound.spell(q.text))
		units := t.Units
		if matured, ok := rows[whoMatured+e.Ref.ID]; ok {
			units = unitDays(matured, len(all), last)
		}
		series.fill(doc, rows[e.Ref.ID], units, all, o)
		t.Metrics = append(t.Metrics, series)
	}
	return t, nil
}

// lastDay is the name of the last day of an experiment so far.
func lastDay(doc *flags.Experiment, now time.Time, zone *time.Location) string {
	if doc.EndedAt != nil && doc.EndedAt.Before(now) {
		now = doc.EndedAt.Add(-time.Millisecond)
	}
	return now.In(zone).Format(time.DateOnly)
}

// unitDays lists every day from the first on which a unit entered to the last.
func unitDays(entered []seriesRow, groups int, last string) []UnitDay {
	days := []UnitDay{}
	if len(entered) == 0 {
		return days
	}
	byDay := map[string][]uint64{}
	for _, r := range entered {
		if byDay[r.day] == nil {
			byDay[r.day] = make([]uint64, groups)
		}
		if int(r.group) < groups {
			byDay[r.day][r.group] += r.daily.N
		}
	}
	first, err := time.Parse(time.DateOnly, entered[0].day)
	if err != nil {
		return days
	}
	total := make([]uint64, groups)
	for day := first; len(days) < maxSeriesDays; day = day.AddDate(0, 0, 1) {
		name := day.Format(time.DateOnly)
		if name > last {
			break
		}
		one := UnitDay{Day: name, New: make([]uint64, groups)}
		copy(one.New, byDay[name])
		for i, n := range one.New {
			total[i] += n
		}
		one.Total = slices.Clone(total)
		days = append(days, one)
	}
	return days
}

// maxSeriesDays is the longest experiment that is shown by day.
const maxSeriesDays = 366

func add(a, b stats.PairSums) stats.PairSums {
	return stats.PairSums{
		N: a.N + b.N, SumY: a.SumY + b.SumY, SumX: a.SumX + b.SumX,
		SumSquaresY: a.SumSquaresY + b.SumSquaresY, SumSquaresX: a.SumSquaresX + b.SumSquaresX, SumProducts: a.SumProducts + b.SumProducts,
	}
}

// fill makes the points of a series of what each day added.
func (s *Series) fill(doc *flags.Metric, rows []seriesRow, days []UnitDay, groups []Group, o Options) {
	type place struct {
		day   string
		group uint8
	}
	byPlace := map[place]seriesRow{}
	for _, r := range rows {
		byPlace[place{r.day, r.group}] = r
	}
	_, zeros := accumulates(doc.Type)
	zeros = zeros && doc.Type != flags.MetricMean && doc.Type != flags.MetricRatio || doc.MissingAsZero
	so := make([]stats.PairSums, len(groups))
	quantiles := [2][]stats.Quantile{make([]stats.Quantile, len(groups)), make([]stats.Quantile, len(groups))}
	running := map[string]stats.Running{}
	for _, day := range days {
		daily := make([]stats.PairSums, len(groups))
		for i := range groups {
			r := byPlace[place{day.Day, uint8(i)}]
			daily[i], so[i] = r.daily, add(so[i], r.cumulative)
			if byUnit(doc) {
				so[i] = r.cumulative // which is whole
			}
			quantiles[0][i], quantiles[1][i] = r.quantiles[0], r.quantiles[1]
		}
		one, all := s.values(doc, daily, day.Total, groups, zeros, o), s.values(doc, so, day.Total, groups, zeros, o)
		if doc.Type == flags.MetricPercentile {
			one = seriesValues(groups, o, func(i int) stats.Quantile { return quantiles[0][i] })
			all = seriesValues(groups, o, func(i int) stats.Quantile { return quantiles[1][i] })
		}
		for i, g := range groups {
			s.Points = append(s.Points, SeriesPoint{Day: day.Day, Group: g.Name, Daily: one[i], Cumulative: all[i]})
			if c := all[i].Comparison; c != nil {
				look := stats.ConfidenceSequence(*c, stats.SequenceOptions{Alpha: o.Alpha, Tail: o.Tail, TuningUnits: o.TuningUnits})
				if burnedIn(doc, c) {
					running[g.Name] = running[g.Name].Update(look)
				}
			}
		}
	}
	for _, name := range slices.Sorted(maps.Keys(running)) {
		s.Running = append(s.Running, RunningLook{name, running[name]})
	}
}

// burnedIn reports whether two groups are large enough to look at.
func burnedIn(doc *flags.Metric, c *stats.Comparison) bool {
	how, _ := formOf(doc)
	group := func(g stats.Group) stats.Arm {
		if how == formProportion {
			return stats.Proportion{N: g.N, Successes: uint64(g.Value.Or(0)*float64(g.N) + 0.5)}
		}
		return stats.Moments{N: g.N}
	}
	return stats.BurnedIn(group(c.Control), group(c.Treatment))
}

func (s *Series) values(doc *flags.Metric, sums []stats.PairSums, units []uint64, groups []Group, zeros bool, o Options) []SeriesValue {
	if isRatio(doc) {
		return seriesValues(groups, o, func(i int) stats.RatioSums { return stats.RatioSums{PairSums: sums[i]} })
	}
	return seriesValues(groups, o, func(i int) stats.Sums {
		n := sums[i].N
		if zeros {
			n = max(units[i], n)
		}
		return stats.Sums{N: n, Sum: sums[i].SumY, SumSquares: sums[i].SumSquaresY}
	})
}

func seriesValues[A stats.Arm](groups []Group, o Options, arm func(int) A) []SeriesValue {
	control := 0
	for i, g := range groups {
		if g.Control {
			control = i
		}
	}
	out := make([]SeriesValue, len(groups))
	for i, g := range groups {
		c := stats.Compare(arm(control), arm(i), stats.Options{Alpha: o.Alpha, Tail: o.Tail})
		out[i] = SeriesValue{N: c.Treatment.N, Mean: c.Treatment.Value, Variance: c.Treatment.Variance}
		if !g.Control {
			out[i].Comparison = &c
		}
	}
	return out
}
