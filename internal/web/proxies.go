package web

import (
	"cmp"
	"net"
	"net/http"
	"net/netip"
	"strings"
)

// Proxies are the networks whose word about where a request comes from is taken.
type Proxies []netip.Prefix

// Settings are what every listener for the public can be told; embed it.
type Settings struct {
	Proxies Proxies `help:"Networks of proxies whose X-Forwarded-For, -Proto and -Host are believed, such as 10.0.0.0/8." placeholder:"CIDR"`
}

// Handler gives next requests whose RemoteAddr is the caller's address, also
// where a proxy stands in between. It changes the request itself: the server looks
// at its address no more, and [Middleware] has to see which route it took.
//
// X-Forwarded-Proto and X-Forwarded-Host give it the address that the caller used:
// see [BaseURL].
//
// X-Forwarded-For is believed from the right, as long as it was one of our
// proxies that added the entry: what stands further left is the caller's claim.
func (p Proxies) Handler(next http.Handler) http.Handler {
	if len(p) == 0 {
		return next
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if from, ok := p.behind(r); ok {
			r.RemoteAddr = net.JoinHostPort(from.String(), "0")
			p.address(r)
		}
		next.ServeHTTP(w, r)
	})
}

// address gives r the address that the caller used, as the proxies tell it.
func (p Proxies) address(r *http.Request) {
	if proto := strings.ToLower(r.Header.Get("X-Forwarded-Proto")); proto == "http" || proto == "https" {
		r.URL.Scheme = proto
	}
	if host := r.Header.Get("X-Forwarded-Host"); host != "" && !strings.ContainsAny(host, " ,/?#@\\") {
		r.Host = host
	}
}

// BaseURL is the address under which the caller reached us, such as
// "https://flags.example": the beginning of absolute URLs in answers. It is the
// caller's own word, or that of one of our proxies.
func BaseURL(r *http.Request) string {
	scheme := r.URL.Scheme
	if scheme == "" && r.TLS != nil {
		scheme = "https"
	}
	return cmp.Or(scheme, "http") + "://" + r.Host
}

// behind returns the address that the proxies tell of; false when it was none of
// them that called, or they say nothing that is an address.
func (p Proxies) behind(r *http.Request) (from netip.Addr, told bool) {
	from = Peer(r)
	if !p.trust(from) {
		return from, false
	}
	hops := strings.Split(strings.Join(r.Header.Values("X-Forwarded-For"), ","), ",")
	for i := len(hops) - 1; i >= 0 && p.trust(from); i-- {
		hop, err := netip.ParseAddr(strings.TrimSpace(hops[i]))
		if err != nil {
			break // nobody can tell what stood before it
		}
		from, told = hop.Unmap().WithZone(""), true
	}
	return from, told
}

func (p Proxies) trust(ip netip.Addr) bool {
	for _, prefix := range p {
		if prefix.Contains(ip) {
			return true
		}
	}
	return false
}

// Peer returns the address that a request came from, the zero address if it
// has none.
func Peer(r *http.Request) netip.Addr {
	host, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		host = r.RemoteAddr
	}
	ip, err := netip.ParseAddr(host)
	if err != nil {
		return netip.Addr{}
	}
	return ip.Unmap().WithZone("")
}
