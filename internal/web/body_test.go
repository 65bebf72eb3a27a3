package web_test

import (
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httptrace"
	"strings"
	"testing"

	"github.com/sluice-flags/sluice/internal/web"
	"github.com/sluice-flags/sluice/internal/web/webtest"
)

func TestACallerWhoseBodyIsTooLargeKeepsTheConnection(t *testing.T) {
	server := httptest.NewServer(web.Middleware(nil, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if _, err := web.ReadBody(r, web.Limits{Raw: 1 << 10}); err != nil {
			web.Fail(w, r, err)
		}
	})))
	defer server.Close()
	reused := 0
	trace := httptrace.WithClientTrace(t.Context(), &httptrace.ClientTrace{GotConn: func(c httptrace.GotConnInfo) {
		if c.Reused {
			reused++
		}
	}})
	for range 3 {
		r, err := http.NewRequestWithContext(trace, http.MethodPost, server.URL, strings.NewReader(strings.Repeat("x", 400<<10)))
		if err != nil {
			t.Fatal(err)
		}
		answer, err := server.Client().Do(r)
		if err != nil {
			t.Fatal(err)
		}
		_, _ = io.Copy(io.Discard, answer.Body)
		answer.Body.Close()
		if answer.StatusCode != http.StatusRequestEntityTooLarge {
			t.Errorf("a body of 400 KiB where 1 is allowed = %d; want 413", answer.StatusCode)
		}
	}
	if reused != 2 {
		t.Errorf("3 such requests reused a connection %d times; want 2: the body was not read to its end", reused)
	}
}

// Who announces too much has the answer before he has sent anything.
func TestACallerWhoseBodyWillBeTooLargeIsToldAtOnce(t *testing.T) {
	server := httptest.NewServer(web.Middleware(nil, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if _, err := web.ReadBody(r, web.Limits{Raw: 1 << 10}); err != nil {
			web.Fail(w, r, err)
		}
	})))
	defer server.Close()
	for _, header := range []string{
		"Content-Length: 2000\r\nExpect: 100-continue",
		"Content-Length: 2097152\r\nExpect: 100-continue",
		"Content-Length: 2000",
		"Content-Length: 2097152",
		"Content-Length: 1000000000000",
	} {
		if status := webtest.Announce(t, server.Listener.Addr(), "/", header); status != http.StatusRequestEntityTooLarge {
			t.Errorf("a request with %q and no body yet = %d; want 413", header, status)
		}
	}
}
