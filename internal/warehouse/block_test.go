package warehouse_test

import (
	"encoding/binary"
	"math/rand/v2"
	"testing"

	"github.com/sluice-flags/sluice/internal/warehouse"
	"github.com/sluice-flags/sluice/pkg/events"
)

// numbered returns a message with events whose ids are numbers.
func numbered(project string, ids []uint32) []byte {
	b := events.Batch{Project: project}
	for _, n := range ids {
		e := events.Event{Name: "e", UnitType: "userID", UnitID: "u", Time: int64(n), Received: 1}
		binary.BigEndian.PutUint32(e.ID[12:], n)
		b.Events = append(b.Events, e)
	}
	return events.EncodeBatch(b)
}

func TestAFactThatComesTwiceIsInItsBlockOnce(t *testing.T) {
	type fact struct {
		project string
		id      uint32
	}
	b := warehouse.NewBlock()
	for seed := range uint64(300) {
		b.Reset()
		r := rand.New(rand.NewPCG(seed, 0))
		present, came := make(map[fact]bool), 0
		for range 1 + r.IntN(6) {
			project := []string{"a", "b"}[r.IntN(2)]
			ids := make([]uint32, r.IntN(30))
			for i := range ids {
				ids[i] = r.Uint32N(40)
			}
			message := numbered(project, ids)
			if r.IntN(4) == 0 {
				if err := b.Add(message[:len(message)-1]); err == nil {
					t.Fatal("Add of a message that is cut short = nil; want an error")
				}
				continue // nothing of it is there, so what it had may still come
			}
			must(t, b.Add(message))
			came += len(ids)
			for _, id := range ids {
				present[fact{project, id}] = true
			}
		}
		if b.Rows() != len(present) || b.Facts() != came {
			t.Fatalf("seed %d: a block has %d rows of %d facts; want %d of %d", seed, b.Rows(), b.Facts(), len(present), came)
		}
	}
}

func TestABlockKnowsAllOfItsManyFacts(t *testing.T) {
	const facts = 20_000
	var ids []uint32
	for n := range uint32(facts) {
		ids = append(ids, n*0x9E3779B1) // all different
	}
	b := warehouse.NewBlock()
	for range 2 {
		must(t, b.Add(numbered("p", ids)))
	}
	if b.Rows() != facts || b.Facts() != 2*facts {
		t.Errorf("a block has %d rows of %d facts; want %d of %d", b.Rows(), b.Facts(), facts, 2*facts)
	}
}
