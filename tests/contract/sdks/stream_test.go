package sdks_test

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sluice-flags/sluice/internal/freeport"
	"github.com/sluice-flags/sluice/tests/contract/sdks"
	"github.com/sluice-flags/sluice/tests/harness"
)

// A relay stands between an SDK and an address, and can be cut.
type relay struct {
	t       testing.TB
	address string
	target  string

	mu       sync.Mutex
	listener net.Listener
	conns    map[net.Conn]struct{}
}

func newRelay(t testing.TB, target string) *relay {
	r := &relay{t: t, address: freeport.For(t), target: target}
	r.mend()
	t.Cleanup(r.cut)
	return r
}

// mend lets connections through again.
func (r *relay) mend() {
	r.t.Helper()
	l, err := net.Listen("tcp", r.address)
	if err != nil {
		r.t.Fatal(err)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.listener, r.conns = l, map[net.Conn]struct{}{}
	go func() { // ends with the listener
		for {
			near, err := l.Accept()
			if err != nil {
				return
			}
			far, err := net.Dial("tcp", r.target)
			if err != nil {
				near.Close()
				continue
			}
			r.join(near, far)
		}
	}()
}

func (r *relay) join(near, far net.Conn) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, pair := range [][2]net.Conn{{near, far}, {far, near}} {
		r.conns[pair[0]] = struct{}{}
		go func() { // ends with either connection
			_, _ = io.Copy(pair[0], pair[1])
			pair[0].Close()
		}()
	}
}

// cut ends all connections and refuses new ones.
func (r *relay) cut() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.listener.Close()
	for c := range r.conns {
		c.Close()
	}
}

// streaming are the SDKs that can stream, and how they are told to, from a stream
// and, where they cannot reach it, by polling.
var streaming = map[string]func(setup *sdks.Setup, stream, polls string){
	"statsig in Python":   func(s *sdks.Setup, stream, polls string) { s.Stream, s.Polls = stream, polls },
	"statsig-python-core": func(s *sdks.Setup, stream, polls string) { s.Stream, s.Polls = stream, polls },
	"statsig-node-core": func(s *sdks.Setup, stream, polls string) {
		adapters := []map[string]any{{"adapterType": "network_grpc_websocket", "specsUrl": "http://" + stream, "initTimeoutMs": 1000}}
		if polls != "" {
			adapters = append(adapters, map[string]any{"adapterType": "network_http", "specsUrl": polls + "/v2/download_config_specs", "initTimeoutMs": 3000})
		}
		s.Options = map[string]any{"specAdaptersConfig": adapters}
	},
}

func TestRulesAreStreamedToTheSDKsThatCan(t *testing.T) {
	t.Parallel()
	grpc := freeport.For(t)
	p := harness.Start(t, harness.Options{Args: []string{"--grpc-listen", grpc}})
	lab := sdks.NewLab(t)
	shop := furnish(p.NewProject("streams"))
	for _, sdk := range sdks.Servers() {
		tell, can := streaming[sdk.Name]
		if !can {
			continue
		}
		t.Run(sdk.Name, func(t *testing.T) {
			t.Parallel()
			b := &bench{Driver: lab.Start(t, sdk).For(t), shop: forTest(t, shop), slug: sdk.Name}
			t.Run("pushed, kept while the stream is lost, pushed again", func(t *testing.T) { streams(t, b, grpc, tell) })
			if sdk.Name == "statsig in Python" {
				t.Run("polled while the stream is lost", func(t *testing.T) { failsOver(t, b, lab, grpc, tell) })
			}
			t.Run("polled where there is no stream yet", func(t *testing.T) { pollsInstead(t, b, lab, grpc, tell) })
		})
	}
}

func streams(t *testing.T, b *bench, grpc string, tell func(*sdks.Setup, string, string)) {
	wire := newRelay(t, grpc)
	// Nobody answers where this instance would poll: what it knows, it was pushed.
	setup := sdks.Setup{Base: b.nowhere(), Key: b.shop.Server}
	tell(&setup, wire.address, "")
	i := b.Open(setup)
	defer i.Close()
	u := b.user("stream", 0)
	gates := 0
	flip := func() (gate string) {
		gates++
		gate = fmt.Sprintf("streamed-%d-%s", gates, b.slug)
		b.shop.Create("gates", harness.Doc{"name": gate, "rules": []harness.Doc{}})
		b.shop.SetGate(gate, 100)
		return gate
	}
	first := flip()
	b.turns(i, u, first)
	b.agrees(u, i.Check(u, everything))

	wire.cut()
	missed := flip()
	if !i.Gate(u, first) || i.Gate(u, missed) {
		t.Errorf("gates after the stream was lost: %v, %v; want what the SDK knew: true, false", i.Gate(u, first), i.Gate(u, missed))
	}
	wire.mend()
	b.turns(i, u, missed)
	b.turns(i, u, flip())
}

// failsOver loses a stream and finds the SDK polling, where its maker's host is
// ours, until the stream is back.
func failsOver(t *testing.T, b *bench, lab *sdks.Lab, grpc string, tell func(*sdks.Setup, string, string)) {
	platform, err := url.Parse(b.shop.HTTP)
	if err != nil {
		t.Fatal(err)
	}
	var polls atomic.Int64
	forward := httputil.NewSingleHostReverseProxy(platform)
	lab.Vendor().StandIn(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		polls.Add(1)
		forward.ServeHTTP(w, r)
	}))
	defer lab.Vendor().StandIn(nil)

	wire := newRelay(t, grpc)
	setup := sdks.Setup{Base: b.nowhere(), Key: b.shop.Server}
	tell(&setup, wire.address, "")
	i := b.Open(setup)
	defer i.Close()
	u := b.user("failover", 0)
	flip := func(gate string) {
		b.shop.Create("gates", harness.Doc{"name": gate, "rules": []harness.Doc{}})
		b.shop.SetGate(gate, 100)
		b.turns(i, u, gate)
	}
	flip("failover-pushed")
	if n := polls.Load(); n != 0 {
		t.Errorf("%d polls while the stream was there; want none", n)
	}
	wire.cut()
	flip("failover-polled")
	wire.mend()
	flip("failover-again")
	// Back on the stream, it polls no more: what was on its way is let pass.
	harness.Within(t, 30*time.Second, func() error {
		before := polls.Load()
		time.Sleep(2500 * time.Millisecond) // it polls each second
		if n := polls.Load() - before; n != 0 {
			return fmt.Errorf("%d polls in 2.5 s after the stream is back", n)
		}
		return nil
	})
}

// pollsInstead starts an SDK where nobody streams yet.
func pollsInstead(t *testing.T, b *bench, lab *sdks.Lab, grpc string, tell func(*sdks.Setup, string, string)) {
	setup := sdks.Setup{Base: b.shop.HTTP, Key: b.shop.Server}
	wire := newRelay(t, grpc)
	wire.cut()
	tell(&setup, wire.address, b.shop.HTTP)
	i := b.Open(setup)
	defer i.Close()
	u := b.user("polled", 0)
	if b.slug == "statsig in Python" {
		// It polls its maker, whatever its settings.
		harness.Within(t, 30*time.Second, func() error {
			if !lab.Vendor().Asked("api.statsigcdn.com:443") {
				return fmt.Errorf("it has not looked for the address that it polls")
			}
			return nil
		})
		return
	}
	b.agrees(u, i.Check(u, everything))
	gate := "polled-" + b.slug
	b.shop.Create("gates", harness.Doc{"name": gate, "rules": []harness.Doc{}})
	b.shop.SetGate(gate, 100)
	wire.mend() // the core goes on asking for the stream, and for nothing else
	b.turns(i, u, gate)
}
