package forwardproxy

import (
	"errors"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/sluice-flags/sluice/internal/auth"
	"github.com/sluice-flags/sluice/pkg/flags"
)

// How a stream ends. All are worth coming back for but the second, which an SDK
// that comes back is told again.
var (
	errGoodbye  = status.Error(codes.Unavailable, "this edge is going away: connect again")
	errRevoked  = status.Error(codes.Unauthenticated, "the key is not known, or no longer valid")
	errKeyMoved = status.Error(codes.Unavailable, "the key sees something else now: connect again")
)

// A feed is one stream. What it is to be told of is in scope.Current; news says
// that there is something, and holds one word however much there is.
type feed struct {
	project string
	news    chan struct{}
	ended   chan error // the first reason to end

	key    *flags.Key  // as it is now; guarded by Server.mu
	expiry *time.Timer // of a key that has an end; likewise
}

func (f *feed) notify() {
	select {
	case f.news <- struct{}{}:
	default:
	}
}

func (f *feed) end(why error) {
	select {
	case f.ended <- why:
	default:
	}
}

// keyChanged ends the feed if its key lost what it was let in with. The caller
// holds Server.mu.
func (f *feed) keyChanged(state *flags.State) {
	now, err := auth.Again(state, f.key)
	switch {
	case errors.Is(err, auth.ErrKeyMoved):
		f.end(errKeyMoved)
	case err != nil:
		f.end(errRevoked)
	default:
		f.key = now
		f.endWithKey()
	}
}

// endWithKey ends the feed when its key ends, if it does. The caller holds
// Server.mu.
func (f *feed) endWithKey() {
	if f.expiry != nil {
		f.expiry.Stop()
		f.expiry = nil
	}
	if f.key.ExpiresAt != nil {
		f.expiry = time.AfterFunc(time.Until(*f.key.ExpiresAt), func() { f.end(errRevoked) })
	}
}

// add admits a feed, unless there is no room. Each success needs one drop.
func (s *Server) add(f *feed) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.draining:
		s.metrics.refused.WithLabelValues("draining").Inc()
		return errGoodbye
	case len(s.feeds) >= s.options.MaxStreams:
		s.metrics.refused.WithLabelValues("full").Inc()
		return status.Error(codes.ResourceExhausted, "this edge holds all the streams it can")
	}
	s.feeds[f] = struct{}{}
	f.endWithKey()
	s.metrics.streams.Inc()
	return nil
}

func (s *Server) drop(f *feed) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.feeds, f)
	if f.expiry != nil {
		f.expiry.Stop()
	}
	s.metrics.streams.Dec()
}
