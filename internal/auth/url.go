package auth

import (
	"net/http"
	"net/url"
	"strings"

	"github.com/sluice-flags/sluice/internal/web"
	"github.com/sluice-flags/sluice/pkg/flags"
)

// shortestKey is a lower bound of the length of a key, so that most queries are
// not read twice.
const shortestKey = 60

// KeyInURL refuses a request with a key in its query: URLs end up in logs and
// histories. SDKs in browsers have no other place for theirs where they cannot
// set headers, so the client key that is the request's token may be its
// parameter k; it is in the page for everybody to see anyway.
func KeyInURL(r *http.Request, token string) error {
	if r.URL == nil {
		return nil // a call that came by another protocol
	}
	for parameter := range strings.SplitSeq(r.URL.RawQuery, "&") {
		if len(parameter) < shortestKey {
			continue
		}
		name, value, _ := strings.Cut(parameter, "=")
		if kind, ok := keyKind(value); ok && !(name == "k" && kind == flags.KeyClient && unescaped(value) == token) {
			return web.Invalid(name[:min(len(name), 100)], "key_in_url", "a key must not stand in a URL: send it as Authorization: Bearer <key>")
		}
		if _, ok := keyKind(name); ok {
			return web.Invalid("query", "key_in_url", "a key must not stand in a URL: send it as Authorization: Bearer <key>")
		}
	}
	return nil
}

// keyKind reads a part of a query as a key, let in or not.
func keyKind(part string) (flags.KeyKind, bool) {
	parsed, err := Parse(unescaped(part))
	return parsed.Kind, err == nil
}

// unescaped is a part of a query as it was meant, or as it stands if it cannot
// have been meant.
func unescaped(part string) string {
	if text, err := url.QueryUnescape(part); err == nil {
		return text
	}
	return part
}
