// Package forwardproxy speaks the gRPC protocol of Statsig's forward proxy, so
// that server SDKs that can stream get a change when it happens instead of at
// their next poll.
//
//	follower ── new generation ──▶ feed (one per stream) ──▶ the newest body
//
// The first answer is the body as it is, or the word that the SDK holds it
// already; whenever the rules of the key's scope have changed, the new body
// follows. The bytes are those of the spec download: encoded once for everybody,
// whatever the number of streams. A stream whose reader is slow keeps no queue:
// it is told of the newest state when it can be written to again.
//
// A stream always ends with an error status. An SDK takes a clean end for "there
// will be nothing more" and would never come back; an error makes it try again.
package forwardproxy

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/grpc"
	"google.golang.org/grpc/keepalive"

	"github.com/sluice-flags/sluice/internal/auth"
	"github.com/sluice-flags/sluice/pkg/flags"
	"github.com/sluice-flags/sluice/services/edge/internal/follower"
)

// Deps are what a server needs.
type Deps struct {
	// Resolve finds who is behind a token that came with the request.
	Resolve func(r *http.Request, token string) (auth.Principal, error)
	// Scope returns what a key may see.
	Scope func(state *flags.State, scope flags.Scope) *follower.Scope
}

// Options bound what streams may cost. The zero value works.
type Options struct {
	MaxStreams int           // streams, and connections; more are refused; default 10,000
	Heartbeat  time.Duration // between two messages of a stream without news; default 30 s
	Drain      time.Duration // how long streams may take to end on stop; default 2 s

	Logger     *slog.Logger
	Registerer prometheus.Registerer
}

func (o Options) withDefaults() Options {
	if o.MaxStreams <= 0 {
		o.MaxStreams = 10_000
	}
	if o.Heartbeat <= 0 {
		o.Heartbeat = 30 * time.Second
	}
	if o.Drain <= 0 {
		o.Drain = 2 * time.Second
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	return o
}

const (
	// maxRequest bounds a request: a key and three numbers.
	maxRequest = 16 << 10
	// maxIdle is how long a connection without a stream may stay.
	maxIdle = 5 * time.Minute
	// A connection that has been silent for pingAfter is asked whether it lives,
	// and let go when it has not answered in pingTimeout.
	pingAfter   = 30 * time.Second
	pingTimeout = 15 * time.Second
	// handshake is how long a new connection may take to speak.
	handshake = 10 * time.Second
	// minPing is how often a client may ask us.
	minPing = 5 * time.Second
)

// A Server serves the protocol. Create it with [New] and run [Server.Run].
type Server struct {
	deps    Deps
	options Options
	metrics *metrics

	mu       sync.Mutex
	feeds    map[*feed]struct{}
	draining bool
}

// New returns a server that serves nobody yet.
func New(d Deps, o Options) *Server {
	o = o.withDefaults()
	return &Server{deps: d, options: o, metrics: newMetrics(o.Registerer), feeds: make(map[*feed]struct{})}
}

// Run serves on l until ctx is done, then ends every stream with a status that
// makes SDKs come back, and returns when all have ended.
func (s *Server) Run(ctx context.Context, l net.Listener) error {
	server := grpc.NewServer(
		grpc.ForceServerCodecV2(codec{}),
		grpc.MaxRecvMsgSize(maxRequest),
		grpc.MaxConcurrentStreams(uint32(s.options.MaxStreams)),
		grpc.KeepaliveParams(keepalive.ServerParameters{MaxConnectionIdle: maxIdle, Time: pingAfter, Timeout: pingTimeout}),
		grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{MinTime: minPing, PermitWithoutStream: true}),
		grpc.ConnectionTimeout(handshake),
		grpc.WaitForHandlers(true),
	)
	server.RegisterService(&service, s)
	failed := make(chan error, 1)
	go func() { // ends with Stop below
		failed <- server.Serve(&bounded{Listener: l, server: s, room: make(chan struct{}, s.options.MaxStreams)})
	}()
	select {
	case err := <-failed:
		return fmt.Errorf("serving gRPC on %s: %w", l.Addr(), err)
	case <-ctx.Done():
	}
	s.Goodbye()
	cut := time.AfterFunc(s.options.Drain, server.Stop) // who does not read is not waited for
	server.GracefulStop()
	cut.Stop()
	if err := <-failed; err != nil && !errors.Is(err, grpc.ErrServerStopped) {
		return fmt.Errorf("serving gRPC on %s: %w", l.Addr(), err)
	}
	return nil
}

// Goodbye admits nobody any more and ends every stream. It does not wait for
// them.
func (s *Server) Goodbye() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.draining = true
	for f := range s.feeds {
		f.end(errGoodbye)
	}
}

// KeysChanged ends the streams whose key may no longer do what they do. The edge
// calls it with every change of a project's state.
func (s *Server) KeysChanged(state *flags.State, changed []flags.Ref) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, ref := range changed {
		if ref.Kind != flags.KindKey {
			continue
		}
		for f := range s.feeds {
			if f.project == state.Project() && f.key.Ref() == ref {
				f.keyChanged(state)
			}
		}
	}
}

// bounded is a listener that lets go at once of those for whom there is no room:
// an SDK that is refused turns to its next source, one that is kept waiting does
// nothing.
type bounded struct {
	net.Listener
	server *Server
	room   chan struct{} // one for each open connection
}

// Accept implements [net.Listener].
func (b *bounded) Accept() (net.Conn, error) {
	for {
		c, err := b.Listener.Accept()
		if err != nil {
			return nil, err
		}
		select {
		case b.room <- struct{}{}:
			return &counted{Conn: c, leave: sync.OnceFunc(func() { <-b.room })}, nil
		default:
			b.server.metrics.refused.WithLabelValues("full").Inc()
			_ = c.Close() // nobody has said anything yet
		}
	}
}

// counted is a connection that makes room when it closes.
type counted struct {
	net.Conn
	leave func()
}

// Close implements [net.Conn].
func (c *counted) Close() error {
	c.leave()
	return c.Conn.Close()
}
