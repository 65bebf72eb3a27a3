package natslog

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/sluice-flags/sluice/internal/telemetry"
)

// metrics are shared by all logs that register with one registerer.
type metrics struct {
	unknown  prometheus.Counter
	safeMode prometheus.Gauge
}

func newMetrics(reg prometheus.Registerer) *metrics {
	return &metrics{
		unknown: telemetry.Register(reg, prometheus.NewCounter(prometheus.CounterOpts{
			Name: "append_outcome_unknown_total",
			Help: "Appends that could not be resolved in time: their callers were told to repeat them.",
		})),
		safeMode: telemetry.Register(reg, prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "safe_mode",
			Help: "Logs that refuse writes because they are not the ones on record.",
		})),
	}
}
