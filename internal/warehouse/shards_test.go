package warehouse_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"

	"github.com/sluice-flags/sluice/internal/warehouse"
	"github.com/sluice-flags/sluice/internal/warehouse/embed"
	"github.com/sluice-flags/sluice/internal/warehouse/warehousetest"
)

// clusterName is what the engines of a [cluster] call it.
const clusterName = "main"

// A cluster is engines whose tables are spread over two shards: the first engine is
// the one shard, and the second with a third, that takes its place, is the other.
//
// The embedded engine cannot be a replica and passes no statement on (see
// docs/operations.md). So the tables are those of one server, and what is said ON
// CLUSTER is said to each engine. What spreads, sends and gathers the rows is the
// engine's own.
type cluster struct {
	nodes   []*warehouse.DB    // at each engine
	analyst []warehouse.Config // there, too
	doors   []*door            // by which engines reach each other
}

func startCluster(t *testing.T) *cluster {
	t.Helper()
	warehousetest.Need(t)
	const password = "what the engines ask each other with"
	c := &cluster{}
	var replicas []any
	for range 3 {
		d := openDoor(t)
		c.doors = append(c.doors, d)
		host, port, err := net.SplitHostPort(d.Addr().String())
		must(t, err)
		replicas = append(replicas, fmt.Sprintf("<replica><host>%s</host><port>%s</port><user>sluice</user><password>%s</password></replica>", host, port, password))
	}
	config := fmt.Sprintf(`<clickhouse><remote_servers><main>
		<shard><internal_replication>true</internal_replication>%s</shard>
		<shard><internal_replication>true</internal_replication>%s%s</shard>
	</main></remote_servers></clickhouse>`, replicas...)
	for _, d := range c.doors {
		dir := t.TempDir()
		must(t, os.Mkdir(filepath.Join(dir, "config.d"), 0o700))
		must(t, os.WriteFile(filepath.Join(dir, "config.d", "cluster.xml"), []byte(config), 0o600))
		engine, err := embed.Start(t.Context(), embed.Options{Dir: dir, Password: password, Logger: slog.New(slog.DiscardHandler)})
		must(t, err)
		t.Cleanup(func() { engine.Stop(context.Background()) })
		d.leadTo(engine.Config().Addr)
		at := engine.Config()
		at.Cluster = clusterName
		db, err := warehouse.Open(t.Context(), at)
		must(t, err)
		t.Cleanup(func() { db.Close() })
		db.DefineBy(c.define)
		c.nodes, c.analyst = append(c.nodes, db), append(c.analyst, engine.Analyst())
	}
	t.Cleanup(func() { // before engines stop, which wait for connections
		for _, d := range c.doors {
			d.shut()
		}
	})
	must(t, warehouse.Migrate(t.Context(), c.nodes[0]))
	return c
}

var (
	replicated = regexp.MustCompile(`ENGINE = Replicated(\w+)(?:\('/clickhouse/tables/\{uuid\}/all', '\{shard\}-\{replica\}'(?:, )?([^)]*)\))?`)
	clause     = " ON CLUSTER `" + clusterName + "`"
)

// define says to each engine what a cluster passes on.
func (c *cluster) define(ctx context.Context, statement string, args ...any) error {
	if !strings.Contains(statement, clause) {
		return fmt.Errorf("not for the whole cluster: %s", statement)
	}
	statement = strings.ReplaceAll(statement, clause, "")
	statement = replicated.ReplaceAllString(statement, "ENGINE = $1($2)")
	statement = strings.ReplaceAll(statement, " replicated_deduplication_window", " non_replicated_deduplication_window")
	var errs []error
	for _, db := range c.nodes {
		errs = append(errs, db.Conn().Exec(ctx, statement, args...))
	}
	return errors.Join(errs...)
}

// each asks every engine for one number.
func (c *cluster) each(t *testing.T, query string, args ...any) (numbers []uint64) {
	t.Helper()
	for _, db := range c.nodes {
		numbers = append(numbers, number(t, db, query, args...))
	}
	return numbers
}

// A door is an address that is known before the engine behind it is started.
type door struct {
	net.Listener
	mu   sync.Mutex
	to   string
	open map[net.Conn]struct{}
	all  sync.WaitGroup
}

func openDoor(t *testing.T) *door {
	t.Helper()
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	must(t, err)
	d := &door{Listener: l, open: make(map[net.Conn]struct{})}
	d.all.Go(func() {
		for {
			from, err := l.Accept()
			if err != nil {
				return
			}
			d.all.Go(func() { d.pass(from) })
		}
	})
	t.Cleanup(d.shut)
	return d
}

func (d *door) leadTo(address string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.to = address
}

// pass carries what is said both ways until one side has nothing more to say.
func (d *door) pass(from net.Conn) {
	defer from.Close()
	d.mu.Lock()
	if d.open == nil {
		d.mu.Unlock()
		return
	}
	to, err := net.Dial("tcp4", d.to)
	if err != nil {
		d.mu.Unlock()
		return
	}
	d.open[from], d.open[to] = struct{}{}, struct{}{}
	d.mu.Unlock()
	defer to.Close()
	var there sync.WaitGroup
	there.Go(func() {
		_, _ = io.Copy(to, from)
		_ = to.(*net.TCPConn).CloseWrite()
	})
	_, _ = io.Copy(from, to)
	_ = from.Close()
	there.Wait()
	d.mu.Lock()
	defer d.mu.Unlock()
	delete(d.open, from)
	delete(d.open, to)
}

// shut lets nobody in any more and hangs up: to the others, the engine is gone.
func (d *door) shut() {
	_ = d.Close()
	d.mu.Lock()
	for c := range d.open {
		_ = c.Close()
	}
	d.open = nil
	d.mu.Unlock()
	d.all.Wait()
}
