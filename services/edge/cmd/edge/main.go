// Command edge is the edge alone, against a NATS that runs elsewhere.
package main

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"net/netip"
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
	"github.com/sluice-flags/sluice/pkg/events"
	"github.com/sluice-flags/sluice/pkg/flags"
	"github.com/sluice-flags/sluice/services/edge"
)

// settings are the flags of the program; their help is its reference.
type settings struct {
	config.Common

	Listen    string `help:"Address that SDKs and live clients connect to." default:"127.0.0.1:8082" placeholder:"HOST:PORT"`
	OpsListen string `help:"Address of metrics, health and profiles; never a public one." default:"127.0.0.1:9082" placeholder:"HOST:PORT"`

	NATSURL         string `name:"nats-url" help:"Addresses of NATS, separated by commas." default:"nats://127.0.0.1:4222" placeholder:"URL"`
	NATSCredentials string `name:"nats-credentials" help:"File with the NATS user's credentials." type:"existingfile" placeholder:"FILE"`

	Snapshots string   `help:"Folder for the last state of each project, so that a restart can serve while NATS is away; empty for none." type:"path" placeholder:"DIR"`
	GeoIP     string   `name:"geoip" help:"Country table in MaxMind's format; without one, rules see only the country that users state." type:"existingfile" placeholder:"FILE"`
	Proxies   []string `help:"Networks of proxies whose X-Forwarded-For is believed." placeholder:"CIDR"`

	MaxConnections int           `help:"Live connections that are held at once; more are refused." default:"50000"`
	Handshakes     int           `help:"New live connections that are taken in one second." default:"500"`
	Spread         time.Duration `help:"Time over which live clients are asked to come back after a restart." default:"30s"`
}

func main() {
	config.Main("edge", "Answers what flags are, and pushes what changes.", run)
}

func run(ctx context.Context, s *settings) error {
	lg := s.Logger(os.Stderr)
	reg := telemetry.NewRegistry()
	options := edge.Options{MaxConnections: s.MaxConnections, Handshakes: s.Handshakes, Spread: s.Spread}
	for _, text := range s.Proxies {
		network, err := netip.ParsePrefix(text)
		if err != nil {
			return fmt.Errorf("--proxies: %q is not a network such as 10.0.0.0/8", text)
		}
		options.Proxies = append(options.Proxies, network)
	}
	deps := edge.Deps{Logger: lg, Registerer: reg}
	if s.GeoIP != "" {
		countries, err := lookup.OpenCountries(s.GeoIP)
		if err != nil {
			return err
		}
		defer countries.Close()
		deps.Country = countries
	}
	following := follow.Options{Logger: lg, Registerer: reg}
	if s.Snapshots != "" {
		store, err := follow.NewSnapshotStore(s.Snapshots)
		if err != nil {
			return err
		}
		following.Snapshots = store
	}
	conn, err := bus.Connect(ctx, bus.Config{URL: s.NATSURL, Credentials: s.NATSCredentials, Name: "sluice-edge", Logger: lg})
	if err != nil {
		return err
	}
	defer conn.Close()
	deps.Bus = conn

	var service *edge.Service // known before anybody asks for a project
	deps.Followers = follow.NewSet(follow.SetOptions{
		Open: func(ctx context.Context, project string) (events.Log, error) {
			return natslog.Open(ctx, conn, project, natslog.Options{ReadOnly: true, Logger: lg})
		},
		OnChange: func(project string, before, after *flags.State, changed []flags.Ref) {
			service.Changed(project, before, after, changed)
		},
		Follower: following,
	})
	if service, err = edge.New(deps, options); err != nil {
		return err
	}

	mux := http.NewServeMux()
	service.Register(mux)
	mux.Handle("/", web.NotFound())
	public := &web.Server{Addr: s.Listen, Handler: web.Middleware(lg, mux), Drain: s.Drain, Logger: lg}
	if err := public.Listen(); err != nil {
		return err
	}
	ops := &web.Server{Addr: s.OpsListen, Handler: telemetry.Ops(reg, service.Ready), Drain: s.Drain, Logger: lg}
	if err := ops.Listen(); err != nil {
		return err
	}
	lg.InfoContext(ctx, "edge listens", slog.String("address", public.Address()), slog.String("ops", ops.Address()))
	return lifecycle.Run(ctx, s.Drain,
		lifecycle.Part{Name: "ops", Run: ops.Run},
		lifecycle.Part{Name: "followers", Run: deps.Followers.Run},
		lifecycle.Part{Name: "edge", Run: service.Run},
		lifecycle.Part{Name: "http", Run: public.Run},
	)
}
