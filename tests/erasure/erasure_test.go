// Package erasure holds the promise that what a project does not want kept of a
// unit is gone, and does not come back: control, ingest, the broker and the engine
// together.
package erasure

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/sluice-flags/sluice/internal/bus"
	"github.com/sluice-flags/sluice/internal/bus/embed"
	"github.com/sluice-flags/sluice/internal/bus/natslog"
	"github.com/sluice-flags/sluice/internal/follow"
	"github.com/sluice-flags/sluice/internal/warehouse"
	"github.com/sluice-flags/sluice/internal/warehouse/warehousetest"
	"github.com/sluice-flags/sluice/services/control"
	"github.com/sluice-flags/sluice/services/ingest"
	"github.com/sluice-flags/sluice/tests/harness"
)

func TestMain(m *testing.M) { warehousetest.Main(m) }

const secret = "ada.lovelace@example.com" // an id that nobody may find afterwards

// A site is everything but the edge, in this process.
type site struct {
	t       *testing.T
	nats    *embed.Server
	db      *warehouse.DB
	project string
	admin   string
	key     string // of a server
	log     *buffer

	manage, facts           *http.ServeMux // of control, and of ingest
	stopControl, stopIngest func()
}

type buffer struct {
	mu sync.Mutex
	b  strings.Builder
}

func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

func newSite(t *testing.T) *site {
	t.Helper()
	s := &site{t: t, db: warehousetest.Open(t), project: warehousetest.Project(), log: new(buffer)}
	var err error
	if s.nats, err = embed.Start(embed.Options{Dir: t.TempDir()}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.nats.Close() })
	s.startControl()
	s.startIngest()
	s.must(http.StatusCreated, s.admin, "POST", "/api/v1/projects", fmt.Sprintf(`{"name":%q}`, s.project))
	made := s.must(http.StatusCreated, s.admin, "POST", s.path("/keys"), `{"name":"server","kind":"server","environments":["production"]}`)
	s.key = made["key"].(string)
	return s
}

func (s *site) path(rest string) string { return "/api/v1/projects/" + s.project + rest }

// run runs a service until it is stopped, on a connection of its own.
func (s *site) run(make func(conn *bus.Conn, set *follow.Set, lg *slog.Logger) func(context.Context) error) (stop func()) {
	s.t.Helper()
	lg := slog.New(slog.NewJSONHandler(s.log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	conn, err := bus.Connect(s.t.Context(), bus.Config{InProcess: s.nats, Logger: lg})
	if err != nil {
		s.t.Fatal(err)
	}
	set := follow.NewSet(follow.SetOptions{Open: natslog.Reader(conn, lg, nil), Follower: follow.Options{Logger: lg}})
	service := make(conn, set, lg)
	ctx, cancel := context.WithCancel(context.WithoutCancel(s.t.Context()))
	var work sync.WaitGroup
	work.Go(func() { _ = set.Run(ctx) })
	work.Go(func() {
		if err := service(ctx); err != nil {
			s.t.Errorf("Run() = %v", err)
		}
	})
	stop = sync.OnceFunc(func() { cancel(); work.Wait(); conn.Close() })
	s.t.Cleanup(stop)
	return stop
}

func (s *site) startControl() {
	s.t.Helper()
	s.stopControl = s.run(func(conn *bus.Conn, set *follow.Set, lg *slog.Logger) func(context.Context) error {
		service, err := control.New(control.Deps{Bus: conn, Followers: set, Warehouse: func() *warehouse.DB { return s.db }, Logger: lg},
			control.Options{Settle: 50 * time.Millisecond})
		if err != nil {
			s.t.Fatal(err)
		}
		if s.admin == "" {
			if s.admin, err = service.EnsureAdmin(s.t.Context(), ""); err != nil {
				s.t.Fatal(err)
			}
		}
		s.manage = http.NewServeMux()
		service.Register(s.manage)
		return service.Run
	})
}

func (s *site) startIngest() {
	s.t.Helper()
	var ready func() error
	s.stopIngest = s.run(func(conn *bus.Conn, set *follow.Set, lg *slog.Logger) func(context.Context) error {
		service, err := ingest.New(ingest.Deps{Bus: conn, Followers: set, Warehouse: func() *warehouse.DB { return s.db }, Logger: lg},
			ingest.Options{LoadLinger: 20 * time.Millisecond})
		if err != nil {
			s.t.Fatal(err)
		}
		s.facts = http.NewServeMux()
		service.Register(s.facts)
		ready = service.Ready
		return service.Run
	})
	harness.Within(s.t, 30*time.Second, func() error { return ready() }) // it makes the stream of keys, which erasures ask
}

func (s *site) must(status int, key, method, path, body string) map[string]any {
	s.t.Helper()
	r := httptest.NewRequestWithContext(s.t.Context(), method, path, strings.NewReader(body))
	r.Header.Set("Authorization", "Bearer "+key)
	r.Header.Set("If-Match", "*")
	w := httptest.NewRecorder()
	if mux := s.facts; strings.HasPrefix(path, "/v1/") {
		mux.ServeHTTP(w, r)
	} else {
		s.manage.ServeHTTP(w, r)
	}
	var out map[string]any
	if err := json.Unmarshal(w.Body.Bytes(), &out); err != nil || w.Code != status {
		s.t.Fatalf("%s %s = %d %s, %v; want %d", method, path, w.Code, w.Body, err, status)
	}
	return out
}

// send reports what units do, and waits for the answer.
func (s *site) send(units ...string) {
	s.t.Helper()
	var list []string
	for _, unit := range units {
		at := time.Now().UnixMilli()
		company := "companyID"
		if unit == "carol" {
			company = "companyid" // found for decisions, too
		}
		user := fmt.Sprintf(`{"userID":%q,"customIDs":{%q:"acme"}}`, unit, company)
		list = append(list, fmt.Sprintf(`{"eventName":"statsig::gate_exposure","user":%s,"time":%d,"metadata":{"gate":"door","gateValue":"true","ruleID":"r"}}`, user, at),
			fmt.Sprintf(`{"eventName":"statsig::config_exposure","user":%s,"time":%d,"metadata":{"config":"trial","ruleID":"grp_a"}}`, user, at),
			fmt.Sprintf(`{"eventName":"buy","user":%s,"time":%d}`, user, at),
			fmt.Sprintf(`{"eventName":"bad","user":%s,"time":"yesterday"}`, user))
	}
	s.must(http.StatusAccepted, s.key, "POST", "/v1/log_event", `{"events":[`+strings.Join(list, ",")+`]}`)
}

// rows is how many rows tell of a unit, in each table of units.
func (s *site) rows(unit string) string {
	s.t.Helper()
	var exposures, events, first uint64
	key := warehouse.UnitKey("userID", unit)
	err := s.db.Conn().QueryRow(s.t.Context(), `SELECT
		(SELECT count() FROM exposures WHERE project = $1 AND unit_key = $2), (SELECT count() FROM events WHERE project = $1 AND unit_key = $2),
		(SELECT count() FROM first_exposures FINAL WHERE project = $1 AND unit_key = $2)`, s.project, key).Scan(&exposures, &events, &first)
	if err != nil {
		s.t.Fatal(err)
	}
	return fmt.Sprint(exposures, events, first)
}

func (s *site) await(unit, want string) {
	s.t.Helper()
	harness.Within(s.t, 30*time.Second, func() error {
		if got := s.rows(unit); got != want {
			return fmt.Errorf("exposures, events, first exposures of %s = %s; want %s", unit, got, want)
		}
		return nil
	})
}

// erased waits until an erasure is done.
func (s *site) erased(unitType, unit string) {
	s.t.Helper()
	harness.Within(s.t, 30*time.Second, func() error {
		op := s.must(http.StatusOK, s.admin, "GET", s.path("/units/"+unitType+"/"+unit), "")
		if op["status"] != "done" || op["progress"] != 1. {
			return fmt.Errorf("the erasure is %v", op)
		}
		return nil
	})
}

// loadAgain loads all that the stream has into tables without facts, under tokens
// that the engine has not seen, as after the loss of its disk.
func (s *site) loadAgain() {
	s.t.Helper()
	s.stopIngest()
	for _, statement := range []string{"DELETE FROM load_progress WHERE 1", "DELETE FROM exposures WHERE project = '" + s.project + "'", "DELETE FROM events WHERE project = '" + s.project + "'"} {
		if err := s.db.Conn().Exec(s.t.Context(), statement); err != nil {
			s.t.Fatal(err)
		}
	}
	conn, err := bus.Connect(s.t.Context(), bus.Config{InProcess: s.nats})
	if err != nil {
		s.t.Fatal(err)
	}
	defer conn.Close()
	plans, err := conn.JetStream().Stream(s.t.Context(), bus.PlansStream)
	if err != nil {
		s.t.Fatal(err)
	}
	if err := plans.Purge(s.t.Context(), jetstream.WithPurgeSubject(bus.PlansSubject(0))); err != nil {
		s.t.Fatal(err)
	}
	s.startIngest()
}

func TestAnErasedUnitIsGoneAndDoesNotComeBack(t *testing.T) {
	s := newSite(t)
	s.must(http.StatusCreated, s.admin, "POST", s.path("/experiments"), `{"name":"trial","allocation":100,"groups":[{"id":"grp_a","name":"A","share":50,"control":true,"parameters":{}},{"id":"grp_b","name":"B","share":50,"parameters":{}}]}`)
	s.send(secret, "bob")
	s.await(secret, "2 1 1")
	s.await("bob", "2 1 1")

	op := s.must(http.StatusAccepted, s.admin, "DELETE", s.path("/units/userid/"+secret), `{"reason":"she asked"}`)
	if op["status"] != "running" || op["project"] != s.project {
		t.Errorf("DELETE answered %v; want an operation that runs", op)
	}
	s.stopControl() // wherever it was
	s.startControl()
	s.stopIngest()
	s.startIngest()
	s.erased("userID", secret)
	if again := s.must(http.StatusOK, s.admin, "GET", "/api/v1/operations/"+op["id"].(string), ""); again["status"] != "done" {
		t.Errorf("GET of the operation = %v; want it done", again)
	}
	s.await(secret, "0 0 0")
	s.await("bob", "2 1 1")

	// The facts are in the stream still: loading them all again brings back those
	// of others alone.
	s.loadAgain()
	s.send("carol") // another batch, so other tokens
	s.await("bob", "2 1 1")
	s.await("carol", "2 1 1")
	s.await(secret, "0 0 0")

	// What she does from now on is new, until she asks again; and a company is
	// erased with the events that name it.
	s.send(secret)
	s.await(secret, "2 1 1")
	s.must(http.StatusAccepted, s.admin, "DELETE", s.path("/units/userID/"+secret), `{}`)
	s.erased("userID", secret)
	s.await(secret, "0 0 0")
	s.must(http.StatusAccepted, s.admin, "DELETE", s.path("/units/companyID/acme"), ``)
	s.erased("companyID", "acme")
	s.await("bob", "2 0 1")
	s.await("carol", "2 0 1")
	s.loadAgain()
	s.send("dave")
	s.await("dave", "2 1 1")
	s.await("bob", "2 0 1")
	s.await("carol", "2 0 1")

	changes := s.must(http.StatusOK, s.admin, "GET", s.path("/changes?kind=erasure"), "")
	text, err := json.Marshal(changes)
	if err != nil {
		t.Fatal(err)
	}
	if n := len(changes["items"].([]any)); n != 3 || !strings.Contains(string(text), "she asked") || strings.Contains(string(text), secret) {
		t.Errorf("the log has %d erasures, %s; want 3, with who and why, and without the id", n, text)
	}
	if strings.Contains(s.log.String(), secret) {
		t.Errorf("the services logged the id")
	}
	var dead uint64
	if err := s.db.Conn().QueryRow(t.Context(), "SELECT countIf(position(body, ?) > 0) FROM dead_letters WHERE project = ?", secret, s.project).Scan(&dead); err != nil || dead != 0 {
		t.Errorf("%d dead letters have the id, %v; want none", dead, err)
	}
}

func TestErasureFindsKeyedHashes(t *testing.T) {
	s := newSite(t)
	s.must(http.StatusOK, s.admin, "PATCH", s.path(""), `{"hashUnitIDs":true}`)
	s.must(http.StatusAccepted, s.admin, "DELETE", s.path("/units/userID/"+secret), ``)
	s.erased("userID", secret)
	all, err := s.db.ReadErasures(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range all {
		if e.Project == s.project && (e.UnitKey == warehouse.UnitKey("userID", secret) || !e.Done) {
			t.Errorf("the erasure %+v is of the id, or not done; want one of its keyed hash", e)
		}
	}
}

func TestProjectsSayForHowLongTheirFactsAreKept(t *testing.T) {
	s := newSite(t)
	s.send("ada")
	s.await("ada", "2 1 0")
	s.must(http.StatusOK, s.admin, "PATCH", s.path(""), `{"retentionDays":30}`)
	days := func(want string) {
		t.Helper()
		harness.Within(t, 30*time.Second, func() error {
			var got string
			err := s.db.Conn().QueryRow(t.Context(), "SELECT toString(groupUniqArray(retention_days)) FROM (SELECT retention_days FROM exposures WHERE project = $1 UNION ALL SELECT retention_days FROM events WHERE project = $1)", s.project).Scan(&got)
			return errors.Join(err, map[bool]error{false: fmt.Errorf("rows are kept for %s days; want %s", got, want)}[got == want])
		})
	}
	days("[30]")
	s.must(http.StatusOK, s.admin, "PATCH", s.path(""), `{"retentionDays":0}`)
	days("[0]")
}
