package facts

import "github.com/prometheus/client_golang/prometheus"

// metrics of a publisher. acked minus what loaders count as inserted and as
// dead letters is what is on its way; it must come back to zero.
type metrics struct {
	acked, duplicates, refused, messages, bytes, unknown prometheus.Counter
}

func newMetrics(p *Publisher) metrics {
	door := prometheus.Labels{"door": p.o.Door}
	counter := func(name, help string) prometheus.Counter {
		return prometheus.NewCounter(prometheus.CounterOpts{Subsystem: "ingest", Name: name, Help: help, ConstLabels: door})
	}
	m := metrics{
		acked:      counter("acked_total", "Facts that were stored in the stream and acknowledged, retries left out."),
		duplicates: counter("duplicates_total", "Facts that were recognised as retries of stored ones."),
		refused:    counter("refused_total", "Batches that were refused because of pressure, or because the bus was away."),
		messages:   counter("messages_total", "Messages that were sent to the stream."),
		bytes:      counter("message_bytes_total", "Bytes of the messages that were sent to the stream."),
		unknown:    counter("publish_outcome_unknown_total", "Times that a message had to be sent again to learn whether it was stored."),
	}
	if p.o.Registerer == nil {
		return m
	}
	p.o.Registerer.MustRegister(m.acked, m.duplicates, m.refused, m.messages, m.bytes, m.unknown,
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{Subsystem: "ingest", Name: "queue_bytes", ConstLabels: door,
			Help: "Bytes of facts that wait to be sent."}, func() float64 { return float64(p.waiting()) }))
	if w := p.o.Window; w != nil {
		p.o.Registerer.MustRegister(
			prometheus.NewGaugeFunc(prometheus.GaugeOpts{Subsystem: "ingest", Name: "window_ids", ConstLabels: door,
				Help: "Ids in the window that recognises retries."}, func() float64 { return float64(w.Len()) }),
			prometheus.NewCounterFunc(prometheus.CounterOpts{Subsystem: "ingest", Name: "window_forgotten_total", ConstLabels: door,
				Help: "Ids that left the window early because too many came."}, func() float64 { return float64(w.Forgotten()) }))
	}
	return m
}
