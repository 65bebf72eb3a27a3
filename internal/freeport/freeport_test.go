package freeport_test

import (
	"net"
	"testing"

	"github.com/sluice-flags/sluice/internal/freeport"
)

func TestAnAddressIsFreeAndChosenOnce(t *testing.T) {
	seen := make(map[string]bool)
	for range 200 {
		address, err := freeport.Loopback()
		if err != nil {
			t.Fatal(err)
		}
		if seen[address] {
			t.Fatalf("Loopback() = %s again", address)
		}
		seen[address] = true
		l, err := net.Listen("tcp", address)
		if err != nil {
			t.Fatalf("Loopback() = %s, which cannot be listened on: %v", address, err)
		}
		_ = l.Close()
		if other, err := net.ListenPacket("udp4", address); err == nil {
			_ = other.Close()
			t.Errorf("Loopback() = %s, whose claim another process could have", address)
		}
	}
}
