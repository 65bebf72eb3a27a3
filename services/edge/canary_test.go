package edge_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"github.com/sluice-flags/sluice/internal/flagstest"
	"github.com/sluice-flags/sluice/pkg/eval"
	"github.com/sluice-flags/sluice/pkg/events/live"
	"github.com/sluice-flags/sluice/pkg/flags"
	"github.com/sluice-flags/sluice/services/edge/internal/edgetest"
)

// canary is in every text that no client may be sent, and in none that one may.
const canary = "zq7canary"

// A garden is a random project with canaries in all secret places.
type garden struct {
	*flagstest.Project
	documents []flags.Document
	app       string // of the client's key; empty for none

	secret []flags.Document // that the client may not see at all
	shown  []flags.Document
	count  int
}

// bird makes a new text with the canary.
func (g *garden) bird() string {
	g.count++
	return fmt.Sprint(canary, "-", g.count)
}

func newGarden(t *testing.T, seed uint64, app string) *garden {
	g := &garden{Project: flagstest.New(seed, 0), app: app}
	names := map[string]bool{} // that the client may see
	for _, d := range g.Documents {
		if g.seen(d) {
			names[d.DocName()] = true
		}
	}
	for _, d := range g.Documents {
		// A layer names the experiment that decided, whose values it hands out.
		if x, ok := d.(*flags.Experiment); ok && names[x.Layer] {
			names[x.Name] = true
		}
	}
	var renames []string // as they stand in JSON
	for _, d := range g.Documents {
		// OpenFeature names the holdout that kept a user out, to clients too.
		if name := d.DocName(); !names[name] && d.Ref().Kind != flags.KindHoldout {
			renames = append(renames, quoted(name), quoted(name+" "+canary))
		}
	}
	rename := strings.NewReplacer(renames...)
	for _, d := range g.Documents {
		raw, err := flags.Encode(d)
		if err != nil {
			t.Fatal(err)
		}
		planted, err := flags.Decode(d.Ref().Kind, []byte(rename.Replace(string(raw))))
		if err != nil {
			t.Fatal(err)
		}
		g.plant(planted)
		g.documents = append(g.documents, planted)
		if g.seen(planted) {
			g.shown = append(g.shown, planted)
		} else {
			g.secret = append(g.secret, planted)
		}
	}
	return g
}

func quoted(s string) string {
	raw, _ := json.Marshal(s) // texts always encode
	return string(raw)
}

// seen says whether a client may know of a definition, from what people wrote.
func (g *garden) seen(d flags.Document) bool {
	visible, apps := true, []string(nil)
	switch d := d.(type) {
	case *flags.Gate:
		visible, apps = d.ClientVisible == nil || *d.ClientVisible, d.TargetApps
	case *flags.Config:
		visible, apps = d.ClientVisible == nil || *d.ClientVisible, d.TargetApps
	case *flags.Experiment:
		apps = d.TargetApps
	case *flags.Layer:
		apps = d.TargetApps
	default:
		return false
	}
	return visible && (g.app == "" || slices.Contains(apps, g.app))
}

// plant puts canaries wherever a definition has something that is not for clients.
func (g *garden) plant(d flags.Document) {
	about := func(a *flags.About) {
		*a = flags.About{DisplayName: g.bird(), Description: g.bird(), Owner: g.bird(), Team: g.bird(), Tags: []string{g.bird()},
			Metadata: json.RawMessage(`{"note":"` + g.bird() + `"}`)}
	}
	switch d := d.(type) {
	case *flags.Gate:
		about(&d.About)
		d.Why, d.Salt = g.bird(), g.bird()
		d.Rules = g.rules(d.Rules, nil)
		if d.Overrides == nil {
			d.Overrides = map[string]flags.Overrides{}
		}
		o := d.Overrides["userID"]
		o.Pass, o.Fail = append(o.Pass, g.bird()), append(o.Fail, g.bird())
		d.Overrides["userID"] = o
	case *flags.Config:
		about(&d.About)
		d.Salt = g.bird()
		if d.Status == flags.StatusLaunched {
			return // it has the one rule whose value everybody gets
		}
		d.Rules = g.rules(d.Rules, func() json.RawMessage { return json.RawMessage(`{"of":"` + g.bird() + `"}`) })
	case *flags.Experiment:
		about(&d.About)
		d.Hypothesis, d.Salt = g.bird(), g.bird()
		for i := range d.Groups {
			d.Groups[i].Description = g.bird()
		}
		if len(d.TargetingRules) > 0 {
			d.TargetingRules = g.rules(d.TargetingRules, nil)
		}
	case *flags.Layer:
		about(&d.About)
		d.Salt = g.bird()
	case *flags.Segment:
		about(&d.About)
		d.Salt = g.bird()
		if d.Type == flags.SegmentRules {
			d.Rules = g.rules(d.Rules, nil)
		}
	case *flags.Holdout:
		about(&d.About)
		d.Salt = g.bird()
	}
}

// rules adds what clients must not see of rules: addresses in every condition that
// takes them, a rule of another environment before the others, which everybody
// there passes, and behind them one for somebody else.
func (g *garden) rules(rules []flags.Rule, value func() json.RawMessage) []flags.Rule {
	for i := range rules {
		rules[i].Salt = g.bird()
		for j := range rules[i].Conditions {
			c := &rules[i].Conditions[j]
			if c.Type == "email" && strings.HasPrefix(string(c.TargetValue), "[") {
				var list []string
				if json.Unmarshal(c.TargetValue, &list) == nil {
					c.TargetValue, _ = json.Marshal(append(list, g.bird()+"@example.com"))
				}
			}
		}
	}
	elsewhere, another := edgetest.Everyone(), edgetest.Only(g.bird()+"@example.com")
	elsewhere.Environments = []string{"staging"}
	for _, r := range []*flags.Rule{&elsewhere, &another} {
		r.ID, r.Name = g.bird(), g.bird()
		if value != nil {
			r.Value = value()
		}
	}
	return append(append([]flags.Rule{elsewhere}, rules...), another)
}

// A client key of random projects is shown values. Every byte that it is sent, by
// whatever protocol and in whatever mode, is searched for what it must not see:
// rules, salts, addresses, who is overridden, segments, holdouts, other
// environments, other target apps, hidden flags, and what people wrote to one
// another.
func TestNoCanaryReachesAClient(t *testing.T) {
	const seeds, users = 2, 4
	for seed := range uint64(seeds) {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			app := ""
			if seed%2 == 1 {
				app = "web"
			}
			g := newGarden(t, seed, app)
			n := startNATS(t)
			_, p := n.project(t)
			for _, name := range []string{"staging", "development", canary} {
				p.Put(t, &flags.Environment{Name: name, About: flags.About{Description: g.bird()}})
			}
			for _, d := range g.documents {
				p.Put(t, d)
			}
			key := p.Key(t, flags.KeyClient, func(k *flags.Key) {
				k.Name = g.bird()
				if app != "" {
					k.TargetApps = []string{app}
				}
			})
			server := p.Key(t, flags.KeyServer)
			e := startEdge(t, n, "")
			until(t, "the project", func() answer { return e.ask(t, "GET", "/v1/download_config_specs", server, "") }, func(a answer) bool { return a.status == 200 })
			if a := e.ask(t, "GET", "/v1/download_config_specs", server, ""); strings.Count(a.body, canary) < 100 {
				t.Fatalf("the rules have %d canaries; want many, or nothing is tried", strings.Count(a.body, canary))
			}
			c := &cat{t: t, e: e, g: g, key: key}
			for i := range users {
				u := g.User(i)
				if i%2 == 0 {
					u.StatsigEnvironment = map[string]string{"tier": "staging"}
				}
				c.ask(u)
			}
			c.watch(p, g.User(users))
		})
	}
}

// A cat asks everything that a client can, and looks for canaries.
type cat struct {
	t   *testing.T
	e   *running
	g   *garden
	key string
}

func (c *cat) searches(what string, header http.Header, body string) {
	c.t.Helper()
	var all bytes.Buffer
	_ = header.Write(&all) // to memory
	all.WriteString(body)
	if i := strings.Index(all.String(), canary); i >= 0 {
		c.t.Errorf("%s told a client: …%s…", what, all.String()[max(0, i-200):min(all.Len(), i+100)])
	}
}

// says asks one endpoint and returns what it said.
func (c *cat) says(method, path, body string, header ...string) answer {
	c.t.Helper()
	a := c.e.ask(c.t, method, path, c.key, body, header...)
	if a.status >= 500 {
		c.t.Errorf("%s %s answered %d %s", method, path, a.status, a.body)
	}
	return a
}

func (c *cat) ask(u eval.User) {
	c.t.Helper()
	user, err := json.Marshal(u)
	if err != nil {
		c.t.Fatal(err)
	}
	look := func(method, path, body string, header ...string) {
		c.t.Helper()
		a := c.says(method, path, body, header...)
		c.searches(method+" "+path, a.header, a.body)
	}
	bearer := []string{"Authorization", "Bearer " + c.key}
	for _, hash := range []string{"none", "djb2", "sha256", "unheard-of"} {
		look("POST", "/v1/initialize", `{"hash":"`+hash+`","user":`+string(user)+`}`)
	}
	look("POST", "/ofrep/v1/evaluate/flags?include=params", `{"context":`+string(user)+`}`, bearer...)
	for _, path := range []string{"/v1/download_config_specs", "/v2/download_config_specs", "/v1/download_config_specs/" + c.key + ".json", "/v1/get_id_lists"} {
		look("GET", path, "")
		if a := c.says("GET", path, ""); a.status != http.StatusForbidden {
			c.t.Errorf("GET %s with a client key = %d; want 403", path, a.status)
		}
	}
	questions := func(name string) [][3]string {
		q := quoted(name)
		return [][3]string{
			{"POST", "/v1/check_gate", `{"gateName":` + q + `,"user":` + string(user) + `}`},
			{"POST", "/v1/check_gate", `{"gateNames":[` + q + `],"user":` + string(user) + `}`},
			{"POST", "/v1/get_config", `{"configName":` + q + `,"user":` + string(user) + `}`},
			{"POST", "/v1/get_layer", `{"layerName":` + q + `,"user":` + string(user) + `}`},
			{"GET", "/features/gate/" + url.PathEscape(name) + "?user=" + url.QueryEscape(string(user)), ""},
			{"GET", "/features/config/" + url.PathEscape(name) + "?user=" + url.QueryEscape(string(user)), ""},
			{"POST", "/ofrep/v1/evaluate/flags/" + url.PathEscape(name), `{"context":` + string(user) + `}`},
		}
	}
	for _, d := range c.g.shown {
		for _, q := range questions(d.DocName()) {
			look(q[0], q[1], q[2], bearer...)
		}
	}
	// What is secret answers as what nobody ever defined: by name, and for segments
	// by the name that rules have for them.
	nobody := questions("nobody")
	for _, d := range c.g.secret {
		for _, name := range []string{d.DocName(), "segment:" + d.DocName()} {
			if slices.ContainsFunc(c.g.shown, func(s flags.Document) bool { return s.DocName() == name }) {
				continue // another kind has the name
			}
			for i, q := range questions(name) {
				got, want := c.says(q[0], q[1], q[2], bearer...), c.says(nobody[i][0], nobody[i][1], nobody[i][2], bearer...)
				got.body = strings.ReplaceAll(got.body, name, "nobody")
				if got.status != want.status || requestID.ReplaceAllString(got.body, "") != requestID.ReplaceAllString(want.body, "") {
					c.t.Errorf("%s %s, which is secret, = %d %s; of what nobody defined = %d %s", q[0], q[1], got.status, got.body, want.status, want.body)
				}
			}
		}
	}
}

// requestID is what tells two equal problems apart.
var requestID = regexp.MustCompile(`"instance":"[^"]*"`)

// watch holds a live connection while everything changes.
func (c *cat) watch(p *edgetest.Project, u eval.User) {
	c.t.Helper()
	user, err := json.Marshal(u)
	if err != nil {
		c.t.Fatal(err)
	}
	conn, _, err := websocket.DefaultDialer.Dial("ws"+strings.TrimPrefix(c.e.server.URL, "http")+live.Path, nil)
	if err != nil {
		c.t.Fatal(err)
	}
	defer conn.Close()
	hello, err := live.Encode(live.Hello{Protocol: live.Protocol, Key: c.key, Mode: live.ModeValues, User: user, Hash: "none"})
	if err != nil {
		c.t.Fatal(err)
	}
	if err := conn.WriteMessage(websocket.TextMessage, hello); err != nil {
		c.t.Fatal(err)
	}
	next := func() live.Frame {
		c.t.Helper()
		_ = conn.SetReadDeadline(time.Now().Add(patience)) // fails on closed connections, as the read does
		_, text, err := conn.ReadMessage()
		if err != nil {
			c.t.Fatal(err)
		}
		c.searches("the live connection", nil, string(text))
		frame, err := live.DecodeServer(text)
		if err != nil {
			c.t.Fatal(err)
		}
		return frame
	}
	next()
	for _, d := range c.g.documents {
		found, ok := p.State().ByName(d.Ref().Kind, d.DocName())
		if !ok {
			c.t.Fatalf("%s %q is not there", d.Ref().Kind, d.DocName())
		}
		again := flags.Clone(found.Doc)
		switch d := again.(type) {
		case *flags.Gate:
			d.Rules = nil
		case *flags.Segment:
			d.Rules = nil
			d.Description = c.g.bird()
		case *flags.Config:
			d.DeferToCode = !d.DeferToCode
		case *flags.Experiment:
			d.Hypothesis = c.g.bird()
		}
		p.Put(c.t, again)
	}
	visible := p.Gate("the last")
	visible.TargetApps = []string{"web"}
	last := p.Put(c.t, visible)
	for {
		if change, ok := next().(live.Change); ok && change.Seq >= last {
			return
		}
	}
}
