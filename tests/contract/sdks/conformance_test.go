package sdks_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/sluice-flags/sluice/tests/contract/sdks"
	"github.com/sluice-flags/sluice/tests/harness"
)

// Every SDK does the same things, with the same outcome, against one platform.
// docs/sdks.md says which option of which SDK each case stands for.
var conformance = []struct {
	name string
	run  func(*testing.T, *bench)
}{
	{"answers as the edge does, and what it logs arrives once", answersAndLogs},
	{"what is logged before a page is left arrives", leavesThePage},
	{"what a page does not know of its user is taken from the request", knownByRequest},
	{"private attributes decide and are stored nowhere", privateAttributes},
	{"the environment tier decides", environmentTier},
	{"a change of rules is picked up", liveChange},
	{"the members of an id list decide", idList},
	{"options change what the server is asked, and no answer", options},
	{"starts from values without asking", startsFromValues},
	{"the rules it tells of start another", startsFromRules},
	{"starts from what it stored while the server is away", startsFromStore},
	{"local mode asks nobody", localMode},
	{"overrides win over rules", overrides},
	{"two instances in one process are apart", twoInstances},
	{"a wrong key is the SDK's own fail-safe", wrongKey},
	{"a server that comes back is found", serverComesBack},
	{"a server SDK hands clients what to start from", handsPayload},
	{"starts from what a server SDK hands it", startsFromPayload},
}

// cannot names what an SDK has no feature for.
var cannot = map[string]map[string]string{
	"go-sdk":       serverOnly,
	"statsig-node": serverOnly,
	"statsig-node-core": with(serverOnly, map[string]string{
		"starts from values without asking":   "no option takes values: its data store does the same",
		"the rules it tells of start another": "its event tells that rules changed, and not the rules",
	}),
	"statsig in Python": serverOnly,
	"statsig-python-core": with(serverOnly, map[string]string{
		"starts from values without asking":   "no option takes values: its data store does the same",
		"the rules it tells of start another": "its event tells that rules changed, and not the rules",
	}),
	"js-client in Node": with(clientOnly, noPage),
	"js-client":         clientOnly,
	"react-bindings":    clientOnly,
	"statsig-js":        clientOnly,
	"statsig-react": with(clientOnly, map[string]string{
		"two instances in one process are apart": "its hooks read one global instance",
	}),
}

var (
	noPage = map[string]string{
		"what is logged before a page is left arrives":                    "it runs on no page",
		"what a page does not know of its user is taken from the request": "it runs on no page",
	}
	serverOnly = with(noPage, map[string]string{"starts from what a server SDK hands it": "a server SDK starts from rules"})
	clientOnly = map[string]string{
		"a server SDK hands clients what to start from": "a client SDK has no rules",
		"the rules it tells of start another":           "a client SDK has no rules",
	}
)

func with(a, b map[string]string) map[string]string {
	out := map[string]string{}
	for _, m := range []map[string]string{a, b} {
		for k, v := range m {
			out[k] = v
		}
	}
	return out
}

func TestEverySDKBehavesAsWithItsVendor(t *testing.T) {
	t.Parallel()
	p := harness.Shared(t)
	lab := sdks.NewLab(t)
	shop, other := furnish(p.NewProject("matrix")), p.NewProject("matrix_other")
	other.Create("gates", harness.Doc{"name": "open", "rules": []harness.Doc{}})
	handed := &payloads{by: map[string]string{}}

	// Servers first: clients start from what they hand out.
	t.Run("servers", func(t *testing.T) { runMatrix(t, sdks.Servers(), lab, shop, other, handed) })
	t.Run("clients", func(t *testing.T) { runMatrix(t, sdks.Clients(), lab, shop, other, handed) })
}

// A reason for nobody would hide that a case is gone, or an SDK.
func TestWhatAnSDKCannotDoIsACaseOfTheTable(t *testing.T) {
	cases, names := map[string]bool{}, map[string]bool{}
	for _, c := range conformance {
		cases[c.name] = true
	}
	for _, sdk := range sdks.All() {
		names[sdk.Name] = true
	}
	for sdk, reasons := range cannot {
		if !names[sdk] {
			t.Errorf("reasons are given for %s, which is no SDK of these tests", sdk)
		}
		for c := range reasons {
			if !cases[c] {
				t.Errorf("a reason is given why %s cannot do %q, which is no case", sdk, c)
			}
		}
	}
	for sdk := range variants {
		if !names[sdk] {
			t.Errorf("options are given for %s, which is no SDK of these tests", sdk)
		}
	}
}

func runMatrix(t *testing.T, members []sdks.SDK, lab *sdks.Lab, shop, other *harness.Project, handed *payloads) {
	for _, sdk := range members {
		t.Run(sdk.Name, func(t *testing.T) {
			t.Parallel()
			driver := lab.Start(t, sdk)
			slug := strings.ToLower(strings.ReplaceAll(sdk.Name, " ", "-"))
			for _, c := range conformance {
				t.Run(c.name, func(t *testing.T) {
					if why, ok := cannot[sdk.Name][c.name]; ok {
						t.Skip(why)
					}
					c.run(t, &bench{
						Driver: driver.For(t), shop: forTest(t, shop), other: forTest(t, other),
						db: shop.Warehouse(), slug: slug, payloads: handed,
					})
				})
			}
		})
	}
}

// forTest is a project whose failures are those of t.
func forTest(t *testing.T, p *harness.Project) *harness.Project {
	platform, project := *p.Platform, *p
	platform.T = t
	project.Platform = &platform
	return &project
}

// furnish defines what the cases ask about.
func furnish(shop *harness.Project) *harness.Project {
	half := func(more harness.Doc) harness.Doc {
		rule := harness.Doc{"id": "half", "name": "Half", "passPercentage": 50, "conditions": harness.Everyone}
		for k, v := range more {
			rule[k] = v
		}
		return rule
	}
	only := func(condition harness.Doc) []harness.Doc {
		return []harness.Doc{{"id": "only", "name": "Only", "passPercentage": 100, "conditions": []harness.Doc{condition}}}
	}
	shop.Create("gates", harness.Doc{"name": "checkout", "rules": []harness.Doc{half(nil)}})
	shop.Create("gates", harness.Doc{"name": "swayed", "rules": []harness.Doc{half(nil)}}) // overridden: some SDKs remember that
	shop.Create("gates", harness.Doc{"name": "open", "rules": []harness.Doc{{"id": "all", "name": "All", "passPercentage": 100, "conditions": harness.Everyone}}})
	shop.Create("gates", harness.Doc{"name": "gold", "rules": only(harness.Doc{
		"type": "custom_field", "field": "plan", "operator": "str_starts_with_any", "targetValue": []string{"gold"}})})
	shop.Create("gates", harness.Doc{"name": "chromium", "rules": only(harness.Doc{
		"type": "browser_name", "operator": "str_contains_any", "targetValue": []string{"Chrom"}})})
	shop.Create("gates", harness.Doc{"name": "loopback", "rules": only(harness.Doc{
		"type": "ip_address", "operator": "any", "targetValue": []string{"127.0.0.1"}})})
	shop.Create("gates", harness.Doc{"name": "rehearsal", "rules": only(harness.Doc{
		"type": "environment_tier", "operator": "any", "targetValue": []string{"staging"}})})
	shop.Create("configs", harness.Doc{"name": "banner", "defaultValue": harness.Doc{"colour": "blue"},
		"rules": []harness.Doc{half(harness.Doc{"value": harness.Doc{"colour": "green", "sizes": []int{1, 2}}})}})
	groups := func(parameter string) []harness.Doc {
		return []harness.Doc{
			{"name": "control", "share": 40, "control": true, "parameters": harness.Doc{parameter: "plain"}},
			{"name": "loud", "share": 60, "parameters": harness.Doc{parameter: "loud"}},
		}
	}
	shop.Create("experiments", harness.Doc{"name": "pricing", "allocation": 100, "groups": groups("layout")})
	shop.Create("layers", harness.Doc{"name": "page", "parameters": harness.Doc{"title": "none"}})
	shop.Create("experiments", harness.Doc{"name": "headline", "layer": "page", "allocation": 100, "groups": groups("title")})
	shop.Start("pricing")
	shop.Start("headline")
	return shop
}

// everything asks for one entity of each kind.
var everything = sdks.Question{Gate: "checkout", Config: "banner", Experiment: "pricing", Layer: "page", Parameter: "title"}

func answersAndLogs(t *testing.T, b *bench) {
	users := 6
	if !b.Client {
		users = 40 // who cost no request
	}
	i := b.open(b.user("answers", 0))
	var exposures, events []string
	for n := range users {
		u := b.user("answers", n)
		got := i.Check(u, everything)
		for kind, line := range map[string]string{
			"gate":       fmt.Sprintf("gate checkout %v", got["gate"].Value),
			"config":     "config banner",
			"experiment": "experiment pricing " + got["experiment"].Group,
			"layer":      "layer headline " + got["layer"].Group + " of page.title",
		} {
			exposures = append(exposures, fmt.Sprintf("%s %s by %s", u["userID"], line, got[kind].RuleID))
		}
		b.agrees(u, got)
		i.Log(u, sdks.Event{Name: "bought", Value: 12.5, Metadata: map[string]string{"item": u["userID"].(string)}})
		events = append(events, fmt.Sprintf("%s bought 12.5 %s", u["userID"], u["userID"]))
	}
	i.Flush()
	i.Close()

	prefix := b.slug + "/answers/"
	b.eventually("exposures", exposures, `SELECT concat(unit_id, ' ', kind, ' ', name,
			multiIf(kind = 'gate', concat(' ', value), kind = 'experiment', concat(' ', value), kind = 'layer', concat(' ', value, ' of ', layer, '.', parameter), ''),
			' by ', rule_id)
		FROM exposures WHERE project = ? AND unit_type = 'userID' AND startsWith(unit_id, ?)`, b.shop.ID, prefix)
	b.eventually("events", events, `SELECT concat(unit_id, ' ', event, ' ', toString(value), ' ', metadata['item'])
		FROM events WHERE project = ? AND unit_type = 'userID' AND startsWith(unit_id, ?)`, b.shop.ID, prefix)
}

// A page that is left has no time to wait for an answer: the browser delivers
// what the SDK gives it, without headers.
func leavesThePage(_ *testing.T, b *bench) {
	u := b.user("leaves", 0)
	i := b.open(u)
	i.Log(u, sdks.Event{Name: "left", Value: 1})
	i.Leave()
	b.eventually("events", []string{"left 1"},
		"SELECT concat(event, ' ', toString(value)) FROM events WHERE event = 'left' AND project = ? AND unit_id = ?", b.shop.ID, u["userID"])
}

func knownByRequest(t *testing.T, b *bench) {
	u := b.user("request", 0)
	i := b.open(u)
	for _, gate := range []string{"chromium", "loopback"} {
		if !i.Gate(u, gate) {
			t.Errorf("gate %s = false for a user of whom only the request tells; want true", gate)
		}
	}
	i.Close()
}

func privateAttributes(t *testing.T, b *bench) {
	secret := "gold-" + strings.ReplaceAll(b.slug, "-", "") + "-secret"
	u := b.user("private", 0)
	u["privateAttributes"] = map[string]any{"plan": secret}
	u["custom"] = map[string]any{"seat": "window"}
	i := b.open(u)
	if !i.Gate(u, "gold") {
		t.Errorf("gate gold = false for a user whose private attribute it names; want true")
	}
	i.Log(u, sdks.Event{Name: "seen", Value: "yes"})
	i.Flush()
	stranger := b.user("private", 1)
	if i.Gate(stranger, "gold") {
		t.Errorf("gate gold = true for a user without the attribute; want false")
	}
	i.Close()
	b.eventually("events", []string{"yes"}, "SELECT value_text FROM events WHERE project = ? AND unit_id = ?", b.shop.ID, u["userID"])
	for _, table := range []string{"events", "exposures", "dead_letters"} {
		query := "SELECT text FROM (SELECT formatRowNoNewline('JSONEachRow', *) AS text FROM " + table + ") WHERE position(text, ?) > 0"
		if found := b.lines(query, secret); len(found) > 0 {
			t.Errorf("table %s holds a private attribute: %s", table, found)
		}
	}
}

func environmentTier(t *testing.T, b *bench) {
	for _, tier := range []string{"staging", "production"} {
		u := b.user("tier-"+tier, 0)
		i := b.Open(sdks.Setup{Base: b.shop.HTTP, Key: b.key(b.shop), User: u, Tier: tier})
		if got, want := i.Gate(u, "rehearsal"), tier == "staging"; got != want {
			t.Errorf("gate rehearsal in tier %s = %v; want %v", tier, got, want)
		}
		i.Close()
	}
}

func liveChange(t *testing.T, b *bench) {
	gate := "live-" + b.slug
	b.shop.Create("gates", harness.Doc{"name": gate, "rules": []harness.Doc{}})
	u := b.user("live", 0)
	i := b.open(u)
	if i.Gate(u, gate) {
		t.Errorf("gate %s = true before the change; want false", gate)
	}
	b.shop.SetGate(gate, 100)
	b.turns(i, u, gate)
	i.Close()
}

func idList(t *testing.T, b *bench) {
	list := "list-" + b.slug
	b.shop.Create("segments", harness.Doc{"name": list, "type": "idList", "unitType": "userID"})
	member, stranger := b.user("listed", 0), b.user("listed", 1)
	b.shop.SetIDs(list, harness.Doc{"add": []any{member["userID"]}})
	b.shop.Create("gates", harness.Doc{"name": list, "rules": []harness.Doc{{"id": "members", "name": "Members", "passPercentage": 100,
		"conditions": []harness.Doc{{"type": "passes_segment", "targetValue": list}}}}})
	i := b.open(member)
	if !i.Gate(member, list) {
		t.Errorf("gate %s = false for a member of the list it asks; want true", list)
	}
	if i.Gate(stranger, list) {
		t.Errorf("gate %s = true for somebody who is not in the list; want false", list)
	}
	i.Close()
}

func localMode(t *testing.T, b *bench) {
	var asked atomic.Value
	listener := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { asked.Store(r.URL.Path) }))
	defer listener.Close()
	u := b.user("local", 0)
	i := b.Open(sdks.Setup{Base: listener.URL, Key: b.key(b.shop), User: u, Local: true})
	i.Override("swayed", true)
	if !i.Gate(u, "swayed") {
		t.Errorf("gate swayed, overridden in local mode, = false; want true")
	}
	if i.Gate(u, "open") {
		t.Errorf("gate open in local mode = true; want false, its default")
	}
	i.Log(u, sdks.Event{Name: "unheard"})
	i.Flush()
	i.Close()
	if path := asked.Load(); path != nil {
		t.Errorf("in local mode the SDK asked for %s; want no request", path)
	}
}

func overrides(t *testing.T, b *bench) {
	for _, want := range []bool{true, false} { // one of which the rules say too
		u := b.user("overrides", 0)
		i := b.open(u)
		i.Override("swayed", want)
		if got := i.Gate(u, "swayed"); got != want {
			t.Errorf("gate swayed, overridden, = %v; want %v", got, want)
		}
		b.agrees(u, i.Check(u, everything)) // what is not overridden
		i.Close()
	}
}

func twoInstances(t *testing.T, b *bench) {
	u := b.user("two", 0)
	here := b.open(u)
	there := b.Open(sdks.Setup{Base: b.other.HTTP, Key: b.key(b.other), User: u, Beside: true})
	for name, try := range map[string]struct {
		instance *sdks.Instance
		want     bool
	}{"matrix": {here, true}, "matrix_other": {there, false}} {
		if got := try.instance.Gate(u, "open"); got != try.want {
			t.Errorf("gate open in project %s = %v; want %v", name, got, try.want)
		}
		try.instance.Log(u, sdks.Event{Name: "came", Value: name})
		try.instance.Flush()
	}
	here.Close()
	there.Close()
	b.eventually("events", []string{"matrix matrix", "matrix_other matrix_other"},
		"SELECT concat(project, ' ', value_text) FROM events WHERE event = 'came' AND unit_id = ?", u["userID"])
}

func wrongKey(t *testing.T, b *bench) {
	u := b.user("wrong", 0)
	kind, _, _ := strings.Cut(b.key(b.shop), "-")
	i := b.Open(sdks.Setup{Base: b.shop.HTTP, Key: kind + "-matrix-0000000000000000000000000000000000000000000", User: u})
	got := i.Check(u, everything)
	if got["gate"].Value != false || got["layer"].Value != nil {
		t.Errorf("with a wrong key: %v; want what the SDK says of what it does not know", got)
	}
	for _, kind := range []string{"config", "experiment"} {
		if diff := cmp.Diff(map[string]any{}, got[kind].Value); diff != "" {
			t.Errorf("with a wrong key, %s differs (-want +got):\n%s", kind, diff)
		}
	}
}

func serverComesBack(t *testing.T, b *bench) {
	entrance := newDoor(t, b.shop.HTTP, nil)
	u := b.user("back", 0)
	i := b.Open(sdks.Setup{Base: entrance.base(), Key: b.key(b.shop), User: u})
	if i.Gate(u, "open") {
		t.Errorf("gate open without a server = true; want false")
	}
	entrance.open()
	b.turns(i, u, "open")
	i.Close()
}
