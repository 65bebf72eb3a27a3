package results

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2"

	"github.com/sluice-flags/sluice/pkg/flags"
)

// ErrCancelled is the cause of a job's end that somebody asked for.
var ErrCancelled = errors.New("the operation was cancelled")

// A JobStatus is where a job is.
type JobStatus string

// The statuses of a job.
const (
	JobRunning   JobStatus = "running"
	JobDone      JobStatus = "done"
	JobFailed    JobStatus = "failed"
	JobCancelled JobStatus = "cancelled"
)

// Jobs run what may take longer than a caller waits. Those that ended are
// remembered for a while, and none outlives its process.
type Jobs struct {
	mu  sync.Mutex
	all []*Job // oldest first
}

// A Job is one piece of work.
type Job struct {
	ID      string
	Project string
	By      string // id of the key of who asked
	Started time.Time

	done   chan struct{}
	cancel context.CancelCauseFunc

	mu          sync.Mutex
	read, total uint64  // rows
	share       float64 // of the parts of its work, those that are done
	answer      any
	err         error
	ended       time.Time
}

const (
	maxJobs   = 1000
	keepEnded = 10 * time.Minute
)

// Start begins work for a project in the background, for who asks with key by. It
// goes on when the caller's context ends, until it is cancelled.
func (j *Jobs) Start(ctx context.Context, project, by string, work func(context.Context) (any, error)) *Job {
	ctx, cancel := context.WithCancelCause(context.WithoutCancel(ctx))
	job := &Job{ID: flags.NewID("op_"), Project: project, By: by, Started: time.Now(), done: make(chan struct{}), cancel: cancel}
	ctx = onPart(clickhouse.Context(ctx, clickhouse.WithProgress(job.rows)), job.part)
	go func() { // ends with work, which ends when it is cancelled
		defer cancel(nil)
		answer, err := work(ctx)
		if errors.Is(context.Cause(ctx), ErrCancelled) {
			err = ErrCancelled
		}
		job.mu.Lock()
		job.answer, job.err, job.ended = answer, err, time.Now()
		job.mu.Unlock()
		close(job.done)
	}()
	j.mu.Lock()
	defer j.mu.Unlock()
	j.all = slices.DeleteFunc(j.all, (*Job).forgotten)
	if len(j.all) >= maxJobs {
		j.all = slices.Delete(j.all, 0, 1)
	}
	j.all = append(j.all, job)
	return job
}

// Find returns a job by its id.
func (j *Jobs) Find(id string) (*Job, bool) {
	j.mu.Lock()
	defer j.mu.Unlock()
	i := slices.IndexFunc(j.all, func(job *Job) bool { return job.ID == id && !job.forgotten() })
	if i < 0 {
		return nil, false
	}
	return j.all[i], true
}

func (j *Job) forgotten() bool {
	j.mu.Lock()
	defer j.mu.Unlock()
	return !j.ended.IsZero() && time.Since(j.ended) > keepEnded
}

func (j *Job) rows(p *clickhouse.Progress) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.read += p.Rows
	j.total = max(j.total, p.TotalRows)
}

func (j *Job) part(done, of int) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.share = max(j.share, float64(done)/float64(of))
}

// Progress returns how much of its work the job has done, from 0 to 1, as far as is
// known; 1 only if it is done.
func (j *Job) Progress() float64 {
	j.mu.Lock()
	defer j.mu.Unlock()
	if !j.ended.IsZero() && j.err == nil {
		return 1
	}
	return min(j.share, 0.99)
}

// Wait returns true when the job has ended, false when ctx ends first.
func (j *Job) Wait(ctx context.Context) bool {
	select {
	case <-j.done:
		return true
	case <-ctx.Done():
		return false
	}
}

// Cancel asks the job to end. One that has ended stays what it is.
func (j *Job) Cancel() { j.cancel(ErrCancelled) }

// Status returns where the job is and, while it runs, the rows that it has read.
func (j *Job) Status() (status JobStatus, read, total uint64) {
	j.mu.Lock()
	defer j.mu.Unlock()
	switch {
	case j.ended.IsZero():
		return JobRunning, j.read, max(j.total, j.read)
	case errors.Is(j.err, ErrCancelled):
		status = JobCancelled
	case j.err != nil:
		status = JobFailed
	default:
		status = JobDone
	}
	return status, j.read, max(j.total, j.read)
}

// Answer returns what the job came to, once it has ended.
func (j *Job) Answer() (any, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.answer, j.err
}
