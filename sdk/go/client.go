package sluice

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sluice-flags/sluice/pkg/eval"
)

// ErrNotReady reports that no edge answered in time. The client goes on trying.
var ErrNotReady = errors.New("no edge has answered yet")

// ErrRefused reports that an edge does not accept the key.
var ErrRefused = errors.New("the key was refused")

// ErrClosed reports that the client was closed.
var ErrClosed = errors.New("the client is closed")

// A Client decides for users. It is safe for concurrent use; make one per key
// and keep it for the life of the process.
type Client struct {
	options  options
	started  time.Time
	rules    atomic.Pointer[eval.Ruleset]
	override overrides
	board    *board
	updates  listeners[Update]
	recorder *recorder // nil when nothing is logged
	keeper   *keeper   // nil without a store

	transport *http.Transport // nil in local mode
	stopFeed  context.CancelFunc
	stopRest  context.CancelFunc
	feeding   sync.WaitGroup
	rest      sync.WaitGroup
	closing   sync.Once
	closed    error
}

// An Update says that decisions may differ from now on.
type Update struct {
	Sequence uint64 // as in [Status]
	Time     int64  // of the newest change, milliseconds

	// Changed names what may answer differently, dependents included; nil when
	// everything may.
	Changed []eval.Ref
}

// New makes a client for a server key and starts its work in the background. It
// opens no connection itself and waits only for the store; [Client.Ready] waits
// for an edge.
func New(key string, opts ...Option) (*Client, error) {
	o := defaults()
	for _, option := range opts {
		if err := option(&o); err != nil {
			return nil, fmt.Errorf("making a client: %w", err)
		}
	}
	if !o.local && !strings.HasPrefix(key, "secret-") {
		return nil, errors.New("making a client: want a server key (secret-…): only those may evaluate in process")
	}
	c := &Client{options: o, started: time.Now(), board: newBoard()}
	if o.store != nil {
		c.keeper = newKeeper(o.store, key, o.logger)
	}
	held, files, err := c.begin()
	if err != nil {
		return nil, fmt.Errorf("making a client: %w", err)
	}

	feeding, stopFeed := context.WithCancel(context.Background())
	rest, stopRest := context.WithCancel(context.Background())
	c.stopFeed, c.stopRest = stopFeed, stopRest
	if c.keeper != nil && !o.local {
		c.rest.Go(func() { c.keeper.run(rest) }) // Close ends it
	}
	if o.local {
		c.board.enter(Off, nil)
		return c, nil
	}
	c.transport = o.transport
	if c.transport == nil {
		c.transport = http.DefaultTransport.(*http.Transport).Clone()
	}
	web := &http.Client{
		Transport: c.transport, Timeout: 30 * time.Second,
		// A redirect would carry the key to wherever it points.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	if !o.silent {
		c.recorder = newRecorder(o, key, web)
		c.rest.Go(func() { c.recorder.run(rest) }) // Close ends it
	}
	f := &feed{client: c, key: key, web: web, held: held, lists: newIDLists(o.edge, key, web, files)}
	c.feeding.Go(func() { f.run(feeding) }) // Close ends it
	return c, nil
}

// Ready waits until the client holds what an edge holds, and returns nil then.
// It gives up with [ErrNotReady] at the end of ctx or of the init timeout,
// whichever is first, and with what made the client [Off]. None of that keeps
// it from deciding by what it has. In local mode it is ready at once.
func (c *Client) Ready(ctx context.Context) error {
	limit := time.NewTimer(time.Until(c.started.Add(c.options.initTimeout)))
	defer limit.Stop()
	select {
	case <-c.board.ready:
		if s := c.board.read(); s.State == Off {
			return s.LastError
		}
		return nil
	case <-ctx.Done():
		return c.notReady(ctx.Err())
	case <-limit.C:
		return c.notReady(nil)
	}
}

func (c *Client) notReady(err error) error {
	if err = errors.Join(err, c.board.read().LastError); err != nil {
		return fmt.Errorf("%w: %w", ErrNotReady, err)
	}
	return ErrNotReady
}

// Status returns how the client is doing.
func (c *Client) Status() Status {
	s := c.board.read()
	if c.recorder != nil {
		s.Dropped = c.recorder.dropped.Load()
	}
	return s
}

// OnStatus calls f whenever the state changes, until stop is called. Calls come
// one after the other from the client's own goroutine: f must not block, and
// must not close the client.
func (c *Client) OnStatus(f func(Status)) (stop func()) { return c.board.listeners.add(f) }

// OnUpdate calls f after definitions have changed, when decisions already follow
// them. The rules of [Client.OnStatus] apply.
func (c *Client) OnUpdate(f func(Update)) (stop func()) { return c.updates.add(f) }

// Flush sends what is queued and waits until it is acknowledged.
func (c *Client) Flush(ctx context.Context) error {
	if c.recorder == nil {
		return nil
	}
	return c.recorder.flush(ctx)
}

// Close ends the connection, sends what is queued, and ends all background work.
// When ctx ends first, what is still queued is dropped and the error says how
// much. Decisions go on by the last known state; they are not logged any more.
func (c *Client) Close(ctx context.Context) error {
	c.closing.Do(func() {
		c.stopFeed()
		c.feeding.Wait()
		var flushed error
		if c.recorder != nil {
			c.recorder.stop()
			flushed = c.recorder.flush(ctx)
		}
		c.stopRest()
		c.rest.Wait()
		if flushed != nil {
			c.closed = fmt.Errorf("closing: %d exposures and events were not acknowledged: %w", c.recorder.abandon(), flushed)
		}
		if c.transport != nil {
			c.transport.CloseIdleConnections()
		}
		c.board.enter(Off, ErrClosed)
	})
	return c.closed
}
