package intake

import (
	"cmp"
	"crypto/sha256"
	"encoding/binary"

	protocol "github.com/sluice-flags/sluice/internal/statsig"
	"github.com/sluice-flags/sluice/pkg/events"
)

// SDKs send an event again when they did not hear that it arrived, and give it
// no id. So its content is its id: who sent it, in which session, and what it
// says. The SDK's own envelope is left out, since a retry may change it, and so
// are the user's attributes, since a hash of a secret can be guessed.
//
// Two events that say the same in one body are two: the second has another
// ordinal. An event without a time of its own cannot be told from an earlier
// one that said the same, and a lost event is worse to find than a double one:
// such an event is new every time it comes.
//
// Clients of ours give ids: to each event, or to a batch and its retries. The
// first is the event's id as it is, if it is a UUID. The second takes the place of
// key and session, and tells events without a time apart from those of another batch.

// An identifier gives ids to the entries of one delivery.
type identifier struct {
	project string
	sender  [sha256.Size]byte
	seen    map[events.FactID]uint64
	salt    []byte // of this very delivery, for entries without a time
	buf     []byte // what is being hashed
}

// newIdentifier returns an identifier for a delivery by the holder of a key.
// salt must differ between deliveries.
func newIdentifier(project, keyHash string, d *Delivery, salt []byte) *identifier {
	id := &identifier{project: project, seen: make(map[events.FactID]uint64, len(d.Entries)), salt: salt}
	if d.BatchID != "" {
		// A retry may show another key: keys are exchanged.
		keyHash, id.salt = "batch", []byte(d.BatchID)
		id.text(project)
	}
	id.text(keyHash)
	id.text(cmp.Or(d.BatchID, d.SessionID))
	id.sender = sha256.Sum256(id.buf)
	return id
}

func (id *identifier) number(n uint64) { id.buf = binary.BigEndian.AppendUint64(id.buf, n) }

func (id *identifier) text(s string) {
	id.number(uint64(len(s)))
	id.buf = append(id.buf, s...)
}

func (id *identifier) pairs(ps []events.Pair) {
	id.number(uint64(len(ps)))
	for _, p := range ps {
		id.text(p.Name)
		id.text(p.Value)
	}
}

// named returns the id of a fact that its client named, and whether it is the
// first of that name here. Names that are no UUIDs are hashed with the project's, so
// that those of two projects are two.
func (id *identifier) named(name string) (fact events.FactID, first bool) {
	if uuid, ok := protocol.ParseUUID(name); ok {
		fact = uuid
	} else {
		fact = id.hash("name", name)
	}
	n := id.seen[fact]
	id.seen[fact] = n + 1
	return fact, n == 0
}

// rejected returns the id of the dead letter of an entry that its client named: not
// the name's, since the client may mend the event and send it again.
func (id *identifier) rejected(name, code string) events.FactID {
	return id.distinct(id.hash("rejected", name, code))
}

func (id *identifier) hash(texts ...string) events.FactID {
	id.buf = id.buf[:0]
	id.text(id.project)
	for _, t := range texts {
		id.text(t)
	}
	sum := sha256.Sum256(id.buf)
	return events.FactID(sum[:16])
}

// distinct returns another id for each time that one was given in this delivery.
func (id *identifier) distinct(fact events.FactID) events.FactID {
	n := id.seen[fact]
	id.seen[fact] = n + 1
	if n == 0 {
		return fact
	}
	id.buf = append(id.buf[:0], fact[:]...)
	id.number(n)
	sum := sha256.Sum256(id.buf)
	return events.FactID(sum[:16])
}

// of returns the id of the next entry by what it says.
func (id *identifier) of(entry *Entry) events.FactID {
	id.buf = append(id.buf[:0], id.sender[:]...)
	id.number(uint64(entry.Kind))
	id.text(entry.Name)
	id.number(uint64(entry.Time))
	if entry.Time == 0 {
		id.buf = append(id.buf, id.salt...)
	}
	id.text(entry.User.ID)
	id.pairs(entry.User.Others)
	id.text(entry.User.Tier)
	id.text(entry.Value)
	id.pairs(entry.Metadata)
	id.text(entry.RuleID)
	id.text(entry.Experiment)
	id.text(entry.Parameter)
	id.text(entry.Group)
	if entry.Sequence != 0 {
		id.number(entry.Sequence)
	}
	if entry.Fault != nil {
		id.text(entry.Fault.Code)
	}

	sum := sha256.Sum256(id.buf)
	return id.distinct(events.FactID(sum[:16]))
}
