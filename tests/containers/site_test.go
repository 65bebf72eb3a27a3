package containers

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"

	"github.com/sluice-flags/sluice/internal/warehouse"
	"github.com/sluice-flags/sluice/internal/warehouse/embed"
	"github.com/sluice-flags/sluice/pkg/events/live"
	"github.com/sluice-flags/sluice/services/control"
	"github.com/sluice-flags/sluice/tests/harness"
)

// arriveWithin bounds the wait for what one service does to be seen at another.
// It is generous; nothing is measured by it.
const arriveWithin = 60 * time.Second

// A site is the three services, each on its own, on a NATS and a ClickHouse that
// are none of theirs, behind the gateway that the compose file puts there.
type site struct {
	t       *testing.T
	nats    *broker
	output  map[string]func() string // of services
	engine  warehouse.Config
	secrets string // folder of files
	front   map[string]*url.URL
	ops     map[string]string // addresses
	gateway *harness.Platform
}

// A runner starts a service with variables, and returns what reads its log. The
// service ends with the test.
type runner func(t *testing.T, s *site, service string, env map[string]string) (output func() string)

// newSite starts everything, with the settings of the compose file but for the
// addresses, and waits until each service is ready.
func newSite(t *testing.T, run runner) *site {
	t.Helper()
	harness.NeedEngine(t)
	nats := restrictedNATS(t)
	engine, err := embed.Start(t.Context(), embed.Options{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { engine.Stop(context.Background()) }) // the test's own is over by then

	s := &site{t: t, nats: nats, output: map[string]func() string{}, engine: engine.Config(), secrets: t.TempDir(), front: map[string]*url.URL{}, ops: map[string]string{}}
	admin := control.NewAdminKey()
	s.write(filepath.Join(s.secrets, "clickhouse_password"), s.engine.Password)
	s.write(filepath.Join(s.secrets, "clickhouse_analyst_password"), engine.Analyst().Password)
	s.write(filepath.Join(s.secrets, "admin_key"), admin)

	project := compose(t)
	for service := range services {
		env := environment(t, project, service)
		env["SLUICE_LISTEN"], env["SLUICE_OPS"] = "127.0.0.1:0", "127.0.0.1:0"
		env["SLUICE_NATS_URL"], env["SLUICE_NATS_INBOX"] = s.nats.url(service), "_INBOX_"+service
		if _, ok := env["SLUICE_CLICKHOUSE_ADDR"]; ok {
			env["SLUICE_CLICKHOUSE_ADDR"] = s.engine.Addr
		}
		s.output[service] = run(t, s, service, env)
		s.await(service, s.output[service])
	}

	server := &http.Server{Handler: s.route(caddyfile(t)), ReadHeaderTimeout: arriveWithin}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	go func() { _ = server.Serve(listener) }() // ends with Close
	t.Cleanup(func() { _ = server.Close() })   // nothing is under way any more
	s.gateway = &harness.Platform{T: t, Data: t.TempDir(), HTTP: "http://" + listener.Addr().String()}
	s.write(filepath.Join(s.gateway.Data, "admin.key"), admin)
	return s
}

func (s *site) write(file, text string) {
	s.t.Helper()
	// Whoever a container runs as has to read it; the folder is the test's.
	if err := os.WriteFile(file, []byte(text+"\n"), 0o644); err != nil {
		s.t.Fatal(err)
	}
}

// await waits until a service says where it listens, and is ready.
func (s *site) await(service string, output func() string) {
	s.t.Helper()
	limit := time.Now().Add(arriveWithin)
	for ; ; time.Sleep(20 * time.Millisecond) {
		err := func() error {
			front, ops := addresses(output(), service)
			if front == "" {
				return errors.New("it does not say where it listens")
			}
			s.front[service], s.ops[service] = &url.URL{Scheme: "http", Host: front}, ops
			res, err := http.Get("http://" + ops + "/readyz")
			if err != nil {
				return err
			}
			defer res.Body.Close()
			why, err := io.ReadAll(res.Body)
			if err == nil && res.StatusCode != http.StatusOK {
				err = fmt.Errorf("not ready: %s", why)
			}
			return err
		}()
		if err == nil {
			return
		}
		if time.Now().After(limit) {
			s.t.Fatalf("%s: %v; its log:\n%s", service, err, output())
		}
	}
}

// addresses finds in a service's log where it listens.
func addresses(log, service string) (front, ops string) {
	for line := range strings.Lines(log) {
		var entry struct{ Msg, Address, Ops string }
		if json.Unmarshal([]byte(line), &entry) == nil && entry.Msg == service+" listens" {
			return entry.Address, entry.Ops
		}
	}
	return "", ""
}

// A rule of the gateway sends paths to a service; the last one sends the rest.
type rule struct {
	paths   []string
	service string
}

var (
	matcherLine = regexp.MustCompile(`^(@\w+) path (.+)$`)
	proxyLine   = regexp.MustCompile(`^reverse_proxy (?:(@\w+) )?(\w+):8080$`)
)

// caddyfile reads the gateway's rules. It knows no more of the format than we use.
func caddyfile(t testing.TB) []rule {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(composeDir(t), "gateway.Caddyfile"))
	if err != nil {
		t.Fatal(err)
	}
	var rules []rule
	paths := map[string][]string{"": {"*"}}
	for line := range strings.Lines(string(text)) {
		line = strings.TrimSpace(line)
		if m := matcherLine.FindStringSubmatch(line); m != nil {
			paths[m[1]] = strings.Fields(m[2])
		} else if m := proxyLine.FindStringSubmatch(line); m != nil {
			rules = append(rules, rule{paths[m[1]], m[2]})
		} else if line != "" && !strings.HasPrefix(line, "#") && line != ":8080 {" && line != "}" {
			t.Fatalf("gateway.Caddyfile: this test does not understand %q", line)
		}
	}
	return rules
}

// choose returns the service that a path goes to.
func choose(rules []rule, asked string) string {
	for _, r := range rules {
		for _, pattern := range r.paths {
			prefix, open := strings.CutSuffix(pattern, "*")
			if asked == pattern || open && strings.HasPrefix(path.Clean(asked), prefix) {
				return r.service
			}
		}
	}
	return ""
}

func (s *site) route(rules []rule) http.Handler {
	return &httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) {
		r.SetURL(s.front[choose(rules, r.In.URL.Path)])
		r.SetXForwarded()
	}}
}

// eventually repeats check until it is content.
func (s *site) eventually(what string, check func() error) {
	s.t.Helper()
	for limit := time.Now().Add(arriveWithin); ; time.Sleep(20 * time.Millisecond) {
		err := check()
		if err == nil {
			return
		}
		if time.Now().After(limit) {
			s.t.Fatalf("%s, after %v: %v", what, arriveWithin, err)
		}
	}
}

// journey makes a gate through control, sees it at the edge, logs an event at
// ingest, and finds it in ClickHouse.
func (s *site) journey() {
	t := s.t
	const gate, event = "new_checkout", "purchase"
	shop := s.gateway.NewProject("shop")
	shop.Create("gates", harness.Doc{"name": gate, "rules": []harness.Doc{}})

	user := harness.Doc{"userID": "visitor"}
	s.eventually("the edge knows the project", func() error {
		return expect(shop, http.StatusOK, "/v1/check_gate", harness.Doc{"user": user, "gateName": gate})
	})
	socket := s.gateway.Live(live.Hello{Key: shop.Client, Mode: live.ModeValues, User: json.RawMessage(`{"userID":"visitor"}`)})
	socket.NextFull()
	shop.SetGate(gate, 100)
	if got := string(socket.NextValue(live.SectionGates, gate)); got != "true" {
		t.Errorf("the gate's value on the socket = %s; want true", got)
	}
	var answer struct{ Value bool }
	shop.Must(http.StatusOK, &answer, shop.Server, "POST", "/v1/check_gate", harness.Doc{"user": user, "gateName": gate})
	if !answer.Value {
		t.Errorf("check_gate(%s) = false; want true, as the socket said", gate)
	}

	s.eventually("ingest knows the project", func() error {
		return expect(shop, http.StatusAccepted, "/v1/log_event", harness.Doc{
			"events": []harness.Doc{{"eventName": event, "user": user, "time": time.Now().UnixMilli()}},
		})
	})
	db := s.open()
	s.eventually("the event and the edge's exposure are in ClickHouse", func() error {
		var events, exposures uint64
		row := db.QueryRow(t.Context(), `SELECT
			(SELECT count() FROM events WHERE project = ? AND event = ?),
			(SELECT count() FROM exposures WHERE project = ? AND kind = 'gate' AND name = ? AND value = 'true')`, shop.ID, event, shop.ID, gate)
		if err := row.Scan(&events, &exposures); err != nil {
			return err
		}
		if events != 1 || exposures != 1 {
			return fmt.Errorf("%d events and %d exposures; want one of each", events, exposures)
		}
		return nil
	})
}

func expect(shop *harness.Project, status int, path string, body harness.Doc) error {
	got, err := shop.Do(shop.Server, "POST", path, body)
	if err == nil && got.Status != status {
		err = fmt.Errorf("POST %s answered %d %s; want %d", path, got.Status, got.Body, status)
	}
	return err
}

// open connects to ClickHouse once control or ingest have migrated it.
func (s *site) open() driver.Conn {
	s.t.Helper()
	db, err := warehouse.Open(s.t.Context(), s.engine)
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { _ = db.Close() }) // it was only read
	return db.Conn()
}
