// Package caller says where a request comes from, as far as that can be trusted.
//
// Browsers and phones do not know their own address, so rules on address,
// country and browser see what the request shows. Servers evaluate on behalf of
// others: what they do not say about a user stays unknown.
package caller

import (
	"net"
	"net/http"
	"net/netip"
	"strings"

	"github.com/sluice-flags/sluice/pkg/eval"
	"github.com/sluice-flags/sluice/pkg/flags"
)

// An Origin is where a request came from.
type Origin struct {
	IP        string
	UserAgent string
}

// Proxies are the networks whose word about the caller's address is taken.
type Proxies []netip.Prefix

// Of reads the origin of r. X-Forwarded-For is believed from the right, as long
// as it was one of our proxies that added the entry.
func (p Proxies) Of(r *http.Request) Origin {
	ip := peer(r.RemoteAddr)
	if p.trust(ip) {
		hops := strings.Split(strings.Join(r.Header.Values("X-Forwarded-For"), ","), ",")
		for i := len(hops) - 1; i >= 0 && p.trust(ip); i-- {
			hop, err := netip.ParseAddr(strings.TrimSpace(hops[i]))
			if err != nil {
				break // nobody can tell what stood before it
			}
			ip = hop.Unmap()
		}
	}
	o := Origin{UserAgent: r.UserAgent()}
	if ip.IsValid() {
		o.IP = ip.String()
	}
	return o
}

// Complete fills in what a client cannot know of itself. Users of server keys
// are left as they are.
func (o Origin) Complete(u *eval.User, kind flags.KeyKind) {
	if kind != flags.KeyClient {
		return
	}
	if u.IP == "" {
		u.IP = o.IP
	}
	if u.UserAgent == "" {
		u.UserAgent = o.UserAgent
	}
}

func (p Proxies) trust(ip netip.Addr) bool {
	for _, prefix := range p {
		if prefix.Contains(ip) {
			return true
		}
	}
	return false
}

func peer(addr string) netip.Addr {
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		host = addr
	}
	ip, err := netip.ParseAddr(host)
	if err != nil {
		return netip.Addr{}
	}
	return ip.Unmap().WithZone("")
}
