package live

import (
	"github.com/prometheus/client_golang/prometheus"

	wire "github.com/sluice-flags/sluice/pkg/events/live"
)

// metrics are what operators see of the hub. Labels come from closed sets.
type metrics struct {
	connections prometheus.Gauge
	refused     *prometheus.CounterVec
	closed      *prometheus.CounterVec
	slow        prometheus.Counter
	frames      map[string]prometheus.Counter // by type
}

// sent are the types of frame that the hub sends.
var sent = []wire.Frame{wire.Answer{}, wire.Full{}, wire.Change{}, wire.Ping{}, wire.Goodbye{}}

func newMetrics(reg prometheus.Registerer) *metrics {
	m := &metrics{
		connections: prometheus.NewGauge(prometheus.GaugeOpts{Name: "ws_connections", Help: "Live connections open now."}),
		refused:     prometheus.NewCounterVec(prometheus.CounterOpts{Name: "ws_refused_total", Help: "Handshakes refused before the upgrade."}, []string{"reason"}),
		closed:      prometheus.NewCounterVec(prometheus.CounterOpts{Name: "ws_closed_total", Help: "Live connections that the edge closed, by close code."}, []string{"code"}),
		slow:        prometheus.NewCounter(prometheus.CounterOpts{Name: "ws_slow_closed_total", Help: "Live connections closed because the client stopped reading."}),
		frames:      make(map[string]prometheus.Counter, len(sent)),
	}
	frames := prometheus.NewCounterVec(prometheus.CounterOpts{Name: "ws_frames_sent_total", Help: "Frames sent to live clients."}, []string{"type"})
	for _, f := range sent {
		m.frames[f.Type()] = frames.WithLabelValues(f.Type())
	}
	for _, reason := range []string{"full", "rate", "draining"} {
		m.refused.WithLabelValues(reason) // an alarm on what is not there is silent
	}
	if reg != nil {
		reg.MustRegister(m.connections, m.refused, m.closed, m.slow, frames)
	}
	return m
}
