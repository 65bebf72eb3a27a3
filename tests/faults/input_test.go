package faults

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/sluice-flags/sluice/tests/harness"
)

// A bad request is one that must be refused. Where says which field, header or
// parameter the answer has to name: a JSON pointer, or a beginning of one that
// ends with "…"; empty where there is no one place.
type badRequest struct {
	name         string
	method, path string
	key          string
	body         any
	headers      []string
	status       int
	where        string
}

// badNames are no names, as they stand in a body and in a path.
var badNames = map[string][2]string{
	"a wildcard":            {"a*b", "a*b"},
	"an encoded wildcard":   {"flags.>", "flags.%3E"},
	"a slash":               {"a/b", "a%2Fb"},
	"a way up":              {"../gates", "..%2Fgates"},
	"a control character":   {"a\x00b", "a%00b"},
	"a line end":            {"a\r\nb", "a%0D%0Ab"},
	"a letter of no ASCII":  {"gr\u00fcn", "gr%C3%BCn"},
	"a look-alike":          {"ch\u0435ckout", "ch%D0%B5ckout"},
	"a space at the front":  {" a", "%20a"},
	"101 characters":        {strings.Repeat("a", 101), strings.Repeat("a", 101)},
	"something of ours":     {"::internal", "::internal"},
	"a mark of a direction": {"a\u202eb", "a%E2%80%AEb"},
}

// Whatever comes in that should not is refused with a problem document that
// names the place. Nothing of it reaches a log, and the process serves on.
func TestBadInputIsRefusedByNameAndReachesNoLog(t *testing.T) {
	p := harness.Start(t, harness.Options{})
	shop := p.NewProject("shop")
	for _, name := range []string{"first", "second", "old"} {
		shop.Create("gates", harness.Doc{"name": name, "rules": []harness.Doc{}})
	}
	asks := func(gate string) harness.Doc {
		return harness.Doc{"rules": []harness.Doc{{"id": "r", "name": "R", "passPercentage": 100,
			"conditions": []harness.Doc{{"type": "passes_gate", "targetValue": gate}}}}}
	}
	shop.Patch("gates", "second", asks("first"))
	tag := func(gate string) string {
		return shop.Must(http.StatusOK, nil, shop.Console, http.MethodGet, shop.Path("gates", gate), nil).Header.Get("ETag")
	}
	shop.Must(http.StatusOK, nil, shop.Console, http.MethodDelete, shop.Path("gates", "old")+"?confirm=old", nil, "If-Match", tag("old"))
	first := []string{"If-Match", tag("first")}
	sequences := func() [2]string {
		return [2]string{
			p.Must(http.StatusOK, nil, p.AdminKey(), http.MethodGet, shop.Path("gates"), nil).Header.Get("Log-Sequence"),
			p.Must(http.StatusOK, nil, p.AdminKey(), http.MethodGet, "/api/v1/projects", nil).Header.Get("Log-Sequence"),
		}
	}
	before := sequences()

	gates, gate := shop.Path("gates"), shop.Path("gates", "first")
	bad := []badRequest{
		{name: "a member that is unknown", method: "POST", path: gates, body: `{"name":"g","colour":"red"}`, where: "/colour"},
		{name: "a member of a rule that is unknown", method: "POST", path: gates, body: `{"name":"g","rules":[{"name":"r","passPercent":1,"conditions":[]}]}`, where: "/rules/0/passPercent"},
		{name: "a name of a wrong type", method: "POST", path: gates, body: `{"name":7}`, where: "/name"},
		{name: "rules of a wrong type", method: "POST", path: gates, body: `{"name":"g","rules":{}}`, where: "/rules"},
		{name: "a percentage of a wrong type", method: "PATCH", path: gate, headers: first, body: `{"rules":[{"name":"r","passPercentage":"half","conditions":[]}]}`, where: "/rules/0/passPercentage"},
		{name: "a percentage out of range", method: "PATCH", path: gate, headers: first, body: `{"rules":[{"name":"r","passPercentage":101,"conditions":[]}]}`, where: "/rules/0/passPercentage"},
		{name: "a number out of range", method: "PATCH", path: gate, headers: first, body: `{"rules":[{"name":"r","passPercentage":1e400,"conditions":[]}]}`, where: "/rules/0/passPercentage"},
		{name: "no name", method: "POST", path: gates, body: `{}`, where: "/name"},
		{name: "a member twice", method: "POST", path: gates, body: `{"name":"g","name":"h"}`, where: "/name"},
		{name: "a member inside twice", method: "POST", path: gates, body: `{"name":"g","rules":[{"name":"r","name":"s","passPercentage":1,"conditions":[]}]}`, where: "/rules/0/name"},
		{name: "a retired name", method: "POST", path: gates, body: `{"name":"old"}`, status: http.StatusConflict, where: "/name"},
		{name: "a name that is taken", method: "POST", path: gates, body: `{"name":"FIRST"}`, status: http.StatusConflict, where: "/name"},
		{name: "a cycle", method: "PATCH", path: gate, headers: first, body: asks("second"), status: http.StatusUnprocessableEntity, where: "/rules/0/conditions/0…"},
		{name: "a cycle of one", method: "PATCH", path: gate, headers: first, body: asks("first"), status: http.StatusUnprocessableEntity, where: "/rules/0/conditions/0…"},
		{name: "a gate that is not there", method: "PATCH", path: gate, headers: first, body: asks("nobody"), where: "/rules/0/conditions/0…"},
		{name: "no If-Match", method: "PATCH", path: gate, body: `{}`, status: http.StatusPreconditionRequired},
		{name: "an If-Match that is none", method: "PATCH", path: gate, body: `{}`, headers: []string{"If-Match", "yesterday"}, where: "If-Match"},
		{name: "an Idempotency-Key that is too long", method: "POST", path: gates, body: `{"name":"g"}`, headers: []string{"Idempotency-Key", strings.Repeat("k", 129)}, where: "Idempotency-Key"},
		{name: "a parameter that is unknown", method: "POST", path: gates + "?dryrun=true", body: `{"name":"g"}`, where: "dryrun"},
		{name: "a parameter of a wrong type", method: "POST", path: gates + "?dryRun=maybe", body: `{"name":"g"}`, where: "dryRun"},
		{name: "a project that is no name", method: "POST", path: "/api/v1/projects", key: p.AdminKey(), body: `{"name":"../x"}`, where: "/name"},
		{name: "a project in the path that is no name", method: "GET", path: "/api/v1/projects/FLAGS_%3E/gates", key: p.AdminKey(), where: "project"},
		{name: "text that is no JSON by its header", method: "POST", path: gates, body: `{"name":"g"}`, headers: []string{"Content-Type", "text/plain"}, status: http.StatusUnsupportedMediaType},

		{name: "an edge's gate of a wrong type", method: "POST", path: "/v1/check_gate", key: shop.Server, body: `{"gateName":7,"user":{"userID":"u"}}`, where: "/gateName"},
		{name: "an edge's user of a wrong type", method: "POST", path: "/v1/check_gate", key: shop.Server, body: `{"gateName":"first","user":"u"}`, where: "/user"},
		{name: "no user", method: "POST", path: "/v1/get_config", key: shop.Server, body: `{"configName":"c"}`, where: "/user"},
		{name: "no gate", method: "POST", path: "/v1/check_gate", key: shop.Server, body: `{"user":{"userID":"u"}}`, where: "/gateName"},
		{name: "no user in a query", method: "GET", path: "/features/gate/first", key: shop.Client, where: "user_id"},
		{name: "a user in a query that is no JSON", method: "GET", path: "/features/gate/first?user=%7B", key: shop.Client, where: "user"},

		{name: "events of a wrong type", method: "POST", path: "/v1/rgstr", key: shop.Client, body: `{"events":{}}`, where: "/events"},
		{name: "no events", method: "POST", path: "/v1/rgstr", key: shop.Client, body: `{}`, where: "/events"},
		{name: "no exposures", method: "POST", path: "/v1/log_custom_exposure", key: shop.Client, body: `{}`, where: "/exposures"},
	}
	for kind, name := range badNames {
		bad = append(bad, badRequest{name: "a new name with " + kind, method: "POST", path: gates, body: harness.Doc{"name": name[0]}, where: "/name"},
			badRequest{name: "a gate to check with " + kind, method: "POST", path: "/v1/check_gate", key: shop.Server,
				body: harness.Doc{"gateName": name[0], "user": harness.Doc{"userID": "u"}}, where: "/gateName"},
			badRequest{name: "a config to get with " + kind, method: "POST", path: "/v1/get_config", key: shop.Server,
				body: harness.Doc{"configName": name[0], "user": harness.Doc{"userID": "u"}}, where: "/configName"},
			badRequest{name: "a feature gate with " + kind, method: "GET", path: "/features/gate/" + name[1] + "?user_id=u", key: shop.Client, where: "gate_name"},
			badRequest{name: "a feature config with " + kind, method: "GET", path: "/features/config/" + name[1] + "?user_id=u", key: shop.Client, where: "config_name"})
		for _, method := range []string{"GET", "PUT", "PATCH", "DELETE"} {
			bad = append(bad, badRequest{name: method + " of a name with " + kind, method: method, path: gates + "/" + name[1], body: `{}`, headers: first, where: "name"})
		}
	}
	// What no door may let in.
	doors := []badRequest{
		{name: "management", method: "POST", path: gates, key: shop.Console},
		{name: "management's patches", method: "PATCH", path: gate, key: shop.Console, headers: first},
		{name: "check_gate", method: "POST", path: "/v1/check_gate", key: shop.Server},
		{name: "initialize", method: "POST", path: "/v1/initialize", key: shop.Client},
		{name: "rgstr", method: "POST", path: "/v1/rgstr", key: shop.Server},
		{name: "log_custom_exposure", method: "POST", path: "/v1/log_custom_exposure", key: shop.Server},
	}
	bomb := gzipBomb(t)
	for _, door := range doors {
		through := func(name string, status int, body any, headers ...string) {
			b := door
			b.name, b.status, b.body = name+" at "+door.name, status, body
			b.headers = append(append([]string{}, door.headers...), headers...)
			bad = append(bad, b)
		}
		through("half of a JSON text", 0, `{"name":`)
		through("no JSON", 0, `name=g`)
		through("nothing", 0, ``)
		through("an array", 0, `[]`)
		through("NaN", 0, `{"name":NaN}`)
		through("a byte order mark", 0, "\xef\xbb\xbf{}")
		through("broken UTF-8", 0, "{\"name\":\"\xff\"}")
		through("something behind the text", 0, `{"name":"g","events":[],"exposures":[],"gateName":"g","user":{}} x`)
		through("two texts", 0, `{"name":"g","events":[],"exposures":[],"gateName":"g","user":{}}{}`)
		through("depth 10,001", 0, `{"user":`+strings.Repeat("[", 10_001)+strings.Repeat("]", 10_001)+`}`)
		through("depth 10,001 unclosed", 0, strings.Repeat(`{"a":`, 10_001))
		through("2 MiB", http.StatusRequestEntityTooLarge, `{"name":"`+strings.Repeat("g", 2<<20)+`"}`)
		through("a gzip bomb", http.StatusRequestEntityTooLarge, bomb, "Content-Encoding", "gzip")
		through("no gzip", 0, `{}`, "Content-Encoding", "gzip")
		through("an encoding that is unknown", http.StatusUnsupportedMediaType, `{}`, "Content-Encoding", "rot13")
		keys := map[string]string{"no key": "", "an unknown key": unknown(door.key), "a key that is none": "open sesame"}
		for what, key := range keys {
			b := door
			b.name, b.status, b.body, b.key = what+" at "+door.name, http.StatusUnauthorized, `{}`, key
			bad = append(bad, b)
		}
	}
	for _, wrong := range []badRequest{
		{name: "a server key at management", method: "POST", path: gates, key: shop.Server},
		{name: "a client key at management", method: "GET", path: gates, key: shop.Client},
		{name: "a project's key at projects", method: "POST", path: "/api/v1/projects", key: shop.Console, body: `{"name":"mine"}`},
		{name: "a console key at check_gate", method: "POST", path: "/v1/check_gate", key: shop.Console},
		{name: "a console key at rgstr", method: "POST", path: "/v1/rgstr", key: shop.Console, body: `{"events":[{"eventName":"e","user":{"userID":"u"}}]}`},
		{name: "a client key at the rules", method: "GET", path: "/v1/download_config_specs", key: shop.Client},
		{name: "a server key in a browser", method: "POST", path: "/v1/check_gate", key: shop.Server, headers: []string{"Origin", "https://example.com"}},
	} {
		wrong.status = http.StatusForbidden
		bad = append(bad, wrong)
	}

	peak := memoryPeak(t, p)
	for _, b := range bad {
		b.check(t, shop)
	}
	// One body at a time may hold 1 MiB as it came and 4 MiB inflated, and what
	// the collector has not come to yet.
	const most = 128 << 20
	grown := peak()
	t.Logf("%d bad requests; the process grew by %d MiB at most", len(bad), grown>>20)
	if grown > most {
		t.Errorf("the process grew by %d MiB; want at most %d MiB", grown>>20, most>>20)
	}
	if after := sequences(); after != before {
		t.Errorf("the sequences of the project and the organisation moved from %v to %v", before, after)
	}
	shop.SetGate("first", 100)
	if strings.Contains(p.Output(), "panic") {
		t.Errorf("the process panicked:\n%s", p.Output())
	}
}

func (b badRequest) check(t *testing.T, shop *harness.Project) {
	t.Helper()
	key := b.key
	if key == "" && !strings.HasPrefix(b.name, "no key") {
		key = shop.Console
	}
	want := b.status
	if want == 0 {
		want = http.StatusBadRequest
	}
	got, err := shop.Do(key, b.method, b.path, b.body, b.headers...)
	if err != nil {
		t.Errorf("%s: %s %s: %v", b.name, b.method, b.path, err)
		return
	}
	var problem struct {
		Status int `json:"status"`
		Errors []struct {
			Pointer string `json:"pointer"`
		} `json:"errors"`
	}
	err = json.Unmarshal(got.Body, &problem)
	if got.Status != want || got.Header.Get("Content-Type") != "application/problem+json" || err != nil || problem.Status != want {
		t.Errorf("%s: %s %.100s answered %d %s %.300s; want %d and a problem document", b.name, b.method, b.path, got.Status, got.Header.Get("Content-Type"), got.Body, want)
		return
	}
	if b.where == "" {
		return
	}
	for _, e := range problem.Errors {
		if beginning, cut := strings.CutSuffix(b.where, "…"); e.Pointer == b.where || cut && strings.HasPrefix(e.Pointer, beginning) {
			return
		}
	}
	t.Errorf("%s: %s %.100s answered %.300s; want %s named", b.name, b.method, b.path, got.Body, b.where)
}

// unknown is a key of the same kind and project that was never made.
func unknown(key string) string {
	return key[:strings.LastIndexByte(key, '-')+1] + strings.Repeat("a", 52)
}

// gzipBomb is 1 MiB that inflates to 1 GiB of zeros: one compressed piece after
// another, as the format allows.
func gzipBomb(t *testing.T) []byte {
	t.Helper()
	const piece, pieces = 16 << 20, 64
	var b bytes.Buffer
	z, err := gzip.NewWriterLevel(&b, gzip.BestCompression)
	if err == nil {
		_, err = z.Write(make([]byte, piece))
	}
	if err == nil {
		err = z.Close()
	}
	if err != nil {
		t.Fatal(err)
	}
	bomb := bytes.Repeat(b.Bytes(), pieces)
	if len(bomb) > 1<<20 {
		t.Fatalf("the bomb has %d bytes; want at most the 1 MiB that a body may have", len(bomb))
	}
	return bomb
}

var peakLine = regexp.MustCompile(`VmHWM:\s+(\d+) kB`)

// memoryPeak returns a function that says by how many bytes the process has
// grown at most since, where the system tells.
func memoryPeak(t *testing.T, p *harness.Platform) (grown func() int) {
	t.Helper()
	folder := fmt.Sprintf("/proc/%d/", p.PID())
	const resetPeak = "5"
	if err := os.WriteFile(folder+"clear_refs", []byte(resetPeak), 0o600); err != nil {
		t.Logf("memory is not looked at: %v", err)
		return func() int { return 0 }
	}
	read := func() int {
		status, err := os.ReadFile(folder + "status")
		found := peakLine.FindSubmatch(status)
		if err != nil || found == nil {
			t.Fatalf("%sstatus: %v, %s", folder, err, status)
		}
		kilobytes, err := strconv.Atoi(string(found[1]))
		if err != nil {
			t.Fatal(err)
		}
		return kilobytes << 10
	}
	before := read()
	return func() int { return read() - before }
}
