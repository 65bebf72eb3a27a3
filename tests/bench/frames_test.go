package main

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/gorilla/websocket"
)

func TestFramesAreTakenApartHoweverTheyArrive(t *testing.T) {
	payloads := [][]byte{nil, []byte("{}"), bytes.Repeat([]byte("a"), 125), bytes.Repeat([]byte("b"), 126), bytes.Repeat([]byte("c"), 1<<16)}
	wire := sent(t, payloads)
	var want []string
	for _, p := range payloads {
		want = append(want, fmt.Sprintf("%d: %d bytes %q", opText, len(p), p[:min(len(p), headLength)]))
	}
	for _, step := range []int{1, 2, 3, 1000, len(wire)} {
		var p parser
		var got []string
		for rest := wire; len(rest) > 0; rest = rest[min(step, len(rest)):] {
			p.feed(rest[:min(step, len(rest))], func(f frame) {
				got = append(got, fmt.Sprintf("%d: %d bytes %q", f.op, f.length, f.head))
			})
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("in pieces of %d bytes (-want +got):\n%s", step, diff)
		}
	}
}

// sent returns what a real server puts on the wire for text messages.
func sent(t *testing.T, payloads [][]byte) []byte {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c, err := new(websocket.Upgrader).Upgrade(w, r, nil)
		if err != nil {
			t.Error(err)
			return
		}
		defer c.Close()
		for _, p := range payloads {
			if err := c.WriteMessage(websocket.TextMessage, p); err != nil {
				t.Error(err)
			}
		}
	}))
	defer server.Close()
	c, err := net.Dial("tcp", server.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := io.WriteString(c, handshake); err != nil {
		t.Fatal(err)
	}
	all, err := io.ReadAll(c)
	if err != nil {
		t.Fatal(err)
	}
	_, frames, upgraded := bytes.Cut(all, []byte("\r\n\r\n"))
	if !upgraded {
		t.Fatalf("the server answered %q", all)
	}
	return frames
}
