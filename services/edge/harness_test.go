package edge_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/sluice-flags/sluice/internal/bus"
	"github.com/sluice-flags/sluice/internal/bus/embed"
	"github.com/sluice-flags/sluice/internal/bus/natslog"
	"github.com/sluice-flags/sluice/internal/follow"
	"github.com/sluice-flags/sluice/internal/freeport"
	"github.com/sluice-flags/sluice/internal/web"
	"github.com/sluice-flags/sluice/pkg/events"
	"github.com/sluice-flags/sluice/services/edge"
	"github.com/sluice-flags/sluice/services/edge/internal/edgetest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// patience bounds every wait; nothing waits for it unless something is broken.
const patience = 30 * time.Second

// nats is a NATS server that can be taken away and brought back.
type nats struct {
	dir    string
	listen string
	server *embed.Server
}

func startNATS(t *testing.T) *nats {
	t.Helper()
	n := &nats{dir: t.TempDir(), listen: freeport.For(t)}
	n.start(t)
	t.Cleanup(func() { n.stop(t) })
	return n
}

func (n *nats) start(t *testing.T) {
	t.Helper()
	s, err := embed.Start(embed.Options{Dir: n.dir, Listen: n.listen})
	if err != nil {
		t.Fatal(err)
	}
	u, err := url.Parse(s.URL())
	if err != nil {
		t.Fatal(err)
	}
	n.server, n.listen = s, u.Host
}

func (n *nats) stop(t *testing.T) {
	t.Helper()
	if n.server == nil {
		return
	}
	if err := n.server.Close(); err != nil {
		t.Errorf("stopping NATS: %v", err)
	}
	n.server = nil
}

func (n *nats) connect(t *testing.T) *bus.Conn {
	t.Helper()
	conn, err := bus.Connect(t.Context(), bus.Config{URL: "nats://" + n.listen, Name: t.Name()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(conn.Close)
	return conn
}

// project returns the project shop, written by the test as control would.
func (n *nats) project(t *testing.T) (*bus.Conn, *edgetest.Project) {
	t.Helper()
	conn := n.connect(t)
	if err := conn.Wait(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := bus.EnsureShared(t.Context(), conn, bus.Limits{}); err != nil {
		t.Fatal(err)
	}
	if err := bus.EnsureClaims(t.Context(), conn, bus.Limits{}); err != nil {
		t.Fatal(err)
	}
	if _, err := bus.EnsureProject(t.Context(), conn, "shop", bus.Limits{}); err != nil {
		t.Fatal(err)
	}
	log, err := natslog.Open(t.Context(), conn, "shop", natslog.Options{})
	if err != nil {
		t.Fatal(err)
	}
	return conn, edgetest.On(t, "shop", log)
}

// running is an edge that serves.
type running struct {
	*edge.Service
	followers *follow.Set
	server    *httptest.Server
	stop      func() // may be called twice
}

func startEdge(t *testing.T, n *nats, snapshots string) *running {
	t.Helper()
	conn := n.connect(t)
	e := &running{}
	var options follow.Options
	if snapshots != "" {
		store, err := follow.NewSnapshotStore(snapshots)
		if err != nil {
			t.Fatal(err)
		}
		options.Snapshots = store
	}
	e.followers = follow.NewSet(follow.SetOptions{
		Open: func(ctx context.Context, project string) (events.Log, error) {
			return natslog.Open(ctx, conn, project, natslog.Options{ReadOnly: true})
		},
		Follower: options,
	})
	service, err := edge.New(edge.Deps{Bus: conn, Followers: e.followers}, edge.Options{Handshakes: 10_000})
	if err != nil {
		t.Fatal(err)
	}
	e.Service = service
	mux := http.NewServeMux()
	service.Register(mux)
	mux.Handle("/", web.Unmatched(mux))
	e.server = httptest.NewServer(web.Middleware(nil, service.Literally(mux)))

	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	following, unfollow := context.WithCancel(context.WithoutCancel(t.Context()))
	var serving, followed sync.WaitGroup
	serving.Go(func() {
		if err := service.Run(ctx); err != nil && !errors.Is(err, context.Canceled) {
			t.Errorf("Run() = %v", err)
		}
	})
	followed.Go(func() { _ = e.followers.Run(following) })
	e.stop = sync.OnceFunc(func() {
		e.server.Close()
		cancel()
		serving.Wait()
		unfollow()
		followed.Wait()
		conn.Close()
	})
	t.Cleanup(e.stop)
	return e
}

// an answer is what came back.
type answer struct {
	status int
	header http.Header
	body   string
}

// plain asks for no encoding by itself, and keeps no connection open.
var plain = &http.Transport{DisableCompression: true, DisableKeepAlives: true}

// ask sends a request with a key in the header that SDKs use.
func (e *running) ask(t *testing.T, method, path, key, body string, header ...string) answer {
	t.Helper()
	var reader io.Reader
	if body != "" {
		reader = strings.NewReader(body)
	}
	r, err := http.NewRequestWithContext(t.Context(), method, e.server.URL+path, reader)
	if err != nil {
		t.Fatal(err)
	}
	if key != "" {
		r.Header.Set("STATSIG-API-KEY", key)
	}
	for i := 0; i+1 < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	res, err := plain.RoundTrip(r)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return answer{res.StatusCode, res.Header, string(text)}
}

// until asks again until the answer is as wanted.
func until(t *testing.T, what string, ask func() answer, ok func(answer) bool) answer {
	t.Helper()
	deadline := time.Now().Add(patience)
	for {
		a := ask()
		if ok(a) {
			return a
		}
		if time.Now().After(deadline) {
			t.Fatalf("waited for %s; the last answer was %d %v %s", what, a.status, a.header, a.body)
		}
		time.Sleep(5 * time.Millisecond) // between two questions, not instead of an event
	}
}
