package ingest

import (
	"cmp"
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
	"github.com/sluice-flags/sluice/internal/telemetry"
	"github.com/sluice-flags/sluice/internal/warehouse"
	"github.com/sluice-flags/sluice/internal/web"
)

// Settings are the flags of the program; their help is its reference.
type Settings struct {
	config.Common
	web.Settings

	Listen string `help:"Address that SDKs send to." default:"127.0.0.1:8083" placeholder:"HOST:PORT"`
	Ops    string `help:"Address of metrics, health and profiles, never a public one; empty for none." default:"127.0.0.1:9083" placeholder:"HOST:PORT"`

	NATS       bus.Settings       `embed:"" prefix:"nats-"`
	ClickHouse warehouse.Settings `embed:"" prefix:"clickhouse-"`

	Partitions int           `help:"Over how many partitions facts spread, at most 16. Raise it, never lower it." default:"1"`
	LoadLinger time.Duration `help:"How long a batch for ClickHouse gathers." default:"250ms"`
	Replay     time.Duration `help:"When the stream of facts is four fifths full, let go of the oldest, but of none that was loaded less than this ago (below 10m, a restart may no longer recognise every retry); 0 keeps all for 72 h, and refuses new ones when there is no room." default:"15m"`
	AcceptOnly bool          `help:"Accept facts, and leave loading to other processes."`
	Replicas   int           `help:"Copies of each new stream: 1, or 3 on a cluster." default:"1"`
}

// Main runs the service alone, against a NATS and a ClickHouse that others run,
// until ctx is done. Without an address of ClickHouse, or while nobody answers
// there, facts wait in the stream.
func Main(ctx context.Context, cfg *Settings) error {
	lg := cfg.Logger(os.Stderr)
	reg := telemetry.NewRegistry()
	conn, err := bus.Connect(ctx, cfg.NATS.Config("sluice-ingest", lg))
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
		Options{
			Limits: bus.Limits{Replicas: cfg.Replicas}, Partitions: cfg.Partitions, LoadLinger: cfg.LoadLinger,
			Replay: cmp.Or(cfg.Replay, -1), AcceptOnly: cfg.AcceptOnly,
		},
	)
	if err != nil {
		return err
	}
	mux := http.NewServeMux()
	service.Register(mux)
	mux.Handle("/", web.Unmatched(mux))
	front := &web.Server{Addr: cfg.Listen, Handler: web.Middleware(lg, cfg.Proxies.Handler(mux)), Drain: cfg.Drain / 2, Logger: lg}
	ops := &web.Server{Addr: cfg.Ops, Handler: telemetry.Ops(reg, service.Ready, service.Degraded), Logger: lg}
	if err := web.Listen(front, ops); err != nil {
		return err
	}
	lg.InfoContext(ctx, "ingest listens", slog.String("address", front.Address()), slog.String("ops", ops.Address()))
	return lifecycle.Run(ctx, cfg.Drain,
		lifecycle.Part{Name: "ops", Run: ops.Run},
		lifecycle.Part{Name: "bus", Run: conn.Run},
		lifecycle.Part{Name: "warehouse", Run: keeper.Runner(cfg.ClickHouse.Config())},
		lifecycle.Part{Name: "followers", Run: followers.Run},
		lifecycle.Part{Name: "ingest", Run: service.Run},
		lifecycle.Part{Name: "http", Run: front.Run},
	)
}
