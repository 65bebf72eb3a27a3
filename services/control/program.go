package control

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"os"

	"github.com/sluice-flags/sluice/internal/bus"
	"github.com/sluice-flags/sluice/internal/bus/natslog"
	"github.com/sluice-flags/sluice/internal/config"
	"github.com/sluice-flags/sluice/internal/follow"
	"github.com/sluice-flags/sluice/internal/lifecycle"
	"github.com/sluice-flags/sluice/internal/telemetry"
	"github.com/sluice-flags/sluice/internal/warehouse"
	"github.com/sluice-flags/sluice/internal/web"
)

// Settings are the flags of the program; their help is its reference.
type Settings struct {
	config.Common
	web.Settings

	Listen string `help:"Address of the management interface." default:"127.0.0.1:8081" placeholder:"HOST:PORT"`
	Ops    string `help:"Address of metrics, health and profiles, never a public one; empty for none." default:"127.0.0.1:9081" placeholder:"HOST:PORT"`

	NATS       bus.Settings       `embed:"" prefix:"nats-"`
	ClickHouse warehouse.Settings `embed:"" prefix:"clickhouse-"`

	Data          string        `help:"Folder for each log's head, outside NATS, so that a NATS that lost data is noticed; empty for none." type:"path" placeholder:"DIR"`
	AdminKey      config.Secret `help:"A key of the organisation that is let in, console-_org-…; @FILE reads it from a file." placeholder:"KEY"`
	Replicas      int           `help:"Copies of each new stream: 1, or 3 on a cluster." default:"1"`
	FixedProjects bool          `help:"Make no streams: somebody with other credentials does."`
}

// Main runs the service alone, against a NATS and a ClickHouse that others run,
// until ctx is done. Without an address of ClickHouse there are no results.
func Main(ctx context.Context, cfg *Settings) error {
	lg := cfg.Logger(os.Stderr)
	reg := telemetry.NewRegistry()
	conn, err := bus.Connect(ctx, cfg.NATS.Config("sluice-control", lg))
	if err != nil {
		return err
	}
	defer conn.Close()
	followers := follow.NewSet(follow.SetOptions{
		Open:     natslog.Reader(conn, lg, reg),
		Follower: follow.Options{Logger: lg, Registerer: reg},
	})
	keeper := warehouse.NewKeeper(lg)
	service, err := New(
		Deps{Bus: conn, Followers: followers, Warehouse: keeper.DB, Logger: lg, Registerer: reg},
		Options{HeadDir: cfg.Data, Limits: bus.Limits{Replicas: cfg.Replicas}, FixedProjects: cfg.FixedProjects},
	)
	if err != nil {
		return err
	}
	mux := http.NewServeMux()
	service.Register(mux)
	mux.Handle("/", web.Unmatched(mux))
	front := &web.Server{Addr: cfg.Listen, Handler: web.Middleware(lg, cfg.Proxies.Handler(mux)), Drain: cfg.Drain / 2, Logger: lg}
	admitted := make(chan struct{})
	ready := func() error {
		select {
		case <-admitted:
			return service.Ready()
		default:
			return errors.New("the organisation's key is not let in yet")
		}
	}
	ops := &web.Server{Addr: cfg.Ops, Handler: telemetry.Ops(reg, ready), Logger: lg}
	if err := web.Listen(front, ops); err != nil {
		return err
	}
	lg.InfoContext(ctx, "control listens", slog.String("address", front.Address()), slog.String("ops", ops.Address()))
	return lifecycle.Run(ctx, cfg.Drain,
		lifecycle.Part{Name: "ops", Run: ops.Run},
		lifecycle.Part{Name: "bus", Run: conn.Run},
		lifecycle.Part{Name: "warehouse", Run: keeper.Runner(cfg.ClickHouse.Config())},
		lifecycle.Part{Name: "followers", Run: followers.Run},
		lifecycle.Part{Name: "admin", Run: service.admin(cfg.AdminKey, admitted)},
		lifecycle.Part{Name: "control", Run: service.Run},
		lifecycle.Part{Name: "http", Run: front.Run},
	)
}

// admin sees to the organisation's key once NATS answers. A key that had to be
// made is printed: there is nobody else to tell, and no other time.
// Then it closes admitted.
func (s *Service) admin(key config.Secret, admitted chan<- struct{}) func(context.Context) error {
	return func(ctx context.Context) error {
		if err := s.deps.Bus.Wait(ctx); err != nil {
			return nil // stopped while waiting
		}
		made, err := s.EnsureAdmin(ctx, key.Reveal())
		if err != nil {
			return err
		}
		if made != "" {
			fmt.Fprintf(os.Stdout, "admin key, shown this once: %s\n", made)
		}
		close(admitted)
		<-ctx.Done()
		return nil
	}
}
