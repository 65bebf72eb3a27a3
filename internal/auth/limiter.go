package auth

import (
	"net"
	"net/http"
	"sync"
	"time"
)

// Somebody with a wrong key in a configuration asks once in a while; somebody
// who guesses asks all the time.
const (
	guessBurst  = 20
	guessRefill = time.Second
	guessPeers  = 10_000
)

// limiter counts what an address got wrong: a token bucket each.
type limiter struct {
	mu    sync.Mutex
	peers map[string]bucket
}

type bucket struct {
	left float64
	at   time.Time
}

func (b bucket) refilled(now time.Time) bucket {
	return bucket{left: min(guessBurst, b.left+float64(now.Sub(b.at))/float64(guessRefill)), at: now}
}

// spent reports whether the address has no guess left.
func (l *limiter) spent(peer string, now time.Time) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	b, ok := l.peers[peer]
	return ok && b.refilled(now).left < 1
}

// charge takes one guess from the address.
func (l *limiter) charge(peer string, now time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.peers == nil {
		l.peers = map[string]bucket{}
	}
	b, ok := l.peers[peer]
	if !ok {
		l.makeRoom(now)
		b = bucket{left: guessBurst, at: now}
	}
	b = b.refilled(now)
	b.left = max(0, b.left-1)
	l.peers[peer] = b
}

// makeRoom forgets the addresses that are back at their full allowance, and all
// of them when that is not enough: memory stays bounded whoever asks.
func (l *limiter) makeRoom(now time.Time) {
	if len(l.peers) < guessPeers {
		return
	}
	for peer, b := range l.peers {
		if b.refilled(now).left >= guessBurst {
			delete(l.peers, peer)
		}
	}
	if len(l.peers) >= guessPeers {
		clear(l.peers)
	}
}

// peer is the address that a request came from. Headers that claim another one
// are not believed.
func peer(r *http.Request) string {
	host, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		return r.RemoteAddr
	}
	return host
}
