package warehousetest

import (
	"context"
	"crypto/rand"
	"fmt"
	"net/url"
	"os"
	"strings"
	"testing"

	"github.com/sluice-flags/sluice/internal/warehouse"
)

// serverVariable names a ClickHouse that stands in for the engine.
const serverVariable = "SLUICE_TEST_CLICKHOUSE"

// StaysOnEngine is what a test logs that a named server cannot serve.
const StaysOnEngine = "this test is of the engine itself: it is not run on the server of " + serverVariable

// create makes a new database on the named server. It asks for it outside that
// database: an engine in the place of a server would end at the name of one that
// is not there.
func create(t testing.TB) *warehouse.DB {
	t.Helper()
	server, err := url.Parse(os.Getenv(serverVariable))
	if err != nil || server.Scheme != "clickhouse" || server.Host == "" {
		t.Fatalf("%s=%s; want clickhouse://user:password@host:port", serverVariable, os.Getenv(serverVariable))
	}
	password, _ := server.User.Password()
	c := warehouse.Config{Addr: server.Host, User: server.User.Username(), Password: password, Database: "default"}
	outside, err := warehouse.Open(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	defer outside.Close()
	c.Database = "sluice_test_" + strings.ToLower(rand.Text()[:12])
	if err := outside.Conn().Exec(t.Context(), "CREATE DATABASE "+c.Database); err != nil {
		t.Fatal(err)
	}
	db, err := warehouse.Open(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	return db
}

// drop takes the database of db away, and closes db.
func drop(db *warehouse.DB) error {
	defer db.Close()
	if err := db.Conn().Exec(context.Background(), "DROP DATABASE "+db.Config().Database+" SYNC"); err != nil {
		return fmt.Errorf("dropping database %s: %w", db.Config().Database, err)
	}
	return nil
}
