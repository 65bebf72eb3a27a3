package caller_test

import (
	"net/http/httptest"
	"net/netip"
	"testing"

	"github.com/sluice-flags/sluice/pkg/eval"
	"github.com/sluice-flags/sluice/pkg/flags"
	"github.com/sluice-flags/sluice/services/edge/internal/caller"
)

func TestForwardedAddressesAreBelievedFromProxiesOnly(t *testing.T) {
	proxies := caller.Proxies{netip.MustParsePrefix("10.0.0.0/8")}
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
		{"no address at all", "@", nil, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r := httptest.NewRequest("GET", "/", nil)
			r.RemoteAddr = tt.peer
			for _, f := range tt.forwarded {
				r.Header.Add("X-Forwarded-For", f)
			}
			if got := proxies.Of(r).IP; got != tt.want {
				t.Errorf("Of(peer %s, forwarded %q).IP = %q, want %q", tt.peer, tt.forwarded, got, tt.want)
			}
		})
	}
}

func TestOnlyClientsAreCompletedFromTheirRequest(t *testing.T) {
	o := caller.Origin{IP: "1.2.3.4", UserAgent: "agent"}
	client, server, stated := eval.User{}, eval.User{}, eval.User{IP: "5.6.7.8", UserAgent: "own"}
	o.Complete(&client, flags.KeyClient)
	o.Complete(&server, flags.KeyServer)
	o.Complete(&stated, flags.KeyClient)
	if client.IP != "1.2.3.4" || client.UserAgent != "agent" {
		t.Errorf("user of a client key = %+v, want the request's address and agent", client)
	}
	if server.IP != "" || server.UserAgent != "" {
		t.Errorf("user of a server key = %+v, want nothing added", server)
	}
	if stated.IP != "5.6.7.8" || stated.UserAgent != "own" {
		t.Errorf("user who stated both = %+v, want them kept", stated)
	}
}
