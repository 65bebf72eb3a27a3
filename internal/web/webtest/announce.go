package webtest

import (
	"bufio"
	"fmt"
	"net"
	"net/http"
	"testing"
	"time"
)

// Announce sends the head of a POST and nothing of its body, and returns the
// status of the answer; 0 if none has come after ten seconds.
func Announce(t *testing.T, server net.Addr, path, header string) (status int) {
	t.Helper()
	conn, err := new(net.Dialer).DialContext(t.Context(), server.Network(), server.String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(10 * time.Second)); err != nil {
		t.Fatal(err)
	}
	if _, err := fmt.Fprintf(conn, "POST %s HTTP/1.1\r\nHost: here\r\n%s\r\n\r\n", path, header); err != nil {
		t.Fatal(err)
	}
	answer, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Logf("no answer to %q: %v", header, err)
		return 0
	}
	defer answer.Body.Close()
	return answer.StatusCode
}
