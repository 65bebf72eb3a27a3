package logtest

import (
	"fmt"
	"testing"
	"time"

	"github.com/sluice-flags/sluice/pkg/events"
	"github.com/sluice-flags/sluice/pkg/flags"
)

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
