package main

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// writers is how many flip at once where many do, each a gate of its own.
const writers = 8

// flips counts answered flips in a second, and acknowledged messages of the same
// size in a bare stream that syncs always.
func flips(ctx context.Context, b *bench) (table, error) {
	p, err := b.platform.newProject(ctx, "flips")
	if err != nil {
		return table{}, err
	}
	ours := make([]func(context.Context) error, writers)
	for i := range ours {
		g, err := p.newGate(ctx, fmt.Sprintf("gate-%d", i))
		if err != nil {
			return table{}, err
		}
		ours[i] = g.flip
	}
	f, err := startFloor(b.dir, floorLog)
	if err != nil {
		return table{}, err
	}
	defer f.stop()
	nc, err := nats.Connect(f.nats)
	if err != nil {
		return table{}, err
	}
	defer nc.Close()
	js, err := jetstream.New(nc)
	if err != nil {
		return table{}, err
	}
	event := []byte(filler(eventSize))
	bare := make([]func(context.Context) error, writers)
	for i := range bare {
		bare[i] = func(ctx context.Context) error {
			_, err := js.Publish(ctx, fmt.Sprintf("floor.%d", i), event)
			return err
		}
	}

	lanes := []struct {
		name    string
		writers []func(context.Context) error
		rates   []float64
	}{
		{name: "floor, one publisher", writers: bare[:1]},
		{name: "one writer", writers: ours[:1]},
		{name: fmt.Sprintf("floor, %d publishers", writers), writers: bare},
		{name: fmt.Sprintf("%d writers", writers), writers: ours},
	}
	for range b.rounds {
		for i := range lanes {
			r, err := perSecond(ctx, b.round, lanes[i].writers)
			if err != nil {
				return table{}, fmt.Errorf("%s: %w", lanes[i].name, err)
			}
			lanes[i].rates = append(lanes[i].rates, r)
		}
	}

	t := table{
		title:   fmt.Sprintf("flips: answered in a second, median of %d rounds of %v", b.rounds, b.round),
		columns: []string{"", "per second", "ms each", "× floor"},
	}
	floor := 0.0
	for i, l := range lanes {
		r := median(l.rates)
		if i%2 == 0 {
			floor = r
		}
		t.add(l.name, rate(r), ms(time.Duration(float64(time.Second)*float64(len(l.writers))/r)), times(floor/r))
	}
	return t, nil
}

// perSecond lets each writer write again and again, all at once, for a while.
func perSecond(ctx context.Context, d time.Duration, writers []func(context.Context) error) (float64, error) {
	var done atomic.Int64
	began := time.Now()
	err := together(len(writers), func(i int) error {
		for time.Since(began) < d {
			if err := writers[i](ctx); err != nil {
				return err
			}
			done.Add(1)
		}
		return nil
	})
	return float64(done.Load()) / time.Since(began).Seconds(), err
}

// together runs f for each i below n, all at once, and returns when all are done.
func together(n int, f func(i int) error) error {
	errs := make([]error, n)
	var all sync.WaitGroup
	for i := range n {
		all.Go(func() { errs[i] = f(i) })
	}
	all.Wait()
	return errors.Join(errs...)
}
