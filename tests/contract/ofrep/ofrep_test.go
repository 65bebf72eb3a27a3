// Package ofrep holds the released OpenFeature providers to one running
// platform: JavaScript in pages and on servers, and Go.
package ofrep

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	provider "github.com/open-feature/go-sdk-contrib/providers/ofrep"
	"github.com/open-feature/go-sdk/openfeature"

	"github.com/sluice-flags/sluice/tests/harness"
)

func TestMain(m *testing.M) { harness.Main(m) }

type doc = harness.Doc

// everyone is the rule for all.
func everyone(value any) doc {
	rule := doc{"id": "everyone", "name": "Everyone", "passPercentage": 100, "conditions": harness.Everyone}
	if value != nil {
		rule["value"] = value
	}
	return rule
}

// shop makes the project that every provider is asked about.
func shop(t *testing.T) *harness.Project {
	t.Helper()
	p := harness.Start(t, harness.Options{}).NewProject("shop")
	pro := doc{"id": "pro", "name": "Pro users", "passPercentage": 100, "conditions": []doc{
		{"type": "custom_field", "field": "plan", "operator": "any", "targetValue": []string{"pro"}},
	}}
	p.Create("gates", doc{"name": "checkout", "rules": []doc{everyone(nil)}})
	p.Create("gates", doc{"name": "pro only", "rules": []doc{pro}})
	p.Create("gates", doc{"name": "deferred", "deferToCode": true, "rules": []doc{}})
	p.Create("gates", doc{"name": "internal", "clientVisible": false, "rules": []doc{everyone(nil)}})
	p.Create("configs", doc{"name": "banner", "defaultValue": doc{}, "rules": []doc{everyone(doc{"text": "hi", "size": 1.5, "count": 3})}})
	p.Create("experiments", doc{"name": "button", "allocation": 100, "groups": []doc{
		{"name": "Control", "share": 50, "control": true, "parameters": doc{"color": "grey"}},
		{"name": "Treatment", "share": 50, "parameters": doc{"color": "blue"}},
	}})
	p.Start("button")
	return p
}

// details are what every provider says about an evaluation.
type details struct {
	Value     any            `json:"value"`
	Reason    string         `json:"reason"`
	Variant   string         `json:"variant"`
	ErrorCode string         `json:"errorCode"`
	Metadata  map[string]any `json:"flagMetadata"`
}

// is fails the test unless the details are as wanted; "*" takes anything.
func (d details) is(t *testing.T, what string, value any, reason, variant, code string) {
	t.Helper()
	got, _ := json.Marshal(d.Value) // values that came as JSON
	want, _ := json.Marshal(value)
	if value != "*" && string(got) != string(want) || reason != "*" && d.Reason != reason || variant != "*" && d.Variant != variant || d.ErrorCode != code {
		t.Errorf("%s = %s, %s, variant %q, error %q; want %s, %s, variant %q, error %q", what, got, d.Reason, d.Variant, d.ErrorCode, want, reason, variant, code)
	}
}

func TestReleasedProvidersAreServed(t *testing.T) {
	p := shop(t)
	t.Run("go", func(t *testing.T) { goProvider(t, p) })
	t.Run("javascript on a server", func(t *testing.T) { serverProvider(t, p) })
	t.Run("javascript in a page", func(t *testing.T) { webProvider(t, p, inNode) })
	p.SetGate("checkout", 100)
	t.Run("javascript in Chromium", func(t *testing.T) { webProvider(t, p, inChromium(t)) })
	t.Run("exposures and events", func(t *testing.T) { reported(t, p) })
}

// reported waits for what the providers' evaluations, and the pages' reporter,
// left in the warehouse.
func reported(t *testing.T, p *harness.Project) {
	db := p.Warehouse()
	rows := func(query string) []string {
		t.Helper()
		var out []string
		found, err := db.Query(t.Context(), query, p.ID)
		if err != nil {
			t.Fatal(err)
		}
		defer found.Close()
		for found.Next() {
			var row string
			if err := found.Scan(&row); err != nil {
				t.Fatal(err)
			}
			out = append(out, row)
		}
		return out
	}
	exposed := func(version string) string {
		return `SELECT DISTINCT concat(kind, ' ', name, if(kind = 'gate', concat(' ', value), '')) AS row FROM exposures
			WHERE project = ? AND unit_id = 'ann' AND sdk_type = 'ofrep' AND sdk_version = '` + version + `' ORDER BY row`
	}
	for _, c := range []struct {
		what, query string
		want        []string
	}{
		{"single evaluations", exposed(""), []string{"config banner", "experiment button", "gate checkout true", "gate pro only true"}},
		{"what the pages read", exposed("0.1.0"), []string{"config banner", "experiment button", "gate checkout true", "gate pro only false", "gate pro only true"}},
		{"what the pages tracked", `SELECT DISTINCT concat(event, ' ', toString(value), ' ', metadata['currency'], ' ', unit_id) FROM events
			WHERE project = ?`, []string{"purchase 12.5 EUR ann"}},
	} {
		harness.Within(t, 30*time.Second, func() error {
			if got := rows(c.query); !slices.Equal(got, c.want) {
				return fmt.Errorf("%s: %q, want %q", c.what, got, c.want)
			}
			return nil
		})
	}
}

func goProvider(t *testing.T, p *harness.Project) {
	for name, authenticate := range map[string]provider.Option{
		"bearer": provider.WithBearerToken(p.Server), "X-API-Key": provider.WithApiKeyAuth(p.Server),
	} {
		domain := "shop by " + name
		if err := openfeature.SetNamedProviderAndWait(domain, provider.NewProvider(p.HTTP, authenticate)); err != nil {
			t.Fatal(err)
		}
		client := openfeature.NewClient(domain)
		ctx, ann := context.Background(), openfeature.NewEvaluationContext("ann", map[string]any{"plan": "pro"})
		nobody := openfeature.NewTargetlessEvaluationContext(nil)

		b, _ := client.BooleanValueDetails(ctx, "checkout", false, ann)
		of(b.Value, b.ResolutionDetail).is(t, name+": checkout", true, "STATIC", "on", "")
		b, _ = client.BooleanValueDetails(ctx, "pro only", false, ann)
		of(b.Value, b.ResolutionDetail).is(t, name+": pro only", true, "TARGETING_MATCH", "on", "")
		s, _ := client.StringValueDetails(ctx, "config:banner:text", "code", ann)
		of(s.Value, s.ResolutionDetail).is(t, name+": a text", "hi", "STATIC", "Everyone", "")
		f, _ := client.FloatValueDetails(ctx, "config:banner:size", 0, ann)
		of(f.Value, f.ResolutionDetail).is(t, name+": a number", 1.5, "STATIC", "Everyone", "")
		i, _ := client.IntValueDetails(ctx, "config:banner:count", 0, ann)
		of(i.Value, i.ResolutionDetail).is(t, name+": a whole number", 3, "STATIC", "Everyone", "")
		o, _ := client.ObjectValueDetails(ctx, "banner", nil, ann)
		of(o.Value, o.ResolutionDetail).is(t, name+": banner", doc{"text": "hi", "size": 1.5, "count": 3}, "STATIC", "Everyone", "")
		o, _ = client.ObjectValueDetails(ctx, "button", nil, ann)
		of(o.Value, o.ResolutionDetail).is(t, name+": button", "*", "SPLIT", "*", "")
		o, _ = client.ObjectValueDetails(ctx, "button", "code", nobody)
		of(o.Value, o.ResolutionDetail).is(t, name+": button of nobody", "code", "ERROR", "", "TARGETING_KEY_MISSING")
		b, _ = client.BooleanValueDetails(ctx, "nothing", true, ann)
		of(b.Value, b.ResolutionDetail).is(t, name+": what is not there", true, "ERROR", "", "FLAG_NOT_FOUND")
		b, _ = client.BooleanValueDetails(ctx, "deferred", true, ann)
		of(b.Value, b.ResolutionDetail).is(t, name+": a flag that defers to code", true, "ERROR", "*", "TYPE_MISMATCH")
	}
	if err := openfeature.SetNamedProviderAndWait("wrong", provider.NewProvider(p.HTTP, provider.WithBearerToken("secret-wrong"))); err != nil {
		t.Fatal(err)
	}
	b, _ := openfeature.NewClient("wrong").BooleanValueDetails(context.Background(), "checkout", true, openfeature.EvaluationContext{})
	of(b.Value, b.ResolutionDetail).is(t, "with a wrong key", true, "ERROR", "", "GENERAL")
}

func of(value any, d openfeature.ResolutionDetail) details {
	return details{value, string(d.Reason), d.Variant, string(d.ErrorCode), d.FlagMetadata}
}

// program is one of the programs in tests/contract/js.
func program(t *testing.T, name string, task any) *exec.Cmd {
	t.Helper()
	root := harness.NeedNode(t)
	argument, err := json.Marshal(task)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("node", filepath.Join(root, "tests", "contract", "js", name), string(argument))
	cmd.Stderr = t.Output()
	return cmd
}

// Names and parameters may hold colons, so that a key alone does not tell one
// from the other.
func TestTheReporterLogsTheEntityAndNotTheKey(t *testing.T) {
	meta := func(kind string, more doc) doc {
		m := doc{"kind": kind, "ruleID": "r"}
		maps.Copy(m, more)
		return m
	}
	out, err := program(t, "ofrep-reporter.mjs", [][]any{
		{"gate:beta", meta("gate", nil)},
		{"gate:beta", meta("gate", doc{"name": "beta"})},
		{"config:a:b", meta("config", doc{"name": "a:b"})},
		{"config:a:b", meta("config", doc{"name": "a", "parameter": "b"})},
		{"layer:home:top:size", meta("layer", doc{"name": "home", "parameter": "top:size"})},
	}).Output()
	if err != nil {
		t.Fatal(err)
	}
	var events []struct{ Gate, Config, ParameterName string }
	if err := json.Unmarshal(out, &events); err != nil {
		t.Fatalf("%s: %v", out, err)
	}
	var got []string
	for _, e := range events {
		got = append(got, strings.Join([]string{e.Gate, e.Config, e.ParameterName}, "|"))
	}
	want := []string{"gate:beta||", "beta||", "|a:b|", "|a|", "|home|top:size"}
	if !slices.Equal(got, want) {
		t.Errorf("the reporter named %q, want %q", got, want)
	}
}

func serverProvider(t *testing.T, p *harness.Project) {
	for _, header := range []string{"Authorization", "X-API-Key"} {
		text, err := program(t, "ofrep-server.mjs", doc{"base": p.HTTP, "key": p.Server, "header": header}).Output()
		if err != nil {
			t.Fatal(err)
		}
		var got map[string]details
		if err := json.Unmarshal(text, &got); err != nil {
			t.Fatalf("%s: %v", text, err)
		}
		got["boolean"].is(t, "checkout", true, "STATIC", "on", "")
		got["text"].is(t, "a text", "hi", "STATIC", "Everyone", "")
		got["number"].is(t, "a number", 1.5, "STATIC", "Everyone", "")
		got["object"].is(t, "banner", doc{"text": "hi", "size": 1.5, "count": 3}, "STATIC", "Everyone", "")
		got["group"].is(t, "button", "*", "SPLIT", "*", "")
		got["targeted"].is(t, "pro only", true, "TARGETING_MATCH", "on", "")
		got["untargeted"].is(t, "pro only for another", false, "DEFAULT", "off", "")
		got["absent"].is(t, "what is not there", true, "ERROR", "", "FLAG_NOT_FOUND")
		got["mismatch"].is(t, "a gate as a text", "code", "ERROR", "*", "TYPE_MISMATCH")
		got["nobody"].is(t, "button of nobody", doc{"code": true}, "ERROR", "", "TARGETING_KEY_MISSING")
		got["deferred"].is(t, "a flag that defers to code", true, "ERROR", "*", "GENERAL")
		if kind := got["group"].Metadata["kind"]; kind != "experiment" {
			t.Errorf("metadata of button %v; want its kind", got["group"].Metadata)
		}
	}
	text, err := program(t, "ofrep-server.mjs", doc{"base": p.HTTP, "key": "secret-wrong"}).Output()
	if err != nil {
		t.Fatal(err)
	}
	var got map[string]details
	if err := json.Unmarshal(text, &got); err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	got["boolean"].is(t, "checkout with a wrong key", false, "ERROR", "", "GENERAL")
}

// A page is a running ofrep-web.mjs.
type page struct {
	t     *testing.T
	set   func(members doc) error // begins to set the context
	lines chan line
}

// An opener opens pages somewhere.
type opener func(t *testing.T, base, key string) *page

// asked is what the page asked by itself, not because an event made it ask.
func (l line) asked() []exchange {
	return slices.DeleteFunc(slices.Clone(l.Wire), func(x exchange) bool { return strings.Contains(x.URL, "flagConfigEtag") })
}

// once is the one request that a new context made the page send. The project is
// young, so an event may come in the same moment: then the last one is for both.
func (l line) once() (exchange, bool) {
	asked := l.asked()
	if len(asked) == 0 {
		asked = l.Wire[max(0, len(l.Wire)-1):]
	}
	return append(asked, exchange{})[0], len(asked) == 1
}

// An exchange is one request of the page.
type exchange struct {
	URL    string
	Match  string
	Status int
	ETag   string
}

// A line is what the page said.
type line struct {
	Event   string
	Status  string
	Message string
	At      int64 // milliseconds
	Flags   []string
	Read    map[string]details
	Wire    []exchange
}

// read reads what a page said.
func read(text string) (l line) {
	if err := json.Unmarshal([]byte(text), &l); err != nil {
		l = line{Event: "unreadable", Message: err.Error() + ": " + text}
	}
	return l
}

// inNode opens pages without a browser.
func inNode(t *testing.T, base, key string) *page {
	t.Helper()
	cmd := program(t, "ofrep-web-node.mjs", doc{"base": base, "key": key})
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	p := &page{t: t, lines: make(chan line, 100)}
	p.set = func(members doc) error { return json.NewEncoder(in).Encode(doc{"context": members}) }
	go func() { // ends with the process
		defer close(p.lines)
		for s := bufio.NewScanner(out); s.Scan(); {
			p.lines <- read(s.Text())
		}
	}()
	t.Cleanup(func() {
		_ = cmd.Process.Kill() // it may have ended by itself
		_ = cmd.Wait()
	})
	return p
}

// next waits for the next line of an event. What went over the wire before the
// lines that it passes over is that line's too.
func (p *page) next(event string) line {
	p.t.Helper()
	limit := time.After(20 * time.Second)
	var wire []exchange
	for {
		select {
		case l, ok := <-p.lines:
			if !ok {
				p.t.Fatalf("the page ended before %q", event)
			}
			l.Wire = append(wire, l.Wire...)
			if l.Event == event {
				return l
			}
			wire = l.Wire
			p.t.Logf("the page said %+v", l)
		case <-limit:
			p.t.Fatalf("the page did not say %q", event)
		}
	}
}

// context sets the page's context and returns what it read then.
func (p *page) context(members doc) line {
	p.t.Helper()
	if err := p.set(members); err != nil {
		p.t.Fatal(err)
	}
	return p.next("context")
}

func webProvider(t *testing.T, p *harness.Project, open opener) {
	t.Helper()
	pg := open(t, p.HTTP, p.Client)
	ready := pg.next("ready")
	got := ready.Read
	got["boolean"].is(t, "checkout", true, "STATIC", "on", "")
	got["object"].is(t, "banner", doc{"text": "hi", "size": 1.5, "count": 3}, "STATIC", "Everyone", "")
	got["targeted"].is(t, "pro only", true, "TARGETING_MATCH", "on", "")
	got["group"].is(t, "button", "*", "SPLIT", "*", "")
	got["absent"].is(t, "what is not there", true, "ERROR", "", "FLAG_NOT_FOUND")
	got["mismatch"].is(t, "a gate as a text", "code", "ERROR", "*", "TYPE_MISMATCH")
	got["deferred"].is(t, "a flag that defers to code", true, "DEFAULT", "*", "")
	got["hidden"].is(t, "a flag for servers", false, "ERROR", "", "FLAG_NOT_FOUND")
	first := ready.asked()
	if len(first) != 1 || first[0].Status != http.StatusOK || first[0].ETag == "" {
		t.Fatalf("the page asked %+v; want one answer with an ETag", first)
	}

	// The provider sends the old tag with a new context, unless the targeting key
	// is another.
	same := pg.context(doc{"targetingKey": "ann", "plan": "pro", "theme": "dark"})
	if w, ok := same.once(); !ok || w.Match != first[0].ETag || w.Status != http.StatusNotModified {
		t.Errorf("a context with the same result asked %+v; want the old tag and 304", w)
	}
	free := pg.context(doc{"targetingKey": "ann", "plan": "free"})
	if w, ok := free.once(); !ok || w.Match == "" || w.Status != http.StatusOK {
		t.Errorf("a context with another result asked %+v; want the old tag and 200", w)
	}
	free.Read["targeted"].is(t, "pro only on another plan", false, "DEFAULT", "off", "")
	out := pg.context(doc{"plan": "free"})
	out.Read["boolean"].is(t, "checkout of nobody", true, "STATIC", "on", "")
	out.Read["group"].is(t, "button of nobody", doc{"code": true}, "ERROR", "", "TARGETING_KEY_MISSING")

	// A change comes by itself; one that the key cannot see does not.
	hidden := strings.Trim(p.SetGate("internal", 0).Header.Get("ETag"), `"`)
	began := time.Now()
	p.SetGate("checkout", 0)
	changed := pg.next("changed")
	for !slices.Contains(changed.Flags, "checkout") { // the project is young: who comes is told of that
		changed = pg.next("changed")
	}
	took := time.UnixMilli(changed.At).Sub(began)
	t.Logf("the page had the change %v after the console sent it", took)
	if took > 10*time.Second { // no measurement: another page load would be what brought it
		t.Errorf("the change took %v", took)
	}
	changed.Read["boolean"].is(t, "checkout after the change", false, "STATIC", "off", "")
	for _, w := range slices.Concat(ready.Wire, same.Wire, free.Wire, out.Wire, changed.Wire) {
		if strings.Contains(w.URL+"&", "flagConfigEtag=c"+hidden+"&") {
			t.Errorf("the page asked %s after a change that it cannot see", w.URL)
		}
	}
	if last := changed.Wire[len(changed.Wire)-1]; !strings.Contains(last.URL, "flagConfigEtag=c") || last.Status != http.StatusOK {
		t.Errorf("the page asked %+v; want what an event made it ask", last)
	}

	wrong := open(t, p.HTTP, "client-wrong")
	if failed := wrong.next("failed"); failed.Status != "FATAL" {
		t.Errorf("with a wrong key the provider is %s; want FATAL", failed.Status)
	}
}
