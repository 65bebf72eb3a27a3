package natslog

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/sluice-flags/sluice/internal/telemetry"
)

// metrics are shared by all logs that register with one registerer.
type metrics struct {
	unknown  prometheus.Counter
	safeMode prometheus.Gauge
	mismatch prometheus.Gauge
}

func newMetrics(reg prometheus.Registerer, readOnly bool) *metrics {
	writers := reg
	if readOnly {
		writers = nil // there is nothing to say of what is never done
	}
	return &metrics{
		mismatch: telemetry.Register(reg, prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "replica_mismatch",
			Help: "Messages of logs that a replica was found to miss or to have damaged, while the leader has them, since the process began. It only rises.",
		})),
		unknown: telemetry.Register(writers, prometheus.NewCounter(prometheus.CounterOpts{
			Name: "append_outcome_unknown_total",
			Help: "Appends that could not be resolved in time: their callers were told to repeat them.",
		})),
		safeMode: telemetry.Register(writers, prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "safe_mode",
			Help: "Logs that refuse writes because they are not the ones on record.",
		})),
	}
}
