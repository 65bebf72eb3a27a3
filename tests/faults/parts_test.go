package faults

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"

	clickhouse "github.com/sluice-flags/sluice/internal/warehouse"
	"github.com/sluice-flags/sluice/internal/warehouse/embed"
	"github.com/sluice-flags/sluice/tests/harness"
)

// Parts are the platform in processes of their own, each of which can be killed
// and started again where it was.
//
//	senders ─▶ ingest, ingest ─▶ NATS
//	               └── gate ──▶ ClickHouse ◀── gate ── control
type parts struct {
	t             *testing.T
	nats          *broker
	engine        *engine
	control, edge *harness.Platform
	ingests       []*harness.Platform
	gates         []*gate // to ClickHouse, of each ingest
}

// startParts starts the services on a NATS that runs, with further arguments for
// ingest.
func startParts(t *testing.T, nats *broker, ingests int, args ...string) *parts {
	t.Helper()
	p := &parts{t: t, nats: nats, engine: startEngine(t)}
	options := func(g *gate) harness.Options {
		return harness.Options{
			Args: []string{"--nats-url", nats.url()},
			Env:  []string{"SLUICE_CLICKHOUSE_ADDR=" + g.address, "SLUICE_CLICKHOUSE_USER=" + p.engine.config().User, "SLUICE_CLICKHOUSE_PASSWORD=" + p.engine.config().Password},
		}
	}
	p.control = startControl(t, options(openGate(t, p.engine)))
	p.edge = harness.Start(t, harness.Options{Command: "edge", Args: []string{"--nats-url", nats.url()}})
	for range ingests {
		g := openGate(t, p.engine)
		o := options(g)
		o.Command, o.Args = "ingest", append(o.Args, args...)
		p.gates, p.ingests = append(p.gates, g), append(p.ingests, harness.Start(t, o))
	}
	return p
}

// at returns the project as one of the ingests has it.
func (p *parts) at(ingest int, shop *harness.Project) *harness.Project {
	there := *shop
	there.Platform = p.ingests[ingest]
	return &there
}

// warehouse connects to ClickHouse once it answers.
func (p *parts) warehouse() driver.Conn {
	p.t.Helper()
	var db driver.Conn
	harness.Within(p.t, startLimit, func() error {
		db = harness.OpenWarehouse(p.t, p.engine.config())
		return db.Ping(p.t.Context())
	})
	return db
}

// An engine is a ClickHouse that is started again whenever it dies: because a test
// killed it, or because a client was killed in the middle of its greeting, which
// an embedded engine does not survive.
type engine struct {
	t       *testing.T
	options embed.Options
	now     atomic.Pointer[embed.Engine]
	held    sync.Mutex // while a test wants none to run
}

func startEngine(t *testing.T) *engine {
	t.Helper()
	harness.NeedEngine(t)
	e := &engine{t: t, options: embed.Options{Dir: t.TempDir(), Password: rand.Text()}}
	if err := e.start(t.Context()); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	var work sync.WaitGroup
	work.Go(func() {
		for {
			select {
			case <-e.now.Load().Done():
			case <-ctx.Done():
				return
			}
			e.held.Lock()
			err := e.start(ctx)
			e.held.Unlock()
			if ctx.Err() == nil && err != nil {
				t.Errorf("starting the engine again: %v", err)
				return
			}
		}
	})
	t.Cleanup(func() {
		cancel()
		work.Wait()
		e.now.Load().Stop(context.Background())
	})
	return e
}

func (e *engine) start(ctx context.Context) error {
	started, err := embed.Start(ctx, e.options)
	if err == nil {
		e.now.Store(started)
	}
	return err
}

func (e *engine) config() clickhouse.Config { return e.now.Load().Config() }

// kill ends the engine as kill -9 does, and returns when another one answers.
func (e *engine) kill() error {
	dies := e.now.Load()
	_ = syscall.Kill(dies.PID(), syscall.SIGKILL) // it may have ended by itself
	return harness.Await(startLimit, func() error {
		if e.now.Load() == dies {
			return errors.New("the engine has not come back")
		}
		return nil
	})
}

// A gate stands between a service and ClickHouse: at one address, wherever the
// engine is. It takes leave of the engine in order, whoever dies.
type gate struct {
	address string
	engine  *engine
	armed   atomic.Pointer[func()]
}

// position is how the statement begins that follows the insert of a batch.
var position = []byte("INSERT INTO load_progress")

func openGate(t *testing.T, e *engine) *gate {
	t.Helper()
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	g := &gate{address: l.Addr().String(), engine: e}
	var open sync.WaitGroup
	t.Cleanup(func() { _ = l.Close(); open.Wait() })
	open.Go(func() {
		for {
			client, err := l.Accept()
			if err != nil {
				return
			}
			open.Go(func() { g.pass(client) })
		}
	})
	return g
}

// atPosition makes g call kill, once, when a loader has inserted a batch and says
// how far it is, which g then keeps to itself.
func (g *gate) atPosition(kill func()) { g.armed.Store(&kill) }

func (g *gate) disarm() { g.armed.Store(nil) }

func (g *gate) pass(client net.Conn) {
	defer client.Close()
	server, err := net.Dial("tcp4", g.engine.config().Addr)
	if err != nil {
		return
	}
	defer server.Close()
	var back sync.WaitGroup
	defer back.Wait()
	back.Go(func() {
		_, _ = io.Copy(client, server)
		_, _ = io.Copy(io.Discard, server) // to its end, whoever has gone
		_ = client.Close()
	})
	g.forward(server, client)
	_ = server.(*net.TCPConn).CloseWrite()
}

// forward copies what the client says, up to a position if g is armed.
func (g *gate) forward(server, client net.Conn) {
	block := make([]byte, 64<<10)
	var said []byte // the end of what was said before, and what is said now
	for {
		n, err := client.Read(block)
		said = append(said[max(0, len(said)-len(position)):], block[:n]...)
		if kill := g.armed.Load(); kill != nil && bytes.Contains(said, position) && g.armed.CompareAndSwap(kill, nil) {
			(*kill)()
			return
		}
		if _, wrote := server.Write(block[:n]); err != nil || wrote != nil {
			return
		}
	}
}
