package ofrep

import "github.com/prometheus/client_golang/prometheus"

type metrics struct {
	absent  prometheus.Counter
	shed    prometheus.Counter
	events  prometheus.Counter
	streams *prometheus.GaugeVec
	hearing prometheus.Gauge
	quiet   prometheus.Gauge
}

func newMetrics(reg prometheus.Registerer) *metrics {
	m := &metrics{
		absent: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "edge_ofrep_absent_flags_total", Help: "OpenFeature requests for a flag that is not there, or not for the key.",
		}),
		shed: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "edge_ofrep_shed_total", Help: "OpenFeature requests for all flags that were told to come back later.",
		}),
		events: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "edge_ofrep_events_total", Help: "Events sent to OpenFeature clients: ask again.",
		}),
		streams: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "edge_ofrep_streams", Help: "Open event streams of OpenFeature clients, by whether their ticket lets them hear of changes.",
		}, []string{"hears"}),
	}
	m.hearing, m.quiet = m.streams.WithLabelValues("yes"), m.streams.WithLabelValues("no")
	if reg != nil {
		reg.MustRegister(m.absent, m.shed, m.events, m.streams)
	}
	return m
}
