// Package intake turns what clients say happened into facts, and lets them go
// on only when they are stored.
//
// A protocol's adapter decodes bodies into entries; from there every door is the
// same. An entry that makes no sense becomes a dead letter and never holds up
// its neighbours. What a fact says about a user is the unit's id, or a keyed hash
// of it, and the attributes that the project lists: others do not get this far,
// so nothing here could store them.
package intake

import (
	"time"

	"github.com/sluice-flags/sluice/pkg/events"
)

// Kind is what an entry is about.
type Kind uint8

// The kinds of entry.
const (
	Event  Kind = iota
	Gate        // a gate was checked
	Config      // a dynamic config or an experiment was read
	Layer       // a parameter of a layer was read
)

// An Entry is one thing that a client says happened.
type Entry struct {
	ID   string // that the client gave it, "" if it is told by what it says
	Kind Kind
	Name string // of the event, gate, config or layer
	Time int64  // milliseconds, 0 if the client gave none
	User User

	Value    string        // an event's value; "true" or "false" of a gate
	Metadata []events.Pair // what it says besides, ascending by name

	RuleID     string // of an exposure
	Experiment string // that a layer's parameter came from; may be hashed
	Parameter  string // of a layer
	Group      string // name of the group, where the client says that instead of a rule
	Reason     string
	ConfigTime int64  // time of the definitions that the client decided on, 0 if it does not say
	Sequence   uint64 // version of them, 0 if it does not say

	// Fault is set when the entry cannot be taken, with what is wrong.
	Fault *Fault
}

// User is what an entry says about who it is about.
type User struct {
	ID         string
	Others     []events.Pair // ids of other unit types, ascending by type
	Tier       string        // environment that the client was in
	Attributes []events.Pair // that the project keeps, ascending by name
}

// A Fault is why an entry becomes a dead letter.
type Fault struct {
	Code   string // stable, such as "bad_time"
	Detail string // for people
}

// A Delivery is the entries of one request.
type Delivery struct {
	BatchID    string // that the client gave it and its retries, "" if none
	SessionID  string
	SDKType    string
	SDKVersion string
	Received   time.Time
	Entries    []Entry
}
