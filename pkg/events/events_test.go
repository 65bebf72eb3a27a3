package events_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/sluice-flags/sluice/pkg/events"
	"github.com/sluice-flags/sluice/pkg/events/logtest"
	"github.com/sluice-flags/sluice/pkg/flags"
)

// sealed is a chain of n envelopes over a few gates.
func sealed(t testing.TB, n int) []events.Envelope {
	t.Helper()
	at := events.Head{LogID: "0123456789abcdef0123456789abcdef"}
	var all []events.Envelope
	for i := range n {
		id := string(rune('a' + i%3))
		draft := logtest.Gate(id, uint64(i/3+1), 0)
		if i >= 3 {
			draft.Created = all[i%3].Created
		}
		commit, err := events.Plan(at, 1_700_000_000_000+int64(i)*10, logtest.Command("c"+string(rune('0'+i)), draft))
		if err != nil {
			t.Fatal(err)
		}
		all, at = append(all, commit...), commit[0].Head()
	}
	return all
}

func encode(t testing.TB, e events.Envelope) []byte {
	t.Helper()
	body, err := e.Encode()
	if err != nil {
		t.Fatal(err)
	}
	return body
}

// golden is where messages are kept that must be readable for ever.
const golden = "../../schemas/events"

func TestGoldenMessagesDecodeForEver(t *testing.T) {
	paths, err := filepath.Glob(filepath.Join(golden, "envelope.v*.*.json"))
	if err != nil || len(paths) < 3 {
		t.Fatalf("golden messages: %q, %v; want some", paths, err)
	}
	at := events.Head{LogID: "5f0c6a1e9d3b47288c1f2a7be4d90356"}
	for i, path := range paths {
		body, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		body = bytes.TrimSuffix(body, []byte("\n"))
		e, err := events.Decode(uint64(i+1), body)
		if err != nil {
			t.Errorf("Decode(%s) = %v", path, err)
			continue
		}
		if err := events.Verify(at, e); err != nil {
			t.Errorf("Verify(%s) = %v", path, err)
		}
		if again := encode(t, e); !bytes.Equal(again, body) {
			t.Errorf("%s encodes as %s", path, again)
		}
		if err := e.Readable(); err != nil {
			t.Errorf("%s: %v", path, err)
		}
		at = e.Head()
	}
}

func TestTheHashCoversTheMessageWithoutItsLastMember(t *testing.T) {
	for _, e := range sealed(t, 4) {
		body := encode(t, e)
		const member = len(`,"hash":""}`) + 2*sha256.Size
		cut := append(bytes.Clone(body[:len(body)-member]), '}')
		want := sha256.Sum256(cut)
		if e.Hash != events.Hash(want) || !strings.HasSuffix(string(body), `,"hash":"`+hex.EncodeToString(want[:])+`"}`) {
			t.Errorf("hash of %d is %s; SHA-256 of %s is %x", e.Seq, e.Hash, cut, want)
		}
	}
}

func TestDecodeGivesBackWhatWasEncoded(t *testing.T) {
	for _, e := range sealed(t, 6) {
		got, err := events.Decode(e.Seq, encode(t, e))
		if diff := cmp.Diff(e, got); err != nil || diff != "" {
			t.Errorf("Decode(Encode(%d)) = %v: -want +got:\n%s", e.Seq, err, diff)
		}
	}
}

func TestDecodeRefusesAllButCanonicalBytes(t *testing.T) {
	e := sealed(t, 1)[0]
	body := string(encode(t, e))
	replace := func(old, new string) string {
		if !strings.Contains(body, old) {
			t.Fatalf("%q is not in %s", old, body)
		}
		return strings.Replace(body, old, new, 1)
	}
	for _, test := range []struct {
		name string
		seq  uint64
		body string
		want error
	}{
		{"nothing", 1, "", events.ErrCorrupt},
		{"not JSON", 1, "junk", events.ErrCorrupt},
		{"null", 1, "null", events.ErrCorrupt},
		{"cut short", 1, body[:len(body)-1], events.ErrCorrupt},
		{"more behind it", 1, body + "{}", events.ErrCorrupt},
		{"a space", 1, replace(`,"time"`, `, "time"`), events.ErrCorrupt},
		{"another order", 1, replace(`{"schema":1,`, `{`), events.ErrCorrupt},
		{"an unknown member", 1, replace(`{"schema":1,`, `{"schema":1,"extra":0,`), events.ErrCorrupt},
		{"a member twice", 1, replace(`"seq":1,`, `"seq":1,"seq":1,`), events.ErrCorrupt},
		{"another case", 1, replace(`"seq":1`, `"Seq":1`), events.ErrCorrupt},
		{"an escape", 1, replace(`"reason":"b`, `"reason":"\u0062`), events.ErrCorrupt},
		{"another value", 1, replace(`"reason":"because`, `"reason":"Because`), events.ErrCorrupt},
		{"another position", 2, body, events.ErrCorrupt},
		{"another hash", 1, replace(`"hash":"`, `"hash":"00`), events.ErrCorrupt},
		{"too long", 1, strings.Repeat(" ", events.MaxMessage+1), events.ErrCorrupt},
		{"a later schema", 1, replace(`"schema":1`, `"schema":2`), events.ErrSchema},
		{"a later schema of another shape", 1, `{"schema":7,"seq":"one"}`, events.ErrSchema},
		{"no schema", 1, replace(`"schema":1`, `"schema":0`), events.ErrCorrupt},
	} {
		if _, err := events.Decode(test.seq, []byte(test.body)); !errors.Is(err, test.want) {
			t.Errorf("Decode of %s = %v; want %v", test.name, err, test.want)
		}
	}
}

func TestEveryChangedByteIsNoticed(t *testing.T) {
	e := sealed(t, 2)[1]
	body := encode(t, e)
	for at := range body {
		bad := bytes.Clone(body)
		bad[at] ^= 1
		if got, err := events.Decode(e.Seq, bad); err == nil {
			t.Errorf("Decode with byte %d (%q) changed = %+v; want an error", at, body[at], got)
		}
	}
}

func TestVerify(t *testing.T) {
	all := sealed(t, 4)
	change := func(e events.Envelope, f func(*events.Envelope)) events.Envelope {
		f(&e)
		return e
	}
	resealed := func(prev events.Head, e events.Envelope) events.Envelope {
		out, err := events.Seal(prev, e)
		if err != nil {
			t.Fatal(err)
		}
		return out
	}
	forked := all[1].Head()
	forked.Hash[3] ^= 4
	other := all[1].Head()
	other.LogID = "other"
	for _, test := range []struct {
		name string
		prev events.Head
		e    events.Envelope
		want error
	}{
		{"the next one", all[1].Head(), all[2], nil},
		{"the first one", events.Head{LogID: all[0].LogID}, all[0], nil},
		{"one later", all[1].Head(), all[3], events.ErrGap},
		{"the same again", all[2].Head(), all[2], events.ErrFork},
		{"an earlier one", all[2].Head(), all[0], events.ErrFork},
		{"one of another log", all[1].Head(), resealed(other, all[2]), events.ErrEpoch},
		{"one of another history", all[1].Head(), resealed(forked, all[2]), events.ErrFork},
		{"a changed reason", all[1].Head(), change(all[2], func(e *events.Envelope) { e.Reason += "!" }), events.ErrCorrupt},
		{"a changed document", all[1].Head(), change(all[2], func(e *events.Envelope) { e.Document = []byte(`{}`) }), events.ErrCorrupt},
		{"a changed actor", all[1].Head(), change(all[2], func(e *events.Envelope) { e.Actor.ID = "me" }), events.ErrCorrupt},
		{"a changed operation", all[1].Head(), change(all[2], func(e *events.Envelope) { e.Operations = nil }), events.ErrCorrupt},
		{"a changed time", all[1].Head(), change(all[2], func(e *events.Envelope) { e.Time++ }), events.ErrCorrupt},
	} {
		if err := events.Verify(test.prev, test.e); !errors.Is(err, test.want) {
			t.Errorf("Verify of %s = %v; want %v", test.name, err, test.want)
		}
	}
}

func TestTimesRiseWhateverTheClockDoes(t *testing.T) {
	at := events.Head{LogID: "log", Seq: 7, Time: 1000}
	for now, want := range map[int64]int64{999: 1001, 1000: 1001, 1001: 1001, 5000: 5000} {
		commit, err := events.Plan(at, now, logtest.Command("c", logtest.Gate("a", 1, 0), logtest.Gate("b", 1, 0)))
		if err != nil || commit[0].Time != want || commit[1].Time != want+1 {
			t.Errorf("Plan at %d with the clock at %d: times %d, %d, %v; want %d, %d",
				at.Time, now, commit[0].Time, commit[1].Time, err, want, want+1)
		}
	}
}

func TestApply(t *testing.T) {
	all := sealed(t, 6)
	at3 := logtest.Replay(t, all[:3])
	other := all[3]
	other.LogID = "other"
	alien := all[3]
	alien.Kind = "webhook"
	broken := all[3]
	broken.Document = []byte(`{"name":7}`)
	for _, test := range []struct {
		name string
		e    events.Envelope
		want uint64
		err  error
	}{
		{"next in line is folded", all[3], 4, nil},
		{"redelivery changes nothing", all[2], 3, nil},
		{"what is long known changes nothing", all[0], 3, nil},
		{"a hole in the log is refused", all[4], 3, events.ErrGap},
		{"another log is refused", other, 3, events.ErrEpoch},
		{"an unknown kind is refused", alien, 3, events.ErrUnreadable},
		{"an unreadable document is refused", broken, 3, events.ErrUnreadable},
	} {
		before := logtest.Dump(at3)
		got, err := events.Apply(at3, test.e)
		if got.Seq() != test.want || !errors.Is(err, test.err) {
			t.Errorf("%s: Apply(3, %d) = %d, %v; want %d, %v", test.name, test.e.Seq, got.Seq(), err, test.want, test.err)
		}
		if diff := cmp.Diff(before, logtest.Dump(at3)); diff != "" {
			t.Errorf("%s: Apply changed the state that it was given:\n%s", test.name, diff)
		}
	}
}

func TestFoldOfAnyBootEqualsReplay(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		at := events.Head{LogID: "log"}
		type life struct {
			version uint64
			created int64
			gone    bool
		}
		lives := map[string]*life{}
		last := map[flags.Ref]events.Envelope{}
		var all []events.Envelope
		for i := range rapid.IntRange(0, 25).Draw(rt, "commits") {
			var drafts []events.Draft
			for _, id := range rapid.SliceOfNDistinct(rapid.SampledFrom([]string{"a", "b", "c", "d"}), 1, 3, rapid.ID[string]).Draw(rt, "ids") {
				l := lives[id]
				if l == nil {
					l = &life{}
					lives[id] = l
				}
				if l.gone {
					continue
				}
				l.version++
				d := logtest.Gate(id, l.version, l.created)
				if l.version > 1 && rapid.IntRange(0, 5).Draw(rt, "delete") == 0 {
					d.Document, d.Name, l.gone = nil, id, true
				}
				drafts = append(drafts, d)
			}
			if drafts == nil {
				continue
			}
			commit, err := events.Plan(at, int64(rapid.IntRange(1, 100).Draw(rt, "clock")), logtest.Command("c"+string(rune('0'+i)), drafts...))
			if err != nil {
				rt.Fatal(err)
			}
			for _, e := range commit {
				lives[strings.TrimPrefix(e.Entity, "gate_")].created = e.Created
				last[e.Ref()] = e
			}
			all, at = append(all, commit...), commit[len(commit)-1].Head()
		}
		boot := events.Boot{Head: at}
		for _, e := range all {
			if last[e.Ref()].Seq == e.Seq {
				boot.Entities = append(boot.Entities, e)
			}
		}
		folded, err := events.Fold("test", boot)
		if err != nil {
			rt.Fatal(err)
		}
		replayed := flags.NewState("test").With(flags.Position{LogID: "log"})
		for _, e := range all {
			if replayed, err = events.Apply(replayed, e); err != nil {
				rt.Fatal(err)
			}
		}
		if diff := cmp.Diff(logtest.Dump(replayed), logtest.Dump(folded)); diff != "" {
			rt.Errorf("boot differs from replay: -replay +boot:\n%s", diff)
		}
	})
}

func FuzzDecode(f *testing.F) {
	for _, e := range sealed(f, 3) {
		f.Add(e.Seq, encode(f, e))
	}
	f.Add(uint64(1), []byte(`{}`))
	f.Add(uint64(0), []byte(`{"schema":2}`))
	f.Add(uint64(1), []byte(`{"schema":1,"document":null,"operations":[{}],"hash":""}`))
	paths, err := filepath.Glob(filepath.Join(golden, "envelope.v*.*.json"))
	if err != nil {
		f.Fatal(err)
	}
	for i, path := range paths {
		body, err := os.ReadFile(path)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(uint64(i+1), bytes.TrimSuffix(body, []byte("\n")))
	}
	f.Fuzz(func(t *testing.T, seq uint64, body []byte) {
		e, err := events.Decode(seq, body)
		if err != nil {
			return
		}
		if e.Seq != seq {
			t.Errorf("Decode(%d) accepts an envelope of %d", seq, e.Seq)
		}
		if again := encode(t, e); !bytes.Equal(again, body) {
			t.Errorf("Decode accepts %q, which is written as %q", body, again)
		}
	})
}

func BenchmarkDecode(b *testing.B) {
	e := sealed(b, 1)[0]
	body := encode(b, e)
	b.SetBytes(int64(len(body)))
	for b.Loop() {
		if _, err := events.Decode(1, body); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkVerify(b *testing.B) {
	e := sealed(b, 1)[0]
	prev := events.Head{LogID: e.LogID}
	for b.Loop() {
		if err := events.Verify(prev, e); err != nil {
			b.Fatal(err)
		}
	}
}
