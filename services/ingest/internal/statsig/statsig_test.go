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
