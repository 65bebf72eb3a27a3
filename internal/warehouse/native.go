package warehouse

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/ClickHouse/ch-go"
)

// A native is connections over which blocks are sent as they are. The pool of
// the driver, which serves everything else, would take them apart value by
// value: that costs more than storing them.
type native struct {
	config Config
	mu     sync.Mutex
	idle   []*ch.Client
	closed bool
}

// maxIdle bounds the connections that are kept.
const maxIdle = 4

// open makes as many connections as a loader has inserts under way, so that
// greetings are over when work begins, and asks something: an embedded engine
// takes it for a reason to end when a connection goes without.
func (n *native) open(ctx context.Context) error {
	for range InsertsAtOnce {
		c, err := n.dial(ctx)
		if err != nil {
			return err
		}
		if err := n.do(ctx, c, ch.Query{Body: "SET insert_deduplicate = 1"}); err != nil {
			return err
		}
	}
	return nil
}

// send runs a query. A connection that was kept may be one that the server has
// forgotten, so then a new one is tried: what is sent carries a token, and twice
// is once.
func (n *native) send(ctx context.Context, q ch.Query) error {
	if c := n.kept(); c != nil {
		err := n.do(ctx, c, q)
		if err == nil || ctx.Err() != nil || ch.IsException(err) {
			return err
		}
	}
	c, err := n.dial(ctx)
	if err != nil {
		return err
	}
	return n.do(ctx, c, q)
}

func (n *native) do(ctx context.Context, c *ch.Client, q ch.Query) error {
	if err := c.Do(ctx, q); err != nil {
		_ = c.Close() // nobody knows what it would say next
		return err
	}
	n.keep(c)
	return nil
}

// keep keeps a connection for later.
func (n *native) keep(c *ch.Client) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.closed || len(n.idle) == maxIdle {
		_ = c.Close()
		return
	}
	n.idle = append(n.idle, c)
}

// kept takes a connection that was kept, the one that was used last, or nil.
func (n *native) kept() *ch.Client {
	n.mu.Lock()
	defer n.mu.Unlock()
	last := len(n.idle) - 1
	if last < 0 {
		return nil
	}
	c := n.idle[last]
	n.idle = n.idle[:last]
	return c
}

const dialTimeout = 5 * time.Second

// dial connects to the first address that answers. The greeting is never cut
// short, whatever becomes of ctx: an embedded engine would not survive it.
func (n *native) dial(ctx context.Context) (*ch.Client, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	o := ch.Options{
		Database: n.config.Database, User: n.config.User, Password: n.config.Password, ClientName: "sluice",
		Compression: ch.CompressionDisabled, DialTimeout: dialTimeout, HandshakeTimeout: 2 * dialTimeout,
		ReadTimeout: ch.NoTimeout, // contexts have it
	}
	if n.config.TLS {
		o.TLS = &tls.Config{MinVersion: tls.VersionTLS12}
	}
	var errs []error
	for address := range strings.SplitSeq(n.config.Addr, ",") {
		o.Address = strings.TrimSpace(address)
		c, err := ch.Dial(context.WithoutCancel(ctx), o)
		if err == nil {
			return c, nil
		}
		errs = append(errs, fmt.Errorf("%s: %w", o.Address, err))
	}
	return nil, errors.Join(errs...)
}

func (n *native) close() {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.closed = true
	for _, c := range n.idle {
		_ = c.Close()
	}
	n.idle = nil
}
