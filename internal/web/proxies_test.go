package web_test

import (
	"net/http"
	"net/http/httptest"
	"net/netip"
	"testing"

	"github.com/sluice-flags/sluice/internal/web"
)

func TestForwardedAddressesAreBelievedFromProxiesOnly(t *testing.T) {
	proxies := web.Proxies{netip.MustParsePrefix("10.0.0.0/8")}
	tests := []struct {
		name, peer string
		forwarded  []string
		want       string
	}{
		{"no header", "10.0.0.1:5", nil, "10.0.0.1"},
		{"from a proxy", "10.0.0.1:5", []string{"1.2.3.4"}, "1.2.3.4"},
		{"through two proxies", "10.0.0.1:5", []string{"1.2.3.4, 10.0.0.2"}, "1.2.3.4"},
		{"the caller's own claim stands left of what the proxy added", "10.0.0.1:5", []string{"9.9.9.9, 1.2.3.4"}, "1.2.3.4"},
		{"two headers are one list", "10.0.0.1:5", []string{"9.9.9.9", "1.2.3.4"}, "1.2.3.4"},
		{"from a stranger", "8.8.8.8:5", []string{"1.2.3.4"}, "8.8.8.8"},
		{"nonsense", "10.0.0.1:5", []string{"<script>"}, "10.0.0.1"},
		{"mapped address", "[::ffff:10.0.0.1]:5", []string{"1.2.3.4"}, "1.2.3.4"},
		{"IPv6", "[2001:db8::1]:5", nil, "2001:db8::1"},
		{"IPv6 behind a proxy", "10.0.0.1:5", []string{"2001:db8::2"}, "2001:db8::2"},
		{"a zone means nothing here", "10.0.0.1:5", []string{"fe80::1%eth0"}, "fe80::1"},
		{"no address at all", "@", nil, "invalid IP"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r := httptest.NewRequest("GET", "/", nil)
			r.RemoteAddr = tt.peer
			for _, f := range tt.forwarded {
				r.Header.Add("X-Forwarded-For", f)
			}
			var got string
			proxies.Handler(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
				got = web.Peer(r).String()
			})).ServeHTTP(httptest.NewRecorder(), r)
			if got != tt.want {
				t.Errorf("the peer %s with X-Forwarded-For %q is %q, want %q", tt.peer, tt.forwarded, got, tt.want)
			}
		})
	}
}

func TestTheCallersAddressForUsComesFromTheRequestOrFromOurProxies(t *testing.T) {
	proxies := web.Proxies{netip.MustParsePrefix("10.0.0.0/8")}
	for _, tt := range []struct {
		name, peer, proto, host string
		want                    string
	}{
		{"nobody in between", "203.0.113.9:1", "", "", "http://edge:8082"},
		{"a stranger's word", "203.0.113.9:1", "https", "evil.example", "http://edge:8082"},
		{"our proxy's word", "10.0.0.1:1", "https", "flags.example", "https://flags.example"},
		{"our proxy keeps Host", "10.0.0.1:1", "https", "", "https://edge:8082"},
		{"our proxy passes on nonsense", "10.0.0.1:1", "gopher", "a/b", "http://edge:8082"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := httptest.NewRequest("GET", "/", nil)
			r.RemoteAddr, r.Host = tt.peer, "edge:8082"
			for name, value := range map[string]string{"X-Forwarded-For": "203.0.113.9", "X-Forwarded-Proto": tt.proto, "X-Forwarded-Host": tt.host} {
				if value != "" {
					r.Header.Set(name, value)
				}
			}
			var got string
			proxies.Handler(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { got = web.BaseURL(r) })).ServeHTTP(httptest.NewRecorder(), r)
			if got != tt.want {
				t.Errorf("BaseURL() = %q, want %q", got, tt.want)
			}
		})
	}
}
