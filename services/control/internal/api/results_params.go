package api

import (
	"mime"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/sluice-flags/sluice/internal/web"
	"github.com/sluice-flags/sluice/pkg/flags"
	"github.com/sluice-flags/sluice/pkg/stats"
	"github.com/sluice-flags/sluice/services/control/internal/results"
)

// What follows reads what callers may say about how results are to be made and read.

// wantsCSV reads format, and where there is none, Accept.
func (c *call) wantsCSV() (bool, error) {
	switch c.query.Get("format") {
	case "csv":
		return true, nil
	case "json":
		return false, nil
	case "":
		media, _, _ := mime.ParseMediaType(strings.Split(c.r.Header.Get("Accept"), ",")[0])
		return media == "text/csv", nil
	}
	return false, web.Invalid("format", "invalid", "format is json or csv")
}

// decimal reads a parameter that is a number between bounds, both excluded. It is
// written as in JSON, roughly: neither 1_000 nor 0x10, which Go would read.
func (c *call) decimal(name string, above, below float64, want string) (float64, error) {
	text := c.query.Get(name)
	if text == "" {
		return 0, nil
	}
	v, err := strconv.ParseFloat(text, 64)
	if err != nil || strings.Trim(text, "0123456789.eE+-") != "" || !(v > above && v < below) {
		return 0, web.Invalid(name, "out_of_range", "%s is %s", name, want)
	}
	return v, nil
}

// corrections are the names of corrections, short ones too.
var corrections = map[string]stats.Correction{
	"": stats.Uncorrected, "none": stats.Uncorrected, "bonferroni": stats.Bonferroni, "holm": stats.Holm,
	"bh": stats.BenjaminiHochberg, "benjamini_hochberg": stats.BenjaminiHochberg,
	"by": stats.BenjaminiYekutieli, "benjamini_yekutieli": stats.BenjaminiYekutieli,
}

// readings reads how results are to be read.
func (c *call) readings() (o results.Options, err error) {
	const huge = 1e15
	o.Method = results.Method(c.query.Get("method"))
	if !slices.Contains([]results.Method{"", results.Fixed, results.Sequential, results.Bayesian}, o.Method) {
		return o, web.Invalid("method", "invalid", "method is fixed, sequential or bayesian")
	}
	if text := c.query.Get("tail"); text != "" {
		if o.Tail.UnmarshalText([]byte(text)) != nil {
			return o, web.Invalid("tail", "invalid", "tail is two-sided, greater or less")
		}
	}
	var ok bool
	if o.Correction, ok = corrections[c.query.Get("correction")]; !ok {
		return o, web.Invalid("correction", "invalid", "correction is none, holm, bonferroni, bh or by")
	}
	if o.Method == results.Bayesian && o.Correction != stats.Uncorrected {
		return o, web.Invalid("correction", "invalid", "a posterior has no p-value to correct: leave correction out, or ask for another method")
	}
	if o.Method == results.Bayesian && o.Tail != stats.TwoSided {
		return o, web.Invalid("tail", "invalid", "a posterior has no tail: read its chance to beat control, or ask for another method")
	}
	switch c.query.Get("cuped") {
	case "", "true":
	case "false":
		o.Raw = true
	default:
		return o, web.Invalid("cuped", "type", "cuped is true or false")
	}
	switch c.query.Get("topline") {
	case "", "false":
	case "true":
		o.Topline = true
	default:
		return o, web.Invalid("topline", "type", "topline is true or false")
	}
	if o.Alpha, err = c.decimal("alpha", 0, 1, "a level between 0 and 1, such as 0.05"); err != nil {
		return o, err
	}
	if o.TuningUnits, err = c.decimal("tuningUnits", 0, huge, "the number of units at which a decision is expected"); err != nil {
		return o, err
	}
	if o.Prior.Mean, err = c.decimal("priorMean", -huge, huge, "a lift, such as 0.01"); err != nil {
		return o, err
	}
	if o.Prior.SD, err = c.decimal("priorSd", 0, huge, "the standard deviation of the lift that was expected, such as 0.05"); err != nil {
		return o, err
	}
	if o.Prior.Mean != 0 && o.Prior.SD == 0 {
		return o, web.Invalid("priorSd", "required", "a prior has a standard deviation beside its mean")
	}
	return o, nil
}

// breakdown reads by what results are to be broken down.
func (c *call) breakdown(s *flags.State, o *results.Options) error {
	top, err := c.number("top", 1, results.MaxSlices, 0)
	if err != nil {
		return err
	}
	o.Top = int(top)
	by := c.query.Get("by")
	switch {
	case by == "" && top > 0:
		return web.Invalid("by", "required", "top is how many values get a slice of their own: say by which dimension, such as by=sdk")
	case by == "":
		return nil
	}
	if o.By, err = results.ParseDimension(s.Settings(), by); err != nil {
		return web.Invalid("by", "missing", "%v", err)
	}
	return nil
}

// studied reads what all questions about an experiment have in common: its name,
// and the state that defines it.
func (c *call) studied() (name string, s *flags.State, err error) {
	if name, err = c.name(); err != nil {
		return "", nil, err
	}
	if s, err = c.state(); err != nil {
		return "", nil, err
	}
	if _, ok := s.Find(flags.KindExperiment, name); !ok {
		return "", nil, web.Errorf(web.CodeNotFound, "there is no experiment %q", name)
	}
	return name, s, nil
}

// periods lists the stretches of an experiment's run during which its allocation
// stayed the same.
func (c *call) periods(s *flags.State, name string) ([]results.Period, error) {
	entity, _ := s.Find(flags.KindExperiment, name)
	now, ok := entity.Doc.(*flags.Experiment)
	if !ok || now.StartedAt == nil || entity.Version < 2 {
		return nil, nil // it was made running, and not changed since
	}
	var periods []results.Period
	for e, err := range c.project.History(c.ctx, entity.Ref) {
		if err != nil {
			return nil, err
		}
		if e.Seq > entity.Seq {
			break
		}
		version, err := entityOf(e)
		if err != nil {
			return nil, err
		}
		x, ok := version.Doc.(*flags.Experiment)
		if !ok || x.Status != flags.ExperimentRunning || x.StartedAt == nil || !x.StartedAt.Equal(*now.StartedAt) {
			continue // of an earlier life, or after the end
		}
		if n := len(periods); n > 0 && periods[n-1].Allocation == x.Allocation {
			continue
		}
		from := time.UnixMilli(e.Time).UTC()
		if len(periods) == 0 {
			from = *x.StartedAt
		}
		periods = append(periods, results.Period{From: from, Allocation: x.Allocation, Sequence: e.Seq})
	}
	return periods, nil
}
