package logtest

import (
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/sluice-flags/sluice/pkg/events"
	"github.com/sluice-flags/sluice/pkg/flags"
)

func empty(t *testing.T, l events.Log) {
	h := Head(t, l)
	if h.Seq != 0 || h.LogID == "" || h.Hash != (events.Hash{}) {
		t.Errorf("Head() = %+v; want sequence 0 of a named log", h)
	}
	b, err := l.Boot(t.Context())
	if err != nil || b.Head != h || len(b.Entities) != 0 {
		t.Errorf("Boot() = %+v, %v; want an empty one at %+v", b, err, h)
	}
	for _, p := range []events.Point{{Seq: 3}, {Time: time.Now()}} {
		if b, err := l.AsOf(t.Context(), p); err != nil || b.Head != h || len(b.Entities) != 0 {
			t.Errorf("AsOf(%v) = %+v, %v; want an empty one", p, b, err)
		}
	}
	if got := Collect(t, l.Read(t.Context(), 1)); len(got) != 0 {
		t.Errorf("Read(1) = %v; want nothing", got)
	}
	if got := Collect(t, l.History(t.Context(), flags.Ref{Kind: flags.KindGate, ID: "gate_a"})); len(got) != 0 {
		t.Errorf("History() = %v; want nothing", got)
	}
	if _, ok, err := l.Lookup(t.Context(), "c"); ok || err != nil {
		t.Errorf("Lookup() = %v, %v; want nothing", ok, err)
	}
}

func appendAndRead(t *testing.T, l events.Log) {
	before := time.Now().UnixMilli()
	at := Head(t, l)
	r := Append(t, l, at, Command("c1", Gate("a", 1, 0)))
	if r.Replayed || len(r.Envelopes) != 1 || r.First != r.Last || r.Last != r.Envelopes[0].Head() {
		t.Fatalf("Append() = %+v; want a receipt of one envelope", r)
	}
	e := r.Envelopes[0]
	if e.Seq != 1 || e.LogID != at.LogID || e.Schema != events.Schema || e.EntityVersion != 1 || e.CommandID != "c1" ||
		e.Reason != "because of c1" || e.Request != "digest of c1" || e.Actor.Name != "tests" ||
		e.Commit != (events.Commit{ID: "c1", Index: 0, Count: 1}) || e.Ref() != (flags.Ref{Kind: flags.KindGate, ID: "gate_a"}) {
		t.Errorf("appended %+v", e)
	}
	if e.Time < before || e.Created != e.Time {
		t.Errorf("appended at %d, created %d; want both at or after %d", e.Time, e.Created, before)
	}
	wantSame(t, "Read(1)", []events.Envelope{e}, Collect(t, l.Read(t.Context(), 1)))
	if h := Head(t, l); h != r.Last {
		t.Errorf("Head() = %s; want %s", h, r.Last)
	}
	second := Append(t, l, r.Last, Command("c2", Gate("a", 2, e.Created)))
	if got := second.Envelopes[0].Created; got != e.Created {
		t.Errorf("version 2 says created %d; want %d", got, e.Created)
	}
	wantSame(t, "Read(2)", second.Envelopes, Collect(t, l.Read(t.Context(), 2)))
	if got := Collect(t, l.Read(t.Context(), 3)); len(got) != 0 {
		t.Errorf("Read(3) = %v; want nothing behind the head", got)
	}
}

func denseAndRising(t *testing.T, l events.Log) {
	var last events.Head
	for i, e := range Fill(t, l, 40) {
		if e.Seq != uint64(i+1) {
			t.Errorf("envelope %d has sequence %d", i+1, e.Seq)
		}
		if e.Time <= last.Time {
			t.Errorf("envelope %d has time %d, the one before %d", e.Seq, e.Time, last.Time)
		}
		last = e.Head()
	}
}

func chained(t *testing.T, l events.Log) {
	want := Fill(t, l, 20)
	got := Collect(t, l.Read(t.Context(), 1))
	wantSame(t, "Read(1)", want, got)
	at := events.Head{LogID: Head(t, l).LogID}
	for _, e := range got {
		if err := events.Verify(at, e); err != nil {
			t.Fatalf("Verify(%s, %d) = %v", at, e.Seq, err)
		}
		at = e.Head()
	}
	if h := Head(t, l); at != h {
		t.Errorf("the chain ends at %s; want the head %s", at, h)
	}
}

func conflict(t *testing.T, l events.Log) {
	zero := Head(t, l)
	one := Append(t, l, zero, Command("c1", Gate("a", 1, 0))).Last
	two := Append(t, l, one, Command("c2", Gate("b", 1, 0))).Last
	forged := two
	forged.Hash[0] ^= 1
	other := two
	other.LogID = "another"
	for name, at := range map[string]events.Head{"the empty log": zero, "one before": one, "a forged hash": forged, "another log": other} {
		r, err := l.Append(t.Context(), at, Command("late", Gate("c", 1, 0)))
		if !errors.Is(err, events.ErrConflict) {
			t.Errorf("Append at %s = %+v, %v; want ErrConflict", name, r, err)
		}
	}
	if h := Head(t, l); h != two {
		t.Errorf("Head() = %s; want %s", h, two)
	}
	three := Append(t, l, two, Command("late", Gate("c", 1, 0)))
	if three.First.Seq != 3 || three.Replayed {
		t.Errorf("the refused command, decided again, lands as %+v; want sequence 3", three)
	}
}

func changeset(t *testing.T, l events.Log) {
	at := Append(t, l, Head(t, l), Command("c1", Gate("a", 1, 0))).Last
	r := Append(t, l, at, Command("c2", Gate("b", 1, 0), Gate("c", 1, 0), Gate("d", 1, 0)))
	if r.First.Seq != 2 || r.Last.Seq != 4 || len(r.Envelopes) != 3 {
		t.Fatalf("Append() = %s to %s; want 2 to 4", r.First, r.Last)
	}
	for i, e := range r.Envelopes {
		if want := (events.Commit{ID: "c2", Index: i, Count: 3}); e.Commit != want {
			t.Errorf("envelope %d is of commit %+v; want %+v", e.Seq, e.Commit, want)
		}
	}
	wantSame(t, "Read(2)", r.Envelopes, Collect(t, l.Read(t.Context(), 2)))
	next := Append(t, l, r.Last, Command("c3", Gate("a", 2, at.Time)))
	if next.First.Seq != 5 {
		t.Errorf("the append behind a changeset got %d; want 5", next.First.Seq)
	}
}

func refusedChangeset(t *testing.T, l events.Log) {
	old := Head(t, l)
	at := Append(t, l, old, Command("c1", Gate("a", 1, 0))).Last
	_, err := l.Append(t.Context(), old, Command("c2", Gate("b", 1, 0), Gate("c", 1, 0)))
	if !errors.Is(err, events.ErrConflict) {
		t.Fatalf("Append on an old head = %v; want ErrConflict", err)
	}
	broken := Gate("e", 1, 0)
	broken.Document = []byte(`{"id":`)
	if _, err := l.Append(t.Context(), at, Command("c3", Gate("d", 1, 0), broken)); !errors.Is(err, events.ErrInvalid) {
		t.Fatalf("Append with a broken part = %v; want ErrInvalid", err)
	}
	if h := Head(t, l); h != at {
		t.Errorf("Head() = %s; want %s", h, at)
	}
	if r := Append(t, l, at, Command("c2", Gate("b", 1, 0), Gate("c", 1, 0))); r.First.Seq != 2 || r.Last.Seq != 3 {
		t.Errorf("the next append got %s to %s; want 2 to 3", r.First, r.Last)
	}
}

func repeated(t *testing.T, l events.Log) {
	zero := Head(t, l)
	first := Append(t, l, zero, Command("c1", Gate("a", 1, 0)))
	middle := Append(t, l, first.Last, Command("c2", Gate("b", 1, 0)))
	for name, at := range map[string]events.Head{"the same head": zero, "the newest head": middle.Last} {
		again := Append(t, l, at, Command("c1", Gate("a", 1, 0)))
		if !again.Replayed {
			t.Errorf("the repeat at %s is not marked", name)
		}
		wantSame(t, "the repeat's envelopes", first.Envelopes, again.Envelopes)
	}
	// Even when it says something else now: the id stands for what was done.
	again := Append(t, l, middle.Last, Command("c1", Gate("z", 1, 0)))
	wantSame(t, "the reused id's envelopes", first.Envelopes, again.Envelopes)
	if h := Head(t, l); h != middle.Last {
		t.Errorf("Head() = %s; want %s", h, middle.Last)
	}
}

func repeatedChangeset(t *testing.T, l events.Log) {
	zero := Head(t, l)
	c := Command("c1", Gate("a", 1, 0), Gate("b", 1, 0))
	first := Append(t, l, zero, c)
	again := Append(t, l, zero, c)
	if !again.Replayed || again.First != first.First || again.Last != first.Last {
		t.Errorf("the repeat = %s to %s, replayed %v; want %s to %s", again.First, again.Last, again.Replayed, first.First, first.Last)
	}
	wantSame(t, "the repeat's envelopes", first.Envelopes, again.Envelopes)
}

func lookup(t *testing.T, l events.Log) {
	Fill(t, l, 10)
	r := Append(t, l, Head(t, l), Command("wanted", Gate("x", 1, 0), Gate("y", 1, 0)))
	Append(t, l, r.Last, Command("later", Gate("z", 1, 0)))
	got, ok, err := l.Lookup(t.Context(), "wanted")
	if err != nil || !ok || !got.Replayed {
		t.Fatalf("Lookup() = %+v, %v, %v; want the receipt", got, ok, err)
	}
	wantSame(t, "Lookup()", r.Envelopes, got.Envelopes)
	if _, ok, err := l.Lookup(t.Context(), "never"); ok || err != nil {
		t.Errorf("Lookup(never) = %v, %v; want nothing", ok, err)
	}
}

func invalid(t *testing.T, l events.Log) {
	at := Head(t, l)
	nameless := Gate("a", 2, 1)
	nameless.Document = nil
	list := Gate("a", 1, 0)
	list.Document = []byte(`[]`)
	uncreated := Gate("a", 2, 0)
	versionless := Gate("a", 0, 1)
	unknownBefore := Gate("a", 1, 0)
	unknownBefore.Operations[0].Before = []byte(`{`)
	for name, c := range map[string]events.Command{
		"no id":                       Command("", Gate("a", 1, 0)),
		"an id with a space":          Command("a b", Gate("a", 1, 0)),
		"an id with a line break":     Command("a\r\nb", Gate("a", 1, 0)),
		"no drafts":                   Command("c"),
		"a tombstone without a name":  Command("c", nameless),
		"a document that is a list":   Command("c", list),
		"no time of creation":         Command("c", uncreated),
		"no version":                  Command("c", versionless),
		"an operation that is broken": Command("c", unknownBefore),
	} {
		if r, err := l.Append(t.Context(), at, c); !errors.Is(err, events.ErrInvalid) {
			t.Errorf("Append with %s = %+v, %v; want ErrInvalid", name, r, err)
		}
	}
	if h := Head(t, l); h != at {
		t.Errorf("Head() = %s; want %s", h, at)
	}
}

func tooLarge(t *testing.T, l events.Log) {
	at := Head(t, l)
	long := make([]byte, events.MaxMessage)
	for i := range long {
		long[i] = 'x'
	}
	large := Gate("a", 1, 0)
	large.Document = fmt.Appendf(nil, `{"id":"gate_a","name":"a","description":%q}`, long)
	if _, err := l.Append(t.Context(), at, Command("c1", Gate("b", 1, 0), large)); !errors.Is(err, events.ErrTooLarge) {
		t.Errorf("Append = %v; want ErrTooLarge", err)
	}
	many := make([]events.Draft, events.MaxCommit+1)
	for i := range many {
		many[i] = Gate(fmt.Sprint(i), 1, 0)
	}
	if _, err := l.Append(t.Context(), at, Command("c2", many...)); !errors.Is(err, events.ErrTooLarge) {
		t.Errorf("Append of %d drafts = %v; want ErrTooLarge", len(many), err)
	}
	if h := Head(t, l); h != at {
		t.Errorf("Head() = %s; want %s", h, at)
	}
	fits := Gate("a", 1, 0)
	fits.Document = fmt.Appendf(nil, `{"id":"gate_a","name":"a","description":%q}`, long[:events.MaxMessage-2000])
	Append(t, l, at, Command("c3", fits))
	most := Append(t, l, Head(t, l), Command("c4", many[:events.MaxCommit]...))
	if most.Last.Seq != events.MaxCommit+1 {
		t.Errorf("the largest commit ends at %s; want %d", most.Last, events.MaxCommit+1)
	}
}

func race(t *testing.T, l events.Log) {
	at := Head(t, l)
	var won, lost int
	var mu sync.Mutex
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			_, err := l.Append(t.Context(), at, Command(fmt.Sprintf("c%d", i), Gate(fmt.Sprint(i), 1, 0)))
			mu.Lock()
			defer mu.Unlock()
			switch {
			case err == nil:
				won++
			case errors.Is(err, events.ErrConflict):
				lost++
			default:
				t.Errorf("Append = %v; want success or ErrConflict", err)
			}
		})
	}
	wg.Wait()
	if won != 1 || lost != 7 {
		t.Errorf("%d won, %d lost; want 1 and 7", won, lost)
	}
}

func concurrent(t *testing.T, l events.Log) {
	const writers, each = 4, 10
	var wg sync.WaitGroup
	for w := range writers {
		wg.Go(func() {
			for i := range each {
				c := Command(fmt.Sprintf("w%d-%d", w, i), Gate(fmt.Sprintf("w%d-%d", w, i), 1, 0))
				for {
					at, err := l.Head(t.Context())
					if err == nil {
						_, err = l.Append(t.Context(), at, c)
					}
					if err == nil {
						break
					}
					if !errors.Is(err, events.ErrConflict) {
						t.Errorf("writer %d: %v", w, err)
						return
					}
				}
			}
		})
	}
	wg.Wait()
	seen := map[string]int{}
	all := Collect(t, l.Read(t.Context(), 1))
	for _, e := range all {
		seen[e.CommandID]++
	}
	if len(all) != writers*each || len(seen) != writers*each {
		t.Errorf("%d envelopes of %d commands; want %d of each", len(all), len(seen), writers*each)
	}
}
