package forwardproxy

import "github.com/prometheus/client_golang/prometheus"

// metrics are what operators see of the server. Labels come from closed sets.
type metrics struct {
	streams prometheus.Gauge
	refused *prometheus.CounterVec
	sent    prometheus.Counter
}

func newMetrics(reg prometheus.Registerer) *metrics {
	m := &metrics{
		streams: prometheus.NewGauge(prometheus.GaugeOpts{Name: "grpc_streams", Help: "Streams of rules open now."}),
		refused: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "grpc_refused_total", Help: "Connections and streams that were refused, by reason."}, []string{"reason"}),
		sent:    prometheus.NewCounter(prometheus.CounterOpts{Name: "grpc_messages_sent_total", Help: "Messages sent on streams of rules."}),
	}
	if reg != nil {
		reg.MustRegister(m.streams, m.refused, m.sent)
	}
	return m
}
