package ingest_test

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/sluice-flags/sluice/internal/bus"
	"github.com/sluice-flags/sluice/internal/bus/facts"
	"github.com/sluice-flags/sluice/internal/warehouse"
	"github.com/sluice-flags/sluice/internal/warehouse/warehousetest"
)

// Three processes get the same facts ten times, at once and one after another,
// and once more when nobody who could recognise them remembers them.
func TestABatchThatIsSentAgainAndAgainIsEachFactOnce(t *testing.T) {
	db := warehousetest.OpenEngine(t)
	analyst, err := warehouse.Open(t.Context(), warehousetest.Engine(t).Analyst())
	if err != nil {
		t.Fatal(err)
	}
	defer analyst.Close()
	merges := func(word string) {
		for _, table := range []string{"exposures", "events"} {
			if err := db.Conn().Exec(context.Background(), "SYSTEM "+word+" MERGES "+table); err != nil {
				t.Error(err)
			}
		}
	}
	merges("STOP") // so that what is stored twice stays so
	defer merges("START")
	first := newProjectWith(t, bus.Limits{FactsWindow: time.Second}).serve(always(db))
	doors := []*site{first, first.another(always(db)), first.another(always(db))}

	bodies := []struct {
		path, text string
		header     []string
	}{
		{"/v1/log_event", body("purchase", time.Now().UnixMilli()), []string{"STATSIG-API-KEY", first.server}}, // known by what it says
		{"/v1/events", fmt.Sprintf(`{"batch_id":%q,"events":[
			{"event_id":%q,"eventName":"order","user":{"userID":"bob"}},
			{"event_id":%q,"experiment":"free_shipping","group":"Control","user":{"userID":"bob"}}]}`, newID(t), newID(t), newID(t)),
			[]string{"Authorization", "Bearer " + first.server, "Content-Type", asJSON}}, // known by ids
	}
	const exposures, happened = 3, 2
	send := func(s *site) {
		t.Helper()
		for _, b := range bodies {
			s.accepted(s.post(b.path, b.text, b.header...))
		}
	}
	// once checks the facts by their identity: as analysts read them, in what a view
	// has made of them, and in the books.
	rows := make(map[string]string) // that there are
	once := func(when string) {
		t.Helper()
		first.loaded(db)
		got := first.query(db, `SELECT concat(
			toString((SELECT count() FROM exposures FINAL WHERE project = {p:String})), ' ', toString((SELECT uniqExact(event_id) FROM exposures WHERE project = {p:String})), ' ',
			toString((SELECT count() FROM events FINAL WHERE project = {p:String} AND event != 'later')), ' ', toString((SELECT uniqExact(event_id) FROM events WHERE project = {p:String} AND event != 'later')), ' ',
			toString((SELECT count() FROM dead_letters WHERE project = {p:String})))
			UNION ALL SELECT concat(name, ' ', toString(count()), ' ', toString(groupBitOr(mask))) FROM first_exposures FINAL WHERE project = {p:String} GROUP BY name`)
		slices.Sort(got)
		want := []string{fmt.Sprintf("%d %d %d %d 0", exposures, exposures, happened, happened), "free_shipping 2 3"}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s, facts and units of the experiment differ (-want +got):\n%s", when, diff)
		}
		for facts, want := range map[string]int{"exposures WHERE": exposures, "events WHERE event != 'later' AND": happened} {
			ask := "SELECT toString(count()) FROM " + facts + " project = {p:String}"
			if got := first.query(analyst, ask); !slices.Equal(got, []string{fmt.Sprint(want)}) {
				t.Errorf("%s, the analyst asks %s: %s; want %d", when, ask, got, want)
			}
			rows[facts] = first.query(db, ask)[0]
		}
		acked, loaded := 0, 0
		for _, s := range doors {
			acked += s.metric("ingest_acked_total")
			loaded += s.metric("ingest_inserted_total")
		}
		if acked != loaded {
			t.Errorf("%s, %d facts were acknowledged and %d loaded; want all", when, acked, loaded)
		}
	}

	var all sync.WaitGroup
	for n := range 10 {
		if s := doors[n%len(doors)]; n < 6 {
			all.Go(func() { send(s) })
		} else {
			all.Wait()
			send(s)
		}
	}
	once("sent ten times")

	for _, s := range doors {
		s.forget()
		before := s.metric("ingest_acked_total")
		send(s)
		if got := s.metric("ingest_acked_total") - before; got != exposures+happened {
			t.Errorf("%d facts were taken for new after the window; want all %d, or nothing was tried", got, exposures+happened)
		}
	}
	once("sent after the windows")
	for facts, n := range rows {
		if n == fmt.Sprint(exposures) || n == fmt.Sprint(happened) {
			t.Errorf("%s: %s rows; want repetitions among them, or nothing was tried", facts, n)
		}
	}
}

// forget lets time pass, and other facts come, until the service does not
// remember what it has stored by now.
func (s *site) forget() {
	s.t.Helper()
	stored := s.metric("ingest_acked_total")
	for deadline := time.Now().Add(time.Minute); s.metric("ingest_acked_total")-s.metric("ingest_window_ids") < stored; time.Sleep(50 * time.Millisecond) {
		later := fmt.Sprintf(`{"events":[{"eventName":"later","user":{"userID":"eve"},"time":%d}]}`, time.Now().UnixMilli())
		s.accepted(s.post("/v1/log_event", later, "STATSIG-API-KEY", s.server))
		if time.Now().After(deadline) {
			s.t.Fatalf("%d ids are remembered, of %d stored", s.metric("ingest_window_ids"), s.metric("ingest_acked_total"))
		}
	}
}

// loaded waits until all that was acknowledged is loaded.
func (s *site) loaded(db *warehouse.DB) {
	s.t.Helper()
	r, err := facts.NewReader(s.t.Context(), s.conn, 0)
	if err != nil {
		s.t.Fatal(err)
	}
	last, err := s.conn.Last(s.t.Context(), bus.FactsStream, bus.FactsSubject(s.project, "*", 0))
	if err != nil {
		s.t.Fatal(err)
	}
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(10 * time.Millisecond) {
		p, err := db.ReadProgress(s.t.Context(), r.StreamID(), 0)
		if err == nil && p.Sequence >= last.Seq {
			return
		}
		if time.Now().After(deadline) {
			s.t.Fatalf("ReadProgress() = %+v, %v; want %d", p, err, last.Seq)
		}
	}
}
