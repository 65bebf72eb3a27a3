package live

// A CloseCode ends a WebSocket and tells the client whether to come back.
// Codes below 4000 are those of RFC 6455.
type CloseCode int

// The codes that an edge sends.
const (
	// CloseNormal: the client left. Nothing more to do.
	CloseNormal CloseCode = 1000

	// CloseTooBig: a frame was longer than [MaxClientFrame], or never ended.
	// The same frame would end the next connection too: do not come back with it.
	CloseTooBig CloseCode = 1009

	// CloseRestart: the edge is going away for a while. Come back after the
	// delay that the goodbye frame gave.
	CloseRestart CloseCode = 1012

	// CloseTryLater: the connection could not keep up with what was sent. Come
	// back with what you hold, after a back-off.
	CloseTryLater CloseCode = 1013

	// CloseBadFrame: a frame could not be understood. A defect in the client:
	// do not come back.
	CloseBadFrame CloseCode = 4400

	// CloseUnauthorized: no key in time, or one that is unknown, expired or
	// revoked. Do not come back with this key.
	CloseUnauthorized CloseCode = 4401

	// CloseForbidden: the key is good, but not for what was asked: rules with a
	// client key, a server key in a browser. Do not come back.
	CloseForbidden CloseCode = 4403

	// CloseUpgrade: the hello spoke a version of the protocol that this edge
	// does not. Do not come back before an update.
	CloseUpgrade CloseCode = 4426

	// CloseFlood: more frames than anyone needs. Come back after a long
	// back-off.
	CloseFlood CloseCode = 4429
)

// Reconnect reports whether a client that was closed with c should try again.
// Codes that this version does not know, and connections that ended without
// one, are worth another try.
func (c CloseCode) Reconnect() bool {
	switch c {
	case CloseNormal, CloseTooBig, CloseBadFrame, CloseUnauthorized, CloseForbidden, CloseUpgrade:
		return false
	}
	return true
}
