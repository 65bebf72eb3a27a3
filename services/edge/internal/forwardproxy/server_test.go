package forwardproxy

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/sluice-flags/sluice/internal/auth"
	"github.com/sluice-flags/sluice/internal/bus"
	"github.com/sluice-flags/sluice/internal/statsig"
	"github.com/sluice-flags/sluice/pkg/flags"
	"github.com/sluice-flags/sluice/services/edge/internal/edgetest"
	"github.com/sluice-flags/sluice/services/edge/internal/follower"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// patience bounds every wait; nothing waits for it unless something is broken.
const patience = 20 * time.Second

// world is a server on a real listener, in front of a project in memory.
type world struct {
	*edgetest.Project
	server  *Server
	address string
	stop    func() // may be called twice
}

func newWorld(t *testing.T, o Options) *world {
	t.Helper()
	w := &world{Project: edgetest.New(t, "shop")}
	rulesets := follower.New(follower.Options{})
	resolver := auth.NewResolver(func(_ context.Context, project string) (*flags.State, error) {
		if project != "shop" {
			return nil, bus.ErrUnknownProject
		}
		return w.State(), nil
	}, "edge", nil)
	w.server = New(Deps{Resolve: resolver.Request, Scope: rulesets.Scope}, o)
	w.OnChange(rulesets.Changed)
	w.OnChange(func(_, after *flags.State, changed []flags.Ref) { w.server.KeysChanged(after, changed) })
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	w.address = l.Addr().String()

	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	var running sync.WaitGroup
	running.Go(func() {
		if err := w.server.Run(ctx, l); err != nil {
			t.Errorf("Run() = %v", err)
		}
	})
	w.stop = sync.OnceFunc(func() { cancel(); running.Wait() })
	t.Cleanup(func() {
		w.stop()
		rulesets.Close()
		if n := len(w.server.feeds); n != 0 {
			t.Errorf("%d streams after Run returned", n)
		}
	})
	return w
}

// client is one call, made as generated code would make it.
type client struct {
	t      *testing.T
	conn   *grpc.ClientConn
	call   grpc.ClientStream
	failed error // there was no call
}

func (w *world) dial(t *testing.T) *grpc.ClientConn {
	t.Helper()
	conn, err := grpc.NewClient(w.address, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return conn
}

// open makes a call with the given fields of a ConfigSpecRequest, on a
// connection of its own.
func (w *world) open(t *testing.T, method string, fields map[protoreflect.Name]protoreflect.Value, md ...string) *client {
	t.Helper()
	return call(t, w.dial(t), method, fields, md...)
}

func call(t *testing.T, conn *grpc.ClientConn, method string, fields map[protoreflect.Name]protoreflect.Value, md ...string) *client {
	t.Helper()
	m, field := message(t, "ConfigSpecRequest")
	for name, value := range fields {
		m.Set(field(name), value)
	}
	ctx, cancel := context.WithTimeout(metadata.AppendToOutgoingContext(t.Context(), md...), patience)
	t.Cleanup(cancel)
	c := &client{t: t, conn: conn}
	if c.call, c.failed = conn.NewStream(ctx, &grpc.StreamDesc{ServerStreams: true}, "/"+service.ServiceName+"/"+method); c.failed != nil {
		return c
	}
	// A refusal may come before all is sent: what it says is read later.
	_ = c.call.SendMsg(m)
	_ = c.call.CloseSend()
	return c
}

func key(token string) map[protoreflect.Name]protoreflect.Value {
	return map[protoreflect.Name]protoreflect.Value{"sdkKey": protoreflect.ValueOfString(token)}
}

func with(fields map[protoreflect.Name]protoreflect.Value, name protoreflect.Name, value protoreflect.Value) map[protoreflect.Name]protoreflect.Value {
	fields[name] = value
	return fields
}

func (c *client) receive() (body string, time int64, err error) {
	if c.failed != nil {
		return "", 0, c.failed
	}
	m, field := message(c.t, "ConfigSpecResponse")
	if err := c.call.RecvMsg(m); err != nil {
		return "", 0, err
	}
	return m.Get(field("spec")).String(), int64(m.Get(field("lastUpdated")).Uint()), nil
}

// next waits for a message.
func (c *client) next() (body string, time int64) {
	c.t.Helper()
	body, time, err := c.receive()
	if err != nil {
		c.t.Fatalf("receiving: %v", err)
	}
	return body, time
}

// end waits for the end and returns its status.
func (c *client) end() *status.Status {
	c.t.Helper()
	for {
		if _, _, err := c.receive(); err != nil {
			return status.Convert(err)
		}
	}
}

// download is the body that a download over HTTP would bring.
func (w *world) download(t *testing.T, token string, body func(*follower.Version) (*follower.Download, error)) (string, int64) {
	t.Helper()
	k := w.KeyOf(t, token)
	v := w.server.deps.Scope(w.State(), k.Scope()).Current()
	d, err := body(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(d.Body("")), v.SpecTime
}

func TestStreamBringsTheBodyOfTheDownloadAndThenEachNewOne(t *testing.T) {
	w := newWorld(t, Options{})
	token := w.Key(t, flags.KeyServer)
	for _, c := range []struct {
		name    string
		version protoreflect.EnumNumber
		body    func(*follower.Version) (*follower.Download, error)
	}{
		{"an SDK without versions", unversioned, (*follower.Version).V1},
		{"v1", versionOne, (*follower.Version).V1},
		{"v2", versionTwo, (*follower.Version).V2},
	} {
		t.Run(c.name, func(t *testing.T) {
			w.Put(t, w.Gate("checkout", edgetest.Nobody()))
			s := w.open(t, "StreamConfigSpec", with(key(token), "version", protoreflect.ValueOfEnum(c.version)))
			for _, rule := range []flags.Rule{edgetest.Nobody(), edgetest.Everyone(), edgetest.Only("u1")} {
				if rule.PassPercentage != 0 {
					w.Put(t, w.Gate("checkout", rule))
				}
				body, at := s.next()
				if want, wantAt := w.download(t, token, c.body); body != want || at != wantAt {
					t.Errorf("got %s at %d\nwant %s at %d", body, at, want, wantAt)
				}
			}
		})
	}
}

func TestUnaryCallBringsTheBodyOnce(t *testing.T) {
	w := newWorld(t, Options{})
	w.Put(t, w.Gate("checkout", edgetest.Everyone()))
	token := w.Key(t, flags.KeyServer)
	body, at := w.open(t, "getConfigSpec", key(token)).next()
	if want, wantAt := w.download(t, token, (*follower.Version).V1); body != want || at != wantAt {
		t.Errorf("got %s at %d\nwant %s at %d", body, at, want, wantAt)
	}
}

func TestWhoHoldsTheBodyIsSpared(t *testing.T) {
	w := newWorld(t, Options{})
	w.Put(t, w.Gate("checkout", edgetest.Nobody()))
	token := w.Key(t, flags.KeyServer)
	full, now := w.download(t, token, (*follower.Version).V1)
	for _, c := range []struct {
		name  string
		since int64
		want  string
	}{
		{"nothing held", 0, full},
		{"an older one held", now - 1, full},
		{"this one held", now, statsig.NoUpdates},
	} {
		t.Run(c.name, func(t *testing.T) {
			fields := with(key(token), "sinceTime", protoreflect.ValueOfUint64(uint64(c.since)))
			for _, method := range []string{"getConfigSpec", "StreamConfigSpec"} {
				if body, at := w.open(t, method, fields).next(); body != c.want || at != now {
					t.Errorf("%s: got %s at %d; want %s at %d", method, body, at, c.want, now)
				}
			}
		})
	}
}

func TestChangesElsewhereSendNothing(t *testing.T) {
	w := newWorld(t, Options{})
	w.Put(t, &flags.Environment{Name: "staging"})
	token := w.Key(t, flags.KeyServer)
	s := w.open(t, "StreamConfigSpec", key(token))
	s.next()
	w.Key(t, flags.KeyClient) // no rule of anybody
	w.Put(t, w.Gate("checkout", edgetest.Everyone()))
	body, _ := s.next()
	if !strings.Contains(body, "checkout") {
		t.Errorf("the second message is %s; want the first change of rules", body)
	}
}

func TestSlowReaderEndsOnTheNewestAndIsSparedTheRest(t *testing.T) {
	w := newWorld(t, Options{})
	token, other := w.Key(t, flags.KeyServer), w.Key(t, flags.KeyServer)
	slow, quick := w.open(t, "StreamConfigSpec", key(token)), w.open(t, "StreamConfigSpec", key(other))
	slow.next()
	quick.next()

	const changes = 30
	filler := bytes.Repeat([]byte("x"), 60_000) // two are more than the windows take
	for i := range changes {
		value, err := json.Marshal(map[string]any{"number": i, "filler": string(filler)})
		if err != nil {
			t.Fatal(err)
		}
		w.Put(t, w.Config("banner", string(value)))
		for { // whoever reads gets every state in time, whatever the slow one does
			if body, _ := quick.next(); strings.Contains(body, fmt.Sprintf(`"number":%d`, i)) {
				break
			}
		}
	}
	last := fmt.Sprintf(`"number":%d`, changes-1)
	for n := 1; ; n++ {
		if body, _ := slow.next(); strings.Contains(body, last) {
			break
		}
		if n > changes/4 {
			t.Fatalf("%d messages were kept for a reader that does not read; want a few", n)
		}
	}
}

func TestStreamEndsWhenTheKeyDoes(t *testing.T) {
	expires := func(k *flags.Key) {
		soon := time.Now().Add(500 * time.Millisecond)
		k.ExpiresAt = &soon
	}
	for _, c := range []struct {
		name string
		edit func(*flags.Key)
		make func(*flags.Key)
		want codes.Code
	}{
		{name: "revoked", edit: func(k *flags.Key) { k.Revoked = true }, want: codes.Unauthenticated},
		{name: "moved", edit: func(k *flags.Key) { k.TargetApps = []string{"web"} }, want: codes.Unavailable},
		{name: "made to end", edit: expires, want: codes.Unauthenticated},
		{name: "expired", make: expires, want: codes.Unauthenticated},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t, Options{})
			edit := func(*flags.Key) {}
			if c.make != nil {
				edit = c.make
			}
			token := w.Key(t, flags.KeyServer, edit)
			s := w.open(t, "StreamConfigSpec", key(token))
			s.next()
			if c.edit != nil {
				k := w.KeyOf(t, token)
				c.edit(k)
				w.Put(t, k)
			}
			if got := s.end(); got.Code() != c.want {
				t.Errorf("the stream ended with %v; want %v", got, c.want)
			}
		})
	}
}

func TestRefusals(t *testing.T) {
	w := newWorld(t, Options{})
	server, browser, console := w.Key(t, flags.KeyServer), w.Key(t, flags.KeyClient), w.Key(t, flags.KeyConsole)
	unknown, _ := auth.Generate(flags.KeyServer, "shop")
	elsewhere, _ := auth.Generate(flags.KeyServer, "nowhere")
	for _, c := range []struct {
		name   string
		fields map[protoreflect.Name]protoreflect.Value
		md     []string
		want   codes.Code
	}{
		{name: "no key", want: codes.Unauthenticated},
		{name: "no key at all", fields: key("hello"), want: codes.Unauthenticated},
		{name: "an unknown key", fields: key(unknown), want: codes.Unauthenticated},
		{name: "an unknown project", fields: key(elsewhere), want: codes.Unauthenticated},
		{name: "a client key", fields: key(browser), want: codes.PermissionDenied},
		{name: "a console key", fields: key(console), want: codes.PermissionDenied},
		{name: "a page of a browser", fields: key(server), md: []string{"origin", "https://shop.example"}, want: codes.PermissionDenied},
		{name: "an unknown version", fields: with(key(server), "version", protoreflect.ValueOfEnum(9)), want: codes.InvalidArgument},
		{name: "a request without end", fields: key(strings.Repeat("x", 1<<20)), want: codes.ResourceExhausted},
		{name: "a key in the metadata", md: []string{"statsig-api-key", server}, want: codes.OK},
		{name: "a bearer in the metadata", md: []string{"authorization", "Bearer " + server}, want: codes.OK},
	} {
		t.Run(c.name, func(t *testing.T) {
			for _, method := range []string{"getConfigSpec", "StreamConfigSpec"} {
				_, _, err := w.open(t, method, c.fields, c.md...).receive()
				if got := status.Convert(err); got.Code() != c.want {
					t.Errorf("%s: %v; want %v", method, got, c.want)
				}
			}
		})
	}
}

// rubbish sends bytes that are no message.
type rubbish struct{}

func (rubbish) Name() string                { return "proto" }
func (rubbish) Marshal(any) ([]byte, error) { return []byte{0x0a, 0xff}, nil }
func (rubbish) Unmarshal([]byte, any) error { return nil }

func TestRubbishIsTheCallersFault(t *testing.T) {
	w := newWorld(t, Options{})
	err := w.dial(t).Invoke(t.Context(), "/"+service.ServiceName+"/getConfigSpec", struct{}{}, nil, grpc.ForceCodec(rubbish{}))
	if got := status.Code(err); got != codes.InvalidArgument {
		t.Errorf("Invoke() = %v; want %v", err, codes.InvalidArgument)
	}
}

func TestMoreStreamsThanThereIsRoomForAreRefused(t *testing.T) {
	w := newWorld(t, Options{MaxStreams: 2})
	token := w.Key(t, flags.KeyServer)
	first, second := w.open(t, "StreamConfigSpec", key(token)), w.open(t, "StreamConfigSpec", key(token))
	first.next()
	second.next()
	// A client that was refused connects again by itself, and would take the room
	// that another leaves: each goes before the next comes.
	third := w.open(t, "StreamConfigSpec", key(token))
	if got := third.end(); got.Code() != codes.Unavailable {
		t.Errorf("a third connection ended with %v; want %v", got, codes.Unavailable)
	}
	third.conn.Close()
	if got := call(t, second.conn, "StreamConfigSpec", key(token)).end(); got.Code() != codes.ResourceExhausted {
		t.Errorf("a third stream ended with %v; want %v", got, codes.ResourceExhausted)
	}

	first.conn.Close() // makes room
	deadline := time.Now().Add(patience)
	for {
		late := w.open(t, "StreamConfigSpec", key(token))
		_, _, err := late.receive()
		if err == nil {
			break
		}
		late.conn.Close()
		if time.Now().After(deadline) {
			t.Fatalf("after another has left: %v", err)
		}
	}
}

func TestSilenceIsBroken(t *testing.T) {
	w := newWorld(t, Options{Heartbeat: 10 * time.Millisecond})
	s := w.open(t, "StreamConfigSpec", key(w.Key(t, flags.KeyServer)))
	_, now := s.next()
	if body, at := s.next(); body != statsig.NoUpdates || at != now {
		t.Errorf("got %s at %d; want %s at %d", body, at, statsig.NoUpdates, now)
	}
}

func TestStoppingSendsEverybodyElsewhere(t *testing.T) {
	w := newWorld(t, Options{Drain: 50 * time.Millisecond})
	s := w.open(t, "StreamConfigSpec", key(w.Key(t, flags.KeyServer)))
	s.next()
	deaf := w.open(t, "StreamConfigSpec", key(w.Key(t, flags.KeyServer)))
	for i := range 10 { // more than the windows take: the server waits in a write
		w.Put(t, w.Config("banner", fmt.Sprintf(`{"number":%d,"filler":%q}`, i, strings.Repeat("x", 60_000))))
		s.next()
	}
	w.stop()
	if got := s.end(); got.Code() != codes.Unavailable {
		t.Errorf("the stream ended with %v; want %v", got, codes.Unavailable)
	}
	if got := deaf.end(); got.Code() != codes.Unavailable {
		t.Errorf("the stream that nobody read ended with %v; want %v", got, codes.Unavailable)
	}
}
