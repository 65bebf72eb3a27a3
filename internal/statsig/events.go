package statsig

import (
	"encoding/hex"
	"errors"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/sluice-flags/sluice/internal/web"
)

// A Batch is what POST /v1/events carries: the entries of log_event with ids of
// their own, and exposures in plain words beside them. A body of log_event is
// such a batch too.
type Batch struct {
	ID     string // UUID in lower case, "" if the sender gave none
	SDK    SDK
	Events []BatchEvent
}

// A BatchEvent is one entry of a batch: an event if Name is set, else the
// exposure of the one that is set of Gate, Config, Experiment and Layer. An
// exposure of a layer's parameter may name the experiment that set it.
type BatchEvent struct {
	LogEvent
	ID string // that the sender gave it

	Gate, Config, Experiment, Layer string
	Parameter                       string // of the layer
	RuleID, Group, Reason           string
	Sequence                        uint64 // version of the project that decided
}

// ParseUUID reads a UUID in its usual form, in any case.
func ParseUUID(text string) (id [16]byte, ok bool) {
	if len(text) != 36 || text[8] != '-' || text[13] != '-' || text[18] != '-' || text[23] != '-' {
		return id, false
	}
	n, err := hex.Decode(id[:], []byte(text[:8]+text[9:13]+text[14:18]+text[19:23]+text[24:]))
	return id, err == nil && n == len(id)
}

// TimeOfUUID is when a UUID of version 7 was made, in milliseconds, or 0 if the
// text is none.
func TimeOfUUID(text string) int64 {
	id, ok := ParseUUID(text)
	if !ok || id[6]>>4 != 7 {
		return 0
	}
	return int64(id[0])<<40 | int64(id[1])<<32 | int64(id[2])<<24 | int64(id[3])<<16 | int64(id[4])<<8 | int64(id[5])
}

// A batchReader reads the entries of one batch.
type batchReader struct {
	*logReader
	Batch
	everyone *LogUser // user of entries that name none
	orphans  []int    // such entries
}

// DecodeBatch reads the body of POST /v1/events as one JSON text, under the
// rules of [DecodeLogBody].
func DecodeBatch(body []byte, keep ...string) (Batch, error) {
	r := batchReader{logReader: newLogReader(keep)}
	defer r.release()
	r.begin(textOf(body))
	listed := false
	var seen [4]bool
	once := func(member int, name string) {
		if seen[member] {
			r.fail(name + " stands twice")
		}
		seen[member] = true
	}
	r.members(func(name string) {
		switch name {
		case "events":
			once(0, name)
			if listed = true; r.peek() != '[' {
				r.err = web.Invalid("/events", "wrong_type", "events should be an array")
				return
			}
			r.Events = make([]BatchEvent, 0, min(maxElements, 1+len(body)/usualEvent))
			r.elements(func() { r.entry(nil) })
		case "batch_id":
			once(1, name)
			r.batchID()
		case "statsigMetadata":
			once(2, name)
			r.sdk(&r.SDK)
		case "user":
			once(3, name)
			r.anybody()
		default:
			if known := meant(name, "events", "batch_id"); known != "" {
				r.err = web.Invalid("/"+name, "unknown_member", "%s should be written %s", name, known)
				return
			}
			r.skip()
		}
	})
	r.end()
	switch {
	case r.err != nil:
		return Batch{}, r.err
	case !listed:
		return Batch{}, web.Invalid("/events", "required", "the body has no events; with Content-Type: application/x-ndjson it may have one in each line")
	}
	return r.done(), nil
}

// DecodeLines reads the body of POST /v1/events as NDJSON: an entry in each line.
// A line that names no event and no exposure says what is of all: batch_id, user,
// statsigMetadata. One that cannot be read is an entry with a [Fault]; only where
// none can, it is the body's.
func DecodeLines(body []byte, keep ...string) (Batch, error) {
	r := batchReader{logReader: newLogReader(keep)}
	defer r.release()
	readable := false
	text := textOf(body)
	lines := 0
	for line := range strings.Lines(text) { // before anything is made of them
		if strings.TrimSpace(line) == "" {
			continue
		}
		if lines++; lines > maxElements+1 { // one may be about all
			return Batch{}, tooManyLines()
		}
	}
	r.Events = make([]BatchEvent, 0, min(lines, maxElements))
	for line := range strings.Lines(text) {
		if strings.TrimSpace(line) == "" {
			continue
		}
		before := len(r.Events)
		r.begin(line)
		// What all lines are about may stand in any of them, so it is no member
		// of an entry; a line that has nothing else is not an entry.
		r.entry(func(name string) bool {
			switch name {
			case "batch_id":
				r.batchID()
			case "statsigMetadata":
				r.sdk(&r.SDK)
			default:
				return false
			}
			return true
		})
		r.end()
		if r.err != nil {
			if web.StatusOf(r.err) != http.StatusBadRequest {
				return Batch{}, r.err
			}
			if p, ok := errors.AsType[*web.Error](r.err); ok && len(p.Problems) > 0 && p.Problems[0].Pointer != "" {
				return Batch{}, r.err // of the batch, not of a line
			}
			r.Events = append(r.Events[:before], unreadable(r.err))
		} else {
			readable = true
		}
		if len(r.Events) > maxElements {
			return Batch{}, tooManyLines()
		}
	}
	if !readable && len(r.Events) > 0 {
		return Batch{}, r.err
	}
	return r.done(), nil
}

func tooManyLines() error {
	return web.Errorf(web.CodeTooLarge, "the body has more than %d events: send them in several requests", maxElements)
}

// unreadable stands for a line that is not JSON.
func unreadable(err error) BatchEvent {
	detail := "the line is not JSON"
	if p, ok := errors.AsType[*web.Error](err); ok {
		detail = p.Message
	}
	return BatchEvent{LogEvent: LogEvent{Fault: &Fault{Code: "malformed_json", Detail: detail}}}
}

// done gives entries the user and the stable id of the batch.
func (r *batchReader) done() Batch {
	if r.everyone != nil {
		for _, i := range r.orphans {
			r.Events[i].User = *r.everyone
		}
	}
	for i := range r.Events {
		r.Events[i].User.stable(r.SDK.StableID)
	}
	return r.Batch
}

func (r *batchReader) batchID() {
	text := strings.ToLower(r.scalar())
	if _, ok := ParseUUID(text); !ok && r.err == nil {
		r.err = web.Invalid("/batch_id", "invalid", "batch_id should be a UUID, best one of version 7, made once for a batch and its retries")
		return
	}
	if r.ID == "" {
		r.ID = text
	}
}

// anybody reads the user of entries that name none.
func (r *batchReader) anybody() {
	var e LogEvent
	if r.user(&e) {
		r.everyone = &e.User
	}
}

// members of an entry, in the order of their bits in entry.
var entryMembers = [...]string{"event_id", "eventName", "user", "value", "metadata", "time",
	"gate", "config", "experiment", "layer", "parameter", "ruleID", "group", "reason", "sequence"}

// entry reads one entry. Members that outer takes are not the entry's; if there
// is nothing else but a user, none is added, and the user is everybody's.
func (r *batchReader) entry(outer func(name string) bool) {
	r.Events = append(r.Events, BatchEvent{})
	e := &r.Events[len(r.Events)-1]
	if r.peek() != '{' {
		r.skip()
		e.fault("wrong_type", "an event should be an object")
		return
	}
	var seen uint
	hasUser, header := false, false
	r.members(func(name string) {
		for i, known := range entryMembers {
			if name != known {
				continue
			}
			if seen&(1<<i) != 0 {
				e.fault("duplicate_member", name+" stands twice")
			}
			seen |= 1 << i
			if name == "user" {
				hasUser = r.user(&e.LogEvent)
			} else {
				r.member(e, name)
			}
			return
		}
		if outer != nil && outer(name) {
			header = true
			return
		}
		if known := meant(name, entryMembers[:]...); known != "" {
			e.fault("unknown_member", clipped(name)+" should be written "+known)
		}
		r.skip() // secondaryExposures and statsigMetadata among them
	})
	const user = 1 << 2
	if header && seen&^user == 0 && r.err == nil {
		if hasUser {
			user := e.User // of its own: the entry's place is taken again
			r.everyone = &user
		}
		r.Events = r.Events[:len(r.Events)-1]
		return
	}
	if !hasUser {
		r.orphans = append(r.orphans, len(r.Events)-1)
	}
	e.check()
}

func (r *batchReader) member(e *BatchEvent, name string) {
	switch name {
	case "event_id":
		e.ID = r.eventID(e)
	case "eventName":
		e.Name = r.name(&e.LogEvent, name)
	case "value":
		r.value(&e.LogEvent)
	case "metadata":
		r.metadata(&e.LogEvent)
	case "time":
		e.Time = r.moment(e)
	case "gate":
		e.Gate = r.name(&e.LogEvent, name)
	case "config":
		e.Config = r.name(&e.LogEvent, name)
	case "experiment":
		e.Experiment = r.name(&e.LogEvent, name)
	case "layer":
		e.Layer = r.name(&e.LogEvent, name)
	case "parameter":
		e.Parameter = r.name(&e.LogEvent, name)
	case "ruleID":
		e.RuleID = r.name(&e.LogEvent, name)
	case "group":
		e.Group = r.name(&e.LogEvent, name)
	case "reason":
		e.Reason = r.name(&e.LogEvent, name)
	case "sequence":
		text := r.scalar()
		n, err := strconv.ParseUint(text, 10, 64)
		if err != nil && text != "" {
			e.fault("wrong_type", "sequence should be the number of a version of the project")
		}
		e.Sequence = n
	}
}

// eventID reads the id that the sender gave an entry.
func (r *batchReader) eventID(e *BatchEvent) string {
	if r.peek() != '"' {
		if !r.null() {
			r.skip()
			e.fault("wrong_type", "event_id should be a string: a UUID, or what names the event in your system")
		}
		return ""
	}
	id := r.string()
	if len(id) > maxName {
		e.fault("too_long", "event_id is longer than "+strconv.Itoa(maxName)+" bytes")
		return ""
	}
	if _, ok := ParseUUID(id); ok {
		return strings.ToLower(id)
	}
	return id
}

// moment reads a time: milliseconds, or a text of RFC 3339.
func (r *batchReader) moment(e *BatchEvent) int64 {
	if r.peek() == '"' {
		before := r.pos
		if at, err := time.Parse(time.RFC3339Nano, r.string()); err == nil {
			return at.UnixMilli()
		}
		if r.err != nil {
			return 0
		}
		r.pos = before
	}
	return r.time(&e.LogEvent)
}

// check faults an entry that is neither an event nor one exposure.
func (e *BatchEvent) check() {
	named := 0
	for _, name := range [...]string{e.Name, e.Gate, e.Config, e.Layer} {
		if name != "" {
			named++
		}
	}
	if e.Experiment != "" && e.Layer == "" {
		named++
	}
	switch {
	case named == 0:
		e.fault("no_name", "an entry names what happened as eventName, or what was decided as gate, config, experiment or layer")
	case named > 1:
		e.fault("no_name", "an entry names one of eventName, gate, config, experiment and layer; only a layer goes with the experiment that set its parameter")
	}
}

// meant is the known member that a name was probably meant to be: the same but for
// case and underscores. Left alone, it would be stepped over without a word.
func meant(name string, known ...string) string {
	if len(name) > 32 {
		return ""
	}
	folded := fold(name)
	for _, k := range known {
		if name != k && folded == fold(k) {
			return k
		}
	}
	return ""
}

func fold(name string) string { return strings.ToLower(strings.ReplaceAll(name, "_", "")) }

// clipped bounds a name that is shown.
func clipped(name string) string { return strings.ToValidUTF8(name[:min(len(name), 64)], "") }
