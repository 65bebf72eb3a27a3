package live_test

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/gorilla/websocket"
	"go.uber.org/goleak"

	"github.com/sluice-flags/sluice/internal/auth"
	"github.com/sluice-flags/sluice/internal/bus"
	"github.com/sluice-flags/sluice/pkg/eval"
	wire "github.com/sluice-flags/sluice/pkg/events/live"
	"github.com/sluice-flags/sluice/pkg/flags"
	"github.com/sluice-flags/sluice/services/edge/internal/edgetest"
	"github.com/sluice-flags/sluice/services/edge/internal/follower"
	"github.com/sluice-flags/sluice/services/edge/internal/live"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// patience bounds every wait; nothing waits for it unless something is broken.
const patience = 20 * time.Second

// world is a hub on a real listener, in front of a project in memory.
type world struct {
	*edgetest.Project
	hub    *live.Hub
	server *httptest.Server
	stop   func() // drains the hub; may be called twice
	stale  bool
}

func newWorld(t *testing.T, o live.Options) *world {
	t.Helper()
	w := &world{Project: edgetest.New(t, "shop")}
	rulesets := follower.New(follower.Options{})
	resolver := auth.NewResolver(func(_ context.Context, project string) (*flags.State, error) {
		if project != "shop" {
			return nil, bus.ErrUnknownProject
		}
		return w.State(), nil
	}, "test", nil)
	w.hub = live.New(live.Deps{
		Resolve: resolver.Request, Scope: rulesets.Scope, Stale: func(string) bool { return w.stale },
	}, o)
	w.OnChange(rulesets.Changed)
	w.OnChange(func(_, after *flags.State, changed []flags.Ref) { w.hub.KeysChanged(after, changed) })
	w.server = httptest.NewServer(w.hub)

	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	var running sync.WaitGroup
	running.Go(func() {
		if err := w.hub.Run(ctx); err != nil {
			t.Errorf("Run() = %v", err)
		}
	})
	w.stop = sync.OnceFunc(func() { cancel(); running.Wait() })
	t.Cleanup(func() {
		w.stop()
		w.server.Close()
		rulesets.Close()
		if n := w.hub.Connections(); n != 0 {
			t.Errorf("%d connections after Run returned", n)
		}
	})
	return w
}

// client is one connection, and the frames that it got.
type client struct {
	t  *testing.T
	ws *websocket.Conn
}

func (w *world) dial(t *testing.T, header http.Header) *client {
	t.Helper()
	ws, _, err := websocket.DefaultDialer.Dial("ws"+strings.TrimPrefix(w.server.URL, "http")+wire.Path, header)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ws.Close() })
	return &client{t, ws}
}

// greet dials and says hello.
func (w *world) greet(t *testing.T, h wire.Hello) *client {
	t.Helper()
	c := w.dial(t, nil)
	h.Protocol = wire.Protocol
	c.send(h)
	return c
}

func (c *client) send(f wire.Frame) {
	c.t.Helper()
	text, err := wire.Encode(f)
	if err != nil {
		c.t.Fatal(err)
	}
	c.text(string(text))
}

func (c *client) text(s string) {
	c.t.Helper()
	if err := c.ws.WriteMessage(websocket.TextMessage, []byte(s)); err != nil {
		c.t.Fatalf("sending %.80s: %v", s, err)
	}
}

func (c *client) next() (wire.Frame, error) {
	_ = c.ws.SetReadDeadline(time.Now().Add(patience))
	_, text, err := c.ws.ReadMessage()
	if err != nil {
		return nil, err
	}
	return wire.DecodeServer(text)
}

// expect reads the next frame, which must be an F. Pings in between are skipped
// unless one is wanted.
func expect[F wire.Frame](c *client) F {
	c.t.Helper()
	for {
		f, err := c.next()
		if err != nil {
			c.t.Fatalf("waiting for a frame: %v", err)
		}
		if got, ok := f.(F); ok {
			return got
		}
		if _, ok := f.(wire.Ping); ok {
			continue
		}
		var want F
		c.t.Fatalf("got %s frame %+v, want %s", f.Type(), f, want.Type())
	}
}

// closed reads until the connection ends and returns the code.
func (c *client) closed() wire.CloseCode {
	c.t.Helper()
	for {
		if _, err := c.next(); err != nil {
			if ce, ok := errors.AsType[*websocket.CloseError](err); ok {
				return wire.CloseCode(ce.Code)
			}
			c.t.Fatalf("the connection ended without a close frame: %v", err)
		}
	}
}

// whole reads an answer that announces a full frame, and that frame.
func (c *client) whole() wire.Full {
	c.t.Helper()
	if a := expect[wire.Answer](c); a.Intent != wire.IntentFull {
		c.t.Fatalf("intent = %s, want full", a.Intent)
	}
	return expect[wire.Full](c)
}

// full is whole in values mode.
func (c *client) full() (wire.Full, payload) {
	c.t.Helper()
	f := c.whole()
	return f, read(c.t, f.Payload)
}

// payload is what the tests look at of an initialize body.
type payload struct {
	FeatureGates map[string]struct {
		Value  bool   `json:"value"`
		RuleID string `json:"rule_id"`
	} `json:"feature_gates"`
	DynamicConfigs map[string]struct {
		Value json.RawMessage `json:"value"`
	} `json:"dynamic_configs"`
}

func read(t *testing.T, raw json.RawMessage) payload {
	t.Helper()
	var p payload
	if err := json.Unmarshal(raw, &p); err != nil {
		t.Fatalf("payload %.200s: %v", raw, err)
	}
	return p
}

func user(id string) json.RawMessage { return json.RawMessage(`{"userID":"` + id + `"}`) }

func names(entries []wire.Entry) []string {
	var out []string
	for _, e := range entries {
		if e.Value == nil {
			out = append(out, "-"+e.Section+"/"+e.Name)
		} else {
			out = append(out, e.Section+"/"+e.Name)
		}
	}
	return out
}

func TestAClientGetsItsValuesThenOnlyWhatDiffersForIt(t *testing.T) {
	w := newWorld(t, live.Options{})
	w.Put(t, w.Gate("beta", edgetest.Only("u1")))
	w.Put(t, w.Gate("dependent", edgetest.When("beta")))
	w.Put(t, w.Config("banner", `{"text":"hello"}`))
	key := w.Key(t, flags.KeyClient)

	one := w.greet(t, wire.Hello{Key: key, User: user("u1")})
	two := w.greet(t, wire.Hello{Key: key, User: user("u2")})
	f1, p1 := one.full()
	_, p2 := two.full()
	if !p1.FeatureGates["beta"].Value || !p1.FeatureGates["dependent"].Value || p2.FeatureGates["beta"].Value {
		t.Errorf("beta is %v for u1 and %v for u2, want true and false", p1.FeatureGates["beta"], p2.FeatureGates["beta"])
	}
	if string(p1.DynamicConfigs["banner"].Value) != `{"text":"hello"}` {
		t.Errorf("banner = %s", p1.DynamicConfigs["banner"].Value)
	}
	if f1.Epoch != w.State().LogID() || f1.Seq != w.State().Seq() {
		t.Errorf("full frame is at %s/%d, want %s/%d", f1.Epoch, f1.Seq, w.State().LogID(), w.State().Seq())
	}

	// u2 joins: nothing differs for u1, whose rule passed before.
	seq := w.Put(t, w.Gate("beta", edgetest.Only("u1", "u2")))
	ch := expect[wire.Change](two)
	if diff := cmp.Diff([]string{"feature_gates/beta", "feature_gates/dependent"}, names(ch.Entries)); diff != "" {
		t.Errorf("change for u2 (-want +got):\n%s", diff)
	}
	if ch.Seq != seq || ch.Prev > ch.Seq || ch.Time != w.State().Time() {
		t.Errorf("change is %d → %d at %d, want → %d at %d", ch.Prev, ch.Seq, ch.Time, seq, w.State().Time())
	}

	// One more change that both see: u1 gets it next, because nothing came between.
	seq = w.Put(t, w.Config("banner", `{"text":"bye"}`))
	for _, c := range []*client{one, two} {
		ch := expect[wire.Change](c)
		if diff := cmp.Diff([]string{"dynamic_configs/banner"}, names(ch.Entries)); diff != "" || ch.Seq != seq {
			t.Errorf("change to %d, want %d (-want +got):\n%s", ch.Seq, seq, diff)
		}
		if ch.Prev > f1.Seq && c == one {
			t.Errorf("change builds on %d, but this client was last told %d: it would see a gap", ch.Prev, f1.Seq)
		}
	}

	// And an entity that goes.
	w.Delete(t, flags.KindGate, "dependent")
	if diff := cmp.Diff([]string{"-feature_gates/dependent"}, names(expect[wire.Change](one).Entries)); diff != "" {
		t.Errorf("deletion (-want +got):\n%s", diff)
	}
}

func TestApplyingChangesGivesWhatAFullStateWouldGive(t *testing.T) {
	w := newWorld(t, live.Options{})
	for i := range 5 {
		w.Put(t, w.Gate(fmt.Sprintf("g%d", i), edgetest.Nobody()))
	}
	key := w.Key(t, flags.KeyClient)
	c := w.greet(t, wire.Hello{Key: key, User: user("u1")})
	f, _ := c.full()
	held := entriesOf(t, f.Payload)
	for i := range 40 {
		rule := edgetest.Everyone()
		rule.PassPercentage = float64(i * 7 % 101)
		rule.ID = fmt.Sprintf("r%d", i)
		w.Put(t, w.Gate(fmt.Sprintf("g%d", i%5), rule))
	}
	w.Delete(t, flags.KindGate, "g0")
	seq := w.Put(t, w.Gate("last", edgetest.Everyone()))
	for at := f.Seq; at < seq; {
		ch := expect[wire.Change](c)
		if ch.Prev > at {
			t.Fatalf("change %d → %d leaves a gap behind %d", ch.Prev, ch.Seq, at)
		}
		at = ch.Seq
		for _, e := range ch.Entries {
			if e.Value == nil {
				delete(held, e.Section+"/"+e.Name)
			} else {
				held[e.Section+"/"+e.Name] = string(e.Value)
			}
		}
	}
	again, _ := w.greet(t, wire.Hello{Key: key, User: user("u1")}).full()
	if diff := cmp.Diff(entriesOf(t, again.Payload), held); diff != "" {
		t.Errorf("held after changes (-full +held):\n%s", diff)
	}
}

func entriesOf(t *testing.T, raw json.RawMessage) map[string]string {
	t.Helper()
	var sections map[string]json.RawMessage
	if err := json.Unmarshal(raw, &sections); err != nil {
		t.Fatal(err)
	}
	out := map[string]string{}
	for _, section := range wire.Sections {
		var entries map[string]json.RawMessage
		if err := json.Unmarshal(sections[section], &entries); err != nil {
			t.Fatal(err)
		}
		for name, e := range entries {
			out[section+"/"+name] = string(e)
		}
	}
	return out
}

func TestServersGetRulesAndCanFollowThem(t *testing.T) {
	w := newWorld(t, live.Options{})
	w.Put(t, w.Gate("beta", edgetest.Nobody()))
	key := w.Key(t, flags.KeyServer)
	c := w.greet(t, wire.Hello{Key: key})
	f := c.whole()
	specs, err := eval.ParseSpecs(f.Payload)
	if err != nil {
		t.Fatal(err)
	}
	rules := eval.Compile(specs, eval.Options{Sequence: f.Seq})

	seq := w.Put(t, w.Gate("beta", edgetest.Only("u1")))
	ch := expect[wire.Change](c)
	if ch.Seq != seq || ch.Prev > f.Seq {
		t.Errorf("change %d → %d, want one from %d or before to %d", ch.Prev, ch.Seq, f.Seq, seq)
	}
	var spec eval.Spec
	if err := json.Unmarshal(ch.Entries[0].Value, &spec); err != nil {
		t.Fatal(err)
	}
	rules = rules.Apply(eval.Change{Time: ch.Time, Sequence: ch.Seq, Set: []eval.Spec{spec}})
	if !rules.Gate(&eval.User{UserID: "u1"}, "beta").Pass || rules.Gate(&eval.User{UserID: "u2"}, "beta").Pass {
		t.Error("rules after the change do not decide as the project does")
	}
	w.Delete(t, flags.KindGate, "beta")
	if diff := cmp.Diff([]string{"-feature_gates/beta"}, names(expect[wire.Change](c).Entries)); diff != "" {
		t.Errorf("deletion (-want +got):\n%s", diff)
	}
}

func TestComingBack(t *testing.T) {
	w := newWorld(t, live.Options{})
	w.Put(t, w.Gate("a", edgetest.Nobody()))
	w.Put(t, w.Gate("b", edgetest.Nobody()))
	client, server := w.Key(t, flags.KeyClient), w.Key(t, flags.KeyServer)
	hellos := map[string]wire.Hello{
		"values": {Key: client, User: user("u1")},
		"rules":  {Key: server},
	}
	for name, h := range hellos {
		t.Run(name, func(t *testing.T) {
			first := w.greet(t, h)
			f := first.whole()
			first.ws.Close()
			h.Position = f.Position

			same := w.greet(t, h)
			if a := expect[wire.Answer](same); a.Intent != wire.IntentNone || a.Seq != w.State().Seq() {
				t.Errorf("nothing happened: answer %+v, want none at %d", a, w.State().Seq())
			}

			w.Put(t, w.Gate("a", edgetest.Everyone()))
			w.Put(t, w.Gate("a", edgetest.Only("u1", name)))
			behind := w.greet(t, h)
			if a := expect[wire.Answer](behind); a.Intent != wire.IntentChanges {
				t.Errorf("two changes behind: answer %+v, want changes", a)
			}
			ch := expect[wire.Change](behind)
			if diff := cmp.Diff([]string{"feature_gates/a"}, names(ch.Entries)); diff != "" || ch.Prev > f.Seq || ch.Seq != w.State().Seq() {
				t.Errorf("change %d → %d (-want +got):\n%s", ch.Prev, ch.Seq, diff)
			}

			for reason, p := range map[string]wire.Position{
				"another log":     {Epoch: "other", Seq: f.Seq, Context: f.Context},
				"another context": {Epoch: f.Epoch, Seq: f.Seq, Context: "other"},
				"no context":      {Epoch: f.Epoch, Seq: f.Seq},
				"the future":      {Epoch: f.Epoch, Seq: f.Seq + 1000, Context: f.Context},
			} {
				h.Position = p
				if a := expect[wire.Answer](w.greet(t, h)); a.Intent != wire.IntentFull {
					t.Errorf("a position of %s: intent %s, want full", reason, a.Intent)
				}
			}
			w.Put(t, w.Gate("a", edgetest.Nobody()))
		})
	}
}

func TestAClientThatMissedSomethingSaysSoAndIsHelped(t *testing.T) {
	w := newWorld(t, live.Options{})
	w.Put(t, w.Gate("a", edgetest.Nobody()))
	key := w.Key(t, flags.KeyClient)
	c := w.greet(t, wire.Hello{Key: key, User: user("u1")})
	f, _ := c.full()
	w.Put(t, w.Gate("a", edgetest.Everyone()))
	expect[wire.Change](c) // and let us pretend it was lost
	c.send(f.Position)
	if a := expect[wire.Answer](c); a.Intent != wire.IntentChanges {
		t.Errorf("intent = %s, want changes", a.Intent)
	}
	if ch := expect[wire.Change](c); len(ch.Entries) != 1 || ch.Prev != f.Seq {
		t.Errorf("change = %+v, want gate a from %d", ch, f.Seq)
	}
	c.send(wire.Position{Epoch: "lost my memory"})
	c.full()
}

func TestAChangeOfUserIsAnsweredInFull(t *testing.T) {
	w := newWorld(t, live.Options{})
	w.Put(t, w.Gate("a", edgetest.Only("u2")))
	c := w.greet(t, wire.Hello{Key: w.Key(t, flags.KeyClient), User: user("u1")})
	first, p := c.full()
	if p.FeatureGates["a"].Value {
		t.Error("gate a passes for u1")
	}
	c.send(wire.User{User: user("u2")})
	second, p := c.full()
	if !p.FeatureGates["a"].Value || first.Context == second.Context {
		t.Errorf("for u2 gate a is %v in context %s (before: %s), want true in another", p.FeatureGates["a"].Value, second.Context, first.Context)
	}
}

func TestValuesTurnWhenTimePassesABoundary(t *testing.T) {
	w := newWorld(t, live.Options{})
	// The client has to be there before the boundary: on a machine that is too
	// slow for one, the next is further away.
	key := w.Key(t, flags.KeyClient)
	greet := func(margin time.Duration) (*client, wire.Full, bool) {
		w.Put(t, w.Gate("launch", edgetest.After(time.Now().Add(margin))))
		c := w.greet(t, wire.Hello{Key: key, User: user("u1")})
		f, p := c.full()
		return c, f, !p.FeatureGates["launch"].Value
	}
	margin := 300 * time.Millisecond
	c, f, before := greet(margin)
	for !before {
		margin *= 2
		c, f, before = greet(margin)
	}
	ch := expect[wire.Change](c)
	if diff := cmp.Diff([]string{"feature_gates/launch"}, names(ch.Entries)); diff != "" || ch.Prev > f.Seq || ch.Seq != f.Seq {
		t.Errorf("change %d → %d, want one at %d (-want +got):\n%s", ch.Prev, ch.Seq, f.Seq, diff)
	}
	if !strings.Contains(string(ch.Entries[0].Value), `"value":true`) {
		t.Errorf("launch = %s, want it to pass", ch.Entries[0].Value)
	}
}

func TestPingsMoveThePositionOverCommitsThatConcernNobody(t *testing.T) {
	w := newWorld(t, live.Options{Ping: 100 * time.Millisecond})
	w.Put(t, w.Gate("a", edgetest.Nobody()))
	c := w.greet(t, wire.Hello{Key: w.Key(t, flags.KeyClient), User: user("u1")})
	f, _ := c.full()
	seq := w.Put(t, &flags.Metric{Name: "orders", Type: "event_count", Measure: flags.Measure{Event: "order"}})
	for {
		if p := expect[wire.Ping](c); p.Seq == seq {
			break
		} else if p.Seq != f.Seq {
			t.Fatalf("ping names %d, want %d or %d", p.Seq, f.Seq, seq)
		}
	}
	w.Put(t, w.Gate("a", edgetest.Everyone()))
	if ch := expect[wire.Change](c); ch.Prev > seq {
		t.Errorf("change builds on %d, want %d or before", ch.Prev, seq)
	}
}

func TestNamesAreHashedAsTheClientAsks(t *testing.T) {
	w := newWorld(t, live.Options{})
	w.Put(t, w.Gate("a", edgetest.Nobody()))
	key := w.Key(t, flags.KeyClient)
	for hash, mode := range map[string]eval.HashMode{"": eval.HashNone, "none": eval.HashNone, "djb2": eval.HashDJB2, "sha256": eval.HashSHA256} {
		_, p := w.greet(t, wire.Hello{Key: key, User: user("u1"), Hash: hash}).full()
		if _, ok := p.FeatureGates[eval.HashName(mode, "a")]; !ok {
			t.Errorf("hash %q: no gate %s among %v", hash, eval.HashName(mode, "a"), p.FeatureGates)
		}
	}
}

func TestClientsNeverSeeRules(t *testing.T) {
	planted := []string{"planted-salt", "planted.person@example.com", "planted_segment", "planted_hidden", "planted-rule-name"}
	w := newWorld(t, live.Options{})
	w.Put(t, &flags.Segment{Name: "planted_segment", Rules: []flags.Rule{edgetest.Only("u1")}, UnitType: "userID"})
	hidden := w.Gate("planted_hidden", edgetest.Everyone())
	hidden.ClientVisible = new(false)
	w.Put(t, hidden)
	change := func(on bool) {
		rule := edgetest.Everyone()
		rule.Name = "planted-rule-name"
		rule.Conditions = []flags.Condition{
			{Type: "email", Operator: "any", TargetValue: json.RawMessage(`["planted.person@example.com"]`)},
			{Type: "passes_segment", TargetValue: json.RawMessage(`"planted_segment"`)},
		}
		g := w.Gate("seen", rule)
		g.Salt = "planted-salt"
		if on {
			g.Rules = []flags.Rule{edgetest.Everyone()}
		}
		w.Put(t, g)
	}
	change(false)
	key := w.Key(t, flags.KeyClient)
	c := w.greet(t, wire.Hello{Key: key, User: user("u1")})
	var seen strings.Builder
	f, _ := c.full()
	seen.Write(f.Payload)
	w.Put(t, &flags.Segment{ID: idOf(t, w, flags.KindSegment, "planted_segment"), Name: "planted_segment", Rules: []flags.Rule{edgetest.Only("u2")}, UnitType: "userID"})
	hidden.ID = idOf(t, w, flags.KindGate, "planted_hidden")
	hidden.Rules = []flags.Rule{edgetest.Nobody()}
	w.Put(t, hidden)
	w.Delete(t, flags.KindGate, "planted_hidden")
	change(true)
	text, err := wire.Encode(expect[wire.Change](c))
	if err != nil {
		t.Fatal(err)
	}
	seen.Write(text)
	if !strings.Contains(string(text), `"value":true`) {
		t.Errorf("change = %s, want gate seen to pass", text)
	}
	for _, s := range planted {
		if strings.Contains(seen.String(), s) {
			t.Errorf("a client saw %q in %s", s, seen.String())
		}
	}
}

func idOf(t *testing.T, w *world, kind flags.Kind, name string) string {
	t.Helper()
	e, ok := w.State().ByName(kind, name)
	if !ok {
		t.Fatalf("no %s %q", kind, name)
	}
	return e.Ref.ID
}

func TestHellosThatAreRefused(t *testing.T) {
	w := newWorld(t, live.Options{})
	client, server, console := w.Key(t, flags.KeyClient), w.Key(t, flags.KeyServer), w.Key(t, flags.KeyConsole)
	app := w.Key(t, flags.KeyClient, func(k *flags.Key) { k.TargetApps = []string{"web"} })
	expired := w.Key(t, flags.KeyClient, func(k *flags.Key) { k.ExpiresAt = new(time.Now().Add(-time.Minute)) })
	unknown, _ := auth.Generate(flags.KeyClient, "shop")
	hello := func(format string, args ...any) string {
		return `{"type":"hello",` + fmt.Sprintf(format, args...) + `}`
	}
	tests := []struct {
		name, text string
		want       wire.CloseCode
	}{
		{"nonsense", `nonsense`, wire.CloseBadFrame},
		{"not a hello", `{"type":"user","user":{}}`, wire.CloseBadFrame},
		{"unknown frame", `{"type":"subscribe"}`, wire.CloseBadFrame},
		{"no protocol", hello(`"key":%q`, client), wire.CloseBadFrame},
		{"another protocol", hello(`"protocol":9,"key":%q`, client), wire.CloseUpgrade},
		{"no key", hello(`"protocol":1`), wire.CloseUnauthorized},
		{"a malformed key", hello(`"protocol":1,"key":"client-x"`), wire.CloseUnauthorized},
		{"an unknown key", hello(`"protocol":1,"key":%q`, unknown), wire.CloseUnauthorized},
		{"an expired key", hello(`"protocol":1,"key":%q`, expired), wire.CloseUnauthorized},
		{"a console key", hello(`"protocol":1,"key":%q`, console), wire.CloseForbidden},
		{"a client key that wants rules", hello(`"protocol":1,"key":%q,"mode":"rules"`, client), wire.CloseForbidden},
		{"another target app", hello(`"protocol":1,"key":%q,"targetApp":"ios"`, app), wire.CloseForbidden},
		{"unknown mode", hello(`"protocol":1,"key":%q,"mode":"x"`, client), wire.CloseBadFrame},
		{"a user with a list as id", hello(`"protocol":1,"key":%q,"user":{"userID":[]}`, client), wire.CloseBadFrame},
		{"a user in rules mode later", hello(`"protocol":1,"key":%q`, server) + "\n" + `{"type":"user","user":{}}`, wire.CloseBadFrame},
		{"a second hello", hello(`"protocol":1,"key":%q`, client) + "\n" + hello(`"protocol":1`), wire.CloseBadFrame},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c := w.dial(t, nil)
			for frame := range strings.SplitSeq(tt.text, "\n") {
				c.text(frame)
			}
			if got := c.closed(); got != tt.want {
				t.Errorf("after %.100s the connection was closed with %d, want %d", tt.text, got, tt.want)
			}
		})
	}
}

func TestConnectionsThatMisbehaveAreClosedWithTheReason(t *testing.T) {
	w := newWorld(t, live.Options{HelloTimeout: 200 * time.Millisecond})
	key := w.Key(t, flags.KeyClient)
	greeted := func(t *testing.T) *client {
		c := w.greet(t, wire.Hello{Key: key, User: user("u1")})
		c.full()
		return c
	}
	tests := []struct {
		name string
		do   func(t *testing.T) *client
		want wire.CloseCode
	}{
		{"no hello in time", func(t *testing.T) *client { return w.dial(t, nil) }, wire.CloseUnauthorized},
		{"a frame of 65 KiB", func(t *testing.T) *client {
			c := greeted(t)
			c.text(`{"type":"user","user":{"userID":"` + strings.Repeat("x", 65<<10) + `"}}`)
			return c
		}, wire.CloseTooBig},
		{"binary frames", func(t *testing.T) *client {
			c := greeted(t)
			if err := c.ws.WriteMessage(websocket.BinaryMessage, []byte(`{}`)); err != nil {
				t.Fatal(err)
			}
			return c
		}, wire.CloseBadFrame},
		{"a flood of frames", func(t *testing.T) *client {
			c := greeted(t)
			go func() { // ends when the edge closes the connection
				for c.ws.WriteMessage(websocket.TextMessage, []byte(`{"type":"position","epoch":"x"}`)) == nil {
				}
			}()
			return c
		}, wire.CloseFlood},
		{"a flood of pings", func(t *testing.T) *client {
			c := greeted(t)
			go func() { // as above
				for c.ws.WriteControl(websocket.PingMessage, nil, time.Now().Add(patience)) == nil {
				}
			}()
			return c
		}, wire.CloseFlood},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := tt.do(t).closed(); got != tt.want {
				t.Errorf("closed with %d, want %d", got, tt.want)
			}
		})
	}
}

func TestKeysThatLoseTheirRightsLoseTheirConnections(t *testing.T) {
	w := newWorld(t, live.Options{})
	w.Put(t, &flags.Environment{Name: "staging"})
	kept, revoked, moved, deleted := w.Key(t, flags.KeyClient), w.Key(t, flags.KeyClient), w.Key(t, flags.KeyClient), w.Key(t, flags.KeyServer)
	clients := map[string]*client{}
	for _, key := range []string{kept, revoked, moved, deleted} {
		clients[key] = w.greet(t, wire.Hello{Key: key, User: user("u1")})
		clients[key].whole()
	}
	doc := w.KeyOf(t, revoked)
	doc.Revoked = true
	w.Put(t, doc)
	if got := clients[revoked].closed(); got != wire.CloseUnauthorized {
		t.Errorf("connection of a revoked key closed with %d, want %d", got, wire.CloseUnauthorized)
	}
	doc = w.KeyOf(t, moved)
	doc.Environments = []string{"staging"}
	w.Put(t, doc)
	expect[wire.Goodbye](clients[moved])
	if got := clients[moved].closed(); got != wire.CloseRestart {
		t.Errorf("connection of a key that sees something else closed with %d, want %d", got, wire.CloseRestart)
	}
	w.Delete(t, flags.KindKey, w.KeyOf(t, deleted).Name)
	if got := clients[deleted].closed(); got != wire.CloseUnauthorized {
		t.Errorf("connection of a deleted key closed with %d, want %d", got, wire.CloseUnauthorized)
	}
	again := w.greet(t, wire.Hello{Key: revoked, User: user("u1")})
	if got := again.closed(); got != wire.CloseUnauthorized {
		t.Errorf("a revoked key that comes back is closed with %d, want %d", got, wire.CloseUnauthorized)
	}
	w.Put(t, w.Gate("a", edgetest.Everyone()))
	expect[wire.Change](clients[kept]) // the others' fate is not its own
}

func TestAKeyThatExpiresWhileConnectedIsClosed(t *testing.T) {
	w := newWorld(t, live.Options{Ping: 100 * time.Millisecond})
	key := w.Key(t, flags.KeyClient, func(k *flags.Key) { k.ExpiresAt = new(time.Now().Add(time.Second)) })
	c := w.greet(t, wire.Hello{Key: key, User: user("u1")})
	c.full()
	if got := c.closed(); got != wire.CloseUnauthorized {
		t.Errorf("closed with %d, want %d", got, wire.CloseUnauthorized)
	}
}

func TestHandshakesThatAreRefusedBeforeTheUpgrade(t *testing.T) {
	w := newWorld(t, live.Options{Handshakes: 1000})
	client, server, console := w.Key(t, flags.KeyClient), w.Key(t, flags.KeyServer), w.Key(t, flags.KeyConsole)
	unknown, _ := auth.Generate(flags.KeyClient, "shop")
	bearer := func(key string) http.Header { return http.Header{"Authorization": {"Bearer " + key}} }
	tests := []struct {
		name, query string
		header      http.Header
		want        int
	}{
		{"a key in k", "?k=" + client, nil, http.StatusBadRequest},
		{"a key under any name", "?x=" + client, nil, http.StatusBadRequest},
		{"an unknown key in the header", "", bearer(unknown), http.StatusUnauthorized},
		{"a console key", "", bearer(console), http.StatusForbidden},
		{"a server key from a browser", "", http.Header{"Authorization": {"Bearer " + server}, "Origin": {"https://shop.example"}}, http.StatusForbidden},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			ws, res, err := websocket.DefaultDialer.Dial("ws"+strings.TrimPrefix(w.server.URL, "http")+wire.Path+tt.query, tt.header)
			if err == nil {
				ws.Close()
				t.Fatal("the upgrade succeeded")
			}
			if res == nil || res.StatusCode != tt.want || res.Header.Get("Content-Type") != "application/problem+json" {
				t.Errorf("answer = %v, want status %d and a problem document", res, tt.want)
			}
		})
	}
	res, err := http.Get(w.server.URL + wire.Path)
	if err != nil {
		t.Fatal(err)
	}
	res.Body.Close()
	if res.StatusCode != http.StatusBadRequest {
		t.Errorf("a plain GET is answered %d, want 400", res.StatusCode)
	}
	// A key in the header needs none in the hello.
	c := w.dial(t, bearer(client))
	c.send(wire.Hello{Protocol: 1, User: user("u1")})
	c.full()
}

func TestAdmissionIsBounded(t *testing.T) {
	w := newWorld(t, live.Options{MaxConnections: 2, Handshakes: 3})
	key := w.Key(t, flags.KeyClient)
	w.greet(t, wire.Hello{Key: key}).full()
	second := w.greet(t, wire.Hello{Key: key})
	second.full()
	for i := range 2 { // the third is one too many, the fourth comes too soon besides
		_, res, err := websocket.DefaultDialer.Dial("ws"+strings.TrimPrefix(w.server.URL, "http")+wire.Path, nil)
		if err == nil || res == nil || res.StatusCode != http.StatusServiceUnavailable || res.Header.Get("Retry-After") == "" {
			t.Errorf("handshake %d: %v, %v; want 503 with Retry-After", i+3, res, err)
		}
	}
}

func TestOneClientThatStopsReadingDelaysNobody(t *testing.T) {
	w := newWorld(t, live.Options{Stall: 300 * time.Millisecond})
	big := `{"text":"` + strings.Repeat("x", 50<<10) + `"}`
	w.Put(t, w.Config("banner", big))
	key := w.Key(t, flags.KeyClient)

	// A socket with a small buffer, whose owner never reads again.
	dialer := websocket.Dialer{NetDial: func(network, addr string) (net.Conn, error) {
		c, err := net.Dial(network, addr)
		if err == nil {
			err = c.(*net.TCPConn).SetReadBuffer(4 << 10)
		}
		return c, err
	}}
	ws, _, err := dialer.Dial("ws"+strings.TrimPrefix(w.server.URL, "http")+wire.Path, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer ws.Close()
	deaf := &client{t, ws}
	deaf.send(wire.Hello{Protocol: 1, Key: key, User: user("deaf")})

	reader := w.greet(t, wire.Hello{Key: key, User: user("u1")})
	reader.full()
	for i := range 20 {
		seq := w.Put(t, w.Config("banner", strings.Replace(big, "x", fmt.Sprint(i), 1)))
		if ch := expect[wire.Change](reader); ch.Seq != seq {
			t.Fatalf("change to %d, want %d", ch.Seq, seq)
		}
	}
	// The deaf one's time is up: the edge has let it go.
	deadline := time.Now().Add(patience)
	for w.hub.Connections() != 1 {
		if time.Now().After(deadline) {
			t.Fatalf("%d connections, want only the one that reads", w.hub.Connections())
		}
		time.Sleep(10 * time.Millisecond)
	}
}

func TestASlowClientGetsTheNewestStateAndNotTheHistory(t *testing.T) {
	w := newWorld(t, live.Options{Stall: patience})
	filler := strings.Repeat("x", 50<<10)
	for i := range 40 { // two megabytes: more than a socket takes unread
		w.Put(t, w.Config(fmt.Sprintf("big%d", i), `{"text":"`+filler+`"}`))
	}
	w.Put(t, w.Gate("a", edgetest.Nobody()))
	key := w.Key(t, flags.KeyClient)
	c := w.greet(t, wire.Hello{Key: key, User: user("u1")})
	expect[wire.Answer](c)
	// It reads no more while fifty changes go by: its full state is still on the way.
	var last uint64
	for i := range 50 {
		rule := edgetest.Everyone()
		rule.ID = fmt.Sprintf("r%d", i)
		last = w.Put(t, w.Gate("a", rule))
	}
	expect[wire.Full](c)
	frames := 0
	for {
		ch := expect[wire.Change](c)
		frames++
		if ch.Seq == last {
			break
		}
	}
	if frames > 5 {
		t.Errorf("a client that was slow for fifty changes got %d frames, want one or two", frames)
	}
}

func TestADrainTellsEverybodyWhenToComeBack(t *testing.T) {
	w := newWorld(t, live.Options{Spread: 30 * time.Second})
	key := w.Key(t, flags.KeyClient)
	var clients []*client
	for range 8 {
		c := w.greet(t, wire.Hello{Key: key, User: user("u1")})
		c.full()
		clients = append(clients, c)
	}
	quiet := w.dial(t, nil) // never said hello
	stopped := make(chan struct{})
	go func() { w.stop(); close(stopped) }()
	retries := map[int64]bool{}
	for _, c := range clients {
		g := expect[wire.Goodbye](c)
		if g.RetryMs < 0 || g.RetryMs > 30_000 {
			t.Errorf("retryMs = %d, want within 30 s", g.RetryMs)
		}
		retries[g.RetryMs] = true
		if got := c.closed(); got != wire.CloseRestart {
			t.Errorf("closed with %d, want %d", got, wire.CloseRestart)
		}
	}
	if len(retries) < 2 {
		t.Errorf("everybody is to come back at the same time: %v", retries)
	}
	if got := quiet.closed(); got != wire.CloseRestart {
		t.Errorf("a connection without hello is closed with %d, want %d", got, wire.CloseRestart)
	}
	select {
	case <-stopped:
	case <-time.After(patience):
		t.Fatal("Run did not return")
	}
	res, err := http.Get(w.server.URL + wire.Path)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	_, _ = io.Copy(io.Discard, res.Body)
}

func TestManyClientsAllEndOnTheNewestState(t *testing.T) {
	w := newWorld(t, live.Options{Handshakes: 10_000})
	w.Put(t, w.Gate("a", edgetest.Nobody()))
	key := w.Key(t, flags.KeyClient)
	const n = 200
	var clients []*client
	for i := range n {
		c := w.greet(t, wire.Hello{Key: key, User: user(fmt.Sprintf("u%d", i))})
		c.full()
		clients = append(clients, c)
	}
	var last uint64
	for i := range 20 {
		rule := edgetest.Everyone()
		rule.ID = fmt.Sprintf("r%d", i)
		last = w.Put(t, w.Gate("a", rule))
	}
	for i, c := range clients {
		at := uint64(0)
		for at != last {
			ch := expect[wire.Change](c)
			if ch.Seq <= at || at != 0 && ch.Prev > at {
				t.Fatalf("client %d: change %d → %d behind %d", i, ch.Prev, ch.Seq, at)
			}
			at = ch.Seq
		}
	}
}

func TestStaleEdgesSaySo(t *testing.T) {
	w := newWorld(t, live.Options{})
	w.stale = true
	c := w.greet(t, wire.Hello{Key: w.Key(t, flags.KeyClient), User: user("u1")})
	if a := expect[wire.Answer](c); !a.Stale {
		t.Errorf("answer = %+v, want it marked stale", a)
	}
}

// events is a client without WebSockets.
type events struct {
	t    *testing.T
	body *bufio.Reader
}

func (w *world) post(t *testing.T, hello string, header http.Header) *http.Response {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, w.server.URL+wire.Path, strings.NewReader(hello))
	if err != nil {
		t.Fatal(err)
	}
	for name, values := range header {
		r.Header[name] = values
	}
	res, err := http.DefaultTransport.RoundTrip(r)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { res.Body.Close() })
	return res
}

func (e *events) next() wire.Frame {
	e.t.Helper()
	for {
		line, err := e.body.ReadString('\n')
		if err != nil {
			e.t.Fatalf("waiting for an event: %v", err)
		}
		text, ok := strings.CutPrefix(line, "data: ")
		if !ok {
			continue
		}
		f, err := wire.DecodeServer([]byte(text))
		if err != nil {
			e.t.Fatal(err)
		}
		return f
	}
}

func TestAClientWithoutWebSocketsGetsTheSameFrames(t *testing.T) {
	w := newWorld(t, live.Options{})
	w.Put(t, w.Gate("a", edgetest.Nobody()))
	key := w.Key(t, flags.KeyClient)
	res := w.post(t, `{"type":"hello","protocol":1,"user":{"userID":"u1"}}`, http.Header{"Authorization": {"Bearer " + key}, "Origin": {"https://shop.example"}})
	if res.StatusCode != 200 || res.Header.Get("Content-Type") != "text/event-stream" || res.Header.Get("Access-Control-Allow-Origin") != "*" {
		t.Fatalf("answer = %d %v", res.StatusCode, res.Header)
	}
	e := &events{t, bufio.NewReader(res.Body)}
	if a, ok := e.next().(wire.Answer); !ok || a.Intent != wire.IntentFull {
		t.Errorf("first event = %+v, want the intent full", a)
	}
	full, ok := e.next().(wire.Full)
	if !ok || read(t, full.Payload).FeatureGates["a"].Value {
		t.Errorf("second event = %+v, want the full state with a off", full)
	}
	seq := w.Put(t, w.Gate("a", edgetest.Everyone()))
	if ch, ok := e.next().(wire.Change); !ok || ch.Seq != seq || len(ch.Entries) != 1 {
		t.Errorf("third event = %+v, want the change to %d", ch, seq)
	}
	doc := w.KeyOf(t, key)
	doc.Revoked = true
	w.Put(t, doc)
	if f, ok := e.next().(wire.Closed); !ok || f.Code != wire.CloseUnauthorized {
		t.Errorf("after the revocation = %+v, want closed with %d", f, wire.CloseUnauthorized)
	}
	if _, err := e.body.ReadString('\n'); err == nil {
		if _, err = io.ReadAll(e.body); err != nil {
			t.Errorf("the stream did not end cleanly: %v", err)
		}
	}
}

func TestEventStreamsEndWithAGoodbye(t *testing.T) {
	w := newWorld(t, live.Options{})
	key := w.Key(t, flags.KeyServer)
	res := w.post(t, `{"type":"hello","protocol":1,"key":"`+key+`"}`, nil)
	e := &events{t, bufio.NewReader(res.Body)}
	e.next()
	e.next()
	w.hub.Goodbye()
	if g, ok := e.next().(wire.Goodbye); !ok {
		t.Errorf("got %+v, want goodbye", g)
	}
	if f, ok := e.next().(wire.Closed); !ok || f.Code != wire.CloseRestart {
		t.Errorf("got %+v, want closed with %d", f, wire.CloseRestart)
	}
	if res := w.post(t, `{"type":"hello","protocol":1,"key":"`+key+`"}`, nil); res.StatusCode != http.StatusServiceUnavailable {
		t.Errorf("a stream after the goodbye is answered %d, want 503", res.StatusCode)
	}
}

func TestHellosThatGetNoEventStream(t *testing.T) {
	w := newWorld(t, live.Options{})
	client := w.Key(t, flags.KeyClient)
	for _, tt := range []struct {
		name, hello string
		want        int
	}{
		{"nothing", ``, 400},
		{"nonsense", `nonsense`, 400},
		{"another frame", `{"type":"user","user":{}}`, 400},
		{"no key", `{"type":"hello","protocol":1}`, 401},
		{"a malformed key", `{"type":"hello","protocol":1,"key":"x"}`, 401},
		{"rules with a client key", `{"type":"hello","protocol":1,"mode":"rules","key":"` + client + `"}`, 403},
		{"another protocol", `{"type":"hello","protocol":2,"key":"` + client + `"}`, 400},
		{"too large", `{"type":"hello","protocol":1,"user":{"userID":"` + strings.Repeat("x", 65<<10) + `"}}`, 413},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if res := w.post(t, tt.hello, nil); res.StatusCode != tt.want {
				t.Errorf("POST %.80s = %d, want %d", tt.hello, res.StatusCode, tt.want)
			}
		})
	}
}

func TestAConnectionEndsWhenItsKeyDoes(t *testing.T) {
	w := newWorld(t, live.Options{Ping: time.Hour}) // no ping comes to notice it
	soon := func(k *flags.Key) { k.ExpiresAt = new(time.Now().Add(300 * time.Millisecond)) }
	shortened := w.Key(t, flags.KeyClient)
	first := w.greet(t, wire.Hello{Key: w.Key(t, flags.KeyClient, soon), User: user("u1")})
	second := w.greet(t, wire.Hello{Key: shortened, User: user("u1")})
	second.whole()

	doc := w.KeyOf(t, shortened)
	soon(doc)
	w.Put(t, doc)
	for name, c := range map[string]*client{"a key that had little time": first, "a key whose time was shortened": second} {
		for {
			f, err := c.next()
			if err == nil {
				if _, ok := f.(wire.Ping); ok {
					t.Errorf("the connection of %s was pinged", name)
				}
				continue
			}
			var end *websocket.CloseError
			if !errors.As(err, &end) || wire.CloseCode(end.Code) != wire.CloseUnauthorized {
				t.Errorf("the connection of %s ended with %v, want %d", name, err, wire.CloseUnauthorized)
			}
			break
		}
	}
}
