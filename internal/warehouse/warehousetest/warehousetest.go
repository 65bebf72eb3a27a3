// Package warehousetest gives tests a real ClickHouse: one engine for all tests
// of a package, started by the first that asks.
//
// A package that uses it has
//
//	func TestMain(m *testing.M) { warehousetest.Main(m) }
//
// Where the engine is not installed its tests are skipped, and with
// REQUIRE_ENGINE=1 they fail.
package warehousetest

import (
	"context"
	"crypto/rand"
	"errors"
	"log/slog"
	"os"
	"strings"
	"sync"
	"testing"

	"github.com/sluice-flags/sluice/internal/warehouse"
	"github.com/sluice-flags/sluice/internal/warehouse/embed"
)

var (
	mu      sync.Mutex
	running *embed.Engine
	folder  string
)

// Main is the TestMain of a package. It does not return.
func Main(m *testing.M) {
	embed.RunChildIfAsked()
	code := m.Run()
	if running != nil {
		running.Stop(context.Background())
	}
	if folder != "" {
		os.RemoveAll(folder)
	}
	os.Exit(code)
}

// Need skips t, or fails it if REQUIRE_ENGINE=1, where the engine is not installed.
func Need(t testing.TB) {
	t.Helper()
	switch _, err := embed.FindLibrary(); {
	case err == nil:
	case errors.Is(err, embed.ErrNoLibrary) && os.Getenv("REQUIRE_ENGINE") != "1":
		t.Skip(err)
	default:
		t.Fatal(err)
	}
}

// Engine returns the package's engine. One that has died since the last test is
// started again on its folder, as every program does: a client that leaves in
// the middle of its greeting is enough to end it (see [embed.Engine]).
func Engine(t testing.TB) *embed.Engine {
	t.Helper()
	Need(t)
	mu.Lock()
	defer mu.Unlock()
	if running != nil {
		select {
		case err := <-running.Done():
			t.Logf("the engine died after an earlier test and is started again: %v", err)
		default:
			return running
		}
	}
	var err error
	if folder == "" {
		if folder, err = os.MkdirTemp("", "warehousetest"); err != nil {
			t.Fatal(err)
		}
	}
	running, err = embed.Start(context.Background(), embed.Options{Dir: folder, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	return running
}

// Folder is where the engine keeps everything, for tests that search its files.
func Folder() string {
	mu.Lock()
	defer mu.Unlock()
	return folder
}

// Open returns the package's warehouse, migrated, and closes it after t. Tests
// share its tables: each keeps to a [Project] of its own.
func Open(t testing.TB) *warehouse.DB {
	t.Helper()
	db, err := warehouse.Open(t.Context(), Engine(t).Config())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	if err := warehouse.Migrate(t.Context(), db); err != nil {
		t.Fatal(err)
	}
	return db
}

// Project returns an id of a project that no other test has.
func Project() string { return "p" + strings.ToLower(rand.Text()[:12]) }
