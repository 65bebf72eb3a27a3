// Package freeport chooses addresses for programs that tests start, stop and
// start again at the same place.
package freeport

import (
	"errors"
	"math/rand/v2"
	"net"
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
	held []*net.UDPConn
}

// Loopback returns a TCP address of the loopback interface that nobody listens on,
// and that no other process which asks here is told until this one has ended.
func Loopback() (string, error) {
	var last error
	for range 1000 {
		at := net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: lowest + rand.IntN(highest-lowest+1)}
		if last = claim(at); last == nil {
			return at.String(), nil
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
func claim(at net.TCPAddr) error {
	held, err := net.ListenUDP("udp4", &net.UDPAddr{IP: at.IP, Port: at.Port})
	if err != nil {
		return err
	}
	l, err := net.ListenTCP("tcp4", &at)
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
