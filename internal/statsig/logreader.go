package statsig

import (
	"slices"
	"sync"
	"unsafe"

	"github.com/sluice-flags/sluice/pkg/events"
)

// A logReader reads what bodies say of events and of users. Those of all bodies
// are alike, so what one has learned serves the next.
type logReader struct {
	scanner
	wanted []string      // attributes of users that are kept
	pairs  []events.Pair // room that lists of pairs are cut from

	entries, users, ids shape
	said                [4]shape // metadata of exposures of each kind, and of other events
}

var logReaders = sync.Pool{New: func() any {
	r := new(logReader)
	r.entries.wants, r.users.wants = ofEvent, r.ofUser
	r.ids.wants = everything
	for i := range r.said {
		r.said[i].wants = everything
	}
	return r
}}

func everything(string) bool { return true }

// newLogReader returns a reader that keeps the wanted attributes of users. Who is
// done with it gives it back by release.
func newLogReader(wanted []string) *logReader {
	r := logReaders.Get().(*logReader)
	if !slices.Equal(r.wanted, wanted) {
		r.wanted = slices.Clone(wanted)
		r.users.forget()
	}
	return r
}

// release lets go of r, and of the body.
func (r *logReader) release() {
	r.scanner, r.pairs = scanner{}, nil
	r.entries.name, r.users.name, r.ids.name = "", "", ""
	for i := range r.said {
		r.said[i].name = ""
	}
	logReaders.Put(r)
}

// textOf is body as text, without a copy: nobody may change it from now on, as
// the decoders tell their callers.
func textOf(body []byte) string { return unsafe.String(unsafe.SliceData(body), len(body)) }

// saidBy is the shape of the metadata of events of a name. SDKs put its members in
// the same order every time.
func (r *logReader) saidBy(event string) *shape {
	switch event {
	case GateExposure:
		return &r.said[0]
	case ConfigExposure:
		return &r.said[1]
	case LayerExposure:
		return &r.said[2]
	}
	return &r.said[3]
}

// ofEvent tells the members of an event that are read. Others are
// secondaryExposures and statsigMetadata, and what is not known.
func ofEvent(name string) bool {
	switch name {
	case "eventName", "user", "value", "metadata", "time":
		return true
	}
	return false
}

// ofUser tells the members of a user that are read. What is private never is.
func (r *logReader) ofUser(name string) bool {
	switch name {
	case "userID", "customIDs", "statsigEnvironment":
		return true
	case "privateAttributes":
		return false
	case "custom":
		return len(r.wanted) > 0
	}
	return slices.Contains(r.wanted, name)
}

// nothing steps over a null or an empty list, if that is what comes next: PHP
// writes an object without members as a list.
func (r *logReader) nothing() bool {
	from := r.pos
	if r.null() || r.accept('[') && r.accept(']') {
		return true
	}
	r.pos = from
	return false
}

// Lists of pairs are cut from room that those of one body share: they live and
// die together.
const (
	usualPairs = 8
	roomPairs  = 256
	usualPair  = 96 // bytes of a body for each
)

// room returns an empty list to append to. Only one is open at a time.
func (r *logReader) room() []events.Pair {
	n := len(r.pairs)
	if cap(r.pairs)-n < usualPairs {
		likely := (len(r.text) - r.pos) / usualPair
		r.pairs, n = make([]events.Pair, 0, min(max(likely, usualPairs), roomPairs)), 0
	}
	return r.pairs[n : n : n+usualPairs]
}

// keep closes a list that room returned.
func (r *logReader) keep(list []events.Pair) []events.Pair {
	n := len(list)
	if n == 0 {
		return nil
	}
	if cap(list) == usualPairs { // else it has outgrown the room
		r.pairs = r.pairs[:len(r.pairs)+n]
	}
	return list[:n:n]
}

// usualEvent is about how many bytes of a body an event takes.
const usualEvent = 400

// eventRooms is room for the events of a body, which is large and used for a moment.
var eventRooms sync.Pool

func roomFor(n int) []LogEvent {
	if room, _ := eventRooms.Get().(*[]LogEvent); room != nil && cap(*room) >= n {
		return *room
	}
	return make([]LogEvent, 0, n)
}

// Release says that b.Events is needed no more, though the texts and lists of its
// events may be. A caller who has copied what it wants of them spares memory so.
func (b *LogBody) Release() {
	if cap(b.Events) == 0 {
		return
	}
	clear(b.Events)
	room := b.Events[:0]
	b.Events = nil
	eventRooms.Put(&room)
}
