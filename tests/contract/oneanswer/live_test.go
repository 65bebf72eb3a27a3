package oneanswer

import (
	"fmt"

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

// follow applies changes until the beacon is lit.
func (w *watcher) follow(lit bool) {
	name := eval.HashName(w.mode, beacon)
	for {
		change, ok := w.conn.Next().(live.Change)
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
			done = done || e.Section == live.SectionGates && e.Name == name && lit
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
