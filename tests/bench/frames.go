package main

import "encoding/binary"

// Opcodes of RFC 6455 that a client of ours meets.
const (
	opText  = 1
	opClose = 8
	opPing  = 9
	opPong  = 10
)

// handshake opens a connection of the live protocol.
const handshake = "GET /v1/live HTTP/1.1\r\nHost: bench\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n" +
	"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: c2x1aWNlIGJlbmNobWFyaw==\r\n\r\n"

// headLength is how much of a payload is kept, to tell frames apart.
const headLength = 20

// What the first bytes of a frame say of it.
var (
	fullFrame   = []byte(`{"type":"full"`)
	changeFrame = []byte(`{"type":"change"`)
)

// A frame is what is known of a whole frame of the server's: enough to tell what
// it is and how long it was, not what it says.
type frame struct {
	op     byte
	length int
	head   []byte // the first bytes of the payload; valid until the next frame
}

// A parser takes a server's frames apart as bytes come in.
type parser struct {
	header [10]byte
	got    int // bytes of the header
	need   int // bytes that the header has, as far as is known
	left   int // bytes of the payload that are still to come
	length int
	head   [headLength]byte
	kept   int
}

// feed passes on every frame that p completes.
func (ps *parser) feed(p []byte, each func(frame)) {
	for len(p) > 0 || ps.whole() {
		switch {
		case ps.whole():
			each(frame{op: ps.header[0] & 0x0f, length: ps.length, head: ps.head[:ps.kept]})
			ps.got, ps.need = 0, 0
		case !ps.open():
			ps.header[ps.got] = p[0]
			ps.got++
			p = p[1:]
			ps.begin()
		default:
			n := min(ps.left, len(p))
			ps.kept += copy(ps.head[ps.kept:], p[:n])
			ps.left -= n
			p = p[n:]
		}
	}
}

// open reports whether the header is complete.
func (ps *parser) open() bool { return ps.need > 0 && ps.got == ps.need }

func (ps *parser) whole() bool { return ps.open() && ps.left == 0 }

// begin reads what the header says so far.
func (ps *parser) begin() {
	if ps.got == 2 {
		ps.need = 2
		switch ps.header[1] & 0x7f {
		case 126:
			ps.need = 4
		case 127:
			ps.need = 10
		}
	}
	if !ps.open() {
		return
	}
	switch ps.need {
	case 2:
		ps.length = int(ps.header[1] & 0x7f)
	case 4:
		ps.length = int(binary.BigEndian.Uint16(ps.header[2:]))
	case 10:
		ps.length = int(binary.BigEndian.Uint64(ps.header[2:])) //nolint:gosec // from our own servers
	}
	ps.left, ps.kept = ps.length, 0
}

// clientFrame is a whole frame of a client's, masked with zeros: the mask is for
// proxies that get confused, and there are none on the loopback.
func clientFrame(op byte, payload []byte) []byte {
	out := []byte{0x80 | op}
	switch n := len(payload); {
	case n < 126:
		out = append(out, 0x80|byte(n))
	default:
		out = binary.BigEndian.AppendUint16(append(out, 0x80|126), uint16(n)) //nolint:gosec // hellos are short
	}
	out = append(out, 0, 0, 0, 0)
	return append(out, payload...)
}
