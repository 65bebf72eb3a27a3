package sluice

import (
	"encoding/json"
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// project is a download with one of everything: a gate, a config that asks it,
// and a layer whose experiment owns one of its two parameters.
const project = `{"has_updates":true,"time":1000,
"feature_gates":[{"name":"checkout","type":"feature_gate","entity":"feature_gate","salt":"s","enabled":true,"defaultValue":false,"idType":"userID",
  "rules":[{"name":"staff","id":"staff:100","passPercentage":100,"returnValue":true,"idType":"userID",
    "conditions":[{"type":"user_field","field":"email","operator":"str_ends_with_any","targetValue":["@example.com"],"idType":"userID"}]}]}],
"dynamic_configs":[
 {"name":"button","type":"dynamic_config","entity":"dynamic_config","salt":"b","enabled":true,"defaultValue":{"color":"grey"},"idType":"userID",
  "rules":[{"name":"beta","id":"beta","passPercentage":100,"returnValue":{"color":"green","size":12,"ratio":0.5,"on":true,"tags":["a"],"none":null},"idType":"userID",
    "conditions":[{"type":"pass_gate","targetValue":"checkout","idType":"userID"}]}]},
 {"name":"pricing","type":"dynamic_config","entity":"experiment","salt":"p","enabled":true,"isActive":true,"hasSharedParams":true,"explicitParameters":["layout"],
  "defaultValue":{"layout":"old","shade":"light"},"idType":"userID",
  "rules":[{"name":"wide","id":"wide","groupName":"wide","isExperimentGroup":true,"passPercentage":100,"returnValue":{"layout":"wide","shade":"light"},"idType":"userID",
    "conditions":[{"type":"public","idType":"userID"}]}]}],
"layer_configs":[{"name":"home","type":"dynamic_config","entity":"layer","salt":"h","enabled":true,"defaultValue":{"layout":"old","shade":"light"},"idType":"userID",
  "rules":[{"name":"pricing","id":"pricing","passPercentage":100,"returnValue":{},"configDelegate":"pricing","idType":"userID","conditions":[{"type":"public","idType":"userID"}]}]}],
"layers":{"home":["pricing"]}}`

func local(t testing.TB, opts ...Option) *Client {
	t.Helper()
	c, err := New("", append([]Option{WithLocalMode(), WithBootstrap([]byte(project))}, opts...)...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close(t.Context()) }) // nothing to lose
	return c
}

var staff = &User{UserID: "ann", Email: "ann@example.com"}

func TestALocalClientDecidesByItsBootstrap(t *testing.T) {
	c := local(t)
	if err := c.Ready(t.Context()); err != nil {
		t.Errorf("Ready() = %v; want nil", err)
	}
	if s := c.Status(); s.State != Off || s.Time != 1000 {
		t.Errorf("Status() = %+v; want off, with the bootstrap's time", s)
	}
	if got := c.Gate(staff, "checkout"); !got.Value || got.RuleID != "staff:100" || got.Reason != ReasonRule || got.IDType != "userID" || got.Source != SourceBootstrap {
		t.Errorf("Gate(staff) = %+v; want true by staff:100 of the bootstrap, for the user's id", got)
	}
	if got := c.Gate(&User{UserID: "bob"}, "checkout"); got.Value || got.Reason != ReasonDefault {
		t.Errorf("Gate(bob) = %+v; want false by default", got)
	}
	if got := c.Gate(nil, "checkout"); got.Value {
		t.Errorf("Gate(nobody) = %+v; want false", got)
	}
	if got := c.Experiment(staff, "pricing"); got.Group != "wide" || got.Text("layout", "") != "wide" {
		t.Errorf("Experiment(pricing) = %+v %s; want the wide group", got, got.Object)
	}
	layer := c.Layer(staff, "home")
	if got := layer.Text("layout", "?"); got != "wide" || layer.Group != "wide" {
		t.Errorf("Layer(home).Text(layout) = %q in group %q; want wide", got, layer.Group)
	}
	if got := c.Layer(staff, "attic"); got.Found || got.Text("layout", "mine") != "mine" {
		t.Errorf("Layer(attic) = %+v; want the caller's default", got)
	}
}

func TestGettersReturnTheDefaultUnlessTheMemberFits(t *testing.T) {
	button := local(t).Config(staff, "button")
	for _, tt := range []struct {
		call      string
		got, want any
	}{
		{"Text(color)", button.Text("color", "?"), "green"},
		{"Text(size)", button.Text("size", "?"), "?"},
		{"Text(none)", button.Text("none", "?"), "?"},
		{"Text(absent)", button.Text("absent", "?"), "?"},
		{"Int(size)", button.Int("size", -1), int64(12)},
		{"Int(ratio)", button.Int("ratio", -1), int64(-1)},
		{"Float(size)", button.Float("size", -1), 12.0},
		{"Float(ratio)", button.Float("ratio", -1), 0.5},
		{"Float(color)", button.Float("color", -1), -1.0},
		{"Bool(on)", button.Bool("on", false), true},
		{"Bool(size)", button.Bool("size", false), false},
		{"Get(tags)", func() any { var tags []string; return []any{button.Get("tags", &tags), tags} }(), []any{true, []string{"a"}}},
		{"of nothing", Config{}.Text("color", "?"), "?"},
	} {
		if diff := cmp.Diff(tt.want, tt.got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", tt.call, diff)
		}
	}
	var whole struct {
		Color string
		Size  int
	}
	if err := button.Decode(&whole); err != nil || whole.Color != "green" || whole.Size != 12 {
		t.Errorf("Decode() = %v, %+v; want green and 12", err, whole)
	}
}

// member finds what encoding/json finds, in any object.
func FuzzMember(f *testing.F) {
	f.Add([]byte(`{"a":1,"b":{"a":[2,"}"]},"c\"":" \\","é":null , "e" : -1.5e3 }`), "a")
	f.Add([]byte(`{"a\u0062":true,"x":[[],{}]}`), "ab")
	f.Add([]byte(` { } `), "")
	f.Fuzz(func(t *testing.T, text []byte, name string) {
		var all map[string]json.RawMessage
		if json.Unmarshal(text, &all) != nil || all == nil {
			_, _ = Object(text).member(name) // need not be right, but must return
			return
		}
		names := []string{name}
		for key := range all {
			names = append(names, key)
		}
		for _, name := range names {
			got, ok := Object(text).member(name)
			want, exists := all[name]
			if ok != exists {
				t.Fatalf("member(%q) of %s: found %v; want %v", name, text, ok, exists)
			}
			var g, w any
			if ok && (json.Unmarshal(got, &g) != nil || json.Unmarshal(want, &w) != nil) {
				t.Fatalf("member(%q) of %s = %q; want %s", name, text, got, want)
			}
			if unique(text, len(all)) && !cmp.Equal(g, w) {
				t.Fatalf("member(%q) of %s = %s; want %s", name, text, got, want)
			}
		}
	})
}

// unique reports whether an object names no member twice: of two, the reader
// takes the first and encoding/json the last.
func unique(text []byte, distinct int) bool {
	n, s := 0, scanner{text: text}
	s.next()
	s.at++
	for s.next() == '"' {
		n++
		s.value()
		s.next()
		s.at++
		s.value()
		if s.next() != ',' {
			break
		}
		s.at++
	}
	return n == distinct
}

func TestOverridesAnswerForEveryoneUntilTheyAreCleared(t *testing.T) {
	c := local(t)
	c.OverrideGate("checkout", false)
	c.OverrideGate("unheard_of", true)
	for name, value := range map[string]any{"a struct": struct {
		Color string `json:"color"`
	}{"red"}, "a map": map[string]any{"color": "red"}} {
		if err := c.OverrideConfig("button", value); err != nil {
			t.Errorf("OverrideConfig(%s) = %v", name, err)
		}
		if got := c.Config(staff, "button"); got.Text("color", "") != "red" || got.Reason != ReasonOverride {
			t.Errorf("Config(button) = %+v; want red by override", got)
		}
	}
	if err := c.OverrideLayer("home", json.RawMessage(`{"layout":"mine"}`)); err != nil {
		t.Errorf("OverrideLayer() = %v", err)
	}
	if got := c.Layer(staff, "home"); got.Text("layout", "") != "mine" || got.Reason != ReasonOverride {
		t.Errorf("Layer(home) = %+v; want mine by override", got)
	}
	for name, value := range map[string]any{"a list": []int{1}, "null": nil, "a channel": make(chan int)} {
		if err := c.OverrideConfig("button", value); err == nil {
			t.Errorf("OverrideConfig(%s) = nil; want an error", name)
		}
	}
	if c.Gate(staff, "checkout").Value || !c.Gate(staff, "unheard_of").Value {
		t.Error("overridden gates do not answer as told")
	}
	c.ClearOverrides()
	if got := c.Gate(staff, "checkout"); !got.Value || got.Reason != ReasonRule {
		t.Errorf("Gate(checkout) after ClearOverrides = %+v; want the rule again", got)
	}
}

func TestTheEnvironmentOfTheOptionsCountsForUsersWhoNameNone(t *testing.T) {
	specs := fmt.Appendf(nil, `{"has_updates":true,"time":1,"feature_gates":[{"name":"beta","type":"feature_gate","entity":"feature_gate","salt":"s","enabled":true,
		"defaultValue":false,"idType":"userID","rules":[{"name":"r","id":"r","passPercentage":100,"returnValue":true,"idType":"userID",
		"conditions":[{"type":"environment_field","field":"tier","operator":"any","targetValue":["staging"],"idType":"userID"}]}]}],"dynamic_configs":[],"layer_configs":[]}`)
	c := local(t, WithBootstrap(specs), WithEnvironment("staging"))
	if got := c.Gate(ann, "beta"); !got.Value {
		t.Errorf("Gate(beta) = %+v; want true in staging", got)
	}
	other := &User{UserID: "ann", StatsigEnvironment: map[string]string{"tier": "production"}}
	if got := c.Gate(other, "beta"); got.Value {
		t.Errorf("Gate(beta) of a user in production = %+v; want false", got)
	}
}

// Neither decisions nor exposures that were logged before allocate.
func TestDecisionsDoNotAllocate(t *testing.T) {
	c := local(t)
	c.recorder = newRecorder(defaults(), testKey, nil)
	c.recorder.seen.window = time.Hour
	u := &User{UserID: "ann", Email: "ann@example.com", CustomIDs: map[string]string{"companyID": "co"}}
	for name, decide := range map[string]func(){
		"Gate":       func() { c.Gate(u, "checkout") },
		"Config":     func() { c.Config(u, "button") },
		"Experiment": func() { c.Experiment(u, "pricing") },
		"Layer": func() {
			l := c.Layer(u, "home")
			l.read("layout")
		},
	} {
		decide()
		if n := testing.AllocsPerRun(200, decide); n != 0 {
			t.Errorf("%s allocates %v times; want 0", name, n)
		}
	}
	if c.recorder.waiting != 4 {
		t.Errorf("%d exposures; want 4: one of each", c.recorder.waiting)
	}
	c.recorder = nil // it was never run
}

func BenchmarkGate(b *testing.B) {
	c := local(b)
	c.recorder = newRecorder(defaults(), testKey, nil)
	defer func() { c.recorder = nil }() // it was never run
	for b.Loop() {
		c.Gate(staff, "checkout")
	}
}

func TestWrongOptionsAreErrors(t *testing.T) {
	for name, opts := range map[string][]Option{
		"no scheme":           {WithURL("localhost:8080")},
		"another scheme":      {WithURL("ftp://localhost")},
		"an odd URL":          {WithIngestURL("http://[")},
		"no transport":        {WithTransport(nil)},
		"no logger":           {WithLogger(nil)},
		"no store":            {WithStore(nil)},
		"no time to start":    {WithInitTimeout(0)},
		"a negative interval": {WithPollInterval(-1)},
		"no time to flush":    {WithFlushInterval(0)},
		"no queue":            {WithQueueSize(0)},
		"no window":           {WithDedupeWindow(0)},
		"an unreadable start": {WithBootstrap([]byte(`{"feature_gates":`))},
		"a list for a start":  {WithBootstrap([]byte(`[]`))},
		"nothing for a start": {WithBootstrap([]byte{})},
	} {
		if c, err := New(testKey, opts...); err == nil {
			_ = c.Close(t.Context())
			t.Errorf("New(%s) = nil; want an error", name)
		}
	}
	for _, key := range []string{"", "client-shop-1", "console-shop-1", "nonsense"} {
		if c, err := New(key); err == nil {
			_ = c.Close(t.Context())
			t.Errorf("New(key %q) = nil; want an error", key)
		}
	}
}
