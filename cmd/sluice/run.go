package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/sluice-flags/sluice/internal/bus"
	natsembed "github.com/sluice-flags/sluice/internal/bus/embed"
	"github.com/sluice-flags/sluice/internal/bus/natslog"
	"github.com/sluice-flags/sluice/internal/config"
	"github.com/sluice-flags/sluice/internal/follow"
	"github.com/sluice-flags/sluice/internal/lifecycle"
	"github.com/sluice-flags/sluice/internal/lookup"
	"github.com/sluice-flags/sluice/internal/telemetry"
	"github.com/sluice-flags/sluice/internal/warehouse"
	"github.com/sluice-flags/sluice/internal/web"
	"github.com/sluice-flags/sluice/services/control"
	"github.com/sluice-flags/sluice/services/edge"
	"github.com/sluice-flags/sluice/services/ingest"
)

// runSettings are the flags of `sluice run`.
type runSettings struct {
	config.Common
	web.Settings

	Data       string    `help:"Folder that holds everything." default:"data" type:"path" placeholder:"DIR"`
	Listen     string    `help:"Address of every endpoint." default:"127.0.0.1:8080" placeholder:"HOST:PORT"`
	Ops        string    `help:"Address of metrics, health and profiles; empty for none." default:"127.0.0.1:9080" placeholder:"HOST:PORT"`
	NATSListen string    `name:"nats-listen" help:"Address on which other processes may join the embedded NATS; empty for none." placeholder:"HOST:PORT"`
	GRPC       edge.GRPC `embed:"" prefix:"grpc-"`
	GeoIP      string    `name:"geoip" help:"Country table in MaxMind's format; without one, rules see only the country that users state." type:"existingfile" placeholder:"FILE"`

	ClickHouse warehouse.Settings `embed:"" prefix:"clickhouse-"`
	Engine     string             `help:"Shared library of the embedded ClickHouse engine; found under node_modules if empty." type:"path" env:"SLUICE_ENGINE_LIB" placeholder:"FILE"`

	AnalystPassword config.Secret `help:"Password of the embedded engine's read-only user, analyst; a new one at each start if empty. @FILE reads it from a file." placeholder:"TEXT"`

	Demo     bool   `help:"Make a demo project and send it traffic with known effects."`
	DemoSeed uint64 `help:"Decides who the demo's visitors are." default:"1" placeholder:"N"`
}

// A platform is every part in one process.
//
//	nats ─▶ bus ─▶ followers ─▶ control, edge, ingest ─▶ http
//	engine ─▶ warehouse ───────────┘              demo ─▶ http
type platform struct {
	settings *runSettings
	logger   *slog.Logger
	registry *prometheus.Registry

	nats      *natsembed.Server
	bus       *bus.Conn
	followers *follow.Set
	engine    *engine
	control   *control.Service
	edge      *edge.Service
	ingest    *ingest.Service
	front     *web.Server
	streams   net.Listener // nil: no gRPC
	ops       *web.Server
	mux       *http.ServeMux
	admitted  chan struct{} // closed when the admin key is in its file
}

// run starts the platform and blocks until ctx is done or a part fails.
func run(ctx context.Context, s *runSettings) error {
	p := &platform{settings: s, logger: s.Logger(os.Stderr), registry: telemetry.NewRegistry(), mux: http.NewServeMux(), admitted: make(chan struct{})}
	// What a person can do something about is tried first, the slow parts last.
	if err := p.listen(); err != nil {
		return err
	}
	if err := os.MkdirAll(s.Data, 0o700); err != nil {
		return fmt.Errorf("the data folder cannot be made (%w): choose another with --data", err)
	}
	if err := p.connect(ctx); err != nil {
		return err
	}
	defer p.bus.Close()
	if err := p.assemble(); err != nil {
		return errors.Join(err, p.nats.Close())
	}
	return lifecycle.Run(ctx, s.Drain, p.parts()...)
}

// listen opens the addresses, so that one in use is known before anything else
// has begun.
func (p *platform) listen() (err error) {
	if p.streams, err = p.settings.GRPC.Open(); err != nil {
		return err
	}
	p.front = &web.Server{Addr: p.settings.Listen, Drain: p.settings.Drain / 2, Logger: p.logger}
	p.ops = &web.Server{Addr: p.settings.Ops, Handler: telemetry.Ops(p.registry, p.ready, p.degraded), Logger: p.logger}
	return web.Listen(p.front, p.ops)
}

// connect starts the embedded broker and connects to it.
func (p *platform) connect(ctx context.Context) (err error) {
	p.nats, err = natsembed.Start(natsembed.Options{
		Dir: filepath.Join(p.settings.Data, "nats"), Listen: p.settings.NATSListen, Logger: p.logger,
	})
	if _, address := errors.AsType[*natsembed.AddressError](err); address {
		return fmt.Errorf("--nats-listen (SLUICE_NATS_LISTEN): %w", err)
	}
	if err != nil {
		return err
	}
	p.bus, err = bus.Connect(ctx, bus.Config{InProcess: p.nats, Name: "sluice", Logger: p.logger})
	if err != nil {
		return errors.Join(err, p.nats.Close())
	}
	return nil
}

// assemble makes the services and joins them on one listener.
func (p *platform) assemble() (err error) {
	snapshots, err := follow.NewSnapshotStore(filepath.Join(p.settings.Data, "edge"))
	if err != nil {
		return err
	}
	p.followers = follow.NewSet(follow.SetOptions{
		Open:     natslog.Reader(p.bus, p.logger, p.registry),
		Follower: follow.Options{Logger: p.logger, Registerer: p.registry, Snapshots: snapshots},
	})
	p.engine = newEngine(p.settings, p.logger)

	p.control, err = control.New(
		control.Deps{Bus: p.bus, Followers: p.followers, Warehouse: p.engine.keeper.DB, Logger: p.logger, Registerer: p.registry},
		control.Options{HeadDir: filepath.Join(p.settings.Data, "heads")})
	if err != nil {
		return err
	}
	deps := edge.Deps{Bus: p.bus, Followers: p.followers, Logger: p.logger, Registerer: p.registry}
	if p.settings.GeoIP != "" {
		countries, err := lookup.OpenCountries(p.settings.GeoIP) // held until the process ends
		if err != nil {
			return err
		}
		deps.Country = countries
	}
	if p.edge, err = edge.New(deps, edge.Options{MaxStreams: p.settings.GRPC.MaxStreams}); err != nil {
		return err
	}
	p.ingest, err = ingest.New(
		ingest.Deps{Bus: p.bus, Followers: p.followers, Warehouse: p.engine.keeper.DB, Logger: p.logger, Registerer: p.registry},
		ingest.Options{})
	if err != nil {
		return err
	}
	p.control.Register(p.mux)
	p.edge.Register(p.mux)
	p.front.Handler = web.Middleware(p.logger, p.settings.Proxies.Handler(p.edge.Literally(p.mux)))
	p.front.OnShutdown = p.edge.Goodbye
	p.ingest.Register(p.mux)
	p.mux.Handle("/", web.Unmatched(p.mux))
	return nil
}

// parts are started in this order and stopped in reverse: listeners drain while
// state still flows, and the broker goes last so that pending acknowledgements
// can leave.
func (p *platform) parts() []lifecycle.Part {
	return []lifecycle.Part{
		{Name: "ops", Run: p.ops.Run},
		{Name: "nats", Run: p.runNATS},
		{Name: "bus", Run: p.bus.Run},
		{Name: "engine", Run: p.engine.Run, Ready: p.engine.Ready},
		{Name: "followers", Run: p.followers.Run},
		{Name: "admin", Run: p.runAdmin, Ready: p.awaitAdmin},
		{Name: "control", Run: p.control.Run},
		{Name: "edge", Run: p.edge.Run},
		{Name: "ingest", Run: p.ingest.Run},
		{Name: "grpc", Run: func(ctx context.Context) error { return p.edge.RunGRPC(ctx, p.streams) }},
		{Name: "http", Run: p.front.Run},
		{Name: "addresses", Run: p.runAddresses},
		{Name: "hello", Run: p.runHello},
	}
}

func (p *platform) runNATS(ctx context.Context) error {
	<-ctx.Done()
	return p.nats.Close()
}

// ready is nil when every part that answers requests can.
func (p *platform) ready() error {
	if p.control == nil || p.edge == nil || p.ingest == nil {
		return errors.New("starting")
	}
	return errors.Join(p.control.Ready(), p.edge.Ready(), p.ingest.Ready())
}

// degraded says what does not work although everything answers.
func (p *platform) degraded() error { return p.ingest.Degraded() }

const adminFile = "admin.key"

// runAdmin lets the key in admin.key in. The first start makes one, and so does
// one after the file was lost: who owns the folder owns the organisation. The
// file comes first, so that no crash leaves a key that nobody knows.
func (p *platform) runAdmin(ctx context.Context) error {
	key, err := p.adminKey()
	if errors.Is(err, fs.ErrNotExist) {
		key = control.NewAdminKey()
		err = os.WriteFile(p.adminPath(), []byte(key+"\n"), 0o600)
	}
	if err != nil {
		return fmt.Errorf("keeping the admin key: %w", err)
	}
	if _, err := p.control.EnsureAdmin(ctx, key); err != nil {
		return err
	}
	close(p.admitted)
	<-ctx.Done()
	return nil
}

func (p *platform) awaitAdmin(ctx context.Context) error {
	select {
	case <-p.admitted:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (p *platform) adminPath() string { return filepath.Join(p.settings.Data, adminFile) }

// adminKey reads the key that may do everything.
func (p *platform) adminKey() (string, error) {
	raw, err := os.ReadFile(p.adminPath())
	return strings.TrimSpace(string(raw)), err
}

// runAddresses keeps run.json true: an engine that had to be started again has
// another address and another password.
func (p *platform) runAddresses(ctx context.Context) error {
	if !p.untilReady(ctx) {
		return nil
	}
	for {
		if err := p.addresses().save(p.settings.Data); err != nil {
			return fmt.Errorf("keeping %s: %w", addressesFile, err)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-p.engine.moved:
		}
	}
}

// untilReady waits until the platform answers. It says false when ctx ends first.
func (p *platform) untilReady(ctx context.Context) bool {
	for p.ready() != nil {
		select {
		case <-ctx.Done():
			return false
		case <-time.After(10 * time.Millisecond):
		}
	}
	return true
}
