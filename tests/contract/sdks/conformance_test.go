package sdks_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"
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

// A bench is where one case tries one SDK.
type bench struct {
	*sdks.Driver
	shop, other *harness.Project
	db          driver.Conn
	slug        string // of the SDK
	payloads    *payloads
}

// user returns the nth user of a case, whom no other case and no other SDK has.
func (b *bench) user(which string, n int) sdks.User {
	return sdks.User{"userID": fmt.Sprintf("%s/%s/%d", b.slug, which, n)}
}

// key returns the SDK's key of a project.
func (b *bench) key(p *harness.Project) string {
	if b.Client {
		return p.Client
	}
	return p.Server
}

// open makes an instance that talks to the platform, for u if it is a client.
func (b *bench) open(u sdks.User) *sdks.Instance {
	return b.Open(sdks.Setup{Base: b.shop.HTTP, Key: b.key(b.shop), User: u})
}

// mailbox is a server that takes what is logged and knows nothing.
func (b *bench) mailbox() string {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Access-Control-Allow-Origin", "*")
		w.Header().Set("Access-Control-Allow-Headers", "*")
		if strings.HasSuffix(r.URL.Path, "/log_event") || strings.HasSuffix(r.URL.Path, "/rgstr") {
			_, _ = w.Write([]byte(`{"success":true}`))
			return
		}
		w.WriteHeader(http.StatusNotFound)
	}))
	b.shop.T.Cleanup(server.Close)
	return server.URL
}

// nowhere is an address at which nobody answers.
func (b *bench) nowhere() string { return "http://" + harness.FreeAddress(b.shop.T) }

// edge asks the edge what it would answer, without leaving an exposure.
func (b *bench) edge(u sdks.User) sdks.Answers {
	b.shop.T.Helper()
	read := func(path, member, name string) (out struct {
		Value     any    `json:"value"`
		RuleID    string `json:"rule_id"`
		LayerRule string `json:"ruleID"`
		GroupName string `json:"group_name"`
	}) {
		b.shop.Must(http.StatusOK, &out, b.shop.Server, "POST", path,
			harness.Doc{member: name, "user": u, "statsigMetadata": harness.Doc{"exposureLoggingDisabled": true}})
		return out
	}
	gate := read("/v1/check_gate", "gateName", everything.Gate)
	config := read("/v1/get_config", "configName", everything.Config)
	experiment := read("/v1/get_config", "configName", everything.Experiment)
	layer := read("/v1/get_layer", "layerName", everything.Layer)
	headline := read("/v1/get_config", "configName", "headline") // get_layer does not name the group
	return sdks.Answers{
		"gate":       {Value: gate.Value, RuleID: gate.RuleID, Group: gate.GroupName},
		"config":     {Value: config.Value, RuleID: config.RuleID, Group: config.GroupName},
		"experiment": {Value: experiment.Value, RuleID: experiment.RuleID, Group: experiment.GroupName},
		"layer":      {Value: layer.Value.(map[string]any)[everything.Parameter], RuleID: layer.LayerRule, Group: headline.GroupName},
	}
}

// agrees compares what an SDK said with what the edge says. Groups of gates and
// configs are left out: half of the SDKs do not tell them.
func (b *bench) agrees(u sdks.User, got sdks.Answers) {
	b.shop.T.Helper()
	want := b.edge(u)
	for _, answers := range []sdks.Answers{want, got} {
		for _, kind := range []string{"gate", "config"} {
			a := answers[kind]
			a.Group = ""
			answers[kind] = a
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		b.shop.T.Errorf("user %s: the SDK differs from the edge (-edge +sdk):\n%s", u["userID"], diff)
	}
}

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

// eventually waits until a query yields exactly the wanted lines, in any order.
func (b *bench) eventually(what string, want []string, query string, args ...any) {
	b.shop.T.Helper()
	slices.Sort(want)
	harness.Within(b.shop.T, 45*time.Second, func() error {
		got := b.lines(query, args...)
		slices.Sort(got)
		if diff := cmp.Diff(want, got); diff != "" {
			return fmt.Errorf("%s in ClickHouse differ (-logged +stored):\n%s", what, diff)
		}
		return nil
	})
}

func (b *bench) lines(query string, args ...any) (out []string) {
	b.shop.T.Helper()
	rows, err := b.db.Query(context.Background(), query, args...)
	if err != nil {
		b.shop.T.Fatal(err)
	}
	defer rows.Close()
	for rows.Next() {
		var line string
		if err := rows.Scan(&line); err != nil {
			b.shop.T.Fatal(err)
		}
		out = append(out, line)
	}
	if err := rows.Err(); err != nil {
		b.shop.T.Fatal(err)
	}
	return out
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

// turns waits until a gate is true for u. It has the server's key's wait: the
// shortest interval of the slowest SDK is five seconds.
func (b *bench) turns(i *sdks.Instance, u sdks.User, gate string) {
	b.shop.T.Helper()
	harness.Within(b.shop.T, 30*time.Second, func() error {
		i.Refresh()
		if !i.Gate(u, gate) {
			time.Sleep(100 * time.Millisecond) // each look is an exposure, or a request
			return fmt.Errorf("gate %s = false; want true", gate)
		}
		return nil
	})
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

// A variant is options of an SDK that the server has a part in; {base} stands
// for the platform's address.
type variant struct {
	name    string
	options map[string]any
}

// nobodyThere is the address of nobody: the discard port.
const nobodyThere = "http://127.0.0.1:9"

var (
	clientVariants = []variant{
		{"names in clear", map[string]any{"networkConfig": map[string]any{"initializeHashAlgorithm": "none"}}},
		{"a body that is not encoded", map[string]any{"disableStatsigEncoding": true}},
		{"compressed events", map[string]any{"logEventCompressionMode": "f"}},
		{"an address for each endpoint", map[string]any{"networkConfig": map[string]any{
			"api": nobodyThere, "initializeUrl": "{base}/v1/initialize", "logEventUrl": "{base}/v1/rgstr"}}},
	}
	// The SDK tries other addresses after failures that it knows by the words of
	// browsers: in Node it never does.
	pageVariants = append(clientVariants, variant{"an address that fails, and others to try", map[string]any{"networkConfig": map[string]any{
		"initializeUrl": nobodyThere + "/v1/initialize", "initializeFallbackUrls": []string{"{base}/v1/initialize"},
		"logEventUrl": nobodyThere + "/v1/rgstr", "logEventFallbackUrls": []string{"{base}/v1/rgstr"}}}})
	variants = map[string][]variant{
		"go-sdk": {
			{"an address for each endpoint", map[string]any{"api": nobodyThere, "api_overrides": map[string]string{
				"download_config_specs": "{base}/v1", "get_id_lists": "{base}/v1", "log_event": "{base}/v1"}}},
			{"no key in the path", map[string]any{"DisableCDN": true}},
		},
		"statsig in Python": {
			{"an address for each endpoint", map[string]any{"api": nobodyThere, "api_for_download_config_specs": "{base}/v1/",
				"api_for_get_id_lists": "{base}/v1/", "api_for_log_event": "{base}/v1/"}},
			{"one event in each request", map[string]any{"event_queue_size": 1}},
			{"a start that waits for a while", map[string]any{"overall_init_timeout": 10, "out_of_sync_threshold_in_s": 60}},
			{"attributes of every user", map[string]any{"global_custom_fields": map[string]any{"region": "eu"}}},
		},
		"statsig-python-core": {
			{"differences of rules", map[string]any{"enable_dcs_deltas": true}},
			{"one event in each request", map[string]any{"event_logging_max_queue_size": 1}},
			{"attributes of every user", map[string]any{"global_custom_fields": map[string]any{"region": "eu"}}},
		},
		"statsig-node": {
			{"an address for each endpoint", map[string]any{"apiForDownloadConfigSpecs": "{base}/v1", "apiForGetIdLists": "{base}/v1"}},
			{"one event in each request", map[string]any{"loggingMaxBufferSize": 1}},
		},
		"statsig-node-core": {
			{"differences where there are any", map[string]any{"enableDcsDeltas": true}},
			{"gzip", map[string]any{"configCompressionMode": "gzip"}},
			{"sources in order", map[string]any{"specAdaptersConfig": []map[string]any{
				{"adapterType": "network_http", "specsUrl": nobodyThere + "/v2/download_config_specs", "initTimeoutMs": 500},
				{"adapterType": "network_http", "specsUrl": "{base}/v2/download_config_specs", "initTimeoutMs": 3000}}}},
		},
		"js-client in Node": clientVariants,
		"js-client":         pageVariants,
		"react-bindings":    pageVariants,
		"statsig-js": {
			{"names in clear", map[string]any{"disableHashing": true}},
			{"an address for each endpoint", map[string]any{"api": "{base}/v1", "eventLoggingApi": "{base}/v1"}},
		},
		"statsig-react": {
			{"names in clear", map[string]any{"disableHashing": true}},
		},
	}
)

func options(t *testing.T, b *bench) {
	var want []string
	for n, v := range variants[b.Name] {
		text, err := json.Marshal(v.options)
		if err != nil {
			t.Fatal(err)
		}
		var given map[string]any
		if err := json.Unmarshal([]byte(strings.ReplaceAll(string(text), "{base}", b.shop.HTTP)), &given); err != nil {
			t.Fatal(err)
		}
		u := b.user("options", n)
		i := b.Open(sdks.Setup{Base: b.shop.HTTP, Key: b.key(b.shop), User: u, Options: given})
		b.agrees(u, i.Check(u, everything))
		i.Log(u, sdks.Event{Name: "chose", Value: v.name})
		i.Flush()
		i.Close()
		want = append(want, v.name)
	}
	b.eventually("events", want, "SELECT value_text FROM events WHERE event = 'chose' AND project = ? AND startsWith(unit_id, ?)",
		b.shop.ID, b.slug+"/options/")
}

func startsFromRules(t *testing.T, b *bench) {
	first := b.open(nil)
	rules := ""
	harness.Within(t, 20*time.Second, func() error {
		if rules = first.Rules(); rules == "" {
			return fmt.Errorf("the SDK has told of no rules")
		}
		return nil
	})
	first.Close()
	second := b.Open(sdks.Setup{Base: b.mailbox(), Key: b.key(b.shop), Values: rules})
	u := b.user("rules", 0)
	b.agrees(u, second.Check(u, everything))
	second.Close()
}

func startsFromValues(t *testing.T, b *bench) {
	u := b.user("values", 0)
	values := ""
	if b.Client {
		values = string(b.shop.Must(http.StatusOK, nil, b.shop.Client, "POST", "/v1/initialize", harness.Doc{"user": u}).Body)
	} else {
		values = string(b.shop.Must(http.StatusOK, nil, b.shop.Server, "GET", "/v1/download_config_specs", nil).Body)
	}
	i := b.Open(sdks.Setup{Base: b.mailbox(), Key: b.key(b.shop), User: u, Values: values})
	b.agrees(u, i.Check(u, everything))
	i.Close()
}

func startsFromStore(t *testing.T, b *bench) {
	u := b.user("store", 0)
	setup := sdks.Setup{Base: b.shop.HTTP, Key: b.key(b.shop), User: u, Store: true}
	first := b.Open(setup)
	b.agrees(u, first.Check(u, everything))
	if !b.Client {
		var kept struct {
			Time int64 `json:"time"`
		}
		if err := json.Unmarshal([]byte(first.Stored()), &kept); err != nil || kept.Time == 0 {
			t.Errorf("the SDK stored %.200q, %v; want the rules that it was served", first.Stored(), err)
		}
	}
	first.Close()

	setup.Base = b.nowhere()
	second := b.Open(setup)
	b.agrees(u, second.Check(u, everything))
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

// payloads are what server SDKs hand out, by SDK.
type payloads struct {
	mu sync.Mutex
	by map[string]string
}

// guest is whom they hand it out for.
var guest = sdks.User{"userID": "guest", "customIDs": map[string]string{"stableID": "guest-device"}}

func handsPayload(t *testing.T, b *bench) {
	i := b.open(nil)
	payload := i.Payload(guest, b.shop.Client)
	i.Close()
	if !json.Valid([]byte(payload)) || !strings.Contains(payload, `"feature_gates"`) {
		t.Fatalf("the payload is %.200q; want an initialize response", payload)
	}
	b.payloads.mu.Lock()
	defer b.payloads.mu.Unlock()
	b.payloads.by[b.Name] = payload
}

func startsFromPayload(t *testing.T, b *bench) {
	if len(b.payloads.by) != len(sdks.Servers()) {
		t.Fatalf("%d server SDKs handed out a payload; want all %d: the servers' half of this test makes them", len(b.payloads.by), len(sdks.Servers()))
	}
	for server, payload := range b.payloads.by {
		t.Run(server, func(t *testing.T) {
			b := *b
			b.Driver, b.shop = b.For(t), forTest(t, b.shop)
			i := b.Open(sdks.Setup{Base: b.mailbox(), Key: b.shop.Client, User: guest, Values: payload})
			b.agrees(guest, i.Check(guest, everything))
			i.Close()
		})
	}
}
