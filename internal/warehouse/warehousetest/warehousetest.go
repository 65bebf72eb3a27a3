// Package warehousetest gives tests a real ClickHouse: one engine for all tests
// of a package, started by the first that asks.
//
// A package that uses it has
//
//	func TestMain(m *testing.M) { warehousetest.Main(m) }
//
// Where the engine is not installed its tests are skipped, and with
// REQUIRE_ENGINE=1 they fail.
//
// SLUICE_TEST_CLICKHOUSE=clickhouse://user:password@host:port names a server for
// the tests that only ask for a warehouse ([Config], [Open], [Empty]); a test
// process makes a database of its own there, and drops it. Tests of the engine
// itself, which kill it or read its files, stay on it and say so in their log.
package warehousetest

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
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
	shared  *warehouse.DB // on the named server, in this process's database
)

// Main is the TestMain of a package. It does not return.
func Main(m *testing.M) {
	embed.RunChildIfAsked()
	code := m.Run()
	if shared != nil {
		if err := drop(shared); err != nil {
			fmt.Fprintln(os.Stderr, err)
			code = 1
		}
	}
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
	if os.Getenv(serverVariable) != "" {
		t.Log(StaysOnEngine)
	}
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

// Config is how to reach the warehouse that the package's tests share.
func Config(t testing.TB) warehouse.Config {
	t.Helper()
	if os.Getenv(serverVariable) == "" {
		return Engine(t).Config()
	}
	mu.Lock()
	defer mu.Unlock()
	if shared == nil {
		shared = create(t)
	}
	return shared.Config()
}

// Empty is how to reach a warehouse that nobody has migrated and no other test
// shares. It is gone after t.
func Empty(t testing.TB) warehouse.Config {
	t.Helper()
	if os.Getenv(serverVariable) == "" {
		Need(t)
		engine, err := embed.Start(t.Context(), embed.Options{Dir: t.TempDir(), Logger: slog.New(slog.DiscardHandler)})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { engine.Stop(context.Background()) })
		return engine.Config()
	}
	db := create(t)
	t.Cleanup(func() {
		if err := drop(db); err != nil {
			t.Error(err)
		}
	})
	return db.Config()
}

// Open returns the package's warehouse, migrated, and closes it after t. Tests
// share its tables: each keeps to a [Project] of its own.
func Open(t testing.TB) *warehouse.DB {
	t.Helper()
	return open(t, Config(t))
}

// OpenEngine is [Open] on the engine, for tests that look at it from elsewhere, too.
func OpenEngine(t testing.TB) *warehouse.DB {
	t.Helper()
	return open(t, Engine(t).Config())
}

func open(t testing.TB, c warehouse.Config) *warehouse.DB {
	t.Helper()
	db, err := warehouse.Open(t.Context(), c)
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
