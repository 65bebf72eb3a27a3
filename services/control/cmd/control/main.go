// Command control runs the control service alone, against a NATS that others
// run.
package main

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"sync/atomic"
	"time"

	"github.com/sluice-flags/sluice/internal/bus"
	"github.com/sluice-flags/sluice/internal/bus/natslog"
	"github.com/sluice-flags/sluice/internal/config"
	"github.com/sluice-flags/sluice/internal/follow"
	"github.com/sluice-flags/sluice/internal/lifecycle"
	"github.com/sluice-flags/sluice/internal/telemetry"
	"github.com/sluice-flags/sluice/internal/warehouse"
	"github.com/sluice-flags/sluice/internal/web"
	"github.com/sluice-flags/sluice/pkg/events"
	"github.com/sluice-flags/sluice/services/control"
)

// settings are the flags of the program; their help is its reference.
type settings struct {
	config.Common
	Listen          string        `help:"Address of the management interface." default:"127.0.0.1:8081" placeholder:"HOST:PORT"`
	Ops             string        `help:"Address of metrics, health and profiles; empty for none." default:"127.0.0.1:9081" placeholder:"HOST:PORT"`
	NATSURL         string        `name:"nats-url" help:"Addresses of NATS, separated by commas." default:"nats://127.0.0.1:4222" placeholder:"URL"`
	NATSCredentials string        `name:"nats-credentials" help:"File with the NATS user's credentials." placeholder:"FILE"`
	Replicas        int           `help:"Copies of each new stream: 1, or 3 on a cluster." default:"1"`
	HeadDir         string        `help:"Folder for each log's head, outside NATS." placeholder:"DIR"`
	AdminKey        config.Secret `help:"A key of the organisation that is let in, console-_org-…; @FILE reads it from a file." placeholder:"KEY"`
	ClickHouse      string        `name:"clickhouse" help:"Address of ClickHouse's native port; empty for no results." placeholder:"HOST:PORT"`
	ClickHouseUser  string        `name:"clickhouse-user" help:"ClickHouse user." default:"sluice"`
	ClickHousePass  config.Secret `name:"clickhouse-password" help:"ClickHouse password; @FILE reads it from a file."`
	ClickHouseDB    string        `name:"clickhouse-database" help:"ClickHouse database." default:"sluice"`
	FixedProjects   bool          `help:"Make no streams: somebody with other credentials does."`
}

func main() {
	config.Main("control", "The management interface of Sluice: definitions, their history, results.", run)
}

func run(ctx context.Context, cfg *settings) error {
	lg := cfg.Logger(os.Stderr)
	reg := telemetry.NewRegistry()
	front := &web.Server{Addr: cfg.Listen, Drain: cfg.Drain / 2, Logger: lg}
	ops := &web.Server{Addr: cfg.Ops, Logger: lg}
	if err := front.Listen(); err != nil {
		return err
	}

	conn, err := bus.Connect(ctx, bus.Config{URL: cfg.NATSURL, Credentials: cfg.NATSCredentials, Name: "control", Logger: lg})
	if err != nil {
		return err
	}
	defer conn.Close()
	followers := follow.NewSet(follow.SetOptions{
		Open: func(ctx context.Context, id string) (events.Log, error) {
			return natslog.Open(ctx, conn, id, natslog.Options{ReadOnly: true, Logger: lg})
		},
		Follower: follow.Options{Logger: lg, Registerer: reg},
	})
	var db atomic.Pointer[warehouse.DB]
	service, err := control.New(
		control.Deps{Bus: conn, Followers: followers, Warehouse: db.Load, Logger: lg, Registerer: reg},
		control.Options{HeadDir: cfg.HeadDir, Limits: bus.Limits{Replicas: cfg.Replicas}, FixedProjects: cfg.FixedProjects},
	)
	if err != nil {
		return err
	}
	mux := http.NewServeMux()
	service.Register(mux)
	mux.Handle("/", web.NotFound())
	front.Handler = web.Middleware(lg, mux)
	ops.Handler = telemetry.Ops(reg, service.Ready)

	parts := []lifecycle.Part{
		{Name: "bus", Run: busPart(conn)},
		{Name: "followers", Run: followers.Run},
		{Name: "admin", Run: admin(conn, service, cfg)},
		{Name: "control", Run: service.Run},
		{Name: "http", Run: front.Run},
	}
	if cfg.ClickHouse != "" {
		parts = append(parts, lifecycle.Part{Name: "warehouse", Run: openWarehouse(cfg, &db, lg)})
	}
	if cfg.Ops != "" {
		parts = append(parts, lifecycle.Part{Name: "ops", Run: ops.Run})
	}
	return lifecycle.Run(ctx, cfg.Drain, parts...)
}

// busPart holds the connection open until everybody else has stopped.
func busPart(conn *bus.Conn) func(context.Context) error {
	return func(ctx context.Context) error {
		<-ctx.Done()
		return conn.Drain(context.WithoutCancel(ctx))
	}
}

// admin sees to the organisation's key once NATS answers. A key that had to be
// made is printed: there is nobody else to tell, and no other time.
func admin(conn *bus.Conn, service *control.Service, cfg *settings) func(context.Context) error {
	return func(ctx context.Context) error {
		if err := conn.Wait(ctx); err != nil {
			return nil // stopped while waiting
		}
		made, err := service.EnsureAdmin(ctx, cfg.AdminKey.Reveal())
		if err != nil {
			return err
		}
		if made != "" {
			fmt.Fprintf(os.Stdout, "admin key, shown this once: %s\n", made)
		}
		<-ctx.Done()
		return nil
	}
}

// openWarehouse connects to ClickHouse as soon as it answers. Until then there
// are no results, and everything else goes on.
func openWarehouse(cfg *settings, into *atomic.Pointer[warehouse.DB], lg *slog.Logger) func(context.Context) error {
	where := warehouse.Config{Addr: cfg.ClickHouse, User: cfg.ClickHouseUser, Password: cfg.ClickHousePass.Reveal(), Database: cfg.ClickHouseDB}
	return func(ctx context.Context) error {
		for {
			db, err := warehouse.Open(ctx, where)
			if err == nil {
				into.Store(db)
				<-ctx.Done()
				return db.Close()
			}
			lg.WarnContext(ctx, "warehouse not reached", slog.Any("error", err))
			select {
			case <-ctx.Done():
				return nil
			case <-time.After(5 * time.Second):
			}
		}
	}
}
