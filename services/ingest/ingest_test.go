package ingest_test

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/klauspost/compress/zstd"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/sluice-flags/sluice/internal/bus"
	"github.com/sluice-flags/sluice/internal/warehouse/warehousetest"
	"github.com/sluice-flags/sluice/pkg/flags"
)

func squeeze(t *testing.T, text string, w io.WriteCloser, out *bytes.Buffer) string {
	t.Helper()
	if _, err := io.WriteString(w, text); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.String()
}

func gzipped(t *testing.T, text string) string {
	t.Helper()
	var out bytes.Buffer
	return squeeze(t, text, gzip.NewWriter(&out), &out)
}

func zstded(t *testing.T, text string) string {
	t.Helper()
	var out bytes.Buffer
	w, err := zstd.NewWriter(&out)
	if err != nil {
		t.Fatal(err)
	}
	return squeeze(t, text, w, &out)
}

func backwards(text string) string {
	b := []byte(base64.StdEncoding.EncodeToString([]byte(text)))
	slices.Reverse(b)
	return string(b)
}

// body is what an SDK sends: an event of a name, a gate exposure, an exposure of
// the experiment, and housekeeping.
func body(event string, at int64) string {
	return fmt.Sprintf(`{"events":[
		{"eventName":%q,"user":{"userID":"ada","customIDs":{"companyID":"acme"},"statsigEnvironment":{"tier":"staging"}},"value":12.5,"metadata":{"currency":"EUR","items":2},"time":%d},
		{"eventName":"statsig::gate_exposure","user":{"userID":"ada"},"value":null,"metadata":{"gate":"new_checkout","gateValue":"true","ruleID":"r:50.00:1"},"secondaryExposures":[{"gate":"other","gateValue":"false","ruleID":"default"}],"time":%d},
		{"eventName":"statsig::config_exposure","user":{"userID":"ada"},"metadata":{"config":"free_shipping","ruleID":"grp_b","reason":"Network:Recognized"},"time":%d},
		{"eventName":"statsig::diagnostics","user":null,"value":null,"metadata":{"context":"initialize","markers":[{"key":"overall"}]},"time":%d}],
		"statsigMetadata":{"sdkType":"javascript-client","sdkVersion":"3.33.5","sessionID":"s"}}`, event, at, at, at, at)
}

func TestBodiesOfEverySDKFamilyBecomeRows(t *testing.T) {
	db := warehousetest.Open(t)
	s := newProject(t).serve(always(db))
	at := time.Now().UnixMilli()
	n := 0
	send := func(path string, wrap func(string) string, header ...string) {
		t.Helper()
		s.accepted(s.post(path, wrap(body("purchase", at+int64(n))), header...))
		n++
	}
	same := func(text string) string { return text }
	send("/v1/log_event", func(b string) string { return gzipped(t, b) }, "STATSIG-API-KEY", s.server, "Content-Encoding", "gzip")
	send("/v1/log_event", func(b string) string { return zstded(t, b) }, "statsig-api-key", s.server, "Content-Encoding", "zstd")
	send("/v1/rgstr?ec=4&k="+s.client, same, "Content-Type", "text/plain;charset=UTF-8")
	send("/v1/rgstr?gz=1&k="+s.client, func(b string) string { return gzipped(t, b) })
	send("/v1/rgstr?se=1&k="+s.client, backwards)
	send("/v1/rgstr", backwards, "statsig-api-key", s.client, "statsig-encoded", "1")
	send("/v1/log_event_beacon?k="+s.client, same)
	send("/v1/log_event", same, "Authorization", "Bearer "+s.server)
	s.stored(db, 2*n, n, 0)

	got := s.query(db, `SELECT DISTINCT concat(kind, '|', name, '|', rule_id, '|', toString(group_index), '|', unit_type, '|', unit_id, '|', value, '|', environment, '|', sdk_type, '|', reason)
		FROM exposures WHERE project = {p:String} ORDER BY 1`)
	want := []string{
		"experiment|free_shipping|grp_b|1|userID|ada|Test|production|javascript-client|Network:Recognized",
		"gate|new_checkout|r:50.00:1|255|userID|ada|true|production|javascript-client|",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("exposures differ (-want +got):\n%s", diff)
	}
	got = s.query(db, `SELECT DISTINCT concat(event, '|', unit_type, '|', unit_id, '|', toString(value), '|', value_text, '|', environment, '|', toString(mapSort(unit_ids)), '|', toString(mapSort(metadata))) FROM events WHERE project = {p:String}`)
	want = []string{"purchase|userID|ada|12.5|12.5|staging|{'companyID':'acme','userID':'ada'}|{'currency':'EUR','items':'2'}"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("events differ (-want +got):\n%s", diff)
	}
}

func TestARetryIsOneRow(t *testing.T) {
	db := warehousetest.Open(t)
	s := newProject(t).serve(always(db))
	text := body("purchase", time.Now().UnixMilli())
	var wg sync.WaitGroup
	for range 5 { // at once, as when an answer was lost, and in whatever form
		wg.Go(func() { s.accepted(s.post("/v1/log_event", text, "STATSIG-API-KEY", s.server)) })
		wg.Go(func() {
			s.accepted(s.post("/v1/log_event", gzipped(t, text), "STATSIG-API-KEY", s.server, "Content-Encoding", "gzip", "statsig-retry-count", "1"))
		})
	}
	wg.Wait()
	s.accepted(s.post("/v1/log_event", text, "STATSIG-API-KEY", s.server))
	s.stored(db, 2, 1, 0)
	metrics, err := s.metrics.Gather()
	if err != nil {
		t.Fatal(err)
	}
	totals := map[string]float64{}
	for _, family := range metrics {
		for _, m := range family.GetMetric() {
			totals[family.GetName()] += m.GetCounter().GetValue()
		}
	}
	if totals["ingest_acked_total"] != 3 || totals["ingest_duplicates_total"] != 30 || totals["ingest_inserted_total"] != 3 || totals["ingest_internal_events_total"] != 11 {
		t.Errorf("after eleven bodies that are the same, metrics are %v", totals)
	}
}

func TestABadEventIsSetAsideAndItsNeighboursCount(t *testing.T) {
	db := warehousetest.Open(t)
	s := newProject(t).serve(always(db))
	s.accepted(s.post("/v1/log_event", fmt.Sprintf(`{"events":[{"eventName":"good","time":%d},{"eventName":"bad","time":"yesterday"},7,{"eventName":"old","time":1790000000}]}`, time.Now().UnixMilli()),
		"STATSIG-API-KEY", s.server))
	s.stored(db, 0, 1, 3)
	got := s.query(db, `SELECT concat(reason, '|', body) FROM dead_letters WHERE project = {p:String} ORDER BY 1`)
	want := []string{`bad_time|{"kind":"event","name":"bad"}`, `time_too_old|{"kind":"event","name":"old","time":1790000000}`, `wrong_type|{"kind":"event"}`}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("dead letters differ (-want +got):\n%s", diff)
	}
}

func TestCustomExposuresBecomeRows(t *testing.T) {
	db := warehousetest.Open(t)
	s := newProject(t).serve(always(db))
	s.accepted(s.post("/v1/log_custom_exposure", fmt.Sprintf(`{"exposures":[
		{"user":{"userID":"ada"},"experimentName":"free_shipping","group":"Test","time":%d},
		{"user":{"userID":"ada"},"gateName":"new_checkout","passes":true,"time":%d}]}`, time.Now().UnixMilli(), time.Now().UnixMilli()), "STATSIG-API-KEY", s.server))
	s.stored(db, 2, 0, 0)
	got := s.query(db, `SELECT concat(kind, '|', name, '|', rule_id, '|', toString(group_index), '|', value) FROM exposures WHERE project = {p:String} ORDER BY 1`)
	want := []string{"experiment|free_shipping|grp_b|1|Test", "gate|new_checkout||255|true"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("exposures differ (-want +got):\n%s", diff)
	}
}

func TestPrivateAttributesAreNowhere(t *testing.T) {
	db := warehousetest.Open(t)
	s := newProject(t).serve(always(db))
	const private, attribute = "zebra7713private", "zebra7713attribute"
	user := `{"userID":"ada","email":"` + attribute + `@x.y","ip":"` + attribute + `","custom":{"plan":"` + attribute + `","` + attribute + `":1},"privateAttributes":{"ssn":"` + private + `","` + private + `":true}}`
	at := time.Now().UnixMilli()
	s.accepted(s.post("/v1/log_event", fmt.Sprintf(`{"events":[
		{"eventName":"purchase","user":%[1]s,"time":%[2]d},
		{"eventName":"statsig::gate_exposure","user":%[1]s,"metadata":{"gate":"new_checkout","gateValue":"true","ruleID":"r"},"time":%[2]d},
		{"eventName":"dead","user":%[1]s,"time":true}]}`, user, at), "STATSIG-API-KEY", s.server))
	s.post("/v1/log_event", fmt.Sprintf(`{"events":[{"eventName":"broken","user":%s,"time":}]}`, user), "STATSIG-API-KEY", s.server)
	s.post("/v1/log_event", fmt.Sprintf(`{"events":[{"eventName":"stranger","user":%s}]}`, user), "STATSIG-API-KEY", "secret-nobody")
	s.accepted(s.post("/v1/sdk_exception", fmt.Sprintf(`{"exception":"x","info":%q}`, user), "STATSIG-API-KEY", s.server))
	s.accepted(s.post("/v1/log_custom_exposure", fmt.Sprintf(`{"exposures":[{"user":%s,"gateName":"new_checkout","passes":true,"time":%d}]}`, user, at), "STATSIG-API-KEY", s.server))
	s.stored(db, 2, 1, 1)

	if err := db.Conn().Exec(t.Context(), "SYSTEM FLUSH LOGS"); err != nil {
		t.Fatal(err)
	}
	metrics, err := s.metrics.Gather()
	if err != nil {
		t.Fatal(err)
	}
	places := map[string]string{"log": s.log.String(), "metrics": fmt.Sprint(metrics)}
	for _, table := range []string{"exposures", "events", "dead_letters", "first_exposures", "load_progress"} {
		places["table "+table] = strings.Join(s.query(db, "SELECT toString(tuple(*)) FROM "+table), "\n")
	}
	for _, dir := range []string{s.broker.dir, warehousetest.Folder()} {
		err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
			if err != nil || !d.Type().IsRegular() {
				return nil //nolint:nilerr // the engine removes files while we look
			}
			text, err := os.ReadFile(path)
			if err == nil {
				places["file "+path] = string(text)
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	if len(places) < 20 || !strings.Contains(places["table events"], "purchase") {
		t.Fatalf("looked at %d places only", len(places))
	}
	for place, text := range places {
		for _, marker := range []string{private, attribute} {
			if strings.Contains(text, marker) {
				t.Errorf("%s has %q", place, marker)
			}
		}
	}
}

func TestWhatIsRefusedIsAProblemAndStoresNothing(t *testing.T) {
	s := newProject(t).serve(none())
	revoked := s.key(flags.KeyServer)
	key, _ := s.state.KeyByHash(authHash(revoked))
	key.Revoked = true
	s.put(key)
	zeros := gzipped(t, strings.Repeat("\x00", 64<<20))
	good := body("e", time.Now().UnixMilli())
	for name, test := range map[string]struct {
		path, body string
		header     []string
		want       int
	}{
		"no key":                  {"/v1/log_event", good, nil, 401},
		"a key of nobody":         {"/v1/log_event", good, []string{"STATSIG-API-KEY", "secret-" + s.project + "-" + strings.Repeat("a", 52)}, 401},
		"a key of no project":     {"/v1/log_event", good, []string{"STATSIG-API-KEY", "secret-nowhere-" + strings.Repeat("a", 52)}, 401},
		"what is no key":          {"/v1/rgstr?k=hello", good, nil, 401},
		"a key that was taken":    {"/v1/log_event", good, []string{"STATSIG-API-KEY", revoked}, 401},
		"a key for people":        {"/v1/log_event", good, []string{"STATSIG-API-KEY", s.console}, 403},
		"a secret in a query":     {"/v1/rgstr?k=" + s.server, good, nil, 400},
		"a secret in a browser":   {"/v1/rgstr?k=" + s.server, good, []string{"Origin", "https://shop.example"}, 403},
		"no JSON":                 {"/v1/log_event", `{"events":[`, []string{"STATSIG-API-KEY", s.server}, 400},
		"no events":               {"/v1/log_event", `{}`, []string{"STATSIG-API-KEY", s.server}, 400},
		"no exposures":            {"/v1/log_custom_exposure", `{}`, []string{"STATSIG-API-KEY", s.server}, 400},
		"gzip that is none":       {"/v1/log_event", good, []string{"STATSIG-API-KEY", s.server, "Content-Encoding", "gzip"}, 400},
		"an unknown encoding":     {"/v1/log_event", good, []string{"STATSIG-API-KEY", s.server, "Content-Encoding", "lzma"}, 415},
		"two MiB":                 {"/v1/log_event", strings.Repeat(" ", 2<<20), []string{"STATSIG-API-KEY", s.server}, 413},
		"a bomb":                  {"/v1/log_event", zeros, []string{"STATSIG-API-KEY", s.server, "Content-Encoding", "gzip"}, 413},
		"deeper than any SDK":     {"/v1/log_event", `{"events":[` + strings.Repeat("[", 10_001), []string{"STATSIG-API-KEY", s.server}, 400},
		"a million empty objects": {"/v1/log_event", `{"events":[` + strings.Repeat("{},", 340_000) + `{}]}`, []string{"STATSIG-API-KEY", s.server}, 413},
	} {
		t.Run(name, func(t *testing.T) {
			got := s.post(test.path, test.body, test.header...)
			var problem struct {
				Status       int
				Code, Detail string
			}
			if !strings.Contains(got.body, `"success":false`) {
				t.Errorf("answer is %s, want success to be false in it, as SDKs look for it", got.body)
			}
			if err := json.Unmarshal([]byte(got.body), &problem); err != nil || got.status != test.want || problem.Status != test.want || problem.Code == "" {
				t.Errorf("answer is %d %s, want a problem with status %d", got.status, got.body, test.want)
			}
			if kind := got.header.Get("Content-Type"); kind != "application/problem+json" {
				t.Errorf("Content-Type is %q", kind)
			}
		})
	}
	stream, err := s.conn.JetStream().Stream(t.Context(), "FACTS")
	if err != nil {
		t.Fatal(err)
	}
	info, err := stream.Info(t.Context(), jetstream.WithSubjectFilter("facts.*.*.*"))
	if err != nil || len(info.State.Subjects) != 0 {
		t.Errorf("the stream has facts under %v, %v; want none", info.State.Subjects, err)
	}
}

// A caller may close its side as soon as it has sent everything.
func TestWhoHasNothingMoreToSayIsAnswered(t *testing.T) {
	s := newProject(t).serve(none())
	for range 20 { // it takes both at once for the server to see the end before it has stored
		conn, err := net.Dial("tcp", strings.TrimPrefix(s.url, "http://"))
		if err != nil {
			t.Fatal(err)
		}
		text := body("e", time.Now().UnixMilli())
		_, err = fmt.Fprintf(conn, "POST /v1/log_event HTTP/1.1\r\nHost: ingest\r\nStatsig-Api-Key: %s\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n0\r\n\r\n", s.server, len(text), text)
		if err == nil {
			err = conn.(*net.TCPConn).CloseWrite()
		}
		if err != nil {
			t.Fatal(err)
		}
		answer, err := http.ReadResponse(bufio.NewReader(conn), nil)
		if err != nil {
			t.Fatal(err)
		}
		said, _ := io.ReadAll(answer.Body)
		answer.Body.Close()
		conn.Close()
		if answer.StatusCode != http.StatusAccepted {
			t.Fatalf("the answer is %d %s, want 202", answer.StatusCode, said)
		}
	}
}

func TestPagesOfAnyOriginMaySend(t *testing.T) {
	s := newProject(t).serve(none())
	for _, path := range []string{"/v1/log_event", "/v1/rgstr", "/v1/log_event_beacon", "/v1/log_custom_exposure", "/v1/sdk_exception"} {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodOptions, s.url+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Origin", "https://shop.example")
		r.Header.Set("Access-Control-Request-Method", "POST")
		got := s.do(r)
		allowed := got.header.Get("Access-Control-Allow-Headers")
		if got.status != http.StatusNoContent || got.header.Get("Access-Control-Allow-Origin") != "*" || !strings.Contains(allowed, "statsig-api-key") || got.header.Get("Access-Control-Max-Age") == "" {
			t.Errorf("OPTIONS %s = %d %v", path, got.status, got.header)
		}
	}
	got := s.post("/v1/rgstr?k="+s.client, body("e", time.Now().UnixMilli()), "Origin", "https://shop.example")
	s.accepted(got)
	if got.header.Get("Access-Control-Allow-Origin") != "*" {
		t.Errorf("POST /v1/rgstr from a page lets nobody read the answer: %v", got.header)
	}
	if refused := s.post("/v1/rgstr", "{}"); refused.header.Get("Access-Control-Allow-Origin") != "*" {
		t.Errorf("a refusal cannot be read by the page that caused it: %v", refused.header)
	}
}

func TestABusWithoutMemoryForClaimsTakesFacts(t *testing.T) {
	s := newProjectOn(t, &broker{t: t, dir: t.TempDir(), memory: 2 << 20}, bus.Limits{}).serve(none())
	s.accepted(s.post("/v1/log_event", body("small", time.Now().UnixMilli()), "STATSIG-API-KEY", s.server))
	if log := s.log.String(); !strings.Contains(log, bus.ClaimsStream+" asks for 64 MiB of memory") {
		t.Errorf("the log does not say that %s has no room:\n%s", bus.ClaimsStream, log)
	}
}

func TestWithoutABusClientsAreToldToComeBack(t *testing.T) {
	db := warehousetest.Open(t)
	s := newProject(t).serve(always(db))
	s.accepted(s.post("/v1/log_event", body("before", time.Now().UnixMilli()), "STATSIG-API-KEY", s.server))
	s.broker.stop()
	for s.conn.Connected() {
		time.Sleep(time.Millisecond)
	}
	later := body("during", time.Now().UnixMilli()+1)
	for range 3 {
		got := s.post("/v1/log_event", later, "STATSIG-API-KEY", s.server)
		if got.status != http.StatusServiceUnavailable || got.header.Get("Retry-After") == "" {
			t.Errorf("answer without a bus is %d %v %s, want 503 with Retry-After", got.status, got.header, got.body)
		}
	}
	if s.service.Ready() == nil {
		t.Error("Ready() = nil without a bus")
	}
	s.broker.start()
	for deadline := time.Now().Add(20 * time.Second); s.service.Ready() != nil && time.Now().Before(deadline); time.Sleep(5 * time.Millisecond) {
	}
	s.accepted(s.post("/v1/log_event", later, "STATSIG-API-KEY", s.server))
	s.stored(db, 4, 2, 0)
}
