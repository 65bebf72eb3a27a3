package natslog_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/sluice-flags/sluice/internal/bus"
	"github.com/sluice-flags/sluice/internal/bus/embed"
	"github.com/sluice-flags/sluice/internal/bus/natslog"
	"github.com/sluice-flags/sluice/internal/freeport"
	"github.com/sluice-flags/sluice/pkg/events"
	"github.com/sluice-flags/sluice/pkg/events/logtest"
)

const project = "shop"

// A cutter is a way to the server that loses an answer: once armed, the next
// append is sent or not, its answer never arrives, and the connection breaks.
type cutter struct {
	nats.InProcessConnProvider
	mu     sync.Mutex
	marker []byte // what the fatal request contains; nil: not armed
	send   bool   // whether the request reaches the server
	closed bool   // no new connections either
}

func (c *cutter) arm(marker string, send, closed bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.marker, c.send, c.closed = []byte(marker), send, closed
}

func (c *cutter) InProcessConn() (net.Conn, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed && c.marker == nil {
		return nil, errors.New("cut off")
	}
	conn, err := c.InProcessConnProvider.InProcessConn()
	return &cutConn{Conn: conn, cutter: c}, err
}

type cutConn struct {
	net.Conn
	cutter *cutter
	mu     sync.Mutex
	deaf   bool
}

func (c *cutConn) Write(p []byte) (int, error) {
	c.cutter.mu.Lock()
	fatal := c.cutter.marker != nil && bytes.Contains(p, c.cutter.marker)
	send := c.cutter.send
	if fatal {
		c.cutter.marker = nil
	}
	c.cutter.mu.Unlock()
	if !fatal {
		return c.Conn.Write(p)
	}
	if !send {
		_ = c.Conn.Close()
		return 0, io.ErrClosedPipe
	}
	c.mu.Lock()
	c.deaf = true
	c.mu.Unlock()
	return c.Conn.Write(p)
}

func (c *cutConn) Read(p []byte) (int, error) {
	for {
		n, err := c.Conn.Read(p)
		c.mu.Lock()
		deaf := c.deaf
		c.mu.Unlock()
		if !deaf || err != nil {
			return n, err
		}
		if bytes.Contains(p[:n], []byte(`"stream":`)) { // the answer: it goes no further
			_ = c.Conn.Close()
			return 0, io.EOF
		}
	}
}

func cutOpen(t *testing.T, o natslog.Options) (*cutter, *natslog.Log, *bus.Conn) {
	t.Helper()
	server := startServer(t, embed.Options{Dir: t.TempDir()})
	steady := connect(t, server)
	ensure(t, steady, project)
	cut := &cutter{InProcessConnProvider: server}
	conn, err := bus.Connect(t.Context(), bus.Config{InProcess: cut})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(conn.Close)
	return cut, open(t, conn, project, o), steady
}

func TestALostAnswerIsResolved(t *testing.T) {
	one := []events.Draft{logtest.Gate("b", 1, 0)}
	three := []events.Draft{logtest.Gate("b", 1, 0), logtest.Gate("c", 1, 0), logtest.Gate("d", 1, 0)}
	for _, test := range []struct {
		name   string
		marker string
		send   bool
		drafts []events.Draft
	}{
		{"request sent, answer lost", "HPUB flags.", true, one},
		{"request lost", "HPUB flags.", false, one},
		{"changeset sent, answer lost", "Nats-Batch-Commit", true, three},
		{"changeset lost at its commit", "Nats-Batch-Commit", false, three},
		{"changeset lost at its start", "Nats-Batch-Sequence: 1\r\n", false, three},
	} {
		t.Run(test.name, func(t *testing.T) {
			cut, log, steady := cutOpen(t, natslog.Options{})
			first := logtest.Append(t, log, logtest.Head(t, log), logtest.Command("c1", logtest.Gate("a", 1, 0)))
			cut.arm(test.marker, test.send, false)
			r, err := log.Append(t.Context(), first.Last, logtest.Command("c2", test.drafts...))
			if err != nil || r.Replayed || len(r.Envelopes) != len(test.drafts) || r.First.Seq != 2 {
				t.Fatalf("Append() = %s to %s, replayed %v, %v; want a receipt at 2", r.First, r.Last, r.Replayed, err)
			}
			other := open(t, steady, project, natslog.Options{})
			all := logtest.Collect(t, other.Read(t.Context(), 1))
			if want := 1 + len(test.drafts); len(all) != want || all[want-1].Head() != r.Last {
				t.Errorf("the log has %d envelopes; want %d, each once", len(all), want)
			}
		})
	}
}

func TestAnOutcomeThatNobodyKnowsIsSaidToBeUnknown(t *testing.T) {
	reg := prometheus.NewRegistry()
	cut, log, steady := cutOpen(t, natslog.Options{Registerer: reg})
	first := logtest.Append(t, log, logtest.Head(t, log), logtest.Command("c1", logtest.Gate("a", 1, 0)))
	log.SetWithin(200 * time.Millisecond)
	cut.arm("HPUB flags.", true, true)
	command := logtest.Command("c2", logtest.Gate("b", 1, 0))
	_, err := log.Append(t.Context(), first.Last, command)
	unknown, ok := errors.AsType[*events.OutcomeUnknownError](err)
	if !ok || !errors.Is(err, events.ErrOutcomeUnknown) || unknown.CommandID != "c2" {
		t.Fatalf("Append() = %v; want ErrOutcomeUnknown of c2", err)
	}
	if n := counter(t, reg, "append_outcome_unknown_total"); n != 1 {
		t.Errorf("append_outcome_unknown_total = %v; want 1", n)
	}
	// Repeating it, from anywhere, tells.
	other := open(t, steady, project, natslog.Options{})
	r, err := other.Append(t.Context(), first.Last, command)
	if err != nil || !r.Replayed || r.Last.Seq != 2 {
		t.Errorf("the repeat = %s, replayed %v, %v; want what landed at 2", r.Last, r.Replayed, err)
	}
}

func TestNothingSentIsUnavailableAndNotUnknown(t *testing.T) {
	cut, log, _ := cutOpen(t, natslog.Options{})
	first := logtest.Append(t, log, logtest.Head(t, log), logtest.Command("c1", logtest.Gate("a", 1, 0)))
	log.SetWithin(200 * time.Millisecond)
	cut.arm("HPUB flags.", false, true)
	_, err := log.Append(t.Context(), first.Last, logtest.Command("c2", logtest.Gate("b", 1, 0)))
	if !errors.Is(err, events.ErrUnavailable) && !errors.Is(err, events.ErrOutcomeUnknown) {
		t.Fatalf("Append() = %v; want ErrUnavailable, or ErrOutcomeUnknown", err)
	}
	// Now nothing at all can be sent.
	_, err = log.Append(t.Context(), first.Last, logtest.Command("c3", logtest.Gate("b", 1, 0)))
	if !errors.Is(err, events.ErrUnavailable) || errors.Is(err, events.ErrOutcomeUnknown) {
		t.Errorf("Append() with nobody there = %v; want ErrUnavailable", err)
	}
}

func TestServersThatRestartUnderAppendsLoseAndDoubleNothing(t *testing.T) {
	dir := t.TempDir()
	server, err := embed.Start(embed.Options{Dir: dir, Listen: freeport.For(t)})
	if err != nil {
		t.Fatal(err)
	}
	url := server.URL()
	conn, err := bus.Connect(t.Context(), bus.Config{URL: url})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	ensure(t, conn, project)
	log := open(t, conn, project, natslog.Options{HeadDir: t.TempDir()})

	followed := make(chan events.Envelope, 10_000)
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	defer wg.Wait()
	defer cancel()
	wg.Go(func() {
		for e, err := range log.Follow(ctx, events.Head{}) {
			if err != nil {
				if ctx.Err() == nil {
					t.Errorf("Follow() across restarts = %v", err)
				}
				return
			}
			followed <- e
		}
	})
	acked := map[string]events.Head{}
	landed := make(chan struct{}, 10_000)
	done := make(chan struct{})
	var write sync.WaitGroup
	write.Go(func() {
		for i := 0; ; i++ {
			select {
			case <-done:
				return
			default:
			}
			id := fmt.Sprintf("c%d", i)
			for {
				at, err := log.Head(ctx)
				if err != nil {
					if ctx.Err() != nil {
						return
					}
					continue
				}
				r, err := log.Append(t.Context(), at, logtest.Command(id, logtest.Gate(id, 1, 0)))
				if err == nil {
					acked[id] = r.Last
					landed <- struct{}{}
					break
				}
				if !errors.Is(err, events.ErrUnavailable) && !errors.Is(err, events.ErrOutcomeUnknown) && !errors.Is(err, events.ErrConflict) {
					t.Errorf("Append(%s) = %v", id, err)
					return
				}
			}
		}
	})
	some := func() {
		t.Helper()
		timeout := time.After(20 * time.Second)
		for range 20 {
			select {
			case <-landed:
			case <-timeout:
				t.Fatal("nothing is appended any more")
			}
		}
	}
	for range 3 {
		some()
		if err := server.Close(); err != nil {
			t.Fatal(err)
		}
		if server, err = embed.Start(embed.Options{Dir: dir, Listen: strings.TrimPrefix(url, "nats://")}); err != nil {
			t.Fatal(err)
		}
		if err := conn.Wait(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	defer func() { _ = server.Close() }()
	some()
	close(done)
	write.Wait()

	all := logtest.Collect(t, log.Read(t.Context(), 1))
	if len(all) != len(acked) || len(all) < 80 {
		t.Fatalf("%d envelopes, %d acknowledged; want as many, and some", len(all), len(acked))
	}
	for _, e := range all {
		if acked[e.CommandID] != e.Head() {
			t.Errorf("command %s is at %s; was acknowledged at %s", e.CommandID, e.Head(), acked[e.CommandID])
		}
	}
	for i := range all {
		select {
		case e := <-followed:
			if e.Head() != all[i].Head() {
				t.Fatalf("Follow yields %s; want %s", e.Head(), all[i].Head())
			}
		case <-time.After(20 * time.Second):
			t.Fatalf("Follow stopped before %s", all[i].Head())
		}
	}
}

func TestWrongSettingsRefuseWritesAndOnlyThem(t *testing.T) {
	conn := connect(t, startServer(t, embed.Options{Dir: t.TempDir()}))
	ensure(t, conn, project)
	log := open(t, conn, project, natslog.Options{})
	first := logtest.Append(t, log, logtest.Head(t, log), logtest.Command("c1", logtest.Gate("a", 1, 0)))

	info, err := bus.FlagsInfo(t.Context(), conn, project)
	if err != nil {
		t.Fatal(err)
	}
	config := info.Config
	config.MaxAge = time.Hour
	if _, err := conn.JetStream().UpdateStream(t.Context(), config); err != nil {
		t.Fatal(err)
	}
	log = open(t, conn, project, natslog.Options{})
	_, err = log.Append(t.Context(), first.Last, logtest.Command("c2", logtest.Gate("b", 1, 0)))
	settings, ok := errors.AsType[*bus.SettingsError](err)
	if !ok || !errors.Is(err, events.ErrUnavailable) || !strings.Contains(settings.Error(), "max_age is 1h0m0s, must be 0s") {
		t.Errorf("Append() = %v; want ErrUnavailable that names max_age", err)
	}
	if err := log.Writable(t.Context()); err == nil {
		t.Error("Writable() = nil; want the settings")
	}
	if all := logtest.Collect(t, log.Read(t.Context(), 1)); len(all) != 1 {
		t.Errorf("Read() yields %d envelopes; want 1", len(all))
	}
}

func TestAFullLogSaysSoAndKeepsWhatItHas(t *testing.T) {
	conn := connect(t, startServer(t, embed.Options{Dir: t.TempDir()}))
	if _, err := bus.EnsureProject(t.Context(), conn, project, bus.Limits{FlagsBytes: 8 << 10}); err != nil {
		t.Fatal(err)
	}
	log := open(t, conn, project, natslog.Options{})
	at := logtest.Head(t, log)
	for i := range 100 {
		c := logtest.Command(fmt.Sprintf("c%d", i), logtest.Gate(fmt.Sprint(i), 1, 0))
		if i%2 == 1 {
			c.Drafts = append(c.Drafts, logtest.Gate(fmt.Sprint("also", i), 1, 0))
		}
		r, err := log.Append(t.Context(), at, c)
		if errors.Is(err, events.ErrFull) {
			if h := logtest.Head(t, log); h != at || i == 0 {
				t.Errorf("Head() of the full log = %s after %d appends; want %s", h, i, at)
			}
			return
		}
		if err != nil {
			t.Fatalf("Append(%d) = %v; want ErrFull sooner or later", i, err)
		}
		at = r.Last
	}
	t.Error("100 appends fit into 8 KiB")
}

func TestReadOnlyLogsRefuseWrites(t *testing.T) {
	conn := connect(t, startServer(t, embed.Options{Dir: t.TempDir()}))
	ensure(t, conn, project)
	log := open(t, conn, project, natslog.Options{ReadOnly: true})
	if _, err := log.Append(t.Context(), logtest.Head(t, log), logtest.Command("c1", logtest.Gate("a", 1, 0))); !errors.Is(err, events.ErrUnavailable) {
		t.Errorf("Append() = %v; want ErrUnavailable", err)
	}
}

func TestMoreEntitiesThanOneQueryTakes(t *testing.T) {
	conn := connect(t, startServer(t, embed.Options{Dir: t.TempDir()}))
	ensure(t, conn, project)
	log := open(t, conn, project, natslog.Options{})
	at := logtest.Head(t, log)
	var all []events.Envelope
	for c := range 2 { // 1,024 subjects are what one query takes
		drafts := make([]events.Draft, 600)
		for i := range drafts {
			drafts[i] = logtest.Gate(fmt.Sprintf("%d-%d", c, i), 1, 0)
		}
		r := logtest.Append(t, log, at, logtest.Command(fmt.Sprint(c), drafts...))
		all, at = append(all, r.Envelopes...), r.Last
	}
	for _, upTo := range []int{600, 1200} {
		b, err := log.AsOf(t.Context(), events.Point{Seq: uint64(upTo)})
		if err != nil || len(b.Entities) != upTo || b.Head != all[upTo-1].Head() {
			t.Errorf("AsOf(%d) = %d entities at %s, %v", upTo, len(b.Entities), b.Head, err)
		}
	}
}

// rogue writes to the stream past the log.
func rogue(t *testing.T, conn *bus.Conn, e events.Envelope, body []byte) {
	t.Helper()
	if body == nil {
		var err error
		if body, err = e.Encode(); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := conn.JetStream().Publish(t.Context(), bus.FlagsSubject(project, e.Ref()), body); err != nil {
		t.Fatal(err)
	}
}

func TestWhatWasTamperedWithIsNoticedByEveryReader(t *testing.T) {
	for _, test := range []struct {
		name   string
		tamper func(t *testing.T, conn *bus.Conn, all []events.Envelope)
		want   error
	}{
		{"junk", func(t *testing.T, conn *bus.Conn, all []events.Envelope) {
			rogue(t, conn, all[2], []byte("junk"))
		}, events.ErrCorrupt},
		{"a changed byte", func(t *testing.T, conn *bus.Conn, all []events.Envelope) {
			next, err := events.Seal(all[2].Head(), all[2])
			if err != nil {
				t.Fatal(err)
			}
			next.Reason = "another"
			rogue(t, conn, next, nil)
		}, events.ErrCorrupt},
		{"another history", func(t *testing.T, conn *bus.Conn, all []events.Envelope) {
			prev := all[2].Head()
			prev.Hash[0] ^= 1
			next, err := events.Seal(prev, all[2])
			if err != nil {
				t.Fatal(err)
			}
			rogue(t, conn, next, nil)
		}, events.ErrFork},
		{"another log", func(t *testing.T, conn *bus.Conn, all []events.Envelope) {
			prev := all[2].Head()
			prev.LogID = "another"
			next, err := events.Seal(prev, all[2])
			if err != nil {
				t.Fatal(err)
			}
			rogue(t, conn, next, nil)
		}, events.ErrEpoch},
		{"a message repeated", func(t *testing.T, conn *bus.Conn, all []events.Envelope) {
			rogue(t, conn, all[2], nil)
		}, events.ErrCorrupt},
		{"a message removed", func(t *testing.T, conn *bus.Conn, all []events.Envelope) {
			s, err := conn.JetStream().Stream(t.Context(), bus.FlagsStream(project))
			if err != nil {
				t.Fatal(err)
			}
			if err := s.DeleteMsg(t.Context(), 2); err != nil {
				t.Fatal(err)
			}
			config := s.CachedInfo().Config
			config.DenyDelete = true // as it should be, too late
			if _, err := conn.JetStream().UpdateStream(t.Context(), config); err != nil {
				t.Fatal(err)
			}
		}, events.ErrGap},
	} {
		t.Run(test.name, func(t *testing.T) {
			conn := connect(t, startServer(t, embed.Options{Dir: t.TempDir()}))
			config := bus.FlagsConfig(project, "the log", bus.Limits{FlagsBytes: 1 << 20})
			config.DenyDelete = false
			if _, err := conn.JetStream().CreateStream(t.Context(), config); err != nil {
				t.Fatal(err)
			}
			ensureHeads(t, conn)
			good := seedPast(t, conn)
			test.tamper(t, conn, good)
			config.DenyDelete = true
			if _, err := conn.JetStream().UpdateStream(t.Context(), config); err != nil {
				t.Fatal(err)
			}

			log := open(t, conn, project, natslog.Options{})
			read := func(name string, err error) {
				t.Helper()
				if !errors.Is(err, test.want) {
					t.Errorf("%s = %v; want %v", name, err, test.want)
				}
			}
			read("Read()", firstError(log.Read(t.Context(), 1)))
			read("Follow()", firstError(log.Follow(t.Context(), events.Head{})))
			if !errors.Is(test.want, events.ErrFork) { // a boot sees no chain
				_, err := log.Boot(t.Context())
				read("Boot()", err)
			}
			if _, err := log.Append(t.Context(), good[2].Head(), logtest.Command("c", logtest.Gate("z", 1, 0))); !errors.Is(err, events.ErrDiverged) {
				t.Errorf("Append() = %v; want ErrDiverged", err)
			}
		})
	}
}

// seedPast writes three good envelopes without a writer of ours, whose first
// look would find the settings wrong.
func seedPast(t *testing.T, conn *bus.Conn) []events.Envelope {
	t.Helper()
	at := events.Head{LogID: "the log"}
	var all []events.Envelope
	for _, id := range []string{"a", "b", "c"} {
		commit, err := events.Plan(at, 1000, logtest.Command(id, logtest.Gate(id, 1, 0)))
		if err != nil {
			t.Fatal(err)
		}
		rogue(t, conn, commit[0], nil)
		all, at = append(all, commit...), commit[0].Head()
	}
	return all
}

func ensureHeads(t *testing.T, conn *bus.Conn) {
	t.Helper()
	if err := bus.EnsureShared(t.Context(), conn, bus.Limits{FactsBytes: 1 << 20, DeadFactsBytes: 1 << 20}); err != nil {
		t.Fatal(err)
	}
}

func firstError(seq func(func(events.Envelope, error) bool)) error {
	for _, err := range seq {
		if err != nil {
			return err
		}
	}
	return nil
}

func TestALogThatIsNotTheOneOnRecordIsNotWrittenTo(t *testing.T) {
	for _, test := range []struct {
		name  string
		harm  func(t *testing.T, conn *bus.Conn)
		heads bool // keep the head file
	}{
		{"made anew, known from the file", func(t *testing.T, conn *bus.Conn) {
			deleteStream(t, conn, bus.FlagsStream(project))
			deleteStream(t, conn, bus.HeadsStream)
			ensure(t, conn, project)
		}, true},
		{"made anew, known from HEADS", func(t *testing.T, conn *bus.Conn) {
			deleteStream(t, conn, bus.FlagsStream(project))
			if _, err := conn.JetStream().CreateStream(t.Context(), bus.FlagsConfig(project, "another", bus.Limits{})); err != nil {
				t.Fatal(err)
			}
		}, false},
		{"shorter than HEADS says", func(t *testing.T, conn *bus.Conn) {
			h, _, err := bus.RecordedHead(t.Context(), conn, project)
			if err != nil {
				t.Fatal(err)
			}
			h.Seq += 3
			if err := bus.RecordHead(t.Context(), conn, project, h); err != nil {
				t.Fatal(err)
			}
		}, false},
		{"other than HEADS says", func(t *testing.T, conn *bus.Conn) {
			h, _, err := bus.RecordedHead(t.Context(), conn, project)
			if err != nil {
				t.Fatal(err)
			}
			h.Hash[0] ^= 1
			if err := bus.RecordHead(t.Context(), conn, project, h); err != nil {
				t.Fatal(err)
			}
		}, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			conn := connect(t, startServer(t, embed.Options{Dir: t.TempDir()}))
			ensure(t, conn, project)
			heads := t.TempDir()
			logtest.Fill(t, open(t, conn, project, natslog.Options{HeadDir: heads}), 5)
			test.harm(t, conn)
			if !test.heads {
				heads = t.TempDir()
			}
			reg := prometheus.NewRegistry()
			log := open(t, conn, project, natslog.Options{HeadDir: heads, Registerer: reg})
			if err := log.Writable(t.Context()); !errors.Is(err, events.ErrDiverged) {
				t.Fatalf("Writable() = %v; want ErrDiverged", err)
			}
			if n := counter(t, reg, "safe_mode"); n != 1 {
				t.Errorf("safe_mode = %v; want 1", n)
			}
			before := logtest.Head(t, log)
			if _, err := log.Append(t.Context(), before, logtest.Command("c", logtest.Gate("z", 1, 0))); !errors.Is(err, events.ErrDiverged) {
				t.Errorf("Append() = %v; want ErrDiverged", err)
			}
			var at uint64
			for e, err := range log.Read(t.Context(), 1) {
				if err == nil {
					at = e.Seq
				} else if !errors.Is(err, events.ErrGap) {
					t.Errorf("Read() = %v", err)
				}
			}
			if at != before.Seq || logtest.Head(t, log) != before {
				t.Errorf("Read() ends at %d; want reads to go on to %s", at, before)
			}
		})
	}
}

func TestALogLongerThanItsRecordIsNormal(t *testing.T) {
	conn := connect(t, startServer(t, embed.Options{Dir: t.TempDir()}))
	ensure(t, conn, project)
	heads := t.TempDir()
	log := open(t, conn, project, natslog.Options{HeadDir: heads})
	all := logtest.Fill(t, log, 5)
	// As after a crash between storing and recording.
	if err := bus.RecordHead(t.Context(), conn, project, all[1].Head()); err != nil {
		t.Fatal(err)
	}
	again := open(t, conn, project, natslog.Options{HeadDir: heads})
	if err := again.Writable(t.Context()); err != nil {
		t.Fatalf("Writable() = %v", err)
	}
	if h, _, err := bus.RecordedHead(t.Context(), conn, project); err != nil || h != all[len(all)-1].Head() {
		t.Errorf("on record is %s, %v; want the log's head %s", h, err, all[len(all)-1].Head())
	}
}

func TestAFlippedBitOnDiskIsHarmlessOrNoticed(t *testing.T) {
	dir := t.TempDir()
	server, err := embed.Start(embed.Options{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	conn := connect(t, server)
	ensure(t, conn, project)
	want := logtest.Fill(t, open(t, conn, project, natslog.Options{}), 40)
	conn.Close()
	if err := server.Close(); err != nil {
		t.Fatal(err)
	}
	block := blockFile(t, dir)
	whole, err := os.ReadFile(block)
	if err != nil {
		t.Fatal(err)
	}
	noticed := 0
	for i := range 10 {
		seed := uint64(i)
		at := rand.New(rand.NewPCG(seed, 1)).IntN(len(whole))
		damaged := bytes.Clone(whole)
		damaged[at] ^= 1
		if err := os.WriteFile(block, damaged, 0o600); err != nil {
			t.Fatal(err)
		}
		noticed += readDamaged(t, dir, at, want)
	}
	if noticed == 0 {
		t.Error("none of 10 flipped bits was noticed; the test does not reach the file")
	}
}

// readDamaged reads a log with a flipped bit in all ways. It reports 1 if the
// damage was noticed; whatever is read without an error must be what was written.
func readDamaged(t *testing.T, dir string, at int, want []events.Envelope) int {
	t.Helper()
	server, err := embed.Start(embed.Options{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = server.Close() }()
	conn, err := bus.Connect(t.Context(), bus.Config{InProcess: server})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	log, err := natslog.Open(t.Context(), conn, project, natslog.Options{})
	if err != nil {
		return 1
	}
	n, noticed := 0, 0
	for e, err := range log.Read(t.Context(), 1) {
		if err != nil {
			noticed = 1
			break
		}
		if n >= len(want) || e.Head() != want[n].Head() {
			t.Errorf("bit flipped at %d: Read yields %s as number %d", at, e.Head(), n+1)
		}
		n++
	}
	if noticed == 0 && n != len(want) {
		t.Errorf("bit flipped at %d: Read yields %d of %d envelopes and no error", at, n, len(want))
	}
	if err := log.Writable(t.Context()); (err != nil) != (noticed == 1) {
		t.Errorf("bit flipped at %d: Writable() = %v, but the read noticed %d", at, err, noticed)
	}
	b, err := log.Boot(t.Context())
	if err == nil {
		state, err := events.Fold("test", b)
		if err != nil {
			t.Fatal(err)
		}
		if got, right := fmt.Sprint(logtest.Dump(state)), fmt.Sprint(logtest.Dump(logtest.Replay(t, want))); got != right {
			t.Errorf("bit flipped at %d: Boot gives another state", at)
		}
	}
	return noticed
}

func blockFile(t *testing.T, dir string) string {
	t.Helper()
	var found string
	err := filepath.WalkDir(dir, func(path string, _ fs.DirEntry, err error) error {
		if strings.HasSuffix(path, ".blk") && strings.Contains(path, bus.FlagsStream(project)) {
			found = path
		}
		return err
	})
	if err != nil || found == "" {
		t.Fatalf("no block file below %s: %v", dir, err)
	}
	return found
}

func deleteStream(t *testing.T, conn *bus.Conn, name string) {
	t.Helper()
	if err := conn.JetStream().DeleteStream(t.Context(), name); err != nil {
		t.Fatal(err)
	}
}

func TestAFollowerOfALogMadeAnewSaysSo(t *testing.T) {
	conn := connect(t, startServer(t, embed.Options{Dir: t.TempDir()}))
	ensure(t, conn, project)
	log := open(t, conn, project, natslog.Options{})
	head := logtest.Fill(t, log, 5)[4].Head()
	deleteStream(t, conn, bus.FlagsStream(project))
	if err := firstError(log.Follow(t.Context(), head)); !errors.Is(err, events.ErrEpoch) {
		t.Errorf("Follow() of a deleted stream = %v; want ErrEpoch", err)
	}
	if _, err := conn.JetStream().CreateStream(t.Context(), bus.FlagsConfig(project, "another", bus.Limits{})); err != nil {
		t.Fatal(err)
	}
	if err := firstError(log.Follow(t.Context(), head)); err == nil {
		t.Error("Follow() of a stream made anew goes on; want an error")
	}
	if _, err := log.Head(t.Context()); !errors.Is(err, events.ErrEpoch) {
		t.Errorf("Head() = %v; want ErrEpoch", err)
	}
}

func TestOpenOfAnUnknownProject(t *testing.T) {
	conn := connect(t, startServer(t, embed.Options{Dir: t.TempDir()}))
	if _, err := natslog.Open(t.Context(), conn, "nowhere", natslog.Options{}); !errors.Is(err, bus.ErrUnknownProject) {
		t.Errorf("Open() = %v; want ErrUnknownProject", err)
	}
	config := bus.FlagsConfig("bare", "", bus.Limits{})
	config.Metadata = nil
	if _, err := conn.JetStream().CreateStream(t.Context(), config); err != nil {
		t.Fatal(err)
	}
	if _, err := natslog.Open(t.Context(), conn, "bare", natslog.Options{}); !errors.Is(err, events.ErrUnavailable) {
		t.Errorf("Open() of a stream without a log id = %v; want ErrUnavailable", err)
	}
}

func counter(t *testing.T, reg *prometheus.Registry, name string) float64 {
	t.Helper()
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() == name {
			m := f.GetMetric()[0]
			return m.GetCounter().GetValue() + m.GetGauge().GetValue()
		}
	}
	t.Fatalf("no metric %s", name)
	return 0
}
