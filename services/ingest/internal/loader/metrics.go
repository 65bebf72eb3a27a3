package loader

import (
	"strconv"

	"github.com/prometheus/client_golang/prometheus"
)

type metrics struct {
	inserted, dead, erased, unkept, failures, batches prometheus.Counter
	seconds                                           prometheus.Histogram
}

func newMetrics(l *Loader) metrics {
	partition := prometheus.Labels{"partition": strconv.Itoa(l.o.Partition)}
	counter := func(name, help string) prometheus.Counter {
		return prometheus.NewCounter(prometheus.CounterOpts{Subsystem: "ingest", Name: name, Help: help, ConstLabels: partition})
	}
	m := metrics{
		inserted: counter("inserted_total", "Facts that this process put into their tables."),
		dead:     counter("dead_lettered_total", "Facts that this process set aside with their reason."),
		erased:   counter("erased_total", "Facts that this process left out because nothing is kept of their units."),
		unkept:   counter("dead_stream_full_total", "Messages that do not decode and that the stream of dead facts had no room for."),
		failures: counter("load_failures_total", "Times that loading stopped and was tried again."),
		batches:  counter("batches_total", "Batches that this process inserted."),
		seconds: prometheus.NewHistogram(prometheus.HistogramOpts{Subsystem: "ingest", Name: "insert_seconds",
			Help: "How long the inserts of one batch took.", Buckets: prometheus.ExponentialBuckets(0.005, 2, 12), ConstLabels: partition}),
	}
	if l.o.Registerer == nil {
		return m
	}
	l.o.Registerer.MustRegister(m.inserted, m.dead, m.erased, m.unkept, m.failures, m.batches, m.seconds,
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{Subsystem: "ingest", Name: "lag_messages",
			Help: "Messages that were stored and are not loaded, as of the last batch or the last try.", ConstLabels: partition},
			func() float64 { return float64(l.lag.Load().messages) }),
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{Subsystem: "ingest", Name: "lag_events",
			Help: "Facts in those messages: counted in those that were read, estimated from these in the others.", ConstLabels: partition},
			func() float64 { return float64(l.lag.Load().facts) }),
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{Subsystem: "ingest", Name: "lag_seconds",
			Help: "Age of the oldest message that is not loaded.", ConstLabels: partition},
			func() float64 { return l.lag.Load().age().Seconds() }))
	return m
}

func (m metrics) loaded(b *batch) {
	m.inserted.Add(float64(b.rows.Facts()))
	m.dead.Add(float64(b.rows.Dead()))
	m.erased.Add(float64(b.rows.Erased()))
	m.batches.Inc()
}
