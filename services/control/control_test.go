package control_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/sluice-flags/sluice/internal/auth"
	"github.com/sluice-flags/sluice/internal/bus"
	"github.com/sluice-flags/sluice/internal/bus/embed"
	"github.com/sluice-flags/sluice/internal/bus/natslog"
	"github.com/sluice-flags/sluice/internal/follow"
	"github.com/sluice-flags/sluice/internal/web"
	"github.com/sluice-flags/sluice/pkg/events"
	"github.com/sluice-flags/sluice/pkg/flags"
	"github.com/sluice-flags/sluice/services/control"
)

// node is a control service with connections and followers of its own, as a
// process has them.
type node struct {
	t       testing.TB
	handler http.Handler
	service *control.Service
	stop    func()
}

func start(t testing.TB, nats *embed.Server, headDir string) *node {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	conn, err := bus.Connect(ctx, bus.Config{InProcess: nats, Name: t.Name()})
	if err != nil {
		t.Fatal(err)
	}
	followers := follow.NewSet(follow.SetOptions{Open: func(ctx context.Context, id string) (events.Log, error) {
		return natslog.Open(ctx, conn, id, natslog.Options{ReadOnly: true})
	}})
	service, err := control.New(control.Deps{Bus: conn, Followers: followers}, control.Options{HeadDir: headDir, Limits: bus.Limits{FlagsBytes: 64 << 20}})
	if err != nil {
		t.Fatal(err)
	}
	var running sync.WaitGroup
	running.Go(func() { _ = followers.Run(ctx) }) // ends with stop
	running.Go(func() { _ = service.Run(ctx) })   // ends with stop
	mux := http.NewServeMux()
	service.Register(mux)
	n := &node{t: t, handler: web.Middleware(nil, mux), service: service}
	n.stop = sync.OnceFunc(func() {
		cancel()
		running.Wait()
		conn.Close()
	})
	t.Cleanup(n.stop)
	return n
}

func startNATS(t testing.TB, dir string) *embed.Server {
	t.Helper()
	nats, err := embed.Start(embed.Options{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = nats.Close() }) // a second Close is harmless
	return nats
}

func (n *node) do(method, path, key, body string, header ...string) (int, map[string]any, http.Header) {
	n.t.Helper()
	r := httptest.NewRequest(method, path, strings.NewReader(body))
	r.Header.Set("Authorization", "Bearer "+key)
	for i := 0; i+1 < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	w := httptest.NewRecorder()
	n.handler.ServeHTTP(w, r)
	var out map[string]any
	if w.Body.Len() > 0 {
		if err := json.Unmarshal(w.Body.Bytes(), &out); err != nil {
			n.t.Errorf("%s %s answered %d %s: %v", method, path, w.Code, w.Body, err)
		}
	}
	return w.Code, out, w.Header()
}

func (n *node) must(status int, method, path, key, body string, header ...string) (map[string]any, http.Header) {
	n.t.Helper()
	got, out, h := n.do(method, path, key, body, header...)
	if got != status {
		n.t.Fatalf("%s %s = %d %v, want %d", method, path, got, out, status)
	}
	return out, h
}

const gates = "/api/v1/projects/shop/gates"

func TestAnInstallationComesBackAsItWas(t *testing.T) {
	dir, heads := t.TempDir(), t.TempDir()
	nats := startNATS(t, dir)
	one := start(t, nats, heads)
	admin, err := one.service.EnsureAdmin(t.Context(), "")
	if err != nil || admin == "" {
		t.Fatalf("EnsureAdmin() = %q, %v; want the first key", admin, err)
	}
	if again, err := one.service.EnsureAdmin(t.Context(), ""); again != "" || err != nil {
		t.Errorf("EnsureAdmin() again = %q, %v; want no other key", again, err)
	}
	one.must(201, "POST", "/api/v1/projects", admin, `{"name":"shop"}`, "Idempotency-Key", "p")
	made, _ := one.must(201, "POST", "/api/v1/projects/shop/keys", admin, `{"name":"console","kind":"console"}`)
	key := made["key"].(string)
	gate, header := one.must(201, "POST", gates, key, `{"name":"g","rules":[]}`, "Idempotency-Key", "g")
	one.must(200, "POST", gates+"/g/kill", key, `{}`)

	// Everything goes, but for the disk.
	one.stop()
	if err := nats.Close(); err != nil {
		t.Fatal(err)
	}
	two := start(t, startNATS(t, dir), heads)
	if again, err := two.service.EnsureAdmin(t.Context(), ""); again != "" || err != nil {
		t.Errorf("EnsureAdmin() after a restart = %q, %v; want no other key", again, err)
	}
	if err := two.service.Ready(); err != nil {
		t.Errorf("Ready() = %v, want ready", err)
	}
	replayed, h := two.must(201, "POST", gates, key, `{"name":"g","rules":[]}`, "Idempotency-Key", "g")
	if h.Get("Idempotency-Replayed") != "true" || fmt.Sprint(replayed) != fmt.Sprint(gate) {
		t.Errorf("the same POST after a restart = %v, want the first answer %v", replayed, gate)
	}
	then, _ := two.must(200, "GET", gates+"/g?asOf="+header.Get("Log-Sequence"), key, "")
	if fmt.Sprint(then) != fmt.Sprint(gate) {
		t.Errorf("as of %s the gate is %v, want %v", header.Get("Log-Sequence"), then, gate)
	}
	now, _ := two.must(200, "GET", gates+"/g", key, "")
	if now["version"] != 2.0 {
		t.Errorf("the gate is %v, want version 2", now)
	}
	two.must(201, "POST", "/api/v1/projects", admin, `{"name":"shop"}`, "Idempotency-Key", "p")
	two.must(409, "POST", "/api/v1/projects", admin, `{"name":"shop"}`)

	// No key is anywhere on the disk or in what can be read.
	history, _ := two.must(200, "GET", "/api/v1/projects/shop/changes", admin, "")
	raw, err := json.Marshal(history)
	if err != nil {
		t.Fatal(err)
	}
	for _, token := range []string{admin, key} {
		if bytes.Contains(raw, []byte(token)) {
			t.Errorf("the log shows the key %s", token)
		}
		if where := grep(t, dir, token) + grep(t, heads, token); where != "" {
			t.Errorf("a key is on the disk, in %s", where)
		}
	}
}

func TestAnAdminKeyOfOnesOwnIsLetIn(t *testing.T) {
	n := start(t, startNATS(t, t.TempDir()), "")
	token, _ := auth.Generate(flags.KeyConsole, bus.OrgProject)
	for range 2 {
		if made, err := n.service.EnsureAdmin(t.Context(), token); made != "" || err != nil {
			t.Fatalf("EnsureAdmin(token) = %q, %v; want nothing made", made, err)
		}
	}
	keys, _ := n.must(200, "GET", "/api/v1/projects/_org/keys", token, "")
	if items := keys["items"].([]any); len(items) != 1 {
		t.Errorf("keys of the organisation = %v, want the one", items)
	}
	other, _ := auth.Generate(flags.KeyServer, bus.OrgProject)
	for _, bad := range []string{"hello", other} {
		if _, err := n.service.EnsureAdmin(t.Context(), bad); err == nil {
			t.Errorf("EnsureAdmin(%q) = nil, want an error", bad)
		}
	}
}

func TestSeveralNodesLoseNoUpdateAndRepeatNoRequest(t *testing.T) {
	nats := startNATS(t, t.TempDir())
	nodes := []*node{start(t, nats, ""), start(t, nats, ""), start(t, nats, "")}
	var admin string
	for _, n := range nodes {
		made, err := n.service.EnsureAdmin(t.Context(), "")
		if err != nil {
			t.Fatal(err)
		}
		admin += made
	}
	nodes[0].must(201, "POST", "/api/v1/projects", admin, `{"name":"shop"}`)
	_, header := nodes[0].must(201, "POST", gates, admin, `{"name":"g","description":"0","rules":[]}`)
	for _, n := range nodes {
		n.must(200, "GET", gates+"/g", admin, "", "Min-Sequence", header.Get("Log-Sequence"))
	}
	const writers, each = 6, 10
	var wg sync.WaitGroup
	for i := range writers {
		n := nodes[i%len(nodes)]
		wg.Go(func() {
			for done := 0; done < each; {
				status, gate, h := n.do("GET", gates+"/g", admin, "")
				count, err := strconv.Atoi(fmt.Sprint(gate["description"]))
				if status != 200 || err != nil {
					t.Errorf("GET = %d %v, want a count", status, gate)
					return
				}
				// Sent twice, as a client does that has lost the first answer.
				id := fmt.Sprintf("%d-%d-%d", i, done, count)
				var got int
				for range 2 {
					got, gate, _ = n.do("PATCH", gates+"/g", admin, fmt.Sprintf(`{"description":"%d"}`, count+1), "If-Match", h.Get("ETag"), "Idempotency-Key", id)
				}
				switch got {
				case 200:
					done++
				case 412:
				default:
					t.Errorf("PATCH = %d %v, want 200 or 412", got, gate)
					return
				}
			}
		})
	}
	wg.Wait()
	changes, _ := nodes[1].must(200, "GET", "/api/v1/projects/shop/changes?kind=gate&limit=200", admin, "")
	items := changes["items"].([]any)
	if len(items) != writers*each+1 {
		t.Fatalf("the log has %d changes of the gate, want %d", len(items), writers*each+1)
	}
	first := items[0].(map[string]any)["sequence"].(float64)
	for i, item := range items {
		if got := item.(map[string]any)["sequence"].(float64); got != first+float64(i) {
			t.Errorf("change %d has sequence %v, want %v", i, got, first+float64(i))
		}
	}
	last := items[len(items)-1].(map[string]any)["sequence"].(float64)
	for _, n := range nodes {
		gate, _ := n.must(200, "GET", gates+"/g", admin, "", "Min-Sequence", fmt.Sprint(last))
		if gate["description"] != strconv.Itoa(writers*each) {
			t.Errorf("after %d increments the gate says %v", writers*each, gate["description"])
		}
	}
}

func TestWritesSayWhenTheBusIsAwayAndReadsGoOn(t *testing.T) {
	nats := startNATS(t, t.TempDir())
	n := start(t, nats, "")
	admin, err := n.service.EnsureAdmin(t.Context(), "")
	if err != nil {
		t.Fatal(err)
	}
	n.must(201, "POST", "/api/v1/projects", admin, `{"name":"shop"}`)
	n.must(201, "POST", gates, admin, `{"name":"g","rules":[]}`)
	if err := nats.Close(); err != nil {
		t.Fatal(err)
	}
	n.must(200, "GET", gates+"/g", admin, "")
	got, problem, h := n.do("POST", gates, admin, `{"name":"h","rules":[]}`)
	if got != 503 || h.Get("Retry-After") == "" {
		t.Errorf("POST without a bus = %d %v, want 503 with Retry-After", got, problem)
	}
}
