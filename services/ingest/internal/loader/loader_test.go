package loader

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"hash/fnv"
	"io"
	"maps"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/sluice-flags/sluice/internal/bus"
	"github.com/sluice-flags/sluice/internal/bus/facts"
	"github.com/sluice-flags/sluice/internal/warehouse"
	"github.com/sluice-flags/sluice/internal/warehouse/embed"
	"github.com/sluice-flags/sluice/internal/warehouse/warehousetest"
	"github.com/sluice-flags/sluice/pkg/events"
)

// childVariable makes this binary a loader that dies; see [beChild].
const childVariable = "SLUICE_TEST_LOADER"

func TestMain(m *testing.M) {
	if order := os.Getenv(childVariable); order != "" {
		beChild(order)
	}
	warehousetest.Main(m)
}

// config is how to reach the warehouse that the tests share; they keep apart by
// project.
func config(t *testing.T) warehouse.Config {
	t.Helper()
	return warehousetest.Config(t)
}

func open(t *testing.T, c warehouse.Config) *warehouse.DB {
	t.Helper()
	db, err := warehouse.Open(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	if err := warehouse.Migrate(t.Context(), db); err != nil {
		t.Fatal(err)
	}
	return db
}

// site is a stream with a publisher that keeps a ledger.
type site struct {
	t       *testing.T
	project string
	url     string
	conn    *bus.Conn
	pub     *facts.Publisher

	next  atomic.Uint64
	acked atomic.Int64 // exposures and events
}

func newSite(t *testing.T) *site { return newSiteWith(t, facts.Options{}, bus.Limits{}) }

func newSiteWith(t *testing.T, o facts.Options, limits bus.Limits) *site {
	t.Helper()
	h := fnv.New32()
	fmt.Fprint(h, t.Name(), time.Now().UnixNano())
	s := &site{t: t, project: fmt.Sprintf("p%d", h.Sum32()), url: broker(t)}
	s.conn = connect(t, s.url)
	if err := bus.EnsureShared(t.Context(), s.conn, limits); err != nil {
		t.Fatal(err)
	}
	o.Window = facts.NewWindow(0, 0)
	s.pub = facts.NewPublisher(s.conn, o)
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	done := make(chan error, 1)
	go func() { done <- s.pub.Run(ctx) }()
	t.Cleanup(func() { cancel(); <-done })
	return s
}

func connect(t *testing.T, url string) *bus.Conn {
	t.Helper()
	c, err := bus.Connect(t.Context(), bus.Config{URL: url, Name: t.Name()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	if err := c.Wait(t.Context()); err != nil {
		t.Fatal(err)
	}
	return c
}

// publish stores n exposures and n events of n new units.
func (s *site) publish(n int) {
	s.t.Helper()
	b := events.Batch{Project: s.project}
	now := time.Now().UnixMilli()
	for range n {
		unit := s.next.Add(1)
		x := events.Exposure{Time: now, Received: now, Environment: "production", Kind: events.ExposureExperiment, Name: "e", RuleID: "g",
			Group: uint8(unit % 3), UnitType: "userID", UnitID: fmt.Sprint(unit)}
		binary.BigEndian.PutUint64(x.ID[:], unit)
		x.ID[15] = 1
		e := events.Event{Time: now, Received: now, Environment: "production", Name: "purchase", UnitType: "userID", UnitID: fmt.Sprint(unit),
			UnitIDs: []events.Pair{{Name: "userID", Value: fmt.Sprint(unit)}}, Value: new(1.5), ValueText: "1.5"}
		binary.BigEndian.PutUint64(e.ID[:], unit)
		e.ID[15] = 2
		b.Exposures, b.Events = append(b.Exposures, x), append(b.Events, e)
	}
	if _, err := s.pub.Publish(s.t.Context(), b); err != nil {
		s.t.Fatal(err)
	}
	s.acked.Add(int64(b.Len()))
}

// run runs a loader until the test ends or stop is called.
func (s *site) run(db func() *warehouse.DB, o Options) (l *Loader, stop func()) {
	s.t.Helper()
	if o.Linger == 0 {
		o.Linger = 20 * time.Millisecond
	}
	l = New(connect(s.t, s.url), db, o)
	ctx, cancel := context.WithCancel(context.WithoutCancel(s.t.Context()))
	done := make(chan struct{})
	go func() { defer close(done); l.Run(ctx) }()
	stop = func() { cancel(); <-done }
	s.t.Cleanup(stop)
	return l, stop
}

// counts of the project's rows.
type counts struct{ Exposures, UniqueExposures, Events, UniqueEvents, First, Dead uint64 }

func (s *site) count(db *warehouse.DB) (c counts) {
	s.t.Helper()
	row := db.Conn().QueryRow(s.t.Context(), `SELECT
		(SELECT count() FROM exposures WHERE project = {p:String}), (SELECT uniqExact(event_id) FROM exposures WHERE project = {p:String}),
		(SELECT count() FROM events WHERE project = {p:String}), (SELECT uniqExact(event_id) FROM events WHERE project = {p:String}),
		(SELECT count() FROM (SELECT unit_key FROM first_exposures WHERE project = {p:String} GROUP BY unit_key)),
		(SELECT count() FROM dead_letters WHERE project = {p:String})`, clickhouse.Named("p", s.project))
	if err := row.Scan(&c.Exposures, &c.UniqueExposures, &c.Events, &c.UniqueEvents, &c.First, &c.Dead); err != nil {
		s.t.Fatal(err)
	}
	return c
}

// settle waits until every acknowledged fact is a row, then checks that each is
// one row.
func (s *site) settle(db *warehouse.DB) {
	s.t.Helper()
	half := uint64(s.acked.Load() / 2)
	want := counts{Exposures: half, UniqueExposures: half, Events: half, UniqueEvents: half, First: half}
	var got counts
	for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		if got = s.count(db); got.Events >= half && got.Exposures >= half {
			break
		}
	}
	if got != want {
		s.t.Errorf("the tables have %+v after %d facts were acknowledged, want %+v", got, s.acked.Load(), want)
	}
}

// positioned waits until the position says that everything is loaded: a loader
// that is stopped before leaves a write behind that the engine may yet finish.
func (s *site) positioned(db *warehouse.DB) {
	s.t.Helper()
	r, err := facts.NewReader(s.t.Context(), s.conn, 0)
	if err != nil {
		s.t.Fatal(err)
	}
	last, err := s.conn.Last(s.t.Context(), bus.FactsStream, "facts.>")
	if err != nil {
		s.t.Fatal(err)
	}
	var p warehouse.Progress
	for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) {
		if p, err = db.ReadProgress(s.t.Context(), r.StreamID(), 0); err == nil && p.Sequence == last.Seq {
			return
		}
	}
	s.t.Fatalf("ReadProgress() = %+v, %v; want %d", p, err, last.Seq)
}

func always(db *warehouse.DB) func() *warehouse.DB { return func() *warehouse.DB { return db } }

func TestEveryAcknowledgedFactIsOneRow(t *testing.T) {
	db := open(t, config(t))
	s := newSite(t)
	l, _ := s.run(always(db), Options{})
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for range 25 {
				s.publish(10)
			}
		})
	}
	wg.Wait()
	s.settle(db)
	if err := l.Ready(); err != nil {
		t.Errorf("Ready() = %v after everything was loaded", err)
	}
}

func TestNoKillLosesOrDoubles(t *testing.T) {
	c := config(t)
	db := open(t, c)
	c.Addr = gentle(t, c.Addr)
	for _, where := range []string{"planned:1", "exposures:1", "inserted:1", "done:1", "planned:2", "exposures:3", "inserted:2", "inserted:3", "done:3"} {
		t.Run(where, func(t *testing.T) {
			s := newSite(t)
			for range 30 {
				s.publish(5)
			}
			if ended := s.loadUntilKilled(c, where); !ended {
				t.Fatal("the loader was not killed")
			}
			s.publish(5)
			s.run(always(db), Options{Linger: 5 * time.Millisecond})
			s.settle(db)
		})
	}
}

// One loader after the other dies on the same batches, most of them between what
// they inserted and the word that they did.
func TestLoadersThatDieOneAfterTheOtherCountOnce(t *testing.T) {
	c := config(t)
	db := open(t, c)
	c.Addr = gentle(t, c.Addr)
	s := newSite(t)
	for n := range 20 {
		s.publish(5)
		where := []string{"inserted:1", "exposures:1", "inserted:1", "planned:1", "done:1"}[n%5]
		if ended := s.loadUntilKilled(c, where); !ended {
			t.Fatalf("loader %d was not killed at %s", n, where)
		}
	}
	s.run(always(db), Options{Linger: 5 * time.Millisecond})
	s.settle(db)
}

// order tells a child what to load, and where to die.
type order struct {
	URL       string
	Warehouse warehouse.Config
	Where     string
	Times     int
	Share     int // partitions that it shares with others; 0: it has the first, and nobody else
}

// loadUntilKilled runs a loader in a process of its own, which kills itself the
// n-th time that it comes to a checkpoint.
func (s *site) loadUntilKilled(c warehouse.Config, where string) bool {
	s.t.Helper()
	name, times, _ := strings.Cut(where, ":")
	o := order{URL: s.url, Warehouse: c, Where: name}
	if _, err := fmt.Sscan(times, &o.Times); err != nil {
		s.t.Fatal(err)
	}
	text, err := json.Marshal(o)
	if err != nil {
		s.t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(s.t.Context(), time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, os.Args[0])
	cmd.Env = append(os.Environ(), childVariable+"="+string(text))
	cmd.Stderr = os.Stderr
	err = cmd.Run()
	exit, ok := errors.AsType[*exec.ExitError](err)
	if !ok {
		return false
	}
	status, ok := exit.Sys().(syscall.WaitStatus)
	return ok && ctx.Err() == nil && status.Signaled() && status.Signal() == syscall.SIGKILL
}

func beChild(text string) {
	var o order
	if err := json.Unmarshal([]byte(text), &o); err != nil {
		panic(err)
	}
	ctx := context.Background()
	conn, err := bus.Connect(ctx, bus.Config{URL: o.URL, Name: "child"})
	if err != nil {
		panic(err)
	}
	if err := conn.Wait(ctx); err != nil {
		panic(err)
	}
	db, err := warehouse.Open(ctx, o.Warehouse)
	if err != nil {
		panic(err)
	}
	if o.Share > 0 {
		share := facts.NewShare(conn, facts.ShareOptions{Partitions: o.Share, Lease: time.Second})
		panic(share.Run(ctx, func(ctx context.Context, partition int) {
			New(conn, always(db), Options{Partition: partition, Linger: 5 * time.Millisecond, MaxRows: 50}).Run(ctx)
		}))
	}
	// Small batches, so that there are many points to die at.
	l := New(conn, always(db), Options{Linger: time.Millisecond, MaxRows: 50})
	l.checkpoint = func(name string) {
		if name != o.Where {
			return
		}
		if o.Times--; o.Times == 0 {
			_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
			select {}
		}
	}
	l.Run(ctx)
	panic("the loader ended")
}

// gentle stands between those that are killed and the engine, and takes leave of
// it in order: a connection that is reset between two queries is enough to end
// an embedded engine, as no server is.
func gentle(t *testing.T, engine string) (address string) {
	t.Helper()
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var open sync.WaitGroup
	t.Cleanup(func() { _ = l.Close(); open.Wait() })
	open.Go(func() {
		for {
			client, err := l.Accept()
			if err != nil {
				return
			}
			open.Go(func() {
				defer client.Close()
				server, err := net.Dial("tcp4", engine)
				if err != nil {
					return
				}
				defer server.Close()
				open.Go(func() {
					_, _ = io.Copy(server, client)
					_ = server.(*net.TCPConn).CloseWrite()
				})
				_, _ = io.Copy(client, server)
				_, _ = io.Copy(io.Discard, server) // to its end, whoever has gone
			})
		}
	})
	return l.Addr().String()
}

// startShare starts a process that loads its share of partitions.
func (s *site) startShare(c warehouse.Config, partitions int) *exec.Cmd {
	s.t.Helper()
	text, err := json.Marshal(order{URL: s.url, Warehouse: c, Share: partitions})
	if err != nil {
		s.t.Fatal(err)
	}
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), childVariable+"="+string(text))
	cmd.Stderr = os.Stderr
	if err := cmd.Start(); err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	return cmd
}

// shares returns how many partitions each loader has that has any.
func (s *site) shares(partitions int) map[string]int {
	s.t.Helper()
	held := make(map[string]int)
	for partition := range partitions {
		lease, err := s.conn.Last(s.t.Context(), bus.LoadersStream, bus.LeaseSubject(partition))
		if err == nil {
			held[string(lease.Data)]++
		} else if !errors.Is(err, jetstream.ErrMsgNotFound) {
			s.t.Fatal(err)
		}
	}
	return held
}

// Two processes share four partitions while facts come, and one or the other is
// killed at a random moment, again and again.
func TestLoadersThatShareAndDieCountOnce(t *testing.T) {
	const partitions, kills = 4, 3
	c := config(t)
	direct := c
	c.Addr = gentle(t, c.Addr)
	db := open(t, direct)
	s := newSiteWith(t, facts.Options{Partitions: partitions}, bus.Limits{})
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))

	var over atomic.Bool
	var senders sync.WaitGroup
	defer senders.Wait()
	defer over.Store(true)
	senders.Go(func() {
		for !over.Load() {
			s.publish(20)
			time.Sleep(2 * time.Millisecond) // or the engine is never done
		}
	})

	loaders := []*exec.Cmd{s.startShare(c, partitions), s.startShare(c, partitions)}
	shared := func() {
		t.Helper()
		var held map[string]int
		for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
			held = s.shares(partitions)
			if len(held) == 2 && slices.Min(slices.Collect(maps.Values(held))) == partitions/2 {
				return
			}
		}
		t.Fatalf("partitions are held by %v; want two of them by each of two", held)
	}
	// moving waits until every partition is being loaded, so that each process is
	// past its greetings: an embedded engine would not survive one that is cut.
	r, err := facts.NewReader(t.Context(), s.conn, 0)
	if err != nil {
		t.Fatal(err)
	}
	moving := func() {
		t.Helper()
		shared()
		for partition := range uint32(partitions) {
			var from warehouse.Progress
			for deadline := time.Now().Add(time.Minute); ; time.Sleep(10 * time.Millisecond) {
				p, err := db.ReadProgress(t.Context(), r.StreamID(), partition)
				if err != nil || time.Now().After(deadline) {
					t.Fatalf("partition %d stands at %d, %v", partition, p.Plan, err)
				}
				if from.Plan == 0 {
					from = p
				}
				if from.Plan > 0 && p.Plan > from.Plan {
					break
				}
			}
		}
	}
	moving()
	for range kills {
		time.Sleep(time.Duration(random.IntN(200)) * time.Millisecond)
		dies := random.IntN(len(loaders))
		_ = loaders[dies].Process.Kill()
		_ = loaders[dies].Wait()
		loaders[dies] = s.startShare(c, partitions)
		moving()
	}
	over.Store(true)
	senders.Wait()
	s.settle(db)
}

func TestTwoLoadersOfOnePartitionCountOnce(t *testing.T) {
	c := config(t)
	one, two := open(t, c), open(t, c)
	s := newSite(t)
	s.run(always(one), Options{Linger: 5 * time.Millisecond, MaxRows: 25})
	s.run(always(two), Options{Linger: 5 * time.Millisecond, MaxRows: 25})
	for range 60 {
		s.publish(5)
	}
	s.settle(one)
}

// start starts an engine that no other test has, on its folder.
func start(t *testing.T, dir string) (*embed.Engine, *warehouse.DB) {
	t.Helper()
	warehousetest.Need(t)
	e, err := embed.Start(t.Context(), embed.Options{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { e.Stop(context.Background()) })
	return e, open(t, e.Config())
}

func TestFactsWaitForAnEngineThatIsAway(t *testing.T) {
	dir := t.TempDir()
	var db atomic.Pointer[warehouse.DB]
	s, before := newSite(t), time.Now()
	l, _ := s.run(db.Load, Options{})
	s.publish(10) // there is none yet
	waits := func(when string, least, most uint64) {
		t.Helper()
		for deadline := time.Now().Add(30 * time.Second); l.lag.Load().messages < least && time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) {
		}
		now := l.lag.Load()
		if now.messages < least || now.messages > most || now.oldest.Before(before) || now.oldest.After(time.Now()) {
			t.Errorf("%s, %d messages wait, the oldest since %v; want %d to %d, since the test began", when, now.messages, now.oldest, least, most)
		}
		if now.facts < 10*now.messages || now.facts > 20*now.messages { // they have that many each
			t.Errorf("%s, %d messages wait with %d facts; want 10 to 20 each", when, now.messages, now.facts)
		}
	}
	waits("without an engine", 1, 1)
	first, opened := start(t, dir)
	db.Store(opened)
	s.settle(opened)
	for deadline := time.Now().Add(30 * time.Second); *l.lag.Load() != (lag{oldest: l.lag.Load().oldest}) && time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) {
	}
	if now := l.lag.Load(); now.messages != 0 || now.facts != 0 || now.age() != 0 {
		t.Errorf("when all is loaded, %d messages wait with %d facts, for %v; want none", now.messages, now.facts, now.age())
	}

	for round := range 3 { // it dies while facts come
		s.publish(10)
		proc, err := os.FindProcess(first.PID())
		if err != nil {
			t.Fatal(err)
		}
		if err := proc.Kill(); err != nil {
			t.Fatal(err)
		}
		<-first.Done()
		for range 10 {
			s.publish(5)
		}
		for deadline := time.Now().Add(30 * time.Second); l.Ready() == nil && time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) {
		}
		if l.Ready() == nil {
			t.Errorf("round %d: Ready() = nil without an engine", round)
		}
		waits(fmt.Sprintf("in round %d", round), 10, 11) // the first may have been loaded
		first, opened = start(t, dir)
		db.Store(opened)
		s.settle(opened)
	}
}

func TestALostPositionLoadsTheSameBatchesAgain(t *testing.T) {
	db := open(t, config(t))
	s := newSite(t)
	_, stop := s.run(always(db), Options{Linger: 2 * time.Millisecond})
	for range 20 {
		s.publish(5)
	}
	s.settle(db)
	s.positioned(db)
	stop()
	r, err := facts.NewReader(t.Context(), s.conn, 0)
	if err != nil {
		t.Fatal(err)
	}
	ctx := t.Context()
	if err := db.Conn().Exec(ctx, "DELETE FROM load_progress WHERE stream = ?", r.StreamID()); err != nil {
		t.Fatal(err)
	}
	if p, err := db.ReadProgress(ctx, r.StreamID(), 0); err != nil || p.Plan != 0 {
		t.Fatalf("ReadProgress() = %+v, %v; want nothing", p, err)
	}
	s.run(always(db), Options{})
	s.publish(5)
	s.settle(db)
}

// A power cut takes the tokens of the newest blocks, which the engine writes and
// does not sync, and leaves the rows. What was on its way then is stored once.
func TestRowsWhoseTokensAreLostAreNotStoredTwice(t *testing.T) {
	dir, ctx := t.TempDir(), t.Context()
	e, db := start(t, dir)
	s := newSite(t)
	_, stop := s.run(always(db), Options{Linger: 2 * time.Millisecond})
	for range 5 {
		s.publish(5)
	}
	s.settle(db)
	s.positioned(db)
	stop()

	for _, statement := range []string{
		"TRUNCATE TABLE load_progress",                                   // nothing is known to be loaded,
		"DELETE FROM events WHERE cityHash64(event_id) % 2 = 0",          // and some of it is not,
		"DELETE FROM first_exposures WHERE cityHash64(unit_key) % 2 = 0", // in what views feed, too
	} {
		if err := db.Conn().Exec(ctx, statement); err != nil {
			t.Fatal(err)
		}
	}
	_ = db.Close()
	e.Stop(ctx)
	logs, err := filepath.Glob(filepath.Join(dir, "data", "store", "*", "*", "deduplication_logs"))
	if err != nil || len(logs) == 0 {
		t.Fatalf("the engine keeps no tokens in %s (%v)", dir, err)
	}
	for _, log := range logs {
		if err := os.RemoveAll(log); err != nil {
			t.Fatal(err)
		}
	}
	_, db = start(t, dir)
	l, _ := s.run(always(db), Options{})
	s.publish(5)
	s.settle(db)
	s.positioned(db)
	for deadline := time.Now().Add(10 * time.Second); testutil.ToFloat64(l.metrics.inserted) != float64(s.acked.Load()) && time.Now().Before(deadline); time.Sleep(time.Millisecond) {
	} // the position is written before it is counted
	if got := testutil.ToFloat64(l.metrics.inserted); got != float64(s.acked.Load()) {
		t.Errorf("inserted_total = %v after %d facts were loaded again; those that were there count too", got, s.acked.Load())
	}
}

func TestBatchesWhoseFactsAreGoneAreNotWaitedFor(t *testing.T) {
	db := open(t, config(t))
	s := newSite(t)
	_, stop := s.run(always(db), Options{Linger: 2 * time.Millisecond, MaxRows: 5})
	for range 10 {
		s.publish(5)
	}
	s.settle(db)
	s.positioned(db)
	stop()
	r, err := facts.NewReader(t.Context(), s.conn, 0)
	if err != nil {
		t.Fatal(err)
	}
	stream, err := s.conn.JetStream().Stream(t.Context(), bus.FactsStream)
	if err != nil {
		t.Fatal(err)
	}
	if err := stream.Purge(t.Context()); err != nil { // as their age does
		t.Fatal(err)
	}
	if err := db.Conn().Exec(t.Context(), "DELETE FROM load_progress WHERE stream = ?", r.StreamID()); err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	s.run(always(db), Options{})
	s.publish(5)
	s.settle(db)
	if waited := time.Since(began); waited > patience/2 {
		t.Errorf("the loader waited %v for facts that are gone", waited)
	}
}

func TestAMessageThatDoesNotDecodeIsSetAside(t *testing.T) {
	db := open(t, config(t))
	s := newSite(t)
	s.publish(3)
	bad := []byte("\x01 this is no batch")
	if _, err := s.conn.JetStream().Publish(t.Context(), bus.FactsSubject(s.project, "batch", 0), bad); err != nil {
		t.Fatal(err)
	}
	s.publish(3)
	s.run(always(db), Options{})
	half := uint64(s.acked.Load() / 2)
	want := counts{Exposures: half, UniqueExposures: half, Events: half, UniqueEvents: half, First: half, Dead: 1}
	var got counts
	for deadline := time.Now().Add(time.Minute); got != want && time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		got = s.count(db)
	}
	if got != want {
		t.Errorf("the tables have %+v, want %+v", got, want)
	}
	msg, err := s.conn.Last(t.Context(), bus.DeadFactsStream, bus.DeadFactsSubject(s.project, "undecodable"))
	if err != nil || string(msg.Data) != string(bad) || msg.Header.Get("Sluice-Reason") == "" {
		t.Errorf("the stream of dead facts has %q with header %v, %v; want the message and the reason", msg.Data, msg.Header, err)
	}
}

func TestAFullStreamOfDeadFactsDoesNotStopLoading(t *testing.T) {
	db := open(t, config(t))
	s := newSiteWith(t, facts.Options{}, bus.Limits{DeadFactsBytes: 1 << 10})
	const bad = 3
	for n := range bad {
		text := fmt.Sprintf("\x01 this is no batch %d %s", n, strings.Repeat("x", 500))
		if _, err := s.conn.JetStream().Publish(t.Context(), bus.FactsSubject(s.project, "batch", 0), []byte(text)); err != nil {
			t.Fatal(err)
		}
		s.publish(3)
	}
	l, _ := s.run(always(db), Options{})
	half := uint64(s.acked.Load() / 2)
	want := counts{Exposures: half, UniqueExposures: half, Events: half, UniqueEvents: half, First: half, Dead: bad}
	var got counts
	for deadline := time.Now().Add(time.Minute); got != want && time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		got = s.count(db)
	}
	if got != want {
		t.Errorf("the tables have %+v, want %+v", got, want)
	}
	var whole uint64
	row := db.Conn().QueryRow(t.Context(), "SELECT countIf(startsWith(body, '\x01 this is no batch')) FROM dead_letters WHERE project = ?", s.project)
	if err := row.Scan(&whole); err != nil || whole != bad {
		t.Errorf("%d dead letters have their message, %v; want %d", whole, err, bad)
	}
	if n := testutil.ToFloat64(l.metrics.unkept); n != bad-1 {
		t.Errorf("dead_stream_full_total = %v; want %d: the first one fits", n, bad-1)
	}
}

func TestPlansCoverTheStreamWithoutHoles(t *testing.T) {
	db := open(t, config(t))
	s := newSite(t)
	s.run(always(db), Options{Linger: time.Millisecond, MaxRows: 20})
	for range 50 {
		s.publish(2)
	}
	s.settle(db)
	r, err := facts.NewReader(t.Context(), s.conn, 0)
	if err != nil {
		t.Fatal(err)
	}
	plans, err := facts.OpenPlans(t.Context(), s.conn, r)
	if err != nil {
		t.Fatal(err)
	}
	all, end, err := plans.After(t.Context(), 0, 0)
	if err != nil {
		t.Fatal(err)
	}
	next := uint64(1)
	for i, p := range all {
		if p.First != next || p.Last < p.First || p.Number != uint64(i+1) {
			t.Fatalf("plan %d is %+v, want it to begin at %d", i+1, p, next)
		}
		next = p.Last + 1
	}
	stream, err := s.conn.JetStream().Stream(t.Context(), bus.FactsStream)
	if err != nil {
		t.Fatal(err)
	}
	info, err := stream.Info(t.Context(), jetstream.WithSubjectFilter("facts.>"))
	if err != nil || end.Plan.Last != info.State.LastSeq {
		t.Errorf("plans end at %d, the stream at %d, %v", end.Plan.Last, info.State.LastSeq, err)
	}
}
