package results

import (
	"context"
	"testing"
	"time"

	"github.com/sluice-flags/sluice/internal/warehouse"
	"github.com/sluice-flags/sluice/pkg/flags"
)

func TestWhatFailedRestsForLongerAndLonger(t *testing.T) {
	var r rests
	p, now := &plan{project: "p", experiment: "e", definitions: "1"}, time.Unix(1000, 0)
	other := &plan{project: "p", experiment: "another", definitions: "1"}
	if r.hold(p, now) {
		t.Error("hold() = true though nothing has failed")
	}
	for _, want := range []time.Duration{10, 20, 40, 80, 160, 320, 600, 600} {
		want *= time.Second
		r.begin(p, now)
		if got := [...]bool{r.hold(p, now), r.hold(p, now.Add(want-1)), r.hold(p, now.Add(want)), r.hold(other, now)}; got != [...]bool{true, true, false, false} {
			t.Errorf("at once, before %[1]v, after %[1]v, and of another: hold() = %[2]v; want true, true, false, false", want, got)
		}
		now = now.Add(want)
	}
	p.definitions = "2"
	r.begin(p, now)
	if !r.hold(p, now) || r.hold(p, now.Add(firstRest)) {
		t.Errorf("the rest after another definition has failed once is not %v", firstRest)
	}
	p.definitions = "3"
	if r.hold(p, now) {
		t.Error("hold() = true though the definition is another one since")
	}
	p.definitions = "2"
	r.end(p)
	if r.hold(p, now) {
		t.Error("hold() = true though it was ended")
	}
}

func TestARollupThatFailsIsNotTriedAgainAtOnce(t *testing.T) {
	db, p := few(t)
	s := New(func() *warehouse.DB { return db })
	now, tries := p.end, 0
	s.now = func() time.Time { return now }
	s.Share(func(context.Context, string, time.Duration) (func(), bool) {
		tries++
		return func() {}, true
	})
	m, err := watermark(t.Context(), db)
	if err != nil {
		t.Fatal(err)
	}
	refresh := func(wantTries int, fails bool) {
		t.Helper()
		if err := s.refresh(t.Context(), db, m, p); (err != nil) != fails || tries != wantTries {
			t.Fatalf("refresh() = %v in try %d; want try %d, and that it fails: %t", err, tries, wantTries, fails)
		}
	}
	good := p.metrics[0].doc
	p.metrics[0].doc, p.zone = &flags.Metric{Type: flags.MetricEventDAU, Measure: good.Measure}, time.FixedZone("nowhere", 0)
	refresh(1, true)
	refresh(1, false) // it rests
	now = now.Add(firstRest)
	refresh(2, true)
	now = now.Add(firstRest)
	refresh(2, false)
	s.rests.end(p)
	refresh(3, true)
	p.metrics[0].doc, p.zone = good, time.UTC // whatever the matter was
	now = now.Add(firstRest)
	refresh(4, false)
	if len(s.rests.all) > 0 {
		t.Errorf("rests after a success = %v; want none", s.rests.all)
	}
}
