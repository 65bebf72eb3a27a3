package api

import (
	"context"
	"errors"
	"net/http"

	"github.com/sluice-flags/sluice/internal/web"
	"github.com/sluice-flags/sluice/pkg/flags"
	"github.com/sluice-flags/sluice/services/control/internal/results"
)

// operation is a job as callers see it.
type operation struct {
	ID       string            `json:"id"`
	Project  string            `json:"project"`
	Status   results.JobStatus `json:"status"`
	Started  string            `json:"startedAt"`
	RowsRead uint64            `json:"rowsRead"`
	Rows     uint64            `json:"rows"` // that it expects to read, as far as is known
	Progress float64           `json:"progress"`
	Result   any               `json:"result,omitempty"`
	Problem  string            `json:"problem,omitempty"`
}

func operationOf(job *results.Job) operation {
	status, read, total := job.Status()
	return operation{
		ID: job.ID, Project: job.Project, Status: status, Started: timestamp(job.Started.UnixMilli()),
		RowsRead: read, Rows: total, Progress: job.Progress(),
	}
}

// job finds the operation that the path names, for whoever may see its project.
func (a *API) job(c *call) (*results.Job, error) {
	job, ok := a.jobs.Find(c.r.PathValue("id"))
	if !ok || !c.who.Admin() && job.Project != c.who.Project {
		return nil, web.Errorf(web.CodeNotFound, "there is no such operation here: it ended a while ago, or another process has it; ask the question again")
	}
	return job, nil
}

// getOperation serves how far an operation has come, and what came of it.
func (a *API) getOperation(c *call) error {
	if flags.KindErasure.ValidID(c.r.PathValue("id")) {
		return a.getErasureByID(c)
	}
	job, err := a.job(c)
	if err != nil {
		return err
	}
	op := operationOf(job)
	if op.Status == results.JobDone || op.Status == results.JobFailed {
		answer, failure := job.Answer()
		op.Result = answer
		if failure != nil {
			op.Result = nil
			failure = explainResults(failure)
			op.Problem = "the warehouse refused the question"
			if e, ok := errors.AsType[*web.Error](failure); ok {
				op.Problem = e.Message
			}
		}
	}
	if op.Status == results.JobRunning {
		c.w.Header().Set("Retry-After", "1")
	}
	return web.Respond(c.w, http.StatusOK, op)
}

// cancelOperation ends an operation: one's own, or with a scope to stop things that
// of anybody who sees the project.
func (a *API) cancelOperation(c *call) error {
	if flags.KindErasure.ValidID(c.r.PathValue("id")) {
		return web.Errorf(web.CodeWrongState, "an erasure cannot be taken back")
	}
	job, err := a.job(c)
	if err != nil {
		return err
	}
	if job.By != c.who.Key.ID && !c.may(stop) {
		return &web.Error{Code: web.CodeForbidden, Message: "another key began the operation: to end it this one lacks the scope " + string(stop), Extra: map[string]any{"missing": stop}}
	}
	job.Cancel()
	waiting, cancel := context.WithTimeout(c.ctx, usualWait)
	defer cancel()
	job.Wait(waiting)
	return web.Respond(c.w, http.StatusOK, operationOf(job))
}
