package edge

import (
	"context"
	"log/slog"
	"net/http"
	"os"
	"time"

	"github.com/sluice-flags/sluice/internal/bus"
	"github.com/sluice-flags/sluice/internal/bus/natslog"
	"github.com/sluice-flags/sluice/internal/config"
	"github.com/sluice-flags/sluice/internal/follow"
	"github.com/sluice-flags/sluice/internal/lifecycle"
	"github.com/sluice-flags/sluice/internal/lookup"
	"github.com/sluice-flags/sluice/internal/telemetry"
	"github.com/sluice-flags/sluice/internal/web"
)

// Settings are the flags of the program; their help is its reference.
type Settings struct {
	config.Common
	web.Settings

	Listen string `help:"Address that SDKs and live clients connect to." default:"127.0.0.1:8082" placeholder:"HOST:PORT"`
	Ops    string `help:"Address of metrics, health and profiles, never a public one; empty for none." default:"127.0.0.1:9082" placeholder:"HOST:PORT"`

	GRPC GRPC         `embed:"" prefix:"grpc-"`
	NATS bus.Settings `embed:"" prefix:"nats-"`

	Data  string `help:"Folder for the last state of each project, so that a restart can serve while NATS is away; empty for none." type:"path" placeholder:"DIR"`
	GeoIP string `name:"geoip" help:"Country table in MaxMind's format; without one, rules see only the country that users state." type:"existingfile" placeholder:"FILE"`

	PublicURL string `name:"public-url" help:"Address under which SDKs reach this edge, where it is not the one that their requests name: a proxy in front changes Host, or speaks TLS and is none of --proxies." placeholder:"URL"`

	MaxConnections int           `help:"Live connections that are held at once; more are refused." default:"50000"`
	Handshakes     int           `help:"New live connections that are taken in one second." default:"500"`
	Spread         time.Duration `help:"Time over which live clients are asked to come back after a restart." default:"30s"`
}

// Main runs the service alone, against a NATS that others run, until ctx is
// done.
func Main(ctx context.Context, cfg *Settings) error {
	lg := cfg.Logger(os.Stderr)
	reg := telemetry.NewRegistry()
	deps := Deps{Logger: lg, Registerer: reg}
	if cfg.GeoIP != "" {
		countries, err := lookup.OpenCountries(cfg.GeoIP)
		if err != nil {
			return err
		}
		defer countries.Close()
		deps.Country = countries
	}
	following := follow.Options{Logger: lg, Registerer: reg}
	if cfg.Data != "" {
		snapshots, err := follow.NewSnapshotStore(cfg.Data)
		if err != nil {
			return err
		}
		following.Snapshots = snapshots
	}
	conn, err := bus.Connect(ctx, cfg.NATS.Config("sluice-edge", lg))
	if err != nil {
		return err
	}
	deps.Bus = conn
	defer deps.Bus.Close()

	deps.Followers = follow.NewSet(follow.SetOptions{
		Open:     natslog.Reader(deps.Bus, lg, following.Registerer),
		Follower: following,
	})
	service, err := New(deps, Options{MaxConnections: cfg.MaxConnections, Handshakes: cfg.Handshakes, Spread: cfg.Spread, PublicURL: cfg.PublicURL, MaxStreams: cfg.GRPC.MaxStreams})
	if err != nil {
		return err
	}
	mux := http.NewServeMux()
	service.Register(mux)
	mux.Handle("/", web.Unmatched(mux))
	front := &web.Server{
		Addr: cfg.Listen, Handler: web.Middleware(lg, cfg.Proxies.Handler(service.Literally(mux))), Drain: cfg.Drain / 2, OnShutdown: service.Goodbye, Logger: lg,
	}
	ops := &web.Server{Addr: cfg.Ops, Handler: telemetry.Ops(reg, service.Ready), Logger: lg}
	if err := web.Listen(front, ops); err != nil {
		return err
	}
	streams, err := cfg.GRPC.Open()
	if err != nil {
		return err
	}
	lg.InfoContext(ctx, "edge listens", slog.String("address", front.Address()), slog.String("ops", ops.Address()))
	return lifecycle.Run(ctx, cfg.Drain,
		lifecycle.Part{Name: "ops", Run: ops.Run},
		lifecycle.Part{Name: "bus", Run: deps.Bus.Run},
		lifecycle.Part{Name: "followers", Run: deps.Followers.Run},
		lifecycle.Part{Name: "edge", Run: service.Run},
		lifecycle.Part{Name: "grpc", Run: func(ctx context.Context) error { return service.RunGRPC(ctx, streams) }},
		lifecycle.Part{Name: "http", Run: front.Run},
	)
}
