package main

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/sluice-flags/sluice/internal/auth"
	"github.com/sluice-flags/sluice/internal/bus"
	"github.com/sluice-flags/sluice/internal/bus/natslog"
	"github.com/sluice-flags/sluice/internal/warehouse/embed"
	"github.com/sluice-flags/sluice/pkg/events"
	"github.com/sluice-flags/sluice/pkg/flags"
)

const (
	senders    = 8        // connections that send at once
	floorBytes = 64 << 10 // of a message of the floor, and about of a body of ours
	bodyEvents = 128
)

// A site is a broker with a project in it, and the service in front of it.
type site struct {
	broker, service *child
	conn            *bus.Conn
	url, key        string // where events go, and by whose right
	client          http.Client
}

func (b *bench) newSite(ctx context.Context, engine *embed.Engine) (s *site, err error) {
	s = new(site)
	s.client.Transport = &http.Transport{MaxIdleConnsPerHost: 2 * senders}
	if s.broker, err = startRole(roleBroker, filepath.Join(b.dir, "broker")); err != nil {
		return nil, err
	}
	defer func(started *site) {
		if err != nil {
			started.stop()
		}
	}(s)
	if s.conn, err = bus.Connect(ctx, bus.Config{URL: s.broker.address, Name: "bench"}); err != nil {
		return nil, err
	}
	if err := s.conn.Wait(ctx); err != nil {
		return nil, err
	}
	if err := bus.EnsureShared(ctx, s.conn, bus.Limits{}); err != nil {
		return nil, err
	}
	if s.key, err = s.project(ctx); err != nil {
		return nil, err
	}
	address, password := "", ""
	if engine != nil {
		address, password = engine.Config().Addr, engine.Config().Password
	}
	if s.service, err = startRole(roleService, s.broker.address, address, password); err != nil {
		return nil, err
	}
	s.url = "http://" + s.service.address + "/v1/rgstr"
	// The first request has the service read the project.
	for range 100 {
		if err = s.post(ctx, logBody(1, 0, time.Now().UnixMilli())); err == nil {
			return s, nil
		}
		time.Sleep(50 * time.Millisecond)
	}
	return nil, err
}

func (s *site) stop() {
	if s.service != nil {
		s.service.stop()
	}
	if s.conn != nil {
		s.conn.Close()
	}
	s.broker.stop()
}

// project writes a project with an SDK key and the experiments and gates that
// bodies are about, and returns the key.
func (s *site) project(ctx context.Context) (key string, err error) {
	const id = "bench"
	if _, err := bus.EnsureProject(ctx, s.conn, id, bus.Limits{}); err != nil {
		return "", err
	}
	log, err := natslog.Open(ctx, s.conn, id, natslog.Options{})
	if err != nil {
		return "", err
	}
	head, err := log.Head(ctx)
	if err != nil {
		return "", err
	}
	token, hash := auth.Generate(flags.KeyClient, id)
	documents := []flags.Document{
		&flags.Environment{ID: "env_p", Name: "production"},
		&flags.Key{ID: "key_1", Name: "bench", Kind: flags.KeyClient, Hash: hex.EncodeToString(hash[:]), Environments: []string{"production"}},
	}
	for n := range 50 {
		documents = append(documents, &flags.Gate{ID: fmt.Sprint("gate_", n), Name: fmt.Sprint("gate_", n), UnitType: "userID"})
	}
	state := flags.NewState(id)
	for _, d := range documents {
		flags.Advance(state, d, time.Now(), nil)
		raw, err := flags.Encode(d)
		if err != nil {
			return "", err
		}
		receipt, err := log.Append(ctx, head, events.Command{
			ID: d.Ref().ID, Actor: events.Actor{Kind: "system", ID: "bench"},
			Drafts: []events.Draft{{Kind: d.Ref().Kind, Entity: d.Ref().ID, EntityVersion: 1, Name: d.DocName(), Document: raw}},
		})
		if err != nil {
			return "", err
		}
		head = receipt.Last
	}
	return token, nil
}

// errBusy is the answer to more than can be taken.
var errBusy = errors.New("503 with Retry-After")

// post sends a body and waits until it is acknowledged or refused.
func (s *site) post(ctx context.Context, body []byte) error {
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, s.url, bytes.NewReader(body))
	if err != nil {
		return err
	}
	r.Header.Set("Statsig-Api-Key", s.key)
	res, err := s.client.Do(r)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	answer, err := io.ReadAll(res.Body)
	switch {
	case err != nil:
		return err
	case res.StatusCode == http.StatusServiceUnavailable && res.Header.Get("Retry-After") != "":
		return errBusy
	case res.StatusCode/100 != 2:
		return fmt.Errorf("%s: %s", res.Status, answer)
	}
	return nil
}

// together does n things, some at once, and tells how many a second.
func together(n int, do func(i int) error) (float64, error) {
	var next atomic.Int64
	var g errgroup.Group
	began := time.Now()
	for range senders {
		g.Go(func() error {
			for {
				i := int(next.Add(1)) - 1
				if i >= n {
					return nil
				}
				if err := do(i); err != nil {
					return err
				}
			}
		})
	}
	err := g.Wait()
	return float64(n) / time.Since(began).Seconds(), err
}

// acknowledging compares requests of 64 KiB that are answered when their events
// are on the stream's disk with messages of 64 KiB that are.
func acknowledging(ctx context.Context, b *bench) (table, error) {
	s, err := b.newSite(ctx, nil)
	if err != nil {
		return table{}, err
	}
	defer s.stop()
	var floor, ours, cpu []float64
	size := 0
	for round := range b.rounds {
		message := make([]byte, floorBytes)
		r, err := together(b.bodies, func(int) error {
			_, err := s.conn.JetStream().Publish(ctx, bus.DeadFactsSubject("bench", "floor"), message)
			return err
		})
		if err != nil {
			return table{}, fmt.Errorf("the floor: %w", err)
		}
		floor = append(floor, r)
		stream, err := s.conn.JetStream().Stream(ctx, bus.DeadFactsStream)
		if err != nil {
			return table{}, err
		}
		if err := stream.Purge(ctx); err != nil { // it has its limit
			return table{}, err
		}

		bodies := make([][]byte, b.bodies)
		for i := range bodies {
			bodies[i] = logBody(bodyEvents, uint64(round*b.bodies+i+1), time.Now().UnixMilli())
			size = len(bodies[i])
		}
		before, err := cpuOf(s.service.cmd.Process.Pid)
		if err != nil {
			return table{}, err
		}
		if r, err = together(b.bodies, func(i int) error { return s.post(ctx, bodies[i]) }); err != nil {
			return table{}, err
		}
		after, err := cpuOf(s.service.cmd.Process.Pid)
		if err != nil {
			return table{}, err
		}
		ours = append(ours, r)
		cpu = append(cpu, float64((after-before).Microseconds())/float64(b.bodies*bodyEvents))
	}
	t := table{
		title: fmt.Sprintf("ack: on the stream's disk, median of %d rounds of %d, %d at once; a body has %d events, %d KiB",
			b.rounds, b.bodies, senders, bodyEvents, size>>10),
		columns: []string{"", "a second", "events/s", "MB/s", "of the floor", "service's CPU, µs an event"},
	}
	f, o := median(floor), median(ours)
	t.add("floor, messages of 64 KiB", rate(f), "", rate(f*floorBytes/1e6), ratio(1), "")
	t.add("requests", rate(o), rate(o*bodyEvents), rate(o*float64(size)/1e6), ratio(o/f), ratio(median(cpu)))
	return t, nil
}

// overloading offers three times what was taken before, and looks at the memory
// of the service meanwhile. The loader and the engine are at work behind it.
func overloading(ctx context.Context, b *bench) (table, error) {
	engine, err := embed.Start(ctx, embed.Options{Dir: filepath.Join(b.dir, "engine"), Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		return table{}, err
	}
	defer engine.Stop(context.WithoutCancel(ctx))
	s, err := b.newSite(ctx, engine)
	if err != nil {
		return table{}, err
	}
	defer s.stop()

	var seed atomic.Uint64
	next := func() []byte { return logBody(bodyEvents, seed.Add(1), time.Now().UnixMilli()) }
	capacity, err := together(b.bodies/2, func(int) error { return s.post(ctx, next()) })
	if err != nil {
		return table{}, err
	}

	ready := make([][]byte, 64) // sent again and again, as by clients that were refused
	for i := range ready {
		ready[i] = next()
	}

	// Offered by the clock, not by answers: who has not been answered does not
	// keep the next from coming.
	const many = 512 // requests under way; beyond, the clients themselves are the limit
	var taken, refused, unsent atomic.Int64
	ctx, cancel := context.WithTimeout(ctx, b.overload)
	defer cancel()
	var under sync.WaitGroup
	room := make(chan struct{}, many)
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	var resident []int64
	began := time.Now()
	for n, offered := 0, 0; n == 0 || ctx.Err() == nil; n++ {
		<-tick.C
		for due := int(time.Since(began).Seconds() * 3 * capacity); offered < due; offered++ {
			select {
			case room <- struct{}{}:
			default:
				unsent.Add(1)
				continue
			}
			body := bytes.Replace(ready[offered%len(ready)], []byte(`"time":`), fmt.Appendf(nil, `"time":%d`, offered%9+1), 1)
			under.Go(func() {
				defer func() { <-room }()
				switch err := s.post(context.WithoutCancel(ctx), body); {
				case err == nil:
					taken.Add(1)
				default:
					refused.Add(1)
				}
			})
		}
		if n%10 == 0 {
			bytes, err := residentOf(s.service.cmd.Process.Pid)
			if err != nil {
				return table{}, err
			}
			resident = append(resident, bytes)
		}
	}
	under.Wait()
	took := time.Since(began)
	half := len(resident) / 2
	first, second := slices.Max(resident[:max(half, 1)]), slices.Max(resident[half:])
	t := table{
		title:   fmt.Sprintf("overload: three times the capacity for %v, requests of %d events", took.Round(time.Second), bodyEvents),
		columns: []string{"", "requests/s", "MiB resident", "of the first half"},
	}
	t.add("capacity", rate(capacity), "", "")
	t.add("offered", rate(3*capacity), "", "")
	t.add("taken", rate(float64(taken.Load())/took.Seconds()), "", "")
	t.add("refused", rate(float64(refused.Load())/took.Seconds()), "", "")
	t.add("not even connected", rate(float64(unsent.Load())/took.Seconds()), "", "")
	t.add("peak, first half", "", rate(float64(first)/(1<<20)), ratio(1))
	t.add("peak, second half", "", rate(float64(second)/(1<<20)), ratio(float64(second)/float64(first)))
	return t, nil
}
