package ingest_test

import (
	"bytes"
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/sluice-flags/sluice/internal/auth"
	"github.com/sluice-flags/sluice/internal/bus"
	natsembed "github.com/sluice-flags/sluice/internal/bus/embed"
	"github.com/sluice-flags/sluice/internal/bus/natslog"
	"github.com/sluice-flags/sluice/internal/follow"
	"github.com/sluice-flags/sluice/internal/warehouse"
	"github.com/sluice-flags/sluice/internal/warehouse/warehousetest"
	"github.com/sluice-flags/sluice/internal/web"
	"github.com/sluice-flags/sluice/pkg/events"
	"github.com/sluice-flags/sluice/pkg/flags"
	"github.com/sluice-flags/sluice/services/ingest"
)

func TestMain(m *testing.M) {
	if nats := os.Getenv(childVariable); nats != "" {
		beChild(nats)
	}
	warehousetest.Main(m)
}

// broker is an embedded server that can be taken away and brought back.
type broker struct {
	t      testing.TB
	dir    string
	memory int64 // that streams may reserve; 0: of the machine
	now    atomic.Pointer[natsembed.Server]
}

func (b *broker) start() {
	b.t.Helper()
	s, err := natsembed.Start(natsembed.Options{Dir: b.dir, Listen: "127.0.0.1:0", MaxMemory: b.memory})
	if err != nil {
		b.t.Fatal(err)
	}
	b.now.Store(s)
}

func (b *broker) stop() {
	if s := b.now.Swap(nil); s != nil {
		_ = s.Close()
	}
}

// InProcessConn implements nats.InProcessConnProvider.
func (b *broker) InProcessConn() (net.Conn, error) {
	if s := b.now.Load(); s != nil {
		return s.InProcessConn()
	}
	return nil, errors.New("the broker is away")
}

// A site is the whole of ingest: a project's log, the streams, the service, and
// a listener in front of it.
type site struct {
	t       testing.TB
	project string
	broker  *broker
	conn    *bus.Conn
	service *ingest.Service
	metrics *prometheus.Registry
	log     *lockedBuffer
	url     string

	server, client, console string // keys
	limits                  bus.Limits
	writer                  events.Log
	state                   *flags.State
	head                    events.Head
}

type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

var sites atomic.Int64

// newProject makes a broker with a project in it.
func newProject(t testing.TB) *site {
	t.Helper()
	return newProjectWith(t, bus.Limits{})
}

func newProjectWith(t testing.TB, limits bus.Limits) *site {
	t.Helper()
	return newProjectOn(t, &broker{t: t, dir: t.TempDir()}, limits)
}

func newProjectOn(t testing.TB, b *broker, limits bus.Limits) *site {
	t.Helper()
	s := &site{t: t, limits: limits, project: fmt.Sprintf("p%d_%d", os.Getpid(), sites.Add(1)), broker: b,
		metrics: prometheus.NewRegistry(), log: new(lockedBuffer)}
	s.broker.start()
	t.Cleanup(s.broker.stop)
	conn, err := bus.Connect(t.Context(), bus.Config{InProcess: s.broker, Name: t.Name()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(conn.Close)
	s.conn = conn
	if err := bus.EnsureShared(t.Context(), conn, limits); err != nil {
		t.Fatal(err)
	}
	if _, err := bus.EnsureProject(t.Context(), conn, s.project, bus.Limits{}); err != nil {
		t.Fatal(err)
	}
	if s.writer, err = natslog.Open(t.Context(), conn, s.project, natslog.Options{}); err != nil {
		t.Fatal(err)
	}
	if s.head, err = s.writer.Head(t.Context()); err != nil {
		t.Fatal(err)
	}
	s.state = flags.NewState(s.project)
	s.put(&flags.Environment{ID: "env_p", Name: "production"})
	s.put(&flags.Environment{ID: "env_s", Name: "staging"})
	s.put(&flags.Gate{ID: "gate_1", Name: "new_checkout", UnitType: "userID"})
	s.put(&flags.Experiment{ID: "exp_1", Name: "free_shipping", UnitType: "userID", Allocation: 100, Groups: []flags.Group{
		{ID: "grp_a", Name: "Control", Share: 50, Parameters: json.RawMessage(`{}`), Control: true},
		{ID: "grp_b", Name: "Test", Share: 50, Parameters: json.RawMessage(`{}`)}}})
	s.server, s.client, s.console = s.key(flags.KeyServer), s.key(flags.KeyClient), s.key(flags.KeyConsole)
	return s
}

// put appends a document to the project's log.
func (s *site) put(d flags.Document) {
	s.t.Helper()
	d = flags.Clone(d)
	flags.Advance(s.state, d, time.Now(), nil)
	raw, err := flags.Encode(d)
	if err != nil {
		s.t.Fatal(err)
	}
	was, _ := s.state.Get(d.Ref())
	receipt, err := s.writer.Append(s.t.Context(), s.head, events.Command{
		ID: fmt.Sprint(d.Ref().ID, was.Version), Actor: events.Actor{Kind: "system", ID: "test"},
		Drafts: []events.Draft{{Kind: d.Ref().Kind, Entity: d.Ref().ID, EntityVersion: was.Version + 1, Name: d.DocName(), Created: was.Created, Document: raw}},
	})
	if err != nil {
		s.t.Fatal(err)
	}
	for _, e := range receipt.Envelopes {
		if s.state, err = events.Apply(s.state, e); err != nil {
			s.t.Fatal(err)
		}
	}
	s.head = receipt.Last
}

func (s *site) key(kind flags.KeyKind) string { return s.keyFor(string(kind), kind) }

// keyFor makes a key for target apps.
func (s *site) keyFor(name string, kind flags.KeyKind, apps ...string) string {
	s.t.Helper()
	token, hash := auth.Generate(kind, s.project)
	s.put(&flags.Key{Name: name, Kind: kind, TargetApps: apps, Hash: hex.EncodeToString(hash[:]), Environments: []string{"production", "staging"}})
	return token
}

// serve runs the service until the test ends.
func (s *site) serve(db func() *warehouse.DB) *site {
	s.t.Helper()
	lg := slog.New(slog.NewJSONHandler(s.log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	handler, run := compose(s.t, s.conn, db, lg, s.metrics, ingest.Options{Limits: s.limits})
	s.service = run.service
	listener := httptest.NewServer(handler)
	s.url = listener.URL
	ctx, cancel := context.WithCancel(context.WithoutCancel(s.t.Context()))
	done := make(chan error, 1)
	go func() { done <- run.all(ctx) }()
	s.t.Cleanup(func() {
		listener.Close()
		cancel()
		if err := <-done; err != nil {
			s.t.Errorf("Run() = %v", err)
		}
	})
	for deadline := time.Now().Add(10 * time.Second); s.service.Ready() != nil; time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			s.t.Fatalf("not ready: %v", s.service.Ready())
		}
	}
	return s
}

// another serves as a further process would, with a connection and a memory of
// its own.
func (s *site) another(db func() *warehouse.DB) *site {
	s.t.Helper()
	conn, err := bus.Connect(s.t.Context(), bus.Config{InProcess: s.broker, Name: s.t.Name()})
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(conn.Close)
	other := *s
	other.conn, other.metrics = conn, prometheus.NewRegistry()
	return other.serve(db)
}

// metric is the sum of what the service exposes under a name.
func (s *site) metric(name string) (sum int) {
	s.t.Helper()
	families, err := s.metrics.Gather()
	if err != nil {
		s.t.Fatal(err)
	}
	for _, family := range families {
		for _, m := range family.GetMetric() {
			if family.GetName() == name {
				sum += int(m.GetCounter().GetValue() + m.GetGauge().GetValue())
			}
		}
	}
	return sum
}

type running struct {
	service *ingest.Service
	all     func(ctx context.Context) error
}

type fataler interface {
	Helper()
	Fatal(...any)
}

// compose puts the service together as its program does.
func compose(t fataler, conn *bus.Conn, db func() *warehouse.DB, lg *slog.Logger, reg prometheus.Registerer, o ingest.Options) (http.Handler, running) {
	t.Helper()
	o.LoadLinger = 20 * time.Millisecond
	set := follow.NewSet(follow.SetOptions{Open: func(ctx context.Context, project string) (events.Log, error) {
		return natslog.Open(ctx, conn, project, natslog.Options{ReadOnly: true, Logger: lg})
	}, Follower: follow.Options{Logger: lg}})
	service, err := ingest.New(ingest.Deps{Bus: conn, Followers: set, Warehouse: db, Logger: lg, Registerer: reg}, o)
	if err != nil {
		t.Fatal(err)
	}
	mux := http.NewServeMux()
	service.Register(mux)
	mux.Handle("/", web.Unmatched(mux))
	return web.Middleware(lg, mux), running{service: service, all: func(ctx context.Context) error {
		var wg sync.WaitGroup
		defer wg.Wait()
		wg.Go(func() { _ = set.Run(ctx) })
		return service.Run(ctx)
	}}
}

// reply is what a request got.
type reply struct {
	status int
	header http.Header
	body   string
}

// post sends a body; header holds names and values.
func (s *site) post(path, body string, header ...string) reply {
	s.t.Helper()
	r, err := http.NewRequestWithContext(s.t.Context(), http.MethodPost, s.url+path, strings.NewReader(body))
	if err != nil {
		s.t.Fatal(err)
	}
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	return s.do(r)
}

func (s *site) do(r *http.Request) reply {
	s.t.Helper()
	// The transport must not ask for gzip: what arrives is what is compared.
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		s.t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		s.t.Fatal(err)
	}
	return reply{status: resp.StatusCode, header: resp.Header, body: string(text)}
}

// accepted fails the test unless the reply is what SDKs take for success.
func (s *site) accepted(got reply) {
	s.t.Helper()
	var body struct{ Success bool }
	if err := json.Unmarshal([]byte(got.body), &body); err != nil || got.status != http.StatusAccepted || !body.Success {
		s.t.Errorf("answer is %d %q, want 202 with success", got.status, got.body)
	}
}

// query returns the rows of a question about the project, one text each.
func (s *site) query(db *warehouse.DB, question string) (rows []string) {
	s.t.Helper()
	result, err := db.Conn().Query(s.t.Context(), question, clickhouse.Named("p", s.project))
	if err != nil {
		s.t.Fatal(err)
	}
	defer result.Close()
	for result.Next() {
		var row string
		if err := result.Scan(&row); err != nil {
			s.t.Fatal(err)
		}
		rows = append(rows, row)
	}
	if err := result.Err(); err != nil {
		s.t.Fatal(err)
	}
	return rows
}

// stored waits until the project has n rows and checks that there are no more,
// and no two the same.
func (s *site) stored(db *warehouse.DB, exposures, happened, dead int) {
	s.t.Helper()
	const question = `SELECT concat(
		toString((SELECT count() FROM exposures WHERE project = {p:String})), ' ', toString((SELECT uniqExact(event_id) FROM exposures WHERE project = {p:String})), ' ',
		toString((SELECT count() FROM events WHERE project = {p:String})), ' ', toString((SELECT uniqExact(event_id) FROM events WHERE project = {p:String})), ' ',
		toString((SELECT count() FROM dead_letters WHERE project = {p:String})))`
	want := fmt.Sprintf("%d %d %d %d %d", exposures, exposures, happened, happened, dead)
	got := ""
	for deadline := time.Now().Add(30 * time.Second); got != want && time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		got = s.query(db, question)[0]
	}
	if got != want {
		s.t.Errorf("exposures, different ones, events, different ones, dead letters = %s; want %s", got, want)
	}
}

func always(db *warehouse.DB) func() *warehouse.DB { return func() *warehouse.DB { return db } }

// none is a warehouse that is not there.
func none() func() *warehouse.DB { return func() *warehouse.DB { return nil } }

func authHash(token string) [32]byte { return auth.Hash(token) }
