package oneanswer

import (
	"fmt"
	"time"

	"github.com/sluice-flags/sluice/pkg/eval"
	"github.com/sluice-flags/sluice/pkg/events/live"
	"github.com/sluice-flags/sluice/tests/harness"
)

// A watcher is a live client of values: what it holds is the full state that it
// was sent once, and the differences since.
type watcher struct {
	h    *hearing
	conn *harness.LiveClient
	user eval.User
	mode eval.HashMode
	held payload
	seq  uint64
}

// watch connects a few of the users, and compares what they are sent.
func (h *hearing) watch() (out []*watcher) {
	for i := range watchers {
		w := &watcher{h: h, user: h.users[i], mode: eval.HashMode(i % 3)}
		w.conn = h.project.Live(live.Hello{Key: h.client, Mode: live.ModeValues, User: encoded(w.user), Hash: w.mode.String()})
		full := w.conn.NextFull()
		var err error
		if w.held, err = newPayload(full.Payload); err != nil {
			h.t.Fatalf("%s: a live client was sent %s: %v", h.what, full.Payload, err)
		}
		w.seq = full.Seq
		out = append(out, w)
	}
	h.watched(out)
	return out
}

// follow applies changes until the beacon is lit, the last thing of an edit.
func (w *watcher) follow() {
	name := eval.HashName(w.mode, beacon)
	for limit := time.Now().Add(time.Minute); ; {
		if time.Now().After(limit) { // pings would go on
			w.h.t.Fatalf("%s: a live client at %d of %d was not told of the last change", w.h.what, w.seq, w.h.seq)
		}
		frame := w.conn.Any()
		if ping, ok := frame.(live.Ping); ok {
			w.seq = ping.Seq
		}
		change, ok := frame.(live.Change)
		if !ok {
			continue
		}
		if change.Prev > w.seq {
			w.h.t.Fatalf("%s: a live client at %d was sent a change that builds on %d", w.h.what, w.seq, change.Prev)
		}
		w.seq = change.Seq
		done := false
		for _, e := range change.Entries {
			if e.Value == nil {
				delete(w.held[e.Section], e.Name)
				continue
			}
			w.held[e.Section][e.Name] = e.Value
			done = done || e.Section == live.SectionGates && e.Name == name
		}
		if done {
			return
		}
	}
}

// watched compares what live clients hold.
func (h *hearing) watched(all []*watcher) {
	h.t.Helper()
	for i, w := range all {
		v := voice{name: fmt.Sprintf("a live client with names by %s", w.mode), client: true, listing: true}
		h.judge("live", v, h.users[i], h.entries(w.held, w.mode))
	}
}
