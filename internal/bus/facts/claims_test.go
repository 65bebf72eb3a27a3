package facts_test

import (
	"context"
	"log/slog"
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

// claimed returns a broker that keeps claims.
func claimed(t *testing.T) (*broker, *bus.Conn) {
	t.Helper()
	b := startBroker(t)
	conn := b.connect(t)
	if err := bus.EnsureClaims(t.Context(), conn, bus.Limits{}); err != nil {
		t.Fatal(err)
	}
	return b, conn
}

func newClaims(t *testing.T, conn *bus.Conn) *facts.Claims {
	t.Helper()
	return facts.NewClaims(conn, slog.New(slog.DiscardHandler))
}

// take says how many of ids are got.
func take(ctx context.Context, c *facts.Claims, ids []events.FactID) (n int, giveBack func(context.Context)) {
	mine, giveBack := c.Take(ctx, ids)
	for _, m := range mine {
		if m {
			n++
		}
	}
	return n, giveBack
}

func TestOfManyWhoClaimAnIDOneGetsIt(t *testing.T) {
	_, conn := claimed(t)
	ids := factIDs(300)
	var all sync.WaitGroup
	var got atomic.Int64
	for range 4 {
		c := newClaims(t, conn)
		all.Go(func() {
			n, _ := take(t.Context(), c, ids)
			got.Add(int64(n))
		})
	}
	all.Wait()
	if got.Load() != int64(len(ids)) {
		t.Errorf("%d ids were got by four processes; want each of %d by one", got.Load(), len(ids))
	}
}

func TestWhatIsGivenBackIsFreeAtOnce(t *testing.T) {
	_, conn := claimed(t)
	ids := factIDs(3)
	one, two := newClaims(t, conn), newClaims(t, conn)
	_, giveBack := take(t.Context(), one, ids[:1])
	if n, _ := take(t.Context(), one, ids[1:]); n != 2 {
		t.Fatalf("%d of 2 ids that nobody has are got; want both", n)
	}
	giveBack(t.Context())
	mine, giveBack := two.Take(t.Context(), ids)
	if !mine[0] || mine[1] || mine[2] {
		t.Errorf("of three ids, the first given back, another gets %t; want the first alone", mine)
	}
	giveBack(t.Context()) // nothing of what was not got
	if mine, _ := one.Take(t.Context(), ids); !mine[0] || mine[1] || mine[2] {
		t.Errorf("of three ids, the first given back, their first owner gets %t; want the first alone", mine)
	}
}

// hardOfHearing is another connection to a broker, and what calls f, with a context
// that soon ends, while the connection hears no answer.
func hardOfHearing(t *testing.T, b *broker) (conn *bus.Conn, during func(f func(ctx context.Context))) {
	t.Helper()
	relay := startDeaf(t, b.now.Load().URL())
	conn, err := bus.Connect(t.Context(), bus.Config{URL: "nats://" + relay.l.Addr().String(), Name: "deaf"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(conn.Close)
	if err := conn.Wait(t.Context()); err != nil {
		t.Fatal(err)
	}
	return conn, func(f func(ctx context.Context)) {
		ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
		defer cancel()
		relay.mute.Store(true)
		defer relay.mute.Store(false)
		f(ctx)
	}
}

func TestAClaimThatNobodyAnsweredIsGivenBackToo(t *testing.T) {
	b, conn := claimed(t)
	deaf, during := hardOfHearing(t, b)
	one, two := newClaims(t, deaf), newClaims(t, conn)
	ids := factIDs(3)
	var giveBack func(context.Context)
	during(func(ctx context.Context) {
		var n int
		if n, giveBack = take(ctx, one, ids); n != 3 {
			t.Errorf("%d of 3 ids are got when nobody answers; want all", n)
		}
	})
	if n, _ := take(t.Context(), two, ids); n != 0 {
		t.Errorf("another gets %d of 3 ids that were claimed without an answer; want none", n)
	}
	giveBack(t.Context())
	if n, _ := take(t.Context(), two, ids); n != 3 {
		t.Errorf("another gets %d of 3 ids that were given back; want all", n)
	}
}

func TestWhatCouldNotBeGivenBackIsItsOwnersAndGivenBackLater(t *testing.T) {
	b, conn := claimed(t)
	deaf, during := hardOfHearing(t, b)
	one, two := newClaims(t, deaf), newClaims(t, conn)
	ids := factIDs(4)
	_, giveBack := take(t.Context(), one, ids[:3])
	during(func(ctx context.Context) {
		giveBack(ctx)
		if n, _ := take(ctx, one, ids[:1]); n != 1 {
			t.Error("a claim that could not be given back is not its owner's; want it to be")
		}
	})
	if n, _ := take(t.Context(), one, ids[3:]); n != 1 { // the bus answers again
		t.Error("a new id is not got")
	}
	if mine, _ := two.Take(t.Context(), ids); mine[0] || !mine[1] || !mine[2] || mine[3] {
		t.Errorf("of what could not be given back at first another gets %t; want the second and third id, which the owner did not take again", mine)
	}
}

func TestWithoutClaimsEverythingIsWhoeverAsks(t *testing.T) {
	_, conn := stream(t, bus.Limits{}) // which has none, as after a server's end
	ids := factIDs(3)
	one, two := newClaims(t, conn), newClaims(t, conn)
	if got, _ := take(t.Context(), one, ids); got != 3 {
		t.Errorf("%d of 3 ids are got without a stream of claims; want all", got)
	}
	// Who found it gone has made it again.
	if got, _ := take(t.Context(), one, ids); got != 3 {
		t.Errorf("%d of 3 ids are got from the new stream; want all", got)
	}
	if got, _ := take(t.Context(), two, ids); got != 0 {
		t.Errorf("%d of 3 ids that somebody has are got; want none", got)
	}
}
