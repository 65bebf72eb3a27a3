package faults

import (
	"net/http"
	"regexp"
	"strings"
	"testing"

	"github.com/sluice-flags/sluice/tests/harness"
)

// An entry is a request that is answered for the right key.
type entry struct{ method, path, body string }

// rulesDoors are for server keys alone, asking for what anybody may ask, and
// telling what happened.
var (
	rulesDoors = []entry{
		{"GET", "/v1/download_config_specs", ""},
		{"GET", "/v2/download_config_specs", ""},
		{"GET", "/v1/get_id_lists", ""},
		{"POST", "/v1/get_id_lists", "{}"},
	}
	asking = []entry{
		{"POST", "/v1/initialize", `{"user":{"userID":"u"}}`},
		{"POST", "/v1/check_gate", `{"gateName":"open","user":{"userID":"u"}}`},
		{"POST", "/v1/get_config", `{"configName":"open","user":{"userID":"u"}}`},
		{"POST", "/v1/get_layer", `{"layerName":"page","user":{"userID":"u"}}`},
		{"GET", "/features/gate/open?user_id=u", ""},
		{"GET", "/features/config/open?user_id=u", ""},
		{"POST", "/ofrep/v1/evaluate/flags", `{"context":{"targetingKey":"u"}}`},
		{"POST", "/ofrep/v1/evaluate/flags/open", `{"context":{"targetingKey":"u"}}`},
	}
	telling = []entry{
		{"POST", "/v1/log_event", `{"events":[{"eventName":"e","user":{"userID":"u"}}]}`},
		{"POST", "/v1/rgstr", `{"events":[{"eventName":"e","user":{"userID":"u"}}]}`},
		{"POST", "/v1/log_event_beacon", `{"events":[{"eventName":"e","user":{"userID":"u"}}]}`},
		{"POST", "/v1/log_custom_exposure", `{"exposures":[{"user":{"userID":"u"},"gateName":"open","passes":true}]}`},
		{"POST", "/v1/events", `{"batch_id":"0198c1a4-6e2b-7c3d-8e4f-0123456789ab","events":[{"event_id":"e","eventName":"e","user":{"userID":"u"}}]}`},
	}
	managing = []entry{
		{"GET", "/api/v1/projects", ""},
		{"GET", "/api/v1/projects/keys/gates", ""},
		{"POST", "/api/v1/projects/keys/gates", `{"name":"made"}`},
		{"GET", "/api/v1/projects/keys/gates/open", ""},
		{"DELETE", "/api/v1/projects/keys/gates/open?confirm=open", ""},
		{"GET", "/api/v1/projects/keys/keys", ""},
		{"GET", "/api/v1/projects/keys/changes", ""},
	}
)

// Keys of a kind, of a place and of an environment open what is theirs, at every
// door of one running platform, and say nothing of what is not: S-02, S-03, S-04
// and S-21 of the threat model.
func TestAKeyOpensItsOwnDoorsAndNoOthers(t *testing.T) {
	p := harness.Start(t, harness.Options{})
	shop := p.NewProject("keys")
	shop.Create("gates", harness.Doc{"name": "open", "rules": []harness.Doc{
		{"id": "all", "name": "All", "passPercentage": 100, "conditions": harness.Everyone, "environments": []string{"staging"}}}})
	shop.Create("layers", harness.Doc{"name": "page", "parameters": harness.Doc{}})
	shop.Create("segments", harness.Doc{"name": "list", "type": "idList", "unitType": "userID"})
	shop.SetIDs("list", harness.Doc{"add": []string{"u"}})
	shop.Create("gates", harness.Doc{"name": "listed", "rules": []harness.Doc{{"id": "m", "name": "M", "passPercentage": 100,
		"conditions": []harness.Doc{{"type": "passes_segment", "targetValue": "list"}}}}})
	ask := func(key string, d entry, headers ...string) harness.Answer {
		t.Helper()
		if d.method == "POST" {
			headers = append(headers, "Content-Type", "application/json")
		}
		if key != "" {
			headers = append(headers, "Authorization", "Bearer "+key)
		}
		var body any
		if d.body != "" {
			body = d.body
		}
		got, err := shop.Do("", d.method, d.path, body, headers...)
		if err != nil {
			t.Fatal(err)
		}
		return got
	}
	wants := func(what string, d entry, got harness.Answer, status int) {
		t.Helper()
		if got.Status != status {
			t.Errorf("%s: %s %s = %d %s; want %d", what, d.method, d.path, got.Status, got.Body, status)
		}
	}
	all := append(append(append([]entry{}, rulesDoors...), asking...), telling...)

	// Each is open to its own key, or nothing would be shown below.
	for _, d := range all {
		status := http.StatusOK
		if strings.Contains(d.path, "log_") || strings.HasSuffix(d.path, "/rgstr") || strings.HasSuffix(d.path, "/v1/events") {
			status = http.StatusAccepted
		}
		wants("a server key", d, ask(shop.Server, d), status)
	}

	// A client key at what is not for clients, there or not.
	there, not := entry{"GET", "/api/v1/projects/keys/gates/open", ""}, entry{"GET", "/api/v1/projects/keys/gates/nothing", ""}
	for _, d := range append(append([]entry{not, {"GET", "/api/v1/projects/nobody/gates", ""}}, rulesDoors...), managing...) {
		wants("a client key", d, ask(shop.Client, d), http.StatusForbidden)
	}
	for _, key := range []string{shop.Client, shop.Server} {
		if a, b := plain(ask(key, there)), plain(ask(key, not)); a != b {
			t.Errorf("what is there and what is not are told apart:\n%s\n%s", a, b)
		}
	}

	// A server key in a page.
	for _, d := range append(append([]entry{}, all...), managing...) {
		got := ask(shop.Server, d, "Origin", "https://shop.example")
		wants("a server key in a page", d, got, http.StatusForbidden)
		if said := string(got.Body); !strings.Contains(said, "server_key_in_browser") && !strings.Contains(d.path, "/ofrep/") {
			t.Errorf("a server key in a page is told %s; want server_key_in_browser", said)
		}
	}

	// Keys in the query.
	for _, d := range append(append([]entry{}, all...), managing...) {
		mark := "?"
		if strings.Contains(d.path, "?") {
			mark = "&"
		}
		for what, c := range map[string]struct{ query, key string }{
			"a server key in k, and no other":          {"k=" + shop.Server, ""},
			"a server key in any parameter":            {"api_key=" + shop.Server, shop.Server},
			"a console key beside a good one":          {"token=" + shop.Console, shop.Client},
			"a client key in another parameter than k": {"key=" + shop.Client, shop.Client},
		} {
			asked := d
			asked.path += mark + c.query
			wants(what, entry{d.method, d.path, ""}, ask(c.key, asked), http.StatusBadRequest)
		}
	}
	if log := p.Output(); strings.Contains(log, shop.Server) || strings.Contains(log, "user_id=u") {
		t.Errorf("the log has a key, or a query:\n%s", log)
	}

	// A key of one environment that names another gets its own; and the file of a
	// list that another key was told of is not there, as one that never was.
	tier := entry{"POST", "/v1/check_gate", `{"gateName":"open","user":{"userID":"u","statsigEnvironment":{"tier":"staging"}}}`}
	if got := ask(shop.Server, tier); !strings.Contains(string(got.Body), `"value":false`) {
		t.Errorf("a key of production that names staging is told %s; want what production has", got.Body)
	}
	var lists map[string]struct{ URL string }
	shop.Must(http.StatusOK, &lists, shop.Server, "POST", "/v1/get_id_lists", nil)
	for _, list := range lists {
		path := strings.TrimPrefix(list.URL, p.HTTP)
		wants("the file of a list", entry{"GET", path, ""}, ask("", entry{"GET", path, ""}), http.StatusOK)
		parts := strings.Split(path, ".")
		never := strings.Join(append(append([]string{}, parts[:2]...), "0", "0", strings.Repeat("0", 32)), ".")
		parts[1] = "key_of_another"
		others := strings.Join(parts, ".")
		a, b := ask("", entry{"GET", others, ""}), ask("", entry{"GET", never, ""})
		wants("the file of a list, for another key", entry{"GET", others, ""}, a, http.StatusNotFound)
		if plain(a) != plain(b) {
			t.Errorf("a file of another key and one that never was are told apart:\n%s\n%s", a.Body, b.Body)
		}
	}
	if len(lists) == 0 {
		t.Error("the key is told of no list; want one")
	}
	if strings.Contains(p.Output(), "panic") {
		t.Errorf("the process panicked:\n%s", p.Output())
	}
}

var instance = regexp.MustCompile(`"instance":"[^"]*"`)

// plain is an answer without what tells any two apart.
func plain(a harness.Answer) string { return instance.ReplaceAllString(string(a.Body), "") }
