package edge_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/gorilla/websocket"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/sluice-flags/sluice/internal/auth"
	"github.com/sluice-flags/sluice/internal/bus"
	"github.com/sluice-flags/sluice/pkg/eval"
	"github.com/sluice-flags/sluice/pkg/events"
	wire "github.com/sluice-flags/sluice/pkg/events/live"
	"github.com/sluice-flags/sluice/pkg/flags"
	"github.com/sluice-flags/sluice/services/edge/internal/edgetest"
)

func TestAFlipReachesEveryProtocol(t *testing.T) {
	n := startNATS(t)
	_, p := n.project(t)
	p.Put(t, p.Gate("checkout", edgetest.Nobody()))
	p.Put(t, p.Config("banner", `{"text":"hi"}`))
	server, client := p.Key(t, flags.KeyServer), p.Key(t, flags.KeyClient)
	e := startEdge(t, n, "")

	user := `"user":{"userID":"u1"}`
	state := func() map[string]bool {
		var initialize struct {
			FeatureGates map[string]struct{ Value bool } `json:"feature_gates"`
		}
		decode(t, e.ask(t, "POST", "/v1/initialize", client, `{`+user+`,"hash":"none"}`), &initialize)
		var check struct{ Value bool }
		decode(t, e.ask(t, "POST", "/v1/check_gate", server, `{"gateName":"checkout",`+user+`}`), &check)
		var many map[string]struct{ Value bool }
		decode(t, e.ask(t, "POST", "/v1/check_gate", client, `{"gateNames":["checkout","other"],`+user+`}`), &many)
		var feature struct{ Enabled bool }
		decode(t, e.ask(t, "GET", "/features/gate/checkout?user_id=u1", server, ""), &feature)
		v1, err := eval.ParseSpecs([]byte(e.ask(t, "GET", "/v1/download_config_specs/"+server+".json?sinceTime=0", "", "").body))
		if err != nil {
			t.Fatal(err)
		}
		v2, err := eval.ParseSpecs([]byte(e.ask(t, "GET", "/v2/download_config_specs/"+server+".json", "", "").body))
		if err != nil {
			t.Fatal(err)
		}
		u := &eval.User{UserID: "u1"}
		return map[string]bool{
			"initialize": initialize.FeatureGates["checkout"].Value, "check_gate": check.Value, "gateNames": many["checkout"].Value,
			"features": feature.Enabled,
			"v1":       eval.Compile(v1, eval.Options{}).Gate(u, "checkout").Pass,
			"v2":       eval.Compile(v2, eval.Options{}).Gate(u, "checkout").Pass,
		}
	}
	all := func(v bool) map[string]bool {
		return map[string]bool{"initialize": v, "check_gate": v, "gateNames": v, "features": v, "v1": v, "v2": v}
	}
	if diff := cmp.Diff(all(false), state()); diff != "" {
		t.Errorf("before the flip (-want +got):\n%s", diff)
	}

	ws, _, err := websocket.DefaultDialer.Dial("ws"+strings.TrimPrefix(e.server.URL, "http")+wire.Path, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer ws.Close()
	say(t, ws, wire.Hello{Protocol: 1, Key: client, User: json.RawMessage(`{"userID":"u1"}`)})
	hear[wire.Answer](t, ws)
	hear[wire.Full](t, ws)

	seq := p.Put(t, p.Gate("checkout", edgetest.Everyone()))
	if ch := hear[wire.Change](t, ws); ch.Seq != seq || len(ch.Entries) != 1 {
		t.Errorf("pushed change = %+v, want one entry at %d", ch, seq)
	}
	if diff := cmp.Diff(all(true), state()); diff != "" {
		t.Errorf("after the flip (-want +got):\n%s", diff)
	}
	a := e.ask(t, "POST", "/v1/get_config", server, `{"configName":"banner",`+user+`}`)
	if want := `{"name":"banner","value":{"text":"hi"},"group":"default","rule_id":"default","group_name":null}` + "\n"; a.body != want {
		t.Errorf("get_config = %s, want %s", a.body, want)
	}
	a = e.ask(t, "GET", "/features/config/banner?user_id=u1", client, "")
	if want := `{"config_name":"banner","value":{"text":"hi"}}` + "\n"; a.body != want {
		t.Errorf("features/config = %s, want %s", a.body, want)
	}
	a = e.ask(t, "GET", "/features/gate/nobody_made_it?user_id=u1", client, "")
	if want := `{"enabled":false,"gate_name":"nobody_made_it","user_id":"u1"}` + "\n"; a.status != 200 || a.body != want {
		t.Errorf("unknown gate = %d %s, want 200 %s", a.status, a.body, want)
	}
	if a := e.ask(t, "POST", "/v1/get_id_lists", server, ""); a.body != "{}\n" {
		t.Errorf("get_id_lists = %s, want {}", a.body)
	}
}

func decode(t *testing.T, a answer, dst any) {
	t.Helper()
	if a.status != http.StatusOK {
		t.Fatalf("answer = %d %s, want 200", a.status, a.body)
	}
	if err := json.Unmarshal([]byte(a.body), dst); err != nil {
		t.Fatalf("answer %s: %v", a.body, err)
	}
}

func say(t *testing.T, ws *websocket.Conn, f wire.Frame) {
	t.Helper()
	text, err := wire.Encode(f)
	if err != nil {
		t.Fatal(err)
	}
	if err := ws.WriteMessage(websocket.TextMessage, text); err != nil {
		t.Fatal(err)
	}
}

func hear[F wire.Frame](t *testing.T, ws *websocket.Conn) F {
	t.Helper()
	for {
		_ = ws.SetReadDeadline(time.Now().Add(patience))
		_, text, err := ws.ReadMessage()
		if err != nil {
			t.Fatal(err)
		}
		f, err := wire.DecodeServer(text)
		if err != nil {
			t.Fatal(err)
		}
		if got, ok := f.(F); ok {
			return got
		}
		if _, ok := f.(wire.Ping); !ok {
			var want F
			t.Fatalf("got %s, want a %s frame", text, want.Type())
		}
	}
}

func TestSpecDownloadsAreConditionalAndCompressed(t *testing.T) {
	n := startNATS(t)
	_, p := n.project(t)
	p.Put(t, p.Gate("checkout", edgetest.Nobody()))
	key := p.Key(t, flags.KeyServer)
	e := startEdge(t, n, "")
	path := "/v1/download_config_specs/" + key + ".json"

	first := e.ask(t, "GET", path, "", "")
	var head struct {
		HasUpdates bool  `json:"has_updates"`
		Time       int64 `json:"time"`
	}
	decode(t, first, &head)
	if !head.HasUpdates || head.Time <= 0 {
		t.Errorf("first load = %s", first.body)
	}
	since := func(v string) string { return e.ask(t, "GET", path+"?sinceTime="+v, "", "").body }
	if got := since(stamp(head.Time)); got != `{"has_updates":false}` {
		t.Errorf("sinceTime = now: %s", got)
	}
	for _, v := range []string{"0", "", "-1", "x", stamp(head.Time - 1)} {
		if got := since(v); got != first.body {
			t.Errorf("sinceTime=%s: %.100s, want the whole body", v, got)
		}
	}
	etag := first.header.Get("ETag")
	if a := e.ask(t, "GET", path, "", "", "If-None-Match", etag); a.status != http.StatusNotModified || a.body != "" || etag == "" {
		t.Errorf("If-None-Match: %s = %d %q, want 304", etag, a.status, a.body)
	}
	for accept, want := range map[string]string{
		"gzip": "gzip", "gzip,deflate": "gzip", "statsig-br, gzip, deflate, br": "br", "zstd": "zstd",
		"br;q=0, gzip;q=0.5": "gzip", "identity": "", "*": "br", "br;q=0": "", "br;q=nonsense": "",
	} {
		a := e.ask(t, "GET", path, "", "", "Accept-Encoding", accept)
		if got := a.header.Get("Content-Encoding"); got != want || a.status != 200 {
			t.Errorf("Accept-Encoding: %s answered with %q, want %q", accept, got, want)
		}
		if tag := a.header.Get("ETag"); want != "" && tag == etag {
			t.Errorf("Accept-Encoding: %s has the tag of the plain body", accept)
		}
	}
	p.Put(t, p.Gate("checkout", edgetest.Everyone()))
	until(t, "the change", func() answer { return e.ask(t, "GET", path+"?sinceTime="+stamp(head.Time), "", "") },
		func(a answer) bool { return strings.Contains(a.body, `"has_updates":true`) })
}

func stamp(ms int64) string {
	text, _ := json.Marshal(ms) // a number always encodes
	return string(text)
}

func TestWrongRequestsGet4xxAndAProblem(t *testing.T) {
	n := startNATS(t)
	_, p := n.project(t)
	p.Put(t, p.Gate("checkout", edgetest.Nobody()))
	server, client, console := p.Key(t, flags.KeyServer), p.Key(t, flags.KeyClient), p.Key(t, flags.KeyConsole)
	revoked := p.Key(t, flags.KeyServer, func(k *flags.Key) { k.Revoked = true })
	unknown, _ := auth.Generate(flags.KeyServer, "shop")
	elsewhere, _ := auth.Generate(flags.KeyServer, "nowhere")
	e := startEdge(t, n, "")
	tests := []struct {
		name, method, path, key, body string
		want                          int
	}{
		{"no key", "POST", "/v1/check_gate", "", `{}`, 401},
		{"malformed key", "POST", "/v1/check_gate", "secret-x", `{}`, 401},
		{"unknown key", "POST", "/v1/check_gate", unknown, `{}`, 401},
		{"unknown project", "POST", "/v1/check_gate", elsewhere, `{}`, 401},
		{"revoked key", "GET", "/v1/download_config_specs", revoked, "", 401},
		{"console key", "POST", "/v1/check_gate", console, `{}`, 403},
		{"rules with a client key", "GET", "/v1/download_config_specs", client, "", 403},
		{"v2 rules with a client key", "GET", "/v2/download_config_specs/" + client + ".json", "", "", 403},
		{"id lists with a client key", "POST", "/v1/get_id_lists", client, "", 403},
		{"empty body", "POST", "/v1/initialize", client, "", 400},
		{"broken JSON", "POST", "/v1/initialize", client, `{"user":`, 400},
		{"a list", "POST", "/v1/initialize", client, `[]`, 400},
		{"trailing text", "POST", "/v1/initialize", client, `{"user":{}} x`, 400},
		{"broken UTF-8", "POST", "/v1/initialize", client, "{\"user\":{\"userID\":\"\xff\"}}", 400},
		{"a number out of range", "POST", "/v1/initialize", client, `{"user":{"custom":{"n":1e400}}}`, 400},
		{"too deep", "POST", "/v1/initialize", client, `{"user":{"custom":` + strings.Repeat("[", 10_001) + strings.Repeat("]", 10_001) + `}}`, 400},
		{"too large", "POST", "/v1/initialize", client, `{"user":{"userID":"` + strings.Repeat("x", 300<<10) + `"}}`, 413},
		{"a user that is text", "POST", "/v1/check_gate", server, `{"gateName":"checkout","user":"u1"}`, 400},
		{"no user", "POST", "/v1/check_gate", server, `{"gateName":"checkout"}`, 400},
		{"no gate", "POST", "/v1/check_gate", server, `{"user":{}}`, 400},
		{"no config", "POST", "/v1/get_config", server, `{"user":{}}`, 400},
		{"no layer", "POST", "/v1/get_layer", server, `{"user":{}}`, 400},
		{"unknown layer", "POST", "/v1/get_layer", server, `{"layerName":"x","user":{}}`, 404},
		{"wrong method", "DELETE", "/v1/check_gate", server, "", 405},
		{"no such path", "GET", "/v1/nothing", server, "", 404},
		{"features without user", "GET", "/features/gate/checkout", server, "", 400},
		{"features with a broken user", "GET", "/features/gate/checkout?user=%7B", server, "", 400},
		{"features with two users", "GET", "/features/gate/checkout?user_id=a&user=%7B%22userID%22%3A%22b%22%7D", server, "", 400},
		{"features with a key in the URL", "GET", "/features/gate/checkout?user_id=a&key=" + server, server, "", 400},
		{"a gate that has no name", "POST", "/v1/check_gate", server, `{"gateName":"a/b","user":{}}`, 400},
		{"a gate among others that has no name", "POST", "/v1/check_gate", server, `{"gateNames":["checkout","a*b"],"user":{}}`, 400},
		{"a config that has no name", "POST", "/v1/get_config", server, `{"configName":"gr\u00fcn","user":{}}`, 400},
		{"a layer that has no name", "POST", "/v1/get_layer", server, `{"layerName":"a\nb","user":{}}`, 400},
		{"features of what has no name", "GET", "/features/gate/a%2Fb?user_id=a", server, "", 400},
		{"features of a config that has no name", "GET", "/features/config/gr%C3%BCn?user_id=a", server, "", 400},
		{"features with a strange exposure", "GET", "/features/gate/checkout?user_id=a&exposure=maybe", server, "", 400},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			a := e.ask(t, tt.method, tt.path, tt.key, tt.body)
			if a.status != tt.want {
				t.Errorf("%s %.80s = %d %s, want %d", tt.method, tt.path, a.status, a.body, tt.want)
			}
			if !strings.HasPrefix(a.header.Get("Content-Type"), "application/problem+json") {
				t.Errorf("%s %.80s answered with %s, want a problem document", tt.method, tt.path, a.header.Get("Content-Type"))
			}
		})
	}
	a := e.ask(t, "POST", "/v1/check_gate", server, `{"gateName":"checkout","user":{}}`, "Origin", "https://shop.example")
	if a.status != 403 || !strings.Contains(a.body, "server_key_in_browser") {
		t.Errorf("a server key from a browser = %d %s, want 403 server_key_in_browser", a.status, a.body)
	}
	a = e.ask(t, "OPTIONS", "/v1/initialize", "", "", "Origin", "https://shop.example", "Access-Control-Request-Method", "POST")
	if a.status != 204 || a.header.Get("Access-Control-Allow-Origin") != "*" || !strings.Contains(a.header.Get("Access-Control-Allow-Headers"), "statsig-api-key") {
		t.Errorf("preflight = %d %v, want 204 with what SDKs send", a.status, a.header)
	}
	a = e.ask(t, "POST", "/v1/initialize?k="+client, "", `{"user":{"userID":"u1"}}`, "Origin", "https://shop.example", "Content-Type", "text/plain")
	if a.status != 200 || a.header.Get("Access-Control-Allow-Origin") != "*" {
		t.Errorf("initialize as a browser sends it = %d %s", a.status, a.body)
	}
}

func TestClientKeysSeeNoRulesAnywhere(t *testing.T) {
	planted := []string{"planted-salt", "planted.person@example.com", "planted_segment", "planted_hidden", "planted-rule", "planted_staging"}
	n := startNATS(t)
	_, p := n.project(t)
	p.Put(t, &flags.Environment{Name: "staging"})
	p.Put(t, &flags.Segment{Name: "planted_segment", Rules: []flags.Rule{edgetest.Only("u1")}})
	hidden := p.Gate("planted_hidden", edgetest.Everyone())
	hidden.ClientVisible = new(false)
	p.Put(t, hidden)
	rule := edgetest.Everyone()
	rule.Name = "planted-rule"
	rule.Conditions = []flags.Condition{
		{Type: "email", Operator: "any", TargetValue: json.RawMessage(`["planted.person@example.com"]`)},
		{Type: "passes_segment", TargetValue: json.RawMessage(`"planted_segment"`)},
	}
	staging := edgetest.Everyone()
	staging.ID, staging.Name, staging.Environments = "planted_staging", "planted_staging", []string{"staging"}
	g := p.Gate("seen", rule, staging)
	g.Salt = "planted-salt"
	p.Put(t, g)
	client, server := p.Key(t, flags.KeyClient), p.Key(t, flags.KeyServer)
	e := startEdge(t, n, "")

	user := `"user":{"userID":"u1"}`
	var seen strings.Builder
	for _, hash := range []string{"none", "djb2", "sha256"} {
		seen.WriteString(e.ask(t, "POST", "/v1/initialize", client, `{`+user+`,"hash":"`+hash+`"}`).body)
	}
	for _, path := range []string{"/v1/check_gate", "/v1/get_config", "/v1/get_layer"} {
		seen.WriteString(e.ask(t, "POST", path, client, `{"gateName":"seen","configName":"seen","layerName":"seen",`+user+`}`).body)
	}
	for _, path := range []string{"/v1/download_config_specs", "/v2/download_config_specs", "/v1/get_id_lists", "/features/gate/seen?user_id=u1"} {
		seen.WriteString(e.ask(t, "GET", path, client, "").body)
	}
	for _, s := range planted {
		if strings.Contains(seen.String(), s) {
			t.Errorf("a client key saw %q in %s", s, seen.String())
		}
	}
	// Hidden things answer a client as unknown ones do, and a server as they are.
	for _, name := range []string{"planted_hidden", "segment:planted_segment"} {
		body := `{"gateName":"` + name + `",` + user + `}`
		var toClient, toServer struct {
			Value  bool
			RuleID *string `json:"rule_id"`
		}
		decode(t, e.ask(t, "POST", "/v1/check_gate", client, body), &toClient)
		decode(t, e.ask(t, "POST", "/v1/check_gate", server, body), &toServer)
		if toClient.Value || toClient.RuleID != nil || !toServer.Value {
			t.Errorf("%s is %+v to a client and %+v to a server; want unknown, and passing", name, toClient, toServer)
		}
	}
}

func TestNATSAwayChangesNoAnswer(t *testing.T) {
	n := startNATS(t)
	_, p := n.project(t)
	p.Put(t, p.Gate("checkout", edgetest.Only("u1")))
	p.Put(t, p.Config("banner", `{"text":"hi"}`))
	server, client := p.Key(t, flags.KeyServer), p.Key(t, flags.KeyClient)
	snapshots := t.TempDir()
	e := startEdge(t, n, snapshots)
	questions := func(e *running) []answer {
		return []answer{
			e.ask(t, "POST", "/v1/initialize", client, `{"user":{"userID":"u1"}}`),
			e.ask(t, "POST", "/v1/check_gate", server, `{"gateName":"checkout","user":{"userID":"u1"}}`),
			e.ask(t, "GET", "/v1/download_config_specs/"+server+".json", "", ""),
			e.ask(t, "GET", "/features/gate/checkout?user_id=u2", client, ""),
		}
	}
	bodies := func(answers []answer) (out []string) {
		for _, a := range answers {
			if a.status != 200 {
				t.Errorf("answer = %d %s, want 200", a.status, a.body)
			}
			out = append(out, a.body)
		}
		return out
	}
	probe := func() answer { return e.ask(t, "GET", "/features/gate/checkout?user_id=u1&exposure=0", client, "") }
	stale := func(a answer) bool { return a.header.Get("Sluice-State") == "stale" }
	until(t, "a fresh state", probe, func(a answer) bool { return !stale(a) })
	before := bodies(questions(e))

	n.stop(t)
	until(t, "the edge to notice", probe, stale)
	if diff := cmp.Diff(before, bodies(questions(e))); diff != "" {
		t.Errorf("answers with NATS away (-before +after):\n%s", diff)
	}
	if err := e.Ready(); err != nil {
		t.Errorf("Ready() with NATS away = %v, want nil: it can answer", err)
	}

	// A restart while NATS is away serves what the disk has.
	e.stop()
	e = startEdge(t, n, snapshots)
	if diff := cmp.Diff(before, bodies(questions(e))); diff != "" {
		t.Errorf("answers after a restart with NATS away (-before +after):\n%s", diff)
	}
	if a := probe(); !stale(a) {
		t.Errorf("an answer from the disk is not marked stale: %v", a.header)
	}

	n.start(t)
	until(t, "a fresh state", probe, func(a answer) bool { return !stale(a) })
	conn := n.connect(t)
	if err := conn.Wait(t.Context()); err != nil {
		t.Fatal(err)
	}
	p.Put(t, p.Gate("checkout", edgetest.Nobody()))
	until(t, "the change made afterwards", probe, func(a answer) bool { return strings.Contains(a.body, `"enabled":false`) })
}

func TestARevokedKeyStaysOutAfterARestartFromDisk(t *testing.T) {
	n := startNATS(t)
	_, p := n.project(t)
	kept, revoked := p.Key(t, flags.KeyClient), p.Key(t, flags.KeyClient)
	snapshots := t.TempDir()
	e := startEdge(t, n, snapshots)
	status := func(key string) answer { return e.ask(t, "GET", "/features/gate/x?user_id=u", key, "") }
	if a := status(revoked); a.status != 200 {
		t.Fatalf("before the revocation: %d %s", a.status, a.body)
	}
	doc := p.KeyOf(t, revoked)
	doc.Revoked = true
	p.Put(t, doc)
	until(t, "the revocation", func() answer { return status(revoked) }, func(a answer) bool { return a.status == 401 })
	e.stop() // writes the last snapshot
	n.stop(t)
	e = startEdge(t, n, snapshots)
	if a := status(kept); a.status != 200 {
		t.Errorf("the other key after a restart from disk: %d %s, want 200", a.status, a.body)
	}
	if a := status(revoked); a.status != 401 {
		t.Errorf("the revoked key after a restart from disk: %d %s, want 401", a.status, a.body)
	}
	n.start(t)
}

func TestDecisionsForOthersAreRecordedOnce(t *testing.T) {
	n := startNATS(t)
	conn, p := n.project(t)
	p.Put(t, p.Gate("checkout", edgetest.Everyone()))
	seq := p.State().Seq()
	server := p.Key(t, flags.KeyServer)
	e := startEdge(t, n, "")
	for range 5 {
		e.ask(t, "GET", "/features/gate/checkout?user_id=u1", server, "")
		e.ask(t, "GET", "/features/gate/unknown?user_id=u1", server, "")
		e.ask(t, "GET", "/features/gate/checkout?user_id=silent&exposure=0", server, "")
		e.ask(t, "POST", "/v1/check_gate", server, `{"gateName":"checkout","user":{"userID":"u2"},"statsigMetadata":{"sdkType":"py","sdkVersion":"1"}}`)
		e.ask(t, "POST", "/v1/check_gate", server, `{"gateName":"checkout","user":{"userID":"silent"},"statsigMetadata":{"exposureLoggingDisabled":true}}`)
	}
	e.stop() // stores what waits

	got := map[string]events.Exposure{}
	for _, x := range recorded(t, conn) {
		if _, twice := got[x.UnitID]; twice || x.UnitID == "silent" || x.Name != "checkout" {
			t.Errorf("exposure %+v was not to be recorded, or not again", x)
		}
		got[x.UnitID] = x
	}
	want := events.Exposure{
		Environment: "production", Kind: events.ExposureGate, Name: "checkout", RuleID: "everyone:100.00:1", Group: events.NoGroup,
		UnitType: "userID", UnitID: "u2", Value: "true", SDKType: "py", SDKVersion: "1", Reason: "Rule",
	}
	x := got["u2"]
	if x.ID == (events.FactID{}) || x.Time == 0 || x.Received == 0 || x.Sequence < seq {
		t.Errorf("exposure %+v lacks an id, a time or the sequence %d that decided", x, seq)
	}
	x.ID, x.Time, x.Received, x.Sequence = events.FactID{}, 0, 0, 0
	if diff := cmp.Diff(want, x); diff != "" {
		t.Errorf("exposure of u2 (-want +got):\n%s", diff)
	}
}

// recorded are the exposures that are on the stream of facts.
func recorded(t *testing.T, conn *bus.Conn) (out []events.Exposure) {
	t.Helper()
	stream, err := conn.JetStream().Stream(t.Context(), bus.FactsStream)
	if err != nil {
		t.Fatal(err)
	}
	consumer, err := stream.OrderedConsumer(t.Context(), jetstream.OrderedConsumerConfig{})
	if err != nil {
		t.Fatal(err)
	}
	for range stream.CachedInfo().State.Msgs {
		msg, err := consumer.Next(jetstream.FetchMaxWait(patience))
		if err != nil {
			t.Fatal(err)
		}
		batch, err := events.DecodeBatch(msg.Data())
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, batch.Exposures...)
	}
	return out
}

// Whoever reads the rows as they are sees each decision once, however many edges
// made it, at once or one after another, and whichever of them were restarted.
func TestOneDecisionOfManyEdgesIsOneFact(t *testing.T) {
	n := startNATS(t)
	conn, p := n.project(t)
	p.Put(t, p.Gate("checkout", edgetest.Everyone()))
	server := p.Key(t, flags.KeyServer)
	const users = 30
	ask := func(e *running) {
		for i := range users {
			if a := e.ask(t, "GET", fmt.Sprintf("/features/gate/checkout?user_id=u%d", i), server, ""); a.status != 200 {
				t.Errorf("features = %d %s, want 200", a.status, a.body)
			}
		}
	}
	one, two := startEdge(t, n, ""), startEdge(t, n, "")
	var both sync.WaitGroup
	for _, e := range []*running{one, two} {
		both.Go(func() { ask(e) })
	}
	both.Wait()
	one.stop()
	again := startEdge(t, n, "")
	ask(again)
	again.stop()
	two.stop()
	units, times := map[string]bool{}, map[events.FactID]int{} // one id an hour
	for _, x := range recorded(t, conn) {
		units[x.UnitID] = true
		if times[x.ID]++; times[x.ID] == 2 {
			t.Errorf("the decision for %s is on the stream again, want it once", x.UnitID)
		}
	}
	if len(units) != users {
		t.Errorf("decisions for %d users are on the stream, want %d", len(units), users)
	}
}
