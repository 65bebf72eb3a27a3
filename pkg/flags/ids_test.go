package flags_test

import (
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/sluice-flags/sluice/pkg/eval"
	"github.com/sluice-flags/sluice/pkg/flags"
)

// list returns the id list of the segment s, making the segment first.
func (p *project) list(unitType string) *flags.IDList {
	p.t.Helper()
	e, ok := p.state.ByName(flags.KindSegment, "s")
	if !ok {
		p.put(flags.KindSegment, fmt.Sprintf(`{"name":"s","type":"idList","unitType":%q,"rules":[]}`, unitType))
		e, _ = p.state.ByName(flags.KindSegment, "s")
	}
	l, ok := p.state.IDList(e.Ref)
	if !ok {
		p.t.Fatalf("IDList(%s) is none", e.Ref)
	}
	return l
}

// land writes an edit as one commit and returns what changed.
func (p *project) land(edit flags.IDEdit, problems flags.Problems) (changed []flags.Ref) {
	p.t.Helper()
	if len(problems) > 0 {
		p.t.Fatalf("editing the list: %v", problems)
	}
	for _, b := range edit.Batches {
		if problems := flags.Validate(p.state, b); len(problems) > 0 {
			p.t.Fatalf("Validate(%s) = %v", b.ID, problems)
		}
		p.write(b)
		changed = append(changed, b.Ref())
	}
	return changed
}

// edits makes changes of texts such as "+u1" and "-u2".
func edits(texts ...string) *flags.IDChanges {
	c := new(flags.IDChanges)
	for _, text := range texts {
		if text[0] == '+' {
			c.Add(text[1:])
		} else {
			c.Remove(text[1:])
		}
	}
	return c
}

// numbered is the ids u<from> to u<to-1>, put in.
func numbered(from, to int) *flags.IDChanges {
	c := new(flags.IDChanges)
	for i := range to - from {
		c.Add(fmt.Sprint("u", from+i))
	}
	return c
}

func file(t fatal, l *flags.IDList, from int64) string {
	t.Helper()
	text, err := io.ReadAll(io.NewSectionReader(l, from, l.Size()-from))
	if err != nil {
		t.Fatalf("reading the file from %d: %v", from, err)
	}
	return string(text)
}

func TestAnIDListIsAGateOfItsUnitType(t *testing.T) {
	p := newProject(t)
	l := p.list("accountID")
	p.put(flags.KindGate, when("g", `{"type":"passes_segment","targetValue":"s"}`))
	p.land(l.Edit(edits("+a", "+b", "-b", "+a"), 5))
	l = p.list("")

	specs := flags.Lower(p.state, flags.Scope{Kind: flags.KeyServer})
	if diff := cmp.Diff(map[string]bool{l.Name(): true}, specs.IDLists); diff != "" {
		t.Errorf("Lower().IDLists differs (-want +got):\n%s", diff)
	}
	lists := map[string]*eval.IDList{}
	for name, l := range flags.IDLists(p.state, flags.Scope{Kind: flags.KeyServer}) {
		lists[name] = l.Members()
	}
	rules := eval.Compile(specs, eval.Options{IDLists: lists})
	for id, want := range map[string]bool{"a": true, "b": false} {
		u := &eval.User{UserID: "x", CustomIDs: map[string]string{"accountID": id}}
		if got := rules.Gate(u, "g").Pass; got != want {
			t.Errorf("gate of account %s = %v, want %v", id, got, want)
		}
		if got := rules.Gate(&eval.User{UserID: id}, "g").Pass; got {
			t.Errorf("gate of user %s = true; the list is of accounts", id)
		}
	}
	if l.Has("b") || !l.Has("a") || l.Members().Len() != 1 {
		t.Errorf("the list has a: %v, b: %v, %d members; want a alone", l.Has("a"), l.Has("b"), l.Members().Len())
	}
}

func TestASegmentStaysWhatItIs(t *testing.T) {
	p := newProject(t)
	l := p.list("userID")
	for _, body := range []string{`"type":"rules"`, `"type":"idList","rules":[{"passPercentage":100,"conditions":[]}]`, `"type":"both"`} {
		if _, problems := p.try(flags.KindSegment, fmt.Sprintf(`{"id":%q,"name":"s",%s}`, l.Name(), body+strings.Repeat(`,"rules":[]`, 1-strings.Count(body, "rules\":")))); len(problems) == 0 {
			t.Errorf("a segment that becomes %s is lawful; want a problem", body)
		}
	}
}

// What is economical about a list: adding one id writes a batch of bounded size,
// whatever the list has, and says what came.
func TestAddingOneIDWritesASmallBatch(t *testing.T) {
	p := newProject(t)
	p.land(p.list("userID").Edit(numbered(0, 23_000), 1))
	before := p.list("")
	edit, problems := before.Edit(edits("+new", "+u7", "-nobody"), 2)
	if len(problems) > 0 || len(edit.Batches) != 1 || edit.Added != 1 || edit.Removed != 0 || edit.Count != 23_001 {
		t.Fatalf("Edit(one new id) = %+v, %v; want one batch, one added, 23,001 in all", edit, problems)
	}
	if n := len(edit.Batches[0].Changes); n > 1000*9 {
		t.Errorf("the batch has %d bytes of changes; want at most 9,000", n)
	}
	p.land(edit, nil)
	after := p.list("")
	if got, want := file(t, after, before.Size()), "+"+eval.HashID("new")+"\n"; got != want || after.FileID() != before.FileID() {
		t.Errorf("the file goes on with %q, want %q", got, want)
	}
	if again, _ := after.Edit(edits("+new"), 3); len(again.Batches) != 0 {
		t.Errorf("adding a member again writes %d batches, want none", len(again.Batches))
	}
}

func TestAListOfMostlyHistoryIsRewritten(t *testing.T) {
	p := newProject(t)
	p.land(p.list("userID").Edit(numbered(0, 12_000), 1))
	first := p.list("")
	edit, problems := first.Replace(numbered(11_000, 11_500), 2)
	if !edit.Rewritten || edit.Removed != 11_500 || edit.Added != 0 || edit.Count != 500 {
		t.Fatalf("Replace(few of many) rewritten %v, +%d -%d = %d, %v; want rewritten, +0 -11500 = 500", edit.Rewritten, edit.Added, edit.Removed, edit.Count, problems)
	}
	p.land(edit, problems)
	second := p.list("")
	if second.Size() != 5000 || second.FileID() == first.FileID() || second.Created() <= first.Created() || second.Batches() != 1 {
		t.Errorf("the file is %s of %d bytes in %d batches, begun %d; want another than %s, 5,000 bytes in 1, after %d",
			second.FileID(), second.Size(), second.Batches(), second.Created(), first.FileID(), first.Created())
	}
	p.land(second.Edit(numbered(500, 16_000), 2)) // takes up the emptied batches
	if third := p.list(""); third.Members().Len() != 15_500+500-500 || third.FileID() != second.FileID() {
		t.Errorf("after adding there are %d members in %s", third.Members().Len(), third.FileID())
	}
}

func TestTooManyIDsAreRefused(t *testing.T) {
	p := newProject(t)
	l := p.list("userID")
	c := numbered(0, flags.MaxIDs+1)
	if _, problems := l.Edit(c, 1); len(problems) != 1 || problems[0].Code != flags.CodeTooLarge {
		t.Errorf("Edit(%d ids) = %v; want too-large", c.Len(), problems)
	}
	if _, problems := l.Replace(c, 1); len(problems) != 1 || problems[0].Code != flags.CodeTooLarge {
		t.Errorf("Replace(%d ids) = %v; want too-large", c.Len(), problems)
	}
}

// reader follows a list as Statsig's SDKs do.
type reader struct {
	fileID  string
	created int64
	read    int64
	members map[string]bool
}

func (r *reader) sync(t fatal, l *flags.IDList, most int64) {
	t.Helper()
	switch {
	case l.Created() < r.created:
		t.Fatalf("the time of creation fell from %d to %d", r.created, l.Created())
	case r.fileID != l.FileID():
		*r = reader{fileID: l.FileID(), created: l.Created(), members: map[string]bool{}}
	case l.Size() < r.read:
		t.Fatalf("file %s shrank from %d to %d", r.fileID, r.read, l.Size())
	}
	end := min(l.Size(), r.read+most*10)
	text, err := io.ReadAll(io.NewSectionReader(l, r.read, end-r.read))
	if err != nil || int64(len(text)) != end-r.read {
		t.Fatalf("reading %d to %d gave %d bytes, %v", r.read, end, len(text), err)
	}
	for line := range strings.Lines(string(text)) {
		if len(line) != 10 || line[9] != '\n' || line[0] != '+' && line[0] != '-' {
			t.Fatalf("file %s has the line %q", r.fileID, line)
		}
		if line[0] == '+' {
			r.members[line[1:9]] = true
		} else {
			delete(r.members, line[1:9])
		}
	}
	r.read = end
}

// Readers that begin and stop anywhere, the members that are worked out from one
// change to the next, those of a state made at once, and a model all agree.
func TestWhoeverReadsAListEndsWithTheSameMembers(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p := newProject(t)
		model := map[string]bool{}
		readers := make([]reader, 3)
		scope := flags.Scope{Kind: flags.KeyServer}
		p.list("userID")
		p.put(flags.KindGate, when("g", `{"type":"passes_segment","targetValue":"s"}`))
		rules := eval.Compile(flags.Lower(p.state, scope), eval.Options{})
		for range rapid.IntRange(1, 12).Draw(t, "steps") {
			before, l := p.state, p.list("")
			c := new(flags.IDChanges)
			first, n := rapid.IntRange(0, 9000).Draw(t, "first"), rapid.SampledFrom([]int{0, 1, 7, 900, 6000}).Draw(t, "n")
			kind := rapid.SampledFrom([]string{"add", "remove", "both", "replace"}).Draw(t, "kind")
			var edit flags.IDEdit
			var problems flags.Problems
			if kind == "replace" {
				clear(model)
			}
			for i := first; i < first+n; i++ {
				id := fmt.Sprint("u", i)
				if kind == "remove" || kind == "both" && i%3 == 0 {
					c.Remove(id)
					delete(model, eval.HashID(id))
				} else {
					c.Add(id)
					model[eval.HashID(id)] = true
				}
			}
			now := int64(rapid.IntRange(0, 5).Draw(t, "now")) // clocks of writers differ
			if kind == "replace" {
				edit, problems = l.Replace(c, now)
			} else {
				edit, problems = l.Edit(c, now)
			}
			changed := p.land(edit, problems)
			rules = rules.Apply(flags.LowerChange(before, p.state, changed, scope))
			l = p.list("")
			if edit.Count != len(model) {
				t.Fatalf("%s of %d ids says that there are %d, want %d", kind, n, edit.Count, len(model))
			}
			if rapid.Bool().Draw(t, "look") {
				if got := l.Members().Len(); got != len(model) {
					t.Fatalf("after %s of %d ids from u%d there are %d members, want %d", kind, n, first, got, len(model))
				}
			}
			for i := range readers {
				if rapid.Bool().Draw(t, "sync") {
					readers[i].sync(t, l, int64(rapid.SampledFrom([]int{1, 100, 1 << 30}).Draw(t, "most")))
				}
			}
		}
		l := p.list("")
		want := slices.Sorted(maps.Keys(model))
		if got := slices.Sorted(l.Members().All); !slices.Equal(want, got) {
			t.Fatalf("members differ (-want +got):\n%s", cmp.Diff(want, got))
		}
		for i := range readers {
			readers[i].sync(t, l, 1<<30)
			if got := slices.Sorted(maps.Keys(readers[i].members)); !slices.Equal(want, got) {
				t.Fatalf("reader %d ended with others (-want +got):\n%s", i, cmp.Diff(want, got))
			}
		}
		for range 20 {
			id := fmt.Sprint("u", rapid.IntRange(0, 15_000).Draw(t, "asked"))
			if got := rules.Gate(user(id), "g").Pass; got != model[eval.HashID(id)] {
				t.Fatalf("the gate of %s is %v, want %v", id, got, !got)
			}
		}
		all := rapid.Permutation(slices.Collect(p.state.Entities())).Draw(t, "order")
		p.state = flags.NewState("demo").With(p.state.Position(), all...)
		again := p.list("")
		if again.FileID() != l.FileID() || again.Seq() != l.Seq() || file(t, again, 0) != file(t, l, 0) {
			t.Fatalf("read at once the list is %s with %d bytes at %d, one by one %s with %d at %d",
				again.FileID(), again.Size(), again.Seq(), l.FileID(), l.Size(), l.Seq())
		}
	})
}

func TestAnyPartOfTheFileCanBeRead(t *testing.T) {
	p := newProject(t)
	p.land(p.list("userID").Edit(numbered(0, 12_345), 1))
	l := p.list("")
	whole := file(t, l, 0)
	rapid.Check(t, func(t *rapid.T) {
		from := rapid.IntRange(0, len(whole)).Draw(t, "from")
		n := rapid.IntRange(0, 60_000).Draw(t, "n")
		got := make([]byte, n)
		read, err := l.ReadAt(got, int64(from))
		want := whole[from:min(from+n, len(whole))]
		if string(got[:read]) != want || errors.Is(err, io.EOF) != (from+n > len(whole)) {
			t.Fatalf("ReadAt(%d bytes, %d) = %d, %v; want %d", n, from, read, err, len(want))
		}
	})
}

func TestAChangeOfAListTouchesTheListAlone(t *testing.T) {
	p := newProject(t)
	l := p.list("userID")
	before := p.state
	changed := p.land(l.Edit(edits("+a"), 1))
	change := flags.LowerChange(before, p.state, changed, flags.Scope{Kind: flags.KeyServer})
	if len(change.Set)+len(change.Delete) > 0 || len(change.IDLists) != 1 || change.IDLists[l.Name()].Len() != 1 {
		t.Errorf("LowerChange() = %+v; want one list of one member", change)
	}
	before = p.state
	refs := append(p.state.BatchRefs(flags.Ref{Kind: flags.KindSegment, ID: l.Name()}), flags.Ref{Kind: flags.KindSegment, ID: l.Name()})
	for _, ref := range refs {
		p.remove(ref)
	}
	change = flags.LowerChange(before, p.state, refs, flags.Scope{Kind: flags.KeyServer})
	if !slices.Equal(change.DeleteIDLists, []string{l.Name()}) || len(change.Delete) != 1 {
		t.Errorf("LowerChange(deleted) = %+v; want the list and the spec gone", change)
	}
}

func BenchmarkIDList(b *testing.B) {
	const n = 200_000
	p := newProject(b)
	list := p.list("userID")
	changes := numbered(0, n)
	b.Run("load 200,000 ids", func(b *testing.B) {
		for b.Loop() {
			if _, problems := list.Edit(changes, 1); len(problems) > 0 {
				b.Fatal(problems)
			}
		}
	})
	p.land(list.Edit(changes, 1))
	before := p.list("")
	entities := slices.Collect(p.state.Entities())
	b.Run("boot with 200,000 ids", func(b *testing.B) {
		for b.Loop() {
			s := flags.NewState("demo").With(p.state.Position(), entities...)
			l, _ := s.IDList(flags.Ref{Kind: flags.KindSegment, ID: before.Name()})
			if l.Members().Len() != n {
				b.Fatal("not all there")
			}
		}
	})
	before.Members()
	b.Run("add one of 200,000", func(b *testing.B) {
		for i := 0; b.Loop(); i++ {
			edit, _ := before.Edit(edits(fmt.Sprint("+new", i)), 2)
			s := p.state.Put(p.next(edit.Batches[0]))
			l, _ := s.IDList(flags.Ref{Kind: flags.KindSegment, ID: before.Name()})
			if l.Members().Len() != n+1 {
				b.Fatal("not one more")
			}
		}
	})
}
