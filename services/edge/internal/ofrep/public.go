package ofrep

import (
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

// publicOf takes the public address of the edge apart: scheme://host/path, or
// nothing.
func publicOf(address string) public {
	scheme, rest, _ := strings.Cut(address, "://")
	host, path, prefixed := strings.Cut(rest, "/")
	var p public
	if host != "" {
		p.origin = scheme + "://" + host
	}
	if prefixed {
		p.prefix = "/" + path
	}
	return p
}

// streams tells where the holder of a ticket hears of changes.
func (p public) streams(ticket string) []protocol.EventStream {
	return []protocol.EventStream{{
		Type:               "sse",
		Endpoint:           protocol.Endpoint{Origin: p.origin, RequestURI: p.prefix + protocol.PathStream + "?ticket=" + ticket},
		InactivityDelaySec: hiddenAfter,
	}}
}
