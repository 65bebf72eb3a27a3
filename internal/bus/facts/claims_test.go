package facts_test

import (
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sluice-flags/sluice/internal/bus"
	"github.com/sluice-flags/sluice/internal/bus/facts"
	"github.com/sluice-flags/sluice/pkg/events"
)

// factIDs returns ids that differ.
func factIDs(n int) []events.FactID {
	out := make([]events.FactID, n)
	for i := range out {
		out[i] = events.FactID{byte(i >> 8), byte(i)}
	}
	return out
}

func mine(claims []facts.Claim) (n int) {
	for _, c := range claims {
		if c.Mine {
			n++
		}
	}
	return n
}

func TestOfManyWhoClaimAnIDOneGetsIt(t *testing.T) {
	_, conn := stream(t, bus.Limits{})
	ids := factIDs(300)
	var all sync.WaitGroup
	var got atomic.Int64
	for range 4 {
		all.Go(func() { got.Add(int64(mine(facts.NewClaims(conn).Take(t.Context(), ids)))) })
	}
	all.Wait()
	if got.Load() != int64(len(ids)) {
		t.Errorf("%d ids were got by four processes; want each of %d by one", got.Load(), len(ids))
	}
}

func TestWhatIsGivenBackIsFreeAgain(t *testing.T) {
	_, conn := stream(t, bus.Limits{})
	ids := factIDs(3)
	one, two := facts.NewClaims(conn), facts.NewClaims(conn)
	claims := one.Take(t.Context(), ids)
	one.Return(claims[:1])
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(100 * time.Millisecond) { // the broker forgets in its own time
		if got := two.Take(t.Context(), ids); got[0].Mine && !got[1].Mine && !got[2].Mine {
			return
		}
		if time.Now().After(deadline) {
			t.Fatal("what was given back was not got by somebody else within 20 s")
		}
	}
}

func TestWithoutClaimsEverythingIsWhoeverAsks(t *testing.T) {
	_, conn := stream(t, bus.Limits{})
	if err := conn.JetStream().DeleteStream(t.Context(), bus.ClaimsStream); err != nil { // as a server's end does
		t.Fatal(err)
	}
	ids := factIDs(3)
	one, two := facts.NewClaims(conn), facts.NewClaims(conn)
	if got := mine(one.Take(t.Context(), ids)); got != 3 {
		t.Errorf("%d of 3 ids are got without a stream of claims; want all", got)
	}
	// Who found it gone has made it again.
	if got := mine(one.Take(t.Context(), ids)); got != 3 {
		t.Errorf("%d of 3 ids are got from the new stream; want all", got)
	}
	if got := mine(two.Take(t.Context(), ids)); got != 0 {
		t.Errorf("%d of 3 ids that somebody has are got; want none", got)
	}
}
