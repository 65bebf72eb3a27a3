package facts

import (
	"github.com/nats-io/nats.go"

	"github.com/sluice-flags/sluice/internal/bus"
	"github.com/sluice-flags/sluice/pkg/events"
)

// A message is one message of the stream being made.
type message struct {
	batch     events.Batch
	partition int
	size      int
	msg       *nats.Msg
	err       error
}

// leastFact is about the least that a fact counts.
const leastFact = 128

// cut puts the facts of requests that are new into messages. needs[i] are the
// messages that request i must see stored: those with its facts, also where
// another request of the same flush brought the same fact first.
func (p *Publisher) cut(requests []*request) (messages []*message, needs [][]*message) {
	type place struct {
		project   string
		partition int
	}
	open := make(map[place]*message)
	exposures, others := 0, 0 // that come
	for _, r := range requests {
		exposures, others = exposures+len(r.batch.Exposures), others+len(r.batch.Events)
	}
	room := func(n int) int { return min(n/p.o.Partitions+1, p.o.MaxMessage/leastFact) }
	within := make(map[events.FactID]*message, exposures+others)
	needs = make([][]*message, len(requests))

	for i, r := range requests {
		scope := scopeOf(r.batch.Project)
		need := func(m *message) {
			for _, have := range needs[i] {
				if have == m {
					return
				}
			}
			needs[i] = append(needs[i], m)
		}
		// put finds the message for a fact, or nil if the fact is stored.
		put := func(id events.FactID, unit string, bytes int) *message {
			id = scope.of(id)
			if m, twice := within[id]; twice {
				r.duplicates++
				need(m)
				return nil
			}
			if p.o.Window != nil && p.o.Window.Has(id) {
				r.duplicates++
				return nil
			}
			at := place{project: r.batch.Project}
			if p.o.Partitions > 1 {
				at.partition = bus.FactPartition(unit) % p.o.Partitions
			}
			m := open[at]
			if m == nil || m.size+bytes > p.o.MaxMessage {
				m = &message{partition: at.partition, batch: events.Batch{
					Project:   at.project,
					Exposures: make([]events.Exposure, 0, room(exposures)), Events: make([]events.Event, 0, room(others)),
				}}
				open[at] = m
				messages = append(messages, m)
			}
			m.size += bytes
			within[id] = m
			need(m)
			return m
		}
		for j := range r.batch.Exposures {
			e := &r.batch.Exposures[j]
			if m := put(e.ID, e.UnitID, exposureSize(e)); m != nil {
				m.batch.Exposures = append(m.batch.Exposures, *e)
			}
		}
		for j := range r.batch.Events {
			e := &r.batch.Events[j]
			if m := put(e.ID, e.UnitID, eventSize(e)); m != nil {
				m.batch.Events = append(m.batch.Events, *e)
			}
		}
		for j := range r.batch.Dead {
			d := &r.batch.Dead[j]
			if m := put(d.ID, "", deadSize(d)); m != nil {
				m.batch.Dead = append(m.batch.Dead, *d)
			}
		}
	}
	return messages, needs
}
