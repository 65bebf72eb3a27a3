// Package logtest is the acceptance suite of [events.Log]: what every log must
// do, whatever is behind it.
package logtest

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/sluice-flags/sluice/pkg/events"
	"github.com/sluice-flags/sluice/pkg/flags"
)

// Run runs the suite. Open returns a new, empty log each time.
func Run(t *testing.T, open func(*testing.T) events.Log) {
	for _, test := range []struct {
		name string
		run  func(*testing.T, events.Log)
	}{
		{"an empty log has nothing in it", empty},
		{"what is appended is read back", appendAndRead},
		{"sequences are dense and times rise", denseAndRising},
		{"each envelope is chained to the one before", chained},
		{"an append on an old head is a conflict and writes nothing", conflict},
		{"a changeset lands together", changeset},
		{"a changeset that is refused leaves neither part nor hole", refusedChangeset},
		{"a repeated command is applied once", repeated},
		{"a repeated changeset is applied once", repeatedChangeset},
		{"a command is found by its id", lookup},
		{"an invalid command is refused", invalid},
		{"a document that is too large is refused", tooLarge},
		{"a boot equals a full replay", bootEqualsReplay},
		{"a boot has tombstones, and their names are retired", tombstones},
		{"any past sequence can be read", asOfSequence},
		{"any past time can be read", asOfTime},
		{"nobody sees half a commit in the past", asOfWithinCommit},
		{"the history of an entity is its own", history},
		{"following goes on from any position", follow},
		{"following refuses a position of another log", followElsewhere},
		{"following ends with its context", followEnds},
		{"readers may stop early", stopEarly},
		{"of writers at the same head one wins", race},
		{"concurrent writers lose nothing", concurrent},
	} {
		t.Run(test.name, func(t *testing.T) { test.run(t, open(t)) })
	}
}

// Gate is a draft that gives a gate its n-th version, counted from 1, under the
// name of its id.
func Gate(id string, n uint64, created int64) events.Draft {
	after := fmt.Sprintf(`%d`, n)
	return events.Draft{
		Kind:          flags.KindGate,
		Entity:        "gate_" + id,
		EntityVersion: n,
		Created:       created,
		Operations:    []flags.Operation{{Op: "set", Path: "/description", Before: []byte(`"<&>"`), After: []byte(after)}},
		Document:      fmt.Appendf(nil, `{ "id": "gate_%s", "name": %q, "description": "version <%d> & \u2028" }`, id, id, n),
	}
}

// Command is a command with the given id and drafts.
func Command(id string, drafts ...events.Draft) events.Command {
	return events.Command{
		ID:      id,
		Actor:   events.Actor{Kind: "key", ID: "key_1", Name: "tests"},
		Reason:  "because of " + id,
		Request: "digest of " + id,
		Drafts:  drafts,
	}
}

// Fill appends n commits to a log, over a handful of gates, some of them of
// several gates, and one that deletes. It returns all envelopes.
func Fill(t *testing.T, l events.Log, n int) []events.Envelope {
	t.Helper()
	var all []events.Envelope
	version, created := map[string]uint64{}, map[string]int64{}
	draft := func(id string) events.Draft {
		version[id]++
		return Gate(id, version[id], created[id])
	}
	at := Head(t, l)
	for i := range n {
		ids := []string{fmt.Sprintf("g%d", i%5)}
		if i%4 == 3 {
			ids = append(ids, "shared", "other")
		}
		var drafts []events.Draft
		for _, id := range ids {
			drafts = append(drafts, draft(id))
		}
		if i == n/2 {
			d := draft("g0")
			d.Document, d.Name = nil, "g0"
			drafts = []events.Draft{d}
			ids = []string{"g0"}
		}
		r := Append(t, l, at, Command(fmt.Sprintf("fill-%d", i), drafts...))
		for j, e := range r.Envelopes {
			created[ids[j]] = e.Created
		}
		all = append(all, r.Envelopes...)
		at = r.Last
	}
	return all
}

// Append appends or ends the test.
func Append(t *testing.T, l events.Log, at events.Head, c events.Command) events.Receipt {
	t.Helper()
	r, err := l.Append(t.Context(), at, c)
	if err != nil {
		t.Fatalf("Append(%s, %s) = %v", at, c.ID, err)
	}
	return r
}

// Head reads the head or ends the test.
func Head(t *testing.T, l events.Log) events.Head {
	t.Helper()
	h, err := l.Head(t.Context())
	if err != nil {
		t.Fatalf("Head() = %v", err)
	}
	return h
}

// Collect reads a sequence to its end or ends the test.
func Collect(t *testing.T, seq func(func(events.Envelope, error) bool)) []events.Envelope {
	t.Helper()
	var out []events.Envelope
	for e, err := range seq {
		if err != nil {
			t.Fatalf("after %d envelopes: %v", len(out), err)
		}
		out = append(out, e)
	}
	return out
}

// Replay folds envelopes one by one.
func Replay(t *testing.T, envelopes []events.Envelope) *flags.State {
	t.Helper()
	s := flags.NewState("test")
	for _, e := range envelopes {
		var err error
		if s, err = events.Apply(s, e); err != nil {
			t.Fatalf("Apply(%d) = %v", e.Seq, err)
		}
	}
	return s
}

// Dump is a state in full, for comparison byte by byte.
func Dump(s *flags.State) []string {
	out := []string{fmt.Sprintf("%s %s %d %d", s.Project(), s.LogID(), s.Seq(), s.Time())}
	for e := range s.Entities() {
		out = append(out, fmt.Sprintf("%s %q %d %d %d %d %v %s", e.Ref, e.Name, e.Version, e.Seq, e.Time, e.Created, e.Deleted, e.Raw))
	}
	return out
}

func fold(t *testing.T, b events.Boot) *flags.State {
	t.Helper()
	s, err := events.Fold("test", b)
	if err != nil {
		t.Fatalf("Fold() = %v", err)
	}
	return s
}

func wantSame[T any](t *testing.T, what string, want, got T) {
	t.Helper()
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("%s: -want +got:\n%s", what, diff)
	}
}

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

func bootEqualsReplay(t *testing.T, l events.Log) {
	all := Fill(t, l, 40)
	b, err := l.Boot(t.Context())
	if err != nil {
		t.Fatalf("Boot() = %v", err)
	}
	if b.Head != all[len(all)-1].Head() {
		t.Errorf("Boot() is at %s; want %s", b.Head, all[len(all)-1].Head())
	}
	wantSame(t, "the booted state", Dump(Replay(t, all)), Dump(fold(t, b)))
}

func tombstones(t *testing.T, l events.Log) {
	made := Append(t, l, Head(t, l), Command("c1", Gate("a", 1, 0)))
	gone := Gate("a", 2, made.First.Time)
	gone.Document, gone.Name = nil, "a"
	Append(t, l, made.Last, Command("c2", gone))
	b, err := l.Boot(t.Context())
	if err != nil || len(b.Entities) != 1 || !b.Entities[0].Deleted() {
		t.Fatalf("Boot() = %+v, %v; want one tombstone", b, err)
	}
	s := fold(t, b)
	if _, ok := s.ByName(flags.KindGate, "a"); ok || !s.Retired(flags.KindGate, "a") || s.Len() != 0 {
		t.Errorf("state after deletion: found %v, retired %v, %d entities; want retired", ok, s.Retired(flags.KindGate, "a"), s.Len())
	}
}

func asOfSequence(t *testing.T, l events.Log) {
	all := Fill(t, l, 24)
	for n := 1; n <= len(all); n++ {
		if !all[n-1].Commit.Last() {
			continue
		}
		b, err := l.AsOf(t.Context(), events.Point{Seq: uint64(n)})
		if err != nil {
			t.Fatalf("AsOf(%d) = %v", n, err)
		}
		if b.Head != all[n-1].Head() {
			t.Errorf("AsOf(%d) is at %s; want %s", n, b.Head, all[n-1].Head())
		}
		wantSame(t, fmt.Sprintf("state as of %d", n), Dump(Replay(t, all[:n])), Dump(fold(t, b)))
	}
	b, err := l.AsOf(t.Context(), events.Point{Seq: uint64(len(all) + 9)})
	if err != nil || b.Head != all[len(all)-1].Head() {
		t.Errorf("AsOf beyond the head = %s, %v; want the head", b.Head, err)
	}
}

func asOfTime(t *testing.T, l events.Log) {
	all := Fill(t, l, 24)
	for n := 1; n <= len(all); n++ {
		if !all[n-1].Commit.Last() {
			continue
		}
		b, err := l.AsOf(t.Context(), events.Point{Time: time.UnixMilli(all[n-1].Time)})
		if err != nil || b.Head != all[n-1].Head() {
			t.Errorf("AsOf(time of %d) = %s, %v; want %s", n, b.Head, err, all[n-1].Head())
		}
		wantSame(t, fmt.Sprintf("state as of the time of %d", n), Dump(Replay(t, all[:n])), Dump(fold(t, b)))
	}
	for name, test := range map[string]struct {
		at   time.Time
		want uint64
	}{
		"before all":           {time.UnixMilli(all[0].Time - 1), 0},
		"now":                  {time.Now().Add(time.Hour), all[len(all)-1].Seq},
		"between milliseconds": {time.UnixMilli(all[0].Time).Add(999 * time.Microsecond), 1},
	} {
		b, err := l.AsOf(t.Context(), events.Point{Time: test.at})
		if err != nil || b.Head.Seq != test.want {
			t.Errorf("AsOf %s = %s, %v; want sequence %d", name, b.Head, err, test.want)
		}
	}
}

func asOfWithinCommit(t *testing.T, l events.Log) {
	one := Append(t, l, Head(t, l), Command("c1", Gate("a", 1, 0)))
	three := Append(t, l, one.Last, Command("c2", Gate("b", 1, 0), Gate("c", 1, 0), Gate("d", 1, 0)))
	for _, p := range []events.Point{{Seq: 2}, {Seq: 3}, {Time: time.UnixMilli(three.Envelopes[1].Time)}} {
		b, err := l.AsOf(t.Context(), p)
		if err != nil || b.Head != one.Last {
			t.Errorf("AsOf(%+v) = %s, %v; want %s", p, b.Head, err, one.Last)
		}
	}
	if b, err := l.AsOf(t.Context(), events.Point{Seq: 4}); err != nil || len(b.Entities) != 4 {
		t.Errorf("AsOf(4) has %d entities, %v; want 4", len(b.Entities), err)
	}
}

func history(t *testing.T, l events.Log) {
	all := Fill(t, l, 30)
	for _, id := range []string{"gate_g0", "gate_g3", "gate_shared"} {
		ref := flags.Ref{Kind: flags.KindGate, ID: id}
		var want []events.Envelope
		for _, e := range all {
			if e.Ref() == ref {
				want = append(want, e)
			}
		}
		wantSame(t, "History("+id+")", want, Collect(t, l.History(t.Context(), ref)))
	}
}

func follow(t *testing.T, l events.Log) {
	all := Fill(t, l, 8)
	middle := all[len(all)/2]
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	type follower struct {
		name string
		from events.Head
		got  chan events.Envelope
	}
	followers := []follower{
		{"from nothing", events.Head{}, make(chan events.Envelope, 100)},
		{"from the start", events.Head{LogID: middle.LogID}, make(chan events.Envelope, 100)},
		{"from the middle", middle.Head(), make(chan events.Envelope, 100)},
		{"from the head", all[len(all)-1].Head(), make(chan events.Envelope, 100)},
	}
	var wg sync.WaitGroup
	defer wg.Wait()
	defer cancel()
	for _, f := range followers {
		wg.Go(func() {
			for e, err := range l.Follow(ctx, f.from) {
				if err != nil {
					if ctx.Err() == nil {
						t.Errorf("Follow %s = %v", f.name, err)
					}
					return
				}
				f.got <- e
			}
		})
	}
	at := all[len(all)-1].Head()
	for i := range 5 {
		r := Append(t, l, at, Command(fmt.Sprintf("later-%d", i), Gate(fmt.Sprintf("l%d", i), 1, 0), Gate(fmt.Sprintf("m%d", i), 1, 0)))
		all, at = append(all, r.Envelopes...), r.Last
	}
	for _, f := range followers {
		for _, want := range all[f.from.Seq:] {
			select {
			case e := <-f.got:
				if e.Head() != want.Head() {
					t.Fatalf("Follow %s yields %s; want %s", f.name, e.Head(), want.Head())
				}
			case <-time.After(10 * time.Second):
				t.Fatalf("Follow %s does not yield %s", f.name, want.Head())
			}
		}
	}
}

func followElsewhere(t *testing.T, l events.Log) {
	head := Fill(t, l, 4)[3].Head()
	epoch, fork, beyond := head, head, head
	epoch.LogID = "another"
	fork.Hash[0] ^= 1
	beyond.Seq += 100
	for name, test := range map[string]struct {
		after events.Head
		want  error
	}{
		"another log":     {epoch, events.ErrEpoch},
		"another history": {fork, events.ErrFork},
		"a longer log":    {beyond, events.ErrFork},
	} {
		for e, err := range l.Follow(t.Context(), test.after) {
			if !errors.Is(err, test.want) {
				t.Errorf("Follow behind a position of %s yields %s, %v; want %v", name, e.Head(), err, test.want)
			}
			break
		}
	}
}

func followEnds(t *testing.T, l events.Log) {
	head := Fill(t, l, 2)[1].Head()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for e, err := range l.Follow(ctx, head) {
		if !errors.Is(err, context.Canceled) {
			t.Errorf("Follow of an ended context yields %s, %v; want its error", e.Head(), err)
		}
	}
}

func stopEarly(t *testing.T, l events.Log) {
	all := Fill(t, l, 6)
	for name, seq := range map[string]func(func(events.Envelope, error) bool){
		"Read":    l.Read(t.Context(), 1),
		"Follow":  l.Follow(t.Context(), events.Head{}),
		"History": l.History(t.Context(), all[0].Ref()),
	} {
		n := 0
		for e, err := range seq {
			if err != nil || e.Head() != all[0].Head() {
				t.Errorf("%s yields %s, %v; want %s", name, e.Head(), err, all[0].Head())
			}
			n++
			break
		}
		if n != 1 {
			t.Errorf("%s yields %d envelopes to a reader of one", name, n)
		}
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
