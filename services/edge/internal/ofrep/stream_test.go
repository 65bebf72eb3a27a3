package ofrep

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	protocol "github.com/sluice-flags/sluice/internal/ofrep"
	"github.com/sluice-flags/sluice/pkg/flags"
	"github.com/sluice-flags/sluice/services/edge/internal/edgetest"
)

// A listener is a client of an event stream that reads all at once.
type listener struct {
	mu     sync.Mutex
	header http.Header
	status int
	text   strings.Builder
	ended  bool
	leave  context.CancelFunc
}

func (l *listener) Header() http.Header { return l.header }

func (l *listener) WriteHeader(status int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.status = status
}

func (l *listener) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.status == 0 {
		l.status = http.StatusOK
	}
	return l.text.Write(p)
}

func (l *listener) Flush() {}

// take returns what came since it was last asked, and whether the stream is
// over.
func (l *listener) take() (text string, ended bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	text = l.text.String()
	l.text.Reset()
	return text, l.ended
}

// ids are the events that came.
func (l *listener) ids() []string {
	text, _ := l.take()
	var out []string
	for _, found := range regexp.MustCompile(`(?m)^id: (\d+)$`).FindAllStringSubmatch(text, -1) {
		out = append(out, found[1])
	}
	return out
}

// address is where a key is told to listen.
func (w *world) address(key string) string {
	w.t.Helper()
	set, _ := w.all(key, ``)
	if len(set.EventStreams) != 1 {
		w.t.Fatalf("event streams %+v; want one", set.EventStreams)
	}
	return set.EventStreams[0].Endpoint.RequestURI
}

// listen opens a stream; it ends with the test.
func (w *world) listen(t testing.TB, address string, header ...string) *listener {
	t.Helper()
	ctx, leave := context.WithCancel(t.Context())
	l := &listener{header: http.Header{}, leave: leave}
	r := httptest.NewRequest("GET", address, nil).WithContext(ctx)
	for i := 0; i+1 < len(header); i += 2 {
		if header[i] == "" {
			r.RemoteAddr = header[i+1]
			continue
		}
		r.Header.Set(header[i], header[i+1])
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		w.mux.ServeHTTP(l, r)
		l.mu.Lock()
		defer l.mu.Unlock()
		l.ended = true
	}()
	t.Cleanup(func() { leave(); <-done })
	return l
}

// id is a sequence as events have it.
func id(seq uint64) string { return fmt.Sprint(seq) }

// settled lets changes become old, so that whoever comes has missed none.
func settled() { time.Sleep(recent + time.Second) }

func TestAStreamSpeaksWhenItsKeySeesAChange(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.Put(t, &flags.Segment{Name: "vips", UnitType: "userID", Rules: []flags.Rule{edgetest.Only("ann")}})
		vips := flags.Rule{ID: "vips", Name: "VIPs", PassPercentage: 100, Conditions: []flags.Condition{{Type: "passes_segment", TargetValue: json.RawMessage(`"vips"`)}}}
		w.Put(t, w.Gate("checkout", vips))
		hidden := w.Gate("hidden", edgetest.Everyone())
		hidden.ClientVisible = new(bool)
		w.Put(t, hidden)
		client, server := w.Key(t, flags.KeyClient), w.Key(t, flags.KeyServer)
		settled()
		page, service := w.listen(t, w.address(client)), w.listen(t, w.address(server))
		synctest.Wait()
		text, _ := page.take()
		if want := "retry: 3000\n\n"; page.status != 200 || text != want {
			t.Fatalf("a stream began with %d %q; want 200 %q", page.status, text, want)
		}
		for name, want := range map[string]string{"Content-Type": "text/event-stream", "Cache-Control": "no-store", "Access-Control-Allow-Origin": "*", "X-Accel-Buffering": "no"} {
			if got := page.header.Get(name); got != want {
				t.Errorf("%s: %q, want %q", name, got, want)
			}
		}
		service.take()

		hears := func(what string, seq uint64, wantPage, wantService bool) {
			t.Helper()
			time.Sleep(time.Second)
			for who, heard := range map[string]struct {
				got  []string
				want bool
			}{"client": {page.ids(), wantPage}, "server": {service.ids(), wantService}} {
				var want []string
				if heard.want {
					want = []string{id(seq)}
				}
				if !slices.Equal(heard.got, want) {
					t.Errorf("after %s the stream of a %s key has events %v; want %v", what, who, heard.got, want)
				}
			}
		}
		hears("a change of a flag", w.Put(t, w.Gate("checkout", edgetest.Everyone(), vips)), true, true)
		g := w.Gate("hidden", edgetest.Nobody())
		g.ClientVisible = new(bool)
		hears("a change of a flag for servers", w.Put(t, g), false, true)
		hears("a metric", w.Put(t, &flags.Metric{Name: "orders", Type: "event_count", Measure: flags.Measure{Event: "order"}}), false, false)
		e, _ := w.State().ByName(flags.KindSegment, "vips")
		segment := flags.Clone(e.Doc).(*flags.Segment)
		segment.Rules = []flags.Rule{edgetest.Only("bob")}
		hears("a change of what a flag asks", w.Put(t, segment), true, true)
		hears("a segment that nobody asks", w.Put(t, &flags.Segment{Name: "others", UnitType: "userID", Rules: []flags.Rule{edgetest.Only("x")}}), false, false)
		hears("a new flag", w.Put(t, w.Gate("new", edgetest.Everyone())), true, true)
		hears("a flag that is gone", w.Delete(t, flags.KindGate, "new"), true, true)
		hears("a hidden flag that is gone", w.Delete(t, flags.KindGate, "hidden"), false, true)
		hears("another key", func() uint64 { w.Key(t, flags.KeyClient); return 0 }(), false, false)

		w.Put(t, w.Gate("checkout", edgetest.Nobody()))
		time.Sleep(time.Second)
		text, _ = page.take()
		_, data, _ := strings.Cut(text, "data: ")
		data, _, _ = strings.Cut(data, "\n")
		var event protocol.Refetch
		if err := json.Unmarshal([]byte(data), &event); err != nil || !strings.Contains(text, "event: message\n") {
			t.Fatalf("event %q: %v", text, err)
		}
		want := protocol.Refetch{Type: "refetchEvaluation", ETag: "c" + id(w.State().Seq()), LastModified: w.State().Time() / 1000}
		if event != want {
			t.Errorf("event %+v, want %+v", event, want)
		}
	})
}

func TestBurstsAreOneEventEachQuarterOfASecond(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.Put(t, w.Gate("checkout", edgetest.Everyone()))
		key := w.Key(t, flags.KeyClient)
		settled()
		page := w.listen(t, w.address(key))
		synctest.Wait()
		var seqs []string
		for i := range 20 {
			r := edgetest.Everyone()
			r.PassPercentage = float64(i)
			seqs = append(seqs, id(w.Put(t, w.Gate("checkout", r))))
			time.Sleep(10 * time.Millisecond)
		}
		if got := page.ids(); !slices.Equal(got, seqs[:1]) {
			t.Errorf("within the burst: events %v, want the first change's %v alone", got, seqs[:1])
		}
		time.Sleep(coalesce)
		if got := page.ids(); !slices.Equal(got, seqs[19:]) {
			t.Errorf("after the burst: events %v, want the last change's %v alone", got, seqs[19:])
		}
	})
}

func TestWhoComesIsToldOfWhatTheyMayHaveMissed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.Put(t, w.Gate("checkout", edgetest.Everyone()))
		key := w.Key(t, flags.KeyClient)
		address := w.address(key)
		hears := func(what string, want []string, header ...string) {
			t.Helper()
			l := w.listen(t, address, header...)
			synctest.Wait()
			if got := l.ids(); !slices.Equal(got, want) {
				t.Errorf("%s: events %v, want %v", what, got, want)
			}
			l.leave()
			synctest.Wait()
		}
		before := w.Put(t, w.Gate("checkout", edgetest.Everyone()))
		last := w.Put(t, w.Gate("checkout", edgetest.Nobody()))
		hidden := w.Gate("hidden", edgetest.Everyone())
		hidden.ClientVisible = new(bool)
		after := w.Put(t, hidden)

		hears("a first visit just after a change", []string{id(last)})
		hears("a return from before it", []string{id(last)}, "Last-Event-ID", id(before))
		hears("a return from after it", nil, "Last-Event-ID", id(last))
		hears("a return from later", nil, "Last-Event-ID", id(after))
		hears("a return from nowhere", []string{id(last)}, "Last-Event-ID", "abc")
		settled()
		w.Put(t, &flags.Metric{Name: "orders", Type: "event_count", Measure: flags.Measure{Event: "order"}})
		again := w.Gate("hidden", edgetest.Nobody())
		again.ClientVisible = new(bool)
		w.Put(t, again)
		hears("a first visit long after it", nil)
		hears("a late return from before it", []string{id(last)}, "Last-Event-ID", id(before))
		gone := w.Delete(t, flags.KindGate, "checkout")
		hears("a visit after a flag has gone", []string{id(gone)})
	})
}

func TestTimeIsAChangeToo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		set := w.Put(t, w.Gate("launch", edgetest.After(time.Now().Add(time.Hour))))
		key := w.Key(t, flags.KeyClient)
		seq := w.State().Seq()
		settled()
		page := w.listen(t, w.address(key))
		time.Sleep(2 * time.Hour)
		if got := page.ids(); !slices.Equal(got, []string{id(seq)}) {
			t.Errorf("when time made a rule match: events %v, want %d", got, seq)
		}
		page.leave()
		synctest.Wait()
		late := w.listen(t, w.address(key), "Last-Event-ID", id(seq))
		synctest.Wait()
		if got := late.ids(); !slices.Equal(got, []string{id(set)}) {
			t.Errorf("a return from an unknown side of the moment: events %v, want %d", got, set)
		}
	})
}

func TestNobodyIsRefusedAStream(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, "other")
		w.Put(t, w.Gate("checkout", edgetest.Everyone()))
		key := w.Key(t, flags.KeyClient)
		good := w.address(key)
		doc := w.KeyOf(t, key)
		doc.Revoked = true
		w.Put(t, doc)
		forged := protocol.PathStream + "?ticket=" + ticketOf("shop", &flags.Key{ID: doc.ID, Hash: strings.Repeat("0", 64)})
		elsewhere := protocol.PathStream + "?ticket=" + ticketOf("nowhere", doc)
		addresses := map[string]string{
			"a ticket of a revoked key": good, "no ticket": protocol.PathStream, "a malformed ticket": protocol.PathStream + "?ticket=%00%00",
			"a forged ticket": forged, "a ticket of no project": elsewhere, "a very long ticket": protocol.PathStream + "?ticket=" + strings.Repeat("A", 5000),
		}
		quiet := map[string]*listener{}
		for name, address := range addresses {
			quiet[name] = w.listen(t, address, "", "192.0.2.1:1")
		}
		w.Put(t, w.Gate("checkout", edgetest.Nobody()))
		time.Sleep(2*heartbeat + time.Second)
		for name, l := range quiet {
			text, ended := l.take()
			if l.status != 200 || ended || strings.Contains(text, "data:") || strings.Count(text, ": still here") != 2 {
				t.Errorf("a stream for %s: %d %q, ended %v; want 200, two signs of life and nothing else", name, l.status, text, ended)
			}
		}
		for range quietEach - len(addresses) {
			w.listen(t, protocol.PathStream, "", "192.0.2.1:2")
		}
		synctest.Wait()
		surplus := w.listen(t, protocol.PathStream, "", "192.0.2.1:3")
		neighbour := w.listen(t, protocol.PathStream, "", "192.0.2.2:1")
		synctest.Wait()
		if text, ended := surplus.take(); !ended || surplus.status != 200 || text != "retry: 3000\n\n" {
			t.Errorf("one too many of an address: %d %q, ended %v; want 200, when to come back, and the end", surplus.status, text, ended)
		}
		if _, ended := neighbour.take(); ended {
			t.Error("another address was let go too")
		}
	})
}

func TestAKeyThatChangesChangesWhatItsStreamsHear(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.Put(t, &flags.Environment{Name: "staging"})
		w.Put(t, w.Gate("checkout", edgetest.Everyone()))
		moved, revoked, kept := w.Key(t, flags.KeyClient), w.Key(t, flags.KeyClient), w.Key(t, flags.KeyClient)
		settled()
		movedPage, revokedPage, keptPage := w.listen(t, w.address(moved)), w.listen(t, w.address(revoked)), w.listen(t, w.address(kept))
		before := w.address(moved)
		synctest.Wait()

		doc := w.KeyOf(t, moved)
		doc.Environments = []string{"staging"}
		seq := w.Put(t, doc)
		synctest.Wait()
		doc = w.KeyOf(t, revoked)
		doc.Revoked = true
		w.Put(t, doc)
		doc = w.KeyOf(t, kept)
		doc.Description = "of the shop"
		w.Put(t, doc)
		time.Sleep(time.Second)
		flip := w.Put(t, w.Gate("checkout", edgetest.Nobody()))
		time.Sleep(time.Second)
		if got := movedPage.ids(); !slices.Equal(got, []string{id(seq)}) {
			t.Errorf("a key for another environment: events %v, want %d: what it sees has changed", got, seq)
		}
		if w.address(moved) == before {
			t.Error("a key for another environment has the same stream")
		}
		if got := revokedPage.ids(); got != nil {
			t.Errorf("a revoked key hears %v", got)
		}
		if got := keptPage.ids(); !slices.Equal(got, []string{id(flip)}) {
			t.Errorf("a key with another description: events %v, want %d", got, flip)
		}
	})
}

func TestAStreamHearsOnceItsProjectCanBeAsked(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.Put(t, w.Gate("checkout", edgetest.Everyone()))
		address := w.address(w.Key(t, flags.KeyClient))
		settled()
		w.down.Store(true)
		page := w.listen(t, address)
		synctest.Wait()
		w.down.Store(false)
		time.Sleep(heartbeat)
		seq := w.Put(t, w.Gate("checkout", edgetest.Nobody()))
		time.Sleep(time.Second)
		if got := page.ids(); !slices.Contains(got, id(seq)) {
			t.Errorf("after the project came back: events %v, want %d among them", got, seq)
		}
	})
}

func TestStreamsEndSoonWhenTheEdgeDoes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		address := w.address(w.Key(t, flags.KeyClient))
		var pages []*listener
		for range 20 {
			pages = append(pages, w.listen(t, address))
		}
		synctest.Wait()
		w.api.Goodbye()
		time.Sleep(3 * time.Second)
		synctest.Wait()
		for _, p := range pages {
			if _, ended := p.take(); !ended {
				t.Fatal("a stream goes on 3 s after the goodbye")
			}
		}
		late := w.listen(t, address)
		synctest.Wait()
		if _, ended := late.take(); !ended || late.status != 200 {
			t.Errorf("a stream after the goodbye: %d, ended %v; want 200 and the end", late.status, ended)
		}
	})
}

func TestATicketIsTheSameForAKeyWhateverHappens(t *testing.T) {
	w := newWorld(t)
	key := w.Key(t, flags.KeyClient)
	address := w.address(key)
	if again := w.address(key); again != address {
		t.Errorf("address %s, then %s; clients would drop the stream", address, again)
	}
	doc := w.KeyOf(t, key)
	doc.Name = "renamed"
	w.Put(t, doc)
	w.Put(t, w.Gate("checkout", edgetest.Everyone()))
	another := New(Deps{Gate: w.api.gate, State: w.api.streams.state}, Options{}) // a restart, or another edge
	w.mux = http.NewServeMux()
	another.Register(w.mux)
	if again := w.address(key); again != address {
		t.Errorf("another edge says %s, want %s", again, address)
	}
	if w.address(w.Key(t, flags.KeyClient)) == address {
		t.Error("two keys have one stream")
	}
	if strings.Contains(address, key) {
		t.Error("the key stands in the address")
	}
}

func TestThePublicAddressIsPartOfTheStreams(t *testing.T) {
	for text, want := range map[string]protocol.Endpoint{
		"":                                 {RequestURI: protocol.PathStream + "?ticket=t"},
		"https://flags.example":            {Origin: "https://flags.example", RequestURI: protocol.PathStream + "?ticket=t"},
		"https://flags.example:8443/a%20b": {Origin: "https://flags.example:8443", RequestURI: "/a%20b" + protocol.PathStream + "?ticket=t"},
	} {
		if diff := cmp.Diff(want, publicOf(text).streams("t")[0].Endpoint); diff != "" {
			t.Errorf("streams at %q (-want +got):\n%s", text, diff)
		}
	}
}

func TestAChangeWakesNoStreamOfAnotherProject(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const projects, each = 10, 1_000
		var names []string
		for i := range projects - 1 {
			names = append(names, fmt.Sprintf("project%d", i))
		}
		w := newWorld(t, names...)
		pages := map[string][]*listener{}
		for name, p := range w.projects {
			p.Put(t, p.Gate("checkout", edgetest.Everyone()))
			address := w.address(p.Key(t, flags.KeyClient))
			w.address(p.Key(t, flags.KeyClient))
			pages[name] = nil
			settled()
			for range each {
				pages[name] = append(pages[name], w.listen(t, address))
			}
		}
		synctest.Wait()
		if got := w.api.streams.open; got != projects*each {
			t.Fatalf("%d streams are open, want %d", got, projects*each)
		}
		for _, list := range pages {
			for _, l := range list {
				l.take()
			}
		}
		seq := w.Put(t, w.Gate("checkout", edgetest.Nobody()))
		synctest.Wait()
		for name, list := range pages {
			told := 0
			for _, l := range list {
				if got := l.ids(); slices.Equal(got, []string{id(seq)}) {
					told++
				}
			}
			if want := map[bool]int{true: each}[name == "shop"]; told != want {
				t.Errorf("%d streams of %s were told of a change of shop, want %d", told, name, want)
			}
		}
	})
}
