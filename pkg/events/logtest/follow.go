package logtest

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/sluice-flags/sluice/pkg/events"
)

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
