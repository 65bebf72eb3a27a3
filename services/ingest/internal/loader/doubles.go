package loader

import (
	"context"
	"log/slog"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/sluice-flags/sluice/internal/lifecycle"
	"github.com/sluice-flags/sluice/internal/telemetry"
	"github.com/sluice-flags/sluice/internal/warehouse"
)

// Doubles watches, in the warehouse itself, that no fact is stored twice. All facts
// that were received lately are looked at, whoever loaded them, so one process
// that watches is enough.
type Doubles struct {
	warehouse func() *warehouse.DB
	logger    *slog.Logger
	rows      *prometheus.GaugeVec
}

const (
	doublesEvery  = time.Minute
	doublesSoon   = time.Second     // while there is no warehouse
	doublesAgain  = 5 * time.Second // after a look that failed
	doublesWithin = 15 * time.Minute
)

// NewDoubles returns a watch on the warehouse that the function returns; nil means
// that there is none yet.
func NewDoubles(db func() *warehouse.DB, logger *slog.Logger, reg prometheus.Registerer) *Doubles {
	rows := prometheus.NewGaugeVec(prometheus.GaugeOpts{
		Name: "event_dup_rows", Help: "Rows of the last quarter of an hour that have the id of another one, by table.",
	}, []string{"table"})
	return &Doubles{warehouse: db, logger: logger, rows: telemetry.Register(reg, rows)}
}

// Run looks once in a minute until ctx is done.
func (d *Doubles) Run(ctx context.Context) {
	defer d.rows.Reset() // somebody else says it from now on
	for {
		next := doublesSoon
		if db := d.warehouse(); db != nil {
			next = doublesEvery
			if err := d.look(ctx, db); err != nil && ctx.Err() == nil {
				next = doublesAgain
				d.rows.Reset() // nobody knows
				d.logger.WarnContext(ctx, "cannot tell whether facts are stored twice", slog.Any("error", err))
			}
		}
		if !lifecycle.Sleep(ctx, next) {
			return
		}
	}
}

func (d *Doubles) look(ctx context.Context, db *warehouse.DB) error {
	doubles, err := db.CountDoubles(ctx, time.Now().Add(-doublesWithin))
	if err != nil {
		return err
	}
	for table, n := range doubles {
		d.rows.WithLabelValues(table).Set(float64(n))
	}
	return nil
}
