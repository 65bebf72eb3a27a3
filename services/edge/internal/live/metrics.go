package live

import "github.com/prometheus/client_golang/prometheus"

// metrics are what operators see of the hub. Labels come from closed sets.
type metrics struct {
	connections prometheus.Gauge
	refused     *prometheus.CounterVec
	closed      *prometheus.CounterVec
	slow        prometheus.Counter
	frames      *prometheus.CounterVec
}

func newMetrics(reg prometheus.Registerer) *metrics {
	m := &metrics{
		connections: prometheus.NewGauge(prometheus.GaugeOpts{Name: "ws_connections", Help: "Live connections open now."}),
		refused:     prometheus.NewCounterVec(prometheus.CounterOpts{Name: "ws_refused_total", Help: "Handshakes refused before the upgrade."}, []string{"reason"}),
		closed:      prometheus.NewCounterVec(prometheus.CounterOpts{Name: "ws_closed_total", Help: "Live connections that the edge closed, by close code."}, []string{"code"}),
		slow:        prometheus.NewCounter(prometheus.CounterOpts{Name: "ws_slow_closed_total", Help: "Live connections closed because the client stopped reading."}),
		frames:      prometheus.NewCounterVec(prometheus.CounterOpts{Name: "ws_frames_sent_total", Help: "Frames sent to live clients."}, []string{"type"}),
	}
	if reg != nil {
		reg.MustRegister(m.connections, m.refused, m.closed, m.slow, m.frames)
	}
	return m
}
