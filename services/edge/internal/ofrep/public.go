package ofrep

import (
	"fmt"
	"net/url"
	"strings"

	protocol "github.com/sluice-flags/sluice/internal/ofrep"
)

// public is where clients find event streams. Clients resolve the address
// against the origin of their base address, so a path that a proxy adds has to
// be part of it.
type public struct{ origin, prefix string }

// hiddenAfter is how long a page may be hidden before its client lets the stream
// go, in seconds.
const hiddenAfter = 120

// parsePublic reads the address that an operator gave.
func parsePublic(text string) (public, error) {
	u, err := url.Parse(text)
	if err != nil {
		return public{}, fmt.Errorf("public URL %q: %w", text, err)
	}
	p := public{prefix: strings.TrimRight(u.EscapedPath(), "/")}
	switch {
	case u.RawQuery != "" || u.Fragment != "" || u.User != nil,
		u.Scheme != "" && u.Scheme != "http" && u.Scheme != "https",
		(u.Scheme == "") != (u.Host == ""),
		p.prefix != "" && p.prefix[0] != '/':
		return public{}, fmt.Errorf("public URL %q: want https://host/path, or /path", text)
	}
	if u.Host != "" {
		p.origin = u.Scheme + "://" + u.Host
	}
	return p, nil
}

// streams tells where the holder of a ticket hears of changes.
func (p public) streams(ticket string) []protocol.EventStream {
	return []protocol.EventStream{{
		Type:               "sse",
		Endpoint:           protocol.Endpoint{Origin: p.origin, RequestURI: p.prefix + protocol.PathStream + "?ticket=" + ticket},
		InactivityDelaySec: hiddenAfter,
	}}
}
