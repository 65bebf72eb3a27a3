package auth

import (
	"net/http"
	"net/netip"
	"sync"
	"time"

	"github.com/sluice-flags/sluice/internal/web"
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
	peers map[netip.Addr]bucket
}

type bucket struct {
	left float64
	at   time.Time
}

func (b bucket) refilled(now time.Time) bucket {
	return bucket{left: min(guessBurst, b.left+float64(now.Sub(b.at))/float64(guessRefill)), at: now}
}

// spent reports whether the address has no guess left.
func (l *limiter) spent(peer netip.Addr, now time.Time) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	b, ok := l.peers[peer]
	return ok && b.refilled(now).left < 1
}

// charge takes one guess from the address.
func (l *limiter) charge(peer netip.Addr, now time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.peers == nil {
		l.peers = map[netip.Addr]bucket{}
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

// peer is the address that a request came from. Whether a header may claim
// another one is settled before: see [web.Proxies]. Who has an IPv6 address has
// as many as they like, so a network counts as one.
func peer(r *http.Request) netip.Addr {
	ip := web.Peer(r)
	if ip.Is6() {
		network, _ := ip.Prefix(64) // fails on lengths that an address does not have
		return network.Addr()
	}
	return ip
}
