package statsig

import (
	"strconv"
	"strings"

	"github.com/sluice-flags/sluice/internal/web"
	"github.com/sluice-flags/sluice/pkg/events"
)

// Names of the exposure events that SDKs log.
const (
	GateExposure   = "statsig::gate_exposure"
	ConfigExposure = "statsig::config_exposure"
	LayerExposure  = "statsig::layer_exposure"
)

// A LogBody is what log_event, rgstr and their relatives carry.
type LogBody struct {
	Events []LogEvent
	SDK    SDK
}

// SDK is what a body says of the program that sent it.
type SDK struct {
	Type, Version string
	SessionID     string
	StableID      string
}

// A LogEvent is one entry of a body. Fault is set when the entry is JSON but
// not an event; then the other fields hold what could be understood.
type LogEvent struct {
	Name     string
	Time     int64 // milliseconds, 0 if the sender gave none
	User     LogUser
	Value    string        // text of the value, "" if there is none
	Metadata []events.Pair // ascending by name, values as text
	Fault    *Fault
}

// A Fault says why one entry of a body cannot be taken, without failing its
// neighbours.
type Fault struct {
	Code   string // stable, such as "bad_time"
	Detail string // for people; names the field
}

// Limits of one entry. A body's own limits are [web.Limits].
const (
	maxName     = 256      // bytes of an event's or entity's name, of a unit type, of a metadata name
	maxID       = 1 << 10  // bytes of a unit's id
	maxText     = 16 << 10 // bytes of a value or of one metadata value
	maxMetadata = 64 << 10 // bytes of all metadata of one event
	maxPairs    = 100      // custom ids of a user, metadata entries of an event
)

// Internal tells whether e is the SDK's own housekeeping: diagnostics, counts
// of checks, log lines, automatic capture. It is acknowledged and not stored.
func (e *LogEvent) Internal() bool {
	switch {
	case e.Name == GateExposure, e.Name == ConfigExposure, e.Name == LayerExposure:
		return false
	}
	return strings.HasPrefix(e.Name, "statsig::") || strings.HasPrefix(e.Name, "auto_capture::")
}

// Meta returns the text of a metadata entry, or "".
func (e *LogEvent) Meta(name string) string {
	for _, p := range e.Metadata {
		if p.Name == name {
			return p.Value
		}
	}
	return ""
}

// DecodeLogBody reads the body of log_event, rgstr or log_event_beacon. It
// fails only when the text is not JSON, passes a limit, or has no events; an
// entry that is not an event carries a [Fault] instead. Of the users' attributes
// it reads those that keep names, and steps over the rest.
//
// The texts it returns are pieces of body, which must not be changed afterwards.
func DecodeLogBody(body []byte, keep ...string) (LogBody, error) {
	var b LogBody
	var everyone *LogUser // the HTTP API may name one user for all its events
	listed := false
	var orphans []int // events without a user of their own
	r := newLogReader(keep)
	defer r.release()
	r.begin(textOf(body))
	r.members(func(name string) {
		switch name {
		case "events":
			if listed {
				r.fail("the body has two lists of events")
				return
			}
			if listed = true; r.peek() != '[' {
				r.err = web.Invalid("/events", "wrong_type", "events should be an array")
				return
			}
			r.elements(func() {
				if b.Events == nil {
					b.Events = roomFor(min(maxElements, 1+len(body)/usualEvent))
				}
				b.Events = append(b.Events, LogEvent{})
				if !r.event(&b.Events[len(b.Events)-1]) {
					orphans = append(orphans, len(b.Events)-1)
				}
			})
		case "statsigMetadata":
			r.sdk(&b.SDK)
		case "user":
			var e LogEvent
			if r.user(&e) {
				everyone = &e.User
			}
		default:
			r.skip()
		}
	})
	r.end()
	switch {
	case r.err != nil:
		return LogBody{}, r.err
	case !listed:
		return LogBody{}, web.Invalid("/events", "required", "the body has no events")
	}
	if everyone != nil {
		for _, i := range orphans {
			b.Events[i].User = *everyone
		}
	}
	for i := range b.Events {
		b.Events[i].User.stable(b.SDK.StableID)
	}
	return b, nil
}

// fault records the first thing that is wrong with e.
func (e *LogEvent) fault(code, detail string) {
	if e.Fault == nil {
		e.Fault = &Fault{Code: code, Detail: detail}
	}
}

// event reads one entry into e and tells whether it named a user.
func (r *logReader) event(e *LogEvent) (hasUser bool) {
	if r.peek() != '{' {
		r.skip()
		e.fault("wrong_type", "an event should be an object")
		return true
	}
	var seen [5]bool
	once := func(field int) {
		if seen[field] {
			e.fault("duplicate_member", r.entries.name+" stands twice")
		}
		seen[field] = true
	}
	for r.open(&r.entries); r.next(&r.entries); {
		switch name := r.entries.name; name {
		case "eventName":
			once(0)
			e.Name = r.name(e, name)
		case "user":
			once(1)
			hasUser = r.user(e)
		case "value":
			once(2)
			r.value(e)
		case "metadata":
			once(3)
			r.metadata(e)
		case "time":
			once(4)
			e.Time = r.time(e)
		}
	}
	if e.Name == "" {
		e.fault("no_name", "eventName is missing")
	}
	return hasUser
}

// value reads the value of an event as text.
func (r *logReader) value(e *LogEvent) {
	if e.Value = r.scalar(); len(e.Value) > maxText {
		e.fault("too_long", "value is longer than "+strconv.Itoa(maxText)+" bytes")
		e.Value = ""
	}
}

// name reads a text that names something.
func (r *logReader) name(e *LogEvent, field string) string {
	if r.peek() != '"' {
		if !r.null() {
			r.skip()
			e.fault("wrong_type", field+" should be a string")
		}
		return ""
	}
	name := r.string()
	if len(name) > maxName {
		e.fault("too_long", field+" is longer than "+strconv.Itoa(maxName)+" bytes")
		return ""
	}
	return name
}

// time reads a time in milliseconds: a number, or the text of one.
func (r *logReader) time(e *LogEvent) int64 {
	if r.null() {
		return 0
	}
	c := r.peek()
	text := r.scalar()
	if c != '"' && c != '-' && (c < '0' || c > '9') {
		e.fault("bad_time", "time should be a number of milliseconds")
		return 0
	}
	if ms, err := strconv.ParseInt(text, 10, 64); err == nil {
		return ms
	}
	ms, err := strconv.ParseFloat(text, 64)
	if err != nil || !(ms > -1e15 && ms < 1e15) {
		e.fault("bad_time", "time should be a number of milliseconds")
		return 0
	}
	return int64(ms)
}

// metadata reads the event's own metadata.
func (r *logReader) metadata(e *LogEvent) {
	if r.peek() != '{' {
		if !r.nothing() {
			r.skip()
			e.fault("wrong_type", "metadata should be an object")
		}
		return
	}
	list, size := r.room(), 0
	said := r.saidBy(e.Name)
	for r.open(said); r.next(said); {
		name, value := said.name, r.scalar()
		size += len(name) + len(value)
		switch {
		case len(name) > maxName:
			e.fault("too_long", "a name in metadata is longer than "+strconv.Itoa(maxName)+" bytes")
		case len(value) > maxText || size > maxMetadata:
			e.fault("too_long", "metadata has a value longer than "+strconv.Itoa(maxText)+" bytes, or more than "+strconv.Itoa(maxMetadata)+" in all")
		case len(list) == maxPairs:
			e.fault("too_many", "metadata has more than "+strconv.Itoa(maxPairs)+" entries")
		default:
			list = append(list, events.Pair{Name: name, Value: value})
		}
	}
	e.Metadata = r.keep(sorted(e, list, "metadata"))
}

// sorted puts pairs in order and faults names that stand twice.
func sorted(e *LogEvent, pairs []events.Pair, field string) []events.Pair {
	events.SortPairs(pairs)
	for i := 1; i < len(pairs); i++ {
		if pairs[i].Name == pairs[i-1].Name {
			e.fault("duplicate_member", "a name in "+field+" stands twice")
			return pairs[:i]
		}
	}
	return pairs
}

// sdk reads the body's statsigMetadata. What is not a text is not ours to judge.
func (r *logReader) sdk(sdk *SDK) {
	if r.peek() != '{' {
		r.skip()
		return
	}
	r.members(func(name string) {
		if r.peek() != '"' {
			r.skip()
			return
		}
		value := r.string()
		if len(value) > maxName {
			return
		}
		switch name {
		case "sdkType":
			sdk.Type = value
		case "sdkVersion":
			sdk.Version = value
		case "sessionID":
			sdk.SessionID = value
		case "stableID":
			sdk.StableID = value
		}
	})
}
