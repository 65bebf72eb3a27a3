package intake

import (
	"crypto/sha256"
	"encoding/binary"

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

// An identifier gives ids to the claims of one delivery.
type identifier struct {
	sender [sha256.Size]byte
	seen   map[events.FactID]uint64
	salt   []byte // of this very delivery, for claims without a time
	buf    []byte // what is being hashed
}

// newIdentifier returns an identifier for a delivery by the holder of a key.
// salt must differ between deliveries.
func newIdentifier(keyHash, sessionID string, salt []byte) *identifier {
	id := &identifier{seen: make(map[events.FactID]uint64), salt: salt}
	id.text(keyHash)
	id.text(sessionID)
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

// of returns the id of the next claim.
func (id *identifier) of(c *Claim) events.FactID {
	id.buf = append(id.buf[:0], id.sender[:]...)
	id.number(uint64(c.Kind))
	id.text(c.Name)
	id.number(uint64(c.Time))
	if c.Time == 0 {
		id.buf = append(id.buf, id.salt...)
	}
	id.text(c.User.ID)
	id.pairs(c.User.Others)
	id.text(c.User.Tier)
	id.text(c.Value)
	id.pairs(c.Metadata)
	id.text(c.RuleID)
	id.text(c.Experiment)
	id.text(c.Parameter)
	id.text(c.Group)
	if c.Fault != nil {
		id.text(c.Fault.Code)
	}

	sum := sha256.Sum256(id.buf)
	fact := events.FactID(sum[:16])
	n := id.seen[fact]
	id.seen[fact] = n + 1
	if n > 0 {
		id.buf = append(id.buf[:0], sum[:]...)
		id.number(n)
		sum = sha256.Sum256(id.buf)
		fact = events.FactID(sum[:16])
	}
	return fact
}
