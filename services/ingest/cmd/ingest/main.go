// Command ingest is the ingest service alone, against a NATS and a ClickHouse
// that run elsewhere.
package main

import (
	"context"
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
	"github.com/sluice-flags/sluice/services/ingest"
)

type settings struct {
	config.Common

	Listen    string `help:"Address that SDKs send to." default:"127.0.0.1:8083" placeholder:"HOST:PORT"`
	OpsListen string `help:"Address of metrics, health and profiles; never a public one." default:"127.0.0.1:9083" placeholder:"HOST:PORT"`

	NATSURL         string `name:"nats-url" help:"Addresses of NATS, separated by commas." default:"nats://127.0.0.1:4222" placeholder:"URL"`
	NATSCredentials string `name:"nats-credentials" help:"File with the NATS user's credentials." type:"existingfile" placeholder:"FILE"`

	ClickHouseAddr     string        `name:"clickhouse-addr" help:"Addresses of ClickHouse's native protocol, separated by commas." default:"127.0.0.1:9000" placeholder:"HOST:PORT"`
	ClickHouseUser     string        `name:"clickhouse-user" help:"User of ClickHouse." default:"sluice"`
	ClickHousePassword config.Secret `name:"clickhouse-password" help:"Password of that user." placeholder:"TEXT"`
	ClickHouseDatabase string        `name:"clickhouse-database" help:"Database of the facts." default:"sluice"`
	ClickHouseTLS      bool          `name:"clickhouse-tls" help:"Speak TLS with ClickHouse."`

	Partitions int           `help:"Over how many partitions facts spread; raise it, never lower it." default:"1"`
	LoadLinger time.Duration `help:"How long a batch for ClickHouse gathers." default:"250ms"`
	AcceptOnly bool          `help:"Accept facts and leave loading to other processes."`
	Replicas   int           `help:"Replicas of streams that have to be made: 1, 3 or 5." default:"1"`
}

func main() {
	config.Main("ingest", "Accepts exposures and events, and loads each into ClickHouse exactly once.", run)
}

func run(ctx context.Context, s *settings) error {
	lg := s.Logger(os.Stderr)
	reg := telemetry.NewRegistry()
	conn, err := bus.Connect(ctx, bus.Config{URL: s.NATSURL, Credentials: s.NATSCredentials, Name: "sluice-ingest", Logger: lg})
	if err != nil {
		return err
	}
	defer conn.Close()

	followers := follow.NewSet(follow.SetOptions{
		Open: func(ctx context.Context, project string) (events.Log, error) {
			return natslog.Open(ctx, conn, project, natslog.Options{ReadOnly: true, Logger: lg})
		},
		Follower: follow.Options{Logger: lg, Registerer: reg},
	})
	db := &opener{settings: s, logger: lg}
	defer db.close()

	service, err := ingest.New(
		ingest.Deps{Bus: conn, Followers: followers, Warehouse: db.get, Logger: lg, Registerer: reg},
		ingest.Options{Partitions: s.Partitions, LoadLinger: s.LoadLinger, AcceptOnly: s.AcceptOnly, Limits: bus.Limits{Replicas: s.Replicas}})
	if err != nil {
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
	lg.InfoContext(ctx, "ingest listens", slog.String("address", public.Address()), slog.String("ops", ops.Address()))
	return lifecycle.Run(ctx, s.Drain,
		lifecycle.Part{Name: "ops", Run: ops.Run},
		lifecycle.Part{Name: "warehouse", Run: db.run},
		lifecycle.Part{Name: "followers", Run: followers.Run},
		lifecycle.Part{Name: "ingest", Run: service.Run},
		lifecycle.Part{Name: "http", Run: public.Run},
	)
}

// An opener opens the warehouse as soon as it answers.
type opener struct {
	settings *settings
	logger   *slog.Logger
	db       atomic.Pointer[warehouse.DB]
}

func (o *opener) get() *warehouse.DB { return o.db.Load() }

func (o *opener) close() {
	if db := o.db.Load(); db != nil {
		_ = db.Close()
	}
}

// run opens and migrates the warehouse, trying until it answers, and then waits
// for the end.
func (o *opener) run(ctx context.Context) error {
	for o.db.Load() == nil && !o.settings.AcceptOnly {
		err := o.open(ctx)
		if err == nil {
			break
		}
		if ctx.Err() != nil {
			return nil
		}
		o.logger.WarnContext(ctx, "the warehouse is away; facts wait in the stream", slog.Any("error", err))
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(2 * time.Second):
		}
	}
	<-ctx.Done()
	return nil
}

func (o *opener) open(ctx context.Context) error {
	s := o.settings
	db, err := warehouse.Open(ctx, warehouse.Config{
		Addr: s.ClickHouseAddr, User: s.ClickHouseUser, Password: s.ClickHousePassword.Reveal(), Database: s.ClickHouseDatabase, TLS: s.ClickHouseTLS,
	})
	if err != nil {
		return err
	}
	if err := warehouse.Migrate(ctx, db); err != nil {
		_ = db.Close()
		return err
	}
	o.db.Store(db)
	return nil
}
