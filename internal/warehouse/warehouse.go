// Package warehouse is the only place that speaks to ClickHouse for others: it
// connects, migrates, and writes facts so that each is counted once.
//
// An insert carries a token that names its batch. The same token with the same
// rows may be sent any number of times, over restarts of either side, and lands
// once, in the table and in everything that a view derives from it. The same
// token must never come with other rows: the engine would drop them silently.
package warehouse

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"maps"
	"strings"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2"
	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"
)

// DefaultDatabase is where everything lives if [Config] names no other.
const DefaultDatabase = "sluice"

// Config says where ClickHouse is and who asks.
type Config struct {
	Addr     string // host:port of the native protocol; several, comma-separated, are tried in order
	User     string
	Password string
	Database string // DefaultDatabase if empty
	Cluster  string // tables are replicated, and spread over the shards of this cluster; empty: on one server
	TLS      bool
}

// String describes c without its password.
func (c Config) String() string {
	return fmt.Sprintf("clickhouse://%s@%s/%s", c.User, c.Addr, c.Database)
}

// DB is a pool of connections to one database. It reconnects by itself after
// the server was away. Its methods may be called from many goroutines.
type DB struct {
	conn   driver.Conn
	native *native
	config Config
	define definer // the pool's Exec; a test whose servers cannot pass a statement on goes to each of them
}

// A definer runs a statement that is one of the whole cluster, where there is one:
// what makes, changes or drops tables, or rewrites their rows.
type definer func(ctx context.Context, statement string, args ...any) error

// Codes of the server's answers that callers decide on.
const codeUnknownDatabase = 81

// Open connects to ClickHouse and answers only once it has: an address where
// nobody listens or a wrong password is an error here, not later. A database
// that is not there yet is made.
func Open(ctx context.Context, c Config) (*DB, error) {
	if c.Addr == "" {
		return nil, errors.New("opening the warehouse: no address of ClickHouse given")
	}
	if c.Database == "" {
		c.Database = DefaultDatabase
	}
	conn, err := connect(ctx, c, c.Database)
	if exception, ok := errors.AsType[*clickhouse.Exception](err); ok && exception.Code == codeUnknownDatabase {
		if err := createDatabase(ctx, c); err != nil {
			return nil, err
		}
		conn, err = connect(ctx, c, c.Database)
	}
	if err != nil {
		return nil, fmt.Errorf("opening the warehouse at %s: %w", c.Addr, err)
	}
	db := &DB{conn: conn, native: &native{config: c}, config: c, define: conn.Exec}
	if err := db.native.open(ctx); err != nil {
		_ = db.Close() // the first failure says more
		return nil, fmt.Errorf("opening the warehouse at %s: %w", c.Addr, err)
	}
	return db, nil
}

func connect(ctx context.Context, c Config, database string) (driver.Conn, error) {
	conn, err := clickhouse.Open(c.options(database))
	if err != nil {
		return nil, err
	}
	if err := conn.Ping(ctx); err != nil {
		conn.Close()
		return nil, err
	}
	return conn, nil
}

// createDatabase works outside any database, since ours is not there yet.
func createDatabase(ctx context.Context, c Config) error {
	conn, err := connect(ctx, c, "")
	if err != nil {
		return fmt.Errorf("opening the warehouse at %s: %w", c.Addr, err)
	}
	defer conn.Close()
	if err := conn.Exec(ctx, "CREATE DATABASE IF NOT EXISTS "+quoteIdentifier(c.Database)+variant{c.Cluster}.OnCluster()); err != nil {
		return fmt.Errorf("creating database %q: %w", c.Database, err)
	}
	return nil
}

func (c Config) options(database string) *clickhouse.Options {
	o := &clickhouse.Options{
		Addr:             strings.Split(c.Addr, ","),
		Auth:             clickhouse.Auth{Database: database, Username: c.User, Password: c.Password},
		Compression:      &clickhouse.Compression{Method: clickhouse.CompressionLZ4},
		DialTimeout:      5 * time.Second,
		MaxOpenConns:     8,
		MaxIdleConns:     4,
		ConnOpenStrategy: clickhouse.ConnOpenInOrder,
		// The driver's default gathers inserts on the server; ours are whole batches already.
		Settings: clickhouse.Settings{"async_insert": 0},
	}
	maps.Copy(o.Settings, c.clusterSettings())
	if c.TLS {
		o.TLS = &tls.Config{MinVersion: tls.VersionTLS12}
	}
	return o
}

// clusterSettings make tables that are spread look like those of one server.
func (c Config) clusterSettings() clickhouse.Settings {
	if c.Cluster == "" {
		return nil
	}
	return clickhouse.Settings{
		"distributed_product_mode":      "global",   // the other side of a join is spread, too
		"distributed_foreground_insert": 1,          // stored, not queued, when it is answered
		"load_balancing":                "in_order", // what was written is read from the replica that has it,
		"use_hedged_requests":           0,          // and not from another because that one is slow
	}
}

// Conn is the pool itself, for queries that this package has no method for.
func (db *DB) Conn() driver.Conn { return db.conn }

// Config is what the pool was opened with.
func (db *DB) Config() Config { return db.config }

// Ping reports whether ClickHouse answers.
func (db *DB) Ping(ctx context.Context) error { return db.conn.Ping(ctx) }

// Close gives all connections back.
func (db *DB) Close() error {
	db.native.close()
	return db.conn.Close()
}

func quoteIdentifier(name string) string {
	return "`" + strings.NewReplacer("\\", "\\\\", "`", "\\`").Replace(name) + "`"
}
