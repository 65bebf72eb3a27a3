package loader

import (
	"crypto/sha256"
	"time"

	"github.com/sluice-flags/sluice/internal/bus/facts"
	"github.com/sluice-flags/sluice/internal/warehouse"
)

// A batch is messages as rows. Equal messages make equal rows in equal order,
// whenever and wherever: that is what the token promises the engine. A batch is
// filled again once it is loaded, and keeps its memory.
type batch struct {
	plan     facts.Plan // once it is frozen
	last     uint64     // sequence
	messages int
	bytes    int
	pending  uint64 // messages after the last

	oldest, newest time.Time // when the first and the last were stored

	stored chan struct{} // closed once all of it is in the warehouse; made when it is frozen

	rows   *warehouse.Block
	poison []poison
}

// poison is a message that does not decode.
type poison struct {
	message facts.Message
	reason  error
}

func newBatch() *batch { return &batch{rows: warehouse.NewBlock()} }

// reset empties b.
func (b *batch) reset() {
	b.rows.Reset()
	*b = batch{rows: b.rows}
}

// facts is how many facts came with the messages of b, whatever becomes of them.
func (b *batch) facts() int { return b.rows.Facts() + b.rows.Dead() + b.rows.Erased() }

// refill makes b the batch of a plan.
func (b *batch) refill(plan facts.Plan, messages []facts.Message) {
	b.reset()
	b.plan = plan
	for i := range messages {
		b.add(&messages[i])
	}
}

// add appends the facts of a message.
func (b *batch) add(m *facts.Message) {
	if b.messages == 0 {
		b.oldest = m.Stored
	}
	b.last = m.Seq
	b.messages++
	b.bytes += len(m.Data)
	b.pending, b.newest = m.Pending, m.Stored

	if err := b.rows.Add(m.Data); err != nil {
		b.poison = append(b.poison, poison{message: *m, reason: err})
		sum := sha256.Sum256(m.Data)
		b.rows.AddDead(warehouse.DeadLetter{
			Project: m.Project(), Reason: "undecodable", Detail: err.Error(), Received: m.Stored.UnixMilli(),
			ID: [16]byte(sum[:16]), Body: string(m.Data),
		})
	}
}
