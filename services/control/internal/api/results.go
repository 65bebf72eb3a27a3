package api

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"net/http"
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
	job := a.jobs.Start(c.ctx, c.project.ID(), c.who.Key.ID, func(ctx context.Context) (any, error) { return work(ctx) })
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
	case errors.Is(err, results.ErrUnknownStep):
		return web.Errorf(web.CodeNotFound, "%v", err)
	case errors.Is(err, results.ErrUnknownMetric):
		return web.Invalid("metric", "missing", "the experiment has no metric of this name")
	case errors.Is(err, results.ErrUnavailable):
		return &web.Error{Code: web.CodeUnavailable, Message: "the warehouse does not answer just now", Err: err, RetryAfter: time.Second}
	case errors.Is(err, results.ErrCancelled):
		return &web.Error{Code: web.CodeUnavailable, Message: "somebody cancelled the operation; ask again", Err: err, RetryAfter: time.Second}
	}
	return err
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
	var mean float64
	for _, p := range []struct {
		name         string
		above, below float64
		want         string
		into         *float64
	}{
		{"effect", 0, huge, "the lift worth finding, such as 0.05", &o.Effect},
		{"power", 0, 1, "the chance to find it, between 0 and 1, such as 0.8", &o.Power},
		{"mean", -huge, huge, "control's mean", &mean},
		{"sd", 0, huge, "the standard deviation of one unit, above 0", &o.SD},
		{"unitsPerDay", 0, huge, "a number of units above 0", &o.UnitsPerDay},
		{"reduction", 0, 1, "the share of the variance that covariates take away, between 0 and 1", &o.Reduction},
	} {
		if *p.into, err = c.decimal(p.name, p.above, p.below, p.want); err != nil {
			return err
		}
	}
	if c.query.Get("mean") != "" {
		o.Mean = stats.Defined(mean) // 0 is one, too
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
