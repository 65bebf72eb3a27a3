package caller_test

import (
	"net/http/httptest"
	"testing"

	"github.com/sluice-flags/sluice/pkg/eval"
	"github.com/sluice-flags/sluice/pkg/flags"
	"github.com/sluice-flags/sluice/services/edge/internal/caller"
)

func TestARequestShowsItsAddressAndBrowser(t *testing.T) {
	r := httptest.NewRequest("GET", "/", nil)
	r.RemoteAddr = "[::ffff:1.2.3.4]:5"
	r.Header.Set("User-Agent", "agent")
	if got, want := caller.Of(r), (caller.Origin{IP: "1.2.3.4", UserAgent: "agent"}); got != want {
		t.Errorf("Of() = %+v, want %+v", got, want)
	}
	r.RemoteAddr = "@"
	if got := caller.Of(r); got.IP != "" {
		t.Errorf("Of() without an address = %+v, want no IP", got)
	}
}

func TestOnlyClientsAreCompletedFromTheirRequest(t *testing.T) {
	o := caller.Origin{IP: "1.2.3.4", UserAgent: "agent"}
	client, server, stated := eval.User{}, eval.User{}, eval.User{IP: "5.6.7.8", UserAgent: "own"}
	o.Complete(&client, flags.KeyClient)
	o.Complete(&server, flags.KeyServer)
	o.Complete(&stated, flags.KeyClient)
	if client.IP != "1.2.3.4" || client.UserAgent != "agent" {
		t.Errorf("a client's user = %+v, want it completed", client)
	}
	if server.IP != "" || server.UserAgent != "" {
		t.Errorf("a server's user = %+v, want it as it was", server)
	}
	if stated.IP != "5.6.7.8" || stated.UserAgent != "own" {
		t.Errorf("a user who says so = %+v, want what they said", stated)
	}
}
