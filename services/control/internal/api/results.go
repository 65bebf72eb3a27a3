package api

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"mime"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/sluice-flags/sluice/internal/web"
	"github.com/sluice-flags/sluice/pkg/flags"
	"github.com/sluice-flags/sluice/pkg/stats"
	"github.com/sluice-flags/sluice/services/control/internal/results"
)

// Results answers what experiments and gates have shown so far; [results.Gates] does.
type Results interface {
	Experiment(ctx context.Context, s *flags.State, name string, o results.Options) (results.Report, error)
	Gate(ctx context.Context, s *flags.State, name string, o results.GateOptions) (results.GateReport, error)
	Timeseries(ctx context.Context, s *flags.State, name string, o results.Options) (results.Timeseries, error)
	Health(ctx context.Context, s *flags.State, name string, o results.Options) (results.Health, error)
	Power(ctx context.Context, s *flags.State, name string, o results.PowerOptions) (results.PowerReport, error)
	Preview(ctx context.Context, s *flags.State, m *flags.Metric, days int) (results.Preview, error)
}

// resultRoutes lists the routes of results, under the path of one project.
func (a *API) resultRoutes(one string) []route {
	looked := []string{"asOf", "format", "wait"}
	readings := append([]string{"by", "top", "topline", "method", "alpha", "tail", "correction", "cuped", "tuningUnits", "priorMean", "priorSd"}, looked...)
	planned := append([]string{"metric", "effect", "power", "mean", "sd", "unitsPerDay", "reduction", "method", "alpha", "tail", "correction", "tuningUnits"}, looked...)
	experiment := one + "/experiments/{name}/"
	return []route{
		{"GET", experiment + "results", read, readings, a.experimentResults},
		{"GET", experiment + "timeseries", read, append([]string{"alpha", "tail", "tuningUnits"}, looked...), a.experimentTimeseries},
		{"GET", experiment + "health", read, looked, a.experimentHealth},
		{"GET", experiment + "power", read, planned, a.experimentPower},
		{"GET", one + "/gates/{name}/results", read, append([]string{"rule", "step"}, readings...), a.gateResults},
		{"POST", one + "/metrics/{name}/preview", read, []string{"format", "wait", "days"}, a.previewMetric},
		{"GET", "/api/v1/operations/{id}", read, nil, a.getOperation},
		{"DELETE", "/api/v1/operations/{id}", read, nil, a.cancelOperation},
	}
}

// How long a caller is kept waiting for an answer before it gets an operation.
const (
	usualWait   = 2 * time.Second
	longestWait = 60 * time.Second
)

// answerWith runs work and answers with what it comes to, as JSON or CSV. Work
// that takes longer than the caller waits goes on as an operation.
func (a *API) answerWith(c *call, work func(context.Context) (results.Table, error)) error {
	asCSV, err := c.wantsCSV()
	if err != nil {
		return err
	}
	seconds, err := c.number("wait", 0, uint64(longestWait/time.Second), uint64(usualWait/time.Second))
	if err != nil {
		return err
	}
	job := a.jobs.Start(c.ctx, c.project.ID(), func(ctx context.Context) (any, error) { return work(ctx) })
	waiting, cancel := context.WithTimeout(c.ctx, time.Duration(seconds)*time.Second)
	defer cancel()
	if seconds == 0 || !job.Wait(waiting) {
		if c.ctx.Err() != nil {
			job.Cancel() // nobody has heard of it
			return context.Cause(c.ctx)
		}
		c.w.Header().Set("Location", "/api/v1/operations/"+job.ID)
		c.w.Header().Set("Retry-After", "1")
		return web.Respond(c.w, http.StatusAccepted, operationOf(job))
	}
	answer, err := job.Answer()
	if err != nil {
		return explainResults(err)
	}
	if !asCSV {
		return web.Respond(c.w, http.StatusOK, answer)
	}
	var body bytes.Buffer
	if err := results.WriteCSV(&body, answer.(results.Table)); err != nil {
		return err
	}
	c.w.Header().Set("Content-Type", "text/csv; charset=utf-8; header=present")
	_, _ = c.w.Write(body.Bytes()) // the caller has gone: nobody is left to tell
	return nil
}

// explainResults turns the errors of results into what a caller may see.
func explainResults(err error) error {
	switch {
	case errors.Is(err, results.ErrUnknownExperiment):
		return web.Errorf(web.CodeNotFound, "there is no experiment of this name")
	case errors.Is(err, results.ErrUnknownGate):
		return web.Errorf(web.CodeNotFound, "there is no gate of this name")
	case errors.Is(err, results.ErrUnknownMetric):
		return web.Invalid("metric", "missing", "the experiment has no metric of this name")
	case errors.Is(err, results.ErrUnavailable):
		return &web.Error{Code: web.CodeUnavailable, Message: "the warehouse does not answer just now", Err: err, RetryAfter: time.Second}
	case errors.Is(err, results.ErrCancelled):
		return &web.Error{Code: web.CodeUnavailable, Message: "somebody cancelled the operation; ask again", Err: err, RetryAfter: time.Second}
	}
	return err
}

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

// decimal reads a parameter that is a number between bounds, both excluded.
func (c *call) decimal(name string, above, below float64, want string) (float64, error) {
	text := c.query.Get(name)
	if text == "" {
		return 0, nil
	}
	v, err := strconv.ParseFloat(text, 64)
	if err != nil || !(v > above && v < below) {
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

// experimentResults serves what an experiment has shown so far.
func (a *API) experimentResults(c *call) error {
	o, err := c.readings()
	if err != nil {
		return err
	}
	name, s, err := c.studied()
	if err != nil {
		return err
	}
	if err := c.breakdown(s, &o); err != nil {
		return err
	}
	if o.Periods, err = c.periods(s, name); err != nil {
		return err
	}
	return a.answerWith(c, func(ctx context.Context) (results.Table, error) { return a.results.Experiment(ctx, s, name, o) })
}

// gateResults serves what the partial rollouts of a gate have shown so far.
func (a *API) gateResults(c *call) error {
	options, err := c.readings()
	if err != nil {
		return err
	}
	step, err := c.number("step", 1, 1<<31, 0)
	if err != nil {
		return err
	}
	o := results.GateOptions{Options: options, Rule: c.query.Get("rule"), Step: int(step)}
	name, err := c.name()
	if err != nil {
		return err
	}
	s, err := c.state()
	if err != nil {
		return err
	}
	if _, ok := s.Find(flags.KindGate, name); !ok {
		return web.Errorf(web.CodeNotFound, "there is no gate %q", name)
	}
	if err := c.breakdown(s, &o.Options); err != nil {
		return err
	}
	return a.answerWith(c, func(ctx context.Context) (results.Table, error) { return a.results.Gate(ctx, s, name, o) })
}

// experimentTimeseries serves how an experiment came to be what it is.
func (a *API) experimentTimeseries(c *call) error {
	o, err := c.readings()
	if err != nil {
		return err
	}
	name, s, err := c.studied()
	if err != nil {
		return err
	}
	return a.answerWith(c, func(ctx context.Context) (results.Table, error) { return a.results.Timeseries(ctx, s, name, o) })
}

// experimentHealth serves whether an experiment can be trusted.
func (a *API) experimentHealth(c *call) error {
	name, s, err := c.studied()
	if err != nil {
		return err
	}
	var o results.Options
	if o.Periods, err = c.periods(s, name); err != nil {
		return err
	}
	return a.answerWith(c, func(ctx context.Context) (results.Table, error) { return a.results.Health(ctx, s, name, o) })
}

// experimentPower serves how long an experiment has to run.
func (a *API) experimentPower(c *call) error {
	const huge = 1e15
	options, err := c.readings()
	if err != nil {
		return err
	}
	if options.Method == results.Bayesian {
		return web.Invalid("method", "invalid", "a plan is for the fixed or the sequential method")
	}
	o := results.PowerOptions{Options: options, Metric: c.query.Get("metric")}
	for _, p := range []struct {
		name         string
		above, below float64
		want         string
		into         *float64
	}{
		{"effect", 0, huge, "the lift worth finding, such as 0.05", &o.Effect},
		{"power", 0, 1, "the chance to find it, between 0 and 1, such as 0.8", &o.Power},
		{"mean", -huge, huge, "control's mean", &o.Mean},
		{"sd", 0, huge, "the standard deviation of one unit, above 0", &o.SD},
		{"unitsPerDay", 0, huge, "a number of units above 0", &o.UnitsPerDay},
		{"reduction", 0, 1, "the share of the variance that covariates take away, between 0 and 1", &o.Reduction},
	} {
		if *p.into, err = c.decimal(p.name, p.above, p.below, p.want); err != nil {
			return err
		}
	}
	name, s, err := c.studied()
	if err != nil {
		return err
	}
	return a.answerWith(c, func(ctx context.Context) (results.Table, error) { return a.results.Power(ctx, s, name, o) })
}

// previewMetric serves what a metric counted over the last days: the one that is
// saved under the name, or a document that is yet to be.
func (a *API) previewMetric(c *call) error {
	name, err := c.name()
	if err != nil {
		return err
	}
	days, err := c.number("days", 1, results.MaxPreviewDays, 7)
	if err != nil {
		return err
	}
	s, err := c.newest(c.project)
	if err != nil {
		return err
	}
	c.at(s)
	raw, err := web.ReadBody(c.r, web.Limits{})
	if err != nil {
		return err
	}
	var doc *flags.Metric
	if raw = bytes.TrimSpace(raw); len(raw) > 0 && !bytes.Equal(raw, []byte("{}")) {
		if doc, err = unsaved(s, raw, name); err != nil {
			return err
		}
	} else {
		e, ok := s.Find(flags.KindMetric, name)
		if !ok {
			return web.Errorf(web.CodeNotFound, "there is no metric %q; send its document to preview one that is not saved", name)
		}
		if doc, ok = e.Doc.(*flags.Metric); !ok {
			return web.Errorf(web.CodeNotFound, "the metric %q is beyond this version", name)
		}
	}
	return a.answerWith(c, func(ctx context.Context) (results.Table, error) {
		return a.results.Preview(ctx, s, doc, int(days))
	})
}

// unsaved reads a metric that somebody is working on.
func unsaved(s *flags.State, raw json.RawMessage, name string) (*flags.Metric, error) {
	var w write
	if err := web.DecodeJSON(raw, &w.body, web.Limits{CaseVariants: true}); err != nil {
		return nil, err
	}
	id := flags.NewID(flags.KindMetric.IDPrefix())
	if e, ok := s.Find(flags.KindMetric, name); ok {
		id = e.Ref.ID // it is another version of that one
	}
	doc, err := w.document(flags.KindMetric, map[string]any{"id": id, "name": name})
	if err != nil {
		return nil, err
	}
	if problems := flags.Validate(s, doc); len(problems) > 0 {
		return nil, problems
	}
	return doc.(*flags.Metric), nil
}
