package natslog

import (
	"errors"

	"github.com/prometheus/client_golang/prometheus"
)

// metrics are shared by all logs that register with one registerer.
type metrics struct {
	unknown  prometheus.Counter
	safeMode prometheus.Gauge
}

func newMetrics(reg prometheus.Registerer) *metrics {
	return &metrics{
		unknown: register(reg, prometheus.NewCounter(prometheus.CounterOpts{
			Name: "append_outcome_unknown_total",
			Help: "Appends that could not be resolved in time: their callers were told to repeat them.",
		})),
		safeMode: register(reg, prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "safe_mode",
			Help: "Logs that refuse writes because they are not the ones on record.",
		})),
	}
}

// register registers c, or returns what is registered in its place already.
func register[C prometheus.Collector](reg prometheus.Registerer, c C) C {
	if reg == nil {
		return c
	}
	err := reg.Register(c)
	if already, ok := errors.AsType[prometheus.AlreadyRegisteredError](err); ok {
		if same, ok := already.ExistingCollector.(C); ok {
			return same
		}
	}
	return c
}
