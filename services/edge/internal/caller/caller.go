// Package caller says where a request comes from.
//
// Browsers and phones do not know their own address, so rules on address,
// country and browser see what the request shows. Servers evaluate on behalf of
// others: what they do not say about a user stays unknown.
package caller

import (
	"net/http"

	"github.com/sluice-flags/sluice/internal/web"
	"github.com/sluice-flags/sluice/pkg/eval"
	"github.com/sluice-flags/sluice/pkg/flags"
)

// An Origin is where a request came from.
type Origin struct {
	IP        string
	UserAgent string
}

// Of reads the origin of r. Whether a proxy's word about the address is taken is
// settled before: see [web.Proxies].
func Of(r *http.Request) Origin {
	o := Origin{UserAgent: r.UserAgent()}
	if ip := web.Peer(r); ip.IsValid() {
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
