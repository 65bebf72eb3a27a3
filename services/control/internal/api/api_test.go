package api_test

import (
	"encoding/hex"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/sluice-flags/sluice/internal/auth"
)

const (
	gates = "/api/v1/projects/shop/gates"
	rules = `[{"name":"Staff","passPercentage":100,"conditions":[{"type":"email","operator":"str_contains_any","targetValue":["@company.com"]}]},{"name":"Everyone","passPercentage":10,"conditions":[{"type":"public"}]}]`
)

func TestAGateLivesFromItsCreationToItsTombstone(t *testing.T) {
	w := newWorld(t)
	created := w.must(w.do("POST", gates, w.shop, `{"name":"new_checkout","description":"<b>","rules":`+rules+`,"reason":"try it"}`), 201)
	id, _ := created.body["id"].(string)
	if !strings.HasPrefix(id, "gate_") || created.body["version"] != 1.0 || created.seq() != w.head("shop") || created.header.Get("Location") != gates+"/"+id {
		t.Fatalf("POST = %v %v, want version 1 with an id, at the head of the log", created, created.header)
	}
	if created.header.Get("ETag") != `"`+created.header.Get("Log-Sequence")+`"` {
		t.Errorf("ETag = %s, Log-Sequence = %s; want the same number", created.header.Get("ETag"), created.header.Get("Log-Sequence"))
	}
	first := created.body["rules"].([]any)[0].(map[string]any)
	if id, _ := first["id"].(string); !strings.HasPrefix(id, "rule_") || first["step"] != 1.0 {
		t.Errorf("first rule = %v, want an id and step 1", first)
	}

	for _, name := range []string{"new_checkout", "NEW_checkout", id} {
		got := w.must(w.do("GET", gates+"/"+name, w.shop, ""), 200)
		if string(got.raw) != string(created.raw) {
			t.Errorf("GET %s = %s, want what POST answered: %s", name, got.raw, created.raw)
		}
		w.must(w.do("GET", gates+"/"+name, w.shop, "", "If-None-Match", created.header.Get("ETag")), 304)
	}

	// What was read can be sent back with a change in it.
	edited := strings.Replace(string(created.raw), `"passPercentage":10,`, `"passPercentage":25,`, 1)
	replaced := w.must(w.do("PUT", gates+"/new_checkout", w.shop, edited, "If-Match", created.header.Get("ETag")), 200)
	second := replaced.body["rules"].([]any)[1].(map[string]any)
	if replaced.body["version"] != 2.0 || second["passPercentage"] != 25.0 || second["step"] != 2.0 || second["id"] != created.body["rules"].([]any)[1].(map[string]any)["id"] {
		t.Errorf("PUT = %v, want version 2 and the same rule at 25 %% in step 2", replaced)
	}
	again := w.must(w.do("PUT", gates+"/new_checkout", w.shop, string(replaced.raw), "If-Match", replaced.header.Get("ETag")), 200)
	if again.body["noop"] != true || again.seq() != replaced.seq() || w.head("shop") != replaced.seq() {
		t.Errorf("PUT of what is there = %v, want a noop without a commit", again)
	}
	patched := w.must(w.do("PATCH", gates+"/new_checkout", w.shop, `{"description":null,"owner":"u_1","expiresAt":"2027-02-01T00:00:00Z"}`, "If-Match", replaced.header.Get("ETag")), 200)
	if _, there := patched.body["description"]; there || patched.body["owner"] != "u_1" || patched.body["expiresAt"] != "2027-02-01T00:00:00Z" {
		t.Errorf("PATCH = %v, want no description and an owner", patched)
	}
	killed := w.must(w.do("POST", gates+"/new_checkout/kill", w.shop, `{"environments":["production"]}`), 200)
	if off := killed.body["offIn"].([]any); len(off) != 1 || off[0] != "production" {
		t.Errorf("kill = %v, want off in production", killed)
	}
	tag := killed.header.Get("ETag")
	for _, step := range []struct{ action, status string }{{"launch", "launched"}, {"disable", "disabled"}, {"enable", "inProgress"}, {"archive", "archived"}} {
		a := w.must(w.do("POST", gates+"/new_checkout/"+step.action, w.shop, "", "If-Match", tag), 200)
		if a.body["status"] != step.status {
			t.Errorf("%s = %v, want status %s", step.action, a, step.status)
		}
		tag = a.header.Get("ETag")
	}
	w.must(w.do("DELETE", gates+"/new_checkout", w.shop, "", "If-Match", tag), 400)
	gone := w.must(w.do("DELETE", gates+"/new_checkout?confirm=new_checkout", w.shop, "", "If-Match", tag), 200)
	if gone.body["deleted"] != true {
		t.Errorf("DELETE = %v, want deleted", gone)
	}
	w.must(w.do("GET", gates+"/new_checkout", w.shop, ""), 404)
	if a := w.do("POST", gates, w.shop, `{"name":"New_Checkout","rules":[]}`); a.status != 409 || a.code() != "name_retired" {
		t.Errorf("POST of a retired name = %v, want 409 name_retired", a)
	}

	history := w.must(w.do("GET", gates+"/new_checkout/history", w.shop, ""), 200)
	items := history.body["items"].([]any)
	newest, oldest := items[0].(map[string]any), items[len(items)-1].(map[string]any)
	if len(items) != 9 || newest["deleted"] != true || oldest["reason"] != "try it" || oldest["actor"].(map[string]any)["name"] != "shop" {
		t.Errorf("history = %v, want nine changes, the tombstone first and the creation with its reason last", history)
	}
	if doc, _ := oldest["document"].(map[string]any); doc == nil || doc["description"] != "<b>" {
		t.Errorf("oldest change = %v, want the whole document of then", oldest)
	}
}

func TestEveryKindIsMadeReadListedReplacedAndArchived(t *testing.T) {
	w := newWorld(t)
	for _, c := range []struct{ noun, body string }{
		{"gates", `{"name":"g","rules":[]}`},
		{"configs", `{"name":"c","defaultValue":{"a":1},"rules":[]}`},
		{"segments", `{"name":"s","rules":[]}`},
		{"holdouts", `{"name":"h","share":5}`},
		{"layers", `{"name":"l","parameters":{"color":"red"}}`},
		{"metrics", `{"name":"m","type":"event_count","event":"buy"}`},
		{"experiments", `{"name":"e","allocation":100,"groups":[{"name":"control","share":50,"parameters":{},"control":true},{"name":"test","share":50,"parameters":{}}]}`},
		{"environments", `{"name":"qa"}`},
	} {
		t.Run(c.noun, func(t *testing.T) {
			all := "/api/v1/projects/shop/" + c.noun
			created := w.must(w.do("POST", all, w.shop, c.body), 201)
			one := all + "/" + created.body["name"].(string)
			w.must(w.do("GET", one, w.shop, ""), 200)
			list := w.must(w.do("GET", all+"?q="+created.body["id"].(string), w.shop, ""), 200)
			if items := list.body["items"].([]any); len(items) != 1 {
				t.Errorf("GET %s = %v, want the one", all, list)
			}
			body := strings.Replace(c.body, "{", `{"description":"replaced",`, 1)
			replaced := w.must(w.do("PUT", one, w.shop, body, "If-Match", created.header.Get("ETag")), 200)
			if replaced.body["description"] != "replaced" || replaced.body["id"] != created.body["id"] {
				t.Errorf("PUT %s = %v, want it replaced under the same id", one, replaced)
			}
			archived := w.must(w.do("POST", one+"/archive", w.shop, "", "If-Match", replaced.header.Get("ETag")), 200)
			if archived.body["status"] != "archived" {
				t.Errorf("archive = %v, want status archived", archived)
			}
			history := w.must(w.do("GET", one+"/history", w.shop, ""), 200)
			if n := len(history.body["items"].([]any)); n != 3 {
				t.Errorf("history has %d changes, want 3", n)
			}
		})
	}
}

func TestAnExperimentIsStartedAndDecided(t *testing.T) {
	w := newWorld(t)
	const all = "/api/v1/projects/shop/experiments"
	body := `{"name":"pricing","allocation":100,"groups":[{"name":"control","share":50,"parameters":{"p":1},"control":true},{"name":"test","share":50,"parameters":{"p":2}}]}`
	a := w.must(w.do("POST", all, w.shop, body), 201)
	if got := w.do("POST", all+"/pricing/decision", w.shop, `{"group":"test"}`, "If-Match", a.header.Get("ETag")); got.status != 409 || got.code() != "wrong_state" {
		t.Errorf("decision on a draft = %v, want 409 wrong_state", got)
	}
	a = w.must(w.do("POST", all+"/pricing/start", w.shop, "", "If-Match", a.header.Get("ETag")), 200)
	if a.body["status"] != "running" || a.body["startedAt"] == nil {
		t.Errorf("start = %v, want it running since now", a)
	}
	if got := w.do("POST", all+"/pricing/decision", w.shop, `{"group":"nobody"}`, "If-Match", a.header.Get("ETag")); got.status != 400 || got.pointers() != "/group" {
		t.Errorf("decision for no group = %v, want 400 about /group", got)
	}
	if got := w.do("POST", all+"/pricing/archive", w.shop, "", "If-Match", a.header.Get("ETag")); got.status != 409 {
		t.Errorf("archive of a running experiment = %v, want 409", got)
	}
	a = w.must(w.do("POST", all+"/pricing/decision", w.shop, `{"group":"test","note":"+3 %"}`, "If-Match", a.header.Get("ETag")), 200)
	decision, _ := a.body["decision"].(map[string]any)
	if a.body["status"] != "decided" || a.body["endedAt"] == nil || decision["note"] != "+3 %" || decision["group"] != a.body["groups"].([]any)[1].(map[string]any)["id"] {
		t.Errorf("decision = %v, want test decided", a)
	}
	if got := w.do("GET", all+"/pricing/results", w.shop, ""); got.status != 503 || got.code() != "unavailable" {
		t.Errorf("results without a warehouse = %v, want 503", got)
	}
}

func TestAKeyIsShownOnce(t *testing.T) {
	w := newWorld(t)
	const keys = "/api/v1/projects/shop/keys"
	made := w.must(w.do("POST", keys, w.shop, `{"name":"web","kind":"console","scopes":["read"]}`, "Idempotency-Key", "k1"), 201)
	token, _ := made.body["key"].(string)
	if !strings.HasPrefix(token, "console-shop-") || made.body["hint"] != token[len(token)-4:] {
		t.Fatalf("POST = %v, want the key and its hint", made)
	}
	again := w.must(w.do("POST", keys, w.shop, `{"name":"web","kind":"console","scopes":["read"]}`, "Idempotency-Key", "k1"), 201)
	if _, shown := again.body["key"]; shown || again.header.Get("Idempotency-Replayed") != "true" || again.body["id"] != made.body["id"] {
		t.Errorf("the same POST = %v, want the same key without its text", again)
	}
	w.must(w.do("GET", gates, token, ""), 200)
	if got := w.do("POST", gates, token, `{"name":"g","rules":[]}`); got.status != 403 || got.body["missing"] != "write" {
		t.Errorf("a key that reads may not write: %v", got)
	}
	for _, path := range []string{keys, keys + "/web", keys + "/web/history", "/api/v1/projects/shop/changes?kind=key"} {
		a := w.must(w.do("GET", path, w.shop, ""), 200)
		sum := auth.Hash(token)
		if strings.Contains(string(a.raw), token) || strings.Contains(string(a.raw), hex.EncodeToString(sum[:])) || strings.Contains(string(a.raw), `"hash":""`) {
			t.Errorf("GET %s shows more of the key than it should: %s", path, a.raw)
		}
	}
	// What is read can be sent back, and a key's secret cannot be changed so.
	read := w.must(w.do("GET", keys+"/web", w.shop, ""), 200)
	changed := w.must(w.do("PUT", keys+"/web", w.shop, strings.Replace(string(read.raw), `"read"`, `"read","kill"`, 1), "If-Match", read.header.Get("ETag")), 200)
	w.must(w.do("GET", gates, token, ""), 200)
	for _, body := range []string{`{"hash":"` + strings.Repeat("0", 64) + `"}`, `{"kind":"server"}`} {
		if got := w.do("PATCH", keys+"/web", w.shop, body, "If-Match", changed.header.Get("ETag")); got.status != 400 {
			t.Errorf("PATCH %s = %v, want 400", body, got)
		}
	}
	w.must(w.do("POST", keys+"/web/revoke", w.shop, ""), 200)
	w.must(w.do("GET", gates, token, ""), 401)
	revoked := w.must(w.do("GET", keys+"/web", w.shop, ""), 200)
	if got := w.do("PATCH", keys+"/web", w.shop, `{"revoked":false}`, "If-Match", revoked.header.Get("ETag")); got.status != 400 || got.pointers() != "/revoked" {
		t.Errorf("taking a revocation back = %v, want 400", got)
	}
	for _, body := range []string{`{"name":"x","kind":"root"}`, `{"name":"x","kind":5}`, `{"name":"x"}`, `{"name":"x","kind":"server","hash":"00"}`, `{"name":"x","kind":"console","scopes":["raed"]}`} {
		if got := w.do("POST", keys, w.shop, body); got.status != 400 {
			t.Errorf("POST %s = %v, want 400", body, got)
		}
	}
}

func TestAKeyGivesNoMoreThanItHas(t *testing.T) {
	w := newWorld(t)
	const keys = "/api/v1/projects/shop/keys"
	writer := w.key("shop", flagsConsole, "writer", "read", "write")
	for i, c := range []struct {
		scopes string
		want   int
	}{
		{`["read"]`, 201},
		{`["write","read"]`, 201},
		{`["kill"]`, 201}, // who may write may kill
		{`["force"]`, 403},
		{`["read","write","force"]`, 403},
		{`[]`, 403}, // all of them
		{`null`, 403},
	} {
		body := fmt.Sprintf(`{"name":"k%d","kind":"console","scopes":%s}`, i, c.scopes)
		if got := w.do("POST", keys, writer, body); got.status != c.want {
			t.Errorf("POST %s by a key that reads and writes = %v, want %d", body, got, c.want)
		}
	}
	w.must(w.do("POST", keys, writer, `{"name":"sdk","kind":"client"}`), 201)

	read := w.must(w.do("GET", keys+"/writer", writer, ""), 200)
	for method, body := range map[string]string{"PATCH": `{"scopes":null}`, "PUT": `{"scopes":["read","write","force"]}`} {
		got := w.do(method, keys+"/writer", writer, body, "If-Match", read.header.Get("ETag"))
		if got.status != 403 || got.body["missing"] != "force" {
			t.Errorf("%s %s by the key itself = %v, want 403 that misses force", method, body, got)
		}
	}
	// What a change leaves alone is not given by it.
	strong := w.must(w.do("POST", keys, w.shop, `{"name":"strong","kind":"console"}`), 201)
	w.must(w.do("PATCH", keys+"/strong", writer, `{"description":"d"}`, "If-Match", strong.header.Get("ETag")), 200)
	w.must(w.do("PATCH", keys+"/writer", w.shop, `{"scopes":["force"]}`, "If-Match", read.header.Get("ETag")), 200)
}

func TestTheLogShowsAReaderNoKeys(t *testing.T) {
	w := newWorld(t)
	made := w.must(w.do("POST", "/api/v1/projects/shop/keys", w.shop, `{"name":"web","kind":"client"}`), 201)
	reader := w.key("shop", flagsConsole, "reader", "read")
	hint := made.body["hint"].(string)
	for _, path := range []string{"/changes?kind=key", fmt.Sprintf("/changes/%d", made.seq())} {
		for key, want := range map[string]bool{w.shop: true, reader: false} {
			got := w.must(w.do("GET", "/api/v1/projects/shop"+path, key, ""), 200)
			if strings.Contains(string(got.raw), hint) != want {
				t.Errorf("GET %s = %v, want the key's document in it: %t", path, got, want)
			}
		}
	}
}

func TestProjectsAreMadeByTheOrganisation(t *testing.T) {
	w := newWorld(t)
	made := w.must(w.do("POST", "/api/v1/projects", w.admin, `{"name":"lab","displayName":"The lab"}`, "Idempotency-Key", "p1"), 201)
	again := w.must(w.do("POST", "/api/v1/projects", w.admin, `{"name":"lab","displayName":"The lab"}`, "Idempotency-Key", "p1"), 201)
	if again.header.Get("Idempotency-Replayed") != "true" || string(again.raw) != string(made.raw) {
		t.Errorf("the same POST = %v, want the first answer %v", again, made)
	}
	if got := w.do("POST", "/api/v1/projects", w.admin, `{"name":"lab"}`); got.status != 409 || got.code() != "name_taken" {
		t.Errorf("POST of a project that is there = %v, want 409 name_taken", got)
	}
	if n := w.head("lab"); n != 4 {
		t.Errorf("the log of lab has %d changes, want its settings and three environments", n)
	}
	names := func(a answer) (out []string) {
		for _, item := range a.body["items"].([]any) {
			out = append(out, item.(map[string]any)["name"].(string))
		}
		return out
	}
	if got := names(w.must(w.do("GET", "/api/v1/projects", w.admin, ""), 200)); strings.Join(got, " ") != "lab shop" {
		t.Errorf("projects = %q, want lab and shop", got)
	}
	if got := names(w.must(w.do("GET", "/api/v1/projects", w.shop, ""), 200)); strings.Join(got, " ") != "shop" {
		t.Errorf("projects for a key of shop = %q, want shop", got)
	}
	if got := names(w.must(w.do("GET", "/api/v1/projects/lab/environments?sort=created", w.admin, ""), 200)); len(got) != 3 {
		t.Errorf("environments = %q, want three", got)
	}
	settings := w.must(w.do("GET", "/api/v1/projects/shop", w.shop, ""), 200)
	w.must(w.do("PATCH", "/api/v1/projects/shop", w.shop, `{"reasonRequired":true}`, "If-Match", settings.header.Get("ETag")), 200)
	if got := w.do("POST", gates, w.shop, `{"name":"g","rules":[]}`); got.status != 400 || got.pointers() != "/reason" {
		t.Errorf("a change without a reason = %v, want 400 about /reason", got)
	}
	w.must(w.do("POST", gates, w.shop, `{"name":"g","rules":[]}`, "Change-Reason", "because"), 201)
	renamed := w.must(w.do("GET", "/api/v1/projects/shop", w.shop, ""), 200)
	if got := w.do("PATCH", "/api/v1/projects/shop", w.shop, `{"name":"mall","reason":"r"}`, "If-Match", renamed.header.Get("ETag")); got.status != 400 || got.pointers() != "/name" {
		t.Errorf("renaming a project = %v, want 400 about /name", got)
	}
	for zone, status := range map[string]int{"Europe/Berlin": 200, "Europe/Atlantis": 400} {
		now := w.must(w.do("GET", "/api/v1/projects/shop", w.shop, ""), 200)
		got := w.do("PATCH", "/api/v1/projects/shop", w.shop, `{"timeZone":"`+zone+`","reason":"r"}`, "If-Match", now.header.Get("ETag"))
		if got.status != status || status == 400 && got.pointers() != "/timeZone" {
			t.Errorf("PATCH of the time zone to %s = %v; want %d", zone, got, status)
		}
	}
	for _, name := range []string{"_org", "Lab", "a-b", "1a", "", strings.Repeat("a", 33), "a.b", "*"} {
		if got := w.do("POST", "/api/v1/projects", w.admin, `{"name":"`+name+`"}`); got.status != 400 {
			t.Errorf("POST of project %q = %v, want 400", name, got)
		}
	}
}

func TestEachRoleMayDoItsOwnAndNoMore(t *testing.T) {
	w := newWorld(t)
	w.must(w.do("POST", "/api/v1/projects", w.admin, `{"name":"other"}`), 201)
	w.must(w.do("POST", gates, w.shop, `{"name":"g","rules":[]}`), 201)
	roles := map[string]string{
		"nobody":       "",
		"stranger":     strings.Replace(w.shop, w.shop[len(w.shop)-6:], "aaaaaa", 1),
		"server":       w.key("shop", flagsServer, "server"),
		"client":       w.key("shop", flagsClient, "client"),
		"other":        w.key("other", flagsConsole, "other"),
		"reader":       w.key("shop", flagsConsole, "reader", "read"),
		"killer":       w.key("shop", flagsConsole, "killer", "kill"),
		"shop":         w.shop,
		"organisation": w.admin,
	}
	for _, c := range []struct {
		method, path, body string
		want               map[string]int
	}{
		{"GET", gates, "", map[string]int{"other": 404, "killer": 403, "reader": 200, "shop": 200, "organisation": 200}},
		{"GET", gates + "/g", "", map[string]int{"other": 404, "killer": 403, "reader": 200, "shop": 200, "organisation": 200}},
		{"GET", gates + "/missing", "", map[string]int{"other": 404, "killer": 403, "reader": 404, "shop": 404, "organisation": 404}},
		{"GET", "/api/v1/projects/missing/gates", "", map[string]int{"other": 404, "killer": 403, "reader": 404, "shop": 404, "organisation": 404}},
		{"GET", "/api/v1/projects/_org/keys", "", map[string]int{"other": 404, "killer": 403, "reader": 403, "shop": 404, "organisation": 200}},
		{"GET", "/api/v1/projects/shop/keys", "", map[string]int{"other": 404, "reader": 403, "killer": 403, "shop": 200, "organisation": 200}},
		{"POST", "/api/v1/projects/_org/gates", `{"name":"g","rules":[]}`, map[string]int{"other": 404, "reader": 403, "killer": 403, "shop": 404, "organisation": 404}},
		{"POST", gates + "/g/kill", "", map[string]int{"other": 404, "reader": 403, "killer": 200, "shop": 200, "organisation": 200}},
		{"POST", gates, `{"name":"g","rules":[]}`, map[string]int{"other": 404, "reader": 403, "killer": 403, "shop": 409, "organisation": 409}},
		{"POST", "/api/v1/projects", `{"name":"shop"}`, map[string]int{"other": 403, "reader": 403, "killer": 403, "shop": 403, "organisation": 409}},
	} {
		refused := map[string]string{}
		for role, key := range roles {
			want, ok := c.want[role]
			if !ok {
				want = map[string]int{"nobody": 401, "stranger": 401, "server": 403, "client": 403}[role]
			}
			got := w.do(c.method, c.path, key, c.body, "X-Request-Id", "r")
			if got.status != want {
				t.Errorf("%s %s as %s = %v, want %d", c.method, c.path, role, got, want)
			}
			if want == 403 && (role == "server" || role == "client") {
				refused[role] = string(got.raw)
			}
		}
		for role, text := range refused {
			if strings.Contains(text, "missing") || !strings.Contains(text, role) {
				t.Errorf("%s %s as %s said %s, want the same for all paths", c.method, c.path, role, text)
			}
		}
	}
	if got := w.do("GET", "/api/v1/projects/shop/nothing", w.shop, ""); got.status != 404 || got.code() != "not_found" {
		t.Errorf("an unknown route = %v, want 404", got)
	}
	if got := w.do("PATCH", gates, w.shop, "{}"); got.status != 405 || got.header.Get("Allow") != "GET, POST" {
		t.Errorf("an unknown method = %v %q, want 405 and what is allowed", got, got.header.Get("Allow"))
	}
}

func TestServerKeysFromBrowsersAreRefused(t *testing.T) {
	w := newWorld(t)
	server := w.key("shop", flagsServer, "server")
	got := w.do(http.MethodGet, gates, server, "", "Origin", "https://shop.test")
	if got.status != 403 || got.code() != "server_key_in_browser" {
		t.Errorf("a server key with an Origin = %v, want 403 server_key_in_browser", got)
	}
}
