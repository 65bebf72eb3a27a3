package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"time"

	"github.com/sluice-flags/sluice/pkg/events/live"
)

// A delivery is how long one push took, from just before its cause.
type delivery struct {
	answered     time.Duration // until the request that caused it was answered
	median, last time.Duration // until a client had the whole frame
}

// A contender is something that pushes to clients of its own.
type contender struct {
	name string
	fan  *fan
	flip func(ctx context.Context) error

	answered, median, last []time.Duration
}

const (
	warmup = 10                    // pushes that are not counted
	gap    = 20 * time.Millisecond // of quiet after each push
)

// push measures how long after a flip its last client knows.
func push(ctx context.Context, b *bench) (table, error) {
	values, err := openLive(ctx, b, "values, client key", "client", live.ModeValues)
	if err != nil {
		return table{}, err
	}
	defer values.fan.close()
	rules, err := openLive(ctx, b, "rules, server key", "server", live.ModeRules)
	if err != nil {
		return table{}, err
	}
	defer rules.fan.close()
	// What the floor sends is as long as what ours sends; one push tells.
	if _, err := values.fan.push(func() error { return values.flip(ctx) }); err != nil {
		return table{}, fmt.Errorf("%s: %w", values.name, err)
	}
	floor, stop, err := openFloor(ctx, b, values.fan.frame)
	if err != nil {
		return table{}, fmt.Errorf("the floor: %w", err)
	}
	defer stop()
	defer floor.fan.close()

	contenders := []*contender{floor, values, rules}
	for i := range warmup + b.pushes {
		for j := range contenders {
			c := contenders[(i+j)%len(contenders)] // nobody is always first
			if err := c.push(ctx, i >= warmup); err != nil {
				return table{}, fmt.Errorf("%s: %w", c.name, err)
			}
		}
	}

	t := table{
		title:   fmt.Sprintf("push: a flip until %d live clients know, %d flips each, ms", b.clients, b.pushes),
		columns: []string{"", "answered", "median client", "last client", "last, p99", "frame", "× floor"},
	}
	for _, c := range contenders {
		t.add(c.name, ms(median(c.answered)), ms(median(c.median)), ms(median(c.last)), ms(quantile(c.last, 0.99)),
			fmt.Sprintf("%d B", c.fan.frame), times(float64(median(c.last))/float64(median(floor.last))))
	}
	return t, nil
}

func (c *contender) push(ctx context.Context, count bool) error {
	if err := ctx.Err(); err != nil {
		return context.Cause(ctx)
	}
	d, err := c.fan.push(func() error { return c.flip(ctx) })
	if err != nil {
		return err
	}
	if count {
		c.answered, c.median, c.last = append(c.answered, d.answered), append(c.median, d.median), append(c.last, d.last)
	}
	return c.fan.settle(gap)
}

// openLive makes a project with a gate, and connects live clients to it, each
// with a user of its own.
func openLive(ctx context.Context, b *bench, name, kind string, mode live.Mode) (*contender, error) {
	p, err := b.platform.newProject(ctx, "push_"+kind)
	if err != nil {
		return nil, err
	}
	key, err := p.newKey(ctx, kind)
	if err != nil {
		return nil, err
	}
	g, err := p.newGate(ctx, "checkout")
	if err != nil {
		return nil, err
	}
	f, err := openFan(ctx, b.platform.address, b.clients, func(i int) []byte {
		h := live.Hello{Protocol: live.Protocol, Key: key, Mode: mode}
		if mode == live.ModeValues {
			h.User = fmt.Appendf(nil, `{"userID":"user-%d"}`, i)
		}
		text, err := live.Encode(h)
		if err != nil {
			panic(fmt.Sprintf("encoding a hello: %v", err)) // a hello of ours always encodes
		}
		return text
	})
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return &contender{name: name, fan: f, flip: g.flip}, nil
}

// openFloor starts the floor's processes and connects clients to them.
func openFloor(ctx context.Context, b *bench, frame int) (c *contender, stop func(), err error) {
	log, err := startFloor(b.dir, floorLog)
	if err != nil {
		return nil, nil, err
	}
	edge, err := startFloor(b.dir, floorEdge, log.nats, fmt.Sprint(frame))
	if err != nil {
		log.stop()
		return nil, nil, err
	}
	stop = func() { edge.stop(); log.stop() }
	f, err := openFan(ctx, edge.http, b.clients, func(int) []byte { return []byte(`{}`) })
	if err != nil {
		stop()
		return nil, nil, err
	}
	var client http.Client
	on := false
	flip := func(ctx context.Context) error {
		on = !on
		body, err := json.Marshal(object{"on": on, "filler": filler(eventSize)})
		if err != nil {
			return err
		}
		return post(ctx, &client, "http://"+log.http+"/flip", body)
	}
	return &contender{name: "floor", fan: f, flip: flip}, stop, nil
}
