package main

import (
	"context"
	"fmt"
	"log/slog"
	"path/filepath"
	"sync/atomic"
	"time"

	"github.com/sluice-flags/sluice/internal/lifecycle"
	"github.com/sluice-flags/sluice/internal/warehouse"
	"github.com/sluice-flags/sluice/internal/warehouse/embed"
)

// An engine is ClickHouse for this process: the embedded one as a child that is
// started again when it dies, or an outside one that the settings name.
type engine struct {
	settings *runSettings
	keeper   *warehouse.Keeper
	logger   *slog.Logger
	current  atomic.Pointer[embed.Engine]
	first    chan error    // how the first start went
	moved    chan struct{} // has one when the address may have changed
}

func newEngine(s *runSettings, logger *slog.Logger) *engine {
	return &engine{settings: s, keeper: warehouse.NewKeeper(logger), logger: logger, first: make(chan error, 1), moved: make(chan struct{}, 1)}
}

// restartAfter is how long a dead engine stays down, so that one that cannot
// live does not take the machine with it.
const restartAfter = time.Second

// Run keeps an engine running, and its warehouse open, until ctx is done.
func (e *engine) Run(ctx context.Context) error {
	if e.settings.ClickHouse.Addr != "" {
		e.first <- nil
		return e.keeper.Run(ctx, e.settings.ClickHouse.Config())
	}
	for started := false; ; started = true {
		child, err := embed.Start(ctx, embed.Options{
			Dir: filepath.Join(e.settings.Data, "clickhouse"), Library: e.settings.Engine, Logger: e.logger,
			AnalystPassword: e.settings.AnalystPassword.Reveal(),
		})
		if !started {
			e.first <- err
			if err != nil {
				return err
			}
		}
		if err != nil {
			e.logger.ErrorContext(ctx, "clickhouse engine did not start; facts wait in the stream", slog.Any("error", err))
		} else if err := e.watch(ctx, child); err != nil {
			e.logger.ErrorContext(ctx, "clickhouse engine died; starting it again", slog.Any("error", err))
		}
		if !lifecycle.Sleep(ctx, restartAfter) {
			return nil
		}
	}
}

// watch keeps the warehouse of one child open until the child dies, or until
// ctx is done and it has been stopped in order.
func (e *engine) watch(ctx context.Context, child *embed.Engine) error {
	e.current.Store(child)
	select {
	case e.moved <- struct{}{}:
	default: // whoever comes to look sees this one
	}
	open, shut := context.WithCancel(ctx)
	defer shut()
	closed := make(chan error, 1)
	go func() { closed <- e.keeper.Run(open, child.Config()) }() // ends with open

	select {
	case err := <-child.Done():
		shut()
		if gone := <-closed; gone != nil {
			e.logger.DebugContext(ctx, "closing the pool of a dead engine", slog.Any("error", gone))
		}
		return fmt.Errorf("pid %d: %w", child.PID(), err)
	case <-ctx.Done():
		shut()
		err := <-closed // the pool first: the engine waits for open connections
		child.Stop(context.WithoutCancel(ctx))
		return err
	}
}

// Ready returns once the embedded engine's warehouse is open, or cannot be. An
// outside one is not waited for: nothing that answers requests needs it.
func (e *engine) Ready(ctx context.Context) error {
	select {
	case err := <-e.first:
		if err != nil || e.settings.ClickHouse.Addr != "" {
			return err
		}
	case <-ctx.Done():
		return ctx.Err()
	}
	for e.keeper.DB() == nil {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(10 * time.Millisecond):
		}
	}
	return nil
}

// address is how to reach ClickHouse now. Only the embedded engine's analyst is
// known; whoever runs an outside one knows theirs.
func (e *engine) address() (native, analyst warehouse.Config, http string) {
	if child := e.current.Load(); child != nil {
		return child.Config(), child.Analyst(), child.HTTPAddr()
	}
	return e.settings.ClickHouse.Config(), warehouse.Config{}, ""
}
