// Package freeport chooses addresses for programs that tests start, stop and
// start again at the same place.
package freeport

import (
	"errors"
	"math/rand/v2"
	"net"
	"strconv"
	"sync"
	"testing"
)

// Ports are taken from below those that systems give to outgoing connections and
// to listeners that ask for any port: one of those could be gone by the time that
// the program listens, or between two of its starts.
const lowest, highest = 10000, 32767

// claims are this process's: one socket for each address that it chose.
var claims struct {
	sync.Mutex
	held []net.PacketConn
}

// Loopback returns a TCP address of the loopback interface that nobody listens on,
// and that no other process which asks here is told until this one has ended.
func Loopback() (string, error) {
	var last error
	for range 1000 {
		address := net.JoinHostPort("127.0.0.1", strconv.Itoa(lowest+rand.IntN(highest-lowest+1)))
		if last = claim(address); last == nil {
			return address, nil
		}
	}
	return "", errors.Join(errors.New("no free port was found"), last)
}

// For is [Loopback] for a test, which fails where nothing is free.
func For(t testing.TB) string {
	t.Helper()
	address, err := Loopback()
	if err != nil {
		t.Fatal(err)
	}
	return address
}

// claim takes the UDP port of the same number, which the system gives to one
// process at a time and takes back whatever becomes of it, and finds out whether
// somebody listens.
func claim(address string) error {
	held, err := net.ListenPacket("udp4", address)
	if err != nil {
		return err
	}
	l, err := net.Listen("tcp4", address)
	if err != nil {
		_ = held.Close() // nothing was sent
		return err
	}
	_ = l.Close() // nobody has connected
	claims.Lock()
	defer claims.Unlock()
	claims.held = append(claims.held, held)
	return nil
}
