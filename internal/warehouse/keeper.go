package warehouse

import (
	"context"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/sluice-flags/sluice/internal/lifecycle"
)

// retryAfter is how long a [Keeper] waits before it knocks again.
const retryAfter = 2 * time.Second

// A Keeper opens a warehouse as soon as it answers, and hands it out from then
// on. Services start and work without a warehouse: facts wait in the stream.
type Keeper struct {
	logger  *slog.Logger
	current atomic.Pointer[DB]
}

// NewKeeper returns a keeper without a warehouse. A nil logger discards.
func NewKeeper(logger *slog.Logger) *Keeper {
	if logger == nil {
		logger = slog.New(slog.DiscardHandler)
	}
	return &Keeper{logger: logger}
}

// DB returns the warehouse, migrated, or nil while there is none.
func (k *Keeper) DB() *DB { return k.current.Load() }

// Run opens and migrates the warehouse at c, trying until it answers, and keeps
// it until ctx is done. It may be called again with another address after it has
// returned.
func (k *Keeper) Run(ctx context.Context, c Config) error {
	for {
		db, err := openMigrated(ctx, c)
		if err == nil {
			k.current.Store(db)
			k.logger.InfoContext(ctx, "warehouse open", slog.String("address", c.String()))
			break
		}
		if ctx.Err() != nil {
			return nil
		}
		k.logger.WarnContext(ctx, "the warehouse is away; facts wait in the stream", slog.Any("error", err))
		if !lifecycle.Sleep(ctx, retryAfter) {
			return nil
		}
	}
	<-ctx.Done()
	return k.current.Swap(nil).Close()
}

func openMigrated(ctx context.Context, c Config) (*DB, error) {
	db, err := Open(ctx, c)
	if err != nil {
		return nil, err
	}
	if err := Migrate(ctx, db); err != nil {
		_ = db.Close() // the failure to migrate says more
		return nil, err
	}
	return db, nil
}

// Runner returns a part that keeps the warehouse at c, or nothing at all where c
// has no address.
func (k *Keeper) Runner(c Config) func(context.Context) error {
	return func(ctx context.Context) error {
		if c.Addr == "" {
			<-ctx.Done()
			return nil
		}
		return k.Run(ctx, c)
	}
}
