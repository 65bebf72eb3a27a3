package follow

import (
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/sluice-flags/sluice/internal/telemetry"
)

// metrics are shared by all followers that register with one registerer.
type metrics struct {
	gaps, forks, epochs, quarantined prometheus.Counter
	mismatches                       prometheus.Counter
	snapshotFailures                 prometheus.Counter
	snapshotsDamaged                 prometheus.Counter
	stale                            prometheus.Gauge
	unsaved                          *unsaved
}

func newMetrics(reg prometheus.Registerer) *metrics {
	behind := &unsaved{since: make(map[*Follower]time.Time)}
	counter := func(name, help string) prometheus.Counter {
		return telemetry.Register(reg, prometheus.NewCounter(prometheus.CounterOpts{Name: name, Help: help}))
	}
	return &metrics{
		gaps:             counter("log_gap_total", "Times that a log was found to miss or have damaged a message."),
		forks:            counter("log_fork_total", "Times that a log was found to have another history than the one followed."),
		mismatches:       counter("edge_hash_mismatch_total", "Times that the followed state's hash was not that of the log's head at the same sequence."),
		epochs:           counter("log_epoch_total", "Times that another log was found in the place of the one followed."),
		quarantined:      counter("event_quarantined_total", "Changes that could not be read; their entities stay as they were."),
		snapshotFailures: counter("snapshot_write_failed_total", "Snapshots that could not be written to disk."),
		snapshotsDamaged: counter("snapshot_damaged_total", "Snapshots that were found damaged and set aside."),
		stale: telemetry.Register(reg, prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "projects_stale",
			Help: "Projects whose state cannot be shown to be the newest just now.",
		})),
		unsaved: telemetry.Register(reg, behind),
	}
}

// unsaved are the followers whose snapshot is not of their state, and since when.
type unsaved struct {
	mu    sync.Mutex
	since map[*Follower]time.Time
}

// set notes that the snapshot of f is behind its state from now on, if it was not
// before, or that it is not any longer.
func (u *unsaved) set(f *Follower, behind bool) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if _, was := u.since[f]; behind && !was {
		u.since[f] = time.Now()
	} else if !behind {
		delete(u.since, f)
	}
}

var snapshotAge = prometheus.NewDesc("snapshot_age_seconds", "Longest time for which a project's snapshot on the disk has not been of its newest state.", nil, nil)

// Describe implements [prometheus.Collector].
func (u *unsaved) Describe(out chan<- *prometheus.Desc) { out <- snapshotAge }

// Collect implements [prometheus.Collector].
func (u *unsaved) Collect(out chan<- prometheus.Metric) {
	u.mu.Lock()
	defer u.mu.Unlock()
	oldest := 0.0
	for _, since := range u.since {
		oldest = max(oldest, time.Since(since).Seconds())
	}
	out <- prometheus.MustNewConstMetric(snapshotAge, prometheus.GaugeValue, oldest)
}
