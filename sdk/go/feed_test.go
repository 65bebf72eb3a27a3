package sluice

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/sluice-flags/sluice/pkg/eval"
	"github.com/sluice-flags/sluice/pkg/events/live"
)

var ann = &User{UserID: "ann"}

func TestAChangeIsPushedAndTakesEffect(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e, flip := newEdge(t), make(chan struct{})
		e.live = func(p *peer) {
			if p.hello.Mode != live.ModeRules || p.hello.Position != (live.Position{}) {
				t.Errorf("hello = %+v; want rules mode and no position", p.hello)
			}
			p.full(position(5), 1000, gate("checkout", false), follower("banner", "checkout"))
			<-flip
			p.send(change(5, 9, 2000, "checkout", gate("checkout", true)))
			p.drain()
		}
		c := e.client()
		var updates []Update
		c.OnUpdate(func(u Update) { updates = append(updates, u) })
		ready(t, c)
		if got := c.Gate(ann, "checkout"); got.Value || got.Reason != ReasonRule || got.Sequence != 5 || !got.Found || got.Source != SourceNetwork {
			t.Errorf("Gate(checkout) before = %+v; want false by a rule at 5", got)
		}
		close(flip)
		synctest.Wait()
		if got := c.Gate(ann, "checkout"); !got.Value || got.Sequence != 9 || got.RuleID != "everyone:100" {
			t.Errorf("Gate(checkout) after = %+v; want true at 9", got)
		}
		if got := c.Gate(ann, "banner"); !got.Value {
			t.Errorf("Gate(banner) = %+v; want it to follow checkout", got)
		}
		want := []Update{{Sequence: 5, Time: 1000}, {Sequence: 9, Time: 2000, Changed: []eval.Ref{{Section: eval.Gates, Name: "checkout"}, {Section: eval.Gates, Name: "banner"}}}}
		if diff := cmp.Diff(want, updates); diff != "" {
			t.Errorf("updates (-want +got):\n%s", diff)
		}
		if s := c.Status(); s.State != Ready || s.Sequence != 9 || s.Time != 2000 || s.LastError != nil {
			t.Errorf("Status() = %+v; want ready at 9", s)
		}
		if err := c.Close(t.Context()); err != nil {
			t.Errorf("Close() = %v", err)
		}
		if got := c.Gate(ann, "checkout"); !got.Value {
			t.Errorf("Gate(checkout) after Close = %+v; want the last known answer", got)
		}
		if s := c.Status(); s.State != Off || !errors.Is(s.LastError, ErrClosed) {
			t.Errorf("Status() after Close = %+v; want off", s)
		}
	})
}

func TestADeletedGateIsUnrecognizedAndOthersStay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newEdge(t)
		e.live = func(p *peer) {
			p.full(position(5), 1000, gate("old", true), gate("kept", true))
			p.send(live.Change{Prev: 5, Seq: 6, Time: 1001, Entries: []live.Entry{{Section: live.SectionGates, Name: "old"}}})
			p.drain()
		}
		c := e.client()
		ready(t, c)
		synctest.Wait()
		if got := c.Gate(ann, "old"); got.Value || got.Found || got.Reason != ReasonUnrecognized {
			t.Errorf("Gate(old) = %+v; want unrecognized", got)
		}
		if got := c.Gate(ann, "kept"); !got.Value {
			t.Errorf("Gate(kept) = %+v; want true", got)
		}
	})
}

func TestAfterAGapTheClientSaysWhereItIsAndThenAsksForEverything(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newEdge(t)
		var asked []live.Frame
		e.live = func(p *peer) {
			p.full(position(5), 1000, gate("checkout", false))
			p.send(change(7, 8, 2000, "checkout", gate("checkout", true)))
			for range 2 {
				f, err := p.read()
				if err != nil {
					t.Errorf("reading the client's position: %v", err)
					return
				}
				asked = append(asked, f)
				if len(asked) == 1 { // an answer that does not fit either
					p.send(live.Answer{Intent: live.IntentChanges, Position: position(8)}, change(6, 8, 2000, "checkout", gate("checkout", true)))
				}
			}
			p.full(position(8), 2000, gate("checkout", true))
			p.drain()
		}
		c := e.client()
		ready(t, c)
		synctest.Wait()
		if diff := cmp.Diff([]live.Frame{position(5), nowhere}, asked); diff != "" {
			t.Errorf("positions of the client (-want +got):\n%s", diff)
		}
		if got := c.Gate(ann, "checkout"); !got.Value || got.Sequence != 8 {
			t.Errorf("Gate(checkout) = %+v; want true at 8", got)
		}
	})
}

func TestAnEntryThatCannotBeReadIsFetchedWithEverythingAndQuarantined(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newEdge(t)
		odd := `{"name":"odd","entity":"feature_gate","rules":7}`
		e.live = func(p *peer) {
			p.full(position(5), 1000, gate("checkout", true))
			p.send(change(5, 6, 2000, "odd", odd))
			if f, err := p.read(); err != nil || f != nowhere {
				t.Errorf("the client sent %+v, %v; want a position that nobody has", f, err)
			}
			p.full(position(6), 2000, gate("checkout", true), odd)
			p.drain()
		}
		c := e.client()
		ready(t, c)
		synctest.Wait()
		if got := c.Gate(ann, "odd"); got.Value || got.Reason != ReasonUnsupported {
			t.Errorf("Gate(odd) = %+v; want unsupported", got)
		}
		if got := c.Gate(ann, "checkout"); !got.Value || got.Sequence != 6 {
			t.Errorf("Gate(checkout) = %+v; want true at 6", got)
		}
	})
}

func TestALostConnectionLeavesTheLastStateAndComesBackWithItsPosition(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e, begin, cut := newEdge(t), make(chan struct{}), make(chan struct{})
		e.live = func(p *peer) {
			<-begin // the listener hears of every state
			p.full(position(5), 1000, gate("checkout", true))
			p.send(live.Ping{Seq: 7})
			<-cut
		}
		c := e.client()
		var states []string
		c.OnStatus(func(s Status) { states = append(states, s.State.String()) })
		close(begin)
		ready(t, c)
		synctest.Wait()
		e.set(func(e *edge) {
			e.down = true
			e.live = func(p *peer) {
				if p.hello.Position != position(7) {
					t.Errorf("hello offers %+v; want %+v", p.hello.Position, position(7))
				}
				p.send(live.Answer{Intent: live.IntentNone, Position: position(7)})
				p.drain()
			}
		})
		close(cut)
		synctest.Wait()
		if s := c.Status(); s.State != Stale || s.LastError == nil || s.Sequence != 7 {
			t.Errorf("Status() = %+v; want stale at 7, with an error", s)
		}
		time.Sleep(24 * time.Hour)
		if got := c.Gate(ann, "checkout"); !got.Value {
			t.Errorf("Gate(checkout) after a day without network = %+v; want the last known answer", got)
		}
		e.set(func(e *edge) { e.down = false })
		time.Sleep(backoffCap)
		synctest.Wait()
		if s := c.Status(); s.State != Ready || s.LastError != nil {
			t.Errorf("Status() = %+v; want ready again", s)
		}
		if diff := cmp.Diff([]string{"READY", "STALE", "READY"}, states); diff != "" {
			t.Errorf("states (-want +got):\n%s", diff)
		}
	})
}

func TestAnEdgeThatLagsDoesNotTakeTheClientBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newEdge(t)
		var connections atomic.Int32
		proceed := make(chan struct{})
		e.live = func(p *peer) {
			if connections.Add(1) == 1 {
				p.full(position(9), 2000, gate("checkout", true))
				return
			}
			p.full(position(5), 1000, gate("checkout", false))
			p.send(change(4, 6, 1500, "checkout", gate("checkout", false)))
			<-proceed
			p.send(change(6, 10, 3000, "banner", gate("banner", true)))
			p.drain()
		}
		c := e.client()
		ready(t, c)
		time.Sleep(2 * time.Second)
		synctest.Wait()
		if got, s := c.Gate(ann, "checkout"), c.Status(); !got.Value || s.State != Stale || s.Sequence != 9 {
			t.Errorf("Gate(checkout) = %+v, Status() = %+v; want true, stale, at 9", got, s)
		}
		close(proceed)
		synctest.Wait()
		if got, s := c.Gate(ann, "banner"), c.Status(); !got.Value || s.State != Ready || s.Sequence != 10 {
			t.Errorf("Gate(banner) = %+v, Status() = %+v; want true, ready, at 10", got, s)
		}
	})
}

func TestCloseCodesSayWhetherToComeBack(t *testing.T) {
	for _, tt := range []struct {
		name    string
		code    live.CloseCode
		retryMs int64
		state   State // ten minutes later
		min     time.Duration
		max     time.Duration // of the wait before the next attempt; 0: there is none
		polls   bool
	}{
		{name: "a key that was revoked", code: live.CloseUnauthorized, state: Off},
		{name: "a key that is not for this", code: live.CloseForbidden, state: Off},
		{name: "an edge that restarts", code: live.CloseRestart, retryMs: 7000, min: 7 * time.Second, max: 7 * time.Second, state: Ready},
		{name: "an edge that orders a day's rest", code: live.CloseRestart, retryMs: 86400e3, min: 5 * time.Minute, max: 5 * time.Minute, state: Ready},
		{name: "a connection that could not keep up", code: live.CloseTryLater, max: time.Second, state: Ready},
		{name: "a code of a newer edge", code: 4999, max: time.Second, state: Ready},
		{name: "an end that nobody asked for", code: live.CloseNormal, max: time.Second, state: Ready},
		{name: "a flood", code: live.CloseFlood, min: 30 * time.Second, max: time.Minute, state: Ready},
		{name: "another version of the protocol", code: live.CloseUpgrade, state: Ready, polls: true},
		{name: "a frame that was not understood", code: live.CloseBadFrame, state: Ready, polls: true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				e := newEdge(t)
				var connections, polls atomic.Int32
				var ended time.Time
				e.live = func(p *peer) {
					p.full(position(5), 1000, gate("checkout", true))
					if connections.Add(1) > 1 {
						p.keepAlive()
						return
					}
					if tt.retryMs > 0 {
						p.send(live.Goodbye{RetryMs: tt.retryMs})
					}
					ended = time.Now()
					p.end(tt.code)
				}
				e.specs = func(w http.ResponseWriter, _ *http.Request) {
					polls.Add(1)
					_, _ = w.Write([]byte(`{"has_updates":false}`))
				}
				c := e.client()
				time.Sleep(10 * time.Minute)
				synctest.Wait()
				s := c.Status()
				if s.State != tt.state {
					t.Errorf("Status() = %+v; want %v", s, tt.state)
				}
				if tt.state == Off && !errors.Is(s.LastError, ErrRefused) {
					t.Errorf("LastError = %v; want ErrRefused", s.LastError)
				}
				if !c.Gate(ann, "checkout").Value {
					t.Error("Gate(checkout) = false; want the last known answer")
				}
				if got := polls.Load() > 0; got != tt.polls {
					t.Errorf("%d polls; want some: %v", polls.Load(), tt.polls)
				}
				dials := e.attempts()
				if tt.max == 0 {
					if len(dials) != 1 {
						t.Errorf("%d connections; want no second one", len(dials))
					}
					return
				}
				if len(dials) != 2 {
					t.Fatalf("%d connections; want a second one", len(dials))
				}
				if wait := dials[1].Sub(ended); wait < tt.min || wait > tt.max {
					t.Errorf("the client came back after %v; want %v to %v", wait, tt.min, tt.max)
				}
			})
		})
	}
}

// keepAlive pings until the client has gone.
func (p *peer) keepAlive() {
	gone := make(chan struct{})
	go func() { p.drain(); close(gone) }() // ends with the connection
	for {
		select {
		case <-gone:
			return
		case <-time.After(20 * time.Second):
			p.send(live.Ping{Seq: 5})
		}
	}
}

func TestBackOffGrowsWithJitterAndResetsAfterAMinuteOfHealth(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newEdge(t)
		e.specs = func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusServiceUnavailable) }
		e.upgrade = func(w http.ResponseWriter) bool { w.WriteHeader(http.StatusBadGateway); return false }
		c := e.client()
		for len(e.attempts()) < 40 {
			time.Sleep(time.Second)
		}
		at, distinct := e.attempts(), map[time.Duration]bool{}
		var longest time.Duration
		for n := range len(at) - 1 {
			wait := at[n+1].Sub(at[n])
			if limit := min(backoffCap, time.Second<<min(n, 10)); wait > limit {
				t.Errorf("wait %d = %v; want at most %v", n, wait, limit)
			}
			longest, distinct[wait] = max(longest, wait), true
		}
		if longest < 10*time.Second || len(distinct) < 30 {
			t.Errorf("longest wait %v, %d different ones of %d; want waits that grow and differ", longest, len(distinct), len(at)-1)
		}
		if s := c.Status(); s.State != Initializing || s.LastError == nil {
			t.Errorf("Status() = %+v; want initializing, with an error", s)
		}

		// A minute of health: the next wait is a short one.
		var lost time.Time
		e.set(func(e *edge) {
			e.upgrade = nil
			e.live = func(p *peer) {
				p.full(position(5), 1000, gate("checkout", true))
				for range 4 {
					time.Sleep(20 * time.Second)
					p.send(live.Ping{Seq: 5})
				}
				lost = time.Now()
			}
		})
		time.Sleep(backoffCap + 80*time.Second + time.Second)
		synctest.Wait()
		if at = e.attempts(); at[len(at)-1].Sub(lost) > time.Second || at[len(at)-1].Before(lost) {
			t.Errorf("the connection was lost at %v, the last attempt is of %v; want one within a second", lost, at[len(at)-1])
		}
	})
}

func TestTheHandshakesRefusalsAreObeyed(t *testing.T) {
	for _, tt := range []struct {
		name   string
		status int
		state  State
		wait   time.Duration // at least, before the next attempt; 0: there is none
	}{
		{name: "a key that is unknown", status: http.StatusUnauthorized, state: Off},
		{name: "a key that is not for this", status: http.StatusForbidden, state: Off},
		{name: "an edge that is full", status: http.StatusServiceUnavailable, state: Initializing, wait: 40 * time.Second},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				e := newEdge(t)
				e.upgrade = func(w http.ResponseWriter) bool {
					w.Header().Set("Retry-After", "40")
					w.WriteHeader(tt.status)
					return false
				}
				c := e.client()
				err := c.Ready(t.Context())
				if s := c.Status(); s.State != tt.state || !strings.Contains(fmt.Sprint(s.LastError), fmt.Sprint(tt.status)) {
					t.Errorf("Status() = %+v; want %v because of %d", s, tt.state, tt.status)
				}
				if want := map[State]error{Off: ErrRefused, Initializing: ErrNotReady}[tt.state]; !errors.Is(err, want) {
					t.Errorf("Ready() = %v; want %v", err, want)
				}
				time.Sleep(5 * time.Minute)
				synctest.Wait()
				switch at := e.attempts(); {
				case tt.wait == 0 && len(at) != 1:
					t.Errorf("%d attempts; want 1", len(at))
				case tt.wait > 0 && (len(at) < 2 || at[1].Sub(at[0]) < tt.wait):
					t.Errorf("attempts at %v; want several, %v apart", at, tt.wait)
				}
			})
		})
	}
}

func TestWhereWebSocketsFailTheClientPolls(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newEdge(t)
		e.upgrade = func(w http.ResponseWriter) bool { w.WriteHeader(http.StatusBadRequest); return false }
		var asked []string
		current, modified := download1(1000, gate("checkout", false)), int64(1000)
		e.specs = func(w http.ResponseWriter, r *http.Request) {
			e.mu.Lock()
			defer e.mu.Unlock()
			asked = append(asked, r.URL.RawQuery+" "+r.Header.Get("If-None-Match"))
			if since := r.URL.Query().Get("sinceTime"); since == fmt.Sprint(modified) {
				_, _ = w.Write([]byte(`{"has_updates":false}`))
				return
			}
			w.Header().Set("ETag", fmt.Sprintf(`"%d"`, modified))
			_, _ = w.Write(current)
		}
		c := e.client()
		ready(t, c)
		if got := c.Gate(ann, "checkout"); got.Value || !got.Found {
			t.Errorf("Gate(checkout) = %+v; want false", got)
		}
		e.set(func(*edge) { current, modified = download1(2000, gate("checkout", true)), 2000 })
		synctest.Wait() // until it has been said that the client is ready
		var states []State
		c.OnStatus(func(s Status) { states = append(states, s.State) })
		time.Sleep(12 * time.Second)
		synctest.Wait()
		if got := c.Gate(ann, "checkout"); !got.Value {
			t.Errorf("Gate(checkout) after a poll's interval = %+v; want true", got)
		}
		time.Sleep(2 * time.Minute)
		e.set(func(*edge) {
			if len(asked) < 9 || len(asked) > 16 {
				t.Errorf("%d polls in 132 s; want one about every 10 s", len(asked))
			}
			if diff := cmp.Diff([]string{"sinceTime=0 ", `sinceTime=1000 "1000"`}, asked[:2]); diff != "" {
				t.Errorf("polls (-want +got):\n%s", diff)
			}
			if last := asked[len(asked)-1]; last != `sinceTime=2000 "2000"` {
				t.Errorf("last poll %q; want it to say what the client holds", last)
			}
		})
		if len(states) > 0 || c.Status().State != Ready {
			t.Errorf("states since the first poll: %v, then %+v; want ready all the time", states, c.Status())
		}

		// The proxy is repaired: back to pushes.
		e.set(func(e *edge) {
			e.upgrade = nil
			e.live = func(p *peer) { p.full(position(5), 3000, gate("checkout", false)); p.keepAlive() }
		})
		time.Sleep(time.Minute)
		synctest.Wait()
		if got, s := c.Gate(ann, "checkout"), c.Status(); got.Value || s.Sequence != 5 || s.LastError != nil {
			t.Errorf("Gate(checkout) = %+v, Status() = %+v; want false at 5", got, s)
		}
	})
}

func TestAProxyThatSwallowsFramesIsNoticed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newEdge(t)
		e.live = func(p *peer) { p.drain() } // the hello is never answered
		e.specs = func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(download1(1000, gate("checkout", true))) }
		c := e.client(WithInitTimeout(answerTime + time.Second))
		ready(t, c)
		if got := c.Gate(ann, "checkout"); !got.Value {
			t.Errorf("Gate(checkout) = %+v; want true by a poll", got)
		}
	})
}

// A redirect must not carry the key elsewhere.
func TestRedirectsAreNotFollowed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newEdge(t)
		e.upgrade = func(w http.ResponseWriter) bool { w.WriteHeader(http.StatusBadRequest); return false }
		var polls atomic.Int32
		e.specs = func(w http.ResponseWriter, r *http.Request) {
			if r.Host != "edge" {
				t.Errorf("the client followed to %s with key %q", r.Host, r.Header.Get("Statsig-Api-Key"))
			}
			polls.Add(1)
			http.Redirect(w, r, "http://elsewhere"+specsPath, http.StatusFound)
		}
		c := e.client()
		if err := c.Ready(t.Context()); !errors.Is(err, ErrNotReady) || polls.Load() == 0 {
			t.Errorf("Ready() = %v after %d polls; want ErrNotReady after some", err, polls.Load())
		}
	})
}

func TestAnEdgeThatFallsSilentIsLeft(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newEdge(t)
		e.live = func(p *peer) { p.full(position(5), 1000, gate("checkout", true)); p.drain() }
		c := e.client()
		ready(t, c)
		time.Sleep(silence + 2*time.Second)
		if at := e.attempts(); len(at) != 2 || at[1].Sub(at[0]) < silence {
			t.Errorf("attempts at %v; want a second one after %v of silence", at, silence)
		}
	})
}

func TestAnEdgeThatIsCutOffMakesTheClientStale(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newEdge(t)
		step := make(chan struct{})
		e.live = func(p *peer) {
			p.full(position(5), 1000, gate("checkout", true))
			<-step
			p.send(live.Ping{Seq: 5, Stale: true})
			<-step
			p.send(live.Ping{Seq: 5})
			p.drain()
		}
		c := e.client()
		ready(t, c)
		for _, want := range []State{Stale, Ready} {
			step <- struct{}{}
			synctest.Wait()
			if s := c.Status(); s.State != want {
				t.Errorf("Status() = %+v; want %v", s, want)
			}
		}
	})
}

func TestReadyGivesUpAfterItsLimitAndTheClientGoesOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newEdge(t)
		e.down = true
		start := time.Now()
		c := e.client()
		if err := c.Ready(t.Context()); !errors.Is(err, ErrNotReady) || time.Since(start) != 3*time.Second {
			t.Errorf("Ready() = %v after %v; want ErrNotReady after 3s", err, time.Since(start))
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if err := e.client(WithInitTimeout(time.Hour)).Ready(ctx); !errors.Is(err, ErrNotReady) || !errors.Is(err, context.Canceled) {
			t.Errorf("Ready(cancelled) = %v; want ErrNotReady and Canceled", err)
		}
		if got := c.Gate(ann, "checkout"); got.Value || got.Reason != ReasonNoDefinitions {
			t.Errorf("Gate(checkout) = %+v; want false for want of definitions", got)
		}
		e.set(func(e *edge) {
			e.down = false
			e.live = func(p *peer) { p.full(position(5), 1000, gate("checkout", true)); p.keepAlive() }
		})
		time.Sleep(backoffCap)
		synctest.Wait()
		if got := c.Gate(ann, "checkout"); !got.Value {
			t.Errorf("Gate(checkout) = %+v; want true once the edge is there", got)
		}
	})
}

func TestClientsInOneProcessShareNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var clients []*Client
		for i := range 2 {
			e := newEdge(t)
			e.live = func(p *peer) { p.full(position(5), 1000, gate("checkout", i == 0)); p.drain() }
			clients = append(clients, e.client())
			ready(t, clients[i])
		}
		got := []bool{clients[0].Gate(ann, "checkout").Value, clients[1].Gate(ann, "checkout").Value}
		if !slices.Equal(got, []bool{true, false}) {
			t.Errorf("the gates of two clients = %v; want each its own edge's", got)
		}
		if err := clients[0].Close(t.Context()); err != nil {
			t.Errorf("Close() = %v", err)
		}
		if s := clients[1].Status(); s.State != Ready {
			t.Errorf("Status() of the other after one was closed = %+v; want ready", s)
		}
	})
}
