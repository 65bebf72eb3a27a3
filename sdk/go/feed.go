package sluice

import (
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"strconv"
	"time"

	"github.com/sluice-flags/sluice/pkg/eval"
)

const (
	backoffBase = time.Second
	backoffCap  = 30 * time.Second
	healthy     = time.Minute     // a connection that lasted this long proves the network
	maxDelay    = 5 * time.Minute // the longest wait that an edge may order
)

// A feed keeps the definitions current. One goroutine does everything in turn:
// it holds a connection for as long as it lasts, rests, and tries again; while
// it rests and connections fail, it polls.
type feed struct {
	client *Client
	key    string
	web    *http.Client
	held   definitions
	lists  *idLists

	failures int       // connections in a row that did not prove themselves
	trouble  error     // why there is no connection
	polled   time.Time // the last poll that was answered
	nextPoll time.Time
	etag     string
}

// What to do after a connection has ended.
type verdict uint8

const (
	again    verdict = iota // connect again, after a rest
	pollOnly                // the live protocol is not for us: poll for ever
	giveUp                  // the key is refused
)

// An ending is how a connection ended.
type ending struct {
	err     error
	verdict verdict
	lasted  time.Duration // since the edge's first answer
	after   time.Duration // when to come back, if the edge said so; else 0
}

func (f *feed) run(ctx context.Context) {
	for {
		end := f.connect(ctx)
		if ctx.Err() != nil {
			return
		}
		f.trouble = end.err
		f.client.options.logger.Info("live connection ended", slog.Any("error", end.err), slog.Duration("lasted", end.lasted))
		if end.lasted >= healthy {
			f.failures = 0
		}
		rest := min(end.after, maxDelay)
		if rest <= 0 {
			rest = backoff(f.failures)
		}
		f.failures++

		switch end.verdict {
		case giveUp:
			f.client.board.enter(Off, end.err)
			return
		case pollOnly:
			f.failures, rest = max(f.failures, 2), 1<<62
		}
		if time.Since(f.polled) > 2*f.client.options.pollInterval { // else polls keep us current
			f.client.board.trouble(end.err, f.held.rules != nil)
		}
		if !f.rest(ctx, rest) {
			return
		}
	}
}

// backoff returns how long to rest after n failures: any time up to a limit that
// doubles, so that the clients of a lost edge do not come back all at once.
func backoff(n int) time.Duration {
	return rand.N(min(backoffCap, backoffBase<<min(n, 10)))
}

// rest waits, and polls meanwhile if one lost connection is not all there is to
// it. It reports whether the feed goes on.
func (f *feed) rest(ctx context.Context, d time.Duration) bool {
	end := time.NewTimer(d)
	defer end.Stop()
	for {
		poll := time.NewTimer(time.Until(f.nextPoll))
		due := poll.C
		if f.failures < 2 && f.held.rules != nil {
			due = nil
		}
		select {
		case <-ctx.Done():
			poll.Stop()
			return false
		case <-end.C:
			poll.Stop()
			return true
		case <-due:
		}
		f.nextPoll = time.Now().Add(f.client.options.pollInterval*9/10 + rand.N(f.client.options.pollInterval/5+1))
		refused, err := f.poll(ctx)
		switch {
		case ctx.Err() != nil:
			return false
		case refused:
			f.client.board.enter(Off, err)
			return false
		case err != nil:
			f.client.board.trouble(fmt.Errorf("%w; %w", f.trouble, err), f.held.rules != nil)
		default:
			f.polled, f.lists.owed = time.Now(), true
			f.mend(ctx)
			f.client.board.enter(Ready, f.trouble)
		}
	}
}

// join gives d the members of its id lists as they are at a sequence, and returns
// what may answer differently. An edge that cannot say costs the newest members
// and nothing else: they are asked for again.
func (f *feed) join(ctx context.Context, d definitions, least uint64) (definitions, []eval.Ref) {
	if !d.asksLists {
		return d, nil
	}
	if err := f.lists.sync(ctx, least); err != nil && ctx.Err() == nil {
		f.client.options.logger.Warn("id lists are not current", slog.Any("error", err))
	}
	if k := f.client.keeper; k != nil && f.lists.moved {
		k.keepLists(f.lists.snapshot())
		f.lists.moved = false
	}
	return d.withLists(f.lists.members())
}

// mend asks again for members that may have been missed.
func (f *feed) mend(ctx context.Context) {
	if !f.lists.owed || f.held.rules == nil {
		return
	}
	if d, changed := f.join(ctx, f.held, f.held.Seq); len(changed) > 0 {
		f.adopt(d, changed)
	}
}

// adopt makes d what everybody decides by. A nil changed means that everything
// may have.
func (f *feed) adopt(d definitions, changed []eval.Ref) {
	c := f.client
	f.held = d
	c.rules.Store(d.rules)
	c.board.moved(d.Seq, d.time())
	if changed == nil || len(changed) > 0 {
		c.updates.tell(Update{Sequence: d.Seq, Time: d.time(), Changed: changed})
	}
}

// refusal tells what an HTTP status says about coming back.
func refusal(res *http.Response) (v verdict, after time.Duration) {
	switch res.StatusCode {
	case http.StatusUnauthorized, http.StatusForbidden:
		return giveUp, 0
	}
	if s, err := strconv.Atoi(res.Header.Get("Retry-After")); err == nil && s > 0 {
		after = min(time.Duration(s)*time.Second, maxDelay)
	}
	return again, after
}
