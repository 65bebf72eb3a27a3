package facts_test

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"go.uber.org/goleak"

	"github.com/sluice-flags/sluice/internal/bus"
	"github.com/sluice-flags/sluice/internal/bus/embed"
	"github.com/sluice-flags/sluice/internal/bus/facts"
	"github.com/sluice-flags/sluice/pkg/events"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// broker is an embedded server that can be taken away and brought back.
type broker struct {
	t   *testing.T
	dir string
	now atomic.Pointer[embed.Server]
}

func startBroker(t *testing.T) *broker {
	t.Helper()
	b := &broker{t: t, dir: t.TempDir()}
	b.start()
	t.Cleanup(b.stop)
	return b
}

func (b *broker) start() {
	b.t.Helper()
	s, err := embed.Start(embed.Options{Dir: b.dir, Listen: "127.0.0.1:0"})
	if err != nil {
		b.t.Fatal(err)
	}
	b.now.Store(s)
}

func (b *broker) stop() {
	if s := b.now.Swap(nil); s != nil {
		_ = s.Close()
	}
}

// InProcessConn implements nats.InProcessConnProvider.
func (b *broker) InProcessConn() (net.Conn, error) {
	if s := b.now.Load(); s != nil {
		return s.InProcessConn()
	}
	return nil, errors.New("the broker is away")
}

func (b *broker) connect(t *testing.T) *bus.Conn {
	t.Helper()
	c, err := bus.Connect(t.Context(), bus.Config{InProcess: b, Name: t.Name()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

// stream returns a connection to a broker that has the streams.
func stream(t *testing.T, limits bus.Limits) (*broker, *bus.Conn) {
	t.Helper()
	b := startBroker(t)
	c := b.connect(t)
	if err := bus.EnsureShared(t.Context(), c, limits); err != nil {
		t.Fatal(err)
	}
	return b, c
}

func run(t *testing.T, conn *bus.Conn, o facts.Options) *facts.Publisher {
	t.Helper()
	p := facts.NewPublisher(conn, o)
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	done := make(chan error, 1)
	go func() { done <- p.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run() = %v", err)
		}
	})
	return p
}

// batch has n events whose ids count from first.
func batch(project string, first, n int) events.Batch {
	b := events.Batch{Project: project}
	for i := range n {
		e := events.Event{Time: 1, Received: 2, Name: "e", UnitType: "userID", UnitID: fmt.Sprint(first + i)}
		binary.BigEndian.PutUint64(e.ID[:], uint64(first+i))
		b.Events = append(b.Events, e)
	}
	return b
}

// stored reads everything that the partitions of the stream hold.
func stored(t *testing.T, conn *bus.Conn, partitions int) (batches []events.Batch) {
	t.Helper()
	for partition := range partitions {
		r, err := facts.NewReader(t.Context(), conn, partition)
		if err != nil {
			t.Fatal(err)
		}
		s, err := conn.JetStream().Stream(t.Context(), bus.FactsStream)
		if err != nil {
			t.Fatal(err)
		}
		info, err := s.Info(t.Context(), jetstream.WithSubjectFilter(fmt.Sprintf("facts.*.*.%d", partition)))
		if err != nil {
			t.Fatal(err)
		}
		left := 0
		for _, n := range info.State.Subjects {
			left += int(n)
		}
		if left == 0 {
			continue
		}
		for m, err := range r.Follow(t.Context(), 0) {
			if err != nil {
				t.Fatal(err)
			}
			b, err := events.DecodeBatch(m.Data)
			if err != nil {
				t.Fatal(err)
			}
			if m.Project() != b.Project {
				t.Errorf("message %d of project %q travels as %q", m.Seq, b.Project, m.Project())
			}
			batches = append(batches, b)
			if left--; left == 0 {
				break
			}
		}
	}
	return batches
}

func count(batches []events.Batch) (facts, unique int) {
	ids := map[events.FactID]bool{}
	for _, b := range batches {
		facts += b.Len()
		for _, id := range b.IDs() {
			ids[id] = true
		}
	}
	return facts, len(ids)
}

func TestWhatIsAnsweredIsInTheStream(t *testing.T) {
	_, conn := stream(t, bus.Limits{})
	p := run(t, conn, facts.Options{})
	want := batch("shop", 1, 3)
	if dup, err := p.Publish(t.Context(), want); err != nil || dup != 0 {
		t.Fatalf("Publish(3 events) = %d, %v; want 0 duplicates", dup, err)
	}
	if diff := cmp.Diff([]events.Batch{want}, stored(t, conn, 1)); diff != "" {
		t.Errorf("the stream differs (-want +got):\n%s", diff)
	}
}

func TestBatchesThatArriveTogetherShareMessages(t *testing.T) {
	_, conn := stream(t, bus.Limits{})
	p := run(t, conn, facts.Options{Linger: 20 * time.Millisecond})
	const senders = 200
	var wg sync.WaitGroup
	for i := range senders {
		wg.Go(func() {
			if _, err := p.Publish(t.Context(), batch("shop", 1+10*i, 10)); err != nil {
				t.Errorf("Publish(sender %d) = %v", i, err)
			}
		})
	}
	wg.Wait()
	got := stored(t, conn, 1)
	if n, unique := count(got); n != 10*senders || unique != n {
		t.Errorf("the stream has %d facts, %d of them different; want %d", n, unique, 10*senders)
	}
	if len(got) > senders/4 {
		t.Errorf("%d senders at once made %d messages", senders, len(got))
	}
}

func TestMessagesKeepToTheirSizeAndProject(t *testing.T) {
	_, conn := stream(t, bus.Limits{})
	p := run(t, conn, facts.Options{MaxMessage: 4 << 10, Partitions: 4})
	big := batch("shop", 1, 500)
	for i := range big.Events {
		big.Events[i].ValueText = strings.Repeat("v", i)
	}
	for _, b := range []events.Batch{big, batch("zoo", 1000, 100)} {
		if _, err := p.Publish(t.Context(), b); err != nil {
			t.Fatal(err)
		}
	}
	got := stored(t, conn, 4)
	if n, unique := count(got); n != 600 || unique != 600 {
		t.Errorf("the stream has %d facts, %d of them different; want 600", n, unique)
	}
	for _, b := range got {
		if size := len(events.EncodeBatch(b)); size > 4<<10 {
			t.Errorf("a message has %d bytes, want at most %d", size, 4<<10)
		}
	}
}

func TestARetryCountsOnce(t *testing.T) {
	_, conn := stream(t, bus.Limits{})
	p := run(t, conn, facts.Options{Window: facts.NewWindow(0, 0)})
	var wg sync.WaitGroup
	var duplicates atomic.Int64
	for range 10 { // at once, as after a time-out
		wg.Go(func() {
			n, err := p.Publish(t.Context(), batch("shop", 1, 5))
			if err != nil {
				t.Errorf("Publish() = %v", err)
			}
			duplicates.Add(int64(n))
		})
	}
	wg.Wait()
	if dup, err := p.Publish(t.Context(), batch("shop", 4, 3)); err != nil || dup != 2 { // and later, mixed with a new one
		t.Errorf("Publish(two old, one new) = %d, %v; want 2 duplicates", dup, err)
	}
	if n, unique := count(stored(t, conn, 1)); n != 6 || unique != 6 || duplicates.Load() != 45 {
		t.Errorf("the stream has %d facts, %d of them different, after %d duplicates; want 6, 6, 45", n, unique, duplicates.Load())
	}
}

func TestNobodysIDsStandInTheWayOfAnothersProject(t *testing.T) {
	b, conn := stream(t, bus.Limits{})
	p := run(t, conn, facts.Options{Window: facts.NewWindow(0, 0)})
	for _, project := range []string{"shop", "news"} {
		if dup, err := p.Publish(t.Context(), batch(project, 1, 5)); err != nil || dup != 0 {
			t.Errorf("Publish(ids of %s) = %d, %v; want no duplicates", project, dup, err)
		}
	}
	again := run(t, b.connect(t), facts.Options{Window: facts.NewWindow(0, 0)})
	for project, want := range map[string]int{"shop": 5, "news": 5, "third": 0} {
		if dup, err := again.Publish(t.Context(), batch(project, 1, 5)); err != nil || dup != want {
			t.Errorf("Publish(ids of %s) after a restart = %d, %v; want %d duplicates", project, dup, err, want)
		}
	}
}

func TestARetryCountsOnceAcrossARestart(t *testing.T) {
	b, conn := stream(t, bus.Limits{})
	first := facts.NewPublisher(conn, facts.Options{Window: facts.NewWindow(0, 0)})
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- first.Run(ctx) }()
	for i := range 20 {
		if _, err := first.Publish(t.Context(), batch("shop", 1+i*5, 5)); err != nil {
			t.Fatal(err)
		}
	}
	cancel()
	if err := <-done; err != nil {
		t.Fatal(err)
	}

	second := run(t, b.connect(t), facts.Options{Window: facts.NewWindow(0, 0)})
	if dup, err := second.Publish(t.Context(), batch("shop", 1, 101)); err != nil || dup != 100 {
		t.Errorf("Publish(100 old, one new) after a restart = %d, %v; want 100 duplicates", dup, err)
	}
	if n, unique := count(stored(t, conn, 1)); n != 101 || unique != 101 {
		t.Errorf("the stream has %d facts, %d of them different; want 101", n, unique)
	}
}

func TestAFullStreamIsBusyAndLosesNothing(t *testing.T) {
	_, conn := stream(t, bus.Limits{FactsBytes: 256 << 10})
	p := run(t, conn, facts.Options{Window: facts.NewWindow(0, 0)})
	acked := 0
	for i := range 1000 {
		b := batch("shop", 1+i*10, 10)
		b.Events[0].ValueText = strings.Repeat("v", 16<<10)
		_, err := p.Publish(t.Context(), b)
		if errors.Is(err, facts.ErrBusy) {
			break
		}
		if err != nil {
			t.Fatalf("Publish() = %v, want nil or ErrBusy", err)
		}
		acked += 10
	}
	if n, unique := count(stored(t, conn, 1)); acked == 0 || n != acked || unique != n {
		t.Errorf("the stream has %d facts, %d of them different; %d were acknowledged", n, unique, acked)
	}
}

func TestWhatWaitsIsBounded(t *testing.T) {
	_, conn := stream(t, bus.Limits{})
	p := facts.NewPublisher(conn, facts.Options{MaxQueue: 2 << 10}) // does not run
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	defer wg.Wait()
	defer cancel()
	var refused error
	for i := 0; i < 1000 && refused == nil; i++ {
		sent := make(chan error, 1)
		wg.Go(func() {
			_, err := p.Publish(ctx, batch("shop", i, 1))
			sent <- err
		})
		select {
		case refused = <-sent:
		case <-time.After(5 * time.Millisecond): // it waits, as it should while there is room
		}
	}
	if !errors.Is(refused, facts.ErrBusy) {
		t.Errorf("Publish() to a publisher that stands still = %v, want ErrBusy before long", refused)
	}
}

func TestABrokerThatIsAwayIsSaidAtOnce(t *testing.T) {
	b, conn := stream(t, bus.Limits{})
	p := run(t, conn, facts.Options{Window: facts.NewWindow(0, 0)})
	if _, err := p.Publish(t.Context(), batch("shop", 1, 2)); err != nil {
		t.Fatal(err)
	}
	b.stop()
	for conn.Connected() {
		time.Sleep(time.Millisecond)
	}
	if _, err := p.Publish(t.Context(), batch("shop", 3, 2)); !errors.Is(err, facts.ErrAway) {
		t.Errorf("Publish() without a broker = %v, want ErrAway", err)
	}
	if p.Ready() == nil {
		t.Error("Ready() = nil without a broker")
	}
	b.start()
	if err := conn.Wait(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := p.Publish(t.Context(), batch("shop", 1, 4)); err != nil {
		t.Errorf("Publish() after the broker came back = %v", err)
	}
	if n, unique := count(stored(t, conn, 1)); n != 4 || unique != 4 {
		t.Errorf("the stream has %d facts, %d of them different; want 4", n, unique)
	}
}

// deaf is a relay to the broker that can keep the broker's answers to itself.
type deaf struct {
	to   string
	l    net.Listener
	mute atomic.Bool

	mu    sync.Mutex
	conns []net.Conn
	wg    sync.WaitGroup
}

func startDeaf(t *testing.T, to string) *deaf {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	d := &deaf{to: strings.TrimPrefix(to, "nats://"), l: l}
	d.wg.Go(func() {
		for {
			in, err := l.Accept()
			if err != nil {
				return
			}
			out, err := net.Dial("tcp", d.to)
			if err != nil {
				_ = in.Close()
				continue
			}
			d.mu.Lock()
			d.conns = append(d.conns, in, out)
			d.mu.Unlock()
			d.wg.Go(func() { _, _ = io.Copy(out, in); _ = out.Close() })
			d.wg.Go(func() { _, _ = io.Copy(hearing{in, &d.mute}, out); _ = in.Close() })
		}
	})
	t.Cleanup(func() { _ = l.Close(); d.cut(); d.wg.Wait() })
	return d
}

func (d *deaf) cut() {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, c := range d.conns {
		_ = c.Close()
	}
	d.conns = nil
}

type hearing struct {
	net.Conn
	mute *atomic.Bool
}

func (h hearing) Write(p []byte) (int, error) {
	if h.mute.Load() {
		return len(p), nil
	}
	return h.Conn.Write(p)
}

func TestAnAnswerThatWasLostIsAskedForAgain(t *testing.T) {
	b, direct := stream(t, bus.Limits{})
	relay := startDeaf(t, b.now.Load().URL())
	conn, err := bus.Connect(t.Context(), bus.Config{URL: "nats://" + relay.l.Addr().String(), Name: "deaf"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(conn.Close)
	p := run(t, conn, facts.Options{Window: facts.NewWindow(0, 0), AckWait: 200 * time.Millisecond})
	if _, err := p.Publish(t.Context(), batch("shop", 1, 1)); err != nil {
		t.Fatal(err)
	}

	relay.mute.Store(true)
	impatient, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if _, err := p.Publish(impatient, batch("shop", 2, 1)); !errors.Is(err, context.DeadlineExceeded) {
		t.Fatalf("Publish() while answers are lost = %v, want the context's error", err)
	}
	relay.cut()
	relay.mute.Store(false)
	if dup, err := p.Publish(t.Context(), batch("shop", 2, 1)); err != nil && !errors.Is(err, facts.ErrAway) || err == nil && dup != 1 {
		t.Errorf("Publish() of the same again = %d, %v; want a duplicate, or a refusal", dup, err)
	}
	if err := conn.Wait(t.Context()); err != nil {
		t.Fatal(err)
	}
	if dup, err := p.Publish(t.Context(), batch("shop", 2, 1)); err != nil || dup != 1 {
		t.Errorf("Publish() of the same, connected again = %d, %v; want a duplicate", dup, err)
	}
	if n, unique := count(stored(t, direct, 1)); n != 2 || unique != 2 {
		t.Errorf("the stream has %d facts, %d of them different; want 2", n, unique)
	}
}

func TestAWindowForgetsWhatIsOldAndNothingElse(t *testing.T) {
	w := facts.NewWindow(10*time.Minute, 0)
	at := time.Unix(1_790_000_000, 0)
	id := func(n int) (id events.FactID) {
		binary.BigEndian.PutUint64(id[:], uint64(n))
		return id
	}
	for minute := range 60 {
		now := at.Add(time.Duration(minute) * time.Minute)
		w.Add(now, id(minute))
		for old := range minute + 1 {
			age := minute - old
			if has := w.Has(id(old)); age <= 10 && !has || age > 16 && has {
				t.Errorf("at minute %d, Has(id of minute %d) = %v", minute, old, has)
			}
		}
	}
	w.Add(at.Add(24*time.Hour), id(1000))
	if w.Has(id(59)) || !w.Has(id(1000)) || w.Len() != 1 {
		t.Errorf("a day later the window has %d ids, want the newest only", w.Len())
	}
}

func TestAWindowIsBounded(t *testing.T) {
	w := facts.NewWindow(time.Hour, 300)
	at := time.Unix(1_790_000_000, 0)
	for n := range 1000 {
		var id events.FactID
		binary.BigEndian.PutUint64(id[:], uint64(n))
		w.Add(at, id)
		if !w.Has(id) {
			t.Fatalf("Has(id %d) = false just after it was added", n)
		}
	}
	if w.Len() > 300 || w.Forgotten() != int64(1000-w.Len()) {
		t.Errorf("the window has %d ids and forgot %d; want at most 300, and 1000 in all", w.Len(), w.Forgotten())
	}
}

func TestPlansAreRecordedOnceAndInOrder(t *testing.T) {
	_, conn := stream(t, bus.Limits{})
	p := run(t, conn, facts.Options{})
	for i := range 10 {
		if _, err := p.Publish(t.Context(), batch("shop", i, 1)); err != nil {
			t.Fatal(err)
		}
	}
	r, err := facts.NewReader(t.Context(), conn, 0)
	if err != nil {
		t.Fatal(err)
	}
	open := func() *facts.Plans {
		t.Helper()
		plans, err := facts.OpenPlans(t.Context(), conn, r)
		if err != nil {
			t.Fatal(err)
		}
		return plans
	}
	one, two := open(), open()
	_, end, err := one.After(t.Context(), 0, 0)
	if err != nil {
		t.Fatal(err)
	}
	stale := end
	for _, last := range []uint64{3, 4, 9} {
		if end, err = one.Record(t.Context(), end, last); err != nil {
			t.Fatalf("Record(…, %d) = %v", last, err)
		}
	}
	if _, err := two.Record(t.Context(), stale, 5); !errors.Is(err, facts.ErrTaken) {
		t.Errorf("Record() from an old end = %v, want ErrTaken", err)
	}
	want := []facts.Plan{
		{Stream: r.StreamID(), Number: 1, First: 1, Last: 3},
		{Stream: r.StreamID(), Number: 2, First: 4, Last: 4},
		{Stream: r.StreamID(), Number: 3, First: 5, Last: 9},
	}
	for done, wanted := range map[facts.Plan][]facts.Plan{
		{}: want, want[0]: want[1:], want[1]: want[2:], want[2]: nil,
	} {
		got, _, err := two.After(t.Context(), done.Number, done.Last)
		if diff := cmp.Diff(wanted, got); err != nil || diff != "" {
			t.Errorf("After(plan %d) = %v; -want +got:\n%s", done.Number, err, diff)
		}
	}
}

// The server says "store failed" of a stream that is full and of a disk that
// broke. After the first nothing is stored; after the second nobody knows.
func TestAFullStreamIsToldFromABrokenDisk(t *testing.T) {
	b := startBroker(t)
	conn := b.connect(t)
	refusal := func(description string) string {
		return fmt.Sprintf(`{"type":"io.nats.jetstream.api.v1.pub_ack_response","error":{"code":503,"err_code":10077,"description":%q}}`, description)
	}
	const stored = `{"stream":"FACTS","seq":1}`
	for name, c := range map[string]struct {
		answers []string // the last one again and again
		want    error
		asked   int64
	}{
		"full":         {[]string{refusal("maximum bytes exceeded")}, facts.ErrBusy, 1},
		"broken once":  {[]string{refusal("write error on file"), stored}, nil, 2},
		"broken, full": {[]string{refusal("write error on file"), refusal("maximum bytes exceeded")}, facts.ErrBusy, 2},
	} {
		t.Run(name, func(t *testing.T) {
			var asked atomic.Int64
			server, err := conn.NATS().Subscribe("facts.>", func(m *nats.Msg) { // in place of a stream
				n := asked.Add(1)
				_ = m.Respond([]byte(c.answers[min(int(n), len(c.answers))-1]))
			})
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = server.Unsubscribe() }()
			p := run(t, conn, facts.Options{})
			if _, err := p.Publish(t.Context(), batch("shop", 0, 1)); !errors.Is(err, c.want) {
				t.Errorf("Publish() = %v; want %v", err, c.want)
			}
			if asked.Load() != c.asked {
				t.Errorf("the server was asked %d times; want %d", asked.Load(), c.asked)
			}
		})
	}
}
