package sluice

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/sluice-flags/sluice/pkg/events/live"
)

// serveProject makes an edge that holds the project of decide_test.go.
func serveProject(t *testing.T) *edge {
	e := newEdge(t)
	e.live = func(p *peer) {
		p.send(live.Answer{Intent: live.IntentFull, Position: position(5)}, live.Full{Position: position(5), Time: 1000, Payload: []byte(project)})
		p.keepAlive()
	}
	return e
}

// names says in a line each what was exposed to what.
func names(events []map[string]any) (out []string) {
	for _, e := range events {
		m, _ := e["metadata"].(map[string]any)
		out = append(out, fmt.Sprint(e["eventName"], " ", m["gate"], m["config"], " ", m["ruleID"], " ", m["parameterName"], " ", m["allocatedExperiment"]))
	}
	return out
}

func TestDecisionsAreLoggedAsExposuresOncePerWindow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := serveProject(t)
		c := e.client(WithEnvironment("production"))
		ready(t, c)
		for range 3 {
			c.Gate(staff, "checkout")
			c.Config(staff, "button")
			layer := c.Layer(staff, "home")
			if got := layer.Value().Text("layout", ""); got != "wide" { // not a read
				t.Errorf("Value().Text(layout) = %q; want wide", got)
			}
			layer.Text("layout", "")
			layer.Text("shade", "")
			layer.Text("absent", "")
		}
		c.Gate(&User{UserID: "bob"}, "checkout")
		c.Gate(staff, "unheard_of")
		c.Silent().Gate(&User{UserID: "eve"}, "checkout")
		c.OverrideGate("overridden", true)
		c.Gate(staff, "overridden")
		start := time.Now()
		if err := c.Flush(t.Context()); err != nil || time.Since(start) > 0 {
			t.Errorf("Flush() = %v after %v; want nil at once", err, time.Since(start))
		}
		events, _ := e.logged()
		want := []string{
			"statsig::gate_exposure checkout<nil> staff:100 <nil> <nil>",
			"statsig::config_exposure <nil>button beta <nil> <nil>",
			"statsig::layer_exposure <nil>home wide layout pricing",
			"statsig::layer_exposure <nil>home wide shade ",
			"statsig::gate_exposure checkout<nil> default <nil> <nil>",
		}
		if diff := cmp.Diff(want, names(events)); diff != "" {
			t.Fatalf("exposures (-want +got):\n%s", diff)
		}
		first := events[0]
		if diff := cmp.Diff(map[string]any{"gate": "checkout", "gateValue": "true", "ruleID": "staff:100", "reason": "Rule", "lcut": "1000"}, first["metadata"]); diff != "" {
			t.Errorf("metadata (-want +got):\n%s", diff)
		}
		wantUser := map[string]any{"userID": "ann", "email": "ann@example.com", "statsigEnvironment": map[string]any{"tier": "production"}}
		if diff := cmp.Diff(wantUser, first["user"]); diff != "" {
			t.Errorf("user (-want +got):\n%s", diff)
		}
		wantSecondary := []any{map[string]any{"gate": "checkout", "gateValue": "true", "ruleID": "staff:100"}}
		if diff := cmp.Diff(wantSecondary, events[1]["secondaryExposures"]); diff != "" {
			t.Errorf("gates consulted (-want +got):\n%s", diff)
		}

		time.Sleep(time.Minute)
		c.Gate(staff, "checkout")
		time.Sleep(5 * time.Second)
		synctest.Wait()
		if events, _ := e.logged(); len(events) != len(want)+1 {
			t.Errorf("%d exposures after the window; want one more than %d", len(events), len(want))
		}
	})
}

func TestPrivateAttributesAreNeverSent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := serveProject(t)
		c := e.client()
		ready(t, c)
		u := User{UserID: "ann", Custom: map[string]any{"plan": "free"}, PrivateAttributes: map[string]any{"email": "hush@example.com"}}
		if !c.Gate(&u, "checkout").Value {
			t.Error("Gate() = false; want the private e-mail to count")
		}
		c.LogEvent(Event{User: u, Name: "purchase", Value: 12.5, Metadata: map[string]string{"sku": "7"}})
		if err := c.Close(t.Context()); err != nil {
			t.Errorf("Close() = %v", err)
		}
		events, _ := e.logged()
		if len(events) != 2 {
			t.Fatalf("%d events; want the exposure and the purchase", len(events))
		}
		if text := fmt.Sprint(events); strings.Contains(text, "hush") || strings.Contains(text, "privateAttributes") {
			t.Errorf("sent %s; want nothing private", text)
		}
		if u.PrivateAttributes == nil {
			t.Error("the caller's user has lost its private attributes")
		}
		purchase := events[1]
		if purchase["value"] != 12.5 || !cmp.Equal(purchase["metadata"], map[string]any{"sku": "7"}) || purchase["time"] != float64(time.Now().UnixMilli()) {
			t.Errorf("purchase = %v; want value, metadata and time as logged", purchase)
		}
	})
}

func TestABatchIsSentWithTheSameBytesUntilItIsAcknowledged(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := serveProject(t)
		e.log = func(n int) int {
			return []int{http.StatusInternalServerError, http.StatusServiceUnavailable, http.StatusTooManyRequests, http.StatusAccepted, http.StatusAccepted}[n]
		}
		c := e.client()
		ready(t, c)
		same := Event{User: *ann, Name: "purchase"}
		c.LogEvent(same)
		if err := c.Flush(t.Context()); err != nil {
			t.Errorf("Flush() = %v", err)
		}
		c.LogEvent(same)
		if err := c.Flush(t.Context()); err != nil {
			t.Errorf("Flush() = %v", err)
		}
		_, sessions := e.logged()
		e.set(func(e *edge) {
			if len(e.bodies) != 5 {
				t.Fatalf("%d requests; want 4 of the first batch and one of the second", len(e.bodies))
			}
			for n := range 4 {
				if !bytes.Equal(e.bodies[n], e.bodies[0]) {
					t.Errorf("request %d has other bytes than the first", n)
				}
			}
		})
		if sessions[0] == sessions[4] {
			t.Error("two batches with equal events have one session; want the server to tell them apart")
		}
		if n := c.Status().Dropped; n != 0 {
			t.Errorf("%d dropped; want none", n)
		}
	})
}

func TestABatchThatIsRefusedForGoodIsDroppedAndCounted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := serveProject(t)
		e.log = func(n int) int { return http.StatusBadRequest }
		c := e.client()
		c.LogEvent(Event{User: *ann, Name: "purchase"})
		if err := c.Flush(t.Context()); err != nil {
			t.Errorf("Flush() = %v", err)
		}
		if n := c.Status().Dropped; n != 1 {
			t.Errorf("%d dropped; want 1", n)
		}
		if _, sessions := e.logged(); len(sessions) != 1 {
			t.Errorf("%d requests; want no second one", len(sessions))
		}
	})
}

func TestTheQueueIsBoundedAndSaysWhatItLost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := serveProject(t)
		e.down = true
		c := e.client(WithQueueSize(700), WithFlushInterval(time.Second))
		log := func(n int) {
			for i := range n {
				c.LogEvent(Event{User: User{UserID: fmt.Sprint(i)}, Name: "purchase"})
			}
		}
		log(600)
		time.Sleep(time.Hour) // the first batch is under way all the time
		log(200)
		if n := c.Status().Dropped; n != 100 {
			t.Errorf("%d dropped of 800; want 100", n)
		}
		c.LogEvent(Event{User: *ann, Name: "too big", Metadata: map[string]string{"x": strings.Repeat("x", eventBytes)}})
		if n := c.Status().Dropped; n != 101 {
			t.Errorf("%d dropped; want the oversized event too", n)
		}
		e.set(func(e *edge) { e.down = false })
		if err := c.Flush(t.Context()); err != nil {
			t.Errorf("Flush() = %v", err)
		}
		events, _ := e.logged()
		if len(events) != 700 || events[0]["user"].(map[string]any)["userID"] != "0" {
			t.Errorf("%d events arrived; want the oldest 700", len(events))
		}
	})
}

func TestAFullBatchDoesNotWaitForTheInterval(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := serveProject(t)
		c := e.client(WithFlushInterval(time.Hour))
		for i := range batchEvents {
			c.LogEvent(Event{User: User{UserID: fmt.Sprint(i)}, Name: "purchase"})
		}
		synctest.Wait()
		if events, _ := e.logged(); len(events) != batchEvents {
			t.Errorf("%d events arrived; want the %d of a batch", len(events), batchEvents)
		}
	})
}

func TestCloseSaysWhatItCouldNotSend(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := serveProject(t)
		e.down = true
		c := e.client()
		c.LogEvent(Event{User: *ann, Name: "purchase"})
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		err := c.Close(ctx)
		if err == nil || !strings.Contains(err.Error(), "1 exposures and events") {
			t.Errorf("Close() = %v; want it to count what was not sent", err)
		}
		if again := c.Close(t.Context()); !errors.Is(again, err) {
			t.Errorf("Close() again = %v; want the same answer", again)
		}
		c.LogEvent(Event{User: *ann, Name: "late"})
		if n := c.Status().Dropped; n != 2 {
			t.Errorf("%d dropped; want the one not sent and the late one", n)
		}
		if err := c.Flush(t.Context()); err == nil {
			t.Error("Flush() after Close = nil; want an error")
		}
	})
}

func TestWithoutLoggingNothingIsSent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := serveProject(t)
		c := e.client(WithoutLogging())
		ready(t, c)
		c.Gate(staff, "checkout")
		layer := c.Layer(staff, "home")
		layer.Text("layout", "")
		c.LogEvent(Event{User: *ann, Name: "purchase"})
		if err := c.Close(t.Context()); err != nil {
			t.Errorf("Close() = %v", err)
		}
		if events, _ := e.logged(); len(events) > 0 {
			t.Errorf("%v was sent; want nothing", events)
		}
	})
}

func TestAttributesThatJSONCannotExpressDoNotCostTheEvent(t *testing.T) {
	r := newRecorder(defaults(), testKey, nil)
	u := &User{UserID: "ann", Custom: map[string]any{"odd": math.NaN()}}
	text, err := r.encode(u, wireEvent{Name: "purchase"})
	if err != nil || !strings.Contains(string(text), `"userID":"ann"`) || strings.Contains(string(text), "odd") {
		t.Errorf("encode() = %s, %v; want the event without the attribute", text, err)
	}
	r.add(u, wireEvent{Name: "purchase", Value: math.Inf(1)})
	if r.waiting != 0 || r.dropped.Load() != 1 {
		t.Errorf("an event without a usable value: %d queued, %d dropped; want it dropped", r.waiting, r.dropped.Load())
	}
}
