package web_test

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strconv"
	"testing"

	"github.com/sluice-flags/sluice/internal/web"
)

// dial connects to a server around h.
func dial(t *testing.T, h http.HandlerFunc) net.Conn {
	t.Helper()
	s := &web.Server{Addr: "127.0.0.1:0", Handler: web.Middleware(slog.New(slog.DiscardHandler), h)}
	if err := s.Listen(); err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- s.Run(ctx) }()
	c, err := net.Dial("tcp", s.Address())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = c.Close()
		stop()
		if err := <-ended; err != nil {
			t.Errorf("Run() = %v, want nil", err)
		}
	})
	return c
}

func TestAnAnswerOfAnyLengthComesWhole(t *testing.T) {
	text := func(n int) []byte {
		b := make([]byte, n)
		for i := range b {
			b[i] = byte(i % 251)
		}
		return b
	}
	c := dial(t, func(w http.ResponseWriter, r *http.Request) {
		if n, err := strconv.Atoi(r.URL.Query().Get("announced")); err == nil {
			w.Header().Set("Content-Length", strconv.Itoa(n))
		}
		for _, part := range r.URL.Query()["part"] {
			n, _ := strconv.Atoi(part)
			if wrote, err := w.Write(text(n)); wrote != n || err != nil {
				t.Errorf("Write() of %d bytes = %d, %v; want all and no error", n, wrote, err)
			}
		}
	})
	answers := bufio.NewReader(c)
	for _, parts := range [][]int{{}, {1}, {3900}, {4096}, {8191}, {8192}, {8193}, {200_000}, {100, 20_000, 100, 20_000}, {5000, 8192, 8192}, {1 << 20}} {
		for _, announced := range []bool{true, false} {
			query, want := "", []byte(nil)
			for _, n := range parts {
				query += fmt.Sprintf("&part=%d", n)
				want = append(want, text(n)...)
			}
			if announced {
				query += fmt.Sprintf("&announced=%d", len(want))
			}
			fmt.Fprintf(c, "GET /?%s HTTP/1.1\r\nHost: test\r\n\r\n", query)
			res, err := http.ReadResponse(answers, nil)
			if err != nil {
				t.Fatalf("answer of %v: %v", parts, err)
			}
			got, err := io.ReadAll(res.Body)
			if err != nil || !bytes.Equal(got, want) {
				t.Fatalf("answer of %v, announced %v, has %d bytes, %v; want just the %d that were written", parts, announced, len(got), err, len(want))
			}
		}
	}
}

func TestTheHeadOfALongAnswerDoesNotComeAlone(t *testing.T) {
	long := bytes.Repeat([]byte("x"), 32<<10)
	c := dial(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", strconv.Itoa(len(long)))
		_, _ = w.Write(long)
	})
	fmt.Fprint(c, "GET / HTTP/1.1\r\nHost: test\r\n\r\n")
	const gathered = 4 << 10 // by net/http
	first := make([]byte, 64<<10)
	n, err := c.Read(first)
	if err != nil || n <= gathered {
		t.Errorf("the first piece has %d bytes, %v; want more than the %d that come with the head", n, err, gathered)
	}
}

func TestAHijackedConnectionIsThePlainOne(t *testing.T) {
	got := make(chan net.Conn, 1)
	dialled := dial(t, func(w http.ResponseWriter, _ *http.Request) {
		c, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			t.Errorf("Hijack() = %v", err)
			close(got)
			return
		}
		got <- c
		_ = c.Close()
	})
	fmt.Fprint(dialled, "GET / HTTP/1.1\r\nHost: test\r\n\r\n")
	if c, ok := (<-got).(*net.TCPConn); !ok {
		t.Errorf("Hijack() = %T, want a *net.TCPConn, whose buffers can be set", c)
	}
}
