package follow

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/sluice-flags/sluice/internal/telemetry"
)

// metrics are shared by all followers that register with one registerer.
type metrics struct {
	gaps, forks, epochs, quarantined prometheus.Counter
	snapshotFailures                 prometheus.Counter
	snapshotsDamaged                 prometheus.Counter
	stale                            prometheus.Gauge
}

func newMetrics(reg prometheus.Registerer) *metrics {
	counter := func(name, help string) prometheus.Counter {
		return telemetry.Register(reg, prometheus.NewCounter(prometheus.CounterOpts{Name: name, Help: help}))
	}
	return &metrics{
		gaps:             counter("log_gap_total", "Times that a log was found to miss or have damaged a message."),
		forks:            counter("log_fork_total", "Times that a log was found to have another history than the one followed."),
		epochs:           counter("log_epoch_total", "Times that another log was found in the place of the one followed."),
		quarantined:      counter("event_quarantined_total", "Changes that could not be read; their entities stay as they were."),
		snapshotFailures: counter("snapshot_write_failed_total", "Snapshots that could not be written to disk."),
		snapshotsDamaged: counter("snapshot_damaged_total", "Snapshots that were found damaged and set aside."),
		stale: telemetry.Register(reg, prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "projects_stale",
			Help: "Projects whose state cannot be shown to be the newest just now.",
		})),
	}
}
