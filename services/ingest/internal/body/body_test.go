package body

import (
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/sluice-flags/sluice/internal/web"
	"github.com/sluice-flags/sluice/internal/web/webtest"
)

func plain(raw []byte) ([]byte, error) { return raw, nil }

func TestBodiesBeyondTheMemoryAreRefusedAndGiveItBack(t *testing.T) {
	a := newReader(100)
	read := func(size int, decode func([]byte) error) (func(), error) {
		return a.Read(httptest.NewRequest(http.MethodPost, "/", strings.NewReader(strings.Repeat(" ", size))), plain, decode)
	}
	taken := func([]byte) error { return nil }

	first, err := read(60, taken)
	if err != nil {
		t.Fatalf("read(60 bytes of 100) = %v", err)
	}
	second, err := read(60, taken)
	if problem, ok := errors.AsType[*web.Error](err); !ok || web.StatusOf(err) != http.StatusServiceUnavailable || problem.RetryAfter <= 0 {
		t.Errorf("read(60 more) = %v, want 503 with Retry-After", err)
	}
	second()
	first()

	failed, err := read(100, func([]byte) error { return io.ErrUnexpectedEOF })
	if !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("read() = %v, want what decode said", err)
	}
	failed()
	if !a.memory.TryAcquire(100) {
		t.Error("memory that was released is still held")
	}
}

func TestABodyThatIsOnlyAnnouncedHoldsNoMemory(t *testing.T) {
	a := newReader(100)
	taken := func([]byte) error { return nil }

	arriving, rest := io.Pipe()
	slow := httptest.NewRequest(http.MethodPost, "/", arriving)
	slow.ContentLength = 100
	ended := make(chan error, 1)
	go func() {
		release, err := a.Read(slow, plain, taken)
		release()
		ended <- err
	}()
	if _, err := rest.Write([]byte("{")); err != nil { // returns when it was read
		t.Fatal(err)
	}
	release, err := a.Read(httptest.NewRequest(http.MethodPost, "/", strings.NewReader(strings.Repeat(" ", 90))), plain, taken)
	if err != nil {
		t.Errorf("read(90 bytes of 100) beside a body of which one byte has come = %v, want it taken", err)
	}
	if _, err := rest.Write([]byte(strings.Repeat(" ", 30))); err != nil {
		t.Fatal(err)
	}
	_ = rest.Close()
	if err := <-ended; web.StatusOf(err) != http.StatusServiceUnavailable {
		t.Errorf("read(31 bytes beside 90 of 100) = %v, want 503", err)
	}
	release()
	if !a.memory.TryAcquire(100) {
		t.Error("memory that was released is still held")
	}
}

func TestABodyThatWillBeTooLargeIsRefusedBeforeItIsSent(t *testing.T) {
	bodies := NewReader()
	server := httptest.NewServer(web.Middleware(nil, web.Handle(func(_ http.ResponseWriter, r *http.Request) error {
		release, err := bodies.Read(r, plain, func([]byte) error { return nil })
		release()
		return err
	})))
	defer server.Close()
	for _, header := range []string{
		"Content-Length: 1100000\r\nExpect: 100-continue",
		"Content-Length: 2097152\r\nExpect: 100-continue",
		"Content-Length: 1100000",
	} {
		if status := webtest.Announce(t, server.Listener.Addr(), "/", header); status != http.StatusRequestEntityTooLarge {
			t.Errorf("a request with %q and no body yet = %d; want 413", header, status)
		}
	}
}
