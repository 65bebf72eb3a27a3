package statsig

import (
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"golang.org/x/sync/semaphore"

	"github.com/sluice-flags/sluice/internal/auth"
	"github.com/sluice-flags/sluice/internal/web"
)

func TestBodiesBeyondTheMemoryAreRefusedAndGiveItBack(t *testing.T) {
	a := New(auth.NewResolver(nil), nil, nil)
	a.memory = semaphore.NewWeighted(100)
	read := func(size int, decode func([]byte) error) (func(), error) {
		return a.read(httptest.NewRequest(http.MethodPost, "/", strings.NewReader(strings.Repeat(" ", size))), decode)
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

func TestAKeyIsFoundWhereTheProtocolPutsIt(t *testing.T) {
	for name, test := range map[string]struct {
		target string
		header []string
		want   string
	}{
		"header":                  {"/v1/rgstr", []string{"statsig-api-key", "client-a-b"}, "client-a-b"},
		"bearer":                  {"/v1/rgstr", []string{"Authorization", "Bearer client-a-b"}, "client-a-b"},
		"query, as from a beacon": {"/v1/rgstr?k=client-a-b&st=js", nil, "client-a-b"},
		"header before query":     {"/v1/rgstr?k=client-c-d", []string{"statsig-api-key", "client-a-b"}, "client-a-b"},
		"nowhere":                 {"/v1/rgstr", nil, ""},
	} {
		r := httptest.NewRequest(http.MethodPost, test.target, nil)
		for i := 0; i < len(test.header); i += 2 {
			r.Header.Set(test.header[i], test.header[i+1])
		}
		if got := token(r); got != test.want {
			t.Errorf("%s: token() = %q, want %q", name, got, test.want)
		}
	}
}
