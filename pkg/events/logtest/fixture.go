package logtest

import (
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/sluice-flags/sluice/pkg/events"
	"github.com/sluice-flags/sluice/pkg/flags"
)

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
