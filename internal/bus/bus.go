// Package bus is where the services meet: NATS, as Sluice uses it. Connections,
// the names of streams and subjects, the settings that our promises need and the
// checks that they are so, all stand here and nowhere else.
//
// Servers other than the embedded one must be set up to sync always
// (`jetstream { sync_interval: always }`): that cannot be seen from here.
package bus

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// A Config says how to reach NATS. Either URL or InProcess is required.
type Config struct {
	// URL is one or more server addresses, separated by commas.
	URL string
	// InProcess connects to an embedded server through memory.
	InProcess nats.InProcessConnProvider
	// Name tells connections apart in the server's monitoring.
	Name string
	// Credentials is a file with a user's JWT and key.
	Credentials string
	// CA, Cert and Key are PEM files: whom to trust, and how to be known.
	CA, Cert, Key string
	// InboxPrefix replaces "_INBOX" where permissions ask for it.
	InboxPrefix string
	// Logger receives what happens to the connection. Nil discards it.
	Logger *slog.Logger
}

// A Conn is a connection that comes back by itself. It is safe for concurrent
// use.
type Conn struct {
	nc *nats.Conn
	js jetstream.JetStream
	// refused is the last refusal by permission: a broken set-up that calls
	// would otherwise report as time-outs.
	refused atomic.Pointer[error]
}

const (
	requestTimeout   = 5 * time.Second
	reconnectAtMost  = 2 * time.Second
	firstConnectWait = 2 * time.Second
)

// Connect connects to NATS. If nobody answers there yet it returns all the same
// and goes on trying, for what we serve does not depend on it; [Conn.Wait] waits.
// An error means that the configuration cannot work.
func Connect(ctx context.Context, c Config) (*Conn, error) {
	if c.URL == "" && c.InProcess == nil {
		return nil, errors.New("no NATS address")
	}
	lg := c.Logger
	if lg == nil {
		lg = slog.New(slog.DiscardHandler)
	}
	conn := &Conn{}
	opts := []nats.Option{
		nats.Name(c.Name),
		nats.Timeout(firstConnectWait),
		nats.RetryOnFailedConnect(true),
		nats.MaxReconnects(-1),
		nats.CustomReconnectDelay(func(attempts int) time.Duration {
			most := min(reconnectAtMost, 50*time.Millisecond<<min(attempts, 10))
			return rand.N(most) //nolint:gosec // jitter
		}),
		// What cannot be sent now fails now: its caller decides what then.
		nats.ReconnectBufSize(-1),
		nats.PingInterval(5 * time.Second),
		nats.MaxPingsOutstanding(2),
		nats.ErrorHandler(func(_ *nats.Conn, sub *nats.Subscription, err error) {
			if errors.Is(err, nats.ErrPermissionViolation) {
				conn.refused.Store(&err)
			}
			subject := ""
			if sub != nil { // it is about one of ours: which, is half of what it says
				subject = sub.Subject
			}
			level := slog.LevelError
			if errors.Is(err, nats.ErrSlowConsumer) {
				// Only readers of streams have bounds, and they ask again for what they miss.
				level = slog.LevelDebug
			}
			lg.Log(context.Background(), level, "bus error", slog.Any("error", err), slog.String("subject", subject))
		}),
		nats.DisconnectErrHandler(func(_ *nats.Conn, err error) {
			if err != nil {
				lg.Warn("bus disconnected", slog.Any("error", err))
			}
		}),
		nats.ReconnectHandler(func(nc *nats.Conn) {
			lg.Info("bus connected again", slog.String("server", nc.ConnectedUrlRedacted()))
		}),
	}
	if c.InProcess != nil {
		opts = append(opts, nats.InProcessServer(c.InProcess))
	}
	if c.Credentials != "" {
		opts = append(opts, nats.UserCredentials(c.Credentials))
	}
	if c.CA != "" {
		opts = append(opts, nats.RootCAs(c.CA))
	}
	if c.Cert != "" {
		opts = append(opts, nats.ClientCert(c.Cert, c.Key))
	}
	if c.InboxPrefix != "" {
		opts = append(opts, nats.CustomInboxPrefix(c.InboxPrefix))
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	nc, err := nats.Connect(c.URL, opts...)
	if err != nil {
		return nil, fmt.Errorf("connecting to NATS: %w", err)
	}
	conn.nc = nc
	if conn.js, err = jetstream.New(nc, jetstream.WithDefaultTimeout(requestTimeout)); err != nil {
		nc.Close()
		return nil, fmt.Errorf("connecting to NATS: %w", err)
	}
	return conn, nil
}

// NATS is the plain connection.
func (c *Conn) NATS() *nats.Conn { return c.nc }

// JetStream is the connection's view of streams.
func (c *Conn) JetStream() jetstream.JetStream { return c.js }

// Connected reports whether a server answers just now.
func (c *Conn) Connected() bool { return c.nc.IsConnected() }

// Status is nil while a server answers, and otherwise why none does.
func (c *Conn) Status() error {
	if refused := c.refused.Load(); refused != nil {
		return fmt.Errorf("NATS refuses us: %w", *refused)
	}
	if !c.nc.IsConnected() {
		return fmt.Errorf("NATS is away: %s", c.nc.Status())
	}
	return nil
}

// Wait returns when a server answers, or with the context's error.
func (c *Conn) Wait(ctx context.Context) error {
	changed := c.nc.StatusChanged(nats.CONNECTED)
	defer c.nc.RemoveStatusListener(changed)
	for !c.nc.IsConnected() {
		select {
		case <-ctx.Done():
			return fmt.Errorf("waiting for NATS: %w", context.Cause(ctx))
		case <-changed:
		}
	}
	return nil
}

// ErrLost ends what was asked over a connection that is gone: no answer will
// come, though a server may have heard the question.
var ErrLost = errors.New("the connection was lost")

// UntilLost is a context that also ends, with cause [ErrLost], when the
// connection that is there now is lost. Stop must be called.
func (c *Conn) UntilLost(ctx context.Context) (_ context.Context, stop func()) {
	ctx, cancel := context.WithCancelCause(ctx)
	lost := c.nc.StatusChanged(nats.RECONNECTING, nats.CLOSED)
	watched := make(chan struct{})
	go func() { // ends with ctx, which stop ends
		defer close(watched)
		select {
		case <-ctx.Done():
		case <-lost:
			cancel(ErrLost)
		}
	}()
	return ctx, func() {
		cancel(nil)
		<-watched
		c.nc.RemoveStatusListener(lost)
	}
}

// Drain lets what is under way leave, and closes the connection.
func (c *Conn) Drain(ctx context.Context) error {
	closed := c.nc.StatusChanged(nats.CLOSED)
	defer c.nc.RemoveStatusListener(closed)
	if err := c.nc.Drain(); err != nil {
		c.nc.Close()
		if errors.Is(err, nats.ErrConnectionReconnecting) {
			return nil // nobody answers: there is nothing that could leave
		}
		return fmt.Errorf("draining the bus: %w", err)
	}
	for !c.nc.IsClosed() {
		select {
		case <-ctx.Done():
			c.nc.Close()
			return fmt.Errorf("draining the bus: %w", context.Cause(ctx))
		case <-closed:
		}
	}
	return nil
}

// Run holds the connection until ctx is done and then drains it: as a part of a
// process it starts first and stops last.
func (c *Conn) Run(ctx context.Context) error {
	<-ctx.Done()
	return c.Drain(context.WithoutCancel(ctx))
}

// Close closes the connection at once.
func (c *Conn) Close() { c.nc.Close() }
